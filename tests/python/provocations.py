"""What the re-entrancy tests make a cache run: keys and values that spring a trap, actions in the trap, operations."""

# mypy: disable-error-code="func-returns-value"
# The tables of one-line operations join calls in tuples, whatever each call returns.

import gc
import itertools
from collections.abc import Callable
from typing import Any

from driven_clock import START

from oxicache._native import TTLCache, clock_drive

Cache = TTLCache[Any, Any]
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
    "iterate": lambda cache: [
        list(cache),
        cache.items(),
        list(cache._cache.items()),
        list(cache._expiry_times),
    ],
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
    "is-current": lambda cache, key: cache._is_current(key, 1, ["t"]),
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
