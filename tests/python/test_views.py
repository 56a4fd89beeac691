"""`_cache`, `_expiry_times`, `_lock`, `_last_cleanup`: what document 000 reaches for, live and safe under threads."""

import math
import threading
import time
from collections.abc import Iterator, KeysView, MutableMapping
from typing import Any

import pytest
from driven_clock import Clock, driven

from oxicache._native import TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[str, Any]


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def cache(clock: Clock) -> Cache:
    cache: Cache = TTLCache(3, 60)
    for number, key in enumerate("abc"):
        cache.set(key, number)
    return cache


class TestEntries:
    def test_pop_with_a_default_removes_the_entry(self, cache: Cache) -> None:
        """`cache._cache.pop(key, None)` invalidates, as document 000 does it."""
        assert cache._cache.pop("a", None) == 0
        assert cache.get("a") is None
        assert "a" not in cache._expiry_times
        assert cache._cache.pop("a", None) is None
        assert cache._expiry_times.pop("a", None) is None
        with pytest.raises(KeyError):
            cache._cache.pop("a")

    def test_it_is_live(self, cache: Cache) -> None:
        """A view taken earlier shows what came later."""
        view = cache._cache
        assert len(view) == 3
        cache.set("b", "new")
        assert view["b"] == "new"
        cache.clear()
        assert len(view) == 0
        assert list(view) == []

    def test_it_is_a_mapping_in_order_of_use(self, cache: Cache) -> None:
        """Least recently used first, in keys, values, items and iteration."""
        cache.get("a")
        view = cache._cache
        assert list(view) == ["b", "c", "a"]
        assert list(view.keys()) == ["b", "c", "a"]
        assert list(view.values()) == [1, 2, 0]
        assert list(view.items()) == [("b", 1), ("c", 2), ("a", 0)]
        assert dict(view) == {"a": 0, "b": 1, "c": 2}
        assert view == {"a": 0, "b": 1, "c": 2}
        assert isinstance(view, MutableMapping)
        assert isinstance(view.keys(), KeysView)

    def test_reading_neither_counts_nor_touches(self, cache: Cache) -> None:
        """Looking leaves recency and the counters alone."""
        before = cache.stats()
        assert cache._cache["a"] == 0
        assert cache._cache.get("a") == 0
        assert cache._cache.get("absent", 7) == 7
        assert "a" in cache._cache
        assert "absent" not in cache._cache
        with pytest.raises(KeyError) as caught:
            cache._cache["absent"]
        assert caught.value.args == ("absent",)
        assert cache.stats() == before
        assert cache.keys() == ["a", "b", "c"]

    def test_writing_goes_through_the_cache(self, cache: Cache) -> None:
        """An item set on the view is stored with the cache's ttl, and del removes the entry."""
        cache._cache["d"] = 3
        assert cache.get("d") == 3
        assert cache.time_left("d") == 60
        assert len(cache) == 3
        del cache._cache["d"]
        assert "d" not in cache
        with pytest.raises(KeyError):
            del cache._cache["d"]
        cache._cache.update({"e": 4})
        assert cache.get("e") == 4
        cache._cache.clear()
        assert len(cache) == 0

    def test_an_iteration_is_a_snapshot(self, cache: Cache) -> None:
        """Changing the cache while iterating over a view raises nothing."""
        seen = []
        for key in cache._cache:
            seen.append(key)
            cache.set("new " + key, 1)
        assert seen == ["a", "b", "c"]
        for key, value in cache._cache.items():
            assert cache.pop(key) == value
        for key in cache._expiry_times:
            cache.delete(key)
        assert len(cache) == 0

    @pytest.mark.parametrize("walk", ["keys", "values", "items", "__iter__"])
    @pytest.mark.parametrize("view", ["_cache", "_expiry_times"])
    def test_a_walk_survives_the_end_of_what_it_walks(self, cache: Cache, view: str, walk: str) -> None:
        """Entries that go while a view is walked neither end the walk nor raise."""
        seen = 0
        for _each in getattr(getattr(cache, view), walk)():
            seen += 1
            cache.clear()
        assert seen == 3

    def test_len_counts_what_is_held(self, cache: Cache, clock: Clock) -> None:
        """As the documents count, an expired entry is held until it is removed."""
        clock.advance(60)
        assert len(cache._cache) == len(cache._expiry_times) == cache.stats()["size"] == 3
        cache._cleanup_expired()
        assert len(cache._cache) == 0


class TestDeadlines:
    def test_values_are_wall_clock_seconds(self) -> None:
        """A deadline reads as `time.time()` will, when it comes; for ever is infinity."""
        cache: Cache = TTLCache(10, 100_000)
        cache.set("a", 1)
        cache.set("b", 1, ttl=None)
        cache.set("c", 1, ttl=500_000)
        assert cache._expiry_times["a"] == pytest.approx(time.time() + 100_000, abs=1000)
        assert cache._expiry_times["b"] == math.inf
        assert cache._expiry_times["c"] - cache._expiry_times["a"] == pytest.approx(400_000, abs=1000)
        assert isinstance(cache._expiry_times["a"], float)

    def test_popping_removes_the_entry(self, cache: Cache) -> None:
        """`cache._expiry_times.pop(key, None)` alone invalidates too."""
        assert isinstance(cache._expiry_times.pop("a", None), float)
        assert "a" not in cache
        assert cache._expiry_times.pop("a", None) is None
        with pytest.raises(KeyError):
            cache._expiry_times.pop("a")
        del cache._expiry_times["b"]
        assert cache.keys() == ["c"]

    def test_it_has_the_keys_of_the_cache(self, cache: Cache) -> None:
        """The two views never differ in what they hold."""
        assert list(cache._expiry_times) == list(cache._cache)
        assert len(cache._expiry_times) == 3
        assert set(cache._expiry_times.items()) == {(key, cache._expiry_times[key]) for key in "abc"}
        assert isinstance(cache._expiry_times, MutableMapping)
        assert cache._expiry_times.get("absent") is None
        with pytest.raises(KeyError):
            cache._expiry_times["absent"]

    def test_assigning_moves_the_deadline(self) -> None:
        """A wall-clock second assigned to an entry is when it expires from then on."""
        cache: Cache = TTLCache(10, 60)
        cache.set_many({"a": 1, "b": 2, "c": 3})
        cache._expiry_times["a"] = time.time() + 100_000
        assert cache.time_left("a") == pytest.approx(100_000, abs=1000)
        cache._expiry_times["b"] = math.inf
        assert cache.time_left("b") == math.inf
        cache._expiry_times["c"] = time.time() - 1000
        assert "c" not in cache
        with pytest.raises(KeyError):
            cache._expiry_times["absent"] = time.time()
        assert "absent" not in cache._cache

    def test_reading_neither_counts_nor_touches(self, cache: Cache) -> None:
        """Looking at deadlines leaves recency and the counters alone."""
        before = cache.stats()
        assert cache._expiry_times["a"]
        assert "a" in cache._expiry_times
        assert cache.stats() == before
        assert cache.keys() == ["a", "b", "c"]


class TestLock:
    def test_it_is_a_context_manager_that_can_be_nested(self, cache: Cache) -> None:
        """Held twice by one thread it blocks nothing, and the cache works inside."""
        with cache._lock, cache._lock:
            cache.set("a", "inside")
            assert cache.get("a") == "inside"
            assert cache.stats()["size"] == 3
            cache._cleanup_expired()
            cache.clear()

    def test_another_thread_waits_for_it_and_for_nothing_else(self, cache: Cache) -> None:
        """While one thread holds `_lock`, another can use the cache, and gets the lock once it is free."""
        used, locked = threading.Event(), threading.Event()

        def other() -> None:
            cache.set("b", "other")
            used.set()
            with cache._lock:
                locked.set()

        thread = threading.Thread(target=other, daemon=True)
        with cache._lock:
            thread.start()
            assert used.wait(30)
            assert not locked.is_set()
        assert locked.wait(30)
        thread.join(30)

    def test_it_is_released_by_an_exception(self, cache: Cache) -> None:
        """Leaving by an exception frees it for others, and the exception goes on."""
        with pytest.raises(LookupError), cache._lock:
            raise LookupError
        taken = threading.Event()

        def other() -> None:
            with cache._lock:
                taken.set()

        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        assert taken.wait(30)
        thread.join(30)


class TestLastCleanup:
    def test_it_starts_at_construction_and_can_be_assigned(self, clock: Clock) -> None:
        """A number of seconds that is the same for caches made at one time, and assignable as documented."""
        cache: Cache = TTLCache(10, 1)
        other: Cache = TTLCache(10, 1)
        assert isinstance(cache._last_cleanup, float)
        assert cache._last_cleanup == pytest.approx(other._last_cleanup, abs=1000)
        cache.cleanup_interval = 300
        cache.set("a", 1)
        clock.advance(2)
        cache._last_cleanup = cache._last_cleanup - 10_000
        cache.set("b", 1)
        assert cache.stats()["size"] == 1, "the set found a cleanup long due"

    def test_a_view_outlives_its_cache(self) -> None:
        """A view keeps what it shows."""
        view = TTLCache[str, int](3, 60)._cache
        view["a"] = 1
        assert dict(view) == {"a": 1}
