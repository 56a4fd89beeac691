"""Views that read a database, each cached in several ways: a dashboard, an API, and a page asked for as a server asks.

How pages are compared, and their requests: cached_pages.py.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import django_setup
from cached_pages import (
    ADDRESSES,
    ANONYMOUS,
    BARE,
    LOCMEM,
    MIDDLEWARE,
    NATIVE,
    ON_NATIVE,
    PAGE_ON_LOCMEM,
    PAGE_ON_NATIVE,
    TIMEOUT,
    USER,
    Requests,
    cachings,
    contender,
    environ,
    page,
)
from timing import Contender

API_ON_NATIVE = "cached_api on NativeCache"  # on the method, where the framework has checked who asks
EXTENSIONS_ON_LOCMEM = "drf-extensions on LocMemCache"
EXTENSIONS_ON_NATIVE = "drf-extensions on NativeCache"
SITE_ON_NATIVE = "SiteCacheMiddleware on NativeCache"
SITE_ON_LOCMEM = "Django's cache middleware on LocMemCache"
SITES = {  # what stands before the other middleware, and what behind
    SITE_ON_NATIVE: ((), ("oxicache.django.responses.SiteCacheMiddleware",)),
    SITE_ON_LOCMEM: (
        ("django.middleware.cache.UpdateCacheMiddleware",),
        ("django.middleware.cache.FetchFromCacheMiddleware",),
    ),
}
ROWS = 100  # of the table
PANELS = 15  # of the dashboard, a query each

urlpatterns: list[Any] = []  # of this module as ROOT_URLCONF
_models: dict[str, Any] = {}


def _table() -> Any:
    """The model of the table, with its rows."""
    if "row" not in _models:
        from django.db import models

        class Parcel(models.Model):  # noqa: DJ008 (never shown)
            name = models.CharField(max_length=50)
            city = models.CharField(max_length=50)
            number = models.IntegerField()

            class Meta:
                app_label = "benches"

        rows = [
            Parcel(name=f"parcel number {number}", city=f"city {number % 15}", number=number)
            for number in range(ROWS)
        ]
        django_setup.create_table(Parcel, rows)
        _models["row"] = Parcel
    return _models["row"]


def queries_of(ask: Callable[[], object]) -> int:
    """How many statements a call makes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        ask()
    return len(queries)


# ---------------------------------------------------------------- a dashboard


def dashboard() -> Callable[..., Any]:
    """A view of as many figures as it has queries."""
    from django.db.models import Avg, Count
    from django.http import HttpResponse

    model = _table()

    def view(request: Any) -> HttpResponse:
        lines = [f"<h1>{request.user.get_username()}</h1>"]
        for number in range(PANELS):
            found = model.objects.filter(city=f"city {number}").aggregate(Count("pk"), Avg("number"))
            lines.append(f"<p>{number}: {found['pk__count']} of {found['number__avg']}</p>")
        return HttpResponse("\n".join(lines))

    return view


def dashboards() -> list[Contender]:
    """A user's dashboard, held, held by others, and computed."""
    requests, found = Requests(USER), []
    for name in (ON_NATIVE, PAGE_ON_LOCMEM, PAGE_ON_NATIVE, BARE):
        if name == BARE:
            found.append(contender(name, dashboard(), requests))
        else:
            found.append(_filled(contender(name, cachings(USER)[name][1](dashboard()), requests), requests))
    return found


def _filled(made: Contender, requests: Requests) -> Contender:
    for number in range(ADDRESSES):
        made.names["send"](made.names["view"](requests.one(number)))
    return made


# ---------------------------------------------------------------- an API


def _list_view(decorate: Callable[[Any], Any] = lambda method: method) -> type[Any]:
    from rest_framework import generics, serializers

    model = _table()

    class ParcelSerializer(serializers.ModelSerializer[Any]):
        class Meta:
            fields = ("id", "name", "city", "number")

    ParcelSerializer.Meta.model = model  # type: ignore[attr-defined]  # known only now

    class ParcelList(generics.ListAPIView[Any]):
        queryset = model.objects.order_by("pk")
        serializer_class = ParcelSerializer

        @decorate
        def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return self.list(request, *args, **kwargs)

    return ParcelList


def _by_extensions(alias: str) -> Callable[..., Any]:
    """As its documentation has it; its default key holds neither the parameters nor the user."""
    from rest_framework_extensions.cache.decorators import cache_response
    from rest_framework_extensions.key_constructor import bits
    from rest_framework_extensions.key_constructor.constructors import DefaultKeyConstructor

    class Key(DefaultKeyConstructor):  # type: ignore[misc]  # it has no types
        params = bits.QueryParamsKeyBit()
        user = bits.UserKeyBit()

    return _list_view(cache_response(TIMEOUT, key_func=Key(), cache=alias)).as_view()


def extension_names() -> list[str]:
    """The ways of drf-extensions, where it is installed."""
    return [EXTENSIONS_ON_LOCMEM, EXTENSIONS_ON_NATIVE] if find_spec("rest_framework_extensions") else []


def apis(names: Sequence[str]) -> list[Contender]:
    """A list of rows as JSON, held, or read and rendered."""
    from oxicache.django.responses import cached_api

    requests, found = Requests(ANONYMOUS), []
    ways = cachings()
    for name in names:
        if name in ways:
            view = ways[name][1](_list_view().as_view())
        elif name == BARE:
            view = _list_view().as_view()
        elif name == API_ON_NATIVE:
            view = _list_view(cached_api(TIMEOUT, alias=NATIVE)).as_view()
        else:
            view = _by_extensions(NATIVE if name == EXTENSIONS_ON_NATIVE else LOCMEM)
        found.append(_filled(contender(name, view, requests), requests))
    return found


# ---------------------------------------------------------------- whole requests


def _session() -> str:
    """The cookie of a user who has logged in."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    user = User.objects.create_user("grace", password=None)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"sessionid={session.session_key}"


def whole(names: Sequence[str], size: int, visitor: str) -> list[Contender]:
    """A page from the environment of its request to the closing of its response, behind six of Django's middlewares.

    Its view is cached in one way each, or not at all, behind one of `SITES` or not.
    """
    from django.core.wsgi import get_wsgi_application
    from django.test import override_settings
    from django.urls import clear_url_caches, path

    ways = cachings(visitor)
    cookie = _session() if visitor == USER else ""
    applications = []
    for name in names:
        view = page(size, [], reads_user=visitor == USER)
        where = f"{visitor}/{len(urlpatterns)}/"
        urlpatterns.append(path(where, ways[name][1](view) if name in ways else view))
        before, after = SITES.get(name, ((), ()))
        with override_settings(MIDDLEWARE=[*before, *MIDDLEWARE, *after]):
            applications.append((name, get_wsgi_application(), environ(f"/{where}", cookie=cookie)))
    clear_url_caches()
    return [
        _asking(name, application, surroundings, size) for name, application, surroundings in applications
    ]


def _asking(name: str, application: Any, surroundings: dict[str, Any], size: int) -> Contender:
    def ask(item: dict[str, Any]) -> bytes:
        response = application(dict(item), lambda _status, _headers: None)
        body = b"".join(response)
        response.close()
        return body

    assert ask(surroundings) == ask(surroundings) == b"x" * size, name
    return Contender(name, "ask(item)", {"ask": ask}, [surroundings] * ADDRESSES)
