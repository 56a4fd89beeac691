"""What a NativeCache counts: reads by key pattern, without prefix and version; weights of writes; loads."""

import asyncio
import itertools
from typing import Any

import pytest

from oxicache import _native
from oxicache.django.backends import NativeCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

_numbers = itertools.count()


@pytest.fixture(params=["", "prefix:7"], ids=["bare", "prefixed"])
def cache(request: pytest.FixtureRequest) -> NativeCache:
    return NativeCache(f"metrics-{next(_numbers)}", {"KEY_PREFIX": request.param})


def told(cache: NativeCache) -> tuple[dict[str, Any], dict[str, Any]]:
    """A store's numbers, and what is told of its key patterns."""
    assert cache._store is not None
    name = cache._store.name
    assert name is not None
    told = _native.metrics(True)
    return told["caches"][name], {one["pattern"]: one for one in told["patterns"][name]}


def test_a_store_is_shown_as_djangos(cache: NativeCache) -> None:
    """Under the name that the manager gave it, with its limits in bytes."""
    stats, _ = told(cache)
    assert (stats["kind"], stats["policy"], stats["max_bytes"]) == ("django", "s3fifo", 64 << 20)


def test_patterns_have_neither_prefix_nor_version(cache: NativeCache) -> None:
    """Whatever a handler puts before a key, it is counted as its caller spelt it."""
    cache.set("user:7:name", "x")
    cache.get("user:7:name")
    cache.get("user:8:name")
    cache.set("user:7:name", "x", version=2)
    cache.get("user:7:name", version=2)
    cache.delete("user:7:name", version=2)
    cache.touch("user:7:name", -1)
    _, patterns = told(cache)
    assert list(patterns) == ["user:*:name"]
    counted = patterns["user:*:name"]
    assert [counted[name] for name in ("hits", "misses", "sets", "deletes")] == [2, 1, 2, 2]


def test_bytes_are_what_entries_weigh(cache: NativeCache) -> None:
    """The average of one write is the weight of the one entry, and `incr` is a write."""
    cache.set("page:1", bytes(5_000))
    stats, patterns = told(cache)
    assert stats["size_bytes"] == patterns["page:*"]["bytes"] == patterns["page:*"]["avg_size"] > 5_000
    cache.set("count:1", 1)
    assert cache.incr("count:1") == 2
    assert told(cache)[1]["count:*"]["sets"] == 2


def test_raw_hits_and_misses_are_sampled(cache: NativeCache) -> None:
    """100,000 of each: all are counted, and patterns lack only those since the last sample."""
    cache.set("user:1", 1)
    for _ in range(100_000):
        cache.get("user:1")
        cache.get("absent:1")
    stats, patterns = told(cache)
    assert (stats["hits"], stats["misses"]) == (100_000, 100_000)
    assert 0 <= 100_000 - patterns["user:*"]["hits"] < 2_048
    assert 0 <= 100_000 - patterns["absent:*"]["misses"] < 2_048
    assert stats["latency"]["get"]["count"] == patterns["user:*"]["hits"] + patterns["absent:*"]["misses"]


def test_each_load_of_get_or_set_is_counted_once(cache: NativeCache) -> None:
    """Sync and async, stored, failed, or of a value that no pickle holds."""

    async def compute() -> int:
        return 2

    def fail() -> int:
        raise LookupError

    for _ in range(2):
        assert cache.get_or_set("u:1", lambda: 1) == 1
        assert asyncio.run(cache.aget_or_set("u:2", compute)) == 2
    with pytest.raises(LookupError):
        cache.get_or_set("u:3", fail)
    with pytest.raises((AttributeError, TypeError)):
        cache.get_or_set("u:4", lambda: lambda: None)
    stats, patterns = told(cache)
    assert (stats["loads"], stats["load_errors"]) == (4, 1)
    assert patterns["u:*"]["loads"] == stats["latency"]["load"]["count"] == 4
