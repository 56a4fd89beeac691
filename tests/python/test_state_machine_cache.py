"""TTLCache with LRU, held against an OrderedDict with deadlines: exact contents, order, deadlines and counts."""

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from driven_clock import START, Clock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from profiles import MODEL

from oxicache._native import MISSING, TTLCache, clock_system

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


class Slow:
    """A key whose hash and equality are Python's, and whose hash is everybody's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slow) and other.name == self.name

    def __repr__(self) -> str:
        return f"Slow({self.name!r})"


Key: TypeAlias = Any
# 3 and the Slow ones share a hash, ("t", 3) and ("t", 3.0) are one key.
keys = st.sampled_from(["a", "b", "c", "\u00e9", 3, None, ("t", 3), ("t", 3.0)]) | st.sampled_from("xyz").map(
    Slow
)
values = st.integers(0, 10**6)
# Parts of a second by two are exact in binary, so that the model's sums are the engine's.
seconds = st.integers(1, 80).map(lambda quarters: quarters / 4)
# An entry's own ttl ends between the quarters at which the clock stops: the engine's wheel may find such an entry some
# 17 ms late when it makes room, and the model knows no such delay.
own_seconds = seconds.map(lambda quarters: quarters + 0.125)
OMITTED = object()
ttls = st.one_of(st.just(OMITTED), st.just(OMITTED), own_seconds, st.none(), st.just(0))
some_tags = st.lists(st.sampled_from("tuv"), max_size=2)


@dataclass
class Entry:
    value: Any
    deadline: float
    tags: frozenset[str]


class LruMachine(RuleBasedStateMachine):
    """Every rule does one thing to both and compares what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.live: OrderedDict[Key, Entry] = OrderedDict()
        self.hits = self.misses = 0

    def teardown(self) -> None:
        clock_system()

    @initialize(max_size=st.integers(0, 6), ttl=seconds)
    def make(self, max_size: int, ttl: float) -> None:
        self.cache: TTLCache[Key, Any] = TTLCache(max_size, ttl)
        self.max_size, self.ttl = max_size, ttl

    # What the model does.

    def deadline(self, ttl: Any) -> float:
        chosen = self.ttl if ttl is OMITTED else ttl
        return math.inf if chosen is None else self.clock.at + chosen

    def put(self, key: Key, value: Any, ttl: Any, tags: Iterable[str]) -> None:
        deadline = self.deadline(ttl)
        if deadline <= self.clock.at or self.max_size == 0:
            self.live.pop(key, None)
            return
        if key in self.live:
            self.live.move_to_end(key)
        elif len(self.live) >= self.max_size:
            self.live.popitem(last=False)
        self.live[key] = Entry(value, deadline, frozenset(tags))

    def read(self, key: Key) -> Any:
        entry = self.live.get(key)
        if entry is None:
            self.misses += 1
            return MISSING
        self.hits += 1
        self.live.move_to_end(key)
        return entry.value

    @staticmethod
    def options(ttl: Any, tags: list[str]) -> dict[str, Any]:
        options: dict[str, Any] = {} if ttl is OMITTED else {"ttl": ttl}
        return {**options, "tags": tags} if tags else options

    # Reading.

    @rule(key=keys)
    def get(self, key: Key) -> None:
        assert self.cache.get(key, MISSING) == self.read(key)

    @rule(key=keys)
    def subscribe(self, key: Key) -> None:
        try:
            found = self.cache[key]
        except KeyError:
            found = MISSING
        assert found == self.read(key)

    @rule(wanted=st.lists(keys, max_size=4, unique=True))
    def get_many(self, wanted: list[Key]) -> None:
        expected = {key: value for key in wanted if (value := self.read(key)) is not MISSING}
        assert self.cache.get_many(wanted) == expected

    @rule(key=keys)
    def look(self, key: Key) -> None:
        entry = self.live.get(key)
        assert self.cache.peek(key, MISSING) == (MISSING if entry is None else entry.value)
        assert (key in self.cache) == (entry is not None)
        assert self.cache.time_left(key) == (None if entry is None else entry.deadline - self.clock.at)
        assert self.cache.tags(key) == (frozenset() if entry is None else entry.tags)
        assert self.cache._stale(key) == (MISSING if entry is None else entry.value)

    # Writing.

    @rule(key=keys, value=values, ttl=ttls, tags=some_tags)
    def set(self, key: Key, value: int, ttl: Any, tags: list[str]) -> None:
        self.cache.set(key, value, **self.options(ttl, tags))
        self.put(key, value, ttl, tags)

    @rule(key=keys, value=values)
    def assign(self, key: Key, value: int) -> None:
        self.cache[key] = value
        self.put(key, value, OMITTED, ())

    @rule(key=keys, value=values, ttl=ttls, tags=some_tags)
    def add(self, key: Key, value: int, ttl: Any, tags: list[str]) -> None:
        stored = self.cache.add(key, value, **self.options(ttl, tags))
        if key in self.live:
            assert stored is False
        else:
            self.put(key, value, ttl, tags)
            assert stored is True or key not in self.live

    @rule(items=st.dictionaries(keys, values, max_size=4), ttl=ttls, tags=some_tags)
    def set_many(self, items: dict[Key, int], ttl: Any, tags: list[str]) -> None:
        self.cache.set_many(items, **self.options(ttl, tags))
        for key, value in items.items():
            self.put(key, value, ttl, tags)

    @rule(
        key=keys,
        value=values,
        ttl=ttls,
        tags=some_tags,
        disturbed=st.sampled_from(["", "delete", "tag", "clear"]),
    )
    def fill(self, key: Key, value: int, ttl: Any, tags: list[str], disturbed: str) -> None:
        token = self.cache._token(key)
        if disturbed == "delete":
            self.delete(key)
        elif disturbed == "tag":
            tags = ["t", *tags]
            self.delete_by_tag("t")
        elif disturbed == "clear":
            self.clear()
        stored = self.cache._fill(key, value, token, **self.options(ttl, tags), cost=0.5)
        if disturbed:
            assert stored is False
        else:
            self.put(key, value, ttl, tags)

    @rule(key=keys, ttl=ttls)
    def touch(self, key: Key, ttl: Any) -> None:
        touched = self.cache.touch(key) if ttl is OMITTED else self.cache.touch(key, ttl)
        assert touched is (key in self.live)
        if touched:
            self.live[key].deadline = self.deadline(ttl)
            self.bury()

    # Removing.

    @rule(key=keys)
    def delete(self, key: Key) -> None:
        assert self.cache.delete(key) is (self.live.pop(key, None) is not None)

    @rule(unwanted=st.lists(keys, max_size=4))
    def delete_many(self, unwanted: list[Key]) -> None:
        gone = sum(self.live.pop(key, None) is not None for key in unwanted)
        assert self.cache.delete_many(unwanted) == gone

    @rule(key=keys)
    def pop(self, key: Key) -> None:
        entry = self.live.pop(key, None)
        assert self.cache.pop(key, MISSING) == (MISSING if entry is None else entry.value)

    @rule(key=keys)
    def pop_from_the_views(self, key: Key) -> None:
        # An expired entry may still be held, and then comes out of the view: only a live one is sure.
        entry = self.live.pop(key, None)
        popped = self.cache._cache.pop(key, MISSING)
        if entry is not None:
            assert popped == entry.value
        assert self.cache._expiry_times.pop(key, MISSING) is MISSING

    @rule(key=keys)
    def pop_the_deadline(self, key: Key) -> None:
        entry = self.live.pop(key, None)
        popped = self.cache._expiry_times.pop(key, MISSING)
        if entry is not None:
            assert isinstance(popped, float)
        assert key not in self.cache._cache

    @rule(tag=st.sampled_from("tuv"))
    def delete_by_tag(self, tag: str) -> None:
        members = [key for key, entry in self.live.items() if tag in entry.tags]
        removed = self.cache.delete_by_tag(tag)
        for key in members:
            del self.live[key]
        assert removed >= len(members)

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.live.clear()
        assert len(self.cache) == 0

    @rule()
    def sweep(self) -> None:
        expired = self.cache.stats()["expired_entries"]
        assert self.cache._cleanup_expired() == expired
        assert len(self.cache) == len(self.live)

    # Time and settings.

    @rule(by=st.one_of(seconds, st.integers(1, 100_000)))
    def advance(self, by: float) -> None:
        self.clock.advance(by)
        self.bury()

    def bury(self) -> None:
        for key in [key for key, entry in self.live.items() if entry.deadline <= self.clock.at]:
            del self.live[key]

    @rule(max_size=st.integers(0, 8))
    def resize(self, max_size: int) -> None:
        self.cache.max_size = self.max_size = max_size
        while len(self.live) > max_size:
            self.live.popitem(last=False)

    @rule(ttl=seconds)
    def change_ttl(self, ttl: float) -> None:
        self.cache.ttl = self.ttl = ttl

    @rule()
    def reset_stats(self) -> None:
        self.cache.reset_stats()
        self.hits = self.misses = 0

    # What always holds.

    @invariant()
    def contents_and_order(self) -> None:
        if not hasattr(self, "cache"):
            return
        expected = [(key, entry.value) for key, entry in self.live.items()]
        assert self.cache.items() == expected
        assert self.cache.keys() == list(self.cache) == list(self.live)
        held = [(key, value) for key, value in self.cache._cache.items() if key in self.live]
        assert held == expected

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "cache"):
            return
        stats = self.cache.stats()
        assert stats["size"] - stats["expired_entries"] == len(self.live)
        assert len(self.cache) == len(self.cache._cache) == stats["size"] <= self.max_size
        assert (stats["hits"], stats["misses"]) == (self.hits, self.misses)
        assert (stats["max_size"], stats["ttl_seconds"]) == (self.max_size, self.ttl)


assert START % 0.25 == 0, "the model counts in quarters of a second"
TestLru = LruMachine.TestCase
TestLru.settings = MODEL
