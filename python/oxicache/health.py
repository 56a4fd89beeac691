"""From figures to healthy, warning or critical, with reasons; and what the documents' own checks say, to the letter.

Where the figures come from: metrics.py. At which of them it speaks up: thresholds.py. What to do about it: advice.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from oxicache import metrics
from oxicache.metrics import Snapshot, Stats
from oxicache.thresholds import Thresholds, in_force

__all__ = [
    "Health",
    "Monitored",
    "Reason",
    "Status",
    "Target",
    "assess",
    "memory_warnings",
    "monitor",
    "targets",
]

Status: TypeAlias = Literal["healthy", "warning", "critical"]

FORMS = ("form", "dropdown")  # first segments of the key patterns that hold choices of forms


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a site is not healthy."""

    status: Literal["warning", "critical"]
    message: str


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that a document names as its aim, beside the measured one; None where nothing was measured."""

    name: str
    unit: str
    target: float
    measured: float | None
    met: bool | None

    def as_json(self) -> dict[str, Any]:
        """As the detailed view shows it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "target": self.target,
            "measured": self.measured,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong, the worst of it, and the figures beside their targets. A missed target is not an illness."""

    reasons: tuple[Reason, ...]
    targets: tuple[Target, ...]

    @property
    def status(self) -> Status:
        """The worst of the reasons; healthy without any."""
        if any(reason.status == "critical" for reason in self.reasons):
            return "critical"
        return "warning" if self.reasons else "healthy"

    def as_json(self) -> dict[str, Any]:
        """As the detailed view shows it."""
        return {
            "status": self.status,
            "reasons": [{"status": reason.status, "message": reason.message} for reason in self.reasons],
            "targets": [target.as_json() for target in self.targets],
        }


@dataclass(frozen=True, slots=True)
class Monitored:
    """What document 001's `monitor` prints below "Issues Found:" and "Recommendations:"."""

    issues: tuple[str, ...]
    recommendations: tuple[str, ...]


def monitor(
    caches: Mapping[str, Stats], thresholds: Thresholds | None = None, *, only: str | None = None
) -> Monitored:
    """Find what document 001 finds, in its words; the limits in them are those of `thresholds`.

    `caches` may be what `get_global_stats()` returns: `_global` is computed anew. With `only` that cache is judged, and
    not all of them together.
    """
    limits = thresholds or in_force()
    caches = {name: stats for name, stats in caches.items() if name != "_global" and only in {None, name}}
    issues, recommendations = [], []
    total = metrics.global_stats(caches)["global_utilization_percent"] if only is None else 0.0
    if total > limits.global_utilization_high:
        issues.append(f"HIGH: Global cache utilization > {limits.global_utilization_high:g}%")
        recommendations.append("Consider increasing cache size limits")
    elif total > limits.global_utilization_medium:
        issues.append(f"MEDIUM: Global cache utilization > {limits.global_utilization_medium:g}%")
    for name, stats in caches.items():
        issues += _issues_of(name, stats, limits)
    return Monitored(tuple(issues), tuple(recommendations))


def _issues_of(name: str, stats: Stats, limits: Thresholds) -> Iterator[str]:
    if stats["utilization_percent"] > limits.cache_utilization_high:
        yield f"HIGH: Cache '{name}' utilization > {limits.cache_utilization_high:g}%"
    elif stats["utilization_percent"] > limits.cache_utilization_medium:
        yield f"MEDIUM: Cache '{name}' utilization > {limits.cache_utilization_medium:g}%"
    if (stats["expired_entries"] or 0) * 100 > stats["size"] * limits.expired_share:
        yield f"MEDIUM: Cache '{name}' has many expired entries"


def memory_warnings(
    utilization_percent: float, tracker_size: int, expired_entries: int, thresholds: Thresholds | None = None
) -> list[str]:
    """What document 000's `memory_health_check` warns of, in its words; empty when healthy."""
    limits = thresholds or in_force()
    found = []
    if utilization_percent > limits.memory_check_utilization:
        found.append("High cache utilization")
    if tracker_size > limits.deletion_tracker_size:
        found.append("Large deletion tracker")
    if expired_entries > limits.expired_entries:
        found.append("High number of expired cache entries")
    return found


def assess(
    snapshot: Snapshot,
    thresholds: Thresholds | None = None,
    *,
    memory_percent: float | None = None,
    only: str | None = None,
) -> Health:
    """Judge all workers together. `memory_percent` is the share of the memory in use, where it was looked up.

    With `only` that cache is judged, and not all of them together. HIGH of document 001 is critical here and MEDIUM a
    warning. Not to answer is critical when no worker does.
    """
    limits = thresholds or in_force()
    reasons = [
        *_of_workers(snapshot, limits),
        *_of_memory(memory_percent, limits),
        *(
            Reason("critical" if issue.startswith("HIGH") else "warning", issue.partition(": ")[2])
            for issue in monitor(snapshot.caches, limits, only=only).issues
        ),
    ]
    return Health(tuple(reasons), tuple(targets(snapshot, limits)))


def _of_workers(snapshot: Snapshot, limits: Thresholds) -> Iterator[Reason]:
    if snapshot.silent:
        worst: Literal["warning", "critical"] = "warning" if snapshot.processes else "critical"
        yield Reason(
            worst,
            f"{snapshot.answered} of {snapshot.known} workers answered; silent: {_pids(snapshot.silent)}",
        )
    if snapshot.disabled:
        yield Reason("warning", f"Caching is disabled in {_pids(snapshot.disabled)}")
    for process in snapshot.processes:
        python = process.health.get("python", {})
        silent_ms = python.get("silent_for_ms")
        if not python.get("answers", True) and (silent_ms or 0) > limits.python_silent_ms:
            yield Reason("warning", f"Python of worker {process.pid} has not answered for {silent_ms:.0f} ms")


def _of_memory(percent: float | None, limits: Thresholds) -> Iterator[Reason]:
    if percent is None:
        return
    if percent > limits.memory_critical:
        yield Reason("critical", f"Memory in use is {percent:.1f}%, above {limits.memory_critical:g}%")
    elif percent > limits.memory_high:
        yield Reason("warning", f"Memory in use is {percent:.1f}%, above {limits.memory_high:g}%")


def _pids(pids: Iterable[int]) -> str:
    return ", ".join(str(pid) for pid in pids)


def targets(snapshot: Snapshot, thresholds: Thresholds | None = None) -> Iterator[Target]:
    """The aims of documents 003 and 004 beside what was measured.

    Memory efficiency is the share of the entries held that are alive; nothing else of memory is known of every cache.
    """
    limits = thresholds or in_force()
    least = limits.min_reads
    for name, stats in snapshot.caches.items():
        rate = hit_rate(stats, least)
        yield _at_least(f"Hit rate of '{name}'", limits.target_hit_rate, rate)
    forms = [
        part
        for found in snapshot.patterns.values()
        for part in found
        if part["pattern"].partition(":")[0] in FORMS
    ]
    if forms:
        yield _at_least(
            "Hit rate of form choices", limits.target_hit_rate_forms, hit_rate(_reads(forms), least)
        )
    yield _at_least(
        "Hit rate of all caches",
        limits.target_hit_rate_overall,
        hit_rate(_reads(snapshot.caches.values()), least),
    )
    times = _latencies(snapshot)
    yield _at_most("Mean time of a get", limits.target_response_ms, metrics.mean_ms(times["get"]))
    p95 = metrics.quantile(times["load"], 0.95)
    yield _at_most("95th percentile of loads", limits.target_p95_ms, None if p95 is None else p95 * 1000)
    held = sum(stats["size"] for stats in snapshot.caches.values())
    expired = sum(stats["expired_entries"] or 0 for stats in snapshot.caches.values())
    efficiency = (held - expired) / held * 100 if held else None
    yield _at_least("Memory efficiency", limits.target_memory_efficiency, efficiency)
    yield _at_least("Warming success", limits.target_warming_success, None)


def hit_rate(stats: Mapping[str, Any], min_reads: float) -> float | None:
    """In percent; None of fewer than `min_reads` reads."""
    hits, reads = stats.get("hits") or 0, (stats.get("hits") or 0) + (stats.get("misses") or 0)
    return hits / reads * 100 if reads and reads >= min_reads else None


def _reads(parts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    parts = list(parts)
    return {name: sum(part.get(name) or 0 for part in parts) for name in ("hits", "misses")}


def _latencies(snapshot: Snapshot) -> dict[str, Any]:
    found = [stats.get("latency") or {} for stats in snapshot.caches.values()]
    return {kind: metrics.merge_histograms([f[kind] for f in found if kind in f]) for kind in ("get", "load")}


def _at_least(name: str, target: float, measured: float | None) -> Target:
    return Target(name, "percent", target, measured, None if measured is None else measured >= target)


def _at_most(name: str, target: float, measured: float | None) -> Target:
    return Target(name, "milliseconds", target, measured, None if measured is None else measured <= target)
