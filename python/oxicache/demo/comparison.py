"""Each job twice: with the decorators taken off, and with them on and the caches empty at first."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .jobs import Job


@dataclass(frozen=True)
class Outcome:
    """How one job went. Seconds by the wall clock; `reads` is how often a cache was asked."""

    job: Job
    without_seconds: float
    with_seconds: float
    hits: int
    reads: int
    equal: bool

    @property
    def speedup(self) -> float:
        """How many times less time the job took with the cache."""
        return self.without_seconds / self.with_seconds if self.with_seconds else 0.0

    @property
    def hit_ratio(self) -> float:
        """Hits among all reads, 0 to 1."""
        return self.hits / self.reads if self.reads else 0.0


def _decorated() -> list[tuple[type | ModuleType, str, Any]]:
    """Find everything decorated that the jobs reach: (owner, name, the decorated thing)."""
    from .site.atlas import geodesy, models

    owners = (models.Continent, models.Country, models.City, geodesy)
    return [
        (owner, name, thing)
        for owner in owners
        for name, thing in list(vars(owner).items())
        if hasattr(thing, "cache_info")
    ]


@contextmanager
def undecorated() -> Iterator[None]:
    """Put the plain functions in the place of the cached ones, so that "without" means without, not with misses."""
    found = _decorated()
    try:
        for owner, name, thing in found:
            plain = property(thing.fget) if isinstance(thing, property) else thing.__wrapped__
            setattr(owner, name, plain)
        yield
    finally:
        for owner, name, thing in found:
            setattr(owner, name, thing)


def _timed(job: Job) -> tuple[float, Any]:
    gc.collect()
    start = time.perf_counter()
    result = job.run()
    return time.perf_counter() - start, result


def compare(job: Job) -> Outcome:
    """Run the job without the cache, then with it."""
    from oxicache import cache_manager

    from .site.atlas.counters import totals

    with undecorated():
        without_seconds, plain = _timed(job)
    cache_manager.clear_all()
    before = totals()
    with_seconds, cached = _timed(job)
    spent = totals().since(before)
    return Outcome(
        job=job,
        without_seconds=without_seconds,
        with_seconds=with_seconds,
        hits=spent.hits,
        reads=spent.hits + spent.misses,
        equal=plain == cached,
    )
