"""Recommendations from measured figures: what is wrong with which cache, the figure, the limit, and what to do.

The figures are of metrics.py, the limits of thresholds.py. Whether a site is well is for health.py to say.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from oxicache import memos, metrics
from oxicache.health import hit_rate
from oxicache.metrics import OTHER, PatternStats, Snapshot, Stats
from oxicache.thresholds import Thresholds, in_force

__all__ = ["Priority", "Recommendation", "advise", "identities", "of_memory", "suggested_config"]

Priority: TypeAlias = Literal["critical", "high", "medium", "low"]

RANKS: dict[str, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}
GROWTH_MAX = 4  # times as large at one step; then measure again
TTL_FACTOR = 1.5  # Source: EnterpriseLand, `optimize_cache_configuration`, "suggested_config"
HALF = 0.5  # of the misses: then it is their main cause
SLOW_LOAD = 0.1  # seconds; a computation that callers notice waiting for
WORDS_PER_ENTRY = 4  # its key, its namespace, and a tag or two
WORDS_MAX = 2**24
OF_OBJECTS = {"instance", "auto"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One thing to do. `current` is the figure, or `error` what was said instead of one."""

    issue: str
    recommendation: str
    priority: Priority
    current: str | None = None
    error: str | None = None
    limit: str | None = None
    cache: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As document 003 has it, `current` or `error`; then the cache and the limit, where there are any."""
        said = {"issue": self.issue, **({"error": self.error} if self.error else {"current": self.current})}
        said |= {"recommendation": self.recommendation, "priority": self.priority}
        said |= {"cache": self.cache} if self.cache is not None else {}
        return {**said, "limit": self.limit} if self.limit is not None else said


Found: TypeAlias = Iterator[Recommendation]


def advise(
    snapshot: Snapshot,
    thresholds: Thresholds | None = None,
    *,
    identities: Mapping[str, Any] | None = None,
    unhealthy: Mapping[str, str] | None = None,
) -> list[Recommendation]:
    """Say what to do, most urgent first, in the order of the caches otherwise.

    `identities` is what `identities()` returns where the members are decorated; `unhealthy` the error of each alias of
    CACHES that failed its check. A key pattern that must not be named is for the caller to conceal.
    """
    limits = thresholds or in_force()
    known = identities or {}
    found = [
        *_unhealthy(unhealthy or {}),
        *_workers(snapshot),
        *_overall(snapshot, limits),
        *(
            one
            for name, stats in snapshot.caches.items()
            for rule in CACHE_RULES
            for one in rule(_Case(name, stats, snapshot, limits, known.get(name)))
        ),
        *_patterns(snapshot, limits),
        *_collisions(snapshot, limits),
    ]
    return sorted(found, key=lambda one: RANKS[one.priority])


def identities() -> dict[str, Any]:
    """The `identity=` of each decorated member that this process has imported, by the name of its cache."""
    return {cache.name: member.identity for member, cache in memos.decorated() if cache.name}


def suggested_config(recommendations: Iterable[Recommendation], default_timeout: float) -> dict[str, Any]:
    """What document 003 suggests where hit rates are low: a default timeout half as long again."""
    low = any(one.priority == "high" and "hit rate" in one.issue.lower() for one in recommendations)
    return {"default_timeout": _whole(default_timeout * TTL_FACTOR)} if low else {}


# ---------------------------------------------------------------- all caches together


def _unhealthy(errors: Mapping[str, str]) -> Found:
    for alias, error in errors.items():
        yield Recommendation(
            issue=f"Cache '{alias}' is unhealthy",
            error=error,
            recommendation=f"See that CACHES['{alias}'] can be reached and written to; until then all of it is missed.",
            priority="critical",
            cache=alias,
        )


def _workers(snapshot: Snapshot) -> Found:
    if snapshot.disabled:
        pids = ", ".join(map(str, snapshot.disabled))
        yield Recommendation(
            issue="Caching is disabled",
            current=f"{len(snapshot.disabled)} of {snapshot.answered} workers: {pids}",
            recommendation="Run `manage_cache enable`, or set OXICACHE['ENABLED'] to True and restart them.",
            priority="high",
        )
    versions = {process.config["version"] for process in snapshot.processes if "version" in process.config}
    if len(versions) > 1:
        yield Recommendation(
            issue="Workers run different versions of oxicache",
            current=", ".join(sorted(versions)),
            limit="one version",
            recommendation="Restart those that still run the older one.",
            priority="high",
        )
    places = {
        str(process.config["versions"].get("path"))
        for process in snapshot.processes
        if process.config.get("versions")
    }
    if len(places) > 1:
        yield Recommendation(
            issue="Workers do not share their version words",
            current=", ".join(sorted(places)),
            limit="one file",
            recommendation="Give all of them the same RUNTIME_DIR, NAMESPACE and VERSION_WORDS, and restart them: "
            "until then an invalidation in one is not seen by another.",
            priority="critical",
        )


def _overall(snapshot: Snapshot, limits: Thresholds) -> Found:
    hits = sum(stats.get("hits") or 0 for stats in snapshot.caches.values())
    reads = hits + sum(stats.get("misses") or 0 for stats in snapshot.caches.values())
    rate = hit_rate({"hits": hits, "misses": reads - hits}, limits.min_reads)
    if rate is not None and rate < limits.hit_rate_low:
        yield Recommendation(
            issue="Low cache hit rate",
            current=f"{rate:.1f}% of {reads:,} reads",
            limit=f"{limits.hit_rate_low:g}%",
            recommendation="Begin with the caches below that miss most; a longer TTL helps where entries expire "
            "unread, more room where live ones are evicted.",
            priority="high",
        )


def _patterns(snapshot: Snapshot, limits: Thresholds) -> Found:
    for cache, parts in snapshot.patterns.items():
        for part in parts:
            rate = hit_rate(part, limits.min_reads)
            if rate is not None and rate < limits.pattern_hit_rate_low:
                yield Recommendation(
                    issue=f"Low hit rate of key pattern '{part['pattern']}'",
                    current=f"{rate:.1f}% of {part['hits'] + part['misses']:,} reads",
                    limit=f"{limits.pattern_hit_rate_low:g}%",
                    recommendation="Store it for longer, warm it, or do not cache what is hardly asked for twice.",
                    priority="medium",
                    cache=cache,
                )
    yield from of_memory([part for parts in snapshot.patterns.values() for part in parts], limits)


def of_memory(parts: Iterable[PatternStats], thresholds: Thresholds | None = None) -> Found:
    """Name the key patterns that take a large share of the bytes stored. Source: EnterpriseLand."""
    limits = thresholds or in_force()
    merged = metrics.merge_patterns(parts)
    total = sum(part["bytes"] for part in merged)
    for part in merged:
        share = part["bytes"] / total * 100 if total else 0.0
        if share > limits.pattern_memory_share and part["pattern"] != OTHER:
            yield Recommendation(
                issue=f"Key pattern '{part['pattern']}' takes much of the memory",
                current=f"{share:.1f}% of the bytes stored, {part['avg_size']:,.0f} bytes a value",
                limit=f"{limits.pattern_memory_share:g}%",
                recommendation="Store less of each value, for a shorter time, or in an alias of its own.",
                priority="medium",
            )


def _collisions(snapshot: Snapshot, limits: Thresholds) -> Found:
    """Estimate how many entries die with another's word: bumps while an entry lives, times its words, by all words."""
    counted = [
        (process.config["versions"], process.health["uptime_seconds"])
        for process in snapshot.processes
        if process.config.get("versions") and process.health.get("uptime_seconds")
    ]
    ttls = [stats["ttl_seconds"] for stats in snapshot.caches.values() if stats.get("ttl_seconds")]
    if not counted or not ttls:
        return
    words = min(versions["words"] for versions, _ in counted)
    rate = sum(versions.get("bumps", 0) / uptime for versions, uptime in counted)
    share = (1 - math.exp(-rate * max(ttls) * WORDS_PER_ENTRY / words)) * 100
    if share > limits.collision_share and words < WORDS_MAX:
        wanted = words
        while wanted < WORDS_MAX and share * words / wanted > limits.collision_share:
            wanted *= 2
        yield Recommendation(
            issue="Entries are invalidated with others that share their version words",
            current=f"about {share:.1f}% of those that live {max(ttls):g} s, at {rate:.1f} invalidations/s",
            limit=f"{limits.collision_share:g}%",
            recommendation=f"Set OXICACHE['VERSION_WORDS'] to {wanted} instead of {words}, and restart all workers.",
            priority="medium",
        )


# ---------------------------------------------------------------- each cache


@dataclass(frozen=True, slots=True)
class _Case:
    """One cache, and what is known of it."""

    name: str
    stats: Stats
    snapshot: Snapshot
    limits: Thresholds
    identity: Any

    def count(self, field: str) -> int:
        return int(self.stats.get(field) or 0)

    @property
    def rate(self) -> float | None:
        return hit_rate(self.stats, self.limits.min_reads)

    @property
    def holders(self) -> int:
        return max(1, self.snapshot.holders(self.name))

    @property
    def never_hits(self) -> bool:
        """Whether entries belong to objects that nobody asks twice."""
        return isinstance(self.identity, str) and self.identity in OF_OBJECTS and self.rate == 0

    def recommend(
        self, issue: str, recommendation: str, priority: Priority, **figures: str
    ) -> Recommendation:
        return Recommendation(
            issue=f"Cache '{self.name}' {issue}",
            recommendation=recommendation,
            priority=priority,
            cache=self.name,
            **figures,
        )


def _of_instances(case: _Case) -> Found:
    if case.never_hits:
        yield case.recommend(
            f'keeps values of objects that are not asked twice: identity="{case.identity}" never hits',
            'Use identity="class" or a callable where objects are made anew for each request, as views are; or drop '
            "the decorator.",
            "high",
            current=f"0 hits of {case.count('misses'):,} reads",
            limit="more than 0",
        )


def _low_hit_rate(case: _Case) -> Found:
    """Name the main cause of the misses, and what to do about that one."""
    rate, misses = case.rate, case.count("misses")
    if rate is None or rate >= case.limits.hit_rate_low or case.never_hits:
        return
    shares = {cause: case.count(field) / misses for field, cause in CAUSES.items()}
    main = max(shares, key=lambda cause: shares[cause])
    issue, remedy = main(case) if shares[main] >= HALF else _unread(case)
    yield case.recommend(
        issue,
        remedy,
        "high",
        current=f"hit rate {rate:.1f}% of {case.count('hits') + misses:,} reads, {case.count('evictions'):,} evicted, "
        f"{case.count('expirations'):,} expired, {case.count('invalidations'):,} invalidated",
        limit=f"{case.limits.hit_rate_low:g}%",
    )


def _evicting(case: _Case) -> tuple[str, str]:
    issue = "evicts live entries, and its hit rate is low"
    size, room, evicted = (case.count(field) // case.holders for field in ("size", "max_size", "evictions"))
    weight, limit = case.count("size_bytes"), case.count("max_bytes")
    if limit and size < room * 0.9 and case.count("size"):
        # Its weight is what fills it; what was evicted weighed as much as what is there, as far as anyone knows.
        each, held = weight / case.count("size"), limit // case.holders
        return issue, f"Raise max_bytes from {held:,} to {_grown(held, evicted * each):,} in each worker."
    return issue, f"Raise max_size from {room:,} to {_grown(room, evicted):,} in each worker."


def _grown(now: int, more: float) -> int:
    """Room for what was evicted too, at most GROWTH_MAX times as much, to two significant digits upwards."""
    wanted = min(now + more, now * GROWTH_MAX) if now else more
    step: int = 10 ** max(0, len(str(int(wanted))) - 2)
    return math.ceil(wanted / step) * step


def _expiring(case: _Case) -> tuple[str, str]:
    reads = case.count("hits") / max(1, case.count("sets"))
    ttl = case.stats.get("ttl_seconds") or 0
    issue = f"expires its entries after {reads:.2g} reads each, and its hit rate is low"
    longer = _whole(ttl * TTL_FACTOR)
    return issue, f"Raise its TTL from {ttl:g} to {longer:g} seconds, or do not cache what is read once."


def _invalidating(case: _Case) -> tuple[str, str]:
    each = case.count("invalidations") / max(1, case.count("sets"))
    return f"loses {each:.0%} of its entries to invalidations, and its hit rate is low", (
        "See with `manage_cache explain KEY` who invalidates them; use narrower tags, or depend on fewer models."
    )


def _unread(case: _Case) -> tuple[str, str]:
    return "has a low hit rate", (
        f"Its {case.count('sets'):,} values were stored and hardly asked for again: leave out of the key what the "
        "value does not depend on, warm it, or do not cache it."
    )


CAUSES = {"evictions": _evicting, "expirations": _expiring, "invalidations": _invalidating}


def _early_expiry(case: _Case) -> Found:
    """Expiry makes callers wait for a slow computation although the cache is otherwise well used."""
    rate, misses, loads = case.rate, case.count("misses"), case.count("loads")
    if rate is None or rate < case.limits.hit_rate_low or not loads or not misses:
        return
    each = (case.stats.get("load_seconds") or 0.0) / loads
    if each >= SLOW_LOAD and case.count("expirations") / misses >= HALF:
        yield case.recommend(
            "makes callers wait whenever an entry expires",
            "Give it early_refresh=1, so that one caller computes the next value before the last one expires.",
            "medium",
            current=f"{each * 1000:.0f} ms a computation, {case.count('expirations'):,} expired entries",
            limit=f"{SLOW_LOAD * 1000:.0f} ms",
        )


def _too_heavy(case: _Case) -> Found:
    rejected = case.count("rejected")
    if rejected:
        limit = case.stats.get("max_bytes")
        yield case.recommend(
            "refuses values that are too heavy for it",
            "Raise its max_bytes (MAX_BYTES of an alias), or store less of each value.",
            "medium",
            current=f"{rejected:,} refused, {case.count('sets'):,} stored",
            **({"limit": f"{limit // case.holders:,} bytes in each worker"} if limit else {}),
        )


def _failing_loads(case: _Case) -> Found:
    loads, errors = case.count("loads"), case.count("load_errors")
    share = errors / loads * 100 if loads else 0.0
    if loads >= case.limits.min_reads and share > case.limits.load_error_share:
        yield case.recommend(
            "has computations that fail",
            "See to their source; `grace=` serves the last value while it is out of reach.",
            "high",
            current=f"{share:.1f}% of {loads:,} computations",
            limit=f"{case.limits.load_error_share:g}%",
        )


def _other_settings(case: _Case) -> Found:
    """Workers that made the same cache with other limits: a deploy that is not through, or a setting read too early."""
    made = [process.caches[case.name] for process in case.snapshot.processes if case.name in process.caches]
    for field, word in (("max_size", "max_size"), ("ttl_seconds", "ttl"), ("max_bytes", "max_bytes")):
        values = list(dict.fromkeys(stats.get(field) for stats in made))
        if len(values) > 1:
            yield case.recommend(
                f"has another {word} in one worker than in another",
                "Restart the workers that still have the old settings; where it is made by several callers, give all "
                "of them the same.",
                "medium",
                current=", ".join("None" if value is None else f"{value:,}" for value in values),
                limit="one value",
            )


CACHE_RULES: tuple[Callable[[_Case], Found], ...] = (
    _of_instances,
    _low_hit_rate,
    _early_expiry,
    _too_heavy,
    _failing_loads,
    _other_settings,
)


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number
