"""Loads under version words, step by step, with words bumped between any two: nothing outdated is ever shown."""

from typing import Any

import pytest
from driven_clock import Clock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from profiles import MODEL

from oxicache._native import MISSING, Stamps, TTLCache, bump, capture, clock_system

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[Any, Any]

keys = st.sampled_from(["a", "b", "c", ("t", 1), 2.5])
names = st.sampled_from([f"machine:{number}" for number in range(4)])
some_names = st.sets(names, max_size=3)


class StampMachine(RuleBasedStateMachine):
    """Loads take their steps one by one, and words are bumped between any two: no read is ever stale."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.versions: dict[str, int] = {}
        self.flights: list[tuple[Any, int, Stamps, int]] = []
        self.serial = 0
        # What each value handed to the cache was computed from; a write from nothing.
        self.sources: dict[int, dict[str, int]] = {}

    def teardown(self) -> None:
        clock_system()

    @initialize(grace=st.sampled_from([0, 30]), early=st.sampled_from([0, 1e6]), size=st.integers(1, 5))
    def make(self, grace: int, early: float, size: int) -> None:
        self.evicted: list[tuple[int, str]] = []
        self.cache: Cache = TTLCache(
            size,
            20,
            grace=grace,
            early_refresh=early,
            on_evict=lambda _key, value, cause: self.evicted.append((value, cause)),
        )

    def is_current(self, value: int) -> bool:
        return all(self.versions.get(name, 0) == seen for name, seen in self.sources[value].items())

    def sees(self, value: Any) -> None:
        assert value is MISSING or self.is_current(value), "a stale read"

    @rule(name=names)
    def bump(self, name: str) -> None:
        self.versions[name] = self.versions.get(name, 0) + 1
        assert bump([name]) == 1

    @rule(key=keys, wanted=some_names)
    def begin(self, key: Any, wanted: set[str]) -> None:
        self.serial += 1
        seen = {name: self.versions.get(name, 0) for name in wanted}
        self.sources[self.serial] = seen
        self.flights.append((key, self.serial, capture(wanted), self.cache._token(key)))

    @rule(data=st.data(), cost=st.sampled_from([0.0, 3.0]))
    def land(self, data: st.DataObject, cost: float) -> None:
        if not self.flights:
            return
        key, value, stamps, token = self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))
        stored = self.cache._fill(key, value, token, stamps=stamps, cost=cost)
        assert stamps.is_current() is self.is_current(value)
        if not self.is_current(value):
            assert stored is False

    @rule(key=keys)
    def write(self, key: Any) -> None:
        self.serial += 1
        self.sources[self.serial] = {}
        self.cache[key] = self.serial
        assert self.cache.peek(key) == self.serial

    @rule(key=keys)
    def read(self, key: Any) -> None:
        self.sees(self.cache.get(key, MISSING))
        self.sees(self.cache._stale(key))

    @rule(key=keys)
    def look(self, key: Any) -> None:
        value = self.cache.peek(key, MISSING)
        self.sees(value)
        assert (key in self.cache) is (value is not MISSING)
        assert (self.cache.time_left(key) is None) is (value is MISSING)
        self.sees(self.cache._cache.get(key, MISSING))

    @rule(key=keys)
    def touch(self, key: Any) -> None:
        assert self.cache.touch(key) is (key in self.cache)

    @rule(key=keys)
    def pop(self, key: Any) -> None:
        self.sees(self.cache._cache.pop(key, MISSING))

    @rule(key=keys)
    def delete(self, key: Any) -> None:
        live = key in self.cache
        assert self.cache.delete(key) is live

    @rule(by=st.integers(1, 25))
    def advance(self, by: int) -> None:
        self.clock.advance(by)

    @rule()
    def sweep(self) -> None:
        self.cache._cleanup_expired()

    @invariant()
    def nothing_listed_is_stale(self) -> None:
        if not hasattr(self, "cache"):
            return
        for _, value in [*self.cache.items(), *self.cache._cache.items()]:
            self.sees(value)
        assert len(self.cache._cache) == len(list(self.cache._cache))
        for value, cause in self.evicted:
            assert cause != "invalidated" or not self.is_current(value), "a current entry was invalidated"


TestStamps = StampMachine.TestCase
TestStamps.settings = MODEL
