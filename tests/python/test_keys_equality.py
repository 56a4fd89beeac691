"""Keys of TTLCache are those of a dict: equal keys are one key, and what cannot be hashed is a TypeError."""

import enum
import sys
from collections.abc import Callable, Hashable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxicache._native import MISSING, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[Any, Any]
HUGE = 2**200


class Text(str):
    __slots__ = ()


class SameHash(str):
    """A str of its own equality: case does not matter, and all hash alike."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return 7


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    ONE = 1


class Path(enum.StrEnum):
    HOME = "home"


class Collides:
    """All of them have one hash; equality is Python's."""

    def __init__(self, name: str, hash_value: int = 7) -> None:
        self.name = name
        self.hash_value = hash_value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collides) and self.name == other.name

    def __hash__(self) -> int:
        return self.hash_value


SAME: list[tuple[str, Any, Any]] = [
    ("int-bool", 1, True),
    ("int-float", 1, 1.0),
    ("zero-false", 0, False),
    ("minus-zero", 0.0, -0.0),
    ("int-decimal", 5, Decimal(5)),
    ("int-fraction", 5, Fraction(5)),
    ("int-complex", 5, 5 + 0j),
    ("int-intenum", 1, Level.ONE),
    ("huge-int", HUGE + 1, int(str(HUGE + 1))),
    ("huge-int-float", 2**100, float(2**100)),
    ("beyond-64-bits", 2**64, int(str(2**64))),
    ("str-built-twice", "".join(["ab", "c"]), "".join(["a", "bc"])),
    ("str-wide", "\U0001f600x", "".join(["\U0001f600", "x"])),
    ("str-surrogate", "a\ud800", "a" + chr(0xD800)),
    ("str-subclass", "abc", Text("abc")),
    ("str-strenum", "home", Path.HOME),
    ("str-empty", "", str()),
    ("bytes", b"ab", bytes([97, 98])),
    ("tuple", ("a", 1), ("a", True)),
    ("tuple-nested", (("a", (1, 2.0)), None), (("a", (1.0, 2)), None)),
    ("tuple-empty", (), tuple([])),
    ("tuple-subclass", (1, 2), Point(1, 2)),
    ("frozenset", frozenset("abc"), frozenset("cba")),
    ("none", None, None),
    ("enum", Colour.RED, Colour(1)),
    ("type", int, type(3)),
    ("date", date(2024, 1, 1), date.fromisoformat("2024-01-01")),
    ("uuid", UUID(int=5), UUID(int=5)),
    ("own-equality", Collides("a"), Collides("a")),
    ("hash-minus-one", -1, -1.0),
    ("modulus-of-hashes", sys.hash_info.modulus, int(str(sys.hash_info.modulus))),
]

DIFFERENT: list[tuple[str, Any, Any]] = [
    ("int-str", 1, "1"),
    ("str-bytes", "a", b"a"),
    ("none-str", None, "None"),
    ("hash-of-minus-one-and-minus-two", -1, -2),
    ("zero-and-modulus", 0, sys.hash_info.modulus),
    ("tuple-list-like", (1,), 1),
    ("tuple-order", (1, 2), (2, 1)),
    ("tuple-type-inside", ("1",), (1,)),
    ("enum-value", Colour.RED, 1),
    ("normal-forms", "\u00e9", "e\u0301"),
    ("nul", "a", "a\0"),
    ("surrogates", "\ud800", "\udfff"),
    ("same-length", "ab", "ac"),
    ("wider", "a\u00e9", "a\u20ac"),
    ("one-hash", Collides("a"), Collides("b")),
    ("huge", HUGE, HUGE + 1),
    ("beyond-64-bits", 2**64, 0),
    ("datetime-date", datetime(2024, 1, 1), date(2024, 1, 1)),  # noqa: DTZ001 - naive on purpose
]

# What is asked for may be of the plainer type, or what is held: an exact str is looked up by code of its own.
BOTH_WAYS_SAME = [pytest.param(a, b, id=name) for name, a, b in SAME] + [
    pytest.param(b, a, id=f"{name}-reversed") for name, a, b in SAME
]
BOTH_WAYS_DIFFERENT = [pytest.param(a, b, id=name) for name, a, b in DIFFERENT] + [
    pytest.param(b, a, id=f"{name}-reversed") for name, a, b in DIFFERENT
]
every_policy = pytest.mark.parametrize("policy", ["lru", "s3fifo"])
Policy = Literal["lru", "s3fifo"]


@every_policy
@pytest.mark.parametrize(("one", "other"), BOTH_WAYS_SAME)
def test_equal_keys_are_one_key(one: Hashable, other: Hashable, policy: Policy) -> None:
    """Every operation finds by `other` what was stored by `one`, and the first key object stays."""
    assert {one: 0}[other] == 0, "the case itself must hold for a dict"
    cache: Cache = TTLCache(10, 60, policy=policy)
    cache.set(one, "first")
    assert cache.get(other) == "first"
    assert cache[other] == "first"
    assert other in cache
    assert cache.add(other, "no") is False
    cache.set(other, "second")
    assert len(cache) == 1
    assert cache.keys()[0] is one
    assert cache.peek(one) == "second"
    assert cache.get_many([other]) == {other: "second"}
    assert cache.touch(other, 5)
    assert cache._cache[other] == "second"
    assert other in cache._expiry_times
    assert cache.delete(other) is True
    assert len(cache) == 0


@every_policy
@pytest.mark.parametrize(("one", "other"), BOTH_WAYS_DIFFERENT)
def test_different_keys_are_two(one: Hashable, other: Hashable, policy: Policy) -> None:
    """Neither key reads, replaces or removes the other's entry."""
    assert len({one, other}) == 2, "the case itself must hold for a dict"
    cache: Cache = TTLCache(10, 60, policy=policy)
    cache.set(one, "one")
    assert cache.get(other, MISSING) is MISSING
    assert other not in cache
    cache.set(other, "other")
    assert (cache.get(one), cache.get(other)) == ("one", "other")
    assert cache.delete(other) is True
    assert cache.get(one) == "one"


def test_nan_is_found_by_identity_alone() -> None:
    """As in a dict, a nan is found by itself and by no other nan, also inside a tuple."""
    nan = float("nan")
    cache: Cache = TTLCache(10, 60)
    cache.set(nan, 1)
    cache.set((nan,), 2)
    assert cache.get(nan) == 1
    assert cache.get((nan,)) == 2
    assert cache.get(float("nan")) is None
    assert cache.get((float("nan"),)) is None


@pytest.mark.parametrize("name", ["a", "kebab-case", "\u00e9", "x" * 1000])
def test_a_str_subclass_with_its_own_hash_is_not_taken_for_a_str(name: str) -> None:
    """A subclass's `__hash__` and `__eq__` are asked, not those of str."""
    cache: Cache = TTLCache(10, 60)
    cache.set(SameHash(name), 1)
    assert cache.get(SameHash(name.upper())) == 1
    assert cache.get(name, MISSING) is MISSING
    cache.set(name, 2)
    assert cache.get(SameHash(name)) == 1


def test_a_str_whose_hash_was_never_asked_is_found() -> None:
    """A str that has not cached its hash yet is hashed on the way."""
    cache: Cache = TTLCache(10, 60)
    cache.set("prefix:17", 1)
    assert cache.get("prefix:" + str(17)) == 1
    assert cache["prefix:" + str(17)] == 1


UNHASHABLE: list[Callable[[], Any]] = [list, dict, set, bytearray, lambda: ([],), lambda: ("a", ({},))]
OPERATIONS: dict[str, Callable[[Cache, Any], object]] = {
    "get": lambda cache, key: cache.get(key),
    "get-default": lambda cache, key: cache.get(key, 1),
    "peek": lambda cache, key: cache.peek(key),
    "set": lambda cache, key: cache.set(key, 1),
    "add": lambda cache, key: cache.add(key, 1),
    "getitem": lambda cache, key: cache[key],
    "setitem": lambda cache, key: cache.__setitem__(key, 1),
    "delitem": lambda cache, key: cache.__delitem__(key),
    "contains": lambda cache, key: key in cache,
    "delete": lambda cache, key: cache.delete(key),
    "pop": lambda cache, key: cache.pop(key),
    "pop-default": lambda cache, key: cache.pop(key, None),
    "touch": lambda cache, key: cache.touch(key, 5),
    "time_left": lambda cache, key: cache.time_left(key),
    "tags": lambda cache, key: cache.tags(key),
    "get_many": lambda cache, key: cache.get_many(["a", key]),
    "delete_many": lambda cache, key: cache.delete_many([key]),
    "get_or_set": lambda cache, key: cache.get_or_set(key, lambda: 1),
    "token": lambda cache, key: cache._token(key),
    "is-current": lambda cache, key: cache._is_current(key, 0),
    "fill": lambda cache, key: cache._fill(key, 1, 0),
    "stale": lambda cache, key: cache._stale(key),
    "early": lambda cache, key: cache._early(key),
    "view-get": lambda cache, key: cache._cache.get(key),
    "view-pop": lambda cache, key: cache._cache.pop(key, None),
    "view-contains": lambda cache, key: key in cache._cache,
    "deadlines-pop": lambda cache, key: cache._expiry_times.pop(key, None),
}


@pytest.mark.parametrize("make", UNHASHABLE, ids=["list", "dict", "set", "bytearray", "tuple", "nested"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_unhashable_key_is_a_type_error(operation: str, make: Callable[[], Any]) -> None:
    """The error is the one that Python's own hash gives, and the cache is as before."""
    cache: Cache = TTLCache(10, 60)
    cache.set("a", 1)
    with pytest.raises(TypeError, match="unhashable"):
        OPERATIONS[operation](cache, make())
    assert cache.items() == [("a", 1)]


def test_many_keys_of_one_hash() -> None:
    """Collisions cost comparisons, never a wrong answer."""
    cache: Cache = TTLCache(200, 60)
    for number in range(100):
        cache.set(Collides(f"n{number}"), number)
    assert [cache.get(Collides(f"n{number}")) for number in range(100)] == list(range(100))
    assert cache.get(Collides("absent")) is None
    for number in range(0, 100, 2):
        assert cache.delete(Collides(f"n{number}"))
    assert [cache.get(Collides(f"n{number}")) is not None for number in range(100)] == [False, True] * 50


@pytest.mark.parametrize("value", [0, -1, -2, 2**63 - 1, -(2**63), sys.hash_info.modulus - 1])
def test_any_hash_value_will_do(value: int) -> None:
    """Extreme hash values are as good as others."""
    cache: Cache = TTLCache(10, 60)
    cache.set(Collides("a", value), 1)
    assert cache.get(Collides("a", value)) == 1
    assert cache.get(Collides("b", value)) is None


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 3), st.floats(), st.text(), st.binary(max_size=4)
)
keys = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6
)


@given(st.lists(st.tuples(keys, st.integers()), max_size=30), st.lists(keys, max_size=10))
def test_any_keys_behave_as_in_a_dict(pairs: list[tuple[Any, int]], asked: list[Any]) -> None:
    """After the same writes, a cache that is large enough and a dict answer alike."""
    cache: Cache = TTLCache(1000, 60)
    model: dict[Any, int] = {}
    for key, value in pairs:
        cache.set(key, value)
        model[key] = value
    for key in [*asked, *(key for key, _value in pairs)]:
        assert cache.get(key, MISSING) == model.get(key, MISSING)
        assert (key in cache) == (key in model)
    assert len(cache) == len(model)
