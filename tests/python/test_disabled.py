"""Disabled caches: every read misses, nothing is stored, everything still works; enabled again they are empty."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_rows import Counted, Model, rows
from loads import PATIENCE
from orders import Cache, drain, registered

from oxicache import (
    TTLCache,
    aget_or_compute,
    cached_function,
    cached_method,
    get_or_compute,
    ttl_cached_property,
)
from oxicache._native import _bury, attend, cache_manager, is_enabled, set_enabled

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    """Whatever a test does, the next one finds caches enabled."""
    yield
    set_enabled(True)
    assert is_enabled()


class Plain:
    """A plain object with a decorated method and a decorated property, which count."""

    def __init__(self) -> None:
        self.computed = 0

    @cached_method(ttl=60)
    def method(self, add: int = 0) -> int:
        """Compute."""
        self.computed += 1
        return self.computed + add

    @ttl_cached_property(ttl=60)
    def prop(self) -> int:
        """Compute."""
        self.computed += 1
        return self.computed

    @cached_method(ttl=60)
    async def amethod(self) -> int:
        """Compute, in a task."""
        await asyncio.sleep(0)
        self.computed += 1
        return self.computed


def counting() -> Callable[[], int]:
    """A function of one's own that counts its calls."""
    calls: list[None] = []

    def count() -> int:
        calls.append(None)
        return len(calls)

    return count


def _method() -> Callable[[], int]:
    plain = Plain()
    return lambda: plain.method(0)


def _property() -> Callable[[], int]:
    plain = Plain()
    return lambda: plain.prop


def _function() -> Callable[[], int]:
    count = counting()
    cached: Callable[[], int] = cached_function(ttl=60)(count)
    return cached


def _get_or_compute() -> Callable[[], int]:
    count, cache = counting(), TTLCache[str, int](9, 60)
    return lambda: get_or_compute("a", count, cache=cache)


def _get_or_set() -> Callable[[], int]:
    count, cache = counting(), TTLCache[str, int](9, 60)
    return lambda: cache.get_or_set("a", count)


def _run(main: Callable[[], Any]) -> int:
    async def limited() -> int:
        async with asyncio.timeout(PATIENCE):
            found: int = await main()
            return found

    return asyncio.run(limited())


def _amethod() -> Callable[[], int]:
    plain = Plain()
    return lambda: _run(plain.amethod)


def _afunction() -> Callable[[], int]:
    count = counting()

    @cached_function(ttl=60)
    async def cached() -> int:
        await asyncio.sleep(0)
        return count()

    return lambda: _run(cached)


def _aget_or_compute() -> Callable[[], int]:
    count, cache = counting(), TTLCache[str, int](9, 60)

    async def compute() -> int:
        await asyncio.sleep(0)
        return count()

    return lambda: _run(lambda: aget_or_compute("a", compute, cache=cache))


CALLS: dict[str, Callable[[], Callable[[], int]]] = {
    "cached_method": _method,
    "ttl_cached_property": _property,
    "cached_function": _function,
    "get_or_compute": _get_or_compute,
    "get_or_set": _get_or_set,
    "async cached_method": _amethod,
    "async cached_function": _afunction,
    "aget_or_compute": _aget_or_compute,
}


class TestCalls:
    @pytest.mark.parametrize("kind", CALLS)
    def test_calls_compute_each_time(self, kind: str) -> None:
        """A decorated callable computes whenever it is called, and remembers nothing once caches are enabled again."""
        call = CALLS[kind]()
        assert [call(), call()] == [1, 1]
        set_enabled(False)
        assert [call(), call()] == [2, 3]
        set_enabled(True)
        assert [call(), call()] == [4, 4]

    @pytest.mark.parametrize("kind", ["method", "property"])
    def test_calls_of_rows_compute_each_time(self, kind: str) -> None:
        """So does a decorated callable of a model, for rows as for instances that are not saved."""
        with rows():
            counted = Counted(kind=kind)
            for instance in (Model(1), Model(2), Model(1)):
                counted(instance)
            assert len(counted.calls) == 2
            set_enabled(False)
            for _ in range(3):
                counted(Model(1))
            assert len(counted.calls) == 5
            set_enabled(True)
            counted(Model(1))
            counted(Model(1))
            assert len(counted.calls) == 6

    def test_a_load_that_began_before_is_not_stored(self) -> None:
        """What was being loaded when caches were disabled, or disabled and enabled again, is not stored."""
        cache: Cache = TTLCache(9, 60)

        def compute() -> int:
            set_enabled(False)
            set_enabled(True)
            return 1

        assert cache.get_or_set("a", compute) == 1
        assert cache.get("a") is None

    def test_what_is_measured_meanwhile_is_not_stored(self) -> None:
        """Python code that a store calls before it stores may disable caches."""

        def sizeof(_key: object, _value: object) -> int:
            set_enabled(False)
            return 1

        cache: Cache = TTLCache(9, 60, max_bytes=100, sizeof=sizeof)
        cache.set("a", 1)
        assert len(cache) == 0


class TestCache:
    def test_disabling_empties_every_cache(self) -> None:
        """All caches of the process are emptied, registered or not, and their callbacks are told."""
        told: list[str] = []
        mine: Cache = TTLCache(9, on_evict=lambda key, _value, cause: told.append(f"{key} {cause}"))
        mine.set("a", 1)
        with registered() as (_, cache):
            cache.set("b", 1)
            set_enabled(False)
            assert (len(mine), len(cache), mine.get("a"), cache.get("b")) == (0, 0, None, None)
            drain()
            assert told == ["a cleared"]
            set_enabled(False)
            set_enabled(True)
            assert (len(mine), len(cache)) == (0, 0)

    def test_reading_misses_and_writing_does_nothing(self) -> None:
        """Each operation of a cache answers as an empty one does, and leaves it empty."""
        cache: Cache = TTLCache(9, 60)
        set_enabled(False)
        cache.set("a", 1)
        cache["b"] = 2
        cache.set_many({"c": 3, 4: 4})
        assert cache.add("a", 1)
        assert cache.add("a", 1)
        assert cache.get_many(["a", "b", 4]) == {}
        assert [cache.get("a"), cache.get("a", 7), cache.peek("a"), cache.pop("a", 8)] == [None, 7, None, 8]
        assert not any([cache.delete("a"), cache.touch("a"), "a" in cache, cache.delete_by_tag("t")])
        assert (cache.keys(), cache.items(), cache.tags("a"), cache.time_left("a")) == ([], [], set(), None)
        for missing in (lambda: cache["a"], lambda: cache.pop("a"), lambda: cache.__delitem__("a")):
            with pytest.raises(KeyError):
                missing()
        assert not cache._fill("a", 1, cache._token("a"))
        assert len(cache) == cache.stats()["size"] == 0

    def test_views_are_those_of_an_empty_cache(self) -> None:
        """`_cache` and `_expiry_times` take writes, too, and hold nothing."""
        cache: Cache = TTLCache(9, 60)
        set_enabled(False)
        cache._cache["a"] = 1
        cache._cache.update({"b": 2})
        assert cache._cache.setdefault("c", 3) == 3
        assert (list(cache._cache.items()), list(cache._expiry_times), len(cache._cache)) == ([], [], 0)
        with pytest.raises(KeyError):
            cache._cache.popitem()
        with pytest.raises(KeyError):
            cache._expiry_times["a"] = 5.0

    def test_misses_are_counted_and_hits_are_not(self) -> None:
        """A disabled cache counts the reads that miss, which are all."""
        cache: Cache = TTLCache(9, 60)
        cache.set("a", 1)
        cache.get("a")
        set_enabled(False)
        for _ in range(3):
            cache.set("a", 1)
            cache.get("a")
        stats = cache.stats()
        assert (stats["hits"], stats["misses"], stats["sets"]) == (1, 3, 1)

    def test_grace_serves_nothing(self) -> None:
        """Expired values that were kept are gone with the rest."""
        cache: Cache = TTLCache(9, 1e-6, grace=60)
        cache.set("a", 1)
        set_enabled(False)
        with pytest.raises(ConnectionError):
            cache.get_or_set("a", _unreachable)

    def test_threads_that_store_meanwhile_leave_nothing_behind(self) -> None:
        """However threads that write fall on disabling, a disabled cache is empty and stays so."""
        cache: Cache = TTLCache(1_000, 60)
        is_over = threading.Event()

        def write() -> None:
            number = 0
            while not is_over.is_set():
                number += 1
                cache.set(str(number % 900), number)
                cache.get_or_set(number % 90, lambda: 1)

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(200):
                set_enabled(False)
                assert len(cache) == 0
                assert cache.keys() == []
                set_enabled(True)
                cache.set("a", 1)
        finally:
            is_over.set()
            for thread in threads:
                thread.join(PATIENCE)
        set_enabled(False)
        attend()
        assert len(cache) == 0
        while _bury(1):
            pass


def _unreachable() -> int:
    raise ConnectionError


def test_being_disabled_is_inherited_and_registered_later() -> None:
    """A cache that is made while caches are disabled is disabled, and a registered one too."""
    set_enabled(False)
    cache: Cache = TTLCache(9, 60)
    cache.set("a", 1)
    name = cache_manager.register("born disabled", cache)
    try:
        assert cache_manager.get_cache(name).get("a") is None
        set_enabled(True)
        cache.set("a", 1)
        assert cache_manager.get_cache(name).get("a") == 1
    finally:
        cache_manager.remove(name)
