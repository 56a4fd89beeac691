"""Serving an expired value while its source is out of reach."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from loads import EngineTime, Load, driven_time

from oxicache import TTLCache, loader
from oxicache.loader import Loader

Cache = TTLCache[Any, Any]


@pytest.fixture(autouse=True)
def time() -> Iterator[EngineTime]:
    with driven_time() as time:
        yield time


@pytest.fixture
def cache(time: EngineTime) -> Cache:
    """A cache whose value of "a" has expired, and is kept for an hour."""
    cache: Cache = TTLCache(10, 60, grace=3600)
    cache.set("a", "stale")
    time.advance(60)
    return cache


class UnavailableError(ConnectionError):
    pass


class TestServed:
    @pytest.mark.parametrize(
        "error", [ConnectionError("down"), TimeoutError("slow"), UnavailableError("gone")], ids=repr
    )
    def test_an_expired_value_is_served_while_the_source_is_out_of_reach(
        self, cache: Cache, error: Exception
    ) -> None:
        """The errors that say so, and what inherits from them, do not reach the caller."""
        assert Loader(cache).load("a", Load(error)) == "stale"
        assert cache.peek("a") is None, "serving is not storing"

    def test_get_or_set_and_tasks_are_served_too(self, cache: Cache) -> None:
        """One rule for every way to load."""
        failing = Load(ConnectionError("down"))
        assert cache.get_or_set("a", failing) == "stale"
        loader.forget_flights()
        assert asyncio.run(Loader(cache).aload("a", failing.awaited)) == "stale"
        assert failing.calls == 2

    def test_it_is_logged_once_and_the_source_left_alone(
        self, cache: Cache, time: EngineTime, caplog: pytest.LogCaptureFixture
    ) -> None:
        """For `grace_throttle` the source is not asked again; then it is, and logged again."""
        failing = Load(ConnectionError("down"))
        for calls in (1, 2, 3):
            assert [Loader(cache).load("a", failing) for _ in range(5)] == ["stale"] * 5
            assert failing.calls == calls
            assert len(caplog.records) == calls
            time.advance(30)
        message = caplog.records[0].getMessage()
        assert "'a'" in message
        assert "ConnectionError('down')" in message

    def test_a_source_that_is_back_is_stored(self, cache: Cache, time: EngineTime) -> None:
        """After the throttle a load that succeeds ends it."""
        assert Loader(cache).load("a", Load(ConnectionError("down"))) == "stale"
        time.advance(30)
        assert Loader(cache).load("a", Load("new")) == "new"
        assert cache.get("a") == "new"

    def test_the_throttle_is_a_setting(self, cache: Cache, time: EngineTime) -> None:
        """`configure(grace_throttle=...)` is how long a source is left alone."""
        loader.configure(grace_throttle=5)
        try:
            failing = Load(ConnectionError("down"))
            Loader(cache).load("a", failing)
            time.advance(5)
            Loader(cache).load("a", failing)
            assert failing.calls == 2
        finally:
            loader.configure()

    def test_without_a_throttle_every_value_served_is_logged(
        self, cache: Cache, caplog: pytest.LogCaptureFixture
    ) -> None:
        """`grace_throttle=0`: the source is asked each time, and nothing is served in silence."""
        loader.configure(grace_throttle=0)
        try:
            failing = Load(ConnectionError("down"))
            assert [Loader(cache).load("a", failing) for _ in range(3)] == ["stale"] * 3
        finally:
            loader.configure()
        assert failing.calls == len(caplog.records) == 3

    def test_each_key_and_cache_has_a_throttle_of_its_own(self, cache: Cache, time: EngineTime) -> None:
        """One failing source says nothing about another."""
        other: Cache = TTLCache(10, 60, grace=3600)
        for each, key in ((cache, "b"), (other, "a")):
            each.set(key, "stale", 0.001)
        time.advance(0.001)
        failing = Load(ConnectionError("down"))
        Loader(cache).load("a", failing)
        Loader(cache).load("b", failing)
        Loader(other).load("a", failing)
        assert failing.calls == 3


class TestNotServed:
    def test_without_grace_the_error_is_raised(self, time: EngineTime) -> None:
        """Off unless asked for."""
        cache: Cache = TTLCache(10, 60)
        cache.set("a", "stale")
        time.advance(60)
        with pytest.raises(ConnectionError):
            Loader(cache).load("a", Load(ConnectionError()))

    def test_past_its_grace_a_value_is_not_served(self, cache: Cache, time: EngineTime) -> None:
        """An hour later the error is the answer."""
        time.advance(3600)
        with pytest.raises(ConnectionError):
            Loader(cache).load("a", Load(ConnectionError()))

    @pytest.mark.parametrize("while_resting", [False, True], ids=["before", "while resting"])
    def test_an_invalidated_value_is_never_served(self, cache: Cache, while_resting: bool) -> None:
        """What was invalidated is wrong, not old; then even a resting source is asked."""
        failing = Load(ConnectionError("down"))
        if while_resting:
            assert Loader(cache).load("a", failing) == "stale"
        cache.delete("a")
        with pytest.raises(ConnectionError):
            Loader(cache).load("a", failing)

    def test_a_key_that_was_never_held_has_nothing_to_serve(self, cache: Cache) -> None:
        """There the error is raised."""
        with pytest.raises(ConnectionError):
            Loader(cache).load("b", Load(ConnectionError()))

    @pytest.mark.parametrize("error", [ValueError("bug"), OSError("disk"), PermissionError("no")], ids=repr)
    def test_other_errors_are_raised(self, cache: Cache, error: Exception) -> None:
        """Only what says "out of reach" is graced."""
        with pytest.raises(type(error)):
            Loader(cache).load("a", Load(error))


class TestWhichErrors:
    def test_errors_of_ones_own(self, cache: Cache) -> None:
        """`grace_errors` takes a class, several, or a dotted path; they replace the default."""
        here = f"{__name__}.UnavailableError"
        sys.modules.setdefault(__name__, sys.modules[type(self).__module__])
        for errors in (UnavailableError, (KeyError, UnavailableError), here, [here]):
            loader.forget_flights()
            own = Loader(cache, grace_errors=errors)
            assert own.load("a", Load(UnavailableError())) == "stale"
        loader.forget_flights()
        with pytest.raises(TimeoutError):
            Loader(cache, grace_errors=KeyError).load("a", Load(TimeoutError()))

    def test_a_setting_for_all(self, cache: Cache) -> None:
        """`configure(grace_errors=...)` holds where a loader has none of its own."""
        loader.configure(grace_errors=[LookupError])
        try:
            assert Loader(cache).load("a", Load(KeyError("k"))) == "stale"
        finally:
            loader.configure()

    @pytest.mark.parametrize("errors", [1, [1], "ConnectionError", [object], ""], ids=repr)
    def test_what_is_no_exception_is_refused(self, cache: Cache, errors: Any) -> None:
        """TypeError shows the value."""
        with pytest.raises(TypeError, match="grace_errors"):
            Loader(cache, grace_errors=errors)

    def test_django(self, cache: Cache) -> None:
        """Of Django's errors a database that is out of reach is graced by default; answers never are."""
        pytest.importorskip("django")
        from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
        from django.db import OperationalError
        from django.http import Http404

        assert Loader(cache).load("a", Load(OperationalError("gone away"))) == "stale"
        loader.forget_flights()
        for answer in (Http404, PermissionDenied, ObjectDoesNotExist):
            both = type("Both", (answer, ConnectionError), {})
            with pytest.raises(answer):
                Loader(cache, grace_errors=Exception).load("a", Load(both()))


def test_the_bookkeeping_is_bounded(cache: Cache) -> None:
    """However many sources fail, only so many are remembered."""
    from oxicache import grace
    from oxicache.options import RESTING_MAX_KEYS

    for number in range(RESTING_MAX_KEYS + 50):
        grace.rest(cache, number, ConnectionError(), 30, "nothing")
    assert len(grace._resting) == RESTING_MAX_KEYS
