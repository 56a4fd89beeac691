"""Attributes of rows that are read in place: whatever was learnt of a class, a hit is the instance's row as of now."""

import copy
import gc
import pickle
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from fake_rows import Counted, Model, State, rows

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture(autouse=True)
def resolver() -> Iterator[None]:
    """`Model` and what derives from it are models."""
    with rows():
        yield


@pytest.fixture
def made() -> Any:
    """A class that nobody learnt yet."""
    return type("Made", (Model,), {})


def hit(counted: Counted, instance: Any) -> Any:
    """What a call gives once there is an entry, and the class was learnt."""
    for _ in range(3):
        value = counted(instance)
    return value


def with_dict(instance: Any) -> Any:
    """An instance whose attributes were moved to a dict of its own."""
    assert instance.__dict__
    return instance


def with_more(instance: Any) -> Any:
    """An instance with more attributes than its class has places for."""
    for number in range(60):
        setattr(instance, f"attribute{number}", number)
    return instance


def emptied(instance: Any) -> Any:
    """An instance whose dict was replaced."""
    instance.__dict__ = dict(instance.__dict__)
    return instance


def with_odd_keys(instance: Any) -> Any:
    """An instance whose dict has keys that are compared in Python."""

    class Odd(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            gc.collect()
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    items = {Odd(name): value for name, value in instance.__dict__.items()}
    instance.__dict__.clear()
    instance.__dict__.update(items)
    return instance


SHAPES: list[Callable[[Any], Any]] = [
    lambda instance: instance,
    with_dict,
    with_more,
    emptied,
    with_odd_keys,
    copy.copy,
    copy.deepcopy,
]
IDS = ["plain", "dict", "more", "emptied", "odd keys", "copy", "deepcopy"]


class TestShapes:
    @pytest.mark.parametrize("shape", SHAPES, ids=IDS)
    @pytest.mark.parametrize("first", SHAPES, ids=IDS)
    def test_instances_of_every_shape_hit(self, made: Any, first: Any, shape: Any) -> None:
        """However an instance keeps its attributes, and whichever came first, it is its row."""
        counted = Counted()
        for pk in (1, 2, 1):
            assert hit(counted, first(made(pk))) == f"{pk} ()"
            assert hit(counted, shape(made(pk))) == f"{pk} ()"
        assert len(counted.calls) == 2

    @pytest.mark.parametrize("shape", SHAPES, ids=IDS)
    def test_what_changes_on_the_instance_is_seen(self, made: Any, shape: Any) -> None:
        """Primary key, database, `adding` and the whole state may change from one call to the next."""
        counted = Counted(func=lambda self: (self.id, self._state.db))
        instance = shape(made(1))
        assert hit(counted, instance) == (1, "default")
        instance.id = 2
        assert hit(counted, instance) == (2, "default")
        instance._state.db = "other"
        assert hit(counted, instance) == (2, "other")
        instance._state = State()
        instance._state.db, instance._state.adding = "third", False
        assert hit(counted, instance) == (2, "third")
        instance._state.adding = True
        assert counted.key(instance).row is None
        assert len(counted.calls) == 4
        hit(counted, instance)
        assert len(counted.calls) == 5

    def test_attributes_may_be_missing(self, made: Any) -> None:
        """A state that never set `db` has the class's, and an instance without a state is itself."""
        counted = Counted()
        hit(counted, made(1))
        fresh, bare = made(1), made(1)
        fresh._state = State()
        del bare._state
        for instance in (fresh, bare):
            before = len(counted.calls)
            hit(counted, instance)
            assert len(counted.calls) == before + 1

    def test_attributes_may_be_set_in_any_order(self, made: Any) -> None:
        """Places are the class's, not the instance's."""
        counted = Counted()
        for order in (("id", "_state"), ("_state", "id")):
            instance = made.__new__(made)
            instance.first = "something"
            for name in order:
                setattr(instance, name, getattr(Model(1), name))
            hit(counted, instance)
        assert len(counted.calls) == 1


class TestClasses:
    def test_a_class_may_change_after_it_was_learnt(self, made: Any) -> None:
        """A descriptor that is put on the class later is in the way from then on, and no longer once it is gone."""
        counted = Counted()
        instance = made(1)
        assert hit(counted, instance) == "1 ()"
        made.id = property(lambda _self: 5)
        assert hit(counted, instance) == "5 ()"
        del made.id
        assert hit(counted, instance) == "1 ()"
        made.__getattribute__ = lambda self, name: 7 if name == "id" else object.__getattribute__(self, name)
        assert hit(counted, instance) == "7 ()"
        del made.__getattribute__
        for number in range(100):  # more often than anybody learns
            made.changed = number
            assert counted(instance) == "1 ()"
        assert len(counted.calls) == 3

    def test_a_base_may_change_after_it_was_learnt(self, made: Any) -> None:
        """What is in the way may stand on any base."""
        base = type("Base", (Model,), {})
        child = type("Child", (base,), {})
        counted = Counted()
        assert hit(counted, child(1)) == "1 ()"
        base.id = property(lambda _self: 5, lambda _self, _value: None)  # type: ignore[attr-defined]
        assert hit(counted, child(1)) == "5 ()"

    def test_a_state_of_another_class_is_read_too(self, made: Any) -> None:
        """What is learnt of one state's class is not taken for another's."""
        counted = Counted()

        class Other:
            def __init__(self) -> None:
                self.first, self.db, self.adding = "no database", "other", False

        for _ in range(3):
            for pk in (1, 2):
                odd = made(pk)
                odd._state = Other()
                hit(counted, made(pk))
                hit(counted, odd)
        assert len(counted.calls) == 4
        found = [counted.key(args[0]).row for args in counted.calls]
        assert {row[1] for row in found if row} == {"default", "other"}

    def test_samples_are_never_noticed(self) -> None:
        """Neither `__init__`, `__new__`, `__setattr__` nor `__del__` of a model is called to learn its places."""
        seen: list[str] = []

        class Noisy(Model):
            def __new__(cls, *_args: Any) -> Self:
                seen.append("new")
                return super().__new__(cls)

            def __init__(self, pk: Any) -> None:
                seen.append("init")
                super().__init__(pk)

        class Dying(Noisy):
            def __del__(self) -> None:
                seen.append("del")

        class Setting(Noisy):
            def __setattr__(self, name: str, value: Any) -> None:
                seen.append(f"set {name}")
                super().__setattr__(name, value)

        counted = Counted()
        for kind in (Noisy, Dying, Setting):
            instance = kind(1)
            seen.clear()
            hit(counted, instance)
            assert seen == []

    @pytest.mark.parametrize("base", [dict, list, int, Exception, str])
    def test_classes_with_other_layouts_are_read_as_usual(self, base: type) -> None:
        """A model that is also a dict, a number or an exception is a model."""
        mixed: Any = type("Mixed", (Model, base), {"__hash__": object.__hash__})
        instance = mixed()
        instance.id, instance._state = 1, Model(1)._state
        counted = Counted()
        assert hit(counted, instance) == "1 ()"
        assert len(counted.calls) == 1

    def test_classes_with_slots_are_read_as_usual(self) -> None:
        """A slot is a data descriptor on the class."""

        class Slotted(Model):
            __slots__ = ("id",)

        class Bare:
            __slots__ = ("__weakref__", "_state", "id")

        counted = Counted()
        assert hit(counted, Slotted(1)) == "1 ()"
        assert counted.key(Slotted(1)).row == (Slotted, "default", 1)
        hit(counted, Bare())

    def test_an_instance_may_change_its_class(self, made: Any) -> None:
        """The row is that of the class that the instance has now."""
        counted = Counted(func=type)
        other: Any = type("Other", (Model,), {})
        instance = made(1)
        assert hit(counted, instance) is made
        instance.__class__ = other
        assert hit(counted, instance) is other
        assert hit(counted, other(1)) is other
        assert len(counted.calls) == 2

    def test_unpickled_instances_hit(self) -> None:
        """An instance that was filled through its `__dict__` is its row."""
        counted = Counted()
        hit(counted, Model(1))
        assert hit(counted, pickle.loads(pickle.dumps(Model(1)))) == "1 ()"  # noqa: S301 - made on the spot
        assert len(counted.calls) == 1


def test_a_key_of_the_state_that_replaces_the_primary_key() -> None:
    """Code that runs while the state is read takes away no key that was read before: another row would be answered."""
    counted = Counted()
    instance = Model(1_000_001)
    made: list[int] = []

    class Odd(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            instance.__dict__["id"] = 5
            made.extend(int("777777") for _ in range(50))  # one of them where the key was
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    for pk in (777_777, 777_777, 5, 5):
        counted(Model(pk))
    items: dict[str, Any] = {Odd(name): value for name, value in instance._state.__dict__.items()}
    instance._state.__dict__.clear()
    instance._state.__dict__.update(items)
    assert counted(instance) == "5 ()"
