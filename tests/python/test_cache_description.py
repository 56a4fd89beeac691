"""What a TTLCache says of itself: statistics, repr, name; and what it refuses to be: copied, subclassed, misspelt."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driven_clock import Clock, driven

from oxicache._native import TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def cache(clock: Clock) -> TTLCache[str, Any]:
    return TTLCache(3, 60)


class TestWhatItSaysOfItself:
    def test_stats_names_and_order(self, cache: TTLCache[str, Any]) -> None:
        """The five documented names come first and in the documented order; the rest follow."""
        assert list(cache.stats()) == [
            *("size", "max_size", "expired_entries", "ttl_seconds", "utilization_percent"),
            *(
                "hits",
                "misses",
                "hit_rate",
                "stale_hits",
                "sets",
                "evictions",
                "expirations",
                "invalidations",
            ),
            *("rejected", "size_bytes", "max_bytes", "policy", "grace_seconds"),
            *("loads", "load_errors", "load_seconds", "sampled_every", "latency", "kind"),
        ]

    def test_stats_of_a_new_cache(self) -> None:
        """A new cache has no rate and no bytes to tell, and zeros elsewhere."""
        stats = TTLCache(500, 1800).stats()
        assert (stats["size"], stats["max_size"], stats["expired_entries"]) == (0, 500, 0)
        assert stats["ttl_seconds"] == 1800
        assert isinstance(stats["ttl_seconds"], int)
        assert stats["utilization_percent"] == 0.0
        assert isinstance(stats["utilization_percent"], float)
        assert stats["hit_rate"] is None
        assert stats["size_bytes"] is None
        assert stats["max_bytes"] is None
        assert stats["policy"] == "lru"

    def test_stats_count_what_happened(self, cache: TTLCache[str, Any], clock: Clock) -> None:
        """Hits, misses, sets, evictions, expirations and invalidations are each counted once."""
        for key in "abcd":
            cache.set(key, key, tags=["t"] if key == "c" else ())
        cache.get("b")
        cache.get("absent")
        cache.get("absent")
        cache.delete_by_tag("t")
        cache.delete("b")
        clock.advance(60)
        assert cache.stats()["expired_entries"] == 1
        assert cache.stats()["size"] == 1
        cache.get("d")
        stats = cache.stats()
        assert {name: stats[name] for name in ("hits", "misses", "sets", "evictions", "expirations")} == {
            "hits": 1,
            "misses": 3,
            "sets": 4,
            "evictions": 1,
            "expirations": 1,
        }
        assert stats["invalidations"] == 2
        assert stats["hit_rate"] == 0.25
        assert stats["size"] == 0

    def test_utilisation_counts_expired_entries(self, clock: Clock) -> None:
        """Size and utilisation are of what is held, expired or not, as the documents count."""
        cache: TTLCache[str, int] = TTLCache(8, 10)
        cache.set_many({"a": 1, "b": 2})
        clock.advance(10)
        stats = cache.stats()
        assert (stats["size"], stats["expired_entries"], stats["utilization_percent"]) == (2, 2, 25.0)

    def test_ttl_seconds_is_an_int_when_whole(self) -> None:
        """Whole seconds are an int, parts of a second a float, and for ever None."""
        assert [TTLCache(1, ttl).stats()["ttl_seconds"] for ttl in (5, 5.0, 0.5, None)] == [5, 5, 0.5, None]
        assert isinstance(TTLCache(1, 5.0).stats()["ttl_seconds"], int)

    def test_reset_stats_zeroes_counters_and_keeps_entries(self, cache: TTLCache[str, Any]) -> None:
        """Counters start again; what is stored stays."""
        cache.set("a", 1)
        cache.get("a")
        cache.get("absent")
        cache.reset_stats()
        stats = cache.stats()
        assert (stats["hits"], stats["misses"], stats["sets"], stats["hit_rate"]) == (0, 0, 0, None)
        assert stats["size"] == 1

    def test_stats_are_a_copy(self, cache: TTLCache[str, Any]) -> None:
        """Changing the dict that `stats` gave changes nothing else."""
        cache.stats()["size"] = 99
        assert cache.stats()["size"] == 0

    def test_repr_names_class_and_limits_and_runs_no_value(self, cache: TTLCache[str, Any]) -> None:
        """The repr is short, and safe when a value's own repr is not."""

        class Unprintable:
            def __repr__(self) -> str:
                raise AssertionError("a cache does not print what it holds")

        cache.set("self", cache)
        cache.set("value", Unprintable())
        shown = repr(cache)
        assert "TTLCache" in shown
        assert "3" in shown
        assert "60" in shown
        assert "users" in repr(TTLCache(1, 1, name="users"))

    def test_name_and_policy(self) -> None:
        """The name is what was given; the policy is fixed at construction."""
        cache: TTLCache[str, int] = TTLCache(1, 1, name="users", policy="s3fifo")
        assert (cache.name, cache.policy) == ("users", "s3fifo")
        assert TTLCache(1, 1).name is None
        with pytest.raises(AttributeError):
            cache.policy = "lru"  # type: ignore[misc]


class TestWhatItIsNot:
    @pytest.mark.parametrize(
        "duplicate",
        [
            *(pytest.param(lambda c, p=p: pickle.dumps(c, p), id=f"pickle-{p}") for p in range(6)),
            pytest.param(copy.copy, id="copy"),
            pytest.param(copy.deepcopy, id="deepcopy"),
        ],
    )
    def test_a_cache_cannot_be_pickled_or_copied(
        self, cache: TTLCache[str, Any], duplicate: Callable[[Any], object]
    ) -> None:
        """Both raise a TypeError that names the class."""
        with pytest.raises(TypeError, match="TTLCache"):
            duplicate(cache)

    def test_subscripting_the_class_is_for_annotations(self) -> None:
        """`TTLCache[str, int]` is a generic alias whose call makes a plain cache."""
        alias = TTLCache[str, int]
        assert alias.__origin__ is TTLCache  # type: ignore[attr-defined]
        assert alias.__args__ == (str, int)  # type: ignore[attr-defined]
        assert type(alias(1, 1)) is TTLCache

    def test_the_class_cannot_be_subclassed(self) -> None:
        """Subclassing is refused with the class's name, at the class statement."""
        with pytest.raises(TypeError, match="TTLCache"):
            type("Sub", (TTLCache,), {})

    def test_unknown_attributes_are_refused(self, cache: TTLCache[str, Any]) -> None:
        """A misspelt setting does not pass silently."""
        with pytest.raises(AttributeError):
            cache.maxsize = 5  # type: ignore[attr-defined]

    def test_a_setting_cannot_be_deleted(self, cache: TTLCache[str, Any]) -> None:
        """`del cache.ttl` is an error, not a cache without a ttl."""
        with pytest.raises((AttributeError, TypeError)):
            del cache.ttl
        assert cache.ttl == 60

    def test_caches_compare_by_identity(self) -> None:
        """Two caches are never equal, so a cache is its own key in a dict or a set."""
        one: TTLCache[str, int] = TTLCache(1, 1)
        other: TTLCache[str, int] = TTLCache(1, 1)
        assert one != other
        assert one == one  # noqa: PLR0124 - identity is the point
        assert {one: "one"}[one] == "one"

    def test_an_empty_cache_is_true(self, cache: TTLCache[str, Any]) -> None:
        """`if cache:` asks whether there is a cache, as it did where the class had no length."""
        assert len(cache) == 0
        assert bool(cache) is True
