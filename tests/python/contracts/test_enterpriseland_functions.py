"""Document 003 (EnterpriseLand), "Method Caching" and "Smart Caching", and what that system got wrong there."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dialect_caches import BACKENDS, own_default
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from document_pages import Example, example
from driven_clock import Clock, driven
from platform_site import platform_cache

from oxicache.compat import enterpriseland
from oxicache.compat.enterpriseland import cache_manager, cached_method, cached_view, functions, smart_cache
from oxicache.django.backends import NativeCache

__all__ = ["platform_cache"]  # a fixture

HOUR = 3600.0


@pytest.fixture(autouse=True)
def cache(platform_cache: Any) -> Any:
    """The default alias, empty."""
    return platform_cache


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven(10 * HOUR) as clock:
        yield clock


class TestExamples:
    @example("003", "Method Caching")
    def test_method_caching(self, shown: Example, cache: Any) -> None:
        """003, "Method Caching"; and its tags and patterns find what it keeps."""
        fetched: list[int] = []
        names = shown.run(
            fetch_user_data=lambda user_id: fetched.append(user_id) or {"id": user_id},
        )
        service = names["DataService"]()
        for user_id in (1, 2, 1, 2):
            assert service.get_user_data(user_id) == {"id": user_id}
        assert names["DataService"]().get_user_data(user_id=1) == {"id": 1}
        assert fetched == [1, 2]
        assert cache_manager.invalidate("tag", tags=["user:1"]) == 1
        service.get_user_data(1), service.get_user_data(2)
        assert fetched == [1, 2, 1]
        assert cache_manager.invalidate("pattern", pattern="^user_data:2") == 1
        service.get_user_data(1), service.get_user_data(2)
        assert fetched == [1, 2, 1, 2]

    @example("003", "Smart Caching")
    def test_smart_caching(self, shown: Example, cache: Any) -> None:
        """003, "Smart Caching"."""
        computed: list[tuple[int, int]] = []
        names = shown.run(
            complex_calculation=lambda *params: computed.append(params) or sum(params),
        )
        calculation = names["expensive_calculation"]
        assert [calculation(1, 2), calculation(1, param2=2), computed] == [3, 3, [(1, 2)]]
        assert (
            cache_manager.invalidate(
                "pattern", pattern="^smart:project.projects.examples:expensive_calculation"
            )
            == 1
        )


class TestSmartCache:
    """SETTLED, section 3."""

    def test_what_it_tells(self, clock: Clock) -> None:
        """count, last_access and frequency of a call, {} of one never made; without arguments of all."""

        @smart_cache()
        def f(number: int) -> int:
            return number

        stats: Any = f
        assert (stats.get_stats(), stats.get_stats(1)) == ({}, {})
        f(1), f(1), f(2)
        one = stats.get_stats(1)
        assert (one["count"], one["frequency"], list(one)) == (2, 2, ["count", "last_access", "frequency"])
        assert (stats.get_stats()["count"], stats.get_stats(3)) == (3, {})

    def test_what_is_asked_for_often_lives_longer(self, clock: Clock) -> None:
        """min_timeout below 1 ask in an hour, max_timeout above 10, base_timeout at first."""
        with own_default(BACKENDS["native"]):  # the other goes by the wall clock
            self.asked_for_often(clock)

    def asked_for_often(self, clock: Clock) -> None:
        calls: list[int] = []

        @smart_cache(base_timeout=300, min_timeout=60, max_timeout=3600)
        def f(number: int) -> int:
            calls.append(number)
            return number

        for _ in range(12):
            f(1)
        clock.advance(301)
        f(1)
        clock.advance(3590)
        f(1)
        assert calls == [1, 1]
        clock.advance(3 * HOUR)
        f(1)
        clock.advance(61)
        f(1)
        assert calls == [1, 1, 1, 1]

    @pytest.mark.parametrize("monitor", [True, False])
    def test_monitored(self, cache: Any, monkeypatch: pytest.MonkeyPatch, monitor: bool) -> None:
        """`cache_monitor` shows its hits and misses once, whoever counts them."""
        own = enterpriseland.CacheMonitor(process="self")
        monkeypatch.setattr(functions, "cache_monitor", own)

        @smart_cache(monitor=monitor)
        def f(number: int) -> int:
            return number

        f(1), f(1), f(1)
        found = own.metrics.get_key_statistics()
        if monitor or isinstance(cache, NativeCache):
            assert (found["smart:*"]["hits"], found["smart:*"]["misses"]) == (2, 1)
        else:
            assert found == {}

    def test_async_functions(self) -> None:
        """They are awaited."""

        @smart_cache()
        async def f(number: int) -> int:
            return number

        async def twice() -> int:
            return await f(1) + await f(1)

        stats: Any = f
        assert (asyncio.run(twice()), stats.get_stats(1)["count"]) == (2, 2)

    def test_wrong_arguments_are_named(self) -> None:
        """In its own words, where the decorator stands."""
        with pytest.raises(TypeError, match="base_timeout"):
            smart_cache("300")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="min_timeout"):
            smart_cache(min_timeout=-1)
        with pytest.raises(TypeError, match="monitor"):
            smart_cache(monitor=1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="parentheses"):
            smart_cache(len)  # type: ignore[arg-type]


def test_the_default_timeout(cache: Any) -> None:
    """CACHE_DEFAULT_TIMEOUT of document 003 is the time of what names none: views, APIs, methods."""
    times: list[Any] = []

    class S:
        @cached_method(key_func=lambda self: "k")
        def m(self) -> int:
            times.append(1)
            return 1

    @cached_view()
    def view(request: HttpRequest) -> HttpResponse:
        times.append(2)
        return HttpResponse("page")

    with override_settings(CACHE_DEFAULT_TIMEOUT=0):
        for _ in range(2):
            S().m()
            view(RequestFactory().get("/"))
    assert times == [1, 2, 1, 2]
    for _ in range(2):
        S().m()
        view(RequestFactory().get("/"))
    assert times[4:] == [1, 2]


class TestDefects:
    """Known defects of the earlier system."""

    def test_each_instance_has_its_own(self) -> None:
        """There S(2).m() got what S(1).m() had returned."""

        class S:
            def __init__(self, number: int) -> None:
                self.number = number

            @cached_method(timeout=300)
            def m(self) -> int:
                return self.number

        one, other = S(1), S(2)
        assert [one.m(), other.m(), one.m()] == [1, 2, 1]

    def test_none(self) -> None:
        """Computed anew unless it is wanted; what else is false is a result. There a marker stood for None."""
        calls: list[Any] = []

        class S:
            @cached_method()
            def plain(self, result: Any) -> Any:
                calls.append(result)
                return result

            @cached_method(cache_none=True)
            def with_none(self, result: Any) -> Any:
                calls.append(result)
                return result

            @cached_method(key_func=lambda self, result: f"r:{result!r}", cache_none=True)
            def keyed(self, result: Any) -> Any:
                calls.append(result)
                return result

        s = S()
        for method, times in ((s.plain, 2), (s.with_none, 1), (s.keyed, 1)):
            calls.clear()
            assert [method(None), method(None), len(calls)] == [None, None, times]
            calls.clear()
            assert [method(0), method(0), len(calls)] == [0, 0, 1]

    def test_tags_invalidate(self) -> None:
        """There tags_func was an AttributeError; without key_func too it is not now."""
        calls: list[int] = []

        class S:
            @cached_method(tags_func=lambda self, number: [f"number:{number}"])
            def m(self, number: int) -> int:
                calls.append(number)
                return number

        s = S()
        s.m(1), s.m(2)
        cache_manager.invalidate("tag", tags=["number:1"])
        s.m(1), s.m(2)
        assert calls == [1, 2, 1]

    def test_arguments_are_told_apart(self, cache: Any) -> None:
        """There json with default=str made one key of a date and its text, of 1 and "1" as keys of a dict."""
        calls: list[Any] = []

        @smart_cache()
        def f(given: Any) -> str:
            calls.append(given)
            return repr(given)

        for given in ({1: "a"}, {"1": "a"}, 1, True, "1", None, "None", [1], (1,)):
            assert f(given) == f(given) == repr(given)
        assert len(calls) == 9

    def test_two_functions_with_one_key_share_nothing(self) -> None:
        """What key_func returns is a key of this method."""

        class S:
            @cached_method(key_func=lambda self: "same")
            def a(self) -> str:
                return "a"

            @cached_method(key_func=lambda self: "same")
            def b(self) -> str:
                return "b"

        s = S()
        assert [s.a(), s.b(), s.a(), s.b()] == ["a", "b", "a", "b"]

    def test_smart_cache_invalidates(self) -> None:
        """There it deleted a key named '*', and nothing went."""
        calls: list[int] = []

        @smart_cache()
        def f(number: int) -> int:
            calls.append(number)
            return number

        @smart_cache()
        def g() -> int:
            calls.append(0)
            return 0

        smart: Any = f
        f(1), f(2), g()
        assert smart.invalidate(1) == 1
        f(1), f(2), g()
        assert calls == [1, 2, 0, 1]
        assert smart.invalidate() == 2
        f(1), f(2), g()
        assert calls == [1, 2, 0, 1, 1, 2]

    def test_two_asks_are_no_storm(self, clock: Clock) -> None:
        """There two reads 50 ms apart were 143,290 in an hour."""

        @smart_cache()
        def f() -> int:
            return 1

        f()
        clock.advance(0.05)
        f()
        smart: Any = f
        assert smart.get_stats()["frequency"] == 2

    def test_its_bookkeeping_is_bounded(self) -> None:
        """There what was remembered of keys grew without end."""

        @smart_cache()
        def f(number: int) -> int:
            return number

        smart: Any = f
        assert smart.meter._asks.max_size == 10_000

    def test_one_caller_computes(self) -> None:
        """There each of those who asked computed."""
        entered, leave, calls, results = threading.Event(), threading.Event(), [], []

        @smart_cache()
        def slow() -> int:
            calls.append(1)
            entered.set()
            leave.wait(30)
            return 1

        threads = [threading.Thread(target=lambda: results.append(slow())) for _ in range(4)]
        threads[0].start()
        entered.wait(30)
        for thread in threads[1:]:
            thread.start()
        leave.set()
        for thread in threads:
            thread.join()
        assert (results, len(calls)) == ([1] * 4, 1)

    def test_in_other_caches(self) -> None:
        """None of it needs a cache of oxicache's own."""
        with own_default(BACKENDS["locmem"]):

            class S:
                @cached_method(key_func=lambda self: "k", tags_func=lambda self: ["t"])
                def m(self) -> list[int]:
                    return []

            s = S()
            first = s.m()
            first.append(1)
            assert s.m() == []
