"""CacheManager against a dict of caches and their settings."""

from typing import Any

import pytest
from driven_clock import Clock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from profiles import MODEL

from oxicache._native import CacheManager, TTLCache, clock_system

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

names = st.sampled_from(["a", "b", "c", "a#2", "\u00e9"])
sizes = st.integers(0, 5)
ttls = st.integers(1, 20)


class ManagerMachine(RuleBasedStateMachine):
    """The model keeps name -> cache in order; what is in a cache is the cache's own test."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.manager = CacheManager()
        self.model: dict[str, TTLCache[Any, Any]] = {}
        self.settings: dict[int, tuple[int, float | None]] = {}
        self.loose: list[TTLCache[Any, Any]] = [TTLCache(3, 3), TTLCache(4, 4)]
        for cache in self.loose:
            self.settings[id(cache)] = (cache.max_size, cache.ttl)

    def teardown(self) -> None:
        clock_system()

    @rule(name=names, max_size=sizes, ttl=ttls)
    def get_cache(self, name: str, max_size: int, ttl: int) -> None:
        cache = self.manager.get_cache(name, max_size, ttl)
        if name in self.model:
            assert cache is self.model[name]
        else:
            self.model[name] = cache
            self.settings[id(cache)] = (max_size, ttl)
            self.loose.append(cache)

    @rule(name=names, max_size=st.none() | sizes, ttl=st.none() | ttls)
    def configure(self, name: str, max_size: int | None, ttl: int | None) -> None:
        if name not in self.model:
            return
        wanted = {"max_size": max_size, "ttl": ttl}
        given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
        cache = self.manager.configure(name, **given)
        assert cache is self.model[name]
        old = self.settings[id(cache)]
        self.settings[id(cache)] = (given.get("max_size", old[0]), given.get("ttl", old[1]))

    @rule(name=names, which=st.integers(0, 10))
    def register(self, name: str, which: int) -> None:
        cache = self.loose[which % len(self.loose)]
        used = self.manager.register(name, cache)
        there = [taken for taken, other in self.model.items() if other is cache]
        expected, number = name, 1
        while expected in self.model and not there:
            number += 1
            expected = f"{name}#{number}"
        assert used == (there[0] if there else expected)
        self.model.setdefault(used, cache)

    @rule(name=names, which=st.none() | st.integers(0, 10))
    def remove(self, name: str, which: int | None) -> None:
        if which is None:
            assert self.manager.remove(name) is (self.model.pop(name, None) is not None)
        else:
            cache = self.loose[which % len(self.loose)]
            there = self.model.get(name) is cache
            assert self.manager.remove(name, cache) is there
            if there:
                del self.model[name]

    @rule(name=names, key=st.integers(0, 9))
    def use(self, name: str, key: int) -> None:
        if name in self.model:
            self.manager.get_cache(name).set(key, key)

    @rule(by=st.integers(1, 10))
    def advance(self, by: int) -> None:
        self.clock.advance(by)

    @rule()
    def cleanup_all(self) -> None:
        expected = [(name, cache.stats()["expired_entries"]) for name, cache in self.model.items()]
        assert list(self.manager.cleanup_all().items()) == expected

    @rule()
    def clear_all(self) -> None:
        self.manager.clear_all()
        assert all(len(cache) == 0 for cache in self.model.values())

    @invariant()
    def names_and_caches(self) -> None:
        assert self.manager.names() == list(self.manager) == list(self.model)
        assert len(self.manager) == len(self.model)
        assert dict(self.manager._caches) == self.model
        for cache in self.model.values():
            assert (cache.max_size, cache.ttl) == self.settings[id(cache)]

    @invariant()
    def statistics(self) -> None:
        stats = self.manager.get_global_stats()
        assert list(stats) == [*self.model, "_global"]
        for name, cache in self.model.items():
            assert stats[name] == cache.stats()
        assert stats["_global"]["total_caches"] == len(self.model)
        entries = sum(len(cache) for cache in self.model.values())
        room = sum(cache.max_size for cache in self.model.values())
        assert stats["_global"]["total_entries"] == entries
        assert stats["_global"]["total_max_entries"] == room
        share = 100 * entries / room if room else 0
        assert abs(stats["_global"]["global_utilization_percent"] - share) < 1e-9


TestManager = ManagerMachine.TestCase
TestManager.settings = MODEL
