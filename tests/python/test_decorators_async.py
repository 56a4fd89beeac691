"""Async functions, methods and properties: the awaited value is cached, and tasks compute once."""

import asyncio
import functools
import gc
import inspect
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from loads import PATIENCE, Load, auntil

from oxicache import TTLCache, aget_or_compute, cached_function, cached_method, ttl_cached_property


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await main()

    return asyncio.run(limited())


class Counting:
    def __init__(self) -> None:
        self.computed: list[Any] = []

    @cached_method(ttl=10)
    async def method(self, first: Any, second: Any = 2) -> int:
        """The method's docstring."""
        self.computed.append((first, second))
        await asyncio.sleep(0)
        return len(self.computed)

    @ttl_cached_property(ttl=10)
    async def prop(self) -> int:
        """The property's docstring."""
        self.computed.append("prop")
        await asyncio.sleep(0)
        return len(self.computed)


@cached_function
async def double(x: int) -> int:
    return x * 2


class TestMethod:
    def test_the_awaited_value_is_cached(self) -> None:
        """Every call gives a new coroutine; together they compute once."""
        obj = Counting()

        async def main() -> list[int]:
            calls = [obj.method(1), obj.method(first=1), obj.method(1, 2), Counting.method(obj, 1)]
            return await asyncio.gather(*calls) + [await obj.method(1)]

        assert run(main) == [1] * 5
        assert obj.computed == [(1, 2)]

    def test_it_is_a_coroutine_function(self) -> None:
        """To whoever asks, with the wrapped function's data."""
        method: Any = Counting.method
        assert inspect.iscoroutinefunction(method)
        assert inspect.iscoroutinefunction(Counting().method)
        assert inspect.iscoroutinefunction(double)
        assert (method.__name__, method.__doc__) == ("method", "The method's docstring.")
        assert list(inspect.signature(method).parameters) == ["self", "first", "second"]
        assert pickle.loads(pickle.dumps(double)) is double  # noqa: S301 - our own bytes

    def test_it_has_what_a_sync_one_has(self) -> None:
        """invalidate, cache_clear, cache_info, cache."""
        obj = Counting()

        async def main() -> None:
            assert await obj.method(1) == 1
            assert Counting.method.invalidate(obj, 1) is True
            assert await obj.method(1) == 2
            Counting.method.cache_clear()
            assert await obj.method(1) == 3
            assert Counting.method.cache_info().currsize == len(Counting.method.cache) == 1

        run(main)

    def test_entries_go_with_their_object(self) -> None:
        """As those of sync methods."""
        obj = Counting()
        run(functools.partial(obj.method, 1))
        before = len(Counting.method.cache)
        del obj
        gc.collect()
        assert len(Counting.method.cache) == before - 1

    def test_one_load_for_all_tasks(self) -> None:
        """And a cancelled one hands over."""
        held = Load("first", holds=True)

        @cached_function
        async def slow() -> Any:
            return await held.awaited()

        async def main() -> None:
            leader = asyncio.create_task(slow())
            await auntil(held.begun.is_set)
            others = [asyncio.create_task(slow()) for _ in range(5)]
            await asyncio.sleep(0)
            leader.cancel()
            held.go()
            assert await asyncio.gather(*others) == ["first"] * 5
            assert held.calls == 2

        run(main)

    def test_exceptions_are_not_kept(self) -> None:
        """Each await raises anew."""
        load = Load(ValueError("no"))
        f: Any = cached_function()(load.awaited)

        async def main() -> None:
            for _ in range(2):
                with pytest.raises(ValueError, match="no"):
                    await f()

        run(main)
        assert load.calls == 2

    def test_copies_are_the_callers_own(self) -> None:
        """`copy=True`, on miss and hit."""

        @cached_function(copy=True)
        async def rows() -> list[int]:
            return [1]

        async def main() -> None:
            for _ in range(3):
                value = await rows()
                assert value == [1]
                value.append(2)

        run(main)

    def test_tags_are_given_the_arguments(self) -> None:
        """As with sync functions."""

        @cached_function(tags=lambda x: [f"x:{x}"])
        async def f(x: int) -> int:
            return x

        run(lambda: f(3))
        assert f.cache.delete_by_tag("x:3") == 1

    def test_a_coroutine_from_a_plain_function_is_refused(self) -> None:
        """It could be awaited once; the message says what to do."""
        f: Any = cached_function(lambda: double.__wrapped__(1))
        with pytest.raises(TypeError, match="returned a coroutine"):
            f()


class TestProperty:
    def test_it_is_awaited(self) -> None:
        """`await obj.prop`, computed once."""
        obj = Counting()

        async def main() -> list[int]:
            return [await obj.prop, await obj.prop, *await asyncio.gather(obj.prop, obj.prop)]

        assert run(main) == [1] * 4

    def test_what_it_gives_may_be_awaited_again(self) -> None:
        """Or never: nothing is computed then, and nothing warns."""
        obj = Counting()

        async def main() -> None:
            waiting = obj.prop
            assert obj.computed == []
            assert [await waiting, await waiting] == [1, 1]
            assert obj.prop is not waiting
            _ = obj.prop
            assert await asyncio.create_task(obj.prop) == 1  # type: ignore[arg-type]
            assert await asyncio.wait_for(obj.prop, 5) == 1

        run(main)

    def test_del_forgets_it(self) -> None:
        """The next await computes."""
        obj = Counting()

        async def main() -> None:
            assert await obj.prop == 1
            del obj.prop
            assert await obj.prop == 2
            assert Counting.prop.invalidate(obj) is True
            assert await obj.prop == 3

        run(main)

    def test_it_is_a_property_to_those_who_ask(self) -> None:
        """With a getter, a docstring and a name; assignment is refused."""
        prop: Any = Counting.prop
        assert isinstance(prop, property)
        assert prop.__doc__ == "The property's docstring."
        assert prop.fget.__name__ == "prop"
        with pytest.raises(AttributeError, match="prop"):
            Counting().prop = 1  # type: ignore[misc, assignment]

    def test_cancelling_one_who_awaits_leaves_the_others(self) -> None:
        """The value is computed by another, and cached."""
        obj = Counting()

        async def main() -> None:
            tasks = [asyncio.ensure_future(obj.prop) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert results[1] == results[2] == 2

        run(main)


def test_aget_or_compute() -> None:
    """As `get_or_compute`, for async functions."""
    cache: TTLCache[str, Any] = TTLCache(10, 60)
    load = Load(5)

    async def main() -> list[Any]:
        asking = (aget_or_compute("a", load.awaited, 10, cache=cache, tags=["t"]) for _ in range(5))
        return await asyncio.gather(*asking)

    assert run(main) == [5] * 5
    assert load.calls == 1
    assert cache.tags("a") == {"t"}
