"""`SiteCacheMiddleware` beside the admin, the login pages and what middleware does."""

from collections.abc import Callable
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.response import Response
from rest_framework.throttling import AnonRateThrottle
from rest_framework.views import APIView
from whole_site import DJANGOS, OURS, calls, site, status_of

from oxicache.django import invalidate

Answer = Callable[[HttpRequest], HttpResponse]


class TestDjangosOwnPages:
    def test_the_admin(self, site_anywhere: None, member: Client) -> None:
        """An administrator's pages are his, another is sent to the login page, with and without entries of users."""
        user = User.objects.create_superuser("boss")
        boss, other = Client(), Client()
        boss.force_login(user)
        try:
            for _ in range(2):
                page = boss.get("/admin/")
                assert page.status_code == 200
                assert b"boss" in page.content.lower()
                assert status_of(page) == ""
                for stranger in (other, member):
                    found = stranger.get("/admin/")
                    assert (found.status_code, status_of(found)) == (302, "")
                assert boss.get(f"/admin/auth/user/{user.pk}/change/").status_code == 200
                assert other.get(f"/admin/auth/user/{user.pk}/change/").status_code == 302
        finally:
            user.delete()

    @pytest.mark.parametrize("address", ["/login/", "/admin/login/"])
    def test_login(self, site_anywhere: None, address: str) -> None:
        """Two visitors log in by forms of their own, and what was cached before is not theirs."""
        users = [
            User.objects.create_superuser(name, password="p")  # noqa: S106 -- of a test
            for name in ("one", "two")
        ]
        try:
            for user in users:
                client = Client(enforce_csrf_checks=True)
                assert client.get("/named/").content == b"for None"
                page = client.get(address)
                assert status_of(page) == ""
                token = client.cookies["csrftoken"].value
                form = {
                    "username": user.username,
                    "password": "p",
                    "csrfmiddlewaretoken": token,
                    "next": "/named/",
                }
                assert client.post(address, form).status_code == 302
                assert client.get("/named/").content.decode() == f"for {user.pk}"
                client.logout()
                assert client.get("/named/").content == b"for None"
        finally:
            for user in users:
                user.delete()


# ---------------------------------------------------------------- what middleware of a project does


def country(get_response: Answer) -> Answer:
    """A middleware that says on the request where it comes from."""

    def served(request: HttpRequest) -> HttpResponse:
        request.country = request.headers.get("X-Country", "nowhere")  # type: ignore[attr-defined]
        return get_response(request)

    return served


def zone(get_response: Answer) -> Answer:
    """A middleware that activates a time zone by a header."""

    def served(request: HttpRequest) -> HttpResponse:
        with timezone.override(request.headers.get("X-Zone", "UTC")):
            return get_response(request)

    return served


def elsewhere(get_response: Answer) -> Answer:
    """A middleware that serves another site to another host."""

    def served(request: HttpRequest) -> HttpResponse:
        if request.headers.get("X-Site"):
            request.urlconf = "whole_site"  # type: ignore[attr-defined]
        return get_response(request)

    return served


def marking(get_response: Answer) -> Answer:
    """A middleware that looks at what a view has set on its response."""

    def served(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Marks"] = repr(getattr(response, "marks", None))
        if isinstance(getattr(response, "marks", None), dict):
            response.marks["seen"] = [1]  # type: ignore[attr-defined]
        return response

    return served


def greeted(request: HttpRequest) -> HttpResponse:
    calls.append("greeted")
    return HttpResponse(f"from {request.country}")  # type: ignore[attr-defined]


def timed(request: HttpRequest) -> HttpResponse:
    calls.append("timed")
    return HttpResponse(timezone.get_current_timezone_name())


def here(request: HttpRequest) -> HttpResponse:
    calls.append("here")
    return HttpResponse("here")


def marked(request: HttpRequest) -> HttpResponse:
    calls.append("marked")
    response = HttpResponse("marked")
    response.marks = {"a": ["b"]}  # type: ignore[attr-defined]
    response.thing = object()  # type: ignore[attr-defined]
    return response


def nonced(request: HttpRequest) -> HttpResponse:
    calls.append("nonced")
    return HttpResponse(f"<script nonce={request._csp_nonce}>")  # type: ignore[attr-defined]


class ByHeader(BaseAuthentication):
    """Who says who he is in a header of his own."""

    def authenticate(self, request: Any) -> Any:
        key = request.headers.get("X-Key")
        return (User(pk=int(key), username=f"u{key}"), key) if key else None


class Keyed(APIView):
    authentication_classes = (ByHeader,)

    def get(self, request: Any) -> Response:
        calls.append("keyed")
        return Response({"pk": request.user.pk, "auth": request.auth})


class Throttled(APIView):
    class Throttle(AnonRateThrottle):
        rate = "1000/day"

    throttle_classes = (Throttle,)

    def get(self, request: Any) -> Response:
        calls.append("throttled")
        return Response({"ip": request.META["REMOTE_ADDR"]})


patterns = (
    path("greeted/", greeted),
    path("timed/", timed),
    path("place/", here),
    path("plain/", here),
    path("marked/", marked),
    path("nonced/", nonced),
    path("keyed/", Keyed.as_view()),
    path("throttled/", Throttled.as_view()),
)


def asked(address: str, **headers: str) -> tuple[str, str]:
    response = Client().get(
        address, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    return response.content.decode(), status_of(response)


class TestMiddlewareOfAProject:
    def test_what_it_sets_on_the_request(self) -> None:
        """An attribute that a view looks at parts entries, wherever the middleware had it from."""
        with site([*DJANGOS, f"{__name__}.country", OURS]), override_settings(ROOT_URLCONF=patterns):
            for name in ("France", "Chad", "France", "Chad"):
                assert asked("/greeted/", X_Country=name)[0] == f"from {name}"
            assert calls == ["greeted"] * 2
            assert asked("/greeted/")[0] == "from nowhere"

    def test_a_time_zone(self) -> None:
        """One that a middleware has activated is in the key."""
        with site([*DJANGOS, f"{__name__}.zone", OURS]), override_settings(ROOT_URLCONF=patterns):
            for name in ("UTC", "Asia/Tokyo", "UTC", "Asia/Tokyo"):
                assert asked("/timed/", X_Zone=name)[0] == name
            assert calls == ["timed"] * 2

    def test_other_addresses(self) -> None:
        """`request.urlconf` says which views there are, on hits too."""
        with site([*DJANGOS, f"{__name__}.elsewhere", OURS]), override_settings(ROOT_URLCONF=patterns):
            for _ in range(2):
                assert asked("/plain/")[0] == "here"
                assert asked("/plain/", X_Site="other")[0] == "plain 2"
            assert calls == ["here", "/plain/"]

    def test_what_it_looks_for_on_the_response(self) -> None:
        """Plain values are there on a hit, each hit's own; what is none is not."""
        with site([f"{__name__}.marking", *DJANGOS, OURS]), override_settings(ROOT_URLCONF=patterns):
            found = [Client().get("/marked/") for _ in range(3)]
        assert [status_of(one) for one in found] == ["MISS", "HIT", "HIT"]
        assert [one["X-Marks"] for one in found] == ["{'a': ['b']}"] * 3
        assert [hasattr(one, "thing") for one in found] == [True, False, False]

    @pytest.mark.skipif(django.VERSION < (6,), reason="Django has content security policies from 6.0 on")
    def test_nonces(self) -> None:
        """A page with the nonce of a content security policy is not kept: the next header would name another."""
        csp = "django.middleware.csp.ContentSecurityPolicyMiddleware"
        policy = {"script-src": ["<CSP_NONCE_SENTINEL>"]}
        with site([csp, *DJANGOS, OURS], SECURE_CSP=policy), override_settings(ROOT_URLCONF=patterns):
            for _ in range(2):
                response = Client().get("/nonced/")
                nonce = response.content.decode().partition("=")[2].rstrip(">")
                assert nonce in response["Content-Security-Policy"]
                assert status_of(response) == ""
            assert [asked("/place/")[1] for _ in range(2)] == ["MISS", "HIT"]

    def test_nonces_of_another_package(self) -> None:
        """So it is where a view has one made by what django-csp sets on its request."""
        with site([*DJANGOS, f"{__name__}.nonces", OURS]), override_settings(ROOT_URLCONF=patterns):
            assert asked("/nonced/")[1] == asked("/nonced/")[1] == ""

    @pytest.mark.parametrize("has_users", [False, True])
    def test_pages_behind_a_login(self, member: Client, has_users: bool) -> None:
        """LoginRequiredMiddleware sends strangers away, whoever was there before."""
        required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        with site([*DJANGOS, required, OURS], OXICACHE={"SITE_USERS": has_users}, LOGIN_URL="/login/"):
            for _ in range(2):
                assert member.get("/plain/").status_code == 200
                assert Client().get("/plain/").status_code == 302
            member.logout()
            assert member.get("/plain/").status_code == 302

    def test_tokens_of_forms_in_sessions(self) -> None:
        """With CSRF_USE_SESSIONS a form begins a session, and is its visitor's own."""
        with site([*DJANGOS, OURS], CSRF_USE_SESSIONS=True):
            bodies = {Client().get("/form/").content for _ in range(3)}
            assert len(bodies) == 3
            assert [asked("/plain/")[1] for _ in range(2)] == ["MISS", "HIT"]


def nonces(get_response: Answer) -> Answer:
    """A middleware that has a nonce made when it is asked for."""

    class Nonce:
        def __str__(self) -> str:
            return "n"

    def served(request: HttpRequest) -> HttpResponse:
        request._csp_nonce = Nonce()  # type: ignore[attr-defined]
        return get_response(request)

    return served


class TestRestFramework:
    def test_an_authentication_of_its_own(self) -> None:
        """Whom a view knows by a header gets what is his."""
        with site([*DJANGOS, OURS]), override_settings(ROOT_URLCONF=patterns):
            for key in ("1", "2", None, "1", "2", None):
                headers = {"X_Key": key} if key else {}
                said = asked("/keyed/", **headers)[0]
                assert said == (f'{{"pk":{key},"auth":"{key}"}}' if key else '{"pk":null,"auth":null}')

    def test_throttles(self) -> None:
        """A view that looks at the address of its visitor has entries by address."""
        with site([*DJANGOS, OURS]), override_settings(ROOT_URLCONF=patterns):
            for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
                response = Client(REMOTE_ADDR=address).get("/throttled/")
                assert response.json() == {"ip": address}


class TestUsersOnAsgi:
    async def visit(self, *users: User | None) -> list[tuple[str, str]]:
        found = []
        for user in users:
            client = AsyncClient()
            if user is not None:
                await client.aforce_login(user)
            response = await client.get("/named/")
            found.append((response.content.decode(), status_of(response)))
        return found

    def test_each_has_his_own(self) -> None:
        """As on WSGI: users apart, strangers together."""
        one, two = (User.objects.create_user(name) for name in ("asgi-one", "asgi-two"))
        try:
            with site([*DJANGOS, OURS], OXICACHE={"SITE_USERS": True}):
                found = async_to_sync(self.visit)(one, two, None, one, two, None)
        finally:
            one.delete()
            two.delete()
        names = [f"for {one.pk or 0}", f"for {two.pk or 0}", "for None"]
        assert [status for _, status in found] == ["MISS"] * 3 + ["HIT"] * 3
        assert [body for body, _ in found[:3]] == [body for body, _ in found[3:]]
        assert len({body for body, _ in found}) == len(names)


class TestByHand:
    def test_the_whole_site_is_forgotten(self) -> None:
        """By the pattern of its keys, and by clear()."""
        with site([*DJANGOS, OURS]), override_settings(ROOT_URLCONF=patterns):
            assert [asked("/place/")[1] for _ in range(2)] == ["MISS", "HIT"]
            invalidate(globs=["*response:site:*"])
            assert [asked("/place/")[1] for _ in range(2)] == ["MISS", "HIT"]
            caches["default"].clear()
            assert asked("/place/")[1] == "MISS"

    def test_an_alias_and_a_prefix_of_its_own(self) -> None:
        """SITE_ALIAS and SITE_KEY_PREFIX part it from what else is cached."""
        with site([*DJANGOS, OURS]), override_settings(ROOT_URLCONF=patterns):
            kept = {
                "default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "d"},
                "pages": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "p"},
            }
            settings = {"SITE_ALIAS": "pages", "SITE_KEY_PREFIX": "v2"}
            with override_settings(CACHES=kept, OXICACHE=settings):
                assert [asked("/place/")[1] for _ in range(2)] == ["MISS", "HIT"]
                assert list(caches["default"].keys("*")) == []
                (key,) = caches["pages"].keys("*")
                assert key.startswith("response:site.v2:")

    def test_another_cache_of_djangos(self) -> None:
        """LocMemCache, or Redis, holds pages as well."""
        locmem = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "site"}}
        with site([*DJANGOS, OURS]), override_settings(ROOT_URLCONF=patterns, CACHES=locmem):
            assert [asked("/place/")[1] for _ in range(2)] == ["MISS", "HIT"]
            assert [asked("/marked/")[1] for _ in range(2)] == ["MISS", "HIT"]
            caches["default"].clear()
