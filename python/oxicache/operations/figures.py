"""`stats`: what every worker has counted, summed; and how the other verbs ask about a cache by its name."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from oxicache import metrics, prometheus
from oxicache.errors import UnknownCacheError
from oxicache.metrics import Process, Snapshot
from oxicache.reports import Reach, StatsReport
from oxicache.reports.figures import GLOBAL
from oxicache.selection import EVERYTHING, Selection
from oxicache.sites import Site, reach_of
from oxicache.workers import Answers

__all__ = [
    "TOP_LIMIT",
    "ask_about",
    "exposition",
    "narrowed",
    "ranked",
    "snapshot",
    "stats",
    "stats_report",
    "the_cache",
]

TOP_LIMIT = 10  # rows of a table that is read on a screen


def snapshot(site: Site, *, patterns: bool = False, details: bool = False) -> tuple[Snapshot, Reach]:
    """What all workers have counted, summed, and who answered.

    With `details` their `health` and `config` too, which takes three requests instead of one.
    """
    rounds = {"stats": site.ask("stats", patterns=patterns or None)}
    rounds |= {verb: site.ask(verb) for verb in ("health", "config")} if details else {}
    known = {
        verb: {answer.pid: answer.result for answer in answers.answers} for verb, answers in rounds.items()
    }
    processes = [
        Process(
            pid=answer.pid,
            stats=answer.result,
            started=answer.started,
            health=known.get("health", {}).get(answer.pid, {}),
            config=known.get("config", {}).get(answer.pid, {}),
        )
        for answer in rounds["stats"].answers
    ]
    reach = reach_of(site, *rounds.values())
    return metrics.merge(processes, silent=[one.pid for one in reach.missing]), reach


def stats(site: Site, selection: Selection = EVERYTHING) -> StatsReport:
    """Return the figures of each cache. UnknownCacheError where nobody has the one that is selected."""
    return stats_report(*snapshot(site), selection)


def exposition(
    site: Site, selection: Selection = EVERYTHING, *, sensitive: Iterable[str] = ()
) -> tuple[str, Reach]:
    """Return the figures as Prometheus text, and who answered. Of what is `sensitive` only the cache is named."""
    found, reach = snapshot(site, patterns=True, details=True)
    chosen = stats_report(found, reach, selection).chosen
    return prometheus.exposition(narrowed(found, chosen), sensitive=sensitive), reach


def stats_report(found: Snapshot, reach: Reach, selection: Selection) -> StatsReport:
    """Return what `stats` shows of a snapshot. UnknownCacheError as there."""
    chosen = the_cache(selection)
    if chosen is not None and chosen != GLOBAL:
        require(chosen, found, reach)
    return StatsReport(
        reach=reach,
        caches=narrowed(found, chosen).caches,
        totals=metrics.global_stats(found.caches),
        processes={process.pid: process.caches for process in found.processes},
        chosen=chosen,
        disabled=found.disabled,
        is_exact=found.is_exact,
    )


def narrowed(found: Snapshot, cache: str | None) -> Snapshot:
    """Return the figures of one cache alone."""
    if cache is None or cache == GLOBAL:
        return found
    return replace(
        found,
        caches={name: one for name, one in found.caches.items() if name == cache},
        patterns={name: one for name, one in found.patterns.items() if name == cache},
    )


def ask_about(
    site: Site, selection: Selection, verb: str, *, single: bool = False, **arguments: Any
) -> Answers:
    """Ask about the caches that are selected. UnknownCacheError where every worker that answered has none of them."""
    cache = the_cache(selection)
    if single:
        arguments["cache"] = cache
    elif selection.caches:
        arguments["caches"] = list(selection.caches)
    answers = site.ask(verb, **arguments)
    unknown = [failure for failure in answers.failures if failure.error == "unknown_cache"]
    if unknown and cache is not None and not answers.answers:
        require(cache, *snapshot(site))
    return answers


def require(cache: str, found: Snapshot, reach: Reach) -> None:
    if cache not in found.caches and reach.answered:
        raise UnknownCacheError(cache, sorted(found.caches))


def the_cache(selection: Selection) -> str | None:
    """Return the one cache that is selected, None for all."""
    return selection.caches[0] if selection.caches else None


def ranked(rows: list[dict[str, Any]], measure: str) -> list[dict[str, Any]]:
    """Put those first that have most of it; rows that do not tell stay as the workers ordered them."""
    return sorted(rows, key=lambda row: -(row.get(measure) or 0))
