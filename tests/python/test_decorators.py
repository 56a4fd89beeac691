"""`cached_method`, `ttl_cached_property` and `cached_function`: what is computed, and what counts as the same call."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loads import PATIENCE, EngineTime, Load, driven_time, together, until, waiters_of

from oxicache import cached_function, cached_method, ttl_cached_property


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
            calls.append(a)
            return a, b, more

        calls: list[int] = []
        assert f(1, a=2) == f(1, a=2) == (1, 0, {"a": 2})
        assert calls == [1]
        assert f(2) == (2, 0, {})
        assert f(1, b=5) == f(1, 5) == (1, 5, {})

    def test_a_wrapper_that_adds_an_argument_is_keyed_by_its_own_parameters(self) -> None:
        """The names and defaults of the function below it belong to other positions."""

        def with_connection(below: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(below)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return below("connection", *args, **kwargs)

            return wrapper

        @cached_function
        @with_connection
        def f(connection: str, a: int = 1, b: int = 2) -> Any:
            return connection, a, b

        assert [f(9), f(9, 1), f(9, 2)] == [("connection", 9, 2), ("connection", 9, 1), ("connection", 9, 2)]

        class Wrapped:
            @cached_method
            @with_connection
            def method(self: Any, _instance: Any, a: int = 1, b: int = 2) -> Any:
                return a, b

        assert [Wrapped().method(9), Wrapped().method(9, 1)] == [(9, 2), (9, 1)]

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
        parameters = " ".join(inspect.signature(method).parameters)
        assert parameters == "self first second rest third more"
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
