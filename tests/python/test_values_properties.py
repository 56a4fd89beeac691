"""Isolated values against pickle, which isolates them in LocMemCache: whatever the value, the same comes back."""

import datetime as dt
import zoneinfo
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from value_shapes import pickled, shape

from oxicache._native import _freeze, _thaw

ZONES = st.sampled_from(
    [
        None,
        dt.UTC,
        dt.timezone(dt.timedelta(minutes=-90)),
        zoneinfo.ZoneInfo("Europe/Paris"),
    ]
)


class Text(str):
    __slots__ = ()


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 300), 1 << 300),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(), max_size=8),
    st.binary(max_size=8),
    st.decimals(allow_nan=True),
    st.datetimes(timezones=ZONES, allow_imaginary=True),
    st.dates(),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.uuids(),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9)),
)
# A signalling NaN can't be hashed.
HASHABLE_ATOMS = ATOMS.filter(lambda atom: "sNaN" not in repr(atom))
KEYS = st.recursive(
    HASHABLE_ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)
TREES = st.recursive(
    st.one_of(ATOMS, KEYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=6),
        st.sets(KEYS, max_size=6),
    ),
    max_leaves=30,
)


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """A value whose containers are shared and recursive at random."""
    parts: list[Any] = [draw(st.one_of(HASHABLE_ATOMS, st.builds(Text))) for _ in range(3)]
    open_parts: list[Any] = []
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["list", "dict", "tuple"]))
        if kind == "tuple":
            parts.append(tuple(draw(st.lists(st.sampled_from(parts), max_size=3))))
        else:
            parts.append([] if kind == "list" else {})
            open_parts.append(parts[-1])
    for part in open_parts:
        for at, item in enumerate(draw(st.lists(st.sampled_from(range(len(parts))), max_size=3))):
            if isinstance(part, list):
                part.append(parts[item])
            else:
                part[at] = parts[item]
    return parts[-1]


def change_everywhere(value: Any, seen: set[int]) -> None:
    """Change each container that is reached, the innermost first."""
    if id(value) in seen or not isinstance(value, list | dict | set | tuple):
        return
    seen.add(id(value))
    for item in list(value.values()) if isinstance(value, dict) else list(value):
        change_everywhere(item, seen)
    if isinstance(value, list):
        value.append("changed")
    elif isinstance(value, dict):
        value["changed"] = 1
        value.pop(next(iter(value)))
    elif isinstance(value, set):
        value.add("changed")


def assert_like_pickle(value: Any) -> None:
    expected = shape(pickled(value))
    before = shape(value)
    stored, _, weight = _freeze(value)
    assert shape(value) == before
    assert weight >= 0
    copy = _thaw(stored)
    assert shape(copy) == expected
    change_everywhere(value, set())
    change_everywhere(copy, set())
    assert shape(_thaw(stored)) == expected


class TestLikePickle:
    @given(TREES)
    def test_trees(self, value: Any) -> None:
        """A tree of all known types comes back as from its pickle, and no side sees a change of the other."""
        assert_like_pickle(value)

    @given(graphs())
    def test_graphs(self, value: Any) -> None:
        """Shared and recursive containers come back shared and recursive, exactly as from the pickle."""
        assert_like_pickle(value)

    @given(TREES)
    def test_a_tree_is_not_pickled_without_need(self, value: Any) -> None:
        """Lists and dicts with str keys of what is known are never worth a pickle, when nothing is shared."""
        fresh = pickled({"value": [repr(value), {"inner": [1.5, value is None]}]})
        assert _freeze(fresh)[1] == "tree"
