"""Python code that the cache runs may use the cache: every operation, from every place where Python gets to run.

What could hang runs in a child process, which a watchdog ends with all stacks on stderr.
"""

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, cast

import pytest
from child_process import check, check_call
from driven_clock import START, Clock

from oxicache._native import MISSING, TTLCache, clock_drive

Cache = TTLCache[Any, Any]
Policy = Literal["lru", "s3fifo"]
SIZE = 4
numbers = itertools.count()


class Trap:
    """Runs an action on the cache when sprung, but not from inside itself: that would be endless in any mapping."""

    def __init__(self) -> None:
        self.action: Callable[[], object] | None = None
        self.sprung = 0

    def spring(self) -> None:
        action, self.action = self.action, None
        if action is not None:
            self.sprung += 1
            try:
                action()
            finally:
                self.action = action


class Key:
    """Hashes as every other Key; equal by name. Springs where `places` says."""

    def __init__(self, name: str, trap: Trap | None = None, places: str = "") -> None:
        self.name, self.trap, self.places = name, trap or Trap(), places

    def __hash__(self) -> int:
        if "hash" in self.places:
            self.trap.spring()
        return 7

    def __eq__(self, other: object) -> bool:
        if "eq" in self.places:
            self.trap.spring()
        return isinstance(other, Key) and self.name == other.name

    def __del__(self) -> None:
        if "del" in self.places:
            self.trap.spring()


class Value:
    """A value whose end springs the trap."""

    def __init__(self, trap: Trap, places: str) -> None:
        self.trap, self.places = trap, places

    def __del__(self) -> None:
        if "del" in self.places:
            self.trap.spring()


def _delete_all(cache: Cache) -> None:
    for name in "abcd":
        cache.delete(Key(name))


def _churn(cache: Cache) -> None:
    for _ in range(2 * SIZE):
        cache.set(next(numbers), 1)


def _expire_all(cache: Cache) -> None:
    clock_drive(START + 1000)
    cache._cleanup_expired()


def _lock(cache: Cache) -> None:
    with cache._lock:
        cache.get(Key("b"))


def _resize(cache: Cache) -> None:
    cache.max_size = 1
    cache.max_size = SIZE


ACTIONS: dict[str, Callable[[Cache], object]] = {
    "get-same": lambda cache: cache.get(Key("b")),
    "get-other": lambda cache: cache.get("plain"),
    "getitem": lambda cache: cache._cache.get(Key("a")),
    "set-same": lambda cache: cache.set(Key("b"), "inner"),
    "set-other": lambda cache: cache.set("plain", "inner"),
    "churn": _churn,
    "add": lambda cache: cache.add(Key("b"), "inner"),
    "touch": lambda cache: cache.touch(Key("b"), 5),
    "delete-same": lambda cache: cache.delete(Key("b")),
    "delete-all": _delete_all,
    "delete-many": lambda cache: cache.delete_many([Key("a"), Key("b")]),
    "get-many": lambda cache: cache.get_many([Key("a"), Key("b"), "plain"]),
    "set-many": lambda cache: cache.set_many({Key("a"): 1, "plain": 2}),
    "view-pop": lambda cache: cache._cache.pop(Key("b"), None),
    "deadline-pop": lambda cache: cache._expiry_times.pop(Key("b"), None),
    "tag": lambda cache: cache.delete_by_tag("t"),
    "clear": lambda cache: cache.clear(),
    "sweep": lambda cache: cache._cleanup_expired(),
    "expire-all": _expire_all,
    "stats": lambda cache: cache.stats(),
    "repr": lambda cache: (repr(cache), len(cache)),
    "iterate": lambda cache: [list(cache), cache.items(), list(cache._cache.items()), list(cache._expiry_times)],
    "resize": _resize,
    "lock": _lock,
    "collect": lambda _cache: gc.collect(),
}

OPERATIONS: dict[str, Callable[[Cache, Any], object]] = {
    "get": lambda cache, key: cache.get(key),
    "get-default": lambda cache, key: cache.get(key, 1),
    "getitem": lambda cache, key: cache[key],
    "contains": lambda cache, key: key in cache,
    "peek": lambda cache, key: cache.peek(key),
    "set": lambda cache, key: cache.set(key, "new"),
    "set-full": lambda cache, key: cache.set(key, "new", ttl=30, tags=["t"]),
    "set-dead": lambda cache, key: cache.set(key, "new", ttl=0),
    "setitem": lambda cache, key: cache.__setitem__(key, "new"),
    "add": lambda cache, key: cache.add(key, "new"),
    "delete": lambda cache, key: cache.delete(key),
    "delitem": lambda cache, key: cache.__delitem__(key),
    "pop": lambda cache, key: cache.pop(key),
    "pop-default": lambda cache, key: cache.pop(key, None),
    "touch": lambda cache, key: cache.touch(key, 5),
    "touch-dead": lambda cache, key: cache.touch(key, 0),
    "time-left": lambda cache, key: cache.time_left(key),
    "tags": lambda cache, key: cache.tags(key),
    "get-many": lambda cache, key: cache.get_many([key, Key("a"), key]),
    "set-many": lambda cache, key: cache.set_many({key: 1, "x": 2}),
    "delete-many": lambda cache, key: cache.delete_many([key, Key("a")]),
    "view-read": lambda cache, key: (key in cache._cache, cache._cache[key]),
    "view-set": lambda cache, key: cache._cache.__setitem__(key, "new"),
    "view-pop": lambda cache, key: cache._cache.pop(key, None),
    "view-del": lambda cache, key: cache._cache.__delitem__(key),
    "deadline-read": lambda cache, key: (key in cache._expiry_times, cache._expiry_times[key]),
    "deadline-set": lambda cache, key: cache._expiry_times.__setitem__(key, 0.0),
    "deadline-pop": lambda cache, key: cache._expiry_times.pop(key, None),
    "token": lambda cache, key: cache._token(key),
    "fill": lambda cache, key: cache._fill(key, "new", cache._token(key)),
    "stale": lambda cache, key: cache._stale(key),
    "early": lambda cache, key: cache._early(key),
    "delete-by-tag": lambda cache, _key: cache.delete_by_tag("t"),
    "clear": lambda cache, _key: cache.clear(),
    "sweep": lambda cache, _key: (clock_drive(START + 500), cache._cleanup_expired()),
    "found-expired": lambda cache, key: (clock_drive(START + 500), cache.get(key)),
    "set-over-expired": lambda cache, key: (clock_drive(START + 500), cache.set(key, "new")),
    "periodic-sweep": lambda cache, key: (clock_drive(START + 9000), cache.set(key, "new")),
    "evict": lambda cache, _key: [cache.set(str(number), number) for number in range(SIZE + 1)],
    "shrink": lambda cache, _key: setattr(cache, "max_size", 1),
    "shrink-bytes": lambda cache, _key: setattr(cache, "max_bytes", 2),
    "keys": lambda cache, _key: (cache.keys(), cache.items(), list(cache)),
    "stats": lambda cache, _key: (cache.stats(), len(cache), repr(cache)),
}


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
        trap.action = lambda cache=cache, action=action: ACTIONS[action](cache)  # type: ignore[misc]
        try:
            OPERATIONS[operation](cache, key)
        except KeyError:
            pass  # the key was absent, or the action removed it
        except RuntimeError as error:
            assert place == "eq", error
            assert "__eq__" in str(error), error
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

        def walk(
            *parts: Any, act: Callable[[Cache], object] = action, cache: Cache = cache
        ) -> Iterator[Any]:
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
        trap.action = lambda cache=cache, action=action: action(cache)  # type: ignore[misc]
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


class TestEqualityThatChangesTheCache:
    def test_the_last_reference_to_a_compared_key_goes_outside_the_lock(self) -> None:
        """A key removed while it is compared may use the cache in its `__del__`."""
        check(
            """
            from oxicache._native import TTLCache

            class Key:
                def __init__(self, name, doomed=False):
                    self.name, self.doomed = name, doomed
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    if self.doomed and armed:
                        cache.delete_by_tag("doomed")
                    return self.name == other.name
                def __del__(self):
                    deaths.append(self.name)
                    cache.get("anything")

            for doomed_ones in range(1, 4):  # so that some come before the kept one, whatever the table's order
                for operation in ("get", "set", "delete", "peek", "touch", "time_left", "tags", "_stale", "pop"):
                    cache, armed, deaths = TTLCache(10, 60), False, []
                    cache.set(Key("doomed", doomed=True), "value", tags=["doomed"])
                    cache.set(Key("kept"), "value")
                    for number in range(doomed_ones - 1):
                        cache.set(Key(f"doomed {number}", doomed=True), "value", tags=["doomed"])
                    arguments, armed = [Key("kept")] + (["new"] if operation == "set" else []), True
                    getattr(cache, operation)(*arguments)
                    assert len(cache) == (operation not in ("delete", "pop"))
                    assert sum(name.startswith("doomed") for name in deaths) == doomed_ones
            """
        )

    def test_a_comparison_that_always_stores_ends(self) -> None:
        """When each comparison adds an entry, a lookup answers or gives up with RuntimeError; it does not spin."""
        check(
            """
            import itertools
            from oxicache._native import TTLCache

            numbers = itertools.count()

            class Key:
                def __init__(self, name):
                    self.name = name
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    cache.set(next(numbers), 1)
                    return isinstance(other, Key) and self.name == other.name

            cache = TTLCache(1000, 60)
            for name in "abc":
                try:
                    cache.set(Key(name), name)
                except RuntimeError as error:
                    assert "__eq__" in str(error), error
            for name in "abcd":
                try:
                    assert cache.get(Key(name)) in (name, None)
                except RuntimeError as error:
                    assert "__eq__" in str(error), error
            assert len(cache) == cache.stats()["size"] <= 1000
            """
        )

    def test_a_lookup_that_clears_the_cache_is_a_miss(self) -> None:
        """What the comparison removed is not returned from the grave."""
        check(
            """
            from oxicache._native import TTLCache

            class Key:
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    cache.clear()
                    return True

            for operation, miss in (("get", None), ("peek", None), ("delete", False), ("touch", False), ("time_left", None)):
                cache = TTLCache(10, 60)
                cache.set(Key(), 1)
                assert getattr(cache, operation)(Key()) == miss, operation
                assert len(cache) == 0
                cache.set(Key(), 1)
                cache.set(Key(), 2)
                assert len(cache) == 1
            """
        )

    def test_equality_runs_once_the_lock_is_free(self) -> None:
        """While one thread is inside `__eq__`, another can read and write."""
        check(
            """
            import threading
            from oxicache._native import TTLCache

            class Key:
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    if threading.current_thread() is not threading.main_thread():
                        entered.set()
                        assert leave.wait(60)
                    return True

            cache = TTLCache(10, 60)
            cache.set(Key(), "value")
            cache.set("plain", 1)
            entered, leave, found = threading.Event(), threading.Event(), []
            thread = threading.Thread(target=lambda: found.append(cache.get(Key())))
            thread.start()
            assert entered.wait(60)
            assert cache.get("plain") == 1
            cache.set("plain", 2)
            assert cache.stats()["size"] == 2
            leave.set()
            thread.join()
            assert found == ["value"]
            """
        )


class Broken:
    """Raises where it is told to, once it is told to."""

    def __init__(self) -> None:
        self.fails = ""

    def __hash__(self) -> int:
        if self.fails == "hash":
            raise LookupError("no hash")
        return 7

    def __eq__(self, other: object) -> bool:
        if self.fails == "eq":
            raise LookupError("no equality")
        return True if self is other else NotImplemented


KEYED = {
    name: operation
    for name, operation in OPERATIONS.items()
    if name
    not in {"delete-by-tag", "clear", "sweep", "evict", "shrink", "shrink-bytes", "keys", "stats", "found-expired"}
    and not name.startswith(("periodic", "set-over"))
}


@pytest.mark.parametrize("who", ["asked", "held"])
@pytest.mark.parametrize("what", ["hash", "eq"])
@pytest.mark.parametrize("operation", KEYED)
def test_errors_of_keys_pass_through(operation: str, what: str, who: str) -> None:
    """An exception in `__hash__` or `__eq__` is the caller's, and the cache is as it was before."""
    if (what, who) == ("hash", "held") or (what, operation) == ("eq", "token"):
        pytest.skip("a held key is not hashed again, and a token compares no keys")
    clock = Clock()
    cache: Cache = TTLCache(10, 60)
    held, asked = Broken(), Broken()
    cache.set(held, "value")
    cache.set("a", 1)
    before = cache.items()
    if operation == "set-many":
        items = {asked: 1}
        act: Callable[[], object] = lambda: cache.set_many(items)  # noqa: E731 - made before the key breaks
    else:
        act = lambda: KEYED[operation](cache, asked)  # noqa: E731
    (asked if who == "asked" else held).fails = what
    try:
        with pytest.raises(LookupError, match="no hash" if what == "hash" else "no equality"):
            act()
    finally:
        asked.fails = held.fails = ""
    assert cache.items() == before
    assert cache.get(held) == "value"
    clock.advance(60)
    assert cache._cleanup_expired() == 2


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
