"""`on_evict`: which removals are told, with which cause, and what happens when the callback fails."""

# mypy: disable-error-code="func-returns-value"
# The tables of one-line operations join calls in tuples, whatever each call returns.

import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from driven_clock import Clock, driven

from oxicache._native import TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cause = Literal["evicted", "expired", "replaced", "deleted", "cleared", "invalidated"]
Cache = TTLCache[str, Any]


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def told() -> list[tuple[str, Any, Cause]]:
    return []


@pytest.fixture(name="cache")
def make_cache(told: list[tuple[str, Any, Cause]], clock: Clock) -> Cache:
    return TTLCache(3, 60, on_evict=lambda key, value, cause: told.append((key, value, cause)))


REMOVALS: dict[str, tuple[Callable[[Cache, Clock], object], list[tuple[str, Any, Cause]]]] = {
    "set-over-another": (lambda cache, _: cache.set("a", 9), [("a", 1, "replaced")]),
    "subscription-over-another": (lambda cache, _: cache.__setitem__("a", 9), [("a", 1, "replaced")]),
    "set-many": (
        lambda cache, _: cache.set_many({"b": 9, "a": 9}),
        [("b", 2, "replaced"), ("a", 1, "replaced")],
    ),
    "delete": (lambda cache, _: cache.delete("a"), [("a", 1, "deleted")]),
    "delete-many": (
        lambda cache, _: cache.delete_many(["c", "a"]),
        [("c", 3, "deleted"), ("a", 1, "deleted")],
    ),
    "del": (lambda cache, _: cache.__delitem__("a"), [("a", 1, "deleted")]),
    "del-of-the-view": (lambda cache, _: cache._cache.__delitem__("a"), [("a", 1, "deleted")]),
    "delete-by-tag": (lambda cache, _: cache.delete_by_tag("t"), [("b", 2, "invalidated")]),
    "no-room": (lambda cache, _: cache.set("d", 4), [("a", 1, "evicted")]),
    "shrink": (
        lambda cache, _: setattr(cache, "max_size", 1),
        [("a", 1, "evicted"), ("b", 2, "evicted")],
    ),
    "clear": (
        lambda cache, _: cache.clear(),
        [("a", 1, "cleared"), ("b", 2, "cleared"), ("c", 3, "cleared")],
    ),
    "found-expired": (
        lambda cache, clock: (clock.advance(60), cache.get("b")),
        [("b", 2, "expired")],
    ),
    "swept": (
        lambda cache, clock: (clock.advance(60), cache._cleanup_expired()),
        [("a", 1, "expired"), ("b", 2, "expired"), ("c", 3, "expired")],
    ),
    "nothing-there": (
        lambda cache, _: (cache.get("x"), cache.delete("x"), cache.pop("x", 0), cache.delete_by_tag("x")),
        [],
    ),
    "nothing-removed": (
        lambda cache, _: (
            cache.get("a"),
            cache.add("a", 5),
            cache.touch("a", 5),
            cache.stats(),
            cache.items(),
        ),
        [],
    ),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_each_removal_is_told_once_with_its_cause(
    removal: str, cache: Cache, told: list[tuple[str, Any, Cause]], clock: Clock
) -> None:
    """The callback gets key, value and cause of every entry that goes, and of no other."""
    cache.set("a", 1)
    cache.set("b", 2, tags=["t"])
    cache.set("c", 3)
    assert told == []
    act, expected = REMOVALS[removal]
    act(cache, clock)
    assert sorted(told) == sorted(expected)


def test_an_expired_entry_that_makes_room_is_told_as_expired(
    cache: Cache, told: list[tuple[str, Any, Cause]], clock: Clock
) -> None:
    """The cause is why the entry could go, not that room was needed."""
    cache.set("a", 1)
    cache.set("b", 2, ttl=5)
    cache.set("c", 3)
    clock.advance(6)
    cache.set("d", 4)
    assert told == [("b", 2, "expired")]


def test_the_key_told_is_the_one_stored_first(cache: Cache, told: list[tuple[Any, Any, Cause]]) -> None:
    """As in a dict, the first of equal keys stays, and it is the one that goes."""
    stored = "".join(["us", "er"])
    cache.set(stored, 1)
    cache.set("".join(["use", "r"]), 2)
    cache.delete("".join(["u", "ser"]))
    assert all(key == "user" for key, _value, _cause in told)
    assert told[-1][0] is stored
    assert [(value, cause) for _key, value, cause in told] == [(1, "replaced"), (2, "deleted")]


def test_the_entry_is_gone_when_it_is_told(clock: Clock) -> None:
    """Inside the callback the cache no longer has what is told."""
    seen: list[tuple[Cause, bool]] = []
    cache: Cache = TTLCache(1, 60, on_evict=lambda key, _value, cause: seen.append((cause, key in cache)))
    cache.set("a", 1)
    cache.set("b", 2)
    cache.delete("b")
    cache.set("c", 3, tags=["t"])
    cache.delete_by_tag("t")
    cache.set("d", 4)
    cache.clear()
    cache.set("e", 5)
    clock.advance(60)
    cache._cleanup_expired()
    causes = [cause for cause, _there in seen]
    assert causes == ["evicted", "deleted", "invalidated", "cleared", "expired"]
    assert not any(there for _cause, there in seen)


@pytest.mark.parametrize("removal", [name for name, (_act, expected) in REMOVALS.items() if expected])
def test_a_failing_callback_is_logged_and_not_raised(
    removal: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The operation ends as if nothing had happened; the log holds the error."""

    def fail(_key: str, _value: Any, _cause: Cause) -> None:
        raise LookupError("the callback broke")

    cache: Cache = TTLCache(3, 60, on_evict=fail)
    cache.set("a", 1)
    cache.set("b", 2, tags=["t"])
    cache.set("c", 3)
    act, expected = REMOVALS[removal]
    with caplog.at_level(logging.DEBUG):
        act(cache, clock)
    told = [record for record in caplog.records if "the callback broke" in caplog.handler.format(record)]
    assert told
    assert all(record.levelno >= logging.WARNING for record in told)
    assert all(record.name.startswith("oxicache") for record in told)
    for key, value, cause in expected:
        if cause != "replaced":
            assert cache.peek(key) != value


def test_a_callback_that_takes_the_wrong_arguments_is_logged(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback with another signature fails as any failing callback does."""
    cache: Cache = TTLCache(3, 60, on_evict=lambda: None)  # type: ignore[arg-type, misc]
    cache.set("a", 1)
    cache.delete("a")
    assert "a" not in cache
    assert caplog.records


def test_a_value_may_be_stored_again_from_the_callback(clock: Clock) -> None:
    """A callback may move an evicted entry into another cache."""
    second: Cache = TTLCache(10, 60)

    def demote(key: str, value: Any, cause: Cause) -> None:
        if cause == "evicted":
            second.set(key, value)

    first: Cache = TTLCache(2, 60, on_evict=demote)
    for key in "abcde":
        first.set(key, key)
    assert (first.keys(), second.keys()) == (["d", "e"], ["a", "b", "c"])
