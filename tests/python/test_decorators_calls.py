"""`key`, `condition` and a function's `vary`: what stands for a call, and which calls are cached at all."""

import asyncio
import threading
from typing import Any

import pytest

from oxicache import cached_function, cached_method, ttl_cached_property


class TestKey:
    def test_it_stands_for_the_arguments(self) -> None:
        """Calls for which it is the same share an entry; types count."""
        calls: list[Any] = []

        @cached_function(key=lambda user, **_: user["id"])
        def name(user: dict[str, Any], **extra: Any) -> str:
            calls.append(user["id"])
            return f"user {user['id']}"

        assert name({"id": 1, "seen": 1}) == name({"id": 1, "seen": 2}, verbose=True) == "user 1"
        assert (name({"id": "1"}), name({"id": True}), calls) == ("user 1", "user True", [1, "1", True])

    def test_it_stands_for_the_instance(self) -> None:
        """Of a method it is given the instance, and says whether that counts."""
        calls: list[int] = []

        class Service:
            @cached_method(
                key=lambda self, user_id: f"user_data:{user_id}", tags=lambda self, user_id: [f"u:{user_id}"]
            )
            def data(self, user_id: int) -> int:
                calls.append(user_id)
                return user_id

        assert (Service().data(5), Service().data(user_id=5), calls) == (5, 5, [5])
        memo: Any = Service.data
        assert memo.invalidate(Service(), 5)
        assert not memo.invalidate(Service(), 5)
        assert (Service().data(5), calls) == (5, [5, 5])
        memo.cache.delete_by_tag("u:5")
        assert (Service().data(5), calls) == (5, [5, 5, 5])
        memo.cache_clear()
        assert len(memo.cache) == 0

    def test_async_functions(self) -> None:
        """Tasks that ask for one key share one load."""
        calls: list[int] = []

        @cached_function(key=lambda number: number % 2)
        async def odd(number: int) -> bool:
            calls.append(number)
            await asyncio.sleep(0)
            return bool(number % 2)

        async def many() -> list[bool]:
            return await asyncio.gather(*(odd(number) for number in range(1, 9)))

        assert asyncio.run(many()) == [True, False] * 4
        assert calls == [1, 2]

    def test_one_caller_computes(self) -> None:
        """Threads that ask for one key wait for the one that computes."""
        entered, leave, calls = threading.Event(), threading.Event(), []

        @cached_function(key=lambda *args: "all")
        def slow(number: int) -> int:
            calls.append(number)
            entered.set()
            leave.wait(30)
            return number

        results: list[int] = []
        first = threading.Thread(target=lambda: results.append(slow(1)))
        first.start()
        entered.wait(30)
        others = [threading.Thread(target=lambda: results.append(slow(2))) for _ in range(3)]
        for thread in others:
            thread.start()
        leave.set()
        for thread in [first, *others]:
            thread.join()
        assert (results, calls) == ([1] * 4, [1])

    def test_what_it_raises_is_the_callers(self) -> None:
        """Nothing is stored under a key that could not be made."""

        @cached_function(key=lambda user: user["id"])
        def name(user: dict[str, Any]) -> str:
            return "?"

        with pytest.raises(KeyError):
            name({})
        assert len(name.cache) == 0

    def test_nothing_else_decides_beside_it(self) -> None:
        """Who gives `identity`, `vary`, `fresh` or `depends_on` as well is told that they have no effect."""
        for given in ({"identity": "class"}, {"vary": "language"}, {"depends_on": "self"}, {"fresh": False}):
            with pytest.raises(ValueError, match=next(iter(given))):
                cached_method(key=len, **given)
        with pytest.raises(TypeError, match="key must be callable"):
            cached_function(key="id")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="unexpected keyword argument 'key'"):
            ttl_cached_property(key=len)  # type: ignore[call-overload]


class TestCondition:
    def test_a_call_that_is_not_meant_passes_by(self) -> None:
        """Where it is false nothing is looked up and nothing stored, sync and async."""
        calls: list[int] = []

        @cached_function(condition=lambda number: number > 0)
        def f(number: int) -> int:
            calls.append(number)
            return number

        assert [f(1), f(1), f(-1), f(-1)] == [1, 1, -1, -1]
        assert (calls, len(f.cache)) == ([1, -1, -1], 1)

        @cached_function(condition=lambda number: number > 0)
        async def g(number: int) -> int:
            calls.append(number)
            return number

        async def all_of_them() -> list[int]:
            return [await g(number) for number in (2, 2, -2, -2)]

        assert asyncio.run(all_of_them()) == [2, 2, -2, -2]
        assert calls[3:] == [2, -2, -2]

    def test_methods(self) -> None:
        """It is given the instance."""

        class Shop:
            is_open = True

            @cached_method(condition=lambda shop: shop.is_open)
            def stock(self) -> list[int]:
                return []

        shop = Shop()
        assert shop.stock() is shop.stock()
        shop.is_open = False
        assert shop.stock() is not shop.stock()


class TestVary:
    def test_a_callable_of_nothing(self) -> None:
        """What it returns is part of every key; arguments stay what they were."""
        tenant = ["a"]

        @cached_function(vary=lambda: tenant[0])
        def figures(year: int, month: int = 1) -> list[str]:
            return [tenant[0]]

        first = figures(2024)
        assert figures(year=2024, month=1) is first
        tenant[0] = "b"
        assert figures(2024) == ["b"]
        tenant[0] = "a"
        assert figures(2024) is first
        assert figures.invalidate(2024, 1)
        assert figures(2024) is not first

    def test_tags_are_given_the_call(self) -> None:
        """And not what the key has besides."""
        given: list[Any] = []

        def tags(*args: Any) -> list[str]:
            given.append(args)
            return ["t"]

        @cached_function(vary=[lambda: 1, lambda: 2], tags=tags)
        async def f(number: int) -> int:
            return number

        assert asyncio.run(f(7)) == 7
        assert given == [(7,)]

    def test_wrong_names(self) -> None:
        """ValueError and TypeError name what is none."""
        with pytest.raises(ValueError, match="tenant"):
            cached_function(vary="tenant")(len)
        with pytest.raises(TypeError, match="5"):
            cached_function(vary=5)(len)  # type: ignore[call-overload]
