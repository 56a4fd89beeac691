"""`cached_api` of document 003: what is in its keys, whether errors are kept, and how it is told apart."""

import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, Counter, asked, bodies, own_responses
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.exceptions import NotFound
from rest_framework.response import Response
from rest_framework.views import APIView

from oxicache import testing
from oxicache.django import invalidate
from oxicache.django.responses import cached_api, cached_view


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with own_responses():
        yield


def cached(say: Any = lambda _: "page", **options: Any) -> tuple[Any, Counter]:
    counter = Counter(say)
    return cached_api(**options)(counter), counter


class TestKeys:
    def test_repeated_parameters_are_told_apart(self) -> None:
        """The defect of document 003: `?a=1&a=2` was answered with what `?a=3&a=2` had got."""
        view, _ = cached(lambda request: ",".join(request.GET.getlist("a")))
        first, second = asked("/api/?a=1&a=2"), asked("/api/?a=3&a=2")
        assert bodies(view, first, second, first) == ["1,2 1", "3,2 2", "1,2 1"]

    def test_the_order_of_names_counts_for_nothing(self) -> None:
        """`?a=1&b=2` and `?b=2&a=1` ask for the same."""
        view, counter = cached()
        bodies(view, asked("/api/?a=1&b=2"), asked("/api/?b=2&a=1"))
        assert counter.calls == 1

    def test_parameters_may_be_left_out(self) -> None:
        """`vary_on_params=False` shares one entry among all queries, and still none among paths."""
        view, _ = cached(vary_on_params=False)
        requests = [asked("/api/?a=1"), asked("/api/?a=2"), asked("/api/"), asked("/other/?a=1")]
        assert bodies(view, *requests) == ["page 1", "page 1", "page 1", "page 2"]

    @pytest.mark.parametrize(
        "read",
        [
            lambda request: request.GET.get("a", "none"),
            lambda request: request.META["QUERY_STRING"],
            lambda request: request.get_full_path(),
        ],
        ids=["GET", "META", "path"],
    )
    def test_a_view_that_looks_at_parameters_which_are_left_out(
        self, read: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It would answer one query with another's page: it is not cached, and one warning says so."""
        view, counter = cached(read, vary_on_params=False)
        first, second = bodies(view, asked("/api/?a=1"), asked("/api/?a=2"))
        assert ("1" in first, "2" in second, counter.calls) == (True, True, 2)
        assert ["looks at GET" in record.message for record in caplog.records] == [True]
        request = asked("/api/?a=1")
        assert request.GET["a"] == "1"  # a middleware has looked
        view(request)
        assert counter.calls == 3

    def test_users_are_told_apart(self) -> None:
        """By default each user has entries of his own, and visitors who are none share theirs."""
        view, _ = cached(lambda request: request.user.username)
        answers = bodies(view, asked(user=ANN), asked(user=BOB), asked(), asked(user=ANN), asked())
        assert answers == ["ann 1", "bob 2", " 3", "ann 1", " 3"]

    def test_users_may_share(self) -> None:
        """`vary_on_auth=False` has one entry for all, as long as the view does not look at who asks."""
        view, _ = cached(vary_on_auth=False)
        assert bodies(view, asked(user=ANN), asked(user=BOB), asked()) == ["page 1"] * 3
        looking, _ = cached(lambda request: request.user.username, vary_on_auth=False)
        assert bodies(looking, asked(user=ANN), asked(user=BOB)) == ["ann 1", "bob 2"]

    def test_a_prefix_is_found_by_patterns(self) -> None:
        """The colons of a prefix part segments of the key, and views with one prefix share nothing."""
        one, _ = cached(lambda _: "one", key_prefix="stats:daily")
        other, _ = cached(lambda _: "other", key_prefix="stats:daily")
        kept, _ = cached(lambda _: "kept", key_prefix="stats:weekly")

        def one_view(request: HttpRequest) -> Any:
            return one(request)

        first = cached_api(key_prefix="stats:daily")(one_view)
        assert bodies(first, asked(), asked()) == ["one 1", "one 1"]
        assert bodies(kept, asked(), asked()) == ["kept 1", "kept 1"]
        invalidate(globs=["*:stats:daily:*"])
        assert bodies(first, asked()) == ["one 2"]
        assert bodies(kept, asked()) == ["kept 1"]
        assert other(asked()).content


class TestErrors:
    def test_errors_are_not_kept(self) -> None:
        """A 404 is answered by the view each time."""
        view, counter = cached(lambda _: JsonResponse({}, status=404))
        assert [view(asked()).status_code for _ in range(2)] == [404, 404]
        assert (counter.calls, view(asked()).has_header("X-Cache")) == (2, False)

    @pytest.mark.parametrize("status", [400, 404, 500, 503])
    def test_errors_are_kept_for_a_minute_where_asked(self, status: int) -> None:
        """`cache_errors` keeps them for 60 s, however long `timeout` is, and says HIT."""
        with testing.clock() as clock:
            view, counter = cached(lambda _: JsonResponse({}, status=status), cache_errors=True)
            assert [view(asked())["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
            clock.advance(59)
            assert (view(asked()).status_code, counter.calls) == (status, 1)
            clock.advance(2)
            view(asked())
            assert counter.calls == 2

    def test_errors_are_kept_no_longer_than_the_rest(self) -> None:
        """A `timeout` of less than a minute counts for errors too."""
        with testing.clock() as clock:
            view, counter = cached(lambda _: JsonResponse({}, status=500), cache_errors=True, timeout=10)
            view(asked())
            clock.advance(11)
            view(asked())
            assert counter.calls == 2

    @pytest.mark.parametrize("status", [421, 428, 429, 431, 511])
    def test_what_is_said_to_one_client_is_kept_for_none(self, status: int) -> None:
        """One client's throttle is not another's: such statuses may be stored by no cache."""
        view, counter = cached(lambda _: JsonResponse({}, status=status), cache_errors=True)
        view(asked())
        view(asked())
        assert counter.calls == 2

    def test_a_redirect_is_no_error(self) -> None:
        """Between 200 and 400 nothing is kept but 200."""
        view, counter = cached(
            lambda _: HttpResponse(status=302, headers={"Location": "/"}), cache_errors=True
        )
        view(asked())
        view(asked())
        assert counter.calls == 2


class TestFaces:
    def test_it_decorates_methods_and_classes(self) -> None:
        """A method, through method_decorator or by itself, and a class: each a view of its own."""
        calls: list[str] = []

        class Page(View):
            @cached_api()
            def get(self, request: HttpRequest, pk: int) -> HttpResponse:
                calls.append("plain")
                return JsonResponse({"pk": pk})

        class Decorated(View):
            @method_decorator(cached_api())
            def get(self, request: HttpRequest, pk: int) -> HttpResponse:
                calls.append("decorated")
                return JsonResponse({"pk": pk})

        @cached_api()
        class Whole(View):
            def get(self, request: HttpRequest, pk: int) -> HttpResponse:
                calls.append("whole")
                return JsonResponse({"pk": pk})

        for kind in (Page, Decorated, Whole):
            view = kind.as_view()
            assert [view(asked(), pk=pk)["X-Cache"] for pk in (7, 7, 8)] == ["MISS", "HIT", "MISS"]
        assert calls == ["plain"] * 2 + ["decorated"] * 2 + ["whole"] * 2

    def test_it_decorates_async_views(self) -> None:
        """An async view stays one."""
        calls: list[int] = []

        @cached_api()
        async def view(request: HttpRequest) -> HttpResponse:
            calls.append(1)
            return JsonResponse({})

        async def ask() -> list[str]:
            return [(await view(asked()))["X-Cache"] for _ in range(2)]

        assert (asyncio.run(ask()), calls) == (["MISS", "HIT"], [1])

    def test_it_decorates_views_of_the_framework(self) -> None:
        """Below `api_view`, over a class and over a method: data are kept, and rendered as each client wants."""

        @api_view(["GET"])
        @cached_api()
        def function(request: Any) -> Response:
            return Response({"title": "Rust"})

        class Method(APIView):
            @cached_api()
            def get(self, request: Any) -> Response:
                return Response({"title": "Rust"})

        @cached_api()
        class Whole(APIView):
            def get(self, request: Any) -> Response:
                return Response({"title": "Rust"})

        for view in (function, Method.as_view(), Whole.as_view()):
            found = [view(asked(HTTP_ACCEPT=accept)).render() for accept in ("application/json", "text/html")]
            assert [one["X-Cache"] for one in found] == ["MISS", "HIT"]
            assert found[0].content == b'{"title":"Rust"}'
            assert found[1]["Content-Type"].startswith("text/html")

    def test_errors_of_the_framework(self) -> None:
        """What a view returns is kept where asked; what it raises the framework answers each time."""
        calls: list[str] = []

        @api_view(["GET"])
        @cached_api(cache_errors=True)
        def returning(request: Any) -> Response:
            calls.append("returning")
            return Response({"detail": "gone"}, status=410)

        @api_view(["GET"])
        @cached_api(cache_errors=True)
        def raising(request: Any) -> Response:
            calls.append("raising")
            raise NotFound

        for view, status in ((returning, 410), (raising, 404)):
            assert [view(asked()).status_code for _ in range(2)] == [status] * 2
        assert calls == ["returning", "raising", "raising"]

    def test_tags_and_models_invalidate(self) -> None:
        """Options of `cached_view` are taken as they are."""
        view, _ = cached(tags=["stats"], invalidate_on=[Group])
        assert bodies(view, asked(), asked()) == ["page 1", "page 1"]
        invalidate(tags=["stats"])
        assert bodies(view, asked(), asked()) == ["page 2", "page 2"]
        Group.objects.create(name="cached_api").delete()
        assert bodies(view, asked()) == ["page 3"]

    def test_wrong_arguments_are_named(self) -> None:
        """At the decoration, with the value."""
        for wrong in (
            {"vary_on_auth": 1},
            {"vary_on_params": None},
            {"cache_errors": "yes"},
            {"key_func": 1},
        ):
            (name,) = wrong
            with pytest.raises(TypeError, match=name):
                cached_api(**wrong)
        with pytest.raises(TypeError, match="no_such"):
            cached_api(no_such=1)


class TestArgumentsOfFunctions:
    def test_a_key_function_gets_what_it_takes(self) -> None:
        """A function of the request alone does for a view with arguments in its URL; others get those they name.

        On a miss each is asked twice: to look for the response, and to know what it looks at.
        """
        seen: list[Any] = []
        functions = [
            lambda request: seen.append(()),
            lambda request, pk: seen.append((pk,)),
            lambda request, **kwargs: seen.append(kwargs),
            lambda *args: seen.append(args[1:]),
        ]
        for function in functions:
            view, _ = cached(key_func=function)
            view(asked(), pk=7)
        assert seen[::2] == seen[1::2] == [(), (7,), {"pk": 7}, ()]
        view, _ = cached(key_func=functions[1])
        view(asked(), 8)
        assert seen[-1] == (8,)
        view, _ = cached(condition_func=lambda request, pk: pk == 7)
        assert [view(asked(), pk=pk).has_header("X-Cache") for pk in (7, 8)] == [True, False]

    def test_what_anonymous_visitors_get_is_not_kept_where_users_share(self) -> None:
        """`cache_anonymous=False` beside `per_user=False`-like sharing caches for users alone."""
        view, _ = cached(vary_on_auth=False, cache_anonymous=False)
        assert bodies(view, asked(user=ANN), asked(user=BOB), asked(), asked()) == [
            "page 1",
            "page 1",
            "page 2",
            "page 3",
        ]

    def test_a_broken_success_function_costs_nothing_but_a_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The view's response is returned, none is kept, and one warning says why."""

        def broken(response: Any) -> bool:
            raise KeyError("status")

        view, _ = cached(success_func=broken)
        assert bodies(view, asked(), asked()) == ["page 1", "page 2"]
        assert ["success_func failed" in record.message for record in caplog.records] == [True]


class TestNames:
    """A view's name is part of its key: what is called the same and does something else shares nothing."""

    def test_instances_of_one_class_are_several_views(self) -> None:
        """Two callable objects, each decorated, answer for themselves."""
        views = [cached_api()(Counter(lambda _, said=said: said)) for said in ("one", "other")]
        assert [bodies(view, asked(), asked()) for view in views] == [["one 1"] * 2, ["other 1"] * 2]

    def test_partials_with_arguments_are_several_views(self) -> None:
        """What `functools.partial` fills in is in no URL."""

        def page(request: HttpRequest, kind: str) -> HttpResponse:
            return HttpResponse(kind)

        views = [cached_api()(functools.partial(page, kind=kind)) for kind in ("one", "other")]
        assert [bodies(view, asked(), asked()) for view in views] == [["one"] * 2, ["other"] * 2]

    def test_a_list_of_decorators_makes_one_view(self) -> None:
        """method_decorator makes functions anew for each request; its second one is a hit all the same."""
        calls: list[int] = []

        def passing(view: Any) -> Any:
            @functools.wraps(view)
            def inner(request: HttpRequest) -> Any:
                return view(request)

            return inner

        class Page(View):
            @method_decorator([cached_api(), passing])
            def get(self, request: HttpRequest) -> HttpResponse:
                calls.append(1)
                return JsonResponse({})

        assert [Page.as_view()(asked())["X-Cache"] for _ in range(3)] == ["MISS", "HIT", "HIT"]

    def test_decorators_that_leave_out_parameters_share_nothing_with_those_that_do_not(self) -> None:
        """One function decorated twice: what was made for `?a=1` is not the page without parameters."""

        def page(request: HttpRequest) -> HttpResponse:
            return HttpResponse(request.GET.get("a", "none"))

        ignoring = cached_view(ignored_params=["a"])(page)
        assert bodies(ignoring, asked("/page/?a=1"), asked("/page/?a=2")) == ["1", "1"]
        assert bodies(cached_api()(page), asked("/page/")) == ["none"]
