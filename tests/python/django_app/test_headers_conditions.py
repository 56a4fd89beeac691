"""Conditional requests, compression, Age and lifetimes of cached responses, by view and by site, with Django's too."""

import gzip
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils import translation
from django.utils.http import http_date
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import condition

from oxicache import testing
from oxicache.django.responses import cached_view

CACHES = {
    "default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "conditions"},
    "pages": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "pages"},
}
SITE = "oxicache.django.responses.SiteCacheMiddleware"
OURS = "oxicache.django.responses.CacheMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
UPDATE, FETCH = (f"django.middleware.cache.{name}CacheMiddleware" for name in ("Update", "FetchFrom"))
USERS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
THEN, LATER = "Wed, 01 Oct 2025 10:00:00 GMT", "Wed, 01 Oct 2025 10:00:01 GMT"
LONG = "long " * 200
calls: list[str] = []
Body = Callable[[HttpRequest], HttpResponse]


def plain(request: HttpRequest) -> HttpResponse:
    calls.append("plain")
    return HttpResponse(LONG)


def dated(request: HttpRequest) -> HttpResponse:
    calls.append("dated")
    return HttpResponse("dated", headers={"Last-Modified": THEN})


def weak(request: HttpRequest) -> HttpResponse:
    calls.append("weak")
    return HttpResponse("weak", headers={"ETag": 'W/"mine"'})


def told(request: HttpRequest) -> HttpResponse:
    calls.append("told")
    return HttpResponse("told", headers={"Cache-Control": "public, max-age=100", "Vary": "Accept"})


def dying(request: HttpRequest) -> HttpResponse:
    calls.append("dying")
    import time

    return HttpResponse("dying", headers={"Expires": http_date(time.time() + float(request.GET["for"]))})


def ranged(request: HttpRequest) -> HttpResponse:
    calls.append("ranged")
    if request.headers.get("Range") == "bytes=0-1":
        return HttpResponse("ra", status=206, headers={"Content-Range": "bytes 0-1/6"})
    return HttpResponse("ranged", headers={"Accept-Ranges": "bytes"})


@condition(etag_func=lambda request: '"own"')
def conditioned(request: HttpRequest) -> HttpResponse:
    calls.append("conditioned")
    return HttpResponse("conditioned")


@gzip_page
def zipped(request: HttpRequest) -> HttpResponse:
    calls.append("zipped")
    return HttpResponse(LONG)


def named(request: HttpRequest) -> HttpResponse:
    calls.append("named")
    return HttpResponse(f"for {request.user.pk}")


VIEWS: list[Body] = [plain, dated, weak, told, dying, ranged, conditioned, zipped, named]
plain_patterns = tuple(path(f"{view.__name__}/", view) for view in VIEWS)
cached_patterns = tuple(path(f"{view.__name__}/", cached_view(timeout=300)(view)) for view in VIEWS)


@pytest.fixture(autouse=True, params=["view", "site"])
def site(request: Any) -> Iterator[Callable[..., Any]]:
    """Responses are cached by their views, or by the site."""
    calls.clear()
    is_site = request.param == "site"

    def serve(*middleware: str) -> Any:
        used = [*middleware, SITE] if is_site else list(middleware)
        patterns = plain_patterns if is_site else cached_patterns
        return override_settings(CACHES=CACHES, MIDDLEWARE=used, ROOT_URLCONF=patterns)

    with translation.override("en"), serve(*USERS):
        caches["pages"].clear()
        yield serve


def status_of(response: Any) -> tuple[int, str]:
    return response.status_code, str(response.get("X-Cache", ""))


class TestConditions:
    def test_who_has_it_gets_a_304_from_the_first_request_on(self, client: Client) -> None:
        """A miss is kept whole, whoever has asked for it; a 304 says what its 200 says."""
        tag = client.get("/told/")["ETag"]
        caches["default"].clear()
        asked = {"If-None-Match": tag}
        first, second = client.get("/told/", headers=asked), client.get("/told/", headers=asked)
        assert (first.status_code, status_of(second)) == (304, (304, "HIT"))
        assert (first.content, second.content) == (b"", b"")
        for response in (first, second):
            assert response["ETag"] == tag
            assert (response["Cache-Control"], response["Vary"]) == ("public, max-age=100", "Accept")
        assert second["Age"] == "0"
        whole = client.get("/told/")
        assert (status_of(whole), whole.content) == ((200, "HIT"), b"told")
        assert len(calls) == 2

    @pytest.mark.parametrize(
        ("asked", "status"),
        [
            ({"If-None-Match": '"other"'}, 200),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"other", {tag}'}, 304),
            ({"If-None-Match": "W/{tag}"}, 304),
            ({"If-Match": '"other"'}, 412),
            ({"If-Match": "{tag}"}, 200),
            ({"If-Match": "*"}, 200),
            ({"If-Match": "W/{tag}"}, 412),
            ({"If-None-Match": "no quotes"}, 200),
        ],
    )
    @pytest.mark.parametrize("method", ["get", "head"])
    def test_etags(self, client: Client, asked: dict[str, str], status: int, method: str) -> None:
        """Of a hit, as RFC 9110 has it: If-None-Match compares weakly, If-Match strongly."""
        tag = client.get("/plain/")["ETag"]
        asked = {name: value.format(tag=tag) for name, value in asked.items()}
        response = getattr(client, method)("/plain/", headers=asked)
        assert response.status_code == status
        assert (response["ETag"] if status != 412 else tag) in {tag, f"W/{tag}"}
        assert len(calls) == 1

    @pytest.mark.parametrize(
        ("asked", "status"),
        [
            ({"If-Modified-Since": THEN}, 304),
            ({"If-Modified-Since": LATER}, 304),
            ({"If-Modified-Since": "Wed, 01 Oct 2025 09:59:59 GMT"}, 200),
            ({"If-Modified-Since": "yesterday"}, 200),
            ({"If-Unmodified-Since": THEN}, 200),
            ({"If-Unmodified-Since": "Wed, 01 Oct 2025 09:59:59 GMT"}, 412),
            ({"If-Modified-Since": THEN, "If-None-Match": '"other"'}, 200),
        ],
    )
    def test_dates(self, client: Client, asked: dict[str, str], status: int) -> None:
        """A view's own Last-Modified is kept, and answers for itself on a miss and on a hit; an ETag goes before it."""
        for _ in range(2):
            assert client.get("/dated/", headers=asked).status_code == status
        assert client.get("/dated/")["Last-Modified"] == THEN
        assert len(calls) == 1

    def test_a_weak_etag_of_the_view(self, client: Client) -> None:
        """It stays as it is."""
        assert [client.get("/weak/")["ETag"] for _ in range(2)] == ['W/"mine"'] * 2
        assert client.get("/weak/", headers={"If-None-Match": 'W/"mine"'}).status_code == 304
        assert client.get("/weak/", headers={"If-Match": 'W/"mine"'}).status_code == 412

    def test_the_views_own_conditions(self, client: Client) -> None:
        """A 304 or a 412 of the view itself is nobody else's answer."""
        assert client.get("/conditioned/", headers={"If-None-Match": '"own"'}).status_code == 304
        assert client.get("/conditioned/", headers={"If-Match": '"other"'}).status_code == 412
        for expected in ("MISS", "HIT"):
            response = client.get("/conditioned/")
            assert (status_of(response), response.content) == ((200, expected), b"conditioned")

    def test_ranges(self, client: Client) -> None:
        """A part is not kept, and is not what is sent for the whole; who asks for a part gets what the view sends."""
        for _ in range(2):
            assert client.get("/ranged/").content == b"ranged"
            part = client.get("/ranged/", headers={"Range": "bytes=0-1"})
            assert (status_of(part), part.content) == ((206, ""), b"ra")


class TestCompression:
    ASKED = (
        {},
        {"Accept-Encoding": "gzip"},
        {"Accept-Encoding": "identity"},
        {"Accept-Encoding": "br, gzip"},
    )

    @pytest.mark.parametrize("address", ["/plain/", "/zipped/"])
    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
    @pytest.mark.parametrize(
        "middleware",
        [
            [], [GZIP], [GZIP, OURS], [OURS, GZIP], [UPDATE, GZIP, FETCH], [GZIP, UPDATE, FETCH],
            [UPDATE, OURS, GZIP, FETCH],
        ],
        ids=lambda names: "-".join(name.rpartition(".")[2].removesuffix("Middleware") for name in names),
    )  # fmt: skip
    def test_nobody_gets_what_he_cannot_read(
        self, site: Any, middleware: list[str], order: tuple[int, ...], address: str
    ) -> None:
        """Whoever comes first, compressed by the view or around it, within Django's own cache and without."""
        with site(*middleware), override_settings(CACHE_MIDDLEWARE_ALIAS="pages"):
            for number in (*order, *order, 3, 3):
                asked = self.ASKED[number]
                response = Client().get(address, headers=asked)
                is_gzip = response.get("Content-Encoding") == "gzip"
                is_made = address == "/zipped/" or GZIP in middleware
                assert is_gzip == (is_made and "gzip" in asked.get("Accept-Encoding", ""))
                body = gzip.decompress(response.content) if is_gzip else response.content
                assert body.decode() == LONG
                assert int(response.get("Content-Length", len(response.content))) == len(response.content)

    def test_an_etag_that_compression_has_made_weak(self, site: Any, client: Client) -> None:
        """It is known again, and the 304 has it."""
        with site(GZIP, *USERS):
            asked = {"Accept-Encoding": "gzip"}
            tag = client.get("/plain/", headers=asked)["ETag"]
            assert tag.startswith('W/"')
            response = client.get("/plain/", headers=asked | {"If-None-Match": tag})
            assert (status_of(response), response["ETag"]) == ((304, "HIT"), tag)


class TestLifetimes:
    def test_age_counts_towards_the_views_own_max_age(self, client: Client) -> None:
        """max-age stays as the view has said it, Age grows, and at their meeting the view is asked again."""
        with testing.clock() as clock:
            assert "Age" not in client.get("/told/")
            for age in (0, 40, 99):
                clock.advance(age - int(client.get("/told/")["Age"]))
                response = client.get("/told/")
                assert (response["Age"], response["Cache-Control"]) == (str(age), "public, max-age=100")
                assert response.headers["X-Cache"] == "HIT"
            clock.advance(1)
            assert status_of(client.get("/told/")) == (200, "MISS")

    def test_age_counts_towards_what_the_middleware_says(self, site: Any, client: Client) -> None:
        """A browser keeps a page that was 100 s old for the rest of its time, not for all of it anew."""
        with site(OURS, *USERS), testing.clock() as clock:
            client.get("/plain/")
            clock.advance(100)
            response = client.get("/plain/")
            assert (response["Age"], response["Cache-Control"]) == ("100", "public, max-age=3600")

    def test_expires(self, client: Client) -> None:
        """It ends what the view holds as max-age does, and one that is past keeps a response from being kept."""
        with testing.clock() as clock:
            client.get("/dying/?for=50")
            clock.advance(40)
            assert status_of(client.get("/dying/?for=50")) == (200, "HIT")
            clock.advance(11)
            assert status_of(client.get("/dying/?for=50")) == (200, "MISS")
            for _ in range(2):
                assert status_of(client.get("/dying/?for=-50"))[1] != "HIT"


class TestDjangosCache:
    def test_a_hit_says_what_a_miss_says(self, site: Any, member: Client) -> None:
        """Around us Django's cache must not take a page that names nobody for everybody's: it says Vary: Cookie."""
        middleware = (UPDATE, *USERS, FETCH)
        with site(*middleware), override_settings(CACHE_MIDDLEWARE_ALIAS="pages"):
            assert Client().get("/named/").content == b"for None"
            caches["pages"].clear()
            response = Client().get("/named/")
            assert (status_of(response), response["Vary"]) == ((200, "HIT"), "Cookie")
            pk = member.session["_auth_user_id"]
            assert member.get("/named/").content.decode() == f"for {pk}"

    def test_it_keeps_what_is_public_for_as_long_as_that_says(self, site: Any, member: Client) -> None:
        """Around CacheMiddleware it takes PUBLIC_MAX_AGE for its own seconds, and nothing that is private."""
        middleware = (UPDATE, OURS, *USERS, FETCH)
        settings = {"CACHE_MIDDLEWARE_ALIAS": "pages", "OXICACHE": {"PUBLIC_MAX_AGE": 77}}
        with site(*middleware), override_settings(**settings):
            assert "max-age=77" in Client().get("/plain/")["Cache-Control"]
            kept = len(caches["pages"]._cache)
            assert kept == 2  # the response, and which headers it varies by
            assert "private" in member.get("/named/")["Cache-Control"]
            assert len(caches["pages"]._cache) == kept
