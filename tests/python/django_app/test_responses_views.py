"""`cached_view`: what is cached, for whom, and what never is. Requests are made without a server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asked_views import Counter
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.test import RequestFactory, override_settings
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View

from oxicache import testing
from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}

Answer = Callable[..., HttpResponse]


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(path: str = "/page/", user: Any = None, session: bool = False, **extra: Any) -> HttpRequest:
    """A GET as the middleware of sessions and users leaves it; `user` is logged in."""
    request = RequestFactory().get(path, **extra)
    request.session = SessionStore()
    if user is not None or session:
        request.COOKIES["sessionid"] = "s"
    request.user = SimpleLazyObject(lambda: user or AnonymousUser())  # type: ignore[assignment]
    return request


def cached(say: Callable[[HttpRequest], Any] = lambda _: "page", **options: Any) -> tuple[Any, Counter]:
    counter = Counter(say)
    return cached_view(**options)(counter), counter


class TestHits:
    def test_the_second_request_is_answered_from_the_cache(self) -> None:
        """X-Cache is MISS where the view was called and HIT where not; status, headers and body are the same."""
        view, counter = cached(lambda _: JsonResponse({"a": 1}, headers={"X-Own": "yes"}))
        first, second = view(asked()), view(asked())
        assert (first["X-Cache"], second["X-Cache"], counter.calls) == ("MISS", "HIT", 1)
        assert (second.status_code, second.content) == (200, b'{"a": 1}')
        assert (second["Content-Type"], second["X-Own"]) == ("application/json", "yes")

    def test_a_response_expires(self) -> None:
        """After `timeout` seconds the view is asked again, and Age says how old a hit is."""
        with testing.clock() as clock:
            view, counter = cached(timeout=60)
            view(asked())
            clock.advance(59)
            assert view(asked())["Age"] == "59"
            clock.advance(2)
            view(asked())
            assert counter.calls == 2

    def test_what_belongs_to_one_delivery_is_not_kept(self) -> None:
        """A date that the view gave its response is not that of a hit."""
        view, _ = cached(lambda _: HttpResponse(headers={"Date": "Wed, 01 Oct 2025 10:00:00 GMT"}))
        assert ["Date" in view(asked()) for _ in range(2)] == [True, False]

    def test_a_response_may_say_itself_for_how_long(self) -> None:
        """max-age of the view's own Cache-Control shortens the timeout, and never prolongs it."""
        with testing.clock() as clock:
            view, counter = cached(lambda _: HttpResponse(headers={"Cache-Control": "max-age=5"}), timeout=60)
            view(asked())
            clock.advance(6)
            view(asked())
            assert counter.calls == 2

    def test_the_path_the_query_and_the_host_are_in_the_key(self) -> None:
        """Requests that differ in any of them get responses of their own."""
        view, counter = cached()
        for path in ("/a/", "/b/", "/a/?x=1", "/a/?x=2", "/a/?x=1&x=2", "/a/?x=2&x=1"):
            view(asked(path))
        view(asked("/a/", SERVER_NAME="testserver", HTTP_HOST="testserver:81"))
        view(asked("/a/", secure=True))
        assert counter.calls == 8

    def test_the_order_of_parameters_is_not_in_the_key(self) -> None:
        """`?a=1&b=2` and `?b=2&a=1` are one entry; the order of one name's values counts."""
        view, counter = cached()
        assert view(asked("/?a=1&b=2")).content == view(asked("/?b=2&a=1")).content
        assert counter.calls == 1

    @pytest.mark.parametrize("is_read", [False, True], ids=["as it came", "read before"])
    def test_letters_beyond_ascii(self, is_read: bool) -> None:
        """Queries are apart by what the view reads of them, escaped or not, and whoever has read them before."""
        view, counter = cached(lambda request: request.GET["q"])
        for query in ("q=%C3%A9", "q=%C3%A8", "q=\xe9", "q=\xe8", "q=%C3%A9"):
            request = asked(QUERY_STRING=query)
            if is_read:
                request.GET.get("q")
            said = request.GET["q"] if is_read else None
            found = view(request).content.decode().split()[0]
            assert said is None or found == said
        assert counter.calls >= 2

    def test_two_views_with_one_prefix_do_not_share(self) -> None:
        """`key_prefix` names a group, not a view."""

        @cached_view(key_prefix="board")
        def one(request: HttpRequest) -> HttpResponse:
            return HttpResponse("one")

        @cached_view(key_prefix="board")
        def two(request: HttpRequest) -> HttpResponse:
            return HttpResponse("two")

        assert (one(asked()).content, two(asked()).content) == (b"one", b"two")

    def test_arguments_of_the_view_are_in_the_key(self) -> None:
        """A view that another view calls is told apart by what it is given."""
        view, _ = cached()
        assert view(asked(), pk=1).content != view(asked(), pk=2).content
        assert view(asked(), pk=1)["X-Cache"] == "HIT"


class TestMethods:
    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_only_get_is_cached(self, method: str) -> None:
        """Other methods reach the view each time and fill nothing."""
        view, counter = cached()
        for _ in range(2):
            assert "X-Cache" not in view(getattr(RequestFactory(), method)("/page/"))
        view(asked())
        assert counter.calls == 3

    def test_head_is_answered_from_get_and_fills_nothing(self) -> None:
        """A hit for HEAD has GET's headers and length, and its body as a view's has: servers leave it out."""
        view, _ = cached()
        head = RequestFactory().head("/page/")
        view(head)
        assert view(asked())["X-Cache"] == "MISS"
        found = view(RequestFactory().head("/page/"))
        assert (found["X-Cache"], found.content, found["Content-Length"]) == ("HIT", b"page 2", "6")

    def test_a_view_that_asks_another_for_head(self) -> None:
        """What it makes of the other's body is as long whether that one is a hit or not."""
        inner, _ = cached()
        outer = cached_view()(lambda request: HttpResponse(b"<" + inner(request).content + b">"))
        inner(asked())
        assert outer(RequestFactory().head("/page/")).content == b"<page 1>"

    def test_a_get_with_a_body_is_not_cached(self) -> None:
        """What is in the body is in no key."""
        view, counter = cached()
        for _ in range(2):
            view(RequestFactory().generic("GET", "/page/", b"{}", content_type="application/json"))
        assert counter.calls == 2


class TestConditions:
    def test_a_view_that_asks_another_gets_a_whole_response(self) -> None:
        """The client's condition is about the outer one: nothing without a body is shown, or stored, in its place."""
        inner, _ = cached()
        outer = cached_view(key_prefix="outer")(
            lambda request: HttpResponse(b"<" + inner(request).content + b">")
        )
        known = {"HTTP_IF_NONE_MATCH": inner(asked())["ETag"]}
        assert [outer(asked(**one)).content for one in (known, {})] == [b"<page 1>", b"<page 1>"]

    def test_who_has_the_response_is_told_so(self) -> None:
        """A response gets an ETag; a request that names it gets 304 without a body, from a hit and from a miss."""
        view, _ = cached()
        etag = view(asked())["ETag"]
        found = view(asked(HTTP_IF_NONE_MATCH=etag))
        assert (found.status_code, found.content, found["X-Cache"]) == (304, b"", "HIT")
        assert view(asked(HTTP_IF_NONE_MATCH='"other"')).status_code == 200

    def test_a_views_own_etag_and_date_are_kept(self) -> None:
        """Last-Modified answers If-Modified-Since."""
        date = "Wed, 01 Oct 2025 10:00:00 GMT"
        view, _ = cached(lambda _: HttpResponse("x", headers={"ETag": '"own"', "Last-Modified": date}))
        assert view(asked())["ETag"] == '"own"'
        assert view(asked(HTTP_IF_MODIFIED_SINCE=date)).status_code == 304

    def test_a_client_may_ask_for_a_new_response(self) -> None:
        """no-cache and max-age=0 reach the view and renew the entry; no-store leaves the cache alone."""
        view, _ = cached()
        view(asked())
        for header in ("max-age=0, no-cache", "No-Cache", "max-age=0"):
            assert view(asked(HTTP_CACHE_CONTROL=header))["X-Cache"] == "MISS"
        assert view(asked()).content == b"page 4"
        assert "X-Cache" not in view(asked(HTTP_CACHE_CONTROL="no-store"))
        assert view(asked()).content == b"page 4"


NEVER = {
    "not found": lambda _: HttpResponse(status=404),
    "error": lambda _: HttpResponse(status=500),
    "redirect": lambda _: HttpResponseRedirect("/"),
    "streaming": lambda _: StreamingHttpResponse(iter([b"a"])),
    "file": lambda _: FileResponse(iter([b"a"])),
    "no-store": lambda _: HttpResponse(headers={"Cache-Control": "no-store"}),
    "private": lambda _: HttpResponse(headers={"Cache-Control": "max-age=60, private"}),
    "no-cache": lambda _: HttpResponse(headers={"Cache-Control": "No-Cache"}),
    "vary on everything": lambda _: HttpResponse(headers={"Vary": "*"}),
    "a cookie's header": lambda _: HttpResponse(headers={"Set-Cookie": "a=b"}),
    "large": lambda _: HttpResponse(b"x" * 2_000_000),
    "none": lambda _: None,
}


class TestNever:
    @pytest.mark.parametrize("kind", NEVER)
    def test_what_is_never_cached(self, kind: str) -> None:
        """The view answers each time, as if it were not decorated."""
        view, counter = cached(NEVER[kind])
        for _ in range(3):
            found = view(asked())
            assert found is None or "X-Cache" not in found
        assert counter.calls == 3

    def test_a_response_that_sets_a_cookie(self) -> None:
        """A cookie is for one visitor."""

        def say(_: HttpRequest) -> HttpResponse:
            response = HttpResponse("x")
            response.set_cookie("a", "b")
            return response

        view, counter = cached(say)
        assert view(asked()).cookies["a"].value == "b"
        assert view(asked()).cookies["a"].value == "b"
        assert counter.calls == 2

    def test_what_a_view_raises_is_raised(self) -> None:
        """An error is the view's own, each time."""

        def say(_: HttpRequest) -> HttpResponse:
            raise ValueError("mine")

        view, counter = cached(say)
        for _ in range(2):
            with pytest.raises(ValueError, match="mine"):
                view(asked())
        assert counter.calls == 2

    def test_other_statuses_are_kept_where_asked_for_a_minute_at_most(self) -> None:
        """`statuses` names them; 60 s is the limit whatever the timeout."""
        with testing.clock() as clock:
            view, counter = cached(lambda _: HttpResponse(status=404), statuses=[200, 404], timeout=3600)
            assert [view(asked()).status_code for _ in range(2)] == [404, 404]
            assert counter.calls == 1
            clock.advance(61)
            view(asked())
            assert counter.calls == 2


class TestClasses:
    def test_a_view_class_is_decorated_as_a_whole(self) -> None:
        """Each class that inherits it is a view of its own."""

        @cached_view()
        class Page(View):
            calls = 0

            def get(self, request: HttpRequest) -> HttpResponse:
                type(self).calls += 1
                return HttpResponse(type(self).__name__)

        class Other(Page):
            calls = 0

        for kind in (Page, Other):
            for _ in range(2):
                assert kind.as_view()(asked()).content == kind.__name__.encode()
        assert (Page.calls, Other.calls) == (1, 1)

    def test_method_decorator_and_methods(self) -> None:
        """Through method_decorator, and straight on a method, hits are shared among instances of the class."""
        calls: list[str] = []

        @method_decorator(cached_view(), name="dispatch")
        class One(View):
            def get(self, request: HttpRequest) -> HttpResponse:
                calls.append("one")
                return HttpResponse("one")

        class Two(View):
            @cached_view()
            def get(self, request: HttpRequest, pk: int) -> HttpResponse:
                calls.append(f"two {pk}")
                return HttpResponse(f"two {pk}")

        for _ in range(2):
            assert One.as_view()(asked()).content == b"one"
            assert Two.as_view()(asked(), pk=1).content == b"two 1"
            assert Two.as_view()(asked(), pk=2).content == b"two 2"
        assert calls == ["one", "two 1", "two 2"]


class TestArguments:
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"timeout": -1}, ValueError),
            ({"timeout": "60"}, TypeError),
            ({"vary_on": "Accept"}, TypeError),
            ({"tags": "one"}, TypeError),
            ({"per_user": "yes"}, TypeError),
            ({"key_func": 1}, TypeError),
            ({"condition_func": 1}, TypeError),
            ({"statuses": 200}, TypeError),
            ({"max_bytes": -1}, ValueError),
            ({"grace": -1}, ValueError),
            ({"invalidate_on": "auth.User"}, TypeError),
            ({"alias": 1}, TypeError),
        ],
        ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
    )
    def test_wrong_arguments_are_named_at_the_decorator(
        self, wrong: dict[str, Any], error: type[Exception]
    ) -> None:
        """The error says which parameter, before any request comes."""
        with pytest.raises(error, match=next(iter(wrong)).rstrip("s")):
            cached_view(**wrong)

    def test_a_broken_key_function_leaves_the_view_as_it_was(self, caplog: pytest.LogCaptureFixture) -> None:
        """The view answers, nothing is cached, and one line says why."""

        def broken(request: HttpRequest) -> str:
            raise KeyError("lost")

        view, _ = cached(key_func=broken)
        assert [view(asked()).content for _ in range(2)] == [b"page 1", b"page 2"]
        assert [record.message.count("lost") for record in caplog.records] == [1]


def test_users_are_apart() -> None:
    """Each user has entries of his own, and visitors who are none share theirs."""
    view, _ = cached(lambda request: f"{request.user.pk}")
    ann, bob = User(pk=1, username="ann"), User(pk=2, username="bob")
    assert [view(asked(user=user)).content for user in (ann, bob, ann, None, None)] == [
        b"1 1",
        b"2 2",
        b"1 1",
        b"None 3",
        b"None 3",
    ]
