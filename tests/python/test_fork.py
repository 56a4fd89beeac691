"""A process that forks while threads use a cache: the child can use it, and nothing hangs."""

import contextlib
import os
import random
import sys
import threading
from typing import Any, cast

import pytest
from child_process import CHILD_SECONDS, check, check_call, in_child

from oxicache._native import DELETION_SET, TTLCache, cache_manager

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = [
    pytest.mark.oxicache_real_clock,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

FORKS = 120


class Slow:
    """A key compared in Python, so that a fork may fall into a comparison."""

    def __init__(self, name: int) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slow) and self.name == other.name


class Noisy:
    """A value that uses the cache when it goes."""

    def __init__(self, cache: TTLCache[Any, Any]) -> None:
        self.cache = cache

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, TypeError):
            self.cache.get("from __del__")


def _use(cache: TTLCache[Any, Any]) -> None:
    """What a forked worker does with what it inherited. Its own entries live on however long it waits for its turn."""
    cache.set("child", 1, ttl=None)
    assert cache.get("child") == 1
    cache.set(Slow(1), 2, ttl=None)
    assert cache.get(Slow(1)) == 2
    cache.get_many([Slow(2), "a", 3])
    cache.set("short", 1, ttl=0.001, tags=["t"])
    cache.delete_by_tag("t")
    assert cache.stats()["size"] == len(cache) <= cache.max_size
    list(cache.items())
    cache._cleanup_expired()
    cache.clear()
    assert len(cache) == 0
    with DELETION_SET.deleting("child"):
        assert "child" in DELETION_SET
    cache_manager.get_cache("tests.fork.child").set("a", 1)
    cache_manager.cleanup_all()
    cache_manager.get_global_stats()
    cache_manager.clear_all()


def under_load(policy: str) -> None:
    """Fork again and again while three threads hammer."""
    sys.setswitchinterval(1e-5)
    cache: TTLCache[Any, Any] = TTLCache(
        32, 0.01, policy=cast("Any", policy), on_evict=lambda *_gone: cache.get("told")
    )
    cache_manager.register("tests.fork", cache)
    done = threading.Event()
    errors: list[BaseException] = []

    def hammer(number: int) -> None:
        chance = random.Random(number)
        try:
            while not done.is_set():
                key: Any = chance.choice(["a", "b", 3, Slow(chance.randrange(5)), str(chance.randrange(100))])
                cache.set(key, Noisy(cache))
                cache.get(key)
                cache.delete(chance.choice(["a", Slow(2)]))
                cache.stats()
                DELETION_SET.add(key)
                DELETION_SET.discard(key)
                if chance.random() < 0.05:
                    cache.clear()
                    cache_manager.cleanup_all()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the main thread
            errors.append(error)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(FORKS):
            in_child(lambda: _use(cache))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    _use(cache)


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_forks_under_load(policy: str) -> None:
    """Of many forks under three hammering threads each child works with the cache and exits."""
    check_call(under_load, policy)


def grandchildren() -> None:
    """A fork of a fork, each with threads of its own."""
    cache: TTLCache[Any, Any] = TTLCache(32, 60)
    cache.set("parent", 1)

    def child() -> None:
        assert cache.get("parent") == 1
        thread = threading.Thread(target=_use, args=(cache,))
        thread.start()
        thread.join(CHILD_SECONDS)
        assert not thread.is_alive()
        cache.set("parent", "child")
        in_child(lambda: _use(cache))
        assert cache.get("parent") == "child"

    for _ in range(5):
        in_child(child)
    assert cache.get("parent") == 1


def test_a_fork_has_a_copy() -> None:
    """Child and parent begin with the same entries and then share none."""
    check_call(grandchildren)


def inside_a_callback() -> None:
    """A fork from `on_evict`, from `__eq__` and from `__del__`."""
    forked: list[str] = []

    def fork_from(place: str) -> int:
        # Once for each place: the child compares and frees the same objects.
        if place not in forked:
            forked.append(place)
            in_child(lambda: _use(cache))
        return 1

    class Forking:
        def __hash__(self) -> int:
            fork_from("__hash__")
            return 7

        def __eq__(self, other: object) -> bool:
            fork_from("__eq__")
            return self is other

        def __del__(self) -> None:
            fork_from("__del__")

    cache: TTLCache[Any, Any] = TTLCache(
        4,
        60,
        max_bytes=100,
        sizeof=lambda *_entry: fork_from("sizeof"),
        on_evict=lambda *_gone: fork_from("on_evict"),
    )
    cache.set(Forking(), 1)
    cache.set(Forking(), Forking())
    cache.delete_many([Forking()])
    cache.clear()
    assert sorted(forked) == ["__del__", "__eq__", "__hash__", "on_evict", "sizeof"]


def test_a_fork_from_inside_a_callback() -> None:
    """Python code that the cache runs may fork: no lock is held then."""
    check_call(inside_a_callback)


BESIDE = """
import os

alone = len(os.listdir("/proc/self/task"))  # with the thread that watches over this process
threads = set()
# Called last, as it was registered first: then the fork happens.
os.register_at_fork(before=lambda: threads.add(len(os.listdir("/proc/self/task"))))

import threading
from oxicache import scheduling

ran = threading.Semaphore(0)
scheduling.every(0.0005, ran.release)
scheduling.after(3600, print)
for _ in range(200):
    ran.acquire()
    child = os.fork()
    if child == 0:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
ran.acquire()  # the thread goes on afterwards
print(threads == {alone})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted as Linux shows them")
def test_a_fork_finds_no_background_thread() -> None:
    """The thread of background jobs ends before a fork, which is not warned of, and starts again after it."""
    assert check(BESIDE) == "True\n"
