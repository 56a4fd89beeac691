"""The pages that responses.py compares, each cached in several ways, and the requests that they are asked for with.

All contenders of a row stand in one process; Django is set up for them alone, with two aliases. What reads a database
is in cached_sites.py.
"""

import asyncio
import dataclasses
import functools
import io
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any
from wsgiref.util import setup_testing_defaults

import django_setup
from timing import Contender

NATIVE, LOCMEM = "native", "locmem"
ON_NATIVE = "cached_view on NativeCache"
ON_LOCMEM = "cached_view on LocMemCache"
PAGE_ON_LOCMEM = "cache_page on LocMemCache"
PAGE_ON_NATIVE = "cache_page on NativeCache"
BARE = "the view, uncached"
ANONYMOUS, USER = "anonymous", "a user"
ADDRESSES = 20  # so many pages of one view are asked for in turn
MANY = 4_500  # more than any memory of keys has room for
TIMEOUT = 3_600  # nothing expires while a row runs

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

View = Callable[..., Any]


@functools.cache
def set_up() -> None:
    """Django with two aliases, sessions, users and a table."""
    options = {"MAX_ENTRIES": 10_000, "MAX_BYTES": None}
    django_setup.set_up(
        "oxicache.django",
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "rest_framework",
        CACHES={
            "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},  # who forgets an alias
            NATIVE: {
                "BACKEND": "oxicache.django.backends.NativeCache",
                "TIMEOUT": TIMEOUT,
                "OPTIONS": options,
            },
            LOCMEM: {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "TIMEOUT": TIMEOUT,
                "OPTIONS": {"MAX_ENTRIES": options["MAX_ENTRIES"]},
            },
        },
        ALLOWED_HOSTS=["127.0.0.1"],
        MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "sessions")),  # tables without their history
        ROOT_URLCONF="cached_sites",
        MIDDLEWARE=MIDDLEWARE,
        CACHE_MIDDLEWARE_ALIAS=LOCMEM,
        CACHE_MIDDLEWARE_SECONDS=TIMEOUT,
        more_oxicache={"SITE_ALIAS": NATIVE, "SITE_TTL": TIMEOUT},
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        },
    )
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


# ---------------------------------------------------------------- requests


def environ(path: str, query: str = "", cookie: str = "") -> dict[str, Any]:
    """What a server hands over with a request of a browser."""
    made: dict[str, Any] = {}
    setup_testing_defaults(made)
    made |= {
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
        "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.5",
        "wsgi.input": io.BytesIO(),
    }
    return made | ({"HTTP_COOKIE": cookie} if cookie else {})


class Requests:
    """New requests of one visitor for the pages of a view: a request remembers what was asked of it."""

    def __init__(self, visitor: str, count: int = ADDRESSES) -> None:
        from django.contrib.auth.models import AnonymousUser, User
        from django.contrib.sessions.backends.signed_cookies import SessionStore
        from django.core.handlers.wsgi import WSGIRequest

        self.kind = WSGIRequest
        self.environs = [
            environ(f"/articles/{number}/", "page=2&order=date", "sessionid=abc" if visitor == USER else "")
            for number in range(count)
        ]
        # As the middleware leaves them, once both were loaded: what that costs is no cost of a cache.
        self.user = User(pk=7, username="ada") if visitor == USER else AnonymousUser()
        self.session = SessionStore()
        if visitor == USER:
            self.session["_auth_user_id"] = "7"

    def one(self, number: int) -> Any:
        """One request."""
        request = self.kind(dict(self.environs[number]))
        request.user, request.session = self.user, self.session
        return request

    def put_into(self, waiting: list[Any]) -> None:
        """Add one request for each page."""
        waiting.extend(map(self.one, range(len(self.environs))))


def send(response: Any) -> Any:
    """What a handler does with a response that is not rendered yet."""
    return response if getattr(response, "is_rendered", True) else response.render()


@dataclasses.dataclass(frozen=True)
class AsyncContender(Contender):
    """A Contender whose statement awaits: its loop is a task of its own, once for each sample."""

    def compile(self) -> Callable[[int], int]:
        """As Contender.compile, under asyncio.run."""
        source = "\n".join(
            [
                f"async def loop(passes, items, now, {', '.join(self.names)}):",
                "    spent = 0",
                "    for _ in range(passes):",
                f"        {self.prepare}",
                "        started = now()",
                "        for item in items:",
                f"            {self.statement}",
                "        spent += now() - started",
                "    return spent",
            ]
        )
        scope: dict[str, Any] = {}
        exec(compile(source, f"<bench {self.name}>", "exec"), scope)  # noqa: S102 (the source is written above)
        loop, items, names = scope["loop"], self.items, self.names
        return lambda passes: asyncio.run(loop(passes, items, perf_counter_ns, **names))


def contender(
    name: str,
    view: View,
    requests: Requests,
    *,
    clears: str = "",
    is_async: bool = False,
    calls: list[int] | None = None,
) -> Contender:
    """A view asked for all its pages. `clears`: the alias that is emptied before each pass; else all are hits.

    `calls`: one item for each call of the view under the cache, by which is checked that there are hits, or none.
    """
    from django.core.cache import caches

    waiting: list[Any] = []

    def prepare() -> None:
        if clears:
            caches[clears].clear()
        requests.put_into(waiting)

    def ask(number: int) -> Any:
        answer = view(requests.one(number))
        return send(asyncio.run(answer) if is_async else answer)

    for _ in range(2):  # a view's headers are found out by its first response
        first = ask(0)
    if calls is not None:
        calls.clear()
    assert ask(0).content == first.content, name
    assert calls is None or calls == [], f"{name} has no hit"
    return (AsyncContender if is_async else Contender)(
        name,
        statement="send(await view(take()))" if is_async else "send(view(take()))",
        names={"view": view, "take": waiting.pop, "send": send, "prepare": prepare},
        items=requests.environs,
        prepare="prepare()",
    )


# ---------------------------------------------------------------- views and their caches


def page(size: int, calls: list[int], *, is_async: bool = False, reads_user: bool = False) -> View:
    """A view of `size` bytes."""
    from django.http import HttpResponse

    body = b"x" * size

    def view(request: Any, *_: Any, **__: Any) -> HttpResponse:
        calls.append(1)
        if reads_user:
            request.user.get_username()
        return HttpResponse(body)

    async def aview(request: Any, *_: Any, **__: Any) -> HttpResponse:
        return view(request)

    return aview if is_async else view


def cachings(visitor: str = ANONYMOUS) -> dict[str, tuple[str, Callable[[View], View]]]:
    """The ways to cache a view: the alias of each, and what decorates. Each user has pages of his own in all."""
    from django.views.decorators.cache import cache_page
    from django.views.decorators.vary import vary_on_cookie

    from oxicache.django.responses import cached_view

    def paged(alias: str) -> Callable[[View], View]:
        decorate = cache_page(TIMEOUT, cache=alias)
        return decorate if visitor == ANONYMOUS else lambda view: decorate(vary_on_cookie(view))

    return {
        ON_NATIVE: (NATIVE, cached_view(TIMEOUT, alias=NATIVE)),
        ON_LOCMEM: (LOCMEM, cached_view(TIMEOUT, alias=LOCMEM)),
        PAGE_ON_LOCMEM: (LOCMEM, paged(LOCMEM)),
        PAGE_ON_NATIVE: (NATIVE, paged(NATIVE)),
    }


def hits(
    names: Sequence[str], size: int, visitor: str, *, is_async: bool = False, count: int = ADDRESSES
) -> list[Contender]:
    """A view whose pages are all held."""
    requests, found = Requests(visitor, count), []
    for name in names:
        calls: list[int] = []
        view = page(size, calls, is_async=is_async, reads_user=visitor == USER)
        _, decorate = cachings(visitor)[name]
        made = contender(name, decorate(view), requests, is_async=is_async, calls=calls)
        for number in range(count):  # all of them are hits from here on
            answer = made.names["view"](requests.one(number))
            if is_async:
                asyncio.run(answer)
        found.append(made)
    return found


def misses(names: Sequence[str], size: int, *, is_async: bool = False) -> list[Contender]:
    """A view none of whose pages is held, and the view alone."""
    requests, found = Requests(ANONYMOUS), []
    for name in names:
        view = page(size, [], is_async=is_async)
        alias, decorate = ("", lambda view: view) if name == BARE else cachings()[name]
        found.append(contender(name, decorate(view), requests, clears=alias, is_async=is_async))
    return found


def guarded(size: int) -> list[Contender]:
    """A view that is watched as it is on a miss, and the same view alone."""
    from oxicache.django.responses.guard import Record, watching

    bare = page(size, [], reads_user=True)

    def watched(request: Any) -> Any:
        with watching(request, Record()):
            return bare(request)

    requests = Requests(USER)
    return [contender("a view that is watched", watched, requests), contender(BARE, bare, requests)]
