"""What a value is made of, in a form that compares: types at every level, aliasing, order, each float's bits."""

import datetime as dt
import decimal
import pickle
import struct
from collections.abc import Callable
from typing import Any

from oxicache._native import _freeze, _thaw


def pickled(value: Any) -> Any:
    """What LocMemCache would give back."""
    return pickle.loads(pickle.dumps(value, 5))  # noqa: S301 - just made here


def shape(value: Any) -> Any:
    """Equal for two values when nothing but the identity of their parts tells them apart."""
    return _shape(value, {}, [])


# What tells two values of a type apart where their repr does not.
EXACTLY: dict[type, Callable[[Any], Any]] = {
    float: lambda value: struct.pack("d", value),
    complex: lambda value: struct.pack("dd", value.real, value.imag),
    decimal.Decimal: decimal.Decimal.as_tuple,
    dt.datetime: lambda value: (value.isoformat(), value.fold, repr(value.tzinfo)),
    dt.time: lambda value: (value.isoformat(), value.fold, repr(value.tzinfo)),
}


def _shape(value: Any, seen: dict[int, int], kept: list[Any]) -> Any:
    kind = type(value)
    if kind not in (dict, list, tuple, set, frozenset) or value in ((), frozenset()):
        return (kind.__name__, EXACTLY.get(kind, repr)(value))
    if id(value) in seen:
        return ("again", seen[id(value)])
    seen[id(value)] = len(seen)
    kept.append(value)
    if kind is dict:
        return ("dict", [(_shape(k, seen, kept), _shape(v, seen, kept)) for k, v in value.items()])
    if kind in (set, frozenset):
        # A set's order is nobody's: its items are compared one by one, aliases left aside.
        return (kind.__name__, sorted(repr(_shape(item, {}, kept)) for item in value))
    return (kind.__name__, [_shape(item, seen, kept) for item in value])


def kind_of(value: object, isolation: Any = "auto") -> str:
    return _freeze(value, isolation)[1]


def round_trip(value: object, isolation: Any = "auto") -> Any:
    return _thaw(_freeze(value, isolation)[0])


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]
