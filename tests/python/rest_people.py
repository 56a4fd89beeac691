"""API views that say who asks, however the framework has found it out."""

import base64
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client, override_settings
from django.urls import path
from rest_framework import authentication, exceptions, permissions
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rest-users"}}
QUICK = "django.contrib.auth.hashers.MD5PasswordHasher"  # a password is no part of what is tested

calls: Counter[str] = Counter()


@contextmanager
def people_site() -> Iterator[None]:
    """Have these views be the site, with a cache of their own, and nobody's session left."""
    calls.clear()
    with override_settings(CACHES=NATIVE, ROOT_URLCONF="rest_people", PASSWORD_HASHERS=[QUICK]):
        yield
    Session.objects.all().delete()


@contextmanager
def people() -> Iterator[list[User]]:
    """Ada, and Bob."""
    made = [User.objects.create_user(name, password=f"of {name}") for name in ("ada", "bob")]
    yield made
    for user in made:
        user.delete()


class Token:
    """What a token may say of its bearer, besides who it is."""

    def __init__(self, rights: str) -> None:
        self.rights = rights


class Tokens(authentication.TokenAuthentication):
    """`Authorization: Token name:rights`."""

    def authenticate_credentials(self, key: str) -> tuple[Any, Any]:
        name, _, rights = key.partition(":")
        user = User.objects.filter(username=name).first()
        if user is None:
            raise exceptions.AuthenticationFailed
        return user, Token(rights)


class _Named(authentication.BaseAuthentication):
    """Whoever a request names."""

    def name(self, request: Request) -> str | None:
        raise NotImplementedError

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        name = self.name(request)
        return None if name is None else (User.objects.get(username=name), None)


class ByHeader(_Named):
    def name(self, request: Request) -> str | None:
        return request.headers.get("X-Name")


class ByParameter(_Named):
    def name(self, request: Request) -> str | None:
        return request.query_params.get("name")


class ByCookie(_Named):
    def name(self, request: Request) -> str | None:
        return request.COOKIES.get("name")


class Device:
    """Who is logged in, and no user of the project's: its numbers begin at 1 too."""

    is_authenticated = True
    is_active = True

    def __init__(self, pk: int) -> None:
        self.pk = pk

    def get_username(self) -> str:
        return f"device {self.pk}"


class Devices(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        pk = request.headers.get("X-Device")
        return None if pk is None else (Device(int(pk)), None)


class Marked(permissions.BasePermission):
    """Leaves something on the request for the view."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        request.organisation = request.headers.get("X-Organisation", "none")
        request.rights = Token(request.headers.get("X-Rights", ""))
        return True


def who(request: Request) -> Response:
    """Names the user."""
    calls["who"] += 1
    return Response({"user": request.user.get_username() if request.user else None})


EVERY = [Tokens, authentication.BasicAuthentication, authentication.SessionAuthentication, Devices]
EVERY += [ByHeader, ByParameter, ByCookie]

inside = api_view(["GET"])(authentication_classes(EVERY)(cached_view(timeout=60)(who)))
outside = cached_view(timeout=60)(api_view(["GET"])(authentication_classes(EVERY)(who)))
header_first = cached_view(timeout=60)(api_view(["GET"])(authentication_classes([ByHeader])(who)))
shared = api_view(["GET"])(authentication_classes(EVERY)(cached_view(timeout=60, per_user=False)(who)))
shared_outside = cached_view(timeout=60, per_user=False)(
    api_view(["GET"])(authentication_classes(EVERY)(who))
)
scoped = cached_view(timeout=60, scope=lambda request: request.headers.get("Authorization", "nobody"))(
    api_view(["GET"])(authentication_classes(EVERY)(who))
)


@api_view(["GET"])
@authentication_classes([Tokens])
@permission_classes([permissions.IsAuthenticated])
@cached_view(timeout=60, per_user=False)
def members(request: Request) -> Response:
    """The same for all who may see it."""
    calls["members"] += 1
    return Response({"for": "members"})


READS: dict[str, Any] = {
    "auth": lambda request: getattr(request.auth, "rights", "none"),
    "successful_authenticator": lambda request: type(request.successful_authenticator).__name__,
    "authorization": lambda request: request.headers.get("Authorization", "none"),
    "meta": lambda request: request.META.get("HTTP_AUTHORIZATION", "none"),
    "organisation": lambda request: request.organisation,
    "rights": lambda request: request.rights.rights,
    "session": lambda request: request.session.get("x", "none"),
    "cookie": lambda request: request.COOKIES.get("colour", "none"),
    "all cookies": lambda request: dict(request.COOKIES),
    "header": lambda request: request.headers.get("X-Colour", "none"),
    "meta of it": lambda request: request.META.get("HTTP_X_COLOUR", "none"),
    "header beneath": lambda request: request._request.headers.get("X-Colour", "none"),
    "user beneath": lambda request: request._request.user.get_username(),
    "auth beneath": lambda request: getattr(request._request.auth, "rights", "none"),
    "data": lambda request: dict(request.data),
    "parameters": lambda request: request.query_params.get("colour", "none"),
    "renderer": lambda request: request.accepted_renderer.format,
    "media type": lambda request: request.accepted_media_type,
}


@api_view(["GET"])
@authentication_classes([Tokens, authentication.SessionAuthentication])
@permission_classes([Marked])
@cached_view(timeout=60)
def reads(request: Request, name: str) -> Response:
    calls[name] += 1
    return Response({"read": READS[name](request)})


@api_view(["GET"])
@authentication_classes([Tokens, authentication.SessionAuthentication])
@cached_view(timeout=60, key_func=lambda request: getattr(request.auth, "rights", None))
def rights(request: Request) -> Response:
    calls["rights"] += 1
    return Response({"rights": getattr(request.auth, "rights", None)})


@api_view(["GET"])
@authentication_classes([Tokens])
@cached_view(timeout=60, per_user=False)
def shared_auth(request: Request) -> Response:
    return Response({"rights": getattr(request.auth, "rights", None)})


@api_view(["GET"])
@authentication_classes([])
@cached_view(timeout=60)
def nobodys(request: Request) -> Response:
    """No class has looked at the request."""
    calls["nobodys"] += 1
    return Response({"user": request.user.get_username()})


@api_view(["GET"])
@authentication_classes([Tokens, authentication.SessionAuthentication])
@permission_classes([Marked])
def reads_uncached(request: Request, name: str) -> Response:
    return Response({"read": READS[name](request)})


urlpatterns = [
    path("uncached/", api_view(["GET"])(authentication_classes(EVERY)(who))),
    path("uncached-reads/<name>/", reads_uncached),
    path("uncached-header-first/", api_view(["GET"])(authentication_classes([ByHeader])(who))),
    path("inside/", inside),
    path("outside/", outside),
    path("header-first/", header_first),
    path("shared/", shared),
    path("shared-auth/", shared_auth),
    path("shared-outside/", shared_outside),
    path("scoped/", scoped),
    path("members/", members),
    path("reads/<name>/", reads),
    path("rights/", rights),
    path("nobodys/", nobodys),
]


def as_user(how: str, user: User | None) -> tuple[Client, dict[str, Any]]:
    """A client, and what its requests carry, of a user who is known by one means; of nobody where there is no user."""
    client, extra = Client(), dict[str, Any]()
    if user is None:
        return client, extra
    if how == "session":
        client.force_login(user)
    elif how == "cookie":
        client.cookies["name"] = user.username
    elif how == "parameter":
        extra["query_params"] = {"name": user.username}
    elif how == "token":
        extra["headers"] = {"Authorization": f"Token {user.username}:read"}
    elif how == "basic":
        said = base64.b64encode(f"{user.username}:of {user.username}".encode()).decode()
        extra["headers"] = {"Authorization": f"Basic {said}"}
    else:
        extra["headers"] = {"X-Name": user.username}
    return client, extra


MEANS = ["session", "token", "basic", "header", "parameter", "cookie"]
