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
import types
import uuid
import weakref
import zoneinfo
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from value_shapes import pickled, shape

from oxicache._native import _freeze, _thaw, _weigh

UTC = dt.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
HOUR = dt.timezone(dt.timedelta(hours=1), "one")
NOON = dt.datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
UUID = uuid.UUID(int=7)


def kind_of(value: object, isolation: Any = "auto") -> str:
    return _freeze(value, isolation)[1]


def round_trip(value: object, isolation: Any = "auto") -> Any:
    return _thaw(_freeze(value, isolation)[0])


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


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
