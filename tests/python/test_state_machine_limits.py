"""TTLCache with S3-FIFO, and with max_bytes under either policy: which entries stay is the policy's choice, but what
is read is never wrong, never expired, never something removed, and the limits hold.
"""

import math
from collections.abc import Hashable
from typing import Any, Literal

import pytest
from driven_clock import Clock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from profiles import MODEL

from oxicache._native import MISSING, TTLCache, clock_system

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

keys = st.integers(0, 30) | st.sampled_from(["a", "b", ("t", 1)])
weights = st.integers(0, 12)
seconds = st.integers(1, 80).map(lambda quarters: quarters / 4)


class Held:
    """A value that knows what it weighs."""

    def __init__(self, weight: int) -> None:
        self.weight = weight


class SubsetMachine(RuleBasedStateMachine):
    """The model holds all that may be there; the cache holds some of it, and all of it until something is evicted."""

    policy: Literal["lru", "s3fifo"]
    weighed: bool

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.possible: dict[Hashable, tuple[Held, float]] = {}
        self.told: list[tuple[Any, Held, str]] = []
        self.stored: list[Held] = []

    def teardown(self) -> None:
        clock_system()

    @initialize(max_size=st.integers(0, 12), max_bytes=st.integers(0, 60))
    def make(self, max_size: int, max_bytes: int) -> None:
        self.max_size = self.least_size = max_size
        self.max_bytes = max_bytes if self.weighed else None
        self.cache: TTLCache[Hashable, Held] = TTLCache(
            max_size,
            20,
            policy=self.policy,
            max_bytes=self.max_bytes,
            sizeof=lambda _key, value: value.weight,
            on_evict=lambda *gone: self.told.append(gone),
        )

    def expect(self, key: Hashable, found: Any) -> None:
        """`found` is what was stored last and is not expired, or nothing; what is gone stays gone."""
        if found is MISSING:
            self.possible.pop(key, None)
        else:
            value, deadline = self.possible[key]
            assert found is value
            assert self.clock.at < deadline

    @rule(key=keys)
    def get(self, key: Hashable) -> None:
        self.expect(key, self.cache.get(key, MISSING))

    @rule(key=keys, times=st.integers(2, 5))
    def get_often(self, key: Hashable, times: int) -> None:
        for _ in range(times):
            self.expect(key, self.cache.get(key, MISSING))

    @rule(wanted=st.lists(keys, max_size=8, unique=True))
    def get_many(self, wanted: list[Hashable]) -> None:
        found = self.cache.get_many(wanted)
        for key in wanted:
            self.expect(key, found.get(key, MISSING))

    def put(self, key: Hashable, value: Held, ttl: float | None) -> None:
        self.stored.append(value)
        self.possible[key] = (value, math.inf if ttl is None else self.clock.at + ttl)

    @rule(key=keys, weight=weights)
    def set(self, key: Hashable, weight: int) -> None:
        value = Held(weight)
        self.cache.set(key, value)
        self.put(key, value, 20)

    @rule(start=st.integers(0, 30), count=st.integers(2, 15), weight=weights)
    def scan(self, start: int, count: int, weight: int) -> None:
        for key in range(start, start + count):
            value = Held(weight)
            self.cache[key] = value
            self.put(key, value, 20)

    @rule(key=keys, weight=weights, ttl=st.one_of(st.none(), seconds), tags=st.lists(st.sampled_from("tu")))
    def set_with(self, key: Hashable, weight: int, ttl: float | None, tags: list[str]) -> None:
        value = Held(weight)
        self.cache.set(key, value, ttl=ttl, tags=tags)
        self.put(key, value, ttl)

    @rule(key=keys, weight=weights)
    def add(self, key: Hashable, weight: int) -> None:
        value, there = Held(weight), key in self.cache
        if not there:
            self.stored.append(value)
        stored = self.cache.add(key, value)
        if there:
            assert stored is False
        else:
            self.possible[key] = (value, self.clock.at + 20)

    @rule(key=keys)
    def delete(self, key: Hashable) -> None:
        there = key in self.cache
        assert self.cache.delete(key) is there
        self.possible.pop(key, None)

    @rule(tag=st.sampled_from("tu"))
    def delete_by_tag(self, tag: str) -> None:
        self.cache.delete_by_tag(tag)
        left = dict(self.cache.items())
        assert not any(tag in self.cache.tags(key) for key in left)
        self.possible = {key: kept for key, kept in self.possible.items() if key in left}

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.possible.clear()
        assert len(self.cache) == 0

    @rule(by=seconds)
    def advance(self, by: float) -> None:
        self.clock.advance(by)

    @rule()
    def sweep(self) -> None:
        self.cache._cleanup_expired()
        assert self.cache.stats()["expired_entries"] == 0

    @rule(max_size=st.integers(0, 12))
    def resize(self, max_size: int) -> None:
        self.cache.max_size = self.max_size = max_size
        self.least_size = min(self.least_size, max_size)

    @rule(max_bytes=st.integers(0, 60))
    def change_bytes(self, max_bytes: int) -> None:
        if self.weighed:
            self.cache.max_bytes = self.max_bytes = max_bytes

    @invariant()
    def nothing_wrong_is_held(self) -> None:
        if not hasattr(self, "cache"):
            return
        items = self.cache.items()
        for key, value in items:
            self.expect(key, value)
        stats = self.cache.stats()
        assert stats["size"] - stats["expired_entries"] == len(items)
        assert stats["size"] <= self.max_size
        if stats["evictions"] == stats["rejected"] == 0 < self.least_size:
            live = {key for key, (_value, deadline) in self.possible.items() if self.clock.at < deadline}
            assert {key for key, _value in items} == live

    @invariant()
    def bytes_add_up(self) -> None:
        if not hasattr(self, "cache") or self.max_bytes is None:
            return
        stats = self.cache.stats()
        assert stats["size_bytes"] == sum(value.weight for value in self.cache._cache.values())
        assert stats["size_bytes"] <= self.max_bytes

    @invariant()
    def every_value_is_held_or_told(self) -> None:
        """Each stored value is in the cache or was handed to `on_evict`, and never both or twice."""
        if not hasattr(self, "cache"):
            return
        told = [id(value) for _key, value, _cause in self.told]
        held = [id(value) for value in self.cache._cache.values()]
        assert sorted(told + held) == sorted(id(value) for value in self.stored)


class S3FifoMachine(SubsetMachine):
    policy, weighed = "s3fifo", False


class S3FifoBytesMachine(SubsetMachine):
    policy, weighed = "s3fifo", True


class LruBytesMachine(SubsetMachine):
    policy, weighed = "lru", True


TestS3Fifo = S3FifoMachine.TestCase
TestS3FifoBytes = S3FifoBytesMachine.TestCase
TestLruBytes = LruBytesMachine.TestCase
for case in (TestS3Fifo, TestS3FifoBytes, TestLruBytes):
    case.settings = MODEL
