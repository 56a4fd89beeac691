"""What a cached view was seen to look at is said to proxies: in Vary, or by not letting them keep it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils import translation
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.response import Response

from oxicache.django.responses import cached_api, cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "seen"}}
OURS = "oxicache.django.responses.CacheMiddleware"
SITE = "oxicache.django.responses.SiteCacheMiddleware"
PUBLIC, PRIVATE = "public, max-age=3600", "private, max-age=300"


def country(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def served(request: HttpRequest) -> HttpResponse:
        if "X-Country" in request.headers:
            request.country = request.headers["X-Country"]  # type: ignore[attr-defined]
        return get_response(request)

    return served


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


def agent(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.headers.get("User-Agent", "none"), headers={"Vary": "Accept, X-Own"})


def address(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.META["REMOTE_ADDR"])


def greeted(request: HttpRequest) -> HttpResponse:
    return HttpResponse(getattr(request, "country", "nowhere"))


def spoken(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.LANGUAGE_CODE)  # type: ignore[attr-defined]


@api_view()
def data(request: Any) -> Response:
    return Response({"agent": request.headers.get("User-Agent")})


class Keys(BaseAuthentication):
    """A key says what may be seen, and not who asks."""

    def authenticate(self, request: Any) -> tuple[Any, Any] | None:
        key = request.headers.get("X-Api-Key")
        return None if key is None else (AnonymousUser(), key)


@api_view()
@authentication_classes([Keys])
def opened(request: Any) -> Response:
    return Response({"key": request.auth})


@api_view()
@cached_api()
def inner_data(request: Any) -> Response:
    return Response({"address": request.META["REMOTE_ADDR"]})


views = {
    "plain": plain,
    "agent": agent,
    "address": address,
    "greeted": greeted,
    "spoken": spoken,
    "data": data,
}
cached_patterns = tuple(path(f"{name}/", cached_view()(view)) for name, view in views.items())
plain_patterns = tuple(path(f"{name}/", view) for name, view in views.items())
data_patterns = (path("inner/", inner_data), path("opened/", opened))


@pytest.fixture(autouse=True, params=["view", "site"])
def site(request: Any) -> Iterator[None]:
    """Responses are cached by their views, or by the site."""
    is_site = request.param == "site"
    middleware = [OURS, "django.middleware.locale.LocaleMiddleware", f"{__name__}.country"]
    patterns = plain_patterns if is_site else cached_patterns
    overridden = override_settings(
        CACHES=NATIVE,
        MIDDLEWARE=[*middleware, SITE] if is_site else middleware,
        ROOT_URLCONF=(*patterns, *data_patterns),
    )
    with translation.override("en"), overridden:
        yield


def twice(where: str, **headers: str) -> list[Any]:
    """A miss and a hit."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    found = [Client().get(where, headers=given) for _ in range(2)]
    assert [one["X-Cache"] for one in found] == ["MISS", "HIT"]
    return found


def varies(response: Any) -> set[str]:
    return {name.strip() for name in response["Vary"].split(",")}


@pytest.mark.parametrize("where", ["/agent/", "/data/"])
def test_a_header(where: str) -> None:
    """It is named in Vary, beside what the view names itself; proxies may keep the response."""
    for response in twice(where, User_Agent="one"):
        assert "User-Agent" in varies(response)
        assert response["Cache-Control"] == PUBLIC
    if where == "/agent/":
        assert varies(response) >= {"Accept", "X-Own"}


def test_nothing() -> None:
    """A view that looks at nothing varies by what the middleware says of all."""
    for response in twice("/plain/"):
        assert "User-Agent" not in varies(response)
        assert "Cookie" not in varies(response)
        assert response["Cache-Control"] == PUBLIC


@pytest.mark.parametrize("where", ["/address/", "/inner/"])
def test_where_a_request_comes_from(where: str) -> None:
    """No Vary names it, so no proxy may keep the response, and a 304 says so as well."""
    first, second = twice(where)
    assert first["Cache-Control"] == second["Cache-Control"] == PRIVATE
    tag = second["ETag"]
    for _ in range(2):
        response = Client().get(where, headers={"If-None-Match": tag})
        assert (response.status_code, response["Cache-Control"]) == (304, PRIVATE)


def test_what_a_middleware_has_set() -> None:
    """Neither does one name that; where nothing is set there is nothing to name."""
    assert {one["Cache-Control"] for one in twice("/greeted/", X_Country="Chad")} == {PRIVATE}
    assert {one["Cache-Control"] for one in twice("/greeted/")} == {PUBLIC}


def test_what_an_authentication_without_users_has_found() -> None:
    """A response to who has shown a key of his own is not everybody's."""
    assert Client().get("/opened/", headers={"X-Api-Key": "secret"})["Cache-Control"] == PRIVATE


def test_the_language() -> None:
    """What LocaleMiddleware sets it names itself."""
    for response in twice("/spoken/"):
        assert response["Cache-Control"] == PUBLIC
        assert "Accept-Language" in varies(response)


def test_a_setting_that_fails(caplog: Any) -> None:
    """Where USER raises, the response goes out, private, and the log says why."""

    def broken(request: HttpRequest) -> Any:
        raise LookupError("no such header")

    with override_settings(OXICACHE={"USER": broken}):
        response = Client().get("/plain/")
    assert (response.status_code, response["Cache-Control"]) == (200, PRIVATE)
    assert "OXICACHE['USER'] failed" in caplog.text
    assert "no such header" in caplog.text
