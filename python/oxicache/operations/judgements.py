"""`monitor`, `status`, `optimize`: what the figures mean. The meaning is that of health.py and advice.py."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from oxicache import advice, health, metrics
from oxicache.metrics import Snapshot
from oxicache.operations.figures import TOP_LIMIT, narrowed, ranked, snapshot, stats_report
from oxicache.options import DEFAULT_CACHE_TTL
from oxicache.reports import MonitorReport, OptimizeReport, StatusReport
from oxicache.reports.figures import GLOBAL
from oxicache.selection import EVERYTHING, Selection
from oxicache.sites import Site
from oxicache.thresholds import Thresholds

__all__ = ["monitor", "optimize", "status"]


def monitor(
    site: Site,
    selection: Selection = EVERYTHING,
    *,
    thresholds: Thresholds | None = None,
    sensitive: Iterable[str] = (),
    limit: int = TOP_LIMIT,
) -> MonitorReport:
    """Check the figures as document 001 does, and show them as document 003 does.

    Of key patterns and caches that are `sensitive` (globs, see `metrics.conceal`) no pattern is named.
    """
    found, reach = snapshot(site, patterns=True, details=True)
    shown = stats_report(found, reach, selection)
    found = narrowed(found, shown.chosen)
    found = replace(found, patterns=metrics.conceal(found.patterns, sensitive))
    only = None if shown.chosen == GLOBAL else shown.chosen
    checked = health.monitor(found.caches, thresholds, only=only)
    patterns = ranked(_patterns(found), "hits")
    return MonitorReport(
        reach=reach,
        timestamp=_now(),
        stats=shown,
        status=health.assess(found, thresholds, only=only).status,
        issues=checked.issues,
        recommendations=checked.recommendations,
        metrics={
            **_performance(found),
            "key_statistics": {f"{one['cache']} {one['pattern']}": _key_statistics(one) for one in patterns},
            "recommendations": [
                one.as_json() for one in advice.advise(found, thresholds, identities=advice.identities())
            ],
        },
        patterns=patterns[:limit],
        limit=limit,
    )


def status(
    site: Site, *, document: Mapping[str, Any] | None = None, thresholds: Thresholds | None = None
) -> StatusReport:
    """Say whether each alias works, what is reached of the targets, and who the workers are.

    `document` is what is known without them, in the shape of document 003: `health` of each alias, `configuration`,
    `backends`.
    """
    found, reach = snapshot(site, patterns=True, details=True)
    judged = health.assess(found, thresholds)
    own = {"health": {}, **(document or {})}
    return StatusReport(
        reach=reach,
        status=judged.status if all(one["healthy"] for one in own["health"].values()) else "critical",
        document={
            "timestamp": _now(),
            **own,
            "performance": _performance(found),
            "warming_schedule": [],  # nothing is scheduled yet
        },
        reasons=[{"status": one.status, "message": one.message} for one in judged.reasons],
        targets=[one.as_json() for one in judged.targets],
        hosts={process.pid: process.health for process in found.processes},
    )


def optimize(
    site: Site,
    *,
    default_timeout: float = DEFAULT_CACHE_TTL,
    unhealthy: Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    sensitive: Iterable[str] = (),
) -> OptimizeReport:
    """Advise what to change, by measured figures. `unhealthy` is the error of each alias that does not work."""
    found, reach = snapshot(site, patterns=True, details=True)
    shown = replace(found, patterns=metrics.conceal(found.patterns, sensitive))
    advised = advice.advise(shown, thresholds, identities=advice.identities(), unhealthy=unhealthy)
    performance = _performance(found)
    return OptimizeReport(
        reach=reach,
        document={
            "timestamp": _now(),
            "current_performance": {
                "hit_rate": performance["hit_rate"],
                "avg_response_time": performance["avg_response_time_ms"],
            },
            "recommendations": [one.as_json() for one in advised],
            "suggested_config": advice.suggested_config(advised, default_timeout),
        },
    )


def _performance(found: Snapshot) -> dict[str, Any]:
    """What document 003 shows of all caches together; None where nothing was measured."""
    caches = found.caches.values()
    hits, misses = (sum(one.get(name) or 0 for one in caches) for name in ("hits", "misses"))
    times = [one["latency"]["get"] for one in caches if "latency" in one]
    return {
        "hit_rate": hits / (hits + misses) if hits + misses else None,  # 0 to 1
        "avg_response_time_ms": metrics.mean_ms(metrics.merge_histograms(times)) if times else None,
        "operations": {
            "hit": hits,
            "miss": misses,
            "set": sum(one.get("sets") or 0 for one in caches),
            "delete": sum(one.get("invalidations") or 0 for one in caches),
        },
    }


def _key_statistics(one: Mapping[str, Any]) -> dict[str, Any]:
    """Source: EnterpriseLand, `get_key_statistics`."""
    reads = one["hits"] + one["misses"]
    return {
        **{name: one[name] for name in ("hits", "misses", "sets", "deletes", "avg_size")},
        "total_size": one["bytes"],
        "hit_rate": one["hits"] / reads if reads else 0.0,
    }


def _patterns(found: Snapshot) -> list[dict[str, Any]]:
    return [{**one, "cache": name} for name, parts in found.patterns.items() for one in parts]


def _now() -> str:
    return datetime.now(UTC).isoformat()
