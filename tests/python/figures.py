"""Figures as the `stats` verb gives them, for the tests of what is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from oxicache.metrics import Process, Snapshot, merge

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def histogram(
    counts: Sequence[int] = (), bounds: Sequence[float] = BOUNDS, seconds: float = 0.0
) -> dict[str, Any]:
    filled = [*counts, *[0] * (len(bounds) + 1 - len(counts))]
    return {"bounds_seconds": list(bounds), "counts": filled, "sum_seconds": seconds, "count": sum(filled)}


def cache_stats(size: int = 0, max_size: int = 100, **given: Any) -> dict[str, Any]:
    """CacheStats of one process: the shape of the contract, consistent with itself."""
    hits, misses = given.get("hits", 0), given.get("misses", 0)
    stats = {
        "size": size,
        "max_size": max_size,
        "expired_entries": 0,
        "ttl_seconds": 3600,
        "utilization_percent": size / max_size * 100 if max_size else 0.0,
        "hits": hits,
        "misses": misses,
        "hit_rate": hits / (hits + misses) if hits + misses else None,
        "stale_hits": 0,
        "sets": 0,
        "evictions": 0,
        "expirations": 0,
        "invalidations": 0,
        "rejected": 0,
        "size_bytes": None,
        "max_bytes": None,
        "policy": "lru",
        "grace_seconds": 0,
        "loads": 0,
        "load_errors": 0,
        "load_seconds": 0.0,
        "sampled_every": 64,
        "latency": {"get": histogram(), "load": histogram()},
        "kind": "cache",
    }
    assert set(given) <= set(stats), set(given) - set(stats)
    return {**stats, **given}


def pattern_stats(pattern: str, **given: Any) -> dict[str, Any]:
    stats = {
        "pattern": pattern,
        "hits": 0,
        "misses": 0,
        "sets": 0,
        "deletes": 0,
        "loads": 0,
        "load_seconds": 0.0,
        "bytes": 0,
        "avg_size": 0.0,
    }
    assert set(given) <= set(stats)
    return {**stats, **given}


def worker(
    pid: int,
    caches: Mapping[str, dict[str, Any]],
    patterns: Mapping[str, list[dict[str, Any]]] | None = None,
    *,
    exact: bool = True,
    enabled: bool = True,
    **answers: Any,
) -> Process:
    stats: dict[str, Any] = {"caches": dict(caches), "exact": exact, "enabled": enabled}
    if patterns is not None:
        stats["patterns"] = dict(patterns)
    return Process(pid=pid, stats=stats, **answers)


def one_process(
    patterns: Mapping[str, list[dict[str, Any]]] | None = None, **caches: dict[str, Any]
) -> Snapshot:
    return merge([worker(1, caches, patterns)])
