"""Which calls of a decorated callable share an entry, beyond the plain cases of test_decorators.py."""

from collections import OrderedDict
from typing import NamedTuple

import pytest

from oxicache import cached_function
from oxicache._native import MISSING


class Point(NamedTuple):
    x: float


@cached_function(ttl=None)
def shown(*args: object, **kwargs: object) -> str:
    return f"{args!r} {kwargs!r}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OrderedDict([("a", 1), ("b", 2)]), OrderedDict([("b", 2), ("a", 1)])),
        (Point(1), Point(True)),
        (Point(1), (1,)),
        ({"a": 1}, OrderedDict(a=1)),
        (frozenset([1]), frozenset([True])),
    ],
    ids=["order", "types in a namedtuple", "namedtuple and tuple", "dict and OrderedDict", "types in a set"],
)
def test_arguments_that_differ_are_two_calls(one: object, other: object) -> None:
    """Arguments that a function can tell apart by type or by order never share an entry."""
    shown.cache_clear()
    assert shown(one) == f"({one!r},) {{}}"
    assert shown(other) == f"({other!r},) {{}}"


def test_a_keyword_left_out_is_the_call_that_repeats_its_default() -> None:
    """A keyword-only argument that equals its default is the same call as one without it, also to `invalidate`."""
    calls = []

    @cached_function
    def load(a: int, *, k: int = 5) -> int:
        calls.append((a, k))
        return a + k

    assert (load(1, k=5), load(1), load(1, k=6)) == (6, 6, 7)
    assert calls == [(1, 5), (1, 6)]
    assert load.invalidate(1)
    load(1, k=5)
    assert calls == [(1, 5), (1, 6), (1, 5)]


def test_no_argument_is_the_mark_before_keywords() -> None:
    """What parts positional arguments from keywords in a key cannot be passed as an argument."""
    shown.cache_clear()
    assert shown(x=1) == "() {'x': 1}"
    assert shown(MISSING, "x", 1) == "(<oxicache.MISSING>, 'x', 1) {}"
