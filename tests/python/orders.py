"""Orders left by a native thread, as the control thread leaves them: posted, carried out by whoever comes, answered."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oxicache._native import TTLCache, _answer, _bury, _post, attend, cache_manager

Cache = TTLCache[Any, Any]

# What a native thread may take to wake up, on a machine that is busy with other things.
PATIENCE_SECONDS = 30.0


@contextmanager
def registered(**options: Any) -> Iterator[tuple[str, Cache]]:
    """A cache of its own, under its name with the process-wide manager."""
    cache: Cache = TTLCache(options.pop("max_size", 1_000), options.pop("ttl", 60), **options)
    name = cache_manager.register("ordered", cache)
    try:
        yield name, cache
    finally:
        cache_manager.remove(name, cache)


def post(order: str, about: str = "", *, names: list[str] | None = None) -> int:
    """Have a native thread leave an order, and wait for the answer; the number that `answer` asks for."""
    return _post(names, [(order, about)], PATIENCE_SECONDS)


def answer(number: int, *, attending: bool = False) -> dict[str, list[int | None]]:
    """What came of an order, once whoever waits for it was told; `attending`: carried out by this thread meanwhile."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := _answer(number)) is None:
        if attending:
            attend()  # a bite at a time: where the machine is busy, one may have ended before it did anything
        assert time.monotonic() < end, "nobody answered"
    return found


def ordered(order: str, about: str = "", *, names: list[str] | None = None) -> dict[str, list[int | None]]:
    """As `post`, and have it carried out here and now."""
    number = post(order, about, names=names)
    attend()
    return answer(number, attending=True)


def drain() -> None:
    """Drop all that orders took out."""
    while _bury(1.0):
        pass
    attend()
