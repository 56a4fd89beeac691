"""Threads and event loops load and invalidate the same keys for a while: nobody gets what was outdated, or hangs."""

import asyncio
import random
import sys
import threading
from collections.abc import Iterator

import pytest
from loads import PATIENCE, together

from oxicache import TTLCache
from oxicache import loader as loading
from oxicache.flights import flights
from oxicache.loader import Loader

ROUNDS = 1000
KEYS = range(3)


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    """Let threads take turns as often as they can, so that the narrow places are met."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    loading.configure(grace_throttle=0)  # a refresh that failed is tried again at once
    yield
    loading.configure()
    sys.setswitchinterval(before)


class Source:
    """Something with a version per key. A version is published once its invalidation is through."""

    def __init__(self, cache: TTLCache[int, int]) -> None:
        self.cache = cache
        self.version = dict.fromkeys(KEYS, 0)
        self.published = dict.fromkeys(KEYS, 0)
        self.failing = ValueError("now and then")
        self.loads = 0
        self._one_at_a_time = threading.Lock()

    def ask(self, chance: random.Random) -> tuple[int, int]:
        """Write now and then; return a key to read, and the oldest version that may be got for it."""
        key = chance.choice(KEYS)
        if chance.random() < 0.25:
            with self._one_at_a_time:
                self.version[key] += 1
                self.cache.delete(key)
                self.published[key] = self.version[key]
        return key, self.published[key]

    def read(self, key: int, chance: random.Random) -> int:
        value = self.version[key]
        self.loads += 1
        if chance.random() < 0.05:
            raise self.failing
        if chance.random() < 0.5:
            threading.Event().wait(0.0005)  # let others pass between reading and storing
        return value

    async def aread(self, key: int, chance: random.Random) -> int:
        value = self.version[key]
        self.loads += 1
        if chance.random() < 0.05:
            raise self.failing
        if chance.random() < 0.5:
            await asyncio.sleep(0)
        return value


@pytest.mark.parametrize("lock_timeout", [PATIENCE, 0.0005], ids=["patient", "impatient"])
@pytest.mark.parametrize("early_refresh", [0.0, 1e6], ids=["plain", "early"])
def test_nobody_gets_what_was_invalidated_before_it_asked(lock_timeout: float, early_refresh: float) -> None:
    """Every value is at least as new as the last invalidation that was through when its caller asked."""
    cache: TTLCache[int, int] = TTLCache(10, 60, early_refresh=early_refresh)
    source = Source(cache)
    loader = Loader(cache, lock_timeout=lock_timeout)

    def read(number: int) -> None:
        chance = random.Random(number)
        for _ in range(ROUNDS):
            key, floor = source.ask(chance)
            try:
                value = loader.load(key, lambda key=key: source.read(key, chance))
            except ValueError:
                continue
            assert value >= floor

    async def aread(chance: random.Random) -> None:
        for _ in range(ROUNDS // 4):
            key, floor = source.ask(chance)
            task = asyncio.ensure_future(loader.aload(key, lambda key=key: source.aread(key, chance)))
            if chance.random() < 0.1:
                await asyncio.sleep(0)
                task.cancel()
            try:
                value = await task
            except (ValueError, asyncio.CancelledError):
                continue
            assert value >= floor

    async def tasks(number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(aread(random.Random(f"{number} {each}")) for each in range(4)))

    readers = together(6, lambda number: read(number) if number < 4 else asyncio.run(tasks(number)))
    assert [reader.outcome() for reader in readers] == [None] * 6
    assert source.loads > ROUNDS, "without loads this tests nothing"
    assert len(flights) == 0
