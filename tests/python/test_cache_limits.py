"""How much a TTLCache holds: max_size, max_bytes, sizeof, and the other arguments of the constructor."""

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from driven_clock import Clock, driven

from oxicache._native import CacheManager, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Policy = Literal["lru", "s3fifo"]
every_policy = pytest.mark.parametrize("policy", ["lru", "s3fifo"])


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


class TestMaxSize:
    @every_policy
    @pytest.mark.parametrize("max_size", [1, 2, 7, 100])
    def test_it_is_never_passed(self, policy: Policy, max_size: int) -> None:
        """However many keys come, no more than `max_size` entries are held."""
        cache: TTLCache[int, int] = TTLCache(max_size, 60, policy=policy)
        for number in range(300):
            cache.set(number, number)
            assert len(cache) == min(number + 1, max_size)
        assert cache.stats()["evictions"] == 300 - max_size

    @every_policy
    def test_zero_stores_nothing(self, policy: Policy) -> None:
        """A cache of size 0 takes writes and keeps none."""
        cache: TTLCache[str, int] = TTLCache(0, 60, policy=policy)
        cache.set("a", 1)
        cache["b"] = 2
        cache.add("c", 3)
        assert len(cache) == 0
        assert cache.get("a") is None
        assert cache.get_or_set("d", lambda: 4) == 4
        assert cache.stats()["utilization_percent"] == 0.0

    @every_policy
    @pytest.mark.parametrize("new", [0, 1, 5, 10, 1000])
    def test_assignment_takes_effect_at_once(self, policy: Policy, new: int) -> None:
        """A smaller size evicts what is too much; a larger one keeps all."""
        cache: TTLCache[int, int] = TTLCache(10, 60, policy=policy)
        for number in range(10):
            cache.set(number, number)
        cache.max_size = new
        assert cache.max_size == new
        assert len(cache) == min(10, new)
        for number in range(100, 1200):
            cache.set(number, number)
        assert len(cache) == new

    def test_shrinking_evicts_the_least_recently_used(self) -> None:
        """The entries that stay are the ones used last, in their order."""
        cache: TTLCache[int, int] = TTLCache(5, 60)
        for number in range(5):
            cache.set(number, number)
        cache.get(0)
        cache.max_size = 2
        assert cache.keys() == [4, 0]

    def test_shrinking_drops_expired_entries_first(self, clock: Clock) -> None:
        """A live entry does not go while a dead one could."""
        cache: TTLCache[str, int] = TTLCache(3, 60)
        cache.set("live", 1)
        cache.set("dead", 2, ttl=1)
        cache.set("dead too", 3, ttl=2)
        clock.advance(3)
        cache.max_size = 1
        assert cache.keys() == ["live"]

    @pytest.mark.parametrize("max_size", [-1, -(10**30), 2**32, 2**64, 10**30])
    def test_out_of_range_is_a_value_error_that_names_the_value(self, max_size: int) -> None:
        """Negative sizes, and sizes beyond what the index can number, are refused by name."""
        with pytest.raises(ValueError, match=f"(?s)max_size.*{max_size}|{max_size}.*max_size"):
            TTLCache(max_size, 60)
        cache: TTLCache[str, int] = TTLCache(10, 60)
        with pytest.raises(ValueError, match=re.escape(str(max_size))):
            cache.max_size = max_size
        assert cache.max_size == 10

    @pytest.mark.parametrize("max_size", [True, False, 10.0, "10", None, [10], math.inf], ids=repr)
    def test_another_type_is_a_type_error_that_names_the_value(self, max_size: Any) -> None:
        """A size is an int, and a bool is not one."""
        with pytest.raises(TypeError, match="max_size"):
            TTLCache(max_size, 60)
        cache: TTLCache[str, int] = TTLCache(10, 60)
        with pytest.raises(TypeError, match=re.escape(repr(max_size))):
            cache.max_size = max_size
        assert cache.max_size == 10

    def test_an_object_with_index_is_a_whole_number(self) -> None:
        """What Python takes for an index is taken for a size, as numpy's integers are."""

        class Seven:
            def __index__(self) -> int:
                return 7

        cache: TTLCache[str, int] = TTLCache(Seven(), 60)  # type: ignore[arg-type]
        assert cache.max_size == 7

    def test_a_large_limit_costs_nothing_until_it_is_used(self) -> None:
        """A size of a thousand million entries is only a limit."""
        cache: TTLCache[str, int] = TTLCache(10**9, 60)
        cache.set("a", 1)
        assert (len(cache), cache.max_size) == (1, 10**9)


class TestMaxBytes:
    def sized(self, limit: int | None, policy: Policy = "lru") -> TTLCache[str, int]:
        """A cache in which an entry weighs what its value says."""
        return TTLCache(1000, 60, max_bytes=limit, sizeof=lambda _key, value: value, policy=policy)

    @every_policy
    def test_it_is_never_passed(self, policy: Policy) -> None:
        """Entries go until the new one fits."""
        cache = self.sized(100, policy)
        for number in range(200):
            cache.set(str(number), number % 40)
            stats = cache.stats()
            assert stats["size_bytes"] <= 100
            assert stats["size_bytes"] == sum(value for _key, value in cache.items())
        assert cache.stats()["max_bytes"] == 100

    def test_an_entry_larger_than_all_is_rejected_and_counted(self) -> None:
        """What can never fit is not stored, and nothing is thrown out for it."""
        cache = self.sized(100)
        cache.set("a", 60)
        cache.set("b", 101)
        assert cache.keys() == ["a"]
        assert cache.stats()["rejected"] == 1
        cache.set("c", 100)
        assert cache.keys() == ["c"]

    def test_a_replacement_that_cannot_fit_does_not_leave_the_old_value(self) -> None:
        """After a set, the key never reads as its earlier value, also when the new one was rejected."""
        cache = self.sized(100)
        cache.set("a", 60)
        cache.set("a", 101)
        assert cache.get("a") is None
        assert cache.stats()["size_bytes"] == 0

    def test_a_replacement_that_grows_makes_others_go(self) -> None:
        """The weight of the new value counts, and the entry just written stays."""
        cache = self.sized(100)
        cache.set_many({"a": 40, "b": 40})
        cache.set("a", 70)
        assert cache.items() == [("a", 70)]
        assert cache.stats()["size_bytes"] == 70

    def test_removal_gives_the_bytes_back(self) -> None:
        """Deleting, expiring and clearing all lower `size_bytes`."""
        with driven() as clock:
            cache = self.sized(100)
            cache.set("a", 30)
            cache.set("b", 20, ttl=1)
            cache.set("c", 10, tags=["t"])
            cache.delete("a")
            assert cache.stats()["size_bytes"] == 30
            cache.delete_by_tag("t")
            clock.advance(1)
            cache._cleanup_expired()
            assert cache.stats()["size_bytes"] == 0
            cache.set("d", 10)
            cache.clear()
            assert cache.stats()["size_bytes"] == 0

    def test_assignment_takes_effect_at_once(self) -> None:
        """A smaller limit evicts, None lifts it."""
        cache = self.sized(100)
        for key in "abcde":
            cache.set(key, 20)
        cache.max_bytes = 50
        assert cache.keys() == ["d", "e"]
        assert cache.max_bytes == 50
        cache.max_bytes = None
        for key in "fghijk":
            cache.set(key, 20)
        assert len(cache) == 8
        assert cache.stats()["max_bytes"] is None

    def test_without_sizeof_larger_values_weigh_more(self) -> None:
        """The weight that nobody gave is the value's own size in memory."""
        cache: TTLCache[str, bytes] = TTLCache(1000, 60, max_bytes=1_000_000)
        cache.set("a", b"x" * 1000)
        small = cache.stats()["size_bytes"]
        assert small >= 1000
        cache.set("b", b"x" * 100_000)
        assert cache.stats()["size_bytes"] >= small + 100_000

    @pytest.mark.parametrize(
        ("weight", "error"), [(-1, ValueError), ("1", TypeError), (1.5, TypeError), (None, TypeError)]
    )
    def test_a_sizeof_that_gives_no_size_is_an_error(self, weight: Any, error: type[Exception]) -> None:
        """A negative or untyped weight raises at the write, which then has stored nothing."""
        cache: TTLCache[str, int] = TTLCache(10, 60, max_bytes=100, sizeof=lambda _key, _value: weight)
        with pytest.raises(error):
            cache.set("a", 1)
        assert len(cache) == 0

    def test_the_error_of_sizeof_passes_through(self) -> None:
        """The exception is the function's own, and the old entry is still there."""
        calls: list[str] = []

        def sizeof(key: str, _value: int) -> int:
            calls.append(key)
            if len(calls) > 1:
                raise LookupError("no scales")
            return 1

        cache: TTLCache[str, int] = TTLCache(10, 60, max_bytes=100, sizeof=sizeof)
        cache.set("a", 1)
        with pytest.raises(LookupError, match="no scales"):
            cache.set("a", 2)
        assert cache.get("a") == 1

    @pytest.mark.parametrize("limit", [-1, -(10**30)])
    def test_a_negative_limit_is_a_value_error(self, limit: int) -> None:
        """The value is named; assignment is checked as construction is."""
        with pytest.raises(ValueError, match=re.escape(str(limit))):
            TTLCache(10, 60, max_bytes=limit)
        cache = self.sized(100)
        with pytest.raises(ValueError, match="max_bytes"):
            cache.max_bytes = limit
        assert cache.max_bytes == 100

    @pytest.mark.parametrize("limit", [True, 1.5, "100"], ids=repr)
    def test_another_type_is_a_type_error(self, limit: Any) -> None:
        """A limit is an int or None."""
        with pytest.raises(TypeError, match="max_bytes"):
            TTLCache(10, 60, max_bytes=limit)


class TestOtherArguments:
    def test_an_unknown_policy_is_a_value_error_that_names_the_choices(self) -> None:
        """The message says what was given and what there is."""
        with pytest.raises(ValueError, match="lfu") as caught:
            TTLCache(10, 60, policy="lfu")  # type: ignore[arg-type]
        assert "lru" in str(caught.value)
        assert "s3fifo" in str(caught.value)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"policy": 1},
            {"policy": None},
            {"name": 1},
            {"on_evict": 1},
            {"sizeof": "len"},
            {"grace": "1"},
            {"grace": True},
            {"grace": None},
            {"early_refresh": "1"},
            {"early_refresh": True},
        ],
        ids=repr,
    )
    def test_a_wrong_type_is_a_type_error(self, arguments: dict[str, Any]) -> None:
        """Each argument is checked when the cache is made, not when it is first needed."""
        with pytest.raises(TypeError, match=next(iter(arguments))):
            TTLCache(10, 60, **arguments)

    @pytest.mark.parametrize(
        "arguments",
        [{"grace": -1}, {"grace": math.nan}, {"early_refresh": -1}, {"early_refresh": math.nan}],
        ids=repr,
    )
    def test_a_number_out_of_range_is_a_value_error(self, arguments: dict[str, Any]) -> None:
        """The argument is named, at construction and at assignment."""
        name, value = next(iter(arguments.items()))
        with pytest.raises(ValueError, match=name):
            TTLCache(10, 60, **arguments)
        cache: TTLCache[str, int] = TTLCache(10, 60)
        with pytest.raises(ValueError, match=name):
            setattr(cache, name, value)
        assert getattr(cache, name) == 0

    def test_an_unknown_argument_is_a_type_error(self) -> None:
        """A misspelt argument does not pass silently."""
        with pytest.raises(TypeError, match="maxsize"):
            TTLCache(maxsize=10)  # type: ignore[call-arg]

    def test_options_beyond_size_and_ttl_are_by_keyword_only(self) -> None:
        """A third positional argument is an error."""
        with pytest.raises(TypeError):
            TTLCache(10, 60, "name")  # type: ignore[call-arg]

    def test_the_manager_checks_the_same(self) -> None:
        """`get_cache` refuses what the constructor refuses, and registers nothing then."""
        manager = CacheManager()
        with pytest.raises(ValueError, match="max_size"):
            manager.get_cache("a", -1)
        with pytest.raises(TypeError, match="ttl"):
            manager.get_cache("a", 10, "60")  # type: ignore[arg-type]
        assert manager.names() == []


def test_what_is_too_heavy_was_not_stored() -> None:
    """`add` says False for a value that is heavier than all of `max_bytes`, because it is not held."""
    cache: TTLCache[str, str] = TTLCache(max_bytes=100)
    assert not cache.add("key", "x" * 1000)
    assert "key" not in cache
