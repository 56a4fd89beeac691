"""How the Django backend keeps values apart from their owners: what is stored as what, and what comes back."""

import collections
import datetime as dt
import decimal
import enum
import gc
import io
import pickle
import subprocess
import sys
import uuid
import weakref
import zoneinfo
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from value_shapes import Plain, kind_of, pickled, round_trip, shape

from oxicache._native import _freeze, _thaw, set_text_type

UTC = dt.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
HOUR = dt.timezone(dt.timedelta(hours=1), "one")
NOON = dt.datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
UUID = uuid.UUID(int=7)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


IMMUTABLE = {
    "none": None,
    "true": True,
    "one": 1,
    "int beyond 64 bits": -(1 << 200),
    "float": 1.5,
    "nan": float("nan"),
    "minus zero": -0.0,
    "infinity": float("-inf"),
    "empty str": "",
    "str": "text",
    "wide str": "\U0001f40d" * 3,
    "lone surrogate": "\ud800",
    "bytes": b"\0\xff",
    "complex": complex(-0.0, float("nan")),
    "decimal": decimal.Decimal("1.10"),
    "signalling nan": decimal.Decimal("sNaN"),
    "long decimal": decimal.Decimal(1 << 300),
    "date": dt.date(2026, 11, 21),
    "time": dt.time(12, 30, tzinfo=UTC, fold=1),
    "naive datetime": dt.datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001 - naive on purpose
    "datetime in UTC": NOON,
    "datetime in a zone": NOON.astimezone(BERLIN),
    "datetime with an offset": NOON.astimezone(HOUR),
    "timedelta": dt.timedelta(-1, 1, 1),
    "uuid": UUID,
    "range": range(0, -10, -3),
    "empty tuple": (),
    "tuple": (1, "a", (2.0, b"", ())),
    "frozenset": frozenset({1, "a", (1, 2), frozenset()}),
}

TREES = {
    "empty dict": {},
    "empty list": [],
    "empty set": set(),
    "dict": {"a": 1, "b": None},
    "dict in another order": {"b": 1, "a": 2, "c": 3},
    "dict with holes from deleting": {k: k for k in range(20)},
    "dict of dicts": {"a": {"b": {"c": []}}, "d": 1},
    "keys of many types": {None: 1, True: 2, 2: 3, 3.5: 4, "x": 5, b"x": 6, (1, "x"): 7, UUID: 8, NOON: 9},
    "containers under native keys": {1: [], "x": {}, (1, (2, b"")): set(), dt.date.min: [1], NOON: [2]},
    "equal hashes": {-1: [1], -2: [2]},
    "nan keys": {float("nan"): [1], 1: [2]},
    "list": [1, "a", None],
    "list of dicts": [{"id": i, "name": f"n{i}"} for i in range(100)],
    "mixed list": [1, [2], "x", {"y": (3,)}, (4, [5])],
    "tuple with a list": (1, 2, [3], 4),
    "tuple with a list in a tuple": ((1, ([],)), 2),
    "set": {1, "a", (1, frozenset({2}))},
    "large set": set(range(1000)),
    "uuid set": {UUID, uuid.UUID(int=8)},
    "dict of uuids": {UUID: 1, uuid.UUID(int=8): "x"},
}
for number in range(0, 20, 2):
    del TREES["dict with holes from deleting"][number]  # type: ignore[attr-defined]

PICKLED = {
    "instance": Plain([1]),
    "str subclass": Text("a"),
    "int subclass": Number(1),
    "subclass in a dict": {"a": Text("b")},
    "subclass as a key": {Text("a"): 1},
    "enum member": [Colour.RED],
    "namedtuple": Point(1, 2),
    "ordered dict": collections.OrderedDict(a=1),
    "default dict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1]),
    "bytearray": bytearray(b"a"),
    "function": [len],
    "class": {"class": dict},
    "exception": ValueError("x"),
    "uuid keys over containers": {UUID: [1]},
    "an int that a uuid hashes like": {UUID: 1, 7: [1]},
    "decimal keys over containers": {decimal.Decimal(1): [1]},
    "datetime keys in a zone over containers": {NOON.astimezone(BERLIN): [1]},
}


class TestWhatIsStored:
    @pytest.mark.parametrize("value", IMMUTABLE.values(), ids=IMMUTABLE)
    @pytest.mark.parametrize("isolation", ["auto", "pickle", "none"])
    def test_what_cannot_change_is_stored_as_itself(self, value: object, isolation: str) -> None:
        """An exact immutable comes back as the very object, whatever the isolation."""
        stored, kind, _ = _freeze(value, isolation)  # type: ignore[arg-type]
        assert kind == "value"
        assert stored is value
        assert _thaw(stored) is value

    @pytest.mark.parametrize("value", TREES.values(), ids=TREES)
    def test_exact_containers_are_copied(self, value: Any) -> None:
        """A tree of exact containers comes back as its pickle would, container by container a new one."""
        stored, kind, _ = _freeze(value)
        assert kind == "tree"
        first, second = _thaw(stored), _thaw(stored)
        assert first is not value
        assert first is not second
        assert shape(first) == shape(second) == shape(pickled(value))
        assert shape(value) == shape(first)

    @pytest.mark.parametrize("value", PICKLED.values(), ids=PICKLED)
    def test_all_else_is_pickled(self, value: Any) -> None:
        """Subclasses, instances and keys whose lookup runs Python code come back through pickle."""
        stored, kind, _ = _freeze(value)
        assert kind == "pickled"
        assert type(_thaw(stored)) is type(value)
        if not isinstance(value, BaseException):
            assert _thaw(stored) == value

    @pytest.mark.parametrize("value", [*TREES.values(), *PICKLED.values()], ids=[*TREES, *PICKLED])
    def test_isolation_pickle_pickles_what_can_change(self, value: object) -> None:
        """With isolation "pickle" only what cannot change is stored otherwise."""
        assert kind_of(value, "pickle") == "pickled"

    @pytest.mark.parametrize("value", [*TREES.values(), *PICKLED.values()], ids=[*TREES, *PICKLED])
    def test_isolation_none_keeps_the_reference(self, value: object) -> None:
        """With isolation "none" the very object comes back, which others may change."""
        stored, kind, weight = _freeze(value, "none")
        assert kind == "reference"
        assert _thaw(stored) is value
        assert weight > 0

    def test_an_unknown_isolation_is_refused(self) -> None:
        """An isolation that does not exist is a ValueError that names it."""
        with pytest.raises(ValueError, match="deep"):
            _freeze(1, "deep")  # type: ignore[arg-type]

    def test_an_instance_dict_is_copied(self) -> None:
        """A `__dict__`, which shares its keys with others of its class, is copied like any dict."""
        one, other = Plain([1]), Plain(2)
        stored, kind, _ = _freeze(one.__dict__)
        one.value = None
        assert kind == "tree"
        assert _thaw(stored) == {"value": [1]}
        assert other.__dict__ == {"value": 2}

    def test_types_of_datetime_are_told_while_they_are_replaced(self) -> None:
        """Under freezegun, which puts a class of its own into `datetime`, real datetimes are still known."""
        program = (
            "import datetime\n"
            "real, day = datetime.datetime(2026, 1, 1), datetime.date(2026, 1, 1)\n"
            "from freezegun import freeze_time\n"
            "from oxicache._native import _freeze\n"
            "with freeze_time('2026-11-21'):\n"
            "    assert type(datetime.datetime.now()) is not type(real)\n"
            "    print(_freeze((real, day))[1], _freeze(datetime.datetime.now())[1])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split() == ["value", "pickled"]


class Described(str):  # noqa: SLOT000 - what is refused
    """Its instances have attributes."""


class Noted(str):
    __slots__ = ("note",)


class TestText:
    """One subclass of str is declared to be text like any other: Django's SafeString."""

    def test_text_is_stored_as_itself(self) -> None:
        """Instances of the declared class come back as they are, wherever they stand, and are weighed as str."""
        set_text_type(Text)
        try:
            text = Text("<b>" * 100)
            stored, kind, weight = _freeze(text)
            assert kind == "value"
            assert stored is text
            assert abs(weight - sys.getsizeof(str(text))) < 20
            assert kind_of({"html": text, Text("key"): 1}) == "tree"
            assert round_trip({"html": text})["html"] is text
            assert round_trip({Text("key"): [text]}) == {"key": [text]}
        finally:
            set_text_type(None)
        assert kind_of(Text("a")) == "pickled"

    @pytest.mark.parametrize("kind", [Described, Noted, int])
    def test_a_class_whose_instances_can_change_is_refused(self, kind: Any) -> None:
        """A class that is no str, or whose instances have room for more than text, is a TypeError that names it."""
        with pytest.raises(TypeError, match=kind.__name__):
            set_text_type(kind)

    def test_django_marks_text_in_such_a_class(self) -> None:
        """SafeString can be declared."""
        from django.utils.safestring import SafeString, mark_safe

        set_text_type(SafeString)
        try:
            assert kind_of(mark_safe("<b>")) == "value"
        finally:
            set_text_type(None)


class TestZones:
    def test_a_zone_made_from_a_file_is_refused_as_by_pickle(self) -> None:
        """A ZoneInfo that cannot be pickled makes its datetime impossible to store."""
        found = zoneinfo.TZPATH and Path(zoneinfo.TZPATH[0]) / "UTC"
        if not found or not found.exists():
            pytest.skip("no zone files on this machine")
        zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(found.read_bytes()), key="file")
        for _ in range(2):
            with pytest.raises(pickle.PicklingError):
                _freeze([NOON.astimezone(zone)])

    def test_zones_keep_their_identity(self) -> None:
        """A datetime's zone is the same object afterwards, on which comparisons of datetimes depend."""
        moment = NOON.astimezone(zoneinfo.ZoneInfo("Asia/Tokyo"))
        assert kind_of([moment]) == "tree"
        assert round_trip([moment])[0].tzinfo is moment.tzinfo

    def test_a_zone_of_another_class_is_pickled(self) -> None:
        """What a tzinfo of the caller's own refers to is unknown, so its datetime is pickled."""
        assert kind_of(NOON.replace(tzinfo=Zone())) == "pickled"
        assert kind_of([dt.time(1, tzinfo=Zone())]) == "pickled"


class Zone(dt.tzinfo):
    def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)


class TestIndependence:
    def test_the_owner_changes_what_was_stored(self) -> None:
        """Changes of the original after storing are not seen by readers, at any level."""
        value: Any = {"a": [1, {"b": {2}}], "t": ([3], 4)}
        before = shape(value)
        stored = _freeze(value)[0]
        value["a"][1]["b"].add(5)
        value["a"].append(6)
        value["t"][0].clear()
        value["new"] = 1
        assert shape(_thaw(stored)) == before

    def test_a_reader_changes_what_was_read(self) -> None:
        """Changes of one copy are seen neither by the next reader nor by the owner."""
        value: Any = {"a": [1, {"b": {2}}], "t": ([3], 4)}
        before = shape(value)
        stored = _freeze(value)[0]
        copy = _thaw(stored)
        copy["a"][1]["b"].clear()
        copy["a"].clear()
        copy["t"][0].append(1)
        copy.clear()
        assert shape(_thaw(stored)) == shape(value) == before

    def test_nobody_reaches_a_stored_copy_through_the_collector(self) -> None:
        """The stored containers are not among the collector's objects, so nothing can change them."""
        mark = uuid.uuid4()
        stored, kind, _ = _freeze([{"a": [mark, {mark}]}, [mark]])
        assert kind == "tree"
        assert [found for found in gc.get_referrers(mark) if type(found) in (dict, list, set)] == []
        assert _thaw(stored) == [{"a": [mark, {mark}]}, [mark]]

    def test_copies_are_collected_in_cycles(self) -> None:
        """A copy that is made part of a cycle is garbage like any other."""
        stored = _freeze({"a": {"b": 1}, "s": {1}, "l": [1]})[0]
        copy = _thaw(stored)
        canary = Canary()
        copy["a"]["self"] = copy
        copy["l"].append([copy["l"], canary])
        gone = weakref.ref(canary)
        del canary, copy
        gc.collect()
        assert gone() is None

    def test_flat_copies_are_collected_in_cycles(self) -> None:
        """A copy without containers is garbage like any other once it is made part of a cycle."""
        copy = round_trip({"a": 1})
        canary = Canary()
        copy["self"], copy["canary"] = copy, canary
        gone = weakref.ref(canary)
        del canary, copy
        gc.collect()
        assert gone() is None


class Canary:
    pass
