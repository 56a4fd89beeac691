"""What the loader asks of a cache: tokens and fills, stale values kept for grace, election of early refreshes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driven_clock import Clock, driven

from oxicache._native import MISSING, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[str, Any]


@pytest.fixture(autouse=True)
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def cache() -> Cache:
    return TTLCache(10, 60)


class TestFill:
    def test_an_undisturbed_load_is_stored(self, cache: Cache) -> None:
        """The value, its ttl and its tags are stored, and the call says so."""
        token = cache._token("a")
        assert cache._fill("a", 1, token, ttl=5, tags=["t"], cost=0.25) is True
        assert cache.get("a") == 1
        assert cache.time_left("a") == 5
        assert cache.tags("a") == {"t"}

    def test_the_ttl_starts_when_the_load_ends(self, cache: Cache, clock: Clock) -> None:
        """Time spent loading does not shorten the entry's life."""
        token = cache._token("a")
        clock.advance(50)
        assert cache._fill("a", 1, token)
        assert cache.time_left("a") == 60

    @pytest.mark.parametrize(
        "disturb",
        [
            pytest.param(lambda cache: cache.set("a", "written"), id="set"),
            pytest.param(lambda cache: cache.__setitem__("a", "written"), id="setitem"),
            pytest.param(lambda cache: cache.set_many({"a": "written"}), id="set_many"),
            pytest.param(lambda cache: cache.add("a", "written"), id="add"),
            pytest.param(lambda cache: cache.delete("a"), id="delete"),
            pytest.param(lambda cache: cache.delete_many(["a"]), id="delete_many"),
            pytest.param(lambda cache: cache.pop("a", None), id="pop"),
            pytest.param(lambda cache: cache._cache.pop("a", None), id="view-pop"),
            pytest.param(lambda cache: cache._expiry_times.pop("a", None), id="deadlines-pop"),
            pytest.param(lambda cache: cache.delete_by_tag("t"), id="tag"),
            pytest.param(lambda cache: cache.clear(), id="clear"),
        ],
    )
    @pytest.mark.parametrize("present", [False, True], ids=["absent", "present"])
    def test_a_load_overtaken_by_a_change_is_not_stored(
        self, cache: Cache, disturb: Callable[[Cache], object], present: bool, clock: Clock
    ) -> None:
        """What was read before a write, a delete, an invalidation or a clear is dead on arrival."""
        if present:
            cache.set("a", "expired", ttl=1, tags=["t"])
            clock.advance(1)
        token = cache._token("a")
        assert cache._is_current("a", token, ["t"])
        disturb(cache)
        assert not cache._is_current("a", token, ["t"])
        before = cache.peek("a", MISSING)
        assert cache._fill("a", "loaded before", token, tags=["t"]) is False
        assert cache.peek("a", MISSING) is before
        assert cache._fill("a", "loaded after", cache._token("a"), tags=["t"]) is True

    def test_two_loads_of_one_key_do_not_disturb_each_other(self, cache: Cache) -> None:
        """A fill is no write: a second load that began before it may be stored too."""
        first, second = cache._token("a"), cache._token("a")
        assert cache._fill("a", 1, first) is True
        assert cache._fill("a", 2, second) is True

    def test_unrelated_traffic_disturbs_nothing(self) -> None:
        """Writes and deletes of 2,000 other keys, and invalidations of other tags, leave a load as it was."""
        cache: Cache = TTLCache(10_000, 60)
        token = cache._token("a")
        for number in range(2_000):
            cache.set(f"set {number}", 1, tags=["other"])
            cache[f"item {number}"] = 1
            cache.delete(f"absent {number}")
            cache.delete_by_tag("other")
            cache._fill(f"filled {number % 50}", 1, cache._token(f"filled {number % 50}"))
        assert cache._is_current("a", token)
        assert not cache._is_current("a", token, ["t", "other"])
        assert cache._fill("a", 1, token, tags=["other"]) is False
        assert cache._fill("a", 1, token, tags=["t"]) is True

    def test_the_tag_of_a_held_entry_disturbs_its_load(self, cache: Cache) -> None:
        """A load may be about to serve what it found, whatever tags its own value would have."""
        cache.set("a", 1, tags=["t"])
        token = cache._token("a")
        cache.delete_by_tag("t")
        assert cache._fill("a", 2, token) is False

    def test_more_invalidated_tags_than_are_remembered(self, cache: Cache) -> None:
        """Then a tagged value is refused to be safe, and an untagged one is stored."""
        token = cache._token("a")
        for number in range(64):
            cache.delete_by_tag(f"other {number}")
        assert cache._is_current("a", token, ["t"])
        cache.delete_by_tag("one more")
        assert cache._fill("a", 1, token, tags=["t"]) is False
        assert cache._fill("a", 1, token) is True

    def test_wrong_tags_are_a_type_error(self, cache: Cache) -> None:
        """As they are for a fill."""
        with pytest.raises(TypeError, match="tags"):
            cache._is_current("a", cache._token("a"), "ab")

    def test_reads_expiry_and_sweeps_disturb_nothing(self, cache: Cache, clock: Clock) -> None:
        """Only changes of the source count."""
        cache.set("a", 1, ttl=1)
        token = cache._token("a")
        clock.advance(1)
        cache.get("a")
        cache._cleanup_expired()
        cache.stats()
        assert cache._fill("a", 2, token) is True

    def test_a_fill_of_zero_ttl_stores_nothing(self, cache: Cache) -> None:
        """A value that is dead at once cannot be read after the fill."""
        cache._fill("a", 1, cache._token("a"), ttl=0)
        assert "a" not in cache


class TestGrace:
    def test_an_expired_value_is_kept_for_grace_and_read_only_by_stale(self, clock: Clock) -> None:
        """Past its deadline an entry is a miss for every reader but `_stale`, until grace has passed too."""
        cache: Cache = TTLCache(10, 60, grace=30)
        cache.set("a", 1)
        assert cache._stale("absent") is MISSING
        clock.advance(60)
        assert cache.get("a", "miss") == "miss"
        assert cache.peek("a", "miss") == "miss"
        assert "a" not in cache
        assert cache._stale("a") == 1
        clock.advance(29)
        assert cache._stale("a") == 1
        clock.advance(1)
        assert cache._stale("a") is MISSING
        assert cache.get("a") is None
        assert len(cache) == 0

    def test_a_sweep_leaves_what_grace_keeps(self, clock: Clock) -> None:
        """`_cleanup_expired` removes only what is past its grace."""
        cache: Cache = TTLCache(10, 60, grace=30)
        cache.set("a", 1)
        clock.advance(60)
        assert cache._cleanup_expired() == 0
        assert cache._stale("a") == 1
        clock.advance(30)
        assert cache._cleanup_expired() == 1

    @pytest.mark.parametrize(
        "invalidate",
        [
            pytest.param(lambda cache: cache.delete("a"), id="delete"),
            pytest.param(lambda cache: cache.delete_many(["a"]), id="delete_many"),
            pytest.param(lambda cache: cache.delete_by_tag("t"), id="tag"),
            pytest.param(lambda cache: cache.clear(), id="clear"),
            pytest.param(lambda cache: cache._cache.pop("a", None), id="view-pop"),
            pytest.param(lambda cache: cache._expiry_times.pop("a", None), id="deadlines-pop"),
        ],
    )
    def test_what_was_invalidated_is_never_stale(
        self, invalidate: Callable[[Cache], object], clock: Clock
    ) -> None:
        """An expired value that was deleted or invalidated is gone, grace or not."""
        cache: Cache = TTLCache(10, 60, grace=30)
        cache.set("a", 1, tags=["t"])
        clock.advance(60)
        invalidate(cache)
        assert cache._stale("a") is MISSING

    def test_grace_may_be_assigned(self, clock: Clock) -> None:
        """A cache without grace keeps nothing; once assigned, grace counts for what expires then."""
        cache: Cache = TTLCache(10, 60)
        cache.set("a", 1)
        clock.advance(60)
        assert cache._stale("a") is MISSING
        cache.grace = 30
        cache.set("b", 1)
        clock.advance(60)
        assert cache._stale("b") == 1
        assert cache.stats()["grace_seconds"] == 30

    def test_a_write_over_a_stale_entry_is_a_plain_write(self, clock: Clock) -> None:
        """`add` and `set` take the place of an entry that only grace keeps."""
        cache: Cache = TTLCache(10, 60, grace=30)
        cache.set("a", 1)
        clock.advance(60)
        assert cache.add("a", 2) is True
        assert cache.get("a") == 2


class TestEarlyRefresh:
    def test_off_by_default(self, cache: Cache, clock: Clock) -> None:
        """Without the parameter no hit elects anybody, however dear the load was."""
        cache._fill("a", 1, cache._token("a"), cost=1e6)
        clock.advance(59.999)
        assert cache._early("a") is False

    def test_a_dear_entry_near_its_end_elects(self, clock: Clock) -> None:
        """With a load as long as the ttl many times over, a hit elects practically always."""
        cache: Cache = TTLCache(10, 60, early_refresh=1000.0)
        cache._fill("a", 1, cache._token("a"), cost=60.0)
        clock.advance(59)
        draws = [cache._early("a") for _ in range(200)]
        assert sum(draws) > 190

    def test_a_cheap_entry_far_from_its_end_does_not_elect(self) -> None:
        """With a load of a microsecond and an hour to go, a hit elects practically never."""
        cache: Cache = TTLCache(10, 3600, early_refresh=1.0)
        cache._fill("a", 1, cache._token("a"), cost=1e-6)
        assert not any(cache._early("a") for _ in range(200))

    def test_an_absent_or_expired_entry_does_not_elect(self, clock: Clock) -> None:
        """Election is for hits."""
        cache: Cache = TTLCache(10, 60, early_refresh=1000.0)
        assert cache._early("absent") is False
        cache._fill("a", 1, cache._token("a"), cost=60.0)
        clock.advance(60)
        assert cache._early("a") is False

    def test_an_elected_hit_still_reads_the_value(self, clock: Clock) -> None:
        """For `get` an early refresh changes nothing: the entry is fresh and is returned."""
        cache: Cache = TTLCache(10, 60, early_refresh=1000.0)
        cache._fill("a", 1, cache._token("a"), cost=60.0)
        clock.advance(59)
        assert [cache.get("a") for _ in range(20)] == [1] * 20
        assert cache["a"] == 1
