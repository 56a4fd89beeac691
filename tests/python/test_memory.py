"""A million entries: all found, all swept, all gone, at a cost in bytes that stays near what the design says."""

import contextlib
import gc
import os
from pathlib import Path
from typing import Any, cast

import pytest
from child_process import check_call
from driven_clock import Clock

from oxicache._native import TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

MILLION = 1_000_000
# The design's target is 72 bytes an entry beyond key and value. The bound here is loose: it is there to catch a layout
# gone wrong or entries kept twice; the figure itself is the benches' business.
LOOSE_BYTES = 144


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def million(policy: str) -> None:
    """Insert, read, replace, sweep half, clear; then again, which must not need more."""
    clock = Clock()
    keys = [f"key:{number}" for number in range(MILLION)]
    value = object()
    cache: TTLCache[str, Any] = TTLCache(MILLION, 100, policy=cast("Any", policy))
    gc.collect()
    before = _resident()
    for key in keys:
        cache.set(key, value)
    each = (_resident() - before) / MILLION
    assert len(cache) == MILLION
    assert cache.stats()["evictions"] == 0
    assert each < LOOSE_BYTES, each

    assert all(cache.get(key) is value for key in keys)
    assert cache.get("absent") is None
    assert cache.stats()["hits"] == MILLION
    assert len(cache.get_many(keys)) == MILLION
    assert cache.keys()[:3] == keys[:3] or policy != "lru"

    clock.advance(60)
    for key in keys[::2]:
        cache.set(key, value)
    clock.advance(40)
    assert cache.stats()["expired_entries"] == MILLION // 2
    assert cache._cleanup_expired() == MILLION // 2
    assert len(cache) == MILLION // 2
    assert all((cache.peek(key) is value) is (number % 2 == 0) for number, key in enumerate(keys))

    cache.clear()
    assert len(cache) == 0
    assert all(cache.peek(key) is None for key in keys[:1000])
    for key in keys:
        cache.set(key, value)
    assert len(cache) == MILLION
    assert (_resident() - before) / MILLION < 2 * LOOSE_BYTES
    for number in range(MILLION // 10):
        cache.set(number, value)  # type: ignore[arg-type]
    assert len(cache) == MILLION
    assert cache.stats()["evictions"] == MILLION // 10


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_million_entries(policy: str) -> None:
    """Everything stays right, and small, at a million entries."""
    check_call(million, policy)


def own_ttls() -> None:
    """Deadlines in no order, from seconds to years."""
    clock = Clock()
    count = 200_000
    cache: TTLCache[int, int] = TTLCache(count, None)
    step = 7919  # a prime, so that deadlines come in no order
    for number in range(count):
        cache.set(number, number, ttl=(number * step) % count + 1)
    assert cache._cleanup_expired() == 0
    removed = 0
    for at in (1, 2, 50, 1_000, 65_536, 150_000, count):
        clock.advance(at - (clock.at - 1_000))
        swept = cache._cleanup_expired()
        removed += swept
        assert removed == at
        assert len(cache) == count - at
    assert len(cache) == 0


def test_many_deadlines_in_no_order() -> None:
    """Each sweep removes exactly what has expired by then."""
    check_call(own_ttls)


def many_tags() -> None:
    """Tags that nearly all entries carry, and tags of one entry each."""
    count = 100_000
    cache: TTLCache[int, int] = TTLCache(count, 60)
    for number in range(count):
        cache.set(number, number, tags=[f"own:{number}", f"group:{number % 10}", "all"])
    assert cache.delete_by_tag("own:5") == 1
    assert cache.delete_by_tag("group:5") == count // 10 - 1
    assert cache.delete_by_tag("own:15") == 0
    for number in range(0, count, 10):
        cache.delete(number)
    assert cache.delete_by_tag("all") == count - 2 * (count // 10)
    assert len(cache) == 0
    gc.collect()
    before = _resident()
    for _ in range(20):
        for number in range(10_000):
            cache.set(number, number, tags=[f"new:{number}", "all"])
        cache.delete_by_tag("all")
    assert _resident() - before < 64 * 2**20, "names of tags that nothing carries any more must not pile up"


def test_many_tags() -> None:
    """Every tag finds its entries, and tags are forgotten with the last entry that carries them."""
    check_call(many_tags)


def steady() -> None:
    """Writes, reads, expiry and failures for long, at a small size."""
    clock = Clock()
    cache: TTLCache[Any, Any] = TTLCache(100, 10, grace=1, max_bytes=10**6)

    def churn(rounds: int) -> None:
        for number in range(rounds):
            cache.set(f"key:{number}", "x" * 100, ttl=number % 20 + 1, tags=[f"t{number % 7}"])
            cache.set(number, (number,))
            cache.get(f"key:{number - 5}")
            cache.get((number, "absent"))
            cache.delete(number - 3)
            cache._fill("fill", number, cache._token("fill"), cost=0.1)
            if number % 10 == 0:
                clock.advance(1)
            if number % 100 == 0:
                cache.delete_by_tag("t3")
                cache.stats()
                cache._cleanup_expired()
            with contextlib.suppress(TypeError):
                cache.set([], 1)

    churn(20_000)
    gc.collect()
    before = _resident()
    churn(100_000)
    gc.collect()
    assert _resident() - before < 8 * 2**20


def test_nothing_leaks_in_the_long_run() -> None:
    """After as many writes as one likes, a small cache needs no more memory than at first."""
    check_call(steady)
