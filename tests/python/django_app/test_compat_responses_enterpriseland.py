"""Document 003 (EnterpriseLand): what its decorators of views and functions got wrong, at the names they have here."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, Counter, asked, bodies, own_responses
from django.contrib.auth.models import Group
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View

from oxicache import testing
from oxicache.compat.enterpriseland import (
    cache_manager,
    cache_on_success,
    cached_api,
    cached_view,
    conditional_cache,
)


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    other = {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "enterpriseland-other"}
    with own_responses(other=other):
        yield


def statuses(view: Any, *requests: HttpRequest) -> list[str | None]:
    return [view(request).get("X-Cache") for request in requests]


class TestCachedView:
    def test_its_arguments_stand_where_they_stood(self) -> None:
        """timeout, key_prefix, vary_on, tags, cache_strategy: by position too."""
        with testing.clock() as clock:
            view = cached_view(600, "dashboard", ["Accept-Language"], ["stats"], "other")(Counter())
            assert statuses(view, asked(), asked()) == ["MISS", "HIT"]
            clock.advance(601)
            assert statuses(view, asked()) == ["MISS"]
        caches["other"].clear()
        assert statuses(view, asked()) == ["MISS"]

    def test_tags_are_those_of_everything_else(self) -> None:
        """There views, strategies and the invalidator had three stores of tags: nothing was ever deleted."""
        view = cached_view(tags=["dashboard", "stats"])(Counter())
        other = cached_view(tags=["dashboards"])(Counter())
        assert bodies(view, asked(), asked()) == ["page 1", "page 1"]
        assert bodies(other, asked()) == ["page 1"]
        assert cache_manager.invalidate("tag", tags=["stats"]) == 1
        assert bodies(view, asked(), asked()) == ["page 2", "page 2"]
        assert bodies(other, asked()) == ["page 1"]

    def test_the_headers_it_varies_on_count(self) -> None:
        """There META was asked for `Accept-Language`, where it is HTTP_ACCEPT_LANGUAGE: a German got English."""
        view = cached_view(vary_on=["Accept-Language"])(Counter())
        languages = [asked(HTTP_ACCEPT_LANGUAGE=name) for name in ("en", "de", "en")]
        assert bodies(view, *languages) == ["page 1", "page 2", "page 1"]

    def test_a_post_is_not_cached(self) -> None:
        """There the first POST was answered for all."""
        view = cached_view()(Counter())
        assert statuses(view, *[asked(method="POST") for _ in range(2)]) == [None, None]
        assert statuses(view, asked()) == ["MISS"]

    def test_users_are_told_apart(self) -> None:
        """Each has entries of his own, as there; a view with a prefix, too."""
        view = cached_view(key_prefix="dashboard")(Counter(lambda request: request.user.username))
        assert bodies(view, asked(user=ANN), asked(user=BOB), asked(user=ANN)) == ["ann 1", "bob 2", "ann 1"]

    def test_two_views_with_one_prefix_share_nothing(self) -> None:
        """The view is in the key beside the prefix."""
        views = [cached_view(key_prefix="p")(Counter(lambda _, said=said: said)) for said in ("a", "b")]
        assert [bodies(view, asked()) for view in views] == [["a 1"], ["b 1"]]

    def test_a_strategy_is_the_name_of_an_alias(self) -> None:
        """Anything else is refused where the view is decorated."""
        with pytest.raises(TypeError, match="cache_strategy must be an alias"):
            cached_view(cache_strategy=object())  # type: ignore[arg-type]

    def test_responses_that_nobody_may_keep(self) -> None:
        """A cookie, and a `no-store` of the view, are honoured."""

        def with_cookie(_: HttpRequest) -> HttpResponse:
            response = HttpResponse("page")
            response.set_cookie("a", "b")
            return response

        for say in (with_cookie, lambda _: HttpResponse("page", headers={"Cache-Control": "no-store"})):
            view = cached_view()(Counter(say))
            assert statuses(view, asked(), asked()) == [None, None]


class TestCachedApi:
    def test_repeated_parameters_are_told_apart(self) -> None:
        """There `?a=1&a=2` was `?a=3&a=2`."""
        view = cached_api()(Counter(lambda request: "".join(request.GET.getlist("a"))))
        assert bodies(view, asked("/?a=1&a=2"), asked("/?a=3&a=2")) == ["12 1", "32 2"]


class TestConditionalCacheOfViews:
    def test_bob_does_not_get_the_page_of_alice(self) -> None:
        """There the key was `str(request)`, which is the same for all who ask for one path."""
        view = conditional_cache(condition_func=lambda _: True)(
            Counter(lambda request: request.user.username)
        )
        assert bodies(view, asked(user=ANN), asked(user=BOB), asked(user=ANN)) == ["ann 1", "bob 2", "ann 1"]

    def test_where_the_condition_fails_the_view_answers(self) -> None:
        """Staff is not answered from the cache, and fills nothing."""
        counter = Counter()
        view = conditional_cache(lambda request: not request.user.is_staff, timeout=300)(counter)
        requests = [asked(user=BOB), asked(user=ANN), asked(user=ANN), asked(user=BOB)]
        assert bodies(view, *requests) == ["page 1", "page 2", "page 2", "page 3"]
        assert statuses(view, asked(user=BOB), asked(user=ANN)) == [None, "HIT"]

    def test_the_condition_may_ask_for_the_arguments_of_the_view(self) -> None:
        """It is given those that it takes."""
        view = conditional_cache(lambda request, pk: pk < 10)(Counter())
        assert [view(asked(), pk=pk).get("X-Cache") for pk in (7, 7, 77, 77)] == ["MISS", "HIT", None, None]

    def test_a_broken_condition_costs_no_page(self, caplog: pytest.LogCaptureFixture) -> None:
        """The view answers, nothing is kept, one line says why."""
        view = conditional_cache(lambda request: request.no_such)(Counter())
        assert bodies(view, asked(), asked()) == ["page 1", "page 2"]
        assert ["no_such" in record.message for record in caplog.records] == [True]

    def test_methods_and_classes(self) -> None:
        """By themselves, through method_decorator, and whole."""
        decorate = conditional_cache(lambda request: True)

        class Plain(View):
            @decorate
            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("plain")

        class Decorated(View):
            @method_decorator(decorate)
            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("decorated")

        @decorate
        class Whole(View):
            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("whole")

        for kind in (Plain, Decorated, Whole):
            assert statuses(kind.as_view(), asked(), asked()) == ["MISS", "HIT"]

    def test_async_views(self) -> None:
        """Stay async."""

        @conditional_cache(lambda request: True)
        async def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse("page")

        async def ask() -> list[str]:
            return [(await view(asked()))["X-Cache"] for _ in range(2)]

        assert asyncio.run(ask()) == ["MISS", "HIT"]

    def test_it_takes_the_options_of_views(self) -> None:
        """Models that invalidate, for one."""
        view = conditional_cache(lambda _: True, invalidate_on=["auth.Group"])(Counter())
        assert bodies(view, asked(), asked()) == ["page 1", "page 1"]
        Group.objects.create(name="conditional").delete()
        assert bodies(view, asked()) == ["page 2"]


class TestConditionalCacheOfFunctions:
    def test_arguments_are_keyed_by_what_they_are(self) -> None:
        """`1` and `"1"` are two, as `str(args)` of there had them; `1` and `True` too, which it had as well."""
        calls: list[Any] = []

        @conditional_cache(lambda value: value is not None, timeout=300)
        def double(value: Any) -> Any:
            calls.append(value)
            return [value, value]

        assert [double(value) for value in (1, "1", True, 1, "1")] == [
            [1, 1],
            ["1", "1"],
            [True, True],
            [1, 1],
            ["1", "1"],
        ]
        assert calls == [1, "1", True]

    def test_where_the_condition_fails_nothing_is_kept(self) -> None:
        """Neither read nor stored, and None may be asked for."""
        calls: list[Any] = []

        @conditional_cache(lambda value: value is not None)
        def same(value: Any) -> Any:
            calls.append(value)
            return value

        assert [same(None), same(None), same(value=None)] == [None] * 3
        assert calls == [None] * 3

    def test_it_expires(self) -> None:
        """After `timeout`."""
        calls: list[int] = []

        @conditional_cache(lambda: True, timeout=60)
        def count() -> int:
            calls.append(1)
            return len(calls)

        with testing.clock() as clock:
            assert [count(), count()] == [1, 1]
            clock.advance(61)
            assert count() == 2

    def test_methods_are_kept_by_instance(self) -> None:
        """Two services share nothing; there an address in `str(self)` might be another's by then."""

        class Service:
            def __init__(self, name: str) -> None:
                self.name = name
                self.calls = 0

            @conditional_cache(lambda self, number: number > 0)
            def ask(self, number: int) -> str:
                self.calls += 1
                return f"{self.name}{number}"

        one, other = Service("one"), Service("other")
        assert [one.ask(1), one.ask(1), other.ask(1), one.ask(0), one.ask(0)] == [
            "one1",
            "one1",
            "other1",
            "one0",
            "one0",
        ]
        assert (one.calls, other.calls) == (3, 1)

    def test_async_functions(self) -> None:
        """Stay async."""
        calls: list[int] = []

        @conditional_cache(lambda value: True)
        async def same(value: int) -> int:
            calls.append(value)
            return value

        async def ask() -> list[int]:
            return [await same(7), await same(7)]

        assert (asyncio.run(ask()), calls) == ([7, 7], [7])

    def test_one_callable_may_be_both(self) -> None:
        """With a request it is a view; without one, a function."""

        @conditional_cache(lambda *_: True)
        def page(request: HttpRequest | str) -> HttpResponse:
            return HttpResponse("page")

        assert statuses(page, asked(), asked()) == ["MISS", "HIT"]
        assert page("text") is page("text")


class TestCacheOnSuccess:
    def test_responses_with_another_status_are_not_kept(self) -> None:
        """Without `success_func`: 200 alone."""
        for status, expected in ((200, ["MISS", "HIT"]), (201, [None, None]), (500, [None, None])):
            view = cache_on_success()(Counter(lambda _, status=status: JsonResponse({}, status=status)))
            assert statuses(view, asked(), asked()) == expected

    def test_the_function_says_which_are(self) -> None:
        """Another status where it says so, for 60 s at most; and of 200 those that it likes."""
        with testing.clock() as clock:
            view = cache_on_success(600, lambda response: response.status_code == 404)(
                Counter(lambda _: JsonResponse({}, status=404))
            )
            assert statuses(view, asked(), asked()) == ["MISS", "HIT"]
            clock.advance(61)
            assert statuses(view, asked()) == ["MISS"]
        empty = cache_on_success(success_func=lambda response: b"items" in response.content)(
            Counter(lambda _: JsonResponse({}))
        )
        assert statuses(empty, asked(), asked()) == [None, None]

    def test_what_nobody_may_keep_is_not_kept_for_it(self) -> None:
        """A throttled client's 429 stays his, whatever the function says."""
        view = cache_on_success(success_func=lambda _: True)(Counter(lambda _: JsonResponse({}, status=429)))
        assert statuses(view, asked(), asked()) == [None, None]

    def test_users_are_told_apart(self) -> None:
        """As by every decorator of views."""
        view = cache_on_success()(Counter(lambda request: request.user.username))
        assert bodies(view, asked(user=ANN), asked(user=BOB)) == ["ann 1", "bob 2"]

    def test_of_a_function_what_is_none_is_not_kept(self) -> None:
        """Without `success_func`; with one, what it refuses is returned all the same."""
        answers: list[Any] = [None, "found"]

        @cache_on_success(timeout=300)
        def look() -> Any:
            return answers.pop(0)

        assert [look(), look(), look()] == [None, "found", "found"]
        calls: list[int] = []

        @cache_on_success(success_func=lambda result: result > 1)
        def count() -> int:
            calls.append(1)
            return len(calls)

        assert [count(), count(), count()] == [1, 2, 2]

    def test_async_functions(self) -> None:
        """Stay async, and what is refused is returned."""
        answers: list[Any] = [None, "found"]

        @cache_on_success()
        async def look() -> Any:
            return answers.pop(0)

        async def ask() -> list[Any]:
            return [await look(), await look(), await look()]

        assert asyncio.run(ask()) == [None, "found", "found"]

    def test_what_a_function_raises_is_raised(self) -> None:
        """And not kept."""
        calls: list[int] = []

        @cache_on_success()
        def fail() -> None:
            calls.append(1)
            raise LookupError("gone")

        for _ in range(2):
            with pytest.raises(LookupError, match="gone"):
                fail()
        assert calls == [1, 1]
