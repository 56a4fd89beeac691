"""What may be given as a ttl, in every place that takes one, and what it then means."""

import math
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from driven_clock import Clock, driven

from oxicache._native import CacheManager, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[str, Any]


class Seven:
    """Whole seconds of another kind, as numpy's integers are."""

    def __index__(self) -> int:
        return 7


def _assign(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, 1)
    cache.ttl = ttl
    cache.set("a", 1)
    return cache


def _set(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, 1)
    cache.set("a", 1, ttl=ttl)
    return cache


def _add(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, 1)
    cache.add("a", 1, ttl=ttl)
    return cache


def _set_many(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, 1)
    cache.set_many({"a": 1}, ttl=ttl)
    return cache


def _touch(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, 1)
    cache.set("a", 1)
    cache.touch("a", ttl)
    return cache


def _construct(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, ttl)
    cache.set("a", 1)
    return cache


def _get_or_set(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, 1)
    cache.get_or_set("a", lambda: 1, ttl=ttl)
    return cache


def _fill(ttl: Any) -> Cache:
    cache: Cache = TTLCache(5, 1)
    cache._fill("a", 1, cache._token("a"), ttl=ttl)
    return cache


def _get_cache(ttl: Any) -> Cache:
    cache = CacheManager().get_cache("a", 5, ttl)
    cache.set("a", 1)
    return cache


def _configure(ttl: Any) -> Cache:
    manager = CacheManager()
    manager.get_cache("a", 5, 1)
    cache = manager.configure("a", ttl=ttl)
    cache.set("a", 1)
    return cache


PLACES: list[Callable[[Any], Cache]] = [
    *(_construct, _assign, _set, _add, _set_many, _touch, _get_or_set, _fill, _get_cache, _configure),
]
every_place = pytest.mark.parametrize("give", PLACES, ids=lambda give: give.__name__.strip("_"))


@pytest.fixture(autouse=True)
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@every_place
@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        pytest.param(30, 30.0, id="int"),
        pytest.param(0.5, 0.5, id="float"),
        pytest.param(1e-6, 1e-6, id="one-microsecond"),
        pytest.param(timedelta(minutes=2), 120.0, id="timedelta"),
        pytest.param(timedelta(days=400, microseconds=1), 34560000.000001, id="timedelta-precise"),
        pytest.param(Seven(), 7.0, id="__index__"),
        pytest.param(10**9, 1e9, id="three-decades"),
    ],
)
def test_a_ttl_counts_from_now(give: Callable[[Any], Cache], ttl: Any, seconds: float, clock: Clock) -> None:
    """The entry lives for exactly that long on the engine's clock."""
    cache = give(ttl)
    assert cache.time_left("a") == pytest.approx(seconds, abs=1e-9)
    clock.advance(seconds)
    assert "a" not in cache


@every_place
@pytest.mark.parametrize(
    "ttl",
    [None, math.inf, 1e30, 1e300, 10**30, 10**400, timedelta.max],
    ids=["None", "inf", "1e30", "1e300", "10**30", "10**400", "timedelta.max"],
)
def test_a_ttl_beyond_the_clock_is_for_ever(give: Callable[[Any], Cache], ttl: Any, clock: Clock) -> None:
    """None, infinity and anything the clock cannot count mean that the entry does not expire."""
    cache = give(ttl)
    assert cache.time_left("a") == math.inf
    clock.advance(250 * 365 * 86400.0)
    assert cache.get("a") == 1


@every_place
@pytest.mark.parametrize("ttl", [0, 0.0, -0.0, timedelta(0)], ids=repr)
def test_a_ttl_of_zero_is_dead_at_once(give: Callable[[Any], Cache], ttl: Any) -> None:
    """Zero is legal and stores nothing that can be read."""
    cache = give(ttl)
    assert "a" not in cache
    assert cache.get("a") is None


@every_place
@pytest.mark.parametrize(
    "ttl",
    [-1, -0.001, -math.inf, math.nan, timedelta(microseconds=-1), -(10**30)],
    ids=["-1", "-0.001", "-inf", "nan", "negative-timedelta", "-10**30"],
)
def test_a_ttl_that_is_no_length_of_time_is_a_value_error(give: Callable[[Any], Cache], ttl: Any) -> None:
    """Negative numbers and nan raise ValueError."""
    with pytest.raises(ValueError, match="ttl"):
        give(ttl)


@every_place
@pytest.mark.parametrize(
    "ttl",
    [True, False, "60", b"60", Decimal(60), Fraction(60), [], object(), 1j],
    ids=lambda ttl: type(ttl).__name__ + ("" if not isinstance(ttl, bool) else str(ttl)),
)
def test_a_ttl_of_another_type_is_a_type_error(give: Callable[[Any], Cache], ttl: Any) -> None:
    """A bool, a string or anything that is not seconds or a timedelta raises TypeError."""
    with pytest.raises(TypeError, match="ttl"):
        give(ttl)


@pytest.mark.parametrize(
    ("ttl", "error"), [(-5, ValueError), (math.nan, ValueError), ("soon", TypeError), (True, TypeError)]
)
def test_the_error_names_the_value(ttl: Any, error: type[Exception]) -> None:
    """The message quotes what was given, so that it can be found."""
    with pytest.raises(error, match=re.escape(str(ttl))):
        TTLCache(5, ttl)


class TestAfterARefusal:
    def test_a_refused_write_leaves_the_old_entry(self) -> None:
        """A set that raises for its ttl has changed nothing."""
        cache: Cache = TTLCache(5, 60)
        cache.set("a", "old")
        with pytest.raises(ValueError, match="ttl"):
            cache.set("a", "new", ttl=-1)
        with pytest.raises(TypeError, match="ttl"):
            cache.touch("a", "soon")  # type: ignore[arg-type]
        assert cache.get("a") == "old"
        assert cache.time_left("a") == 60

    def test_a_refused_assignment_leaves_the_old_ttl(self) -> None:
        """An assignment that raises has changed nothing."""
        cache: Cache = TTLCache(5, 60)
        with pytest.raises(ValueError, match="ttl"):
            cache.ttl = -1
        assert cache.ttl == 60


class TestAttribute:
    def test_it_reads_back_as_assigned(self) -> None:
        """`ttl` gives seconds, and None for ever."""
        cache: Cache = TTLCache(5, timedelta(minutes=1))
        assert cache.ttl == 60
        cache.ttl = 0.1
        assert cache.ttl == 0.1
        cache.ttl = None
        assert cache.ttl is None

    def test_it_counts_for_later_writes_only(self, clock: Clock) -> None:
        """An entry keeps the deadline that it was stored with."""
        cache: Cache = TTLCache(5, 60)
        cache.set("before", 1)
        cache.ttl = 10
        cache.set("after", 2)
        assert (cache.time_left("before"), cache.time_left("after")) == (60, 10)
        clock.advance(10)
        assert cache.keys() == ["before"]

    def test_a_shorter_ttl_after_a_longer_one_expires_in_its_turn(self, clock: Clock) -> None:
        """Deadlines need not come in the order of the writes."""
        cache: Cache = TTLCache(10, 100)
        cache.set("long", 1)
        cache.ttl = 10
        cache.set("short", 2)
        cache.ttl = 1000
        cache.set("longest", 3)
        for seconds, left in ((10, ["long", "longest"]), (90, ["longest"]), (900, [])):
            clock.advance(seconds)
            assert cache._cleanup_expired() == 1
            assert cache.keys() == left

    def test_an_entry_of_its_own_ttl_outlives_or_precedes_the_others(self, clock: Clock) -> None:
        """A ttl given to `set` counts for that entry alone."""
        cache: Cache = TTLCache(10, 100)
        cache.set("short", 1, ttl=1)
        cache.set("usual", 2)
        cache.set("long", 3, ttl=10_000)
        cache.set("ever", 4, ttl=None)
        for seconds, left in ((1, ["usual", "long", "ever"]), (99, ["long", "ever"]), (9_900, ["ever"])):
            clock.advance(seconds)
            assert cache.keys() == left
            assert cache.stats()["expired_entries"] == 1
            assert cache._cleanup_expired() == 1


class TestCleanup:
    def test_a_sweep_removes_every_expired_entry_and_no_other(self, clock: Clock) -> None:
        """`_cleanup_expired` counts what it removed, and a second call finds nothing."""
        cache: TTLCache[int, int] = TTLCache(1000, 50)
        for number in range(300):
            cache.set(number, number, ttl=number % 100 + 1)
        clock.advance(50)
        assert cache.stats()["expired_entries"] == 150
        assert cache._cleanup_expired() == 150
        assert cache._cleanup_expired() == 0
        assert all(number % 100 >= 50 for number in cache.keys())  # noqa: SIM118 - live keys, not the view
        assert len(cache) == 150

    def test_a_set_sweeps_once_the_interval_has_passed(self, clock: Clock) -> None:
        """Strictly later than `cleanup_interval` after the last cleanup, a set sweeps and notes the time."""
        cache: Cache = TTLCache(100, 1)
        cache.cleanup_interval = 30
        cache.set("a", 1)
        clock.advance(30)
        cache.set("b", 1)
        assert cache.stats()["size"] == 2
        clock.advance(1)
        cache.set("c", 1)
        assert cache.stats()["size"] == 1
        cache.set("d", 1)
        clock.advance(2)
        cache.set("e", 1)
        assert cache.stats()["size"] == 3

    def test_a_sweep_by_hand_leaves_the_interval_alone(self, clock: Clock) -> None:
        """`_cleanup_expired` does not count as the periodic cleanup, as in the documents' system."""
        cache: Cache = TTLCache(100, 1)
        before = cache._last_cleanup
        clock.advance(500)
        cache._cleanup_expired()
        assert cache._last_cleanup == before

    @pytest.mark.parametrize("interval", [-1, math.nan, True, "300"], ids=repr)
    def test_a_cleanup_interval_is_seconds(self, interval: Any) -> None:
        """A wrong interval is refused and the old one kept."""
        cache: Cache = TTLCache(100, 1)
        cache.cleanup_interval = 30
        with pytest.raises((TypeError, ValueError), match="cleanup_interval"):
            cache.cleanup_interval = interval
        assert cache.cleanup_interval == 30
