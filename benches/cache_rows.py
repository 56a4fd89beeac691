"""The timed rows of TTLCache, beside dict and the caches people use instead of it."""

import random
import sys
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import cachebox
import cachetools
from rows import Target, TimedRow
from timing import SEED, Contender

from oxicache import TTLCache

SIZE = 1_000  # entries and keys of a row, unless its name says otherwise
TTL = 3_600.0  # nothing expires while a row runs
STREAM = (
    8 * SIZE
)  # keys met in turn by the eviction row: each has long been evicted when it comes round again
MILLION = 1_000_000
MILLION_SAMPLE = 100_000  # of a million keys, those that one pass reads

# The target table allows more on CPython 3.11.
GET_LIMIT = 1.4 if sys.version_info < (3, 12) else 1.25


def shuffled_keys(count: int, prefix: str = "key") -> list[str]:
    """`count` distinct strings of Django's usual kind, in an order that memory does not follow."""
    keys = [f"{prefix}:{number}:detail" for number in range(count)]
    random.Random(SEED).shuffle(keys)
    return keys


def zipf(keys: Sequence[Any], accesses: int) -> list[Any]:
    """A seeded sequence of accesses in which the n-th key comes up in proportion to 1/n."""
    weights = list(accumulate(1 / rank for rank in range(1, len(keys) + 1)))
    return random.Random(SEED).choices(keys, cum_weights=weights, k=accesses)


def caches(keys: Sequence[str], size: int) -> dict[str, Any]:
    """Each cache by name, ours first, filled with `keys`; a value is a string of its own."""
    entries = {key: f"value of {key}" for key in keys}
    filled: dict[str, Any] = {
        "TTLCache": TTLCache(max_size=size, ttl=TTL),
        "dict": {},
        "cachebox.TTLCache": cachebox.TTLCache(size, TTL),
        "cachebox.LRUCache": cachebox.LRUCache(size),
        "cachetools.TTLCache": cachetools.TTLCache(size, TTL),
    }
    for cache in filled.values():
        for key, value in entries.items():
            cache[key] = value
        if len(cache) != len(entries):
            message = (
                f"{type(cache).__name__} holds {len(cache)} of {len(entries)} entries before its row starts"
            )
            raise RuntimeError(message)
    return filled


def _get_hit() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    return [
        Contender(name, "cache.get(item)", {"cache": cache}, keys)
        for name, cache in caches(keys, SIZE).items()
    ]


def _get_hit_bound_before() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    filled = caches(keys, SIZE)
    return [Contender(name, "get(item)", {"get": filled[name].get}, keys) for name in ("TTLCache", "dict")]


def _get_hit_of_an_equal_key() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    # Joined anew: equal to the stored key, but another object, as a key built for one request is. The hash
    # of each is known after the first pass; computing it costs the same on both sides.
    others = ["".join([key[:3], key[3:]]) for key in keys]
    filled = caches(keys, SIZE)
    return [
        Contender(name, "cache.get(item)", {"cache": filled[name]}, others) for name in ("TTLCache", "dict")
    ]


def _get_hit_in_a_million() -> list[Contender]:
    keys = shuffled_keys(MILLION)
    filled = caches(keys, MILLION)
    items = random.Random(SEED + 1).sample(keys, MILLION_SAMPLE)
    names = ("TTLCache", "dict", "cachebox.TTLCache")
    return [Contender(name, "cache.get(item)", {"cache": filled[name]}, items) for name in names]


def _get_hit_sampled() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    dense, sparse = (caches(keys, SIZE)["TTLCache"] for _ in range(2))
    for _ in range(100):
        for key in keys:
            sparse.get(key)
    statement = "cache.get(item)"
    # After a reset as many hits are samples as one pass makes.
    return [
        Contender("TTLCache", statement, {"cache": dense}, keys, "cache.reset_stats()"),
        Contender("TTLCache, one sample in 1,024", statement, {"cache": sparse}, keys),
    ]


def _getitem() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    filled = caches(keys, SIZE)
    names = ("TTLCache", "dict", "cachebox.TTLCache")
    return [Contender(name, "cache[item]", {"cache": filled[name]}, keys) for name in names]


def _contains() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    filled = caches(keys, SIZE)
    names = ("TTLCache", "dict", "cachebox.TTLCache")
    return [Contender(name, "item in cache", {"cache": filled[name]}, keys) for name in names]


def _miss() -> list[Contender]:
    filled = caches(shuffled_keys(SIZE), SIZE)
    absent = shuffled_keys(SIZE, prefix="absent")
    return [Contender(name, "cache.get(item)", {"cache": cache}, absent) for name, cache in filled.items()]


def _set_existing() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    filled = caches(keys, SIZE)
    value = object()
    ours = Contender(
        "TTLCache", "cache.set(item, value)", {"cache": filled["TTLCache"], "value": value}, keys
    )
    return [ours, *_stores(filled, keys, ("dict", "cachebox.TTLCache", "cachetools.TTLCache"))]


def _setitem_existing() -> list[Contender]:
    keys = shuffled_keys(SIZE)
    return _stores(caches(keys, SIZE), keys, ("TTLCache", "dict", "cachebox.TTLCache"))


def _stores(filled: dict[str, Any], keys: Sequence[str], names: Sequence[str]) -> list[Contender]:
    value = object()
    return [
        Contender(name, "cache[item] = value", {"cache": filled[name], "value": value}, keys)
        for name in names
    ]


def _set_new() -> list[Contender]:
    stream = shuffled_keys(STREAM)
    filled = caches(stream[-SIZE:], SIZE)
    value = object()
    bounded = OrderedDict.fromkeys(stream[-SIZE:], value)
    ours = Contender(
        "TTLCache", "cache.set(item, value)", {"cache": filled["TTLCache"], "value": value}, stream
    )
    # A dict evicts nothing: a new one grows in each pass, and its end is not timed.
    growing = Contender("dict", "cache[item] = value", {"cache": None, "value": value}, stream, "cache = {}")
    evicting = Contender(
        "OrderedDict, oldest removed",
        "cache[item] = value; cache.popitem(last=False)",
        {"cache": bounded, "value": value},
        stream,
    )
    rivals = ("cachebox.TTLCache", "cachebox.LRUCache", "cachetools.TTLCache")
    return [ours, growing, evicting, *_stores(filled, stream, rivals)]


_ASIDE = "if cache.get(item) is None:\n    {store}"


def _cache_aside(accesses: Sequence[str], names: Sequence[str]) -> list[Contender]:
    makers = {
        "TTLCache": lambda: TTLCache(max_size=SIZE, ttl=TTL),
        "dict": dict,
        "cachebox.TTLCache": lambda: cachebox.TTLCache(SIZE, TTL),
        "cachebox.LRUCache": lambda: cachebox.LRUCache(SIZE),
        "cachetools.TTLCache": lambda: cachetools.TTLCache(SIZE, TTL),
    }
    contenders = []
    for name in names:
        store = "cache.set(item, item)" if name == "TTLCache" else "cache[item] = item"
        statement = _ASIDE.format(store=store)
        contenders.append(Contender(name, statement, {"make": makers[name]}, accesses, "cache = make()"))
    return contenders


def _zipf_mix() -> list[Contender]:
    accesses = zipf(shuffled_keys(SIZE), 10 * SIZE)
    return _cache_aside(accesses, ("TTLCache", "dict", "cachebox.TTLCache", "cachetools.TTLCache"))


def _zipf_mix_with_eviction() -> list[Contender]:
    accesses = zipf(shuffled_keys(10 * SIZE), 20 * SIZE)
    names = ("TTLCache", "cachebox.TTLCache", "cachebox.LRUCache", "cachetools.TTLCache")
    return _cache_aside(accesses, names)


ROWS = (
    TimedRow(
        "get hit/1k",
        _get_hit,
        {
            "dict": Target("<=", GET_LIMIT),
            "cachebox.TTLCache": Target("<=", 0.5),
            "cachebox.LRUCache": Target("<", 1.0),
        },
    ),
    TimedRow("get hit, get = cache.get/1k", _get_hit_bound_before),
    TimedRow("get hit, an equal key/1k", _get_hit_of_an_equal_key),
    TimedRow("get hit, each a sample/1k", _get_hit_sampled),
    TimedRow("get hit/1m", _get_hit_in_a_million, slow=True),
    TimedRow("cache[k]/1k", _getitem, {"dict": Target("<=", 1.25)}),
    TimedRow("k in cache/1k", _contains),
    TimedRow("get miss/1k", _miss, {"dict": Target("<=", 1.0)}),
    TimedRow(
        "set existing/1k",
        _set_existing,
        {"dict": Target("<=", 1.9), "cachebox.TTLCache": Target("<=", 0.4)},
    ),
    TimedRow("cache[k] = v existing/1k", _setitem_existing),
    TimedRow(
        "set new, evicting/1k",
        _set_new,
        {"dict": Target("<=", 1.2), "cachebox.TTLCache": Target("<=", 0.4)},
    ),
    TimedRow("Zipf cache-aside/1k", _zipf_mix, {"dict": Target("<=", 1.1)}),
    TimedRow("Zipf cache-aside, evicting/10k", _zipf_mix_with_eviction),
)
