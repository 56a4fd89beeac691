"""What the EnterpriseLand document has for monitoring.

`cache_monitor` counts nothing itself: what oxicache's caches count natively, in every thread of every live worker, is
what it shows. The figures of other backends are those that callers record.
"""

import json
import os
from dataclasses import replace
from typing import Any, Literal

from django.core.cache import DEFAULT_CACHE_ALIAS
from django.utils import timezone

from oxicache import advice, metrics, prometheus
from oxicache.django import conf, figures
from oxicache.django.site import store_name
from oxicache.metrics import OTHER, PatternStats, Process, Snapshot, Stats
from oxicache.recorded import Recorder, first_segment

__all__ = ["CacheMetrics", "CacheMonitor", "cache_monitor"]


class CacheMetrics:
    """What one alias of CACHES has done, in all live workers. Times are in milliseconds, rates from 0 to 1."""

    def __init__(self, cache_alias: str = DEFAULT_CACHE_ALIAS, *, process: int | str | None = None) -> None:
        self.cache_alias = cache_alias
        self._process = process
        self._recorder = Recorder()

    def record_hit(self, key: str, response_time: float | None = None) -> None:
        """Count a hit of a cache that nobody else counts, in this process."""
        self._record("hits", key, milliseconds=response_time)

    def record_miss(self, key: str, response_time: float | None = None) -> None:
        """As `record_hit`, a miss."""
        self._record("misses", key, milliseconds=response_time)

    def record_set(self, key: str, size: int = 0, response_time: float | None = None) -> None:
        """As `record_hit`, a value of `size` bytes that was stored."""
        self._record("sets", key, size_bytes=size, milliseconds=response_time)

    def record_delete(self, key: str) -> None:
        """As `record_hit`, a delete."""
        self._record("deletes", key)

    def _record(self, what: str, key: str, **figures: Any) -> None:
        if conf.current().monitoring_enabled:
            self._recorder.record(what, key, **figures)

    def snapshot(self) -> Snapshot:
        """The figures of this alias alone, under its own name. Asks the live workers."""
        if not conf.current().monitoring_enabled:
            return metrics.merge([])
        found, _ = figures.live_snapshot(self._process)
        name, alias = store_name(f"django:{self.cache_alias}"), self.cache_alias
        parts = [
            replace(one, stats=self._with_recorded(one.pid, _only(one, name, alias)))
            for one in found.processes
        ]
        # Again, for what was recorded by hand.
        return metrics.merge(parts, silent=found.silent).concealing(conf.current().sensitive)

    def _with_recorded(self, pid: int, stats: dict[str, Any]) -> dict[str, Any]:
        """What this process has recorded belongs to its own figures."""
        if pid != os.getpid() or self._recorder.is_empty:
            return stats
        alias = self.cache_alias
        counted = [found for found in (stats["caches"].get(alias), self._recorder.stats()) if found]
        patterns = [*stats["patterns"].get(alias, []), *self._recorder.patterns()]
        return {**stats, "caches": {alias: metrics.merge_stats(counted)}, "patterns": {alias: patterns}}

    def stats(self) -> Stats:
        """The sums of `snapshot`."""
        return self.snapshot().caches.get(self.cache_alias, {})

    def get_hit_rate(self) -> float:
        """Hits of all reads since the workers began; 0.0 before the first one."""
        return self.stats().get("hit_rate") or 0.0

    def get_average_response_time(self) -> float:
        """Milliseconds a read took, of those that were timed; 0.0 where none was."""
        return metrics.mean_ms((self.stats().get("latency") or {}).get("get")) or 0.0

    def get_key_statistics(self) -> dict[str, dict[str, Any]]:
        """By the first segment of the key: hits, misses, sets, deletes, avg_size, total_size and hit_rate."""
        return _by_first_segment(self.snapshot().patterns.get(self.cache_alias, []))


def _only(process: Process, name: str | None, alias: str) -> dict[str, Any]:
    caches, patterns = process.stats.get("caches", {}), process.stats.get("patterns") or {}
    return {
        **process.stats,
        "caches": {alias: caches[name]} if name in caches else {},
        "patterns": {alias: patterns[name]} if name in patterns else {},
    }


def _by_first_segment(parts: list[PatternStats]) -> dict[str, dict[str, Any]]:
    return {
        part["pattern"]: {
            **{name: part[name] for name in ("hits", "misses", "sets", "deletes", "avg_size")},
            "total_size": part["bytes"],
            "hit_rate": part["hits"] / (part["hits"] + part["misses"])
            if part["hits"] + part["misses"]
            else 0.0,
        }
        for part in _folded(parts)
    }


def _folded(parts: list[PatternStats]) -> list[PatternStats]:
    return metrics.merge_patterns(
        part if part["pattern"] == OTHER else {**part, "pattern": first_segment(part["pattern"])}
        for part in parts
    )


class CacheMonitor:
    """The figures of one alias of CACHES as reports. `process="self"` leaves the other workers out."""

    def __init__(self, cache_alias: str = DEFAULT_CACHE_ALIAS, *, process: int | str | None = None) -> None:
        self.cache_alias = cache_alias
        self.metrics = CacheMetrics(cache_alias, process=process)

    def analyze_memory_usage(self) -> dict[str, Any]:
        """What was stored by key pattern, in bytes as the cache weighs them, and which patterns take much of it."""
        parts = _folded(self.metrics.snapshot().patterns.get(self.cache_alias, []))
        total = sum(part["bytes"] for part in parts)
        return {
            "total_tracked_bytes": total,
            "by_pattern": {
                part["pattern"]: {
                    "bytes": part["bytes"],
                    "percentage": part["bytes"] / total * 100 if total else 0.0,
                    "avg_size": part["avg_size"],
                    "count": part["sets"],
                }
                for part in parts
            },
            "recommendations": [one.as_json() for one in advice.of_memory(parts)],
        }

    def generate_report(self) -> dict[str, Any]:
        """Hit rate, response time, figures by key pattern, and advice."""
        snapshot = self.metrics.snapshot()
        stats = snapshot.caches.get(self.cache_alias, {})
        return {
            "cache_alias": self.cache_alias,
            "timestamp": timezone.now().isoformat(),
            "hit_rate": stats.get("hit_rate") or 0.0,
            "avg_response_time_ms": metrics.mean_ms((stats.get("latency") or {}).get("get")) or 0.0,
            "key_statistics": _by_first_segment(snapshot.patterns.get(self.cache_alias, [])),
            "recommendations": [one.as_json() for one in advice.advise(snapshot)],
        }

    report = generate_report

    def export_metrics(self, format: Literal["prometheus", "json"] = "prometheus") -> str:  # noqa: A002 -- its name
        """The figures as text for Prometheus, or the report as JSON. ValueError for another format."""
        if format == "prometheus":
            return prometheus.exposition(self.metrics.snapshot())
        if format == "json":
            return json.dumps(self.generate_report(), indent=2)
        raise ValueError(f"format is {format!r}; it must be 'prometheus' or 'json'")


cache_monitor = CacheMonitor()
