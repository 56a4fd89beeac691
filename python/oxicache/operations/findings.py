"""`explain`, `top`, and the trackers of deletions: what needs each worker's Python to look it up."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from oxicache import live, metrics
from oxicache.operations.figures import TOP_LIMIT, ask_about, ranked
from oxicache.reports import ExplainReport, ModelsListed, PatternsListed, Reach, TopReport, TrackerReport
from oxicache.selection import EVERYTHING, Selection
from oxicache.sites import Site, reach_of

__all__ = ["MEASURES", "explain", "models", "patterns", "top", "tracker"]

LISTED = 50  # key patterns; more than that nobody reads
TRAIL_LIMIT = 20  # invalidations: what is older explains little
TRAIL_WORDS = 256  # that are asked about at once


def explain(
    site: Site,
    key: str,
    selection: Selection = EVERYTHING,
    *,
    version: int | None = None,
    prefix: str | None = None,
) -> ExplainReport:
    """Find every entry of a key, and who invalidated what it was computed from.

    `version` and `prefix` are those of a NativeCache's key; None is what its alias has.
    """
    answers = ask_about(site, selection, "explain", single=True, key=key, version=version, prefix=prefix)
    absent: dict[str, int] = {}
    for answer in answers.answers:
        for name in answer.result["missing"]:
            absent[name] = absent.get(name, 0) + 1
    found = [{**entry, "pid": answer.pid} for answer in answers.answers for entry in answer.result["found"]]
    events = [event for answer in answers.answers for event in answer.result["trail"]]
    moved = live.moved_words(found)[:TRAIL_WORDS]
    if moved and not site.is_local:
        # Who moved them may be a worker that does not have the key.
        told = site.ask("trail", words=moved, limit=TRAIL_LIMIT)
        events += [event for answer in told.answers for event in answer.result["events"]]
    trail = _newest(events)
    return ExplainReport(
        reach=reach_of(site, answers),
        key=key,
        found=live.attributed(found, trail),
        absent=absent,
        trail=trail,
    )


def _newest(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put the newest first, each once: a worker may have told it twice."""
    known = {(event["pid"], event["at"], event["kind"], tuple(event["names"])): event for event in events}
    return sorted(known.values(), key=lambda event: -event["at"])[:TRAIL_LIMIT]


MEASURES = tuple(live.RANKS)


def top(
    site: Site, selection: Selection = EVERYTHING, *, by: str = "hits", limit: int = TOP_LIMIT
) -> TopReport:
    """Find the key patterns, and entries where these are known, that are first by one of MEASURES."""
    if by not in MEASURES:
        raise ValueError(f"by is {by!r}; it must be one of {', '.join(MEASURES)}")
    rank = live.RANKS[by]
    answers = ask_about(site, selection, "top", by=by, limit=limit)
    by_cache: dict[str, list[dict[str, Any]]] = {}
    for answer in answers.answers:
        for one in answer.result["patterns"]:
            by_cache.setdefault(one["cache"], []).append(one)
    patterns = [
        {**one, "cache": name} for name, parts in by_cache.items() for one in metrics.merge_patterns(parts)
    ]
    entries = [
        {**entry, "pid": answer.pid} for answer in answers.answers for entry in answer.result["entries"]
    ]
    return TopReport(
        reach=reach_of(site, answers),
        by=by,
        patterns=[] if rank is None else ranked(patterns, rank)[:limit],
        entries=ranked(entries, {"bytes": "weight", "age": "age_seconds"}.get(by, by))[:limit],
    )


def tracker(site: Site, action: Literal["stats", "dry", "cleanup"] = "stats") -> TrackerReport:
    """Look at which ids are being deleted, or remove those that no longer are."""
    answers = site.ask("tracker", action=action)
    return TrackerReport(
        reach=reach_of(site, answers),
        action=action,
        processes={answer.pid: answer.result for answer in answers.answers},
    )


def patterns(site: Site, registered: Mapping[str, tuple[str, ...]]) -> PatternsListed:
    """Return the key patterns that were registered, with the models they depend on, and those that are used most.

    What decorated callables keep is not among them: no key of theirs can be named.
    """
    found = top(site, by="hits", limit=LISTED)
    used = [one for one in found.patterns if one["pattern"] != one["cache"]]
    return PatternsListed(reach=found.reach, registered=registered, used=used)


def models(registered: Mapping[str, tuple[str, ...]], rules: Mapping[str, tuple[str, ...]]) -> ModelsListed:
    """Return the models that were registered, with their key patterns and rules. Nobody is asked."""
    return ModelsListed(reach=Reach(), models=registered, rules=rules)
