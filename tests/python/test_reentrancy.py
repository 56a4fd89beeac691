"""Python code that the cache runs may use the cache: every operation, from every place where Python gets to run.

What could hang runs in a child process, which a watchdog ends with all stacks on stderr. Keys that misbehave while they
are compared have test_reentrancy_keys.py.
"""

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, cast

import pytest
from child_process import check_call
from driven_clock import START
from provocations import ACTIONS, OPERATIONS, SIZE, Cache, Key, Trap, Value

from oxicache._native import MISSING, TTLCache, clock_drive

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Policy = Literal["lru", "s3fifo"]


def every_combination(place: str, policy: str) -> None:
    """Each operation with each action run from `place`; what is printed last is what failed."""
    gc.disable()
    sprung: Counter[str] = Counter()
    for operation, action, asked in itertools.product(OPERATIONS, ACTIONS, ["b", "absent"]):
        print(place, policy, operation, action, asked, flush=True)
        clock_drive(START)
        trap = Trap()

        def told(*_gone: object, trap: Trap = trap) -> None:
            if place == "on_evict":
                trap.spring()

        def sizeof(_key: object, _value: object, trap: Trap = trap) -> int:
            if place == "sizeof":
                trap.spring()
            return 1

        cache: Cache = TTLCache(
            SIZE, 60, policy=cast("Policy", policy), on_evict=told, sizeof=sizeof, max_bytes=100
        )
        for name in "abc":
            cache.set(Key(name, trap, place), Value(trap, place), tags=["t"] if name != "b" else [])
        key = Key(asked, trap, place)
        trap.action = lambda cache=cache, action=action: ACTIONS[action](cache)
        try:
            OPERATIONS[operation](cache, key)
        except KeyError:
            pass  # the key was absent, or the action removed it
        except RuntimeError as error:
            if place != "eq" or "__eq__" not in str(error):
                raise
        trap.action = None
        sprung[operation] += trap.sprung
        sprung[action] += trap.sprung
        _is_sound(cache)
    for action in ACTIONS:
        assert sprung[action] > 0, f"{action} never ran from {place}"
    assert sum(sprung[operation] > 0 for operation in OPERATIONS) >= 6, sprung


def _is_sound(cache: Cache) -> None:
    stats = cache.stats()
    assert stats["size"] == len(cache) == len(cache._cache) <= cache.max_size
    assert stats["size"] - stats["expired_entries"] == len(cache.items())
    cache.max_size = SIZE
    if cache.max_bytes is not None:
        cache.max_bytes = 100
    cache.set("sound", "yes")
    assert cache.get("sound") == "yes"
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
@pytest.mark.parametrize("place", ["hash", "eq", "del", "on_evict", "sizeof"])
def test_every_operation_from_every_place(place: str, policy: str) -> None:
    """No operation hangs, crashes or damages the cache when Python code that it runs uses the cache."""
    check_call(every_combination, place, policy)


def from_iterables_and_numbers() -> None:
    """Arguments whose own methods use the cache."""
    for name, action in ACTIONS.items():
        print(name, flush=True)
        clock_drive(START)
        cache: Cache = TTLCache(SIZE, 60)
        for letter in "abc":
            cache.set(Key(letter), letter, tags=["t"])

        def walk(*parts: Any, act: Callable[[Cache], object] = action, cache: Cache = cache) -> Iterator[Any]:
            for part in parts:
                act(cache)
                yield part

        class Items(dict[Any, Any]):
            def items(self) -> Any:
                return walk(("x", 1), ("y", 2))

        class Seconds:
            def __index__(self, act: Callable[[Cache], object] = action, cache: Cache = cache) -> int:
                act(cache)
                return 5

        cache.get_many(walk("x", Key("a")))
        cache.delete_many(walk("x", Key("a")))
        cache.set("x", 1, tags=walk("t", "u"))
        cache.set_many(Items())
        cache.set("z", 1, ttl=cast("float", Seconds()))
        assert cache.get("z") == 1
        cache.touch("z", cast("float", Seconds()))
        cache.ttl = cast("float", Seconds())
        _is_sound(cache)


def test_from_iterables_and_numbers() -> None:
    """Keys, items, tags and lengths of time may come from code that uses the cache."""
    check_call(from_iterables_and_numbers)


def from_the_clock() -> None:
    """A clock that uses the cache whose time it tells."""
    from oxicache._native import clock_follow

    for name, action in ACTIONS.items():
        if name == "expire-all":
            continue
        print(name, flush=True)
        cache: Cache = TTLCache(SIZE, 60)
        trap = Trap()

        def read(trap: Trap = trap) -> float:
            trap.spring()
            return START

        clock_follow(read)
        trap.action = lambda cache=cache, action=action: action(cache)
        cache.set("a", 1)
        cache.get("a")
        cache.touch("a", 5)
        cache.delete("a")
        cache._cleanup_expired()
        assert trap.sprung
        trap.action = None
        _is_sound(cache)


def test_from_the_clock() -> None:
    """The callable given to `clock_follow` may use the cache."""
    check_call(from_the_clock)


def test_the_error_of_an_iterable_passes_through() -> None:
    """`get_many`, `set_many` and `delete_many` end with the iterable's own exception."""

    def keys() -> Iterable[str]:
        yield "a"
        raise LookupError("no more keys")

    cache: Cache = TTLCache(10, 60)
    cache.set_many({"a": 1, "b": 2})
    with pytest.raises(LookupError, match="no more keys"):
        cache.get_many(keys())
    with pytest.raises(LookupError, match="no more keys"):
        cache.delete_many(keys())
    with pytest.raises(LookupError, match="no more keys"):
        cache.set("c", 1, tags=keys())
    assert cache.items() == [("b", 2)]


def from_compute() -> None:
    """`compute` of `get_or_set` uses the cache, also to compute another key."""
    import oxicache  # noqa: F401 - installs the loader

    for name, action in ACTIONS.items():
        print(name, flush=True)
        clock_drive(START)
        cache: Cache = TTLCache(SIZE, 600)
        for letter in "abc":
            cache.set(Key(letter), letter, tags=["t"])

        def compute(act: Callable[[Cache], object] = action, cache: Cache = cache) -> str:
            act(cache)
            assert cache.get_or_set("inner", lambda: "inner value") == "inner value"
            act(cache)
            return "outer value"

        assert cache.get_or_set("outer", compute) == "outer value"
        assert cache.get("outer", MISSING) in ("outer value", MISSING)
        _is_sound(cache)


def test_from_compute() -> None:
    """A computation may use the cache it computes for; what it returns is the call's result in any case."""
    check_call(from_compute)
