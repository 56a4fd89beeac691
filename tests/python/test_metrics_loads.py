"""Every load is counted once: sync and async, stored or not, failed or cancelled."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from driven_clock import driven

from oxicache import TTLCache, _native, cached_method
from oxicache._native import cache_manager
from oxicache.loader import Loader

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

NAME = "tests:metrics:loads"
Cache = TTLCache[Any, Any]


@pytest.fixture
def cache() -> Iterator[Cache]:
    cache: Cache = TTLCache(10_000, 600)
    name = cache_manager.register(NAME, cache)
    yield cache
    cache_manager.remove(name, cache)


def patterns() -> dict[str, dict[str, Any]]:
    """What is told of each key pattern of the cache."""
    return {told["pattern"]: told for told in _native.metrics(True)["patterns"][NAME]}


class FailedError(Exception):
    pass


def fail() -> int:
    raise FailedError


def loads(cache: Cache) -> tuple[int, int, int]:
    """Loads and failed ones, and that histogram and patterns have them all."""
    stats = cache.stats()
    told = _native.metrics(True)["patterns"][NAME]
    assert stats["latency"]["load"]["count"] == sum(stats["latency"]["load"]["counts"]) == stats["loads"]
    assert stats["latency"]["load"]["sum_seconds"] == stats["load_seconds"]
    return stats["loads"], stats["load_errors"], sum(one["loads"] for one in told)


class TestLoads:
    def test_a_load_is_counted_once(self, cache: Cache) -> None:
        """By `get_or_set` as by a loader; a hit loads nothing."""
        for _ in range(2):
            assert cache.get_or_set("u:1", lambda: 1) == 1
            assert Loader(cache).load("u:2", lambda: 2) == 2
        assert loads(cache) == (2, 0, 2)
        assert patterns()["u:*"]["loads"] == 2
        assert patterns()["u:*"]["load_seconds"] == pytest.approx(cache.stats()["load_seconds"])

    def test_a_failed_load_is_counted(self, cache: Cache) -> None:
        """It is a load, and an error."""
        for _ in range(2):
            with pytest.raises(FailedError):
                cache.get_or_set("u:1", fail)
        assert loads(cache) == (2, 2, 2)

    def test_a_load_that_is_not_stored_is_counted(self, cache: Cache) -> None:
        """Its value was overtaken, is None where that is no value, or is dead on arrival."""

        def overtaken() -> int:
            cache.delete("u:1")
            return 1

        assert cache.get_or_set("u:1", overtaken) == 1
        assert Loader(cache, cache_none=False).load("u:2", lambda: None) is None
        assert cache.get_or_set("u:3", lambda: 3, ttl=0) == 3
        assert len(cache) == 0
        assert loads(cache) == (3, 0, 3)

    @pytest.mark.parametrize("ending", ["value", "error", "cancelled"])
    def test_a_load_of_a_task_is_counted(self, cache: Cache, ending: str) -> None:
        """However it ends; one that is cancelled has failed."""

        async def compute() -> int:
            if ending == "error":
                raise FailedError
            if ending == "cancelled":
                raise asyncio.CancelledError
            return 1

        async def load() -> None:
            await asyncio.gather(Loader(cache).aload("u:1", compute), return_exceptions=True)

        asyncio.run(load())
        assert loads(cache) == (1, int(ending != "value"), 1)

    def test_those_who_wait_load_nothing(self, cache: Cache) -> None:
        """Ten tasks that want one value make one load."""

        async def compute() -> int:
            await asyncio.sleep(0)
            return 1

        async def load() -> list[int]:
            return await asyncio.gather(*(Loader(cache).aload("u:1", compute) for _ in range(10)))

        assert asyncio.run(load()) == [1] * 10
        assert loads(cache) == (1, 0, 1)

    def test_a_stale_value_is_served_for_a_failed_load(self) -> None:
        """The load has failed, and the value counts as a stale hit."""
        with driven() as clock:
            cache: Cache = TTLCache(10, 5, grace=60)
            name = cache_manager.register(NAME, cache)
            try:
                loader = Loader(cache, grace_errors=[FailedError])
                assert loader.load("u:1", lambda: 1) == 1
                clock.advance(5)
                assert loader.load("u:1", fail) == 1
                assert loads(cache) == (2, 1, 2)
                assert cache.stats()["stale_hits"] == 1
            finally:
                cache_manager.remove(name)

    def test_decorated_methods_load_once_each(self) -> None:
        """An async method's load is counted in its own cache, like a sync one's."""

        class Thing:
            @cached_method
            def size(self) -> int:
                return 1

            @cached_method
            async def weight(self) -> int:
                return 2

        thing = Thing()
        assert (thing.size(), thing.size()) == (1, 1)
        assert (asyncio.run(thing.weight()), asyncio.run(thing.weight())) == (2, 2)
        assert [Thing.size.cache.stats()["loads"], Thing.weight.cache.stats()["loads"]] == [1, 1]

    @pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e300])
    def test_no_duration_is_too_odd(self, cache: Cache, seconds: float) -> None:
        """A clock that was set back, or worse, costs no value: the load is counted."""
        cache._loaded("u:1", seconds, False)
        assert loads(cache) == (1, 0, 1)
