"""Values that are stored pickled: shared, recursive and deep ones, and those whose pickling misbehaves."""

import pickle
import types
from typing import Any

import pytest
from value_shapes import Plain, kind_of, round_trip, shape

from oxicache._native import _freeze, _thaw


class Refusing:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("not this one")


class Entering:
    """Its pickling stores and reads other values, itself among them."""

    def __reduce__(self) -> Any:
        inner = round_trip([{"a": [1]}, {1, 2}, Plain(3)])
        return (Plain, (inner,))


class Vanished:
    """Loads only while `here` is set."""

    here = True

    def __reduce__(self) -> Any:
        return (_appear, ())


def _appear() -> Vanished:
    if not Vanished.here:
        raise AttributeError("the class has gone")
    return Vanished()


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


class TestShapes:
    def test_a_container_met_twice_is_pickled(self) -> None:
        """What was one container under two names is one container afterwards."""
        inner: list[int] = []
        for value in ([inner, inner], {"a": inner, "b": (inner,)}, ((inner,), inner)):
            assert kind_of(value) == "pickled"
            assert shape(round_trip(value)) == shape(value)

    def test_a_tuple_met_twice_keeps_its_lists_shared(self) -> None:
        """A list that is met twice through one tuple is one list afterwards, though only the tuple refers to it."""
        pair = ([1], 2)
        value = [pair, {"again": pair}]
        assert kind_of(value) == "pickled"
        copy = round_trip(value)
        assert copy[0] is copy[1]["again"]

    def test_containers_that_others_hold_too_are_copied(self) -> None:
        """A container that is met once is copied natively, however many others refer to it from elsewhere."""
        rows = [{"id": number} for number in range(10)]
        elsewhere = [rows[:], rows[1:], tuple(rows)]
        assert kind_of(rows) == "tree"
        assert kind_of({"rows": rows, "first": {"id": 0}}) == "tree"
        assert kind_of({"rows": rows, "first": rows[0]}) == "pickled"
        assert len(elsewhere) == 3

    def test_recursion_is_kept(self) -> None:
        """A container that contains itself comes back containing itself."""
        direct: list[Any] = []
        direct.append(direct)
        indirect: dict[str, Any] = {"a": [1]}
        indirect["a"].append((indirect,))
        beneath: Any = [[]]
        beneath[0].append(beneath[0])
        root: Any = ([],)
        root[0].append(root)
        for value in (direct, indirect, beneath, root):
            assert kind_of(value) == "pickled"
            assert shape(round_trip(value)) == shape(value)

    def test_one_immutable_met_twice_is_no_obstacle(self) -> None:
        """Shared strings and tuples stay shared, in a tree."""
        pair, text = ("x" * 9, 1.5), "y" * 9
        copy = round_trip([pair, [pair], {text: text}])
        assert kind_of([pair, [pair], {text: text}]) == "tree"
        assert copy[0] is copy[1][0] is pair

    @pytest.mark.parametrize(("levels", "kind"), [(32, "tree"), (33, "pickled"), (200, "pickled")])
    def test_deep_nesting_is_pickled(self, levels: int, kind: str) -> None:
        """Beyond 32 levels below the first, a value is pickled."""
        assert kind_of(deep(levels)) == kind
        assert round_trip(deep(levels)) == deep(levels)

    def test_what_is_too_deep_for_pickle_raises_what_pickle_raises(self) -> None:
        """Nesting beyond the interpreter's stack is pickle's RecursionError, not a crash."""
        value = deep(100_000)
        try:
            with pytest.raises(RecursionError):
                _freeze(value)
        finally:
            while value:
                value = value.pop()

    def test_tuples_that_double_are_walked_once(self) -> None:
        """A tuple of one tuple twice, and so on: 2 ** 30 paths and 30 tuples."""
        value: Any = ()
        for _ in range(30):
            value = (value, value, 1)
        assert kind_of(value) == "value"
        assert _freeze(value)[2] < 10_000
        assert kind_of([value]) == "tree"


class TestPickling:
    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (lambda: None, (pickle.PicklingError, AttributeError)),
            ([1, {"a": open}, Refusing()], ZeroDivisionError),
            ({"a": (x for x in ())}, TypeError),
            (types.ModuleType("m"), TypeError),
        ],
        ids=["lambda", "refusing", "generator", "module"],
    )
    def test_what_pickle_raises_passes_through(self, value: object, error: Any) -> None:
        """An unpicklable value raises at once, with pickle's own error."""
        with pytest.raises(error):
            _freeze(value)

    def test_pickling_may_enter_again(self) -> None:
        """A value whose pickling freezes and thaws others is stored, with all that is around it."""
        assert round_trip([1, Entering(), {"a": [2]}]) == [
            1,
            Plain([{"a": [1]}, {1, 2}, Plain(3)]),
            {"a": [2]},
        ]

    def test_a_pickle_that_no_longer_loads_raises(self) -> None:
        """When the class has gone, reading says so."""
        stored = _freeze([Vanished()])[0]
        assert isinstance(_thaw(stored)[0], Vanished)
        try:
            Vanished.here = False
            with pytest.raises(AttributeError, match="the class has gone"):
                _thaw(stored)
        finally:
            Vanished.here = True

    def test_a_stored_form_is_no_value(self) -> None:
        """The wrapped form belongs to the store: as a value it is refused."""
        with pytest.raises(TypeError):
            _freeze(_freeze([1])[0])
