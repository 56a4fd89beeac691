"""`SiteCacheMiddleware` against the same site without it: whoever asks for whatever, in random order, gets the same."""

import contextlib
import copy
import gzip
import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.views.decorators.vary import vary_on_cookie
from whole_site import DJANGOS, NATIVE, ORDERS, OURS

from oxicache.django.responses import cached_view

CACHE = "oxicache.django.responses.CacheMiddleware"
REQUESTS = 400
PAGES = 5  # for a while only these are asked for, so that visitors meet one another's
A_WHILE = 50  # requests

seen: list[str] = []  # ETags of all that was answered

Answer = Callable[[HttpRequest], HttpResponse]


def country(get_response: Answer) -> Answer:
    """Sets what a view may look at, by a header."""

    def served(request: HttpRequest) -> HttpResponse:
        if "X-Country" in request.headers:
            request.country = request.headers["X-Country"]  # type: ignore[attr-defined]
        with timezone.override(request.headers.get("X-Zone", "UTC")):
            return get_response(request)

    return served


SAY: dict[str, Callable[[HttpRequest], Any]] = {
    "nothing": lambda request: "nothing",
    "path": lambda request: (request.path, request.GET.get("a"), request.GET.getlist("b")),
    "user": lambda request: request.user.pk,
    "is-user": lambda request: bool(request.user.is_authenticated),
    "session": lambda request: request.session.get("basket"),
    "session-key": lambda request: request.session.session_key,
    "cookie": lambda request: request.COOKIES.get("theme"),
    "cookies": lambda request: sorted(set(request.COOKIES) - {"sessionid", "_ga"}),
    "has-cookie": lambda request: "theme" in request.COOKIES,
    "header": lambda request: request.headers.get("X-Kind"),
    "agent": lambda request: request.META.get("HTTP_USER_AGENT", "none"),
    "address": lambda request: request.META["REMOTE_ADDR"],
    "language": lambda request: gettext("Yes"),
    "zone": lambda request: timezone.get_current_timezone_name(),
    "country": lambda request: getattr(request, "country", "nowhere"),
    "host": lambda request: (request.get_host(), request.is_secure()),
    "some-users": lambda request: request.user.pk if request.GET.get("a") == "1" else "hidden",
}


def view_of(say: Callable[[HttpRequest], Any]) -> Answer:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{say(request)!r}{' ' * 300}")

    return view


patterns = (
    *(path(f"{name}/", view_of(say)) for name, say in SAY.items()),
    *(path(f"own/{name}/", cached_view()(view_of(say))) for name, say in SAY.items()),
    path("varied/", vary_on_cookie(view_of(SAY["cookie"]))),
)
PATHS = [*SAY, *(f"own/{name}" for name in SAY), "varied"]


@contextlib.contextmanager
def served(middleware: list[str], **settings: Any) -> Iterator[None]:
    used = override_settings(CACHES=NATIVE, MIDDLEWARE=middleware, ROOT_URLCONF=patterns, **settings)
    with used, translation.override("en"):
        yield


@pytest.fixture
def visitors() -> Iterator[list[Client]]:
    """Strangers with and without cookies, users, guests with a basket each, who log in and out meanwhile."""
    users = [User.objects.create_user(f"oracle-{number}") for number in range(2)]
    clients = [Client() for _ in range(9)]
    for client, user in zip(clients, users, strict=False):
        client.force_login(user)
    for number, client in enumerate(clients[2:4]):
        session = client.session
        session["basket"] = number
        session.save()
    clients[4].cookies.load({"theme": "dark", "_ga": "1"})
    clients[5].cookies.load({"theme": "light", "django_language": "de"})
    for client, theme in zip(clients[6:8], ("red", "dark"), strict=True):
        client.cookies.load({"theme": theme})
    yield clients
    for user in users:
        user.delete()
    Session.objects.all().delete()


def request_of(
    chance: random.Random, pages: list[str]
) -> tuple[str, str, dict[str, Any], dict[str, str], bool]:
    where = f"/{chance.choice(pages)}/"
    data = {"a": chance.choice("12"), "b": chance.choice([["1"], ["1", "2"], ["2", "1"]])}
    headers: dict[str, str] = {}
    for name, values in {
        "X-Kind": "ab", "X-Country": ["Chad", "Peru"], "X-Zone": ["UTC", "Asia/Tokyo"], "User-Agent": "xy",
        "Accept-Language": ["de", "en"], "Accept-Encoding": ["gzip", "identity"], "Host": ["testserver:81"],
        "Authorization": ["Token a"], "Cache-Control": ["no-cache", "no-store"],
    }.items():  # fmt: skip
        if chance.random() < (0.1 if name in {"Authorization", "Cache-Control", "Host"} else 0.15):
            headers[name] = chance.choice(list(values))
    method = "head" if chance.random() < 0.1 else "get"
    return method, where, data if chance.random() < 0.2 else {}, headers, chance.random() < 0.1


def body_of(response: Any) -> bytes:
    content: bytes = response.content
    return gzip.decompress(content) if response.get("Content-Encoding") == "gzip" and content else content


def tag_of(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


@pytest.mark.parametrize("has_users", [False, True], ids=["anonymous", "users"])
@pytest.mark.parametrize("order", list(ORDERS))
def test_the_same_as_without(visitors: list[Client], order: str, has_users: bool) -> None:
    """Body, status, language and ETag of each response are those of a site that caches nothing."""
    chance = random.Random(f"{order} {has_users}")
    place = ORDERS[order]
    index = place.index(OURS)
    middleware = [*place[:index], f"{__name__}.country", *place[index:]]
    without = [CACHE, *(one for one in middleware if one != OURS)]
    oracle = Client()
    with served(without):
        oracle.get("/nothing/")  # a client keeps the middleware of its first request
    with served(middleware, OXICACHE={"SITE_USERS": has_users}):
        hits = 0
        for number in range(REQUESTS):
            if number % A_WHILE == 0:
                pages = chance.sample(PATHS, PAGES)
            hits += is_hit(chance, visitors, oracle, pages)
    assert hits > REQUESTS / 20 or order == "first"


def is_hit(chance: random.Random, visitors: list[Client], oracle: Client, pages: list[str]) -> bool:
    """Have one visitor ask for something, and compare."""
    client = chance.choice(visitors)
    if chance.random() < 0.02:
        client.logout()
    elif chance.random() < 0.02:
        client.force_login(chance.choice(User.objects.filter(username__startswith="oracle-")))
    method, where, data, headers, is_secure = request_of(chance, pages)
    given = {"secure": is_secure, "REMOTE_ADDR": f"10.0.0.{chance.randint(1, 2)}"}
    oracle.cookies = copy.deepcopy(client.cookies)
    expected = oracle.get(where, data, headers=headers, **given)
    body = body_of(expected)
    others = [tag_of(body), tag_of(body[:-1]), *seen[-20:]]
    asked = {"If-None-Match": chance.choice(others)} if chance.random() < 0.2 else {}
    seen.append(tag_of(body))
    found = getattr(client, method)(where, data, headers=headers | asked, **given)
    assert found["Content-Language"] == expected["Content-Language"]
    if found.status_code == 304:
        assert asked["If-None-Match"] == tag_of(body), (where, headers)
    else:
        assert found.status_code == expected.status_code == 200
        assert body_of(found) == (b"" if method == "head" else body), (where, headers)
        assert found.get("Content-Encoding") != "gzip" or headers.get("Accept-Encoding") == "gzip"
    return bool(found.get("X-Cache") == "HIT")


def test_it_is_of_many_kinds() -> None:
    """The test above meets every page, so that it cannot pass for having asked for little."""
    chance = random.Random(1)
    assert {request_of(chance, PATHS)[1] for _ in range(2000)} == {f"/{one}/" for one in PATHS}
    assert len(DJANGOS) == len(ORDERS["last"]) - 1
