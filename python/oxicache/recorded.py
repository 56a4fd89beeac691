"""What callers record by hand of caches that nobody else counts: hits, misses, sets and deletes, by key pattern.

What oxicache's own caches do is counted in Rust, without this. Source: document 003, `cache_monitor.metrics`.
"""

import os
import threading

from oxicache.metrics import MAX_PATTERNS, OTHER, PatternStats, Stats, merge_stats

__all__ = ["Recorder", "first_segment"]

COUNTED = ("hits", "misses", "sets", "deletes")


def first_segment(key: str) -> str:
    """The key pattern of document 003: the first segment and `:*`, or the key itself where it has one segment."""
    head, colon, _ = key.partition(":")
    return f"{head}:*" if colon else key


class Recorder:
    """Counts for as long as the process lives, or until `reset`; of at most MAX_PATTERNS key patterns by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[str, dict[str, int]] = {}
        self._times = (0.0, 0)  # milliseconds in all, and of how many reads
        if hasattr(os, "register_at_fork"):
            # Another thread may hold the lock at the moment of a fork, and is not there to release it in the child.
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def record(self, what: str, key: str, *, size_bytes: int = 0, milliseconds: float | None = None) -> None:
        """Count one operation: "hits", "misses", "sets" or "deletes". O(1)."""
        pattern = first_segment(key)
        with self._lock:
            if pattern not in self._parts and len(self._parts) >= MAX_PATTERNS:
                pattern = OTHER
            part = self._parts.setdefault(pattern, dict.fromkeys((*COUNTED, "bytes"), 0))
            part[what] += 1
            part["bytes"] += size_bytes
            if milliseconds is not None and what in {"hits", "misses"}:
                self._times = (self._times[0] + milliseconds, self._times[1] + 1)

    def reset(self) -> None:
        """Count from zero."""
        with self._lock:
            self._parts.clear()
            self._times = (0.0, 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was recorded."""
        return not self._parts

    def patterns(self) -> list[PatternStats]:
        """What was recorded, by key pattern, in the shape of what a worker answers."""
        with self._lock:
            return [
                {"pattern": name, **part, "loads": 0, "load_seconds": 0.0}
                for name, part in self._parts.items()
            ]

    def stats(self) -> Stats:
        """What was recorded, as the figures of a cache of which nothing else is known."""
        patterns = self.patterns()
        with self._lock:
            milliseconds, reads = self._times
        sums = {name: sum(part[name] for part in patterns) for name in COUNTED}
        stats: Stats = {
            "size": 0,
            "max_size": 0,
            "expired_entries": 0,
            "utilization_percent": 0.0,
            "hits": sums["hits"],
            "misses": sums["misses"],
            "hit_rate": None,
            "sets": sums["sets"],
            "invalidations": sums["deletes"],
        }
        if reads:
            times = {
                "bounds_seconds": [],
                "counts": [reads],
                "sum_seconds": milliseconds / 1000,
                "count": reads,
            }
            stats["latency"] = {"get": times}
        return merge_stats([stats])
