"""Spelt keys: the documented strings to the letter, no two values in one key, long ones that patterns still find."""

import datetime as dt
import enum
import zoneinfo
from collections import OrderedDict, defaultdict, namedtuple
from decimal import Decimal
from typing import Any
from uuid import UUID

import child_process
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxicache._native import KeyPattern
from oxicache.keys import (
    escape,
    make_key,
    match_segments,
    normal_pattern,
    spell,
    split_key,
    unescape,
)

Point = namedtuple("Point", "x y")  # noqa: PYI024 -- the kind whose equality is the tuple's


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Text(str):
    __slots__ = ()


class Order:
    """What Django's models have, as far as a key asks for it."""

    class _meta:  # noqa: N801 -- Django's name
        label = "shop.Order"

    def __init__(self, pk: Any) -> None:
        self.pk = pk


class TestDocumented:
    @pytest.mark.parametrize(
        ("parts", "params", "prefix", "wanted"),
        [
            (("materials", "list"), None, "thebot:production:", "thebot:production::materials:list"),
            (("search",), {"query": "python", "page": 1}, "", "search:page=1:query=python"),
            (("user_42", "notifications"), None, "", "user_42:notifications"),
            (
                ("dashboard", "metrics"),
                None,
                "tenant:1:client:2:bu:3",
                "tenant:1:client:2:bu:3:dashboard:metrics",
            ),
            (("a", None, True, False, 1, -2, 1.0, 0.5), None, "", "a:none:True:False:1:-2:1.0:0.5"),
            (("naïve", "日本"), {"größe": "x"}, "", "naïve:日本:größe=x"),
            (("Schd_I_TourJobForm", "people-1.x", "a/b,c"), None, "", "Schd_I_TourJobForm:people-1.x:a/b,c"),
        ],
    )
    def test_plain_values_are_what_str_says(
        self, parts: tuple[Any, ...], params: dict[str, Any] | None, prefix: str, wanted: str
    ) -> None:
        """The keys that documents 002 and 004 print come out to the letter."""
        assert make_key(*parts, params=params, prefix=prefix) == wanted

    def test_six_values_are_six_keys(self) -> None:
        """1, True, 1.0, "1", None and "none" never share an entry."""
        values = [1, True, 1.0, "1", None, "none"]
        assert [spell(value) for value in values] == ["1", "True", "1.0", "~1", "none", "~none"]


class TestSpelling:
    @pytest.mark.parametrize(
        ("value", "wanted"),
        [
            ("a:b", "a%3Ab"),
            ("page=1", "page%3D1"),
            ("50 %", "50%20%25"),
            ("a*[b]?\\", "a%2A%5Bb%5D%3F%5C"),
            ("a\nb\x7f\x85\u2028", "a%0Ab%7F%C2%85%E2%80%A8"),
            ("\ud800", "%ED%A0%80"),
            ("~x", "~~x"),
            ("", ""),
            ("-1.5e+20", "~-1.5e+20"),
            ("inf", "~inf"),
            ("1x", "1x"),
            ("\u0661", "\u0661"),
            (Text("plain"), "plain"),
            (UUID(int=1), "~uuid(00000000-0000-0000-0000-000000000001)"),
            (Decimal("1.10"), "~decimal(1.10)"),
            (dt.date(2026, 11, 21), "~date(2026-11-21)"),
            (dt.datetime(2026, 11, 21, 9, 5, tzinfo=dt.UTC), "~datetime(2026-11-21T09%3A05%3A00+00%3A00)"),
            (dt.time(9, 5), "~time(09%3A05%3A00)"),
            (dt.timedelta(days=1, microseconds=2), "~timedelta(1,0,2)"),
            (b"\x00\xff", "~bytes(00ff)"),
            (Right.READ, f"~enum({__name__}.Right,READ)"),
            ((), "~tuple()"),
            (("",), "~tuple(~)"),
            ((1, "1", "a,b"), "~tuple(1,~1,a%2Cb)"),
            ([("x", None)], "~list(~tuple(x,none))"),
            ({"b": 1, "a": [2]}, "~dict(a=~list(2),b=1)"),
            ({2, 1}, "~set(1,2)"),
            (frozenset("ba"), "~frozenset(a,b)"),
            (Order(7), "~row(shop.Order,7)"),
            (2**5000, f"~int({hex(2**5000)})"),
        ],
        ids=ascii,
    )
    def test_a_value_of_each_type(self, value: Any, wanted: str) -> None:
        """What is no plain value is marked with its type; what separates or matches is escaped."""
        assert spell(value) == wanted

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            ((1, 2), [1, 2]),
            ((1, 2), Point(1, 2)),
            ({1, 2}, frozenset({1, 2})),
            ({"a": 1}, defaultdict(int, a=1)),
            (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
            ({1: "x"}, {"1": "x"}),
            (Level.LOW, 1),
            (Level.LOW, Colour.RED),
            (Right.READ, Right.WRITE),
            (Right(0), Right.READ),
            (0.0, -0.0),
            (dt.datetime(2026, 1, 1), dt.date(2026, 1, 1)),  # noqa: DTZ001 -- naive on purpose
            (dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, fold=1)),  # noqa: DTZ001 -- as above
            (
                dt.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
                dt.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
            ),
            (UUID(int=1), str(UUID(int=1))),
            (b"a", "a"),
            (Order(1), Order("1")),
            (Order(1), "~row(shop.Order,1)"),
            ({"a": 1}, "~dict(a=1)"),
        ],
        ids=ascii,
    )
    def test_values_that_are_not_one_another(self, left: Any, right: Any) -> None:
        """Equal or alike for Python, another value for a reader: two keys."""
        assert spell(left) != spell(right)

    def test_a_dict_and_a_set_have_no_order(self) -> None:
        """Equal contents are one key, in whichever order they were put together."""
        assert spell({"a": 1, "b": 2}) == spell({"b": 2, "a": 1})
        assert make_key("x", params={"a": 1, "b": 2}) == make_key("x", params=[("b", 2), ("a", 1)])

    def test_the_same_arguments_apart_are_other_keys(self) -> None:
        """Document 002's builder gave each of these pairs one key."""
        assert make_key("a:b") != make_key("a", "b")
        assert make_key("a", None) != make_key("a", "none")
        assert make_key("a", True) != make_key("a", "True")
        assert make_key("search", params={"page": 1}) != make_key("search", "page=1")
        assert make_key("a", "") != make_key("a")

    def test_every_value_of_a_repeated_parameter_counts(self) -> None:
        """Pairs keep the order of those with one name: ?a=1&a=2 is neither ?a=2 nor ?a=2&a=1."""
        spelt = make_key("x", params=[("b", "c"), ("a", "1"), ("a", "2")])
        assert spelt == "x:a=~1:a=~2:b=c"

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (object(), r"part 2 is a object, which cannot be part of a key; pass its id"),
            ([1, {"a": object}], r"part 2 is a type, which cannot"),
            (lambda: 1, r"part 2 is a function"),
            (Order(None), r"part 2 is an unsaved shop.Order, which has no primary key"),
        ],
    )
    def test_what_cannot_be_keyed_is_refused(self, value: Any, message: str) -> None:
        """TypeError names the part and its type; nothing is ever keyed by its address."""
        with pytest.raises(TypeError, match=message):
            make_key("a", value)

    def test_a_parameter_that_cannot_be_keyed_is_named(self) -> None:
        """The message says which one, and that names are text."""
        with pytest.raises(TypeError, match=r"params\['who'\] is a object"):
            make_key("a", params={"who": object()})
        with pytest.raises(TypeError, match="the names of params must be str, not 1"):
            make_key("a", params={1: 2})  # type: ignore[dict-item]
        with pytest.raises(
            TypeError, match="params must be a mapping, or pairs of a name and a value, not 'a=1'"
        ):
            make_key("a", params="a=1")  # type: ignore[arg-type]

    def test_what_holds_itself_is_refused(self) -> None:
        """RecursionError names the part and the limit."""
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(RecursionError, match="part 1 is nested deeper than 64 levels"):
            make_key(loop)

    def test_a_key_of_nothing_is_refused(self) -> None:
        """A prefix alone is whatever has it, and no entry."""
        with pytest.raises(ValueError, match="a key needs a part or a parameter"):
            make_key(prefix="tenant:1")


# ---------------------------------------------------------------- properties

TEXTS = st.one_of(
    st.text(st.characters(), max_size=6),
    st.text("~:=%,()[]*? 1a.e+-\\", max_size=6),
    st.sampled_from(["none", "None", "True", "1", "1.0", "nan", "~", "~1", "page=1", "~tuple(1)"]),
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 5000), 1 << 5000),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=4),
    st.decimals(allow_nan=False),
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC, zoneinfo.ZoneInfo("Europe/Paris")])),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([*Colour, *Level, *Right]),
)
HASHABLE = st.recursive(
    ATOMS, lambda inner: st.one_of(st.tuples(inner), st.frozensets(inner, max_size=3)), max_leaves=3
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
    max_leaves=8,
)
PARTS = st.lists(VALUES, min_size=1, max_size=4)
PARAMS = st.dictionaries(TEXTS, VALUES, max_size=3)
NO_LIMIT = 10**9


def typed(value: Any) -> Any:
    """A value beside its type, all the way down; equal only where nothing tells two apart."""
    kind = type(value).__qualname__
    if isinstance(value, dict):
        return kind, frozenset((typed(key), typed(item)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(typed, value))
    if isinstance(value, list | tuple):
        return kind, tuple(map(typed, value))
    if isinstance(value, dt.datetime | dt.time):
        return kind, value.isoformat(), repr(value.tzinfo), value.fold
    return kind, repr(value)


class TestProperties:
    @given(st.tuples(PARTS, PARAMS), st.tuples(PARTS, PARAMS))
    def test_keys_are_equal_for_equal_values_only(self, left: Any, right: Any) -> None:
        """Whatever parts and params: one key if and only if they are the same values of the same types."""
        spelt = [make_key(*parts, params=params, limit=NO_LIMIT) for parts, params in (left, right)]
        assert (spelt[0] == spelt[1]) == ([typed(side) for side in left] == [typed(side) for side in right])

    @given(VALUES, VALUES)
    def test_nothing_inside_a_container_reads_as_its_frame(self, left: Any, right: Any) -> None:
        """Two lists of two values are one key if and only if the values are the same."""
        assert (spell([left, right]) == spell([right, left])) == (typed(left) == typed(right))
        assert spell([left]) not in {spell([]), spell((left,)), spell([left, left])}

    @given(TEXTS)
    def test_escaping_is_undone(self, text: str) -> None:
        """unescape(escape(text)) is the text, and what is escaped holds no separator and no wildcard."""
        spelt = escape(text)
        assert unescape(spelt) == text
        assert not set(spelt) & set(":=*?[]\\ ")

    @given(PARTS, PARAMS, st.integers(35, 250))
    def test_keys_are_bounded(self, parts: list[Any], params: dict[str, Any], limit: int) -> None:
        """No key is longer than its limit; two that were cut are equal only if they were before."""
        whole = make_key(*parts, params=params, limit=NO_LIMIT)
        cut = make_key(*parts, params=params, limit=limit)
        assert len(cut) <= limit
        assert (cut == whole) == (len(whole) <= limit)
        assert cut != make_key(*parts, "more", params=params, limit=limit)

    @given(st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=5), TEXTS)
    def test_a_cut_key_is_still_found_by_its_start(self, start: list[str], text: str) -> None:
        """Globs and whole segments of what was kept match; the prefix of a scope is kept."""
        key = make_key(*start, text * 99, "x" * 200, prefix="tenant:1")
        assert len(key) <= 200
        globs = normal_pattern(":".join(start), "tenant:1")
        assert KeyPattern(f"tenant:1:{':'.join(start)}:*").matches(key)
        assert any(KeyPattern(glob).matches(key) for glob in globs)
        assert match_segments(":".join(start), key)
        assert split_key(key).segments[: 2 + len(start)] == ("tenant", "1", *start)
        assert split_key(key).digest is not None


def spell_much() -> None:
    """Print keys whose parts are hashed by PYTHONHASHSEED, in a process of their own."""
    words = [f"word-{number}" for number in range(50)]
    print(make_key(set(words), frozenset(words), dict.fromkeys(words), limit=NO_LIMIT))
    print(make_key(set(words), [UUID(int=1), Colour.RED], params=dict.fromkeys(words, 1)))


def test_keys_are_the_same_in_every_process() -> None:
    """PYTHONHASHSEED, which orders sets, changes nothing: a worker finds what another has stored."""
    seen = {child_process.check_call(spell_much, env={"PYTHONHASHSEED": seed}) for seed in ("0", "1", "4242")}
    assert len(seen) == 1
