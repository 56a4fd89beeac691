"""TTLCache, one operation at a time. Views, keys, ttl values, limits, causes and tokens have files of their own."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from driven_clock import Clock, driven

from oxicache._native import MISSING, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def cache(clock: Clock) -> TTLCache[str, Any]:
    return TTLCache(3, 60)


class TestReading:
    def test_a_missing_key_reads_as_none(self, cache: TTLCache[str, Any]) -> None:
        """Without a default a miss is None, as the API reference has it."""
        assert cache.get("absent") is None

    def test_a_missing_key_reads_as_the_default_itself(self, cache: TTLCache[str, Any]) -> None:
        """The default comes back as the object that was given."""
        default = object()
        assert cache.get("absent", default) is default
        assert cache.get("absent", default=default) is default

    def test_a_value_comes_back_by_reference(self, cache: TTLCache[str, Any]) -> None:
        """A cache of this class hands back the very object, not a copy."""
        value = {"name": "John"}
        cache.set("user", value)
        assert cache.get("user") is value
        assert cache["user"] is value
        assert cache.peek("user") is value

    def test_none_is_a_value(self, cache: TTLCache[str, Any]) -> None:
        """A stored None is told from a miss by the default."""
        cache.set("user", None)
        assert cache.get("user", MISSING) is None
        assert cache["user"] is None
        assert "user" in cache

    def test_subscription_of_a_missing_key_raises_key_error_with_the_key(
        self, cache: TTLCache[str, Any]
    ) -> None:
        """`cache[key]` raises KeyError whose argument is the key, as a dict's."""
        with pytest.raises(KeyError) as caught:
            cache["absent"]
        assert caught.value.args == ("absent",)

    def test_an_expired_entry_is_a_miss_everywhere(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """At its deadline an entry is gone for every way of reading."""
        cache.set("a", 1)
        clock.advance(60)
        assert "a" not in cache
        assert cache.peek("a", "none") == "none"
        assert cache.time_left("a") is None
        assert cache.get_many(["a"]) == {}
        assert cache.get("a", "none") == "none"
        with pytest.raises(KeyError):
            cache["a"]

    def test_an_entry_lives_until_its_deadline(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """A moment before the deadline the entry is still a hit."""
        cache.set("a", 1)
        clock.advance(59.999)
        assert cache.get("a") == 1

    def test_a_hit_does_not_extend_the_ttl(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """Reading moves recency, never the deadline."""
        cache.set("a", 1)
        clock.advance(59)
        assert cache.get("a") == 1
        clock.advance(1)
        assert cache.get("a") is None

    def test_setting_again_renews_the_ttl(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """A second set counts the ttl anew."""
        cache.set("a", 1)
        clock.advance(59)
        cache.set("a", 2)
        clock.advance(59)
        assert cache.get("a") == 2

    def test_peek_neither_counts_nor_touches(self, cache: TTLCache[str, Any]) -> None:
        """A peek leaves hits, misses and recency as they were."""
        for key in "abc":
            cache.set(key, key)
        before = cache.stats()
        assert cache.peek("a") == "a"
        assert cache.peek("absent") is None
        assert cache.peek("absent", default=7) == 7
        assert cache.stats() == before
        cache.set("d", "d")
        assert cache.keys() == ["b", "c", "d"]

    def test_contains_neither_counts_nor_touches(self, cache: TTLCache[str, Any]) -> None:
        """`in` leaves hits, misses and recency as they were."""
        for key in "abc":
            cache.set(key, key)
        before = cache.stats()
        assert "a" in cache
        assert "absent" not in cache
        assert cache.stats() == before
        cache.set("d", "d")
        assert "a" not in cache

    def test_get_many_gives_what_is_there_in_the_order_asked(self, cache: TTLCache[str, Any]) -> None:
        """Only live entries come back, keyed by the caller's keys, in the caller's order, counted one by one."""
        cache.set_many({"a": 1, "b": 2})
        assert list(cache.get_many(["b", "absent", "a"]).items()) == [("b", 2), ("a", 1)]
        assert cache.get_many(iter(["a"])) == {"a": 1}
        assert cache.get_many([]) == {}
        stats = cache.stats()
        assert (stats["hits"], stats["misses"]) == (3, 1)


class TestWriting:
    def test_a_hit_saves_an_entry_from_eviction(self, cache: TTLCache[str, Any]) -> None:
        """The least recently used entry goes; reading and writing both count as use."""
        for key in "abc":
            cache.set(key, key)
        cache.get("a")
        cache.set("b", "again")
        cache.set("d", "d")
        assert cache.keys() == ["a", "b", "d"]

    def test_setting_an_existing_key_evicts_nothing(self, cache: TTLCache[str, Any]) -> None:
        """A full cache takes a new value for a key it has without losing another."""
        for key in "abc":
            cache.set(key, key)
        cache.set("a", "new")
        assert sorted(cache.items()) == [("a", "new"), ("b", "b"), ("c", "c")]

    def test_expired_entries_go_before_live_ones(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """A dead entry gives its place up even when a live one was used longer ago."""
        cache.set("oldest", 1)
        cache.set("short", 2, ttl=5)
        cache.set("newest", 3)
        clock.advance(6)
        cache.set("d", 4)
        assert cache.keys() == ["oldest", "newest", "d"]

    def test_add_stores_only_when_there_is_no_live_entry(
        self, cache: TTLCache[str, Any], clock: Clock
    ) -> None:
        """`add` leaves a live entry alone and takes the place of an expired one."""
        assert cache.add("a", 1) is True
        assert cache.add("a", 2, ttl=1000) is False
        assert cache.get("a") == 1
        assert cache.time_left("a") == 60
        clock.advance(60)
        assert cache.add("a", 3) is True
        assert cache.get("a") == 3

    def test_set_many_stores_all_with_one_ttl_and_tags(self, cache: TTLCache[str, Any]) -> None:
        """Every item gets the ttl and the tags of the call."""
        cache.set_many({"a": 1, "b": 2}, ttl=5, tags=["t"])
        assert cache.items() == [("a", 1), ("b", 2)]
        assert [cache.time_left(key) for key in "ab"] == [5, 5]
        assert cache.delete_by_tag("t") == 2

    def test_subscription_stores_and_deletes(self, cache: TTLCache[str, Any]) -> None:
        """`cache[key] = value` and `del cache[key]` are set and a delete that insists."""
        cache["a"] = 1
        assert cache.time_left("a") == 60
        del cache["a"]
        assert "a" not in cache
        with pytest.raises(KeyError) as caught:
            del cache["a"]
        assert caught.value.args == ("a",)

    def test_delete_says_whether_a_live_entry_went(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """True for a live entry, False for a missing or an expired one."""
        cache.set_many({"a": 1, "b": 2})
        assert cache.delete("a") is True
        assert cache.delete("a") is False
        clock.advance(60)
        assert cache.delete("b") is False
        assert len(cache) == 0

    def test_delete_many_counts_live_entries(self, cache: TTLCache[str, Any]) -> None:
        """The count is of entries that were there, whatever was asked."""
        cache.set_many({"a": 1, "b": 2, "c": 3})
        assert cache.delete_many(["a", "absent", "b", "a"]) == 2
        assert cache.keys() == ["c"]
        assert cache.delete_many(iter([])) == 0

    def test_pop_takes_the_value_out(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """`pop` gives the value and removes it; without a default a missing or expired key is a KeyError."""
        cache.set_many({"a": 1, "b": 2})
        assert cache.pop("a") == 1
        assert cache.pop("a", None) is None
        assert cache.pop("a", default="none") == "none"
        with pytest.raises(KeyError) as caught:
            cache.pop("a")
        assert caught.value.args == ("a",)
        clock.advance(60)
        with pytest.raises(KeyError):
            cache.pop("b")

    def test_touch_sets_a_new_deadline_for_a_live_entry(
        self, cache: TTLCache[str, Any], clock: Clock
    ) -> None:
        """`touch` counts the given ttl, or the cache's, from now; it cannot raise the dead."""
        cache.set("a", 1)
        clock.advance(30)
        assert cache.touch("a", 100) is True
        assert cache.time_left("a") == 100
        assert cache.touch("a") is True
        assert cache.time_left("a") == 60
        assert cache.touch("a", None) is True
        assert cache.time_left("a") == math.inf
        assert cache.touch("absent", 5) is False
        cache.set("b", 2, ttl=5)
        clock.advance(5)
        assert cache.touch("b", 100) is False
        assert cache.get("b") is None

    def test_touch_with_zero_is_the_end(self, cache: TTLCache[str, Any]) -> None:
        """A live entry touched with ttl 0 was there, and is dead from then on."""
        cache.set("a", 1)
        assert cache.touch("a", 0) is True
        assert "a" not in cache

    def test_clear_empties_and_keeps_the_settings(self, cache: TTLCache[str, Any]) -> None:
        """After `clear` the cache is empty and works as before."""
        cache.set_many({"a": 1, "b": 2})
        cache.clear()
        assert len(cache) == 0
        assert cache.keys() == []
        assert cache.get("a") is None
        cache.set("a", 3)
        assert cache.items() == [("a", 3)]
        assert (cache.max_size, cache.ttl) == (3, 60)

    def test_get_or_set_computes_once(self, cache: TTLCache[str, Any]) -> None:
        """A miss stores what `compute` returns; a hit does not call it."""
        calls: list[int] = []

        def compute() -> str:
            calls.append(1)
            return "value"

        assert cache.get_or_set("a", compute, ttl=7, tags=["t"]) == "value"
        assert cache.get_or_set("a", compute) == "value"
        assert calls == [1]
        assert cache.time_left("a") == 7
        assert cache.tags("a") == {"t"}

    def test_get_or_set_passes_the_error_of_compute_and_stores_nothing(
        self, cache: TTLCache[str, Any]
    ) -> None:
        """A failing `compute` raises its own exception and leaves no entry."""

        def compute() -> str:
            raise LookupError("no such row")

        with pytest.raises(LookupError, match="no such row"):
            cache.get_or_set("a", compute)
        assert "a" not in cache


class TestTags:
    def test_delete_by_tag_removes_members_and_counts_them(self, cache: TTLCache[str, Any]) -> None:
        """All entries that carry the tag go, others stay."""
        cache.set("a", 1, tags=("x", "y"))
        cache.set("b", 2, tags=["y"])
        cache.set("c", 3)
        assert cache.delete_by_tag("y") == 2
        assert cache.keys() == ["c"]
        assert cache.delete_by_tag("y") == 0
        assert cache.delete_by_tag("never seen") == 0

    def test_tags_of_an_entry(self, cache: TTLCache[str, Any]) -> None:
        """`tags` names what an entry carries; a missing key carries nothing."""
        cache.set("a", 1, tags=("x", "y", "x"))
        assert cache.tags("a") == frozenset({"x", "y"})
        assert isinstance(cache.tags("a"), frozenset)
        assert cache.tags("absent") == frozenset()

    def test_setting_again_replaces_the_tags(self, cache: TTLCache[str, Any]) -> None:
        """The tags of the last set are the ones that count."""
        cache.set("a", 1, tags=("x",))
        cache.set("a", 2, tags=("y",))
        assert cache.delete_by_tag("x") == 0
        cache.set("a", 3)
        assert cache.delete_by_tag("y") == 0
        assert cache.get("a") == 3

    def test_a_tag_does_not_outlive_its_entry(self, cache: TTLCache[str, Any]) -> None:
        """A key that went and came back without the tag is not found by it."""
        cache.set("a", 1, tags=("x",))
        cache.delete("a")
        cache.set("a", 2)
        assert cache.delete_by_tag("x") == 0
        cache.set("b", 1, tags=("x",))
        cache.clear()
        cache.set("b", 2)
        assert cache.delete_by_tag("x") == 0

    @pytest.mark.parametrize("tags", ["xy", b"xy", 7, ["x", 7], [None]], ids=repr)
    def test_tags_are_an_iterable_of_strings(self, cache: TTLCache[str, Any], tags: Any) -> None:
        """A bare string would be one tag per letter: it is refused, as is anything that is not a str."""
        with pytest.raises(TypeError):
            cache.set("a", 1, tags=tags)
        assert "a" not in cache
