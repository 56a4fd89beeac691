"""A time to live from how often an entry is asked for."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from loads import EngineTime, driven_time

from oxicache import AdaptiveTtl, cached_function, cached_method, ttl_cached_property
from oxicache.adaptive import Meter

HOUR = 3600.0


@pytest.fixture
def time() -> Iterator[EngineTime]:
    with driven_time() as time:
        yield time


@pytest.mark.parametrize(
    ("per_hour", "seconds"),
    [(0, 60), (0.9, 60), (1, 300), (5.5, 1950), (10, 3600), (10.1, 3600), (1000, 3600)],
)
def test_rates(per_hour: float, seconds: float) -> None:
    """Below 1 ask in an hour `low`, above 10 `high`, between them a straight line from `base`."""
    assert AdaptiveTtl(300, 60, 3600).of_rate(per_hour) == seconds


def test_what_was_never_asked_for(time: EngineTime) -> None:
    """The first ask says nothing of how often: `base`."""
    meter = Meter(AdaptiveTtl())
    assert meter.ttl("a") == 300
    meter.note("a")
    assert meter.ttl("a") == 300


def test_a_burst_is_no_rate(time: EngineTime) -> None:
    """Two asks 50 ms apart are two in an hour; there they were 143,290 in an hour."""
    meter = Meter(AdaptiveTtl())
    meter.note("a")
    time.advance(0.05)
    meter.note("a")
    assert meter.per_hour("a") == 2
    assert meter.ttl("a") == 300  # one ask before this one


def test_the_window_slides(time: EngineTime) -> None:
    """Asks count for an hour, those of a window that is partly past in part, and then no more."""
    meter = Meter(AdaptiveTtl())
    time.advance(HOUR - time.at % HOUR)
    for _ in range(20):
        meter.note("a")
    assert (meter.per_hour("a"), meter.ttl("a")) == (20, 3600)
    time.advance(1.75 * HOUR)
    assert meter.per_hour("a") == pytest.approx(5)
    time.advance(HOUR)
    assert meter.per_hour("a") == 0
    meter.note("a")
    assert meter.ttl("a") == 60  # known, and asked for less than once in an hour


def test_few_are_remembered() -> None:
    """The bookkeeping is bounded: whoever was asked for longest ago begins anew."""
    meter = Meter(AdaptiveTtl(max_keys=2))
    for key in "abc":
        meter.note(key)
    assert [key for key, _ in meter.all()] == ["b", "c"]
    assert meter.asks("a") is None


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"base": -1}, "base"),
        ({"low": 400}, "low <= base"),
        ({"high": 200}, "base <= high"),
        ({"window": 0}, "window"),
        ({"max_keys": 0}, "max_keys"),
        ({"max_keys": True}, "max_keys"),
        ({"base": "300"}, "base"),
    ],
)
def test_wrong_values_are_named(given: dict[str, Any], named: str) -> None:
    """TypeError or ValueError, with the argument's name."""
    with pytest.raises((TypeError, ValueError), match=named):
        AdaptiveTtl(**given)


class TestDecorated:
    def test_what_is_asked_for_often_lives_longer(self, time: EngineTime) -> None:
        """Each entry has its own time: the one asked for 12 times an hour outlives the one asked for once."""
        calls: list[int] = []

        @cached_function(ttl=AdaptiveTtl(300, 60, 3600))
        def f(number: int) -> int:
            calls.append(number)
            return number

        time.advance(HOUR - time.at % HOUR)
        for _ in range(12):
            f(1)
        f(2)
        assert calls == [1, 2]
        time.advance(301)
        f(1), f(2)
        assert calls == [1, 2, 1, 2]  # both were stored at the first ask, for `base`
        time.advance(301)
        f(1), f(2)
        assert calls[4:] == [2]  # one ask in the hour before it was `base` still, and 12 were `high`

    def test_methods_and_async_functions(self, time: EngineTime) -> None:
        """They are counted like functions, each instance by itself."""

        class Report:
            @cached_method(ttl=AdaptiveTtl())
            def total(self) -> int:
                return 7

        one, other = Report(), Report()
        assert [one.total(), one.total(), other.total()] == [7, 7, 7]
        memo: Any = Report.total
        assert (memo.meter.asks(memo.key(one)).count, memo.meter.asks(memo.key(other)).count) == (2, 1)

        @cached_function(ttl=AdaptiveTtl())
        async def fetch(number: int) -> int:
            return number

        async def twice() -> list[int]:
            return [await fetch(1), await fetch(1)]

        assert asyncio.run(twice()) == [1, 1]
        fetched: Any = fetch
        assert (fetched.meter.asks(fetched.key(1)).count, fetched.cache_info().misses) == (2, 1)

    def test_it_is_for_calls(self) -> None:
        """A property, whose reads are not counted, refuses it."""
        with pytest.raises(TypeError, match="AdaptiveTtl"):
            ttl_cached_property(ttl=AdaptiveTtl())  # type: ignore[call-overload]
