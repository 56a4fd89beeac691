"""Document 002 (THE_BOT): what its decorators of views got wrong, at the names they have here."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from dialect_requests import ANN, BOB, Counter, asked, bodies, own_responses
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from oxicache import testing
from oxicache.compat.the_bot import (
    CacheInvalidator,
    cache_etag_condition,
    cache_page_conditional,
    cache_response,
)


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    other = {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "the-bot-other"}
    with own_responses(other=other):
        yield


def statuses(view: Any, *requests: HttpRequest) -> list[str | None]:
    return [view(request).get("X-Cache") for request in requests]


class TestCacheResponse:
    def test_each_user_has_entries_of_his_own(self) -> None:
        """And who is not logged in is answered by the view each time."""
        view = cache_response()(Counter(lambda request: request.user.username))
        requests = [asked(user=ANN), asked(user=BOB), asked(user=ANN), asked(), asked()]
        assert bodies(view, *requests) == ["ann 1", "bob 2", "ann 1", " 3", " 4"]

    @pytest.mark.parametrize("missing", ["None", "absent"])
    def test_a_request_without_a_user_is_let_through(self, missing: str) -> None:
        """`request.user` may be None, and a site without authentication has none."""
        request = asked()
        del request.user
        if missing == "None":
            request.user = None  # type: ignore[assignment]
        view = cache_response()(Counter())
        assert statuses(view, request, request) == [None, None]

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    def test_only_get_is_kept(self, method: str) -> None:
        """Whatever else is asked runs the view."""
        view = cache_response()(Counter())
        assert statuses(view, *[asked(user=ANN, method=method) for _ in range(2)]) == [None, None]

    def test_only_status_200_is_kept(self) -> None:
        """An error is the view's to make, each time."""
        view = cache_response()(Counter(lambda _: JsonResponse({}, status=404)))
        assert statuses(view, asked(user=ANN), asked(user=ANN)) == [None, None]

    @pytest.mark.parametrize("ttl", [None, 0])
    def test_no_ttl_is_five_minutes(self, ttl: Any) -> None:
        """`ttl or 300`, as there."""
        with testing.clock() as clock:
            view = cache_response(ttl)(Counter())
            view(asked(user=ANN))
            clock.advance(299)
            assert statuses(view, asked(user=ANN)) == ["HIT"]
            clock.advance(2)
            assert statuses(view, asked(user=ANN)) == ["MISS"]

    @pytest.mark.parametrize("header", ["no-cache", "max-age=0, no-cache", "No-Cache", "max-age=0"])
    def test_a_client_may_ask_for_what_is_new(self, header: str) -> None:
        """There the header had to be `no-cache` to the letter: with `max-age=0, no-cache` the old page came back."""
        view = cache_response()(Counter())
        plain = asked(user=ANN)
        assert bodies(view, plain, asked(user=ANN, HTTP_CACHE_CONTROL=header)) == ["page 1", "page 2"]

    def test_the_order_of_parameters_counts_for_nothing(self) -> None:
        """There `?a=1&b=2` and `?b=2&a=1` were two entries."""
        view = cache_response()(Counter())
        first, second = asked("/list/?a=1&b=2", user=ANN), asked("/list/?b=2&a=1", user=ANN)
        assert bodies(view, first, second) == ["page 1", "page 1"]

    def test_headers_that_the_view_reads_are_in_the_key(self) -> None:
        """There Accept and Accept-Language were not: a German reader got an English page."""
        view = cache_response()(Counter(lambda request: request.headers.get("Accept-Language", "")))
        languages = [asked(user=ANN, HTTP_ACCEPT_LANGUAGE=name) for name in ("en", "de", "en")]
        assert bodies(view, *languages) == ["en 1", "de 2", "en 1"]

    def test_users_who_come_with_a_token(self) -> None:
        """Of a view of the framework it is known whose a request with `Authorization` is, and a hit is his own."""

        class ByToken(BaseAuthentication):
            def authenticate(self, request: Any) -> Any:
                return {"Token ann": ANN, "Token bob": BOB}[request.headers["Authorization"]], None

        @api_view(["GET"])
        @authentication_classes([ByToken])
        @cache_response()
        def view(request: Any) -> Response:
            return Response(request.user.username)

        requests = [asked(HTTP_AUTHORIZATION=f"Token {name}") for name in ("ann", "bob", "ann")]
        answers = [(one.data, one["X-Cache"]) for one in map(view, requests)]
        assert answers == [("ann", "MISS"), ("bob", "MISS"), ("ann", "HIT")]
        plain = cache_response()(Counter())
        assert (
            statuses(plain, *[asked(user=ANN, HTTP_AUTHORIZATION="Token ann") for _ in range(2)])
            == [None] * 2
        )

    def test_a_response_of_the_framework_without_a_renderer(self) -> None:
        """A view that is not the framework's may return one: its data are held, and it is rendered by who can."""
        view = cache_response()(lambda request: Response({"title": "Rust"}))
        first, second = view(asked(user=ANN)), view(asked(user=ANN))
        assert (first["X-Cache"], second["X-Cache"], second.data) == ("MISS", "HIT", {"title": "Rust"})
        second.accepted_renderer, second.accepted_media_type, second.renderer_context = (
            JSONRenderer(),
            "application/json",
            {},
        )
        assert second.render().content == b'{"title":"Rust"}'

    def test_another_alias_may_hold_them(self) -> None:
        """`cache_name` names it."""
        from django.core.cache import caches

        view = cache_response(cache_name="other")(Counter())
        assert statuses(view, asked(user=ANN), asked(user=ANN)) == ["MISS", "HIT"]
        caches["other"].clear()
        assert statuses(view, asked(user=ANN)) == ["MISS"]


class TestInvalidation:
    def test_tags_are_what_the_invalidator_knows(self) -> None:
        """There it deleted keys that no layer wrote: a view that says what it shows is found."""
        views = {
            tag: cache_response(tags=[tag])(Counter()) for tag in ("materials:list", "material:detail:7")
        }
        other = cache_response(tags=["material:detail:8"])(Counter())
        for view in (*views.values(), other):
            assert bodies(view, asked(user=ANN), asked(user=ANN)) == ["page 1", "page 1"]
        CacheInvalidator.invalidate_material(7)
        assert [bodies(view, asked(user=ANN)) for view in views.values()] == [["page 2"], ["page 2"]]
        assert bodies(other, asked(user=ANN)) == ["page 1"]

    def test_a_users_responses_are_his_data(self) -> None:
        """Whatever views they are of; other users keep theirs."""
        view = cache_response()(Counter())
        bodies(view, asked(user=ANN), asked(user=BOB))
        CacheInvalidator.invalidate_user_data(ANN.pk)
        assert bodies(view, asked(user=ANN), asked(user=BOB)) == ["page 3", "page 2"]


class TestKeyFunctions:
    def test_two_views_with_one_function_share_nothing(self) -> None:
        """There the key was what the function returned and nothing else: the second view answered with the first's."""
        views = [
            cache_response(key_func=lambda r: f"user_{r.user.id}")(Counter(lambda _, said=said: said))
            for said in ("dashboard", "profile")
        ]
        assert [bodies(view, asked(user=ANN)) for view in views] == [["dashboard 1"], ["profile 1"]]

    def test_a_view_with_arguments_in_its_url(self) -> None:
        """There a function of the request alone was a TypeError for such a view."""
        view = cache_response(key_func=lambda r: f"user_{r.user.id}")(Counter())
        answers = [view(asked(user=ANN), pk=pk).content for pk in (1, 2, 1)]
        assert answers == [b"page 1", b"page 2", b"page 1"]

    def test_users_of_one_key_share(self) -> None:
        """What the function returns stands in the user's place, and what it looks at the view may look at."""
        view = cache_response(key_func=lambda r: r.user.is_staff)(
            Counter(lambda request: str(request.user.is_staff))
        )
        eve = type(BOB)(pk=3, username="eve", is_staff=True)
        assert bodies(view, asked(user=ANN), asked(user=BOB), asked(user=eve)) == [
            "False 1",
            "True 2",
            "True 2",
        ]

    def test_a_key_that_says_nothing_of_the_user_keeps_nothing_of_him(self) -> None:
        """The function does not look at the user, the view does: nothing is cached."""
        view = cache_response(key_func=lambda _: "all")(Counter(lambda request: request.user.username))
        assert bodies(view, asked(user=ANN), asked(user=BOB)) == ["ann 1", "bob 2"]

    def test_pages_of_one_key_are_apart(self) -> None:
        """There `?page=2` was answered with page 1."""
        view = cache_response(key_func=lambda r: r.user.id)(Counter(lambda r: r.GET.get("page", "1")))
        requests = [asked("/list/", user=ANN), asked("/list/?page=2", user=ANN)]
        assert bodies(view, *requests) == ["1 1", "2 2"]

    def test_a_broken_function_costs_no_page(self, caplog: pytest.LogCaptureFixture) -> None:
        """The view answers, nothing is kept, one line says why."""
        view = cache_response(key_func=lambda r: r.user.no_such)(Counter())
        assert bodies(view, asked(user=ANN), asked(user=ANN)) == ["page 1", "page 2"]
        assert ["key could not be made" in record.message for record in caplog.records] == [True]


class TestCachePageConditional:
    def test_visitors_who_are_nobody_share(self) -> None:
        """Users have entries of their own, as there."""
        view = cache_page_conditional(ttl=600)(Counter(lambda request: request.user.username))
        requests = [asked(), asked(), asked(user=ANN), asked(user=BOB), asked(user=ANN)]
        assert bodies(view, *requests) == [" 1", " 1", "ann 2", "bob 3", "ann 2"]

    def test_views_of_one_name_are_apart(self) -> None:
        """The path is in the key, and so is the view."""
        view = cache_page_conditional()(Counter())
        assert bodies(view, asked("/a/"), asked("/b/"), asked("/a/")) == ["page 1", "page 2", "page 1"]

    def test_a_key_builder_takes_the_place_of_the_user(self) -> None:
        """As `key_func` does, and it is given the arguments that it takes."""
        seen: list[Any] = []

        def builder(request: HttpRequest, report_id: int) -> str:
            seen.append(report_id)
            return f"report-{report_id}"

        view = cache_page_conditional(key_builder=builder)(Counter())
        answers = [view(asked(user=user), report_id=7).content for user in (ANN, BOB)]
        assert (answers, seen) == ([b"page 1"] * 2, [7] * 3)  # twice for the miss, once for the hit


class TestEtagCondition:
    def test_a_client_that_has_it_gets_304(self) -> None:
        """The function is given the view's arguments; what it returns is quoted."""
        view = cache_etag_condition(lambda request, pk: f"v{pk}")(Counter())
        first = view(asked(), pk=7)
        assert (first.status_code, first["ETag"]) == (200, '"v7"')
        again = view(asked(HTTP_IF_NONE_MATCH='"v7"'), pk=7)
        assert (again.status_code, view(asked(HTTP_IF_NONE_MATCH='"v7"'), pk=8).status_code) == (304, 200)

    def test_when_it_was_changed_counts_too(self) -> None:
        """`last_modified_func` answers If-Modified-Since."""
        when = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
        view = cache_etag_condition(lambda _: None, lambda _: when)(Counter())
        assert view(asked())["Last-Modified"] == "Thu, 02 Jan 2025 03:04:05 GMT"
        unchanged = asked(HTTP_IF_MODIFIED_SINCE="Thu, 02 Jan 2025 03:04:05 GMT")
        assert view(unchanged).status_code == 304

    def test_a_write_on_what_has_changed_is_refused(self) -> None:
        """If-Match with another ETag is 412, and the view does not run."""
        counter = Counter()
        view = cache_etag_condition(lambda _: "new")(counter)
        assert view(asked(method="PUT", HTTP_IF_MATCH='"old"')).status_code == 412
        assert counter.calls == 0

    def test_it_decorates_methods(self) -> None:
        """The functions are given the request and what follows it, and not the view."""

        class Page(View):
            @cache_etag_condition(lambda request, pk=None: f"v{pk}")
            def get(self, request: HttpRequest, pk: int) -> HttpResponse:
                return HttpResponse(f"{type(self).__name__} {pk}")

        view = Page.as_view()
        assert view(asked(), pk=7).content == b"Page 7"
        assert view(asked(HTTP_IF_NONE_MATCH='"v7"'), pk=7).status_code == 304

    def test_it_decorates_async_views(self) -> None:
        """A function that reads rows is asked in a thread, an async one is awaited; there both failed."""
        from django.contrib.auth.models import Group

        def etag(request: HttpRequest) -> str:
            return f"groups-{Group.objects.filter(name='the-bot').count()}"

        async def modified(request: HttpRequest) -> datetime:
            return datetime(2025, 1, 1, tzinfo=UTC)

        @cache_etag_condition(etag, modified)
        async def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse("page")

        async def ask(**headers: Any) -> Any:
            return await view(asked(**headers))

        first = asyncio.run(ask())
        assert (first["ETag"], first["Last-Modified"]) == ('"groups-0"', "Wed, 01 Jan 2025 00:00:00 GMT")
        assert asyncio.run(ask(HTTP_IF_NONE_MATCH='"groups-0"')).status_code == 304
