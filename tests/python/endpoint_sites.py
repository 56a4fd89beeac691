"""Both faces of oxicache.django.endpoints below /api/core/, as a project's urls; who asks, and what came of it."""

import itertools
import json
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from oxicache.django.endpoints import rest_views

BASE = "/api/core/"
NATIVE = "oxicache.django.backends.NativeCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
VIEWS = {
    "cache-stats/": rest_views.CacheStatsView,
    "cache-health/": rest_views.CacheHealthView,
    "cache-clear/": rest_views.CacheClearView,
    "cache-reset-stats/": rest_views.CacheResetStatsView,
}


_numbers = itertools.count()


def aliases(backend: str = NATIVE, **options: Any) -> dict[str, Any]:
    """Return CACHES with one alias, whose entries are no other test's."""
    return {"default": {"BACKEND": backend, "LOCATION": f"endpoints-{next(_numbers)}", **options}}


class Token(TokenAuthentication):  # type: ignore[misc]  # the framework has no types
    """The token of a user is his name, so that its tables are not needed."""

    def authenticate_credentials(self, key: str) -> tuple[User, str]:
        user = User.objects.filter(username=key, is_active=True).first()
        if user is None:
            raise AuthenticationFailed("Invalid token.")
        return user, key


def routed(*patterns: Any) -> types.ModuleType:
    module = types.ModuleType("urls_of_a_test")
    module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
    return module


def rest(*authentication: type[Any]) -> types.ModuleType:
    """Return the DRF face with these ways to say who asks, as a project's settings name them."""
    given = {"authentication_classes": authentication}
    return routed(*(path(f"api/core/{name}", view.as_view(**given)) for name, view in VIEWS.items()))


FACES = {
    "plain": routed(path("api/core/", include("oxicache.django.endpoints.urls"))),
    "rest": routed(path("api/core/", include("oxicache.django.endpoints.rest_urls"))),
    "rest by token": rest(Token, SessionAuthentication),
    "rest by session": rest(SessionAuthentication),
}


@contextmanager
def serving(face: str, **settings: Any) -> Iterator[None]:
    with override_settings(ROOT_URLCONF=FACES[face], **settings):
        yield


def told(response: HttpResponse) -> tuple[int, Any]:
    """Status and JSON of a response."""
    assert response["Content-Type"].startswith("application/json"), response.content
    return response.status_code, json.loads(response.content)


def clear(client: Client, body: Any = None, **options: Any) -> tuple[int, Any]:
    """Ask for `cache-clear/`: with nothing, with JSON, or with bytes that curl sends."""
    if body is None:
        return told(client.post(f"{BASE}cache-clear/", **options))
    if isinstance(body, bytes):
        kind = options.pop("content_type", "application/x-www-form-urlencoded")
        return told(client.generic("POST", f"{BASE}cache-clear/", body, kind, **options))
    return told(client.post(f"{BASE}cache-clear/", body, content_type="application/json", **options))
