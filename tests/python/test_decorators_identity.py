"""Whose entry it is: `identity`, objects that die, classes that differ, and the registry of caches."""

import copy
import dataclasses
import gc
import pickle
import weakref
from abc import ABC, abstractmethod
from typing import Any

import pytest

from oxicache import cache_manager, cached_function, cached_method, ttl_cached_property


class Counting:
    """Counts what its decorated members compute."""

    def __init__(self) -> None:
        self.computed: list[Any] = []

    @ttl_cached_property
    def prop(self) -> int:
        self.computed.append("prop")
        return len(self.computed)

    @cached_method
    def method(self, first: int) -> int:
        self.computed.append(first)
        return len(self.computed)


@pytest.fixture
def obj() -> Counting:
    return Counting()


class TestIdentity:
    def test_instances_do_not_share(self) -> None:
        """Even equal ones."""

        @dataclasses.dataclass(frozen=True)
        class Point:
            x: int

            @cached_method
            def me(self) -> int:
                return id(self)

        a, b = Point(1), Point(1)
        assert a == b
        assert a.me() == id(a)
        assert b.me() == id(b)

    def test_an_address_that_is_used_again_is_another_object(self) -> None:
        """An object that dies takes its entries along; its successor at the same address computes."""

        class Plain:
            def __init__(self, number: int) -> None:
                self.number = number

            @ttl_cached_property
            def prop(self) -> int:
                return self.number

            @cached_method
            def method(self) -> int:
                return self.number

        addresses = set()
        for number in range(1000):
            obj = Plain(number)
            addresses.add(id(obj))
            assert (obj.prop, obj.method()) == (number, number)
        assert len(addresses) < 1000, "addresses are used again, or this tests nothing"
        del obj
        gc.collect()
        assert len(Plain.prop.cache) == len(Plain.method.cache) == 0

    def test_slots_without_weak_references_hold_their_object(self) -> None:
        """The entry keeps it alive, so that its address cannot be another's."""

        class Slotted:
            __slots__ = ("number",)

            def __init__(self, number: int) -> None:
                self.number = number

            @ttl_cached_property
            def prop(self) -> int:
                return self.number

            @cached_method
            def method(self) -> int:
                return self.number

        for number in range(1000):
            obj = Slotted(number)
            assert (obj.prop, obj.method()) == (number, number)
        assert len(Slotted.prop.cache) == 1000

    def test_slots_with_weak_references_do_not(self) -> None:
        """Their entries go with them."""

        class Slotted:
            __slots__ = ("__weakref__",)

            @cached_method
            def method(self) -> int:
                return 1

        assert Slotted().method() == 1
        gc.collect()
        assert len(Slotted.method.cache) == 0

    def test_unhashable_classes_are_served(self) -> None:
        """The instance's own `__eq__` and `__hash__` are not asked."""

        class Equal:
            __hash__ = None  # type: ignore[assignment]

            def __eq__(self, other: object) -> bool:
                raise AssertionError

            @cached_method
            def method(self) -> int:
                return id(self)

        a, b = Equal(), Equal()
        assert [a.method(), b.method(), a.method()] == [id(a), id(b), id(a)]

    def test_class_identity_shares_among_instances(self) -> None:
        """Subclasses have their own."""

        class View:
            @cached_method(identity="class")
            def method(self) -> str:
                calls.append(type(self))
                return type(self).__name__

        class Sub(View):
            pass

        calls: list[type] = []
        assert [each().method() for each in (View, View, Sub, Sub)] == ["View", "View", "Sub", "Sub"]
        assert calls == [View, Sub]

    def test_a_callable_says_who_shares(self) -> None:
        """Those for whom it returns the same."""

        class Row:
            def __init__(self, pk: Any) -> None:
                self.pk = pk

            @ttl_cached_property(identity=lambda self: self.pk)
            def prop(self) -> int:
                calls.append(self.pk)
                return len(calls)

        calls: list[Any] = []
        assert [Row(pk).prop for pk in (1, 1, 2, "1", True)] == [1, 1, 2, 3, 4]

    def test_row_identity_wants_rows(self) -> None:
        """An instance that is no row of any database has no value there; the error names its class."""

        class Plain:
            @cached_method(identity="row")
            def method(self) -> int:
                return 1

        with pytest.raises(TypeError, match="Plain"):
            Plain().method()

    def test_an_override_may_call_super(self) -> None:
        """Base and subclass have a cache each."""

        class Base:
            @ttl_cached_property
            def prop(self) -> str:
                return "base"

            @cached_method
            def method(self, x: int) -> str:
                return f"base {x}"

        class Sub(Base):
            @ttl_cached_property
            def prop(self) -> str:
                return "sub " + super().prop

            @cached_method
            def method(self, x: int) -> str:
                return "sub " + super().method(x)

        sub = Sub()
        for _ in range(2):
            assert (sub.prop, sub.method(1)) == ("sub base", "sub base 1")

    def test_copies_of_an_instance_are_other_instances(self, obj: Counting) -> None:
        """Copying and pickling neither carry entries along nor fail for them."""
        obj.method(1)
        assert obj.prop == 2
        for other in (copy.copy(obj), copy.deepcopy(obj), pickle.loads(pickle.dumps(obj))):  # noqa: S301 - our own bytes
            assert vars(other).keys() == {"computed"}
            other.computed = []
            assert other.prop == 1

    def test_classmethods_and_staticmethods_are_decorated_below(self) -> None:
        """`@classmethod` above `@cached_method`, `@staticmethod` above `@cached_function`."""

        class Stacked:
            @classmethod
            @cached_method
            def of_class(cls, x: int) -> Any:
                calls.append(x)
                return cls, x

            @staticmethod
            @cached_function
            def of_none(x: int) -> int:
                calls.append(x)
                return x

        class Sub(Stacked):
            pass

        calls: list[int] = []
        assert Stacked.of_class(1) == Stacked().of_class(1) == (Stacked, 1)
        assert Sub.of_class(1) == (Sub, 1)
        assert Stacked.of_none(2) == Stacked().of_none(2) == 2
        assert calls == [1, 1, 2]

    def test_an_abstract_member_stays_abstract(self) -> None:
        """A class that lacks an override cannot be made."""

        class Base(ABC):
            @ttl_cached_property
            @abstractmethod
            def prop(self) -> int: ...

            @cached_method
            @abstractmethod
            def method(self) -> int: ...

        assert Base.__abstractmethods__ == {"prop", "method"}
        with pytest.raises(TypeError, match="abstract"):
            Base()  # type: ignore[abstract]


class TestRegistry:
    def test_each_has_a_cache_of_its_own_by_name(self) -> None:
        """`module.qualname`, or the name that was given."""
        assert Counting.method.cache.name == f"{__name__}.Counting.method"
        assert cache_manager._caches[f"{__name__}.Counting.prop"] is Counting.prop.cache
        named: Any = cached_function(name="a name")(lambda: 1)
        assert named.cache.name == "a name"
        assert "a name" in cache_manager

    def test_the_same_qualname_does_not_share(self) -> None:
        """Classes made by one function are different classes."""

        def make(value: int) -> Any:
            class Local:
                @cached_method(identity=lambda self: 0)
                def method(self) -> int:
                    return value

            return Local

        one, two = make(1), make(2)
        assert (one().method(), two().method(), one().method()) == (1, 2, 1)
        assert one.method.cache is not two.method.cache
        assert one.method.cache.name != two.method.cache.name

    def test_classes_made_in_functions_do_not_leak(self) -> None:
        """With its last reference a class, its caches and their names are gone."""
        gc.collect()
        before = cache_manager.names()

        def make() -> list[Any]:
            class Local:
                @ttl_cached_property
                def prop(self) -> int:
                    return 1

                @cached_method
                def method(self) -> int:
                    return 1

                @cached_method
                async def amethod(self) -> int:
                    return 1

                @ttl_cached_property
                async def aprop(self) -> int:
                    return 1

            local = Local()
            assert local.prop == local.method() == 1
            assert len(cache_manager) == len(before) + 4
            return [weakref.ref(Local), weakref.ref(Local.method.cache)]

        references = make()
        gc.collect()
        assert [reference() for reference in references] == [None, None]
        assert cache_manager.names() == before

    def test_a_decorated_function_is_pickled_by_name(self) -> None:
        """As functions are."""
        assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level  # noqa: S301 - our own bytes
        assert copy.deepcopy(at_module_level) is at_module_level


@cached_function
def at_module_level() -> int:
    return 1
