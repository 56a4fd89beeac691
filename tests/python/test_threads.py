"""Many threads on one cache, switched as often as Python allows: nothing wrong is read, nothing is lost or broken."""

import gc
import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, cast

import pytest
from child_process import check_call

from oxicache._native import MISSING, CacheManager, ProjectDeletionTracker, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

THREADS = 8
ROUNDS = 3_000


class Slow:
    """A key compared in Python, of which all hash alike."""

    def __init__(self, name: int) -> None:
        self.name = name

    def __hash__(self) -> int:
        return self.name % 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slow) and self.name == other.name


def in_threads(work: Callable[[int], None], threads: int = THREADS) -> None:
    """Run `work(number)` in that many threads at once; the first error of any is raised here."""
    sys.setswitchinterval(1e-6)
    errors: list[BaseException] = []
    barrier = threading.Barrier(threads)

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the main thread
            errors.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    sys.setswitchinterval(0.005)
    if errors:
        raise errors[0]


def _name(key: Any) -> Any:
    return key.name if isinstance(key, Slow) else key


# Long because it is one choice among all operations.
def hammer(policy: str, shape: str) -> None:
    """Random operations by all threads; a value carries its key, so that a wrong one shows."""
    told: Counter[str] = Counter()
    options: dict[str, Any] = {}
    if shape == "full":
        options = {
            "max_bytes": 40,
            "sizeof": lambda _key, value: len(value) - 1,
            "on_evict": lambda _key, _value, cause: told.update([cause]),
        }
    cache: TTLCache[Any, Any] = TTLCache(
        16, 0.002, policy=cast("Literal['lru', 's3fifo']", policy), **options
    )

    def value_for(key: Any) -> tuple[Any, ...]:
        return (_name(key), object())

    def right(key: Any, value: Any) -> None:
        assert value is MISSING or value is None or value[0] == _name(key), (key, value)

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(ROUNDS):
            key: Any = chance.randrange(30)
            if shape == "str":
                key = f"key:{key}"
            elif shape == "slow" or key % 5 == 0:
                key = Slow(key)
            roll = chance.randrange(100)
            if roll < 30:
                right(key, cache.get(key, MISSING))
            elif roll < 50:
                cache.set(key, value_for(key))
            elif roll < 60:
                cache.set(key, value_for(key), ttl=chance.choice([None, 0.001, 60]), tags=["t", str(number)])
            elif roll < 65:
                cache.delete(key)
            elif roll < 70:
                right(key, cache.pop(key, MISSING))
            elif roll < 74:
                for found, value in cache.get_many([key, 3, "key:3"]).items():
                    right(found, value)
            elif roll < 78:
                cache.add(key, value_for(key))
            elif roll < 82:
                token = cache._token(key)
                cache._fill(key, value_for(key), token, cost=0.1)
            elif roll < 86:
                for found, value in cache.items():
                    right(found, value)
            elif roll < 88:
                for found in cache._cache:
                    right(found, cache._cache.get(found))
            elif roll < 90:
                cache.delete_by_tag(str(chance.randrange(THREADS)))
            elif roll < 92:
                stats = cache.stats()
                assert 0 <= stats["size"] <= 16
            elif roll < 94:
                cache._cleanup_expired()
            elif roll < 95:
                cache.clear()
            elif roll < 96:
                cache.max_size = chance.randrange(1, 17)
            elif roll < 98:
                cache._expiry_times.pop(key, None)
            else:
                cache.touch(key, chance.choice([None, 0.001, 60]))

    in_threads(work)
    stats = cache.stats()
    assert stats["size"] == len(cache) == len(cache._cache) <= cache.max_size
    held = cache.items()
    assert len({_name(key) if isinstance(key, Slow) else ("plain", key) for key, _value in held}) == len(held)
    for key, value in held:
        right(key, value)
    if shape == "full":
        assert stats["size_bytes"] == sum(len(value) - 1 for value in cache._cache.values()) <= 40
        assert set(told) <= {"evicted", "expired", "replaced", "deleted", "cleared", "invalidated"}
        assert told
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
@pytest.mark.parametrize("shape", ["str", "slow", "full"])
def test_hammer(policy: str, shape: str) -> None:
    """Eight threads with every operation leave a cache that adds up and has never given a wrong value."""
    check_call(hammer, policy, shape)


def counted() -> None:
    """Counters that threads raise at once."""
    cache: TTLCache[str, int] = TTLCache(100, 600)
    cache.set("there", 1)

    def work(_number: int) -> None:
        for _ in range(ROUNDS):
            assert cache.get("there") == 1
            assert cache.get("absent") is None

    in_threads(work)
    stats = cache.stats()
    assert (stats["hits"], stats["misses"]) == (THREADS * ROUNDS, THREADS * ROUNDS)


def test_no_count_is_lost() -> None:
    """Hits and misses add up to the reads of all threads."""
    check_call(counted)


def only_one_adds() -> None:
    """`add` from all threads at once, round after round."""
    cache: TTLCache[Any, int] = TTLCache(10_000, 600)
    wins: list[list[Any]] = [[] for _ in range(THREADS)]
    names = [f"key:{number}" for number in range(1_000)] + list(range(40))

    def work(number: int) -> None:
        for name in names:
            if cache.add(name if isinstance(name, str) else Slow(name), number):
                wins[number].append(name)

    in_threads(work)
    assert sorted(map(str, itertools.chain.from_iterable(wins))) == sorted(map(str, names))
    for number, won in enumerate(wins):
        for name in won:
            assert cache[name if isinstance(name, str) else Slow(name)] == number


def test_only_one_thread_adds() -> None:
    """Of threads that add one key at once, one is told that it stored."""
    check_call(only_one_adds)


def iterate_while_writing() -> None:
    """Snapshots while others write, delete and clear."""
    cache: TTLCache[str, str] = TTLCache(64, 600)
    done = threading.Event()

    def work(number: int) -> None:
        chance = random.Random(number)
        if number < 4:
            for _ in range(ROUNDS):
                key = str(chance.randrange(100))
                cache.set(key, key)
                if chance.random() < 0.01:
                    cache.clear()
                if chance.random() < 0.2:
                    cache.delete(key)
            done.set()
            return
        while not done.is_set():
            for key, value in cache.items():
                assert key == value
            for key, value in cache._cache.items():
                assert key == value
            assert len(list(cache)) <= 64
            assert all(isinstance(at, float) for at in cache._expiry_times.values())

    in_threads(work)


def test_iteration_is_a_snapshot_under_writes() -> None:
    """Walking a cache or a view that others change raises nothing and shows no torn pair."""
    check_call(iterate_while_writing)


def cleanup_while_setting() -> None:
    """`cleanup_all` and the global statistics while others set, register and remove."""
    manager = CacheManager()
    done = threading.Event()
    left = [4]
    lock = threading.Lock()

    def work(number: int) -> None:
        if number < 4:
            chance = random.Random(number)
            for round_ in range(ROUNDS):
                name = f"cache{chance.randrange(6)}"
                cache = manager.get_cache(name, 20, 0.001)
                cache.set(round_, time.monotonic())
                cache.get(round_ - 1)
                if round_ % 50 == 0:
                    manager.remove(name)
                    manager.register("extra", TTLCache(5, 0.001))
                    manager.remove("extra")
            with lock:
                left[0] -= 1
                if left[0] == 0:
                    done.set()
            return
        while not done.is_set():
            counts = manager.cleanup_all()
            assert all(count >= 0 for count in counts.values()), counts
            stats = manager.get_global_stats()
            assert list(stats)[-1] == "_global"
            assert stats["_global"]["total_caches"] == len(stats) - 1
            manager.clear_all()

    in_threads(work)
    time_is_over = manager.cleanup_all()
    assert all(count >= 0 for count in time_is_over.values())


def test_cleanup_all_under_concurrent_sets() -> None:
    """No cleanup fails (-1) and nothing raises while other threads write and register."""
    check_call(cleanup_while_setting)


def track_deletions() -> None:
    """Blocks and plain tracking by all threads on few ids."""
    tracker = ProjectDeletionTracker()

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(ROUNDS):
            project = chance.randrange(5)
            with tracker.deleting(project):
                assert project in tracker
                if chance.random() < 0.1:
                    tracker.force_cleanup()
            tracker.add(("mine", number))
            assert ("mine", number) in tracker
            tracker.discard(("mine", number))
            assert ("mine", number) not in tracker

    in_threads(work)
    assert len(tracker._deletion_set) == len(tracker._timestamps) == 0


def test_deletion_blocks_of_many_threads() -> None:
    """While any thread's block is open the id is tracked; at the end nothing is."""
    check_call(track_deletions)


def collect_while_writing() -> None:
    """Garbage collections in one thread while others write values that take part in cycles."""
    cache: TTLCache[int, Any] = TTLCache(50, 600)
    done = threading.Event()

    class Node:
        def __init__(self) -> None:
            self.cache = cache
            self.me = self

    def work(number: int) -> None:
        if number == 0:
            while not done.is_set():
                gc.collect()
            return
        for round_ in range(1_000):
            cache.set(round_ % 70, Node())
            cache.get((round_ * 7) % 70)
            if round_ % 100 == 0:
                cache.clear()
        done.set()

    in_threads(work, 4)
    cache.clear()
    gc.collect()
    assert not [held for held in gc.get_objects() if isinstance(held, Node)]


def test_collections_while_others_write() -> None:
    """The collector walks a cache that is written to without waiting, and frees what is gone."""
    check_call(collect_while_writing)
