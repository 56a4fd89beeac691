"""What stored values are said to weigh."""

import sys

import pytest
from value_shapes import Plain

from oxicache._native import _freeze, _weigh


class TestWeights:
    @pytest.mark.parametrize("value", ["x" * 1000, b"x" * 1000, "ä" * 1000, "\u20ac" * 1000, 1 << 8000, 1.5])
    def test_atoms_weigh_what_python_says(self, value: object) -> None:
        """The estimate of a str, bytes, int or float is within 20 bytes of `sys.getsizeof`."""
        assert abs(_freeze(value)[2] - sys.getsizeof(value)) <= 20

    @pytest.mark.parametrize("count", [0, 1, 5, 6, 10, 11, 100, 1000, 100_000])
    def test_dicts_and_lists_weigh_what_python_says(self, count: int) -> None:
        """A tree's estimate is within a half and twice of `sys.getsizeof` over all its parts."""
        value = [{f"key {number} {count}": f"value {number}" for number in range(count)}]
        inner = value[0]
        real = sum(map(sys.getsizeof, [value, inner, *inner, *inner.values()]))
        assert real * 0.5 <= _freeze(value)[2] <= real * 1.6 + 200

    def test_a_pickle_weighs_its_length(self) -> None:
        """A pickled value counts with the bytes of its pickle."""
        weight = _freeze(Plain("x" * 10_000))[2]
        assert 10_000 < weight < 10_300

    def test_a_large_object_met_often_weighs_once(self) -> None:
        """A large string that a list holds a hundred times is held once, and counted once."""
        text = "x" * 10_000
        assert _freeze([text] * 100)[2] < 13_000

    def test_small_objects_of_the_program_weigh_nothing(self) -> None:
        """What many others refer to, such as small ints and True, is not held for this value."""
        assert _freeze([True, None, 0, 1] * 1000)[2] < 33_000

    @pytest.mark.parametrize("value", [1.5, "x" * 100, (1.5, "y"), [1, {"a": 2}], Plain(1)])
    def test_key_and_value_are_weighed_together(self, value: object) -> None:
        """A stored form weighs as much with its key as both do alone."""
        stored, _, weight = _freeze(value)
        assert _weigh(stored, "k" * 100) == weight + _freeze("k" * 100)[2]

    def test_references_weigh_without_their_content(self) -> None:
        """With isolation "none" a container counts by its length."""
        small, large = _freeze([Plain(1)], "none")[2], _freeze([Plain(1)] * 1000, "none")[2]
        assert small < 200
        assert 8000 <= large < 8200
