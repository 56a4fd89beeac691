"""What the caches of one process, or of all workers of a host, have counted: snapshots, sums, quantiles.

The figures are counted in Rust (src/engine) and come as the `stats` verb gives them. Who asks the workers: workers.py.
As Prometheus text: prometheus.py. What the figures mean: health.py and advice.py.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from oxicache import _native

__all__ = [
    "OTHER",
    "PatternStats",
    "Process",
    "Snapshot",
    "Stats",
    "conceal",
    "global_stats",
    "local",
    "mean_ms",
    "merge",
    "merge_histograms",
    "merge_patterns",
    "merge_stats",
    "quantile",
]

Stats: TypeAlias = dict[str, Any]
PatternStats: TypeAlias = dict[str, Any]
Histogram: TypeAlias = dict[str, Any]

MAX_PATTERNS = 256  # key patterns shown of one cache, as many as one process keeps of it
OTHER = "other"  # the pattern that stands for all that are not shown

_SUMMED = frozenset({
    "size", "max_size", "expired_entries", "hits", "misses", "stale_hits", "sets", "evictions", "expirations",
    "invalidations", "rejected", "loads", "load_errors", "load_seconds",
})  # fmt: skip
_PATTERN_SUMS = ("hits", "misses", "sets", "deletes", "loads", "load_seconds", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What one process answered: the result of `stats`, and of `health` and `config` where these were asked."""

    pid: int
    stats: Mapping[str, Any]
    started: float | None = None  # seconds since the epoch
    health: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def caches(self) -> Mapping[str, Stats]:
        """Its caches by name."""
        caches: Mapping[str, Stats] = self.stats.get("caches", {})
        return caches

    @property
    def enabled(self) -> bool:
        """Whether its caches store anything."""
        return bool(self.stats.get("enabled", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The figures of all workers that answered, summed by cache name, at the second `at` since the epoch."""

    caches: dict[str, Stats]
    patterns: dict[str, list[PatternStats]]
    processes: tuple[Process, ...]
    silent: tuple[int, ...] = ()  # pids of those that did not answer
    at: float = 0.0

    @property
    def known(self) -> int:
        """How many workers there are."""
        return len(self.processes) + len(self.silent)

    @property
    def answered(self) -> int:
        """How many of them answered."""
        return len(self.processes)

    @property
    def by_pid(self) -> dict[int, Mapping[str, Stats]]:
        """The caches of each process."""
        return {process.pid: process.caches for process in self.processes}

    @property
    def is_exact(self) -> bool:
        """Whether no figure is one that a busy worker knew from before."""
        return all(process.stats.get("exact", True) for process in self.processes)

    @property
    def disabled(self) -> tuple[int, ...]:
        """Pids of the processes whose caches are switched off."""
        return tuple(process.pid for process in self.processes if not process.enabled)

    def concealing(self, sensitive: Iterable[str]) -> "Snapshot":
        """The same without the names of sensitive key patterns; see `conceal`."""
        globs = tuple(sensitive)
        processes = [
            replace(one, stats={**one.stats, "patterns": conceal(one.stats.get("patterns") or {}, globs)})
            for one in self.processes
        ]
        return replace(self, processes=tuple(processes), patterns=conceal(self.patterns, globs))

    def holders(self, cache: str) -> int:
        """How many processes have this cache."""
        return sum(cache in process.caches for process in self.processes)


def local(*, patterns: bool = False) -> Snapshot:
    """The figures of this process alone."""
    return merge([Process(pid=os.getpid(), stats=_native.metrics(patterns))])


def merge(processes: Iterable[Process], *, silent: Iterable[int] = ()) -> Snapshot:
    """Sum what several processes answered; shares and percentages are computed anew from the sums."""
    processes = tuple(processes)
    answered = {process.pid for process in processes}
    caches: dict[str, list[Stats]] = {}
    patterns: dict[str, list[PatternStats]] = {}
    for process in processes:
        for name, stats in process.caches.items():
            caches.setdefault(name, []).append(stats)
        for name, found in (process.stats.get("patterns") or {}).items():
            patterns.setdefault(name, []).extend(found)
    return Snapshot(
        caches={name: merge_stats(parts) for name, parts in caches.items()},
        patterns={name: merge_patterns(parts) for name, parts in patterns.items()},
        processes=processes,
        silent=tuple(pid for pid in silent if pid not in answered),  # it may have answered in part
        at=time.time(),
    )


def global_stats(caches: Mapping[str, Stats]) -> dict[str, Any]:
    """What document 001 has under `_global`, of these caches."""
    entries = sum(stats.get("size") or 0 for stats in caches.values())
    room = sum(stats.get("max_size") or 0 for stats in caches.values())
    return {
        "total_caches": len(caches),
        "total_entries": entries,
        "total_max_entries": room,
        "global_utilization_percent": _percent(entries, room),
    }


def merge_stats(parts: Sequence[Stats]) -> Stats:
    """Sum the figures of one cache in several processes, its fields in the order they have there.

    What is a setting and not a figure is the longest TTL and grace, and otherwise what the first one has. max_bytes is
    None, unlimited, where it is so in one of them.
    """
    names = dict.fromkeys(name for part in parts for name in part)
    merged = {name: _combined(name, [part[name] for part in parts if name in part]) for name in names}
    if "utilization_percent" in merged:
        merged["utilization_percent"] = _percent(merged.get("size") or 0, merged.get("max_size") or 0)
    if "hit_rate" in merged:
        merged["hit_rate"] = _share(merged.get("hits") or 0, merged.get("misses") or 0)
    return merged


def _combined(name: str, values: list[Any]) -> Any:
    if name in _SUMMED:
        return _sum(values)
    return _RULES.get(name, _first)(values)


def _first(values: list[Any]) -> Any:
    return values[0]


def _sum(values: list[Any]) -> Any:
    return sum(value for value in values if value is not None)


def _sum_of_limits(values: list[Any]) -> Any:
    return None if None in values else sum(values)


def _sum_or_none(values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _longest(values: list[Any]) -> Any:
    return None if None in values else max(values)


def _latency(values: list[dict[str, Histogram]]) -> dict[str, Histogram]:
    kinds = dict.fromkeys(kind for value in values for kind in value)
    return {kind: merge_histograms([value[kind] for value in values if kind in value]) for kind in kinds}


_RULES: dict[str, Callable[[list[Any]], Any]] = {
    "ttl_seconds": _longest,
    "grace_seconds": _longest,
    "size_bytes": _sum_or_none,
    "max_bytes": _sum_of_limits,
    "sampled_every": max,
    "latency": _latency,
}


def merge_histograms(parts: Sequence[Histogram]) -> Histogram:
    """Add histograms. Where their bounds differ, as during a deploy, those remain that all of them have."""
    if not parts:
        return {"bounds_seconds": [], "counts": [0], "sum_seconds": 0.0, "count": 0}
    bounds = [
        bound for bound in parts[0]["bounds_seconds"] if all(bound in p["bounds_seconds"] for p in parts)
    ]
    counts = [0] * (len(bounds) + 1)
    for part in parts:
        for index, count in enumerate(part["counts"]):
            # A bucket reaches up to its own bound, so it belongs below the next bound that remains.
            last = index == len(part["bounds_seconds"])
            counts[len(bounds) if last else bisect_left(bounds, part["bounds_seconds"][index])] += count
    return {
        "bounds_seconds": bounds,
        "counts": counts,
        "sum_seconds": sum(part["sum_seconds"] for part in parts),
        "count": sum(part["count"] for part in parts),
    }


def quantile(histogram: Histogram, share: float) -> float | None:
    """Seconds that this share (0 to 1) of the observations took at most; None without any.

    Interpolated within its bucket, as Prometheus does; of what lies beyond the last bound no more is known than that.
    """
    total = sum(histogram["counts"])
    bounds: list[float] = histogram["bounds_seconds"]
    if not total or not bounds:
        return None
    rank, below = share * total, 0
    for index, count in enumerate(histogram["counts"][:-1]):
        if count and below + count >= rank:
            low = bounds[index - 1] if index else 0.0
            return float(low + (bounds[index] - low) * max(0.0, rank - below) / count)
        below += count
    return bounds[-1]


def mean_ms(histogram: Histogram | None) -> float | None:
    """The mean of what was observed, in milliseconds; None without any."""
    if not histogram or not histogram["count"]:
        return None
    return float(histogram["sum_seconds"] / histogram["count"] * 1000)


def merge_patterns(parts: Iterable[PatternStats], limit: int = MAX_PATTERNS) -> list[PatternStats]:
    """Sum the figures of each key pattern, most used first; beyond `limit` they become the pattern "other"."""
    sums: dict[str, PatternStats] = {}
    for part in parts:
        _add(sums, part["pattern"], part)
    rest = sums.pop(OTHER, None)
    ranked = sorted(sums.values(), key=_operations, reverse=True)
    kept = {part["pattern"]: part for part in ranked[:limit]}
    for part in [*ranked[limit:], *([rest] if rest else [])]:
        _add(kept, OTHER, part)
    return [
        {**part, "avg_size": part["bytes"] / part["sets"] if part["sets"] else 0.0} for part in kept.values()
    ]


def _add(sums: dict[str, PatternStats], name: str, part: PatternStats) -> None:
    into = sums.setdefault(name, {"pattern": name, **dict.fromkeys(_PATTERN_SUMS, 0)})
    for key in _PATTERN_SUMS:
        into[key] += part.get(key) or 0


def _operations(part: PatternStats) -> int:
    counts: list[int] = [part[key] for key in ("hits", "misses", "sets", "deletes", "loads")]
    return sum(counts)


def conceal(
    patterns: Mapping[str, list[PatternStats]], sensitive: Iterable[str]
) -> dict[str, list[PatternStats]]:
    """Name no key pattern of a sensitive cache, and no sensitive key pattern: their figures go to "other".

    `sensitive` are globs; each is held against names of caches and against key patterns.
    """
    globs = [_native.KeyPattern(glob) for glob in sensitive]

    def is_sensitive(text: str) -> bool:
        return any(glob.matches(text) for glob in globs)

    shown: dict[str, list[PatternStats]] = {}
    for cache, found in patterns.items():
        whole = is_sensitive(cache)
        shown[cache] = merge_patterns(
            {**part, "pattern": OTHER} if whole or is_sensitive(part["pattern"]) else part for part in found
        )
    return shown


def _percent(part: float, whole: float) -> float:
    return part / whole * 100 if whole else 0.0


def _share(part: float, rest: float) -> float | None:
    return part / (part + rest) if part + rest else None
