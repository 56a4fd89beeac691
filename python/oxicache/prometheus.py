"""A snapshot as Prometheus text (format 0.0.4): canonical names, and beside them those that dashboards know already.

The figures are of metrics.py. `FAMILIES` lists every name; the table in docs/monitoring.md is made from it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from oxicache import metrics
from oxicache.metrics import Snapshot, Stats

__all__ = ["CONTENT_TYPE", "FAMILIES", "Family", "exposition", "families_table"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels: TypeAlias = Mapping[str, str]
Sample: TypeAlias = tuple[str, Labels, float]  # what is appended to the family's name, labels, value
Samples: TypeAlias = Iterator[Sample]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, how it counts, what it means, and where its samples come from."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    samples: Callable[["_Source"], Samples]


@dataclass(frozen=True, slots=True)
class _Source:
    """What samples are taken from: caches as (labels, figures), patterns likewise, and the whole."""

    snapshot: Snapshot
    caches: list[tuple[Labels, Stats]]
    patterns: list[tuple[Labels, Mapping[str, Any]]]


def exposition(snapshot: Snapshot, *, by_process: bool = False, sensitive: Iterable[str] = ()) -> str:
    """Write the text. `by_process` gives each worker series of its own, with the label `pid`.

    Of what is `sensitive` (globs, see `metrics.conceal`) only the cache is named.
    """
    return "".join(_lines(_source(snapshot.concealing(sensitive), by_process)))


def _source(snapshot: Snapshot, by_process: bool) -> _Source:
    if not by_process:
        caches: list[tuple[Labels, Stats]] = [
            ({"cache": name}, stats) for name, stats in snapshot.caches.items()
        ]
        return _Source(snapshot, caches, _labelled(snapshot.patterns, {}))
    found = _Source(snapshot, [], [])
    for process in snapshot.processes:
        labels = {"pid": str(process.pid)}
        found.caches.extend(({"cache": name, **labels}, stats) for name, stats in process.caches.items())
        found.patterns.extend(_labelled(process.stats.get("patterns") or {}, labels))
    return found


def _labelled(
    patterns: Mapping[str, list[dict[str, Any]]], labels: Labels
) -> list[tuple[Labels, Mapping[str, Any]]]:
    return [
        ({"cache": name, "pattern": part["pattern"], **labels}, part)
        for name, parts in patterns.items()
        for part in parts
    ]


def _lines(source: _Source) -> Iterator[str]:
    for family in FAMILIES:
        samples = list(family.samples(source))
        if samples:
            yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
        for suffix, labels, value in samples:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{family.name}{suffix}{f'{{{shown}}}' if shown else ''} {_number(value)}\n"


def _escaped(text: str) -> str:
    # Lone surrogates have no place in UTF-8; spelt out, two of them stay two names.
    known = text.encode("utf-8", "backslashreplace").decode()
    return known.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


# ---------------------------------------------------------------- where samples come from


def _of(field: str, otherwise: float | None = None) -> Callable[[_Source], Samples]:
    """Take one field of each cache; where it is None `otherwise`, or no sample."""

    def samples(source: _Source) -> Samples:
        for labels, stats in source.caches:
            value = stats.get(field)
            value = otherwise if value is None and field in stats else value
            if value is not None:
                yield "", labels, value

    return samples


def _of_patterns(field: str) -> Callable[[_Source], Samples]:
    def samples(source: _Source) -> Samples:
        for labels, part in source.patterns:
            yield "", labels, part.get(field) or 0

    return samples


def _histogram(kind: str) -> Callable[[_Source], Samples]:
    def samples(source: _Source) -> Samples:
        for labels, stats in source.caches:
            found = (stats.get("latency") or {}).get(kind)
            if found is None or not found["count"]:
                continue  # of a site's many caches most load nothing, and each histogram has dozens of series
            total = 0
            for bound, count in zip([*found["bounds_seconds"], math.inf], found["counts"], strict=True):
                total += count
                yield "_bucket", {**labels, "le": _bound(bound)}, total
            yield "_sum", labels, found["sum_seconds"]
            yield "_count", labels, total

    return samples


def _bound(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else repr(float(bound))


def _workers(source: _Source) -> Samples:
    yield "", {}, source.snapshot.known


def _answered(source: _Source) -> Samples:
    yield "", {}, source.snapshot.answered


def _enabled(source: _Source) -> Samples:
    for process in source.snapshot.processes:
        yield "", {"pid": str(process.pid)}, float(process.enabled)


def _resident(source: _Source) -> Samples:
    for process in source.snapshot.processes:
        if process.health.get("rss_bytes"):
            yield "", {"pid": str(process.pid)}, process.health["rss_bytes"]


def _utilization(source: _Source) -> Samples:
    for labels, stats in source.caches:
        yield "", labels, (stats.get("utilization_percent") or 0) / 100


def _hit_rate(source: _Source) -> Samples:
    for labels, stats in source.caches:
        if stats.get("hit_rate") is not None:
            yield "", labels, stats["hit_rate"]


def _response_time(source: _Source) -> Samples:
    for labels, stats in source.caches:
        mean = metrics.mean_ms((stats.get("latency") or {}).get("get"))
        if mean is not None:
            yield "", labels, mean


OPERATIONS = {"hit": "hits", "miss": "misses", "set": "sets", "delete": "invalidations"}


def _operations(source: _Source) -> Samples:
    for labels, stats in source.caches:
        for name, field in OPERATIONS.items():
            yield "", {**labels, "op": name}, stats.get(field) or 0


def _of_django(*fields: str) -> Callable[[_Source], Samples]:
    """Take what django-prometheus counts, of Django's aliases alone, with the label that it has."""

    def samples(source: _Source) -> Samples:
        for labels, stats in source.caches:
            if stats.get("kind") == "django":
                yield "", {"backend": "oxicache", **labels}, sum(stats.get(field) or 0 for field in fields)

    return samples


_CACHE = ("cache",)
_PATTERN = ("cache", "pattern")

FAMILIES: tuple[Family, ...] = (
    Family("oxicache_workers", "gauge", "Live workers of this host.", (), _workers),
    Family(
        "oxicache_workers_answered", "gauge", "Those that answered; the figures are theirs.", (), _answered
    ),
    Family("oxicache_enabled", "gauge", "Whether the caches of a worker store anything.", ("pid",), _enabled),
    Family("oxicache_resident_memory_bytes", "gauge", "Memory of a worker, all of it.", ("pid",), _resident),
    Family("oxicache_entries", "gauge", "Entries held, expired ones included.", _CACHE, _of("size")),
    Family("oxicache_max_entries", "gauge", "Entries that may be held.", _CACHE, _of("max_size")),
    Family(
        "oxicache_expired_entries", "gauge", "Entries held that have expired.", _CACHE, _of("expired_entries")
    ),
    Family(
        "oxicache_utilization_ratio", "gauge", "Entries held, of those that may be.", _CACHE, _utilization
    ),
    Family(
        "oxicache_size_bytes",
        "gauge",
        "What the entries weigh, where that is limited.",
        _CACHE,
        _of("size_bytes"),
    ),
    Family("oxicache_max_bytes", "gauge", "What the entries may weigh.", _CACHE, _of("max_bytes", math.inf)),
    Family(
        "oxicache_ttl_seconds", "gauge", "How long a new entry lives.", _CACHE, _of("ttl_seconds", math.inf)
    ),
    Family("oxicache_hits_total", "counter", "Reads that found a live entry.", _CACHE, _of("hits")),
    Family("oxicache_misses_total", "counter", "Reads that found none.", _CACHE, _of("misses")),
    Family(
        "oxicache_stale_hits_total",
        "counter",
        "Expired values served within their grace.",
        _CACHE,
        _of("stale_hits"),
    ),
    Family("oxicache_sets_total", "counter", "Values stored.", _CACHE, _of("sets")),
    Family("oxicache_evictions_total", "counter", "Entries removed to make room.", _CACHE, _of("evictions")),
    Family(
        "oxicache_expirations_total", "counter", "Entries removed as expired.", _CACHE, _of("expirations")
    ),
    Family(
        "oxicache_invalidations_total",
        "counter",
        "Entries deleted, cleared or invalidated.",
        _CACHE,
        _of("invalidations"),
    ),
    Family("oxicache_rejected_total", "counter", "Values too heavy to be stored.", _CACHE, _of("rejected")),
    Family("oxicache_loads_total", "counter", "Values computed on a miss.", _CACHE, _of("loads")),
    Family("oxicache_load_errors_total", "counter", "Computations that raised.", _CACHE, _of("load_errors")),
    Family(
        "oxicache_get_duration_seconds",
        "histogram",
        "How long reads took; a sample of them.",
        _CACHE,
        _histogram("get"),
    ),
    Family(
        "oxicache_load_duration_seconds",
        "histogram",
        "How long computations took; every one.",
        _CACHE,
        _histogram("load"),
    ),
    Family(
        "oxicache_pattern_hits_total",
        "counter",
        "Hits of a key pattern, estimated from a sample.",
        _PATTERN,
        _of_patterns("hits"),
    ),
    Family("oxicache_pattern_misses_total", "counter", "Misses, likewise.", _PATTERN, _of_patterns("misses")),
    Family(
        "oxicache_pattern_sets_total", "counter", "Values stored, likewise.", _PATTERN, _of_patterns("sets")
    ),
    Family(
        "oxicache_pattern_deletes_total", "counter", "Deletes, likewise.", _PATTERN, _of_patterns("deletes")
    ),
    Family(
        "oxicache_pattern_loads_total",
        "counter",
        "Values computed, likewise.",
        _PATTERN,
        _of_patterns("loads"),
    ),
    Family(
        "oxicache_pattern_load_seconds_total",
        "counter",
        "Seconds spent computing, likewise.",
        _PATTERN,
        _of_patterns("load_seconds"),
    ),
    Family(
        "oxicache_pattern_set_bytes_total",
        "counter",
        "What the values stored weighed, likewise.",
        _PATTERN,
        _of_patterns("bytes"),
    ),
    # As django-prometheus names them: `backend` is its label, and `cache` tells aliases apart.
    Family(
        "django_cache_get_total",
        "counter",
        "Total get requests on cache",
        ("backend", "cache"),
        _of_django("hits", "misses"),
    ),
    Family(
        "django_cache_get_hits_total",
        "counter",
        "Total hits on cache",
        ("backend", "cache"),
        _of_django("hits"),
    ),
    Family(
        "django_cache_get_misses_total",
        "counter",
        "Total misses on cache",
        ("backend", "cache"),
        _of_django("misses"),
    ),
    # Source: EnterpriseLand, `export_metrics('prometheus')`.
    Family("cache_hit_rate", "gauge", "Hits as a share of reads, 0 to 1.", _CACHE, _hit_rate),
    Family("cache_response_time_ms", "gauge", "Mean time of the reads sampled.", _CACHE, _response_time),
    Family("cache_operations_total", "counter", "Operations by kind.", ("cache", "op"), _operations),
)


def families_table() -> str:
    """The metrics as a Markdown table: the one in docs/monitoring.md."""
    rows = ["| metric | kind | labels | what it counts |", "|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help.rstrip('.')} |")
    return "\n".join(rows) + "\n"
