"""`explain`, `top`, and the trackers of deletions: what needs each worker's Python to look it up."""

from typing import Any, Literal

from oxicache import metrics
from oxicache.operations.figures import TOP_LIMIT, ask_about, ranked
from oxicache.reports import ExplainReport, TopReport, TrackerReport
from oxicache.selection import EVERYTHING, Selection
from oxicache.sites import Site, reach_of

__all__ = ["MEASURES", "explain", "top", "tracker"]

TRAIL_LIMIT = 100  # invalidations, as one worker answers by default


def explain(
    site: Site, key: str, selection: Selection = EVERYTHING, *, version: int | None = None
) -> ExplainReport:
    """Find every entry of a key, and who invalidated what it was computed from."""
    answers = ask_about(site, selection, "explain", single=True, key=key, version=version)
    absent: dict[str, int] = {}
    for answer in answers.answers:
        for name in answer.result["missing"]:
            absent[name] = absent.get(name, 0) + 1
    trail = [{"pid": answer.pid, **event} for answer in answers.answers for event in answer.result["trail"]]
    return ExplainReport(
        reach=reach_of(site, answers),
        key=key,
        found=[
            {**entry, "pid": answer.pid} for answer in answers.answers for entry in answer.result["found"]
        ],
        absent=absent,
        trail=sorted(trail, key=lambda event: -event["at"])[:TRAIL_LIMIT],
    )


MEASURES = ("hits", "misses", "bytes", "loads", "age")


def top(
    site: Site, selection: Selection = EVERYTHING, *, by: str = "hits", limit: int = TOP_LIMIT
) -> TopReport:
    """Find the key patterns, and entries where these are known, that are first by one of MEASURES."""
    if by not in MEASURES:
        raise ValueError(f"by is {by!r}; it must be one of {', '.join(MEASURES)}")
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
        patterns=ranked(patterns, by)[:limit] if by != "age" else [],
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
