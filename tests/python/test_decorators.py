"""`cached_function`, `cached_method`, `ttl_cached_property` and `get_or_compute`: whose entry, which key, which errors."""

import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from loads import PATIENCE, EngineTime, Load, driven_time, together, until, waiters_of

import oxicache
from oxicache import (
    TTLCache,
    cache_manager,
    cached_function,
    cached_method,
    get_or_compute,
    ttl_cached_property,
)


@pytest.fixture
def time() -> Iterator[EngineTime]:
    with driven_time() as time:
        yield time


class Counting:
    """Counts what its decorated members compute."""

    def __init__(self) -> None:
        self.computed: list[Any] = []

    @ttl_cached_property(ttl=10, max_size=50)
    def prop(self) -> int:
        """The property's docstring."""
        self.computed.append("prop")
        return len(self.computed)

    @cached_method(ttl=10, max_size=50)
    def method(self, first: Any, second: Any = 2, *rest: Any, third: Any = 3, **more: Any) -> int:
        """The method's docstring."""
        self.computed.append((first, second, rest, third, more))
        return len(self.computed)


@pytest.fixture
def obj() -> Counting:
    return Counting()


class TestProperty:
    def test_it_is_computed_once_per_ttl(self, time: EngineTime, obj: Counting) -> None:
        """Reads within the ttl give the value; after it, it is computed again."""
        assert (obj.prop, obj.prop) == (1, 1)
        time.advance(10)
        assert (obj.prop, obj.prop) == (2, 2)

    def test_del_forgets_it(self, obj: Counting) -> None:
        """The next read computes; deleting what was never read is no error."""
        del obj.prop
        assert obj.prop == 1
        del obj.prop
        assert obj.prop == 2

    def test_assignment_is_refused(self, obj: Counting) -> None:
        """AttributeError, as with a property that has no setter."""
        with pytest.raises(AttributeError):
            obj.prop = 5  # type: ignore[misc, assignment]

    def test_it_is_a_property_to_those_who_ask(self) -> None:
        """On the class it is itself: a property with a getter, its docstring and its name."""
        prop: Any = Counting.prop
        assert isinstance(prop, property)
        assert prop.__doc__ == "The property's docstring."
        assert prop.fget.__name__ == prop.__name__ == "prop"
        assert (prop.fset, prop.fdel) == (None, None)
        assert inspect.getattr_static(Counting, "prop") is prop

    def test_an_exception_is_not_kept(self) -> None:
        """It is raised each time."""
        load = Load(ValueError("no"))

        class Failing:
            @ttl_cached_property
            def prop(self) -> Any:
                return load()

        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                _ = Failing().prop
        assert load.calls == 2


class TestMethod:
    def test_every_spelling_of_a_call_is_one_call(self, obj: Counting) -> None:
        """Positional or by keyword, in any order, a default given or left out."""
        spellings: list[Callable[[], int]] = [
            lambda: obj.method(1),
            lambda: obj.method(1, 2),
            lambda: obj.method(1, second=2),
            lambda: obj.method(second=2, first=1),
            lambda: obj.method(first=1),
            lambda: Counting.method(obj, 1),
        ]
        assert [call() for call in spellings] == [1] * len(spellings)

    def test_other_arguments_are_other_calls(self, obj: Counting) -> None:
        """Whatever differs, differs."""
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            ((1,), {}),
            ((2,), {}),
            ((1, 3), {}),
            ((1, 2, 3), {}),
            ((1,), {"third": 4}),
            ((1,), {"fourth": 3}),
            ((1,), {"fourth": 3, "fifth": 4}),
            ((("first", 1),), {}),
        ]
        results = [obj.method(*args, **kwargs) for args, kwargs in calls]
        assert results == list(range(1, len(calls) + 1))
        assert [obj.method(*args, **kwargs) for args, kwargs in calls] == results
        assert obj.method(1, fifth=4, fourth=3) == obj.method(1, fourth=3, fifth=4)

    def test_types_count(self, obj: Counting) -> None:
        """1, True, 1.0, "1", None, "None", -1 and -2 are eight keys, also inside of containers."""
        values: list[Any] = [1, True, 1.0, "1", None, "None", -1, -2, b"1", 0, False, 0.0, ""]
        values += [[value] for value in values] + [(value,) for value in values]
        results = [obj.method(value) for value in values]
        assert len(set(results)) == len(values)
        assert [obj.method(value) for value in values] == results
        assert hash(-1) == hash(-2), "the point of these two"

    def test_containers_are_keyed_by_content(self, obj: Counting) -> None:
        """Equal lists, dicts and sets are one key, whatever the order of a dict or a set; kinds differ."""
        assert obj.method([1, {"a": {2, 3}}]) == obj.method([1, {"a": {3, 2}}]) == 1
        assert obj.method({"a": 1, "b": 2}) == obj.method({"b": 2, "a": 1}) == 2
        assert [obj.method(each) for each in ([1], (1,), {1}, frozenset([1]), {1: 1})] == [3, 4, 5, 6, 7]

    def test_a_container_that_was_changed_is_another_key(self, obj: Counting) -> None:
        """Keys hold what was passed, not the object that was passed."""
        filters = {"name": ["a"]}
        assert obj.method(filters) == 1
        filters["name"].append("b")
        assert obj.method(filters) == 2
        assert obj.method({"name": ["a"]}) == 1

    def test_what_cannot_be_keyed_is_named(self, obj: Counting) -> None:
        """TypeError names the argument and the method."""

        class Unhashable:
            __hash__ = None  # type: ignore[assignment]

        with pytest.raises(TypeError, match=r"'second' of Counting\.method"):
            obj.method(1, Unhashable())
        assert obj.computed == []

    def test_wrong_arguments_are_complained_of_by_the_method(self, obj: Counting) -> None:
        """As if it were not decorated."""
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'first'"):
            obj.method()  # type: ignore[call-arg]

    def test_positional_only_names_are_free_for_keywords(self) -> None:
        """`f(1, a=2)` is no other spelling of `f(2)` where `a` is positional-only."""

        @cached_function
        def f(a: int, /, b: int = 0, **more: int) -> Any:
            return a, b, more

        assert f(1, a=2) == (1, 0, {"a": 2})
        assert f(2) == (2, 0, {})
        assert f(1, b=5) == f(1, 5) == (1, 5, {})

    def test_invalidate_forgets_one_call(self, obj: Counting) -> None:
        """It takes the instance and the arguments, in any spelling, and says whether there was something."""
        obj.method(1)
        obj.method(2)
        assert Counting.method.invalidate(obj, first=1, second=2) is True
        assert obj.method.invalidate(obj, 1) is False
        assert (obj.method(2), obj.method(1)) == (2, 3)

    def test_cache_clear_forgets_all(self, obj: Counting) -> None:
        """Of all instances."""
        obj.method(1)
        Counting.method.cache_clear()
        assert obj.method(1) == 2

    def test_cache_info_and_cache_show_what_is_held(self) -> None:
        """Counts as `functools.lru_cache` gives them, and the cache itself, with the sizes that were asked for."""

        @cached_function(60, 7)
        def f(x: int) -> int:
            return x

        f(1), f(1), f(2)
        assert tuple(f.cache_info()) == (1, 2, 7, 2)
        assert (f.cache.max_size, f.cache.ttl, len(f.cache)) == (7, 60, 2)

    def test_the_wrapped_function_is_still_known(self) -> None:
        """`functools.wraps` data: name, docstring, signature, the function itself."""
        method: Any = Counting.method
        assert method.__name__ == "method"
        assert method.__qualname__ == "Counting.method"
        assert method.__module__ == __name__
        assert method.__doc__ == "The method's docstring."
        assert list(inspect.signature(method).parameters) == ["self", "first", "second", "rest", "third", "more"]
        assert inspect.isfunction(method.__wrapped__)


class TestSingleFlight:
    def test_threads_compute_once(self) -> None:
        """Property, method and function: one load for all who ask at the same time."""
        held = Load(holds=True)

        class Slow:
            @ttl_cached_property
            def prop(self) -> Any:
                return held()

        slow = Slow()
        callers = together(8, lambda _: slow.prop)
        held.begun.wait(PATIENCE)
        prop: Any = Slow.prop
        until(lambda: waiters_of(prop.cache, prop.key(slow)) == 7)
        held.go()
        assert [caller.outcome() for caller in callers] == ["loaded"] * 8
        assert held.calls == 1

    def test_a_recursive_function_is_memoised(self) -> None:
        """Loads of other arguments inside a load are no recursion of the key."""
        calls = []

        @cached_function
        def fib(n: int) -> int:
            calls.append(n)
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        assert fib(50) == 12586269025
        assert len(calls) == 51

    def test_a_member_that_needs_itself_is_told(self) -> None:
        """RecursionError, with the key."""

        class Circular:
            @ttl_cached_property
            def prop(self) -> Any:
                return self.prop

        with pytest.raises(RecursionError, match="asks for that key itself"):
            _ = Circular().prop


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
        assert [View().method(), View().method(), Sub().method(), Sub().method()] == ["View"] * 2 + ["Sub"] * 2
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

    def test_row_identity_is_announced(self) -> None:
        """It is reserved, and says that it is not there."""
        with pytest.raises(ValueError, match="row.*not there yet"):
            cached_method(identity="row")  # type: ignore[call-overload]

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
        for other in (copy.copy(obj), copy.deepcopy(obj), pickle.loads(pickle.dumps(obj))):
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


class TestOptions:
    def test_bare_and_with_parentheses(self) -> None:
        """Every decorator takes both; left out, ttl and max_size are the defaults."""
        for decorate in (cached_function, cached_function()):
            f: Any = decorate(lambda x: x)
            assert f(1) == 1
            assert (f.cache.max_size, f.cache.ttl) == (1000, 3600)
        assert cached_function(timedelta(minutes=1), 5)(len).cache.ttl == 60
        forever: Any = cached_function(ttl=None)(lambda: 1)
        assert forever.cache.ttl is None

    def test_what_is_asked_for_reaches_the_cache(self) -> None:
        """policy, max_bytes, grace, early_refresh, on_evict."""
        gone: list[Any] = []
        f: Any = cached_function(
            ttl=5,
            max_size=1,
            policy="s3fifo",
            max_bytes=10_000,
            grace=7,
            early_refresh=0.5,
            on_evict=lambda key, value, cause: gone.append((value, cause)),
        )(lambda x: x)
        cache = f.cache
        assert (cache.policy, cache.max_bytes, cache.grace, cache.early_refresh) == ("s3fifo", 10_000, 7, 0.5)
        f(1), f(2)
        assert gone == [(1, "evicted")]

    def test_none_may_be_left_out(self) -> None:
        """`cache_none=False` computes again until there is something."""
        outcomes = iter([None, None, 5])
        f: Any = cached_function(cache_none=False)(lambda: next(outcomes))
        assert [f() for _ in range(4)] == [None, None, 5, 5]

    def test_copies_are_the_callers_own(self) -> None:
        """`copy=True`: what the caller changes is changed for nobody else, on miss and hit."""

        class Lists:
            @cached_method(copy=True)
            def method(self) -> list[list[int]]:
                return [[1]]

            @ttl_cached_property(copy=True)
            def prop(self) -> list[list[int]]:
                return [[1]]

        lists = Lists()
        for _ in range(3):
            for value in (lists.method(), lists.prop):
                assert value == [[1]]
                value[0].append(2)

    def test_tags_of_a_call(self) -> None:
        """Strings, or a callable that is given the arguments."""
        fixed: Any = cached_function(tags=["a", "b"])(lambda x: x)
        fixed(1)
        assert fixed.cache.tags(fixed.key(1)) == {"a", "b"}

        class Tagged:
            @cached_method(tags=lambda self, x: [f"x:{x}"])
            def method(self, x: int) -> int:
                calls.append(x)
                return x

        calls: list[int] = []
        tagged = Tagged()
        tagged.method(1), tagged.method(2)
        assert Tagged.method.cache.delete_by_tag("x:1") == 1
        tagged.method(1), tagged.method(2)
        assert calls == [1, 2, 1]

    def test_grace_and_early_refresh_reach_the_loader(self, time: EngineTime) -> None:
        """A stale value is served for the errors that were named; a hit that is elected refreshes."""
        outcomes: Iterator[Any] = iter([1, KeyError("down")])

        def compute() -> Any:
            outcome = next(outcomes)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        f: Any = cached_function(ttl=10, grace=60, grace_errors=LookupError)(compute)
        assert f() == 1
        time.advance(10)
        assert f() == 1
        counter = iter(range(10))
        early: Any = cached_function(early_refresh=1e15)(lambda: next(counter))
        assert [early() for _ in range(3)] == [0, 1, 2]
        lazy: Any = cached_function(early_refresh=1e15, background=True)(lambda: next(counter))
        assert lazy() == 3
        until(lambda: lazy() > 3)

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"ttl": -1}, ValueError),
            ({"ttl": "60"}, TypeError),
            ({"ttl": True}, TypeError),
            ({"max_size": -1}, ValueError),
            ({"max_size": 1.5}, TypeError),
            ({"identity": "clas"}, ValueError),
            ({"identity": "none"}, ValueError),
            ({"identity": 5}, ValueError),
            ({"policy": "fifo"}, ValueError),
            ({"max_bytes": -1}, ValueError),
            ({"grace": -1}, ValueError),
            ({"grace": "1"}, TypeError),
            ({"grace_errors": [1]}, TypeError),
            ({"early_refresh": -1}, ValueError),
            ({"lock_timeout": -1}, ValueError),
            ({"lock_timeout": None, "copy": 1}, TypeError),
            ({"cache_none": 0}, TypeError),
            ({"tags": "ab"}, TypeError),
            ({"tags": [1]}, TypeError),
            ({"on_evict": 1}, TypeError),
            ({"name": ""}, TypeError),
            ({"colour": "red"}, TypeError),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    @pytest.mark.parametrize("decorator", [cached_method, ttl_cached_property], ids=["method", "property"])
    def test_bad_arguments_are_named_at_decoration(
        self, decorator: Any, given: dict[str, Any], error: type[Exception]
    ) -> None:
        """Where the parameters stand, not at the first call; the message names the argument."""
        with pytest.raises(error, match=list(given)[-1]):
            decorator(**given)

    @pytest.mark.parametrize(
        ("decorator", "keyword"), [(cached_function, "identity"), (cached_method, "background")]
    )
    def test_what_a_decorator_does_not_have_is_named(self, decorator: Any, keyword: str) -> None:
        """A function has no instance, and a method would keep its instance alive in the background."""
        with pytest.raises(TypeError, match=keyword):
            decorator(**{keyword: True})


class TestWhatIsDecorated:
    @pytest.mark.parametrize("decorator", [cached_function, cached_method, ttl_cached_property])
    @pytest.mark.parametrize("bare", [True, False], ids=["bare", "called"])
    def test_generators_are_refused(self, decorator: Any, bare: bool) -> None:
        """They can be consumed only once; the message names the function."""

        def rows(self: Any) -> Iterator[int]:
            yield 1

        async def arows(self: Any) -> Any:
            yield 1

        for function in (rows, arows):
            with pytest.raises(TypeError, match=rf"{function.__name__}.*consumed only once"):
                decorator(function) if bare else decorator()(function)

    def test_what_returns_a_generator_is_refused_too(self) -> None:
        """At the call, because only then it is known."""
        f: Any = cached_function(lambda: (x for x in (1, 2)))
        with pytest.raises(TypeError, match="lambda.*returned a generator"):
            f()
        assert len(f.cache) == 0

    def test_the_wrong_order_of_decorators_is_explained(self) -> None:
        """A staticmethod or classmethod goes above."""
        with pytest.raises(TypeError, match="write @staticmethod above, and @cached_function below"):
            cached_method(staticmethod(len))  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="write @classmethod above, and @cached_method below"):
            cached_function()(classmethod(len))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="makes the property itself"):
            ttl_cached_property(property(len))  # type: ignore[call-overload]

    @pytest.mark.parametrize("thing", [5, "f", int, object()], ids=repr)
    def test_what_is_no_function_is_refused(self, thing: Any) -> None:
        """With its repr."""
        with pytest.raises(TypeError, match="decorates functions"):
            cached_function()(thing)

    def test_a_method_without_self_is_refused(self) -> None:
        """It could not be told whose entry it is."""
        with pytest.raises(TypeError, match="takes no instance"):
            cached_method(lambda: 1)  # type: ignore[call-overload]

    def test_other_callables_are_served(self) -> None:
        """Partials, builtins and callable objects."""
        assert cached_function(functools.partial(max, 3))(5) == 5
        assert cached_function()(len)([1, 2]) == 2


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
        assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level
        assert copy.deepcopy(at_module_level) is at_module_level


@cached_function
def at_module_level() -> int:
    return 1


class TestGetOrCompute:
    def test_it_computes_what_is_not_held(self) -> None:
        """Into the cache that is named, or given, or called default."""
        cache: TTLCache[str, int] = TTLCache(10, 60)
        load = Load(5)
        for _ in range(2):
            assert get_or_compute("a", load, 10, cache=cache, tags=["t"]) == 5
        assert load.calls == 1
        assert cache.tags("a") == {"t"}
        assert get_or_compute("oxicache test", lambda: None) is None
        assert cache_manager._caches["default"].get("oxicache test", "miss") is None
        get_or_compute("a", load, cache="oxicache test cache")
        assert "a" in cache_manager._caches["oxicache test cache"]
        cache_manager.remove("oxicache test cache")
        cache_manager._caches["default"].clear()

    def test_the_public_face_names_everything(self) -> None:
        """What `__all__` lists is there, and it is sorted as the linter sorts."""
        assert all(hasattr(oxicache, name) for name in oxicache.__all__)
        assert oxicache.__version__
