"""Visitors of every kind ask APIs in any order: each gets what the view would have told him without a cache."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client, RequestFactory, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profiles import MODEL
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_people import NATIVE, QUICK, READS, Marked, Tokens

from oxicache.django.responses import cached_view, rest

NAMES = ("ada", "bob")
WHO = ("inside", "outside", "shared", "shared-outside", "header-first")
URLS = st.one_of(
    st.sampled_from([f"/{name}/" for name in WHO]), st.sampled_from([f"/reads/{name}/" for name in READS])
)

# Each example is up to twelve visits, twice. The fixture signs in once for all of them.
FEW = settings(
    MODEL,
    max_examples=max(MODEL.max_examples // 10, 10),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# What of a request may be there, and then is one of these.
VISITORS = st.fixed_dictionaries(
    {},
    optional={
        "session": st.sampled_from(NAMES),
        "Authorization": st.sampled_from(["Token ada:read", "Token ada:write", "Token bob:read", "Other x"]),
        "X-Name": st.sampled_from(NAMES),
        "X-Device": st.sampled_from(["1", "2"]),
        "X-Organisation": st.sampled_from(["a", "b"]),
        "X-Rights": st.sampled_from(["a", "b"]),
        "X-Colour": st.sampled_from(["red", "green"]),
        "cookie colour": st.sampled_from(["red", "green"]),
        "cookie name": st.sampled_from(NAMES),
        "name": st.sampled_from(NAMES),
        "Accept": st.sampled_from(["application/json", "application/json; indent=1"]),
    },
)


@pytest.fixture(scope="module", autouse=True)
def sessions(_databases: None) -> Iterator[dict[str, str]]:
    """The session of each user, by his name."""
    found = {}
    with override_settings(PASSWORD_HASHERS=[QUICK]):
        users = [User.objects.create_user(name) for name in NAMES]
    for user in users:
        client = Client()
        client.force_login(user)
        found[user.username] = client.cookies["sessionid"].value
    yield found
    Session.objects.all().delete()
    for user in users:
        user.delete()


def asked(url: str, visitor: dict[str, str], sessions: dict[str, str]) -> tuple[int, bytes]:
    """The status and the body that a visitor gets."""
    client = Client()
    given = dict(visitor)
    if (name := given.pop("session", None)) is not None:
        client.cookies["sessionid"] = sessions[name]
    for cookie in ("colour", "name"):
        if (value := given.pop(f"cookie {cookie}", None)) is not None:
            client.cookies[cookie] = value
    parameters = {"name": name} if (name := given.pop("name", None)) is not None else {}
    answer = client.get(url, parameters, headers=given)
    return answer.status_code, answer.content


def uncached(url: str) -> str:
    """The view of a URL, without its cache."""
    if url.startswith("/reads/"):
        return url.replace("/reads/", "/uncached-reads/")
    return "/uncached-header-first/" if url == "/header-first/" else "/uncached/"


def visited(visits: list[tuple[str, dict[str, str]]], sessions: dict[str, str]) -> None:
    """Have each visit compared."""
    cache.clear()
    for url, visitor in visits:
        assert asked(url, visitor, sessions) == asked(uncached(url), visitor, sessions), (url, visitor)


@contextlib.contextmanager
def site() -> Iterator[None]:
    with override_settings(CACHES=NATIVE, ROOT_URLCONF="rest_people"):
        yield


@FEW
@given(visits=st.lists(st.tuples(URLS, VISITORS), min_size=1, max_size=12))
def test_everybody_gets_his_own(sessions: dict[str, str], visits: list[Any]) -> None:
    """Whatever was asked before, by whomever."""
    with site():
        visited(visits, sessions)


@FEW
@given(url=URLS, visitors=st.lists(VISITORS, min_size=2, max_size=8))
def test_everybody_gets_his_own_of_one_view(sessions: dict[str, str], url: str, visitors: list[Any]) -> None:
    """As above, where all ask for the same."""
    with site():
        visited([(url, visitor) for visitor in visitors], sessions)


@pytest.mark.parametrize(
    ("mistake", "read", "header", "values"),
    [
        ("_note_how", "auth", "Authorization", ["Token ada:read", "Token ada:write"]),
        ("_note_attribute", "organisation", "X-Organisation", ["a", "b"]),
        ("_note_attribute", "rights", "X-Rights", ["a", "b"]),
    ],
)
@pytest.mark.parametrize("is_made", [False, True], ids=["right", "mistaken"])
def test_a_mistake_is_found(  # noqa: PLR0917 -- a case, and whether it is right
    monkeypatch: pytest.MonkeyPatch, mistake: str, read: str, header: str, values: list[str], is_made: bool
) -> None:
    """A guard that let something pass would have told one visitor what is another's."""
    if is_made:
        monkeypatch.setattr(rest, mistake, lambda *_: None)

    @api_view(["GET"])
    @authentication_classes([Tokens])
    @permission_classes([Marked])
    @cached_view(timeout=60)
    def fresh(request: Request) -> Response:
        return Response({"read": READS[read](request)})

    with site():
        cache.clear()
        seen = [fresh(RequestFactory().get("/", headers={header: value})).data["read"] for value in values]
    assert (seen[0] == seen[1]) is is_made
