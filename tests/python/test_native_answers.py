"""The raw methods and their safe twins give the same answers, errors, counts and order, call by call."""

from collections.abc import Callable
from typing import Any

import pytest
from child_process import check_call
from driven_clock import START

from oxicache._native import TTLCache, clock_drive

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


class Slow:
    """Compared in Python; all hash alike."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slow) and other.name == self.name

    def __repr__(self) -> str:
        return f"Slow({self.name!r})"


class Hashless:
    def __hash__(self) -> int:
        raise LookupError("no hash")

    def __repr__(self) -> str:
        return "Hashless()"


class Unequal:
    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        raise LookupError("no equality")

    def __repr__(self) -> str:
        return "Unequal()"


class Text(str):
    __slots__ = ()


NAN = float("nan")
KEYS: list[Any] = [
    *("a", "absent", "\u00e9", "\U0001f600", "\ud800", Text("a"), "subclass", b"a"),
    *(1, True, 1.0, 2**70, NAN, None, (), ("a", 1), frozenset("a"), object),
    *(Slow("x"), Slow("y"), Hashless(), Unequal(), [], {}),
]
HELD: list[Any] = ["a", Text("subclass"), "\u00e9", 1, Slow("x"), NAN]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"policy": "s3fifo"},
    {"max_bytes": 10**4},
    {"on_evict": lambda *_gone: None},
    {"grace": 50},
    {"early_refresh": 1.0},
]
CALLS: list[Callable[[Any, Any], object]] = [
    lambda cache, key: cache.get(key),
    lambda cache, key: cache.get(key, "default"),
    lambda cache, key: cache.get(key=key),
    lambda cache, key: cache.get(key, default=key),
    lambda cache, key: cache.get(key, 1, 2),
    lambda cache, key: cache.get(key, wrong=2),
    lambda cache, key: cache.get(key, key=key),
    lambda cache, _key: cache.get(),
    lambda cache, _key: cache.get(default=1),
    lambda cache, key: cache[key],
    lambda cache, key: key in cache,
    lambda cache, key: cache.set(key, "new"),
    lambda cache, key: cache.set(key, "new", 5),
    lambda cache, key: cache.set(key, "new", ttl=None, tags=["t"]),
    lambda cache, key: cache.set(key, "new", 0),
    lambda cache, key: cache.set(key, "new", -1),
    lambda cache, key: cache.set(key, "new", True),
    lambda cache, key: cache.set(key, "new", "5"),
    lambda cache, key: cache.set(key, "new", tags="t"),
    lambda cache, key: cache.set(key),
    lambda cache, key: cache.set(key, "new", wrong=1),
    lambda cache, key: cache.set(key, value="new"),
    lambda cache, key: cache.set(value="new", key=key),
    lambda cache, key: cache.set(key, 1, 2, (), 3),
    lambda cache, key: cache.__setitem__(key, "new"),
    lambda cache, key: cache.__delitem__(key),
    lambda cache, key: cache.peek(key),
    lambda cache, key: cache.delete(key),
    lambda cache, key: cache.get_many([key, "a"]),
    TTLCache.get,
    lambda cache, key: TTLCache.get(key, cache),
    lambda cache, key: TTLCache.set(key, cache, 1),
    lambda _cache, key: TTLCache.__getitem__(key, "a"),
    lambda _cache, key: TTLCache.__contains__(key, "a"),
]


def _answer(call: Callable[[Any, Any], object], cache: TTLCache[Any, Any], key: Any) -> str:
    try:
        result = call(cache, key)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is compared
        # A slot calls itself by another name than a method does; the rest of the message must agree.
        return f"{type(error).__name__}: {error}".replace("TTLCache.", "")
    return f"{type(result).__name__}: {'the key' if result is key else repr(result)}"


def answers() -> None:
    """Print one line for each call, key, kind of cache and moment: fresh, expired in part, expired."""
    for options in OPTIONS:
        for number, call in enumerate(CALLS):
            for key in KEYS:
                clock_drive(START)
                cache: TTLCache[Any, Any] = TTLCache(3, 60, **options)
                for held in HELD[: 3 if number % 2 else 6]:
                    cache.set(held, ("value of", repr(held)), ttl=100 if number % 3 else None)
                for later in (0, 70, 100):
                    clock_drive(START + later)
                    answer = _answer(call, cache, key)
                    counts = [cache.stats()[name] for name in ("hits", "misses", "size", "sets", "evictions")]
                    line = f"{number} {list(options)} {key!r} +{later}: {answer} {counts} {cache.keys()}"
                    print(line.encode("ascii", "backslashreplace").decode())


def test_safe_and_raw_methods_answer_alike() -> None:
    """Every answer, error message, count and order is the same with the safe twins of the raw methods."""
    raw = check_call(answers, env={"OXICACHE_SAFE_METHODS": ""}).splitlines()
    safe = check_call(answers, env={"OXICACHE_SAFE_METHODS": "1"}).splitlines()
    assert len(raw) == len(safe) > 10_000
    different = [(one, other) for one, other in zip(raw, safe, strict=True) if one != other]
    assert different[:5] == []
