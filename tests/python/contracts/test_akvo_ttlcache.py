"""TTLCache as document 001 ("Memory Protection API Reference", akvo) has it, and as its callers rely on it."""

import threading
import time
from collections.abc import Hashable
from typing import Any
from unittest import mock

import pytest

from oxicache import CacheManager, TTLCache
from oxicache.compat import akvo_rsr

DOCUMENTED_STATS = ["size", "max_size", "expired_entries", "ttl_seconds", "utilization_percent"]


class TTLCacheContract:
    """What every way to a TTLCache gives: subclasses say how one is made."""

    def make(self, **options: Any) -> TTLCache[Any, Any]:
        raise NotImplementedError

    def keys(self, cache: TTLCache[Any, Any]) -> list[Any]:
        """Keys as callers see their order: least recently used first."""
        return list(cache._cache)

    # ---------------------------------------------------------------- the document

    def test_size_and_ttl_have_the_documented_defaults(self) -> None:
        """001, "Constructor": max_size is 1000 and ttl 3600 where they are omitted."""
        cache = self.make()
        assert (cache.max_size, cache.ttl) == (1000, 3600)

    def test_size_and_ttl_are_as_given(self) -> None:
        """001, "Constructor": the example's cache has 500 entries and half an hour."""
        cache = self.make(max_size=500, ttl=1800)
        assert (cache.max_size, cache.ttl) == (500, 1800)

    def test_get_gives_the_value(self) -> None:
        """001, "get(key)": a live entry's value comes back, the very object."""
        cache = self.make()
        value = {"name": "John"}
        cache.set("user_123", value)
        assert cache.get("user_123") is value

    def test_get_gives_none_for_a_missing_key(self) -> None:
        """001, "get(key)" and "Exception Types": a miss is None, not a KeyError."""
        assert self.make().get("user_123") is None

    def test_get_gives_none_once_the_ttl_has_passed(self, wall: Any) -> None:
        """001, "get(key)": an entry is live while now < expiry, and gone at that very instant."""
        cache = self.make(ttl=60)
        cache.set("a", 1)
        wall.advance(59.75)
        assert cache.get("a") == 1
        wall.advance(0.25)
        assert cache.get("a") is None

    def test_get_removes_the_expired_key(self, wall: Any) -> None:
        """001, "get(key)": the expired entry that a get meets is gone afterwards."""
        cache = self.make(ttl=60)
        cache.set("a", 1)
        wall.advance(60)
        assert len(cache._cache) == 1
        cache.get("a")
        assert (len(cache._cache), len(cache._expiry_times)) == (0, 0)

    def test_set_evicts_the_least_recently_used(self) -> None:
        """001, "set(key, value)": beyond max_size the least recently used entry goes."""
        cache = self.make(max_size=3)
        for key in "abc":
            cache.set(key, key)
        cache.get("a")
        cache.set("d", "d")
        assert self.keys(cache) == ["c", "a", "d"]

    def test_set_moves_the_key_to_the_end(self) -> None:
        """001, "set(key, value)": setting an existing key updates its place and its value."""
        cache = self.make(max_size=3)
        for key in "abca":
            cache.set(key, key)
        assert self.keys(cache) == ["b", "c", "a"]

    def test_set_sweeps_after_the_cleanup_interval(self, wall: Any) -> None:
        """001, "set(key, value)": a set more than the interval after the last sweep removes what has expired."""
        cache = self.make(ttl=60)
        cache.set("a", 1)
        wall.advance(akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL)
        cache.set("b", 2)
        assert self.keys(cache) == ["a", "b"], "the interval has to be exceeded"
        wall.advance(1)
        cache.set("c", 3)
        assert self.keys(cache) == ["b", "c"]
        assert cache._last_cleanup == pytest.approx(time.time())

    def test_clear_removes_everything(self) -> None:
        """001, "clear()": the cache is empty at once."""
        cache = self.make()
        cache.set("a", 1)
        cache.clear()
        assert (cache.get("a"), len(cache._cache), len(cache._expiry_times)) == (None, 0, 0)

    def test_stats_has_the_documented_keys_first(self, wall: Any) -> None:
        """001, "stats()": five keys in this order, size counting the expired, utilization in percent."""
        cache = self.make(max_size=8, ttl=60)
        cache.set("a", 1)
        wall.advance(60)
        cache.set("b", 2)
        stats = cache.stats()
        assert list(stats)[:5] == DOCUMENTED_STATS
        assert [stats[key] for key in DOCUMENTED_STATS] == [2, 8, 1, 60, 25.0]
        assert isinstance(stats["utilization_percent"], float)
        assert isinstance(stats["ttl_seconds"], int)

    def test_cleanup_expired_removes_and_counts(self, wall: Any) -> None:
        """001, "_cleanup_expired()": the expired go, the live stay, and the number is returned."""
        cache = self.make(ttl=60)
        cache.set("a", 1)
        cache.set("b", 2)
        wall.advance(30)
        cache.set("c", 3)
        wall.advance(30)
        assert cache._cleanup_expired() == 2
        assert (cache._cleanup_expired(), self.keys(cache)) == (0, ["c"])

    # ---------------------------------------------------------------- what callers rely on

    def test_a_hit_does_not_extend_the_ttl(self, wall: Any) -> None:
        """Callers of 001: reading an entry moves it to the end and leaves its expiry alone."""
        cache = self.make(ttl=60)
        cache.set("a", 1)
        wall.advance(50)
        assert cache.get("a") == 1
        wall.advance(10)
        assert cache.get("a") is None

    def test_setting_again_renews_the_ttl(self, wall: Any) -> None:
        """Callers of 001: a second set starts the entry's life anew."""
        cache = self.make(ttl=60)
        cache.set("a", 1)
        wall.advance(59)
        cache.set("a", 2)
        wall.advance(59)
        assert cache.get("a") == 2

    def test_the_ttl_is_read_at_each_set(self, wall: Any) -> None:
        """Callers of 001: assigning cache.ttl counts for entries set from then on, a fraction of a second too."""
        cache = self.make(ttl=60)
        cache.set("old", 1)
        cache.ttl = 0.5
        assert cache.ttl == 0.5
        cache.set("new", 2)
        wall.advance(0.25)
        assert (cache.get("old"), cache.get("new")) == (1, 2)
        wall.advance(0.25)
        assert (cache.get("old"), cache.get("new")) == (1, None)

    def test_max_size_is_mutable(self) -> None:
        """Callers of 001: after cache.max_size is assigned, no more than that many entries stay."""
        cache = self.make(max_size=3)
        for key in "abc":
            cache.set(key, key)
        cache.max_size = 2
        cache.set("d", "d")
        assert (cache.max_size, self.keys(cache)) == (2, ["c", "d"])

    def test_max_size_zero_stores_nothing(self) -> None:
        """Callers of 001: a cache of size 0 takes every set and keeps none."""
        cache = self.make(max_size=0)
        cache.set("a", 1)
        assert (cache.get("a"), len(cache._cache)) == (None, 0)

    def test_ttl_zero_is_dead_at_once(self) -> None:
        """Callers of 001: with ttl 0 an entry is never seen."""
        cache = self.make(ttl=0)
        cache.set("a", 1)
        assert cache.get("a") is None

    def test_keys_are_any_hashable_and_not_made_strings(self) -> None:
        """Callers of 001: 1 and "1" are two keys; tuples, None and objects are keys as in a dict."""
        cache = self.make()
        keys: list[Hashable] = [1, "1", (1, "1"), None, frozenset({1}), object()]
        for place, key in enumerate(keys):
            cache.set(key, place)
        assert [cache.get(key) for key in keys] == list(range(len(keys)))
        assert self.keys(cache) == keys

    def test_keys_that_are_equal_are_one_key(self) -> None:
        """Callers of 001: equality is dict's, so 1, 1.0 and True are one key of a TTLCache."""
        cache = self.make()
        cache.set(1, "one")
        assert (cache.get(True), cache.get(1.0), len(cache._cache)) == ("one", "one", 1)

    def test_an_unhashable_key_is_a_type_error(self) -> None:
        """Callers of 001: as with a dict."""
        with pytest.raises(TypeError, match="unhashable"):
            self.make().set([], 1)

    def test_popping_from_the_entries_removes_the_entry(self) -> None:
        """000, "Cache Invalidation Patterns": `cache._cache.pop(key, None)` removes, twice is harmless."""
        cache = self.make()
        cache.set("project_1", "stats")
        assert cache._cache.pop("project_1", None) == "stats"
        assert cache._cache.pop("project_1", None) is None
        assert (cache.get("project_1"), "project_1" in cache._expiry_times) == (None, False)

    def test_popping_from_the_expiry_times_removes_the_entry(self, wall: Any) -> None:
        """000, "Cache Invalidation Patterns": `cache._expiry_times.pop(key, None)` gives the wall-clock expiry."""
        cache = self.make(ttl=60)
        cache.set("project_1", "stats")
        assert cache._expiry_times.pop("project_1", None) == pytest.approx(wall.now + 60)
        assert cache._expiry_times.pop("project_1", None) is None
        assert (cache.get("project_1"), len(cache._cache)) == (None, 0)

    def test_the_views_are_mappings_least_recent_first(self, wall: Any) -> None:
        """Callers of 001: len, in, iteration, [key] and .get work on both, in LRU order, and touch nothing."""
        cache = self.make(ttl=60)
        for key in "abc":
            cache.set(key, key.upper())
        assert (len(cache._cache), "a" in cache._cache, "x" in cache._cache) == (3, True, False)
        assert (cache._cache["a"], cache._cache.get("x")) == ("A", None)
        assert list(cache._cache.items()) == [("a", "A"), ("b", "B"), ("c", "C")]
        assert cache._expiry_times["b"] == pytest.approx(wall.now + 60)
        assert set(cache._expiry_times) == {"a", "b", "c"}
        assert self.keys(cache) == ["a", "b", "c"], "looking has touched nothing"

    def test_the_lock_can_be_taken_around_calls(self) -> None:
        """Callers of 001: `with cache._lock:` is re-entrant, and the cache works inside it."""
        cache = self.make()
        with cache._lock, cache._lock:
            cache.set("a", 1)
            assert cache.get("a") == 1

    def test_last_cleanup_is_the_time_of_construction(self, wall: Any) -> None:
        """Callers of 001: `_last_cleanup` is a wall-clock float from the start."""
        assert self.make()._last_cleanup == pytest.approx(wall.now)

    @pytest.mark.parametrize("back", ["by an interval", "to zero"])
    def test_last_cleanup_can_be_set(self, wall: Any, back: str) -> None:
        """Callers of 001: putting `_last_cleanup` back makes the next set sweep."""
        cache = self.make(ttl=10)
        cache.set("a", 1)
        wall.advance(10)
        cache._last_cleanup = wall.now - 301 if back == "by an interval" else 0.0
        cache.set("b", 2)
        assert self.keys(cache) == ["b"]

    def test_a_sweep_by_hand_leaves_last_cleanup_alone(self, wall: Any) -> None:
        """Callers of 001: `_cleanup_expired()` does not put off the next automatic sweep."""
        cache = self.make(ttl=10)
        made = cache._last_cleanup
        wall.advance(100)
        cache._cleanup_expired()
        assert cache._last_cleanup == made

    def test_time_patched_around_construction_is_the_time(self) -> None:
        """Callers of 001: `mock.patch("time.time")` before, during and after construction counts."""
        with mock.patch("time.time", return_value=1_000_000.0) as patched:
            cache = self.make(ttl=60)
            cache.set("a", 1)
            assert cache._expiry_times["a"] == pytest.approx(1_000_060.0)
            patched.return_value = 1_000_060.0
            assert cache.get("a") is None

    # ---------------------------------------------------------------- defects that must not come back

    def test_an_expired_entry_goes_before_a_live_one(self, wall: Any) -> None:
        """Defect of akvo: the live least recently used entry was evicted while an expired one stayed."""
        cache = self.make(max_size=2, ttl=60)
        cache.set("live", 1)
        cache.ttl = 1
        cache.set("short", 2)
        wall.advance(1.1)
        cache.set("new", 3)
        assert (cache.get("live"), cache.get("new")) == (1, 3)

    def test_stats_of_a_cache_of_size_zero(self) -> None:
        """Defect of akvo: stats() raised ZeroDivisionError when max_size was 0."""
        assert self.make(max_size=0).stats()["utilization_percent"] == 0.0

    @pytest.mark.oxicache_real_clock
    @pytest.mark.parametrize("jump", [-86_400, 86_400], ids=["back", "on"])
    def test_a_jump_of_the_wall_clock_moves_no_deadline(self, jump: int) -> None:
        """Defect of akvo: setting the machine's clock expired everything at once, or let it live on."""
        cache = self.make(ttl=60)
        cache.set("a", 1)
        with mock.patch("time.time", return_value=time.time() + jump):
            assert cache.get("a") == 1
            assert cache.time_left("a") == pytest.approx(60, abs=30)

    def test_popping_while_others_set_loses_and_breaks_nothing(self) -> None:
        """Defect of akvo: the documented pops were outside the lock and crashed writers."""
        cache = self.make(max_size=50, ttl=60)
        errors: list[BaseException] = []
        start = threading.Barrier(4)

        def work(number: int) -> None:
            try:
                start.wait(30)
                for turn in range(2_000):
                    key = turn % 80
                    if number % 2:
                        cache.set(key, turn)
                    else:
                        cache._cache.pop(key, None)
                        cache._expiry_times.pop(key, None)
                        cache._cleanup_expired()
            except BaseException as error:  # noqa: BLE001 -- whatever a thread dies of is what the test is about
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert len(cache._cache) == len(cache._expiry_times) <= 50


class TestConstructed(TTLCacheContract):
    """`TTLCache(...)`."""

    def make(self, **options: Any) -> TTLCache[Any, Any]:
        return TTLCache(**options)


class TestFromAManager(TTLCacheContract):
    """`cache_manager.get_cache(name, ...)`: caches of a manager are no different."""

    def make(self, **options: Any) -> TTLCache[Any, Any]:
        return CacheManager().get_cache("contract", **options)


class TestDialect(TTLCacheContract):
    """`from akvo.rsr.cache_management import TTLCache`."""

    def make(self, **options: Any) -> TTLCache[Any, Any]:
        return akvo_rsr.TTLCache(**options)
