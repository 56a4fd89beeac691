"""`CacheMiddleware`: what it says of which response, in either order with Django's own middleware."""
# Long because all of its tests ask one site of small views.

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils import translation
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.vary import vary_on_headers

from oxicache.django.responses import CacheMiddleware, cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "headers"}}
OURS = "oxicache.django.responses.CacheMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
DJANGOS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"
ORDERS = {
    "outside": [GZIP, OURS, *DJANGOS],
    "inside": [GZIP, *DJANGOS, OURS],
    "outside of gzip": [OURS, GZIP, *DJANGOS],
    "inside of conditional get": [GZIP, CONDITIONAL, OURS, *DJANGOS],
    "outside of conditional get": [GZIP, OURS, CONDITIONAL, *DJANGOS],
}
PUBLIC, PRIVATE, ONCE = "public, max-age=3600", "private, max-age=300", "private, no-cache"


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain " * 100)


async def plain_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


def named(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {request.user.pk}")


def themed(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.COOKIES.get("theme", "light"))


def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string("{% csrf_token %}").render({}, request))


def baked(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("baked")
    response.set_cookie("a", "b")
    return response


def basket(request: HttpRequest) -> HttpResponse:
    request.session["basket"] = 1
    return HttpResponse("basket")


def tell(request: HttpRequest) -> HttpResponse:
    messages.info(request, "saved")
    return HttpResponse("told")


def show(request: HttpRequest) -> HttpResponse:
    page = "{% for message in messages %}{{ message }}{% endfor %}"
    return HttpResponse(engines["django"].from_string(page).render({}, request))


def own(request: HttpRequest) -> HttpResponse:
    said = request.GET["says"]
    return HttpResponse("own", headers={request.GET.get("header", "Cache-Control"): said})


def status(request: HttpRequest) -> HttpResponse:
    return HttpResponse("x", status=int(request.GET["status"]))


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(["a", "b"]))


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(BytesIO(b"abc"), filename="a.txt")


def api_user(request: HttpRequest) -> HttpResponse:
    request.user = User(pk=5)  # as Django REST framework sets the user of a token in a header of its own
    return JsonResponse({"user": 5})


@cached_view()
def cached_named(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {request.user.pk}")


@cached_view()
def cached_themed(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.COOKIES.get("theme", "light"))


urlpatterns = [
    path("plain/", plain),
    path("async/", plain_async),
    path("named/", named),
    path("themed/", themed),
    path("form/", form),
    path("baked/", baked),
    path("basket/", basket),
    path("tell/", tell),
    path("show/", show),
    path("own/", own),
    path("status/", status),
    path("streamed/", streamed),
    path("file/", file),
    path("api/", api_user),
    path("never/", never_cache(plain)),
    path("controlled/", cache_control(max_age=7)(plain)),
    path("varied/", vary_on_headers("X-Kind", "accept")(plain)),
    path("cached/named/", cached_named),
    path("cached/themed/", cached_themed),
]


@pytest.fixture(autouse=True, params=ORDERS.values(), ids=list(ORDERS))
def middleware(request: Any) -> Iterator[list[str]]:
    """Every order that makes sense."""
    overridden = override_settings(CACHES=NATIVE, MIDDLEWARE=request.param, ROOT_URLCONF=__name__)
    with translation.override("en"), overridden:
        yield request.param


def said(response: Any) -> str:
    return str(response.get("Cache-Control", ""))


def varies(response: Any) -> set[str]:
    return {name.strip().lower() for name in response.get("Vary", "").split(",")}


class TestWhatIsPublic:
    def test_what_depends_on_nobody_is_public(self, client: Client) -> None:
        """An anonymous visitor's page that asks nothing of him may be kept by all for an hour, and has an ETag."""
        response = client.get("/plain/")
        assert said(response) == PUBLIC
        assert {"accept", "accept-encoding", "authorization"} <= varies(response)
        assert "cookie" not in varies(response)
        assert response["ETag"].startswith('"')

    def test_cookies_that_nobody_reads_are_no_matter(self, client: Client) -> None:
        """Those of an analysis script leave a page public, and so does one that a form has left."""
        client.cookies.load({"_ga": "1"})
        client.get("/form/")
        assert "csrftoken" in client.cookies
        assert said(client.get("/plain/")) == PUBLIC

    @pytest.mark.parametrize("address", ["/plain/", "/named/"])
    def test_who_is_logged_in_gets_private_pages(self, member: Client, address: str) -> None:
        """His browser alone keeps them, for five minutes, and not for who logs in after him."""
        response = member.get(address)
        assert said(response) == PRIVATE
        assert "cookie" in varies(response)

    def test_a_visitor_with_authorization_gets_private_pages(self, client: Client) -> None:
        """By that header he may be anybody."""
        response = client.get("/plain/", headers={"Authorization": "Token a"})
        assert said(response) == PRIVATE
        assert "authorization" in varies(response)

    def test_a_user_known_by_something_else(self, client: Client) -> None:
        """A user that was set while the view ran is somebody."""
        assert said(client.get("/api/")) == PRIVATE

    @pytest.mark.parametrize("address", ["/named/", "/themed/", "/show/"])
    def test_a_page_that_looks_at_cookies_is_not_public(self, client: Client, address: str) -> None:
        """Also where the visitor has none: another's page differs. The browser asks anew once its cookies change."""
        response = client.get(address)
        assert said(response) == PRIVATE
        assert "cookie" in varies(response)

    @pytest.mark.parametrize("address", ["/cached/named/", "/cached/themed/"])
    def test_neither_is_a_hit_of_one(self, client: Client, address: str) -> None:
        """What a cached page looked at when it was made counts for those who get it later."""
        for expected in ("MISS", "HIT"):
            response = Client().get(address)
            assert (response["X-Cache"], said(response)) == (expected, PRIVATE)
            assert "cookie" in varies(response)

    @pytest.mark.parametrize("address", ["/form/", "/baked/", "/basket/", "/tell/"])
    def test_what_is_an_answer_to_one_request(self, client: Client, member: Client, address: str) -> None:
        """A form, a cookie, a session that begins, a message: no proxy keeps it, and a browser asks each time."""
        assert said(client.get(address)) == ONCE
        assert said(client.get(address)) == ONCE
        assert said(member.get(address)) == ONCE

    def test_a_page_that_shows_a_message(self, client: Client) -> None:
        """It is not shown again from the browser's own cache."""
        client.get("/tell/")
        assert said(client.get("/show/")) == ONCE
        assert said(client.get("/show/")) in {PRIVATE, ONCE}  # the cookie is deleted, or gone

    def test_a_language_by_cookie_is_not_public(self, client: Client) -> None:
        """LocaleMiddleware names Accept-Language in Vary, and not the cookie that it prefers."""
        client.cookies.load({"django_language": "de"})
        response = client.get("/plain/")
        assert (said(response), response["Content-Language"]) == (PRIVATE, "de")
        assert {"cookie", "accept-language"} <= varies(response)

    def test_deciding_asks_for_no_session(self, client: Client) -> None:
        """A visitor who sends a session cookie costs no query that his page does not make itself."""
        client.cookies.load({"sessionid": "one-that-is-long-enough"})
        response = client.get("/plain/")
        assert not response.wsgi_request.session.accessed
        assert not hasattr(response.wsgi_request.session, "_session_cache")
        assert said(response) == PRIVATE


class TestWhatStays:
    @pytest.mark.parametrize(
        "own", ["no-store", "private", "max-age=5", "public, max-age=9", "no-cache", "must-revalidate"]
    )
    def test_a_views_own_cache_control(self, client: Client, member: Client, own: str) -> None:
        """It is what goes out, letter for letter."""
        assert said(client.get("/own/", {"says": own})) == own
        assert said(member.get("/own/", {"says": own})) == own

    def test_what_decorators_of_django_say(self, client: Client) -> None:
        """never_cache and cache_control stay as they are."""
        assert "no-store" in said(client.get("/never/"))
        assert said(client.get("/controlled/")) == "max-age=7"

    def test_a_views_own_expires(self, client: Client) -> None:
        """It says the same in an older word, and nothing is said beside it."""
        response = client.get("/own/", {"header": "Expires", "says": "Wed, 01 Oct 2025 10:00:00 GMT"})
        assert said(response) == ""

    def test_what_is_not_to_be_stored_has_no_etag(self, client: Client) -> None:
        """There would be nothing to compare it with."""
        assert "ETag" not in client.get("/own/", {"says": "no-store"})

    def test_a_views_own_vary_and_etag(self, client: Client) -> None:
        """Vary is added to, each name once; an ETag is not replaced."""
        response = client.get("/varied/")
        assert varies(response) >= {"x-kind", "accept", "accept-encoding", "authorization"}
        assert response["Vary"].lower().count("accept,") == 1
        assert client.get("/own/", {"header": "ETag", "says": '"mine"'})["ETag"] == '"mine"'
        assert client.get("/own/", {"header": "Vary", "says": "*"})["Vary"] == "*"

    @pytest.mark.parametrize("number", [201, 206, 301, 404, 500, 503])
    def test_other_statuses_are_left_alone(self, client: Client, number: int) -> None:
        """An error that a proxy keeps for an hour outlives its cause."""
        response = client.get("/status/", {"status": number})
        assert said(response) == ""
        assert "authorization" not in varies(response)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_other_methods_are_left_alone(self, client: Client, method: str) -> None:
        """What changes something is nobody's to keep."""
        response = getattr(client, method)("/plain/")
        assert said(response) == ""
        assert "authorization" not in varies(response)

    @pytest.mark.parametrize("address", ["/streamed/", "/file/"])
    def test_streams_and_files_are_left_alone(self, client: Client, address: str) -> None:
        """Nothing is read of them, and nothing is said."""
        response = client.get(address)
        assert response.streaming
        assert said(response) == ""
        assert "authorization" not in varies(response)


class TestConditions:
    def test_who_has_it_gets_a_304(self, client: Client, middleware: list[str]) -> None:
        """Without a body, and with the headers that the 200 had."""
        first = client.get("/plain/")
        second = client.get("/plain/", headers={"If-None-Match": first["ETag"]})
        assert (second.status_code, second.content) == (304, b"")
        assert second["ETag"] == first["ETag"]
        assert said(second) == PUBLIC
        assert varies(second) >= {"accept", "accept-encoding", "authorization"}

    def test_head_is_answered_alike(self, client: Client) -> None:
        """HEAD says the ETag that GET says, and a 304 where that is known."""
        first, head = client.get("/plain/"), client.head("/plain/")
        assert (head["ETag"], said(head), head.content) == (first["ETag"], PUBLIC, b"")
        assert client.head("/plain/", headers={"If-None-Match": first["ETag"]}).status_code == 304

    def test_a_change_is_seen(self, client: Client) -> None:
        """Another body has another ETag."""
        one, two = (client.get("/own/", {"header": "X-A", "says": "a"}), client.get("/async/"))
        assert one["ETag"] != two["ETag"]
        assert client.get("/async/", headers={"If-None-Match": one["ETag"]}).status_code == 200

    def test_last_modified(self, client: Client) -> None:
        """A view's own Last-Modified answers If-Modified-Since; none is invented."""
        then, later = "Wed, 01 Oct 2025 10:00:00 GMT", "Wed, 01 Oct 2025 10:00:01 GMT"
        asked = {"header": "Last-Modified", "says": then}
        assert client.get("/own/", asked, headers={"If-Modified-Since": then}).status_code == 304
        assert (
            client.get("/own/", asked | {"says": later}, headers={"If-Modified-Since": then}).status_code
            == 200
        )
        assert "Last-Modified" not in client.get("/plain/")

    def test_if_match(self, client: Client) -> None:
        """412 where the client has built on something else."""
        assert client.get("/plain/", headers={"If-Match": '"other"'}).status_code == 412
        assert client.get("/plain/", headers={"If-Match": client.get("/plain/")["ETag"]}).status_code == 200

    def test_a_cookie_is_not_lost_with_the_body(self, client: Client) -> None:
        """A 304 sets the cookies that its 200 would set."""
        tag = client.get("/baked/")["ETag"]
        response = Client().get("/baked/", headers={"If-None-Match": tag})
        assert response.status_code == 304
        assert response.cookies["a"].value == "b"


class TestCompression:
    def test_a_compressed_response(self, client: Client, middleware: list[str]) -> None:
        """Its ETag is weak, and known again; a strong one is never that of two bodies."""
        asked = {"Accept-Encoding": "gzip"}
        response = client.get("/plain/", headers=asked)
        assert response["Content-Encoding"] == "gzip"
        if middleware.index(GZIP) > middleware.index(OURS):
            assert "ETag" not in response  # Django compresses nothing to the same bytes twice
            return
        assert response["ETag"] == f"W/{client.get('/plain/')['ETag']}"
        again = client.get("/plain/", headers=asked | {"If-None-Match": response["ETag"]})
        assert (again.status_code, again["ETag"]) == (304, response["ETag"])


class TestAsync:
    async def ask(self, address: str) -> Any:
        return await AsyncClient().get(address)

    def test_asgi(self) -> None:
        """An async site gets the same headers."""
        from asgiref.sync import async_to_sync

        for address, expected in (("/plain/", PUBLIC), ("/async/", PUBLIC), ("/named/", PRIVATE)):
            response = async_to_sync(self.ask)(address)
            assert said(response) == expected
            assert "authorization" in varies(response)

    def test_it_runs_in_the_loop(self) -> None:
        """Between an async handler and an async view it takes no thread."""
        import threading

        from asgiref.sync import async_to_sync, iscoroutinefunction
        from django.test import AsyncRequestFactory

        threads = []

        async def inside(request: HttpRequest) -> HttpResponse:
            threads.append(threading.get_ident())
            return HttpResponse("x")

        served = CacheMiddleware(inside)

        async def run() -> HttpResponse:
            threads.append(threading.get_ident())
            with_thread = threading.active_count()
            response: HttpResponse = await served(AsyncRequestFactory().get("/"))
            assert threading.active_count() == with_thread
            return response

        assert iscoroutinefunction(served)
        assert said(async_to_sync(run)()) == PUBLIC
        assert len(set(threads)) == 1


class TestSettings:
    def test_the_seconds_are_settings(self, client: Client, member: Client) -> None:
        """OXICACHE says for how long; they are read with each response."""
        with override_settings(OXICACHE={"PUBLIC_MAX_AGE": 60.5, "PRIVATE_MAX_AGE": 0}):
            assert said(client.get("/plain/")) == "public, max-age=60"
            assert said(member.get("/plain/")) == "private, max-age=0"
        assert said(client.get("/plain/")) == PUBLIC

    def test_who_knows_the_user_is_asked(self, client: Client) -> None:
        """Where the setting USER names somebody, the page is private, sync and async; nobody leaves it public."""
        from asgiref.sync import async_to_sync

        for who, expected in ((lambda request: 7, PRIVATE), (lambda request: None, PUBLIC)):
            with override_settings(OXICACHE={"USER": who}):
                assert said(client.get("/plain/")) == expected
                assert said(async_to_sync(TestAsync().ask)("/plain/")) == expected
