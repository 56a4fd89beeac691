"""What the decorators can be asked for, what they refuse, and `get_or_compute`."""

import functools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from loads import EngineTime, Load, driven_time, until

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
        with pytest.raises(TypeError, match=r"lambda.*returned a generator"):
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
