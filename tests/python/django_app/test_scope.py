"""Whom data belongs to: what is asked for is told apart, what is not is not looked at, nobody gets another's."""

import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.test import force_authenticate

from oxicache.django import conf, scope
from oxicache.django.scope import ANONYMOUS, UNKNOWN, Scope, scope_of
from oxicache.errors import MissingScopeError
from oxicache.keys import match_segments

SESSION_IDS = {
    "TENANT": "oxicache.django.scope.session_tenant",
    "CLIENT": "oxicache.django.scope.session_client",
    "UNIT": "oxicache.django.scope.session_unit",
}
IDS = st.one_of(st.integers(0, 3), st.text("~:1tenacliu%*A3 \né", min_size=1, max_size=9))
pytestmark = pytest.mark.usefixtures("no_rows")

PARTS = st.dictionaries(st.sampled_from(sorted(scope.LABELS)), IDS, max_size=3)
_numbers = itertools.count()


def served(**cookies: str) -> HttpRequest:
    """A request as views get it: behind the middlewares of sessions and users."""
    request = RequestFactory().get("/")
    request.COOKIES.update(cookies)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    return request


def with_session(**values: Any) -> HttpRequest:
    store = SessionStore()
    store.update(values)
    store.create()
    return served(**{settings.SESSION_COOKIE_NAME: store.session_key})


@pytest.fixture
def user() -> Iterator[User]:
    """Somebody."""
    made = User.objects.create_user(f"scope-{next(_numbers)}")
    yield made
    made.delete()


def logged_in(user: User) -> HttpRequest:
    """A request of somebody, whom nobody has loaded yet."""
    client = Client()
    client.force_login(user)
    return served(**{settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value})


def is_untouched(request: HttpRequest) -> bool:
    session: Any = request.session
    return not session.accessed and not hasattr(session, "_session_cache") and not scope.is_resolved(request)


class TestPrefix:
    @pytest.mark.parametrize(
        ("parts", "wanted"),
        [
            ({}, ""),
            ({"tenant": 1, "client": 2, "unit": 3}, "tenant:1:client:2:bu:3"),
            ({"tenant": 1, "client": 2, "unit": 3, "user": 123}, "tenant:1:client:2:bu:3:user:123"),
            ({"tenant": 0}, "tenant:0"),
            ({"tenant": "1"}, "tenant:1"),
            ({"user": 7}, "user:7"),
            (
                {"tenant": "acme", "user": ANONYMOUS, "language": "de-at"},
                "tenant:acme:user:~anonymous:lang:de-at",
            ),
            ({"tenant": UUID(int=1)}, "tenant:00000000-0000-0000-0000-000000000001"),
            ({"tenant": "a:client:2"}, "tenant:a%3Aclient%3A2"),
            ({"user": "~anonymous"}, "user:~~anonymous"),
        ],
        ids=str,
    )
    def test_it_is_document_004s(self, parts: dict[str, Any], wanted: str) -> None:
        """`tenant:1:client:2:bu:3`, of the parts there are; 0 is an id, and no id reads as two parts."""
        assert Scope(**parts).prefix() == wanted

    @given(PARTS, PARTS)
    def test_no_two_scopes_share_a_prefix(self, left: dict[str, Any], right: dict[str, Any]) -> None:
        """Whatever the ids hold: one prefix if and only if they are the same, as text, in the same places."""
        one, other = Scope(**left), Scope(**right)
        same = {name: str(value) for name, value in left.items()} == {
            name: str(value) for name, value in right.items()
        }
        assert (one.prefix() == other.prefix()) is same
        assert one.prefix() == "" or match_segments(one.prefix(), one.key("x"))

    def test_keys_and_patterns_stand_below_it(self) -> None:
        """Document 004, "Standard Patterns": `tenant:1:client:2:bu:3:dropdown:people:all`."""
        found = Scope(tenant=1, client=2, unit=3)
        assert found.key("dropdown", "people", "all") == "tenant:1:client:2:bu:3:dropdown:people:all"
        assert found.key("x", params={"page": 1}) == "tenant:1:client:2:bu:3:x:page=1"
        assert Scope(tenant=1).patterns("*dashboard:*") == ("tenant:1:*dashboard:*",)
        assert Scope().key("a", 1) == "a:1"

    def test_a_row_stands_for_its_key(self, user: User) -> None:
        """An object with a pk is known by it; one without is refused."""
        assert Scope(user=user).user == user.pk
        assert Scope(tenant=SimpleNamespace(pk="acme")).prefix() == "tenant:acme"

    @pytest.mark.parametrize("part", scope.LABELS)
    def test_what_is_missing_has_no_prefix(self, part: str) -> None:
        """MissingScopeError names it; there is no key that all who miss it would share."""
        found = Scope(**{"tenant": 1, part: UNKNOWN})
        assert found.missing == (part,)
        with pytest.raises(MissingScopeError, match=f"the {part} of this data is not known") as caught:
            found.key("dashboard")
        assert caught.value.missing == (part,)

    @pytest.mark.parametrize(
        ("value", "error", "message"),
        [
            (True, TypeError, "tenant must be a str, an int, a UUID, .* not True"),
            (1.0, TypeError, "not 1.0"),
            ((1, 2), TypeError, "not "),
            ("", ValueError, "tenant must not be empty"),
        ],
    )
    def test_what_is_no_id_is_refused(self, value: Any, error: type[Exception], message: str) -> None:
        """An error says what an id may be."""
        with pytest.raises(error, match=message):
            Scope(tenant=value)


class TestTenants:
    def test_without_resolvers_nothing_is_told_apart(self) -> None:
        """A project without tenants has keys without tenants, and its sessions are left alone."""
        request = with_session(tenant_id=1)
        assert scope_of(request, per_user=False) == Scope()
        assert is_untouched(request)

    @override_settings(OXICACHE=SESSION_IDS)
    def test_the_ids_of_a_session_are_taken(self) -> None:
        """Document 004: tenant, client and unit from `request.session`."""
        request = with_session(tenant_id=1, client_id=2, bu_id=3)
        assert scope_of(request, per_user=False).prefix() == "tenant:1:client:2:bu:3"

    @override_settings(OXICACHE=SESSION_IDS)
    def test_tenant_0_is_a_tenant(self) -> None:
        """Document 004's helpers took 0 for missing, and missing for tenant 1."""
        request = with_session(tenant_id=0, client_id=0, bu_id=0)
        assert scope_of(request, per_user=False).prefix() == "tenant:0:client:0:bu:0"

    @override_settings(OXICACHE=SESSION_IDS)
    @pytest.mark.parametrize("values", [{}, {"tenant_id": None}, {"tenant_id": ""}], ids=str)
    def test_a_missing_tenant_is_nobody(self, values: dict[str, Any]) -> None:
        """Without an id in the session the tenant is unknown, and nothing can be kept."""
        found = scope_of(with_session(client_id=2, bu_id=3, **values), per_user=False)
        assert found == Scope(tenant=UNKNOWN, client=2, unit=3)
        with pytest.raises(MissingScopeError, match="the tenant of this data"):
            found.prefix()

    @override_settings(OXICACHE=SESSION_IDS)
    def test_a_request_without_session_begins_none(self) -> None:
        """No cookie, no session: it is not even looked at. Nor is there one without its middleware."""
        request = served()
        assert scope_of(request, per_user=False).missing == ("tenant", "client", "unit")
        assert is_untouched(request)
        assert scope_of(RequestFactory().get("/"), per_user=False).missing == ("tenant", "client", "unit")

    @override_settings(OXICACHE=SESSION_IDS)
    def test_a_session_begun_in_this_request_counts(self) -> None:
        """A login sets the ids before there is a cookie. A plain dict, as tests have it, is a session too."""
        request = served()
        request.session["tenant_id"] = 5
        assert scope_of(request, per_user=False).tenant == 5
        bare = RequestFactory().get("/")
        bare.session = {"tenant_id": 6}  # type: ignore[assignment]
        assert scope_of(bare, per_user=False).tenant == 6

    @override_settings(OXICACHE=SESSION_IDS)
    def test_what_is_not_asked_for_is_not_looked_at(self) -> None:
        """per_tenant=False and parts that are given leave the session alone."""
        request = with_session(tenant_id=1)
        assert scope_of(request, per_tenant=False, per_user=False) == Scope()
        given = {"tenant": 0, "client": 2, "unit": None}
        assert scope_of(request, per_user=False, **given) == Scope(tenant=0, client=2)
        assert is_untouched(request)

    @pytest.mark.parametrize(
        ("resolver", "wanted"),
        [
            (lambda: "schema", "schema"),
            (lambda request: request.META["HTTP_X_TENANT"], "header"),
            (lambda request=None: request.META["HTTP_X_TENANT"], "header"),
            (lambda using="default": using, "default"),
            (lambda *_: "any", "any"),
            (translation.get_language, "en-us"),
            ({}.get, UNKNOWN),
            (int, 0),
        ],
        ids=[
            "nothing",
            "request",
            "request-or-not",
            "other-default",
            "any",
            "django",
            "method",
            "no-signature",
        ],
    )
    def test_a_resolver_takes_the_request_or_nothing(self, resolver: Any, wanted: Any) -> None:
        """It gets the request if a parameter must be given, or is called `request`."""
        with override_settings(OXICACHE={"TENANT": resolver}):
            assert scope_of(RequestFactory().get("/", headers={"x-tenant": "header"})).tenant == wanted

    def test_a_resolvers_error_is_heard(self) -> None:
        """Nobody is given another's data because the resolver is broken."""
        with (
            override_settings(OXICACHE={"TENANT": lambda request: request.tenant}),
            pytest.raises(AttributeError, match="tenant"),
        ):
            scope_of(RequestFactory().get("/"))

    def test_a_part_that_does_not_exist_is_refused(self) -> None:
        """TypeError lists the parts."""
        with pytest.raises(
            TypeError, match="a scope has no part tennant; its parts are tenant, client, unit"
        ):
            scope_of(RequestFactory().get("/"), tennant=1)

    def test_one_that_needs_a_request_is_no_part_of_rows(self) -> None:
        """A connection has no request; one that can do without is asked by rows too."""
        for resolver, of_rows in (
            (lambda request: 1, False),
            (lambda request=None: 1, True),
            (lambda: 1, True),
        ):
            with override_settings(OXICACHE={"TENANT": resolver}):
                assert (conf.tenant_resolver() is resolver) is of_rows

    @pytest.mark.parametrize("part", conf.SCOPE_PARTS)
    def test_a_path_to_nothing_is_refused(self, part: str) -> None:
        """ImproperlyConfigured names the setting and the path."""
        with override_settings(OXICACHE={part.upper(): lambda request: 1}):
            assert conf.resolver(part) is not None
        with (
            pytest.raises(ImproperlyConfigured, match=rf"OXICACHE\['{part.upper()}'\] is 'no.such.path'"),
            override_settings(OXICACHE={part.upper(): "no.such.path"}),
        ):
            conf.resolver(part)


class TestUsers:
    def test_a_visitor_without_cookie_is_nobody(self) -> None:
        """Anonymous by the headers alone: neither user nor session is touched."""
        request = served()
        assert scope_of(request) == Scope()
        assert scope_of(request, per_user=True) == Scope(user=ANONYMOUS)
        assert is_untouched(request)

    def test_who_is_logged_in_is_told_apart(self, user: User) -> None:
        """By default, and whenever asked for."""
        assert scope_of(logged_in(user)).prefix() == f"user:{user.pk}"
        assert scope_of(logged_in(user), per_user=True).user == user.pk

    def test_sharing_among_users_looks_at_none(self, user: User) -> None:
        """per_user=False: the lazy user is not loaded, the session not read."""
        request = logged_in(user)
        assert scope_of(request, per_user=False) == Scope()
        assert is_untouched(request)

    def test_a_session_of_nobody_is_anonymous(self) -> None:
        """A cookie without a login: the user is asked for, and is none."""
        assert scope_of(with_session(cart=1)).user is None
        assert scope_of(with_session(cart=1), per_user=True).user is ANONYMOUS

    def test_anonymous_visitors_share_nothing_with_the_tenant(self) -> None:
        """Document 004's per_user used the tenant's own key for them."""
        request = served()
        alone, shared = (scope_of(request, tenant=1, per_user=flag).key("x") for flag in (True, False))
        assert (alone, shared) == ("tenant:1:user:~anonymous:x", "tenant:1:x")

    def test_a_user_that_somebody_has_set_counts(self, user: User) -> None:
        """A middleware for tokens sets `request.user`; no cookie is needed."""
        request = RequestFactory().get("/")
        request.user = user
        assert scope_of(request).user == user.pk
        request.user = AnonymousUser()
        assert scope_of(request).user is None

    def test_a_token_makes_the_user_be_asked_for(self, user: User) -> None:
        """Whoever sends `Authorization` may be somebody."""
        request = served()
        request.META["HTTP_AUTHORIZATION"] = "Token abc"
        assert scope_of(request).user is None
        assert scope.is_resolved(request)

    def test_a_user_without_a_key_is_unknown(self) -> None:
        """Logged in, and nothing to tell him apart by: never one of the anonymous."""
        request = RequestFactory().get("/")
        request.user = User(username="unsaved")
        assert scope_of(request).missing == ("user",)

    def test_the_setting_knows_better(self) -> None:
        """USER names who asks where it is not `request.user`."""
        request = RequestFactory().get("/", headers={"x-user": "ada"})
        with override_settings(OXICACHE={"USER": lambda request: request.META.get("HTTP_X_USER")}):
            assert scope_of(request).user == "ada"
            assert scope_of(RequestFactory().get("/")).user is None
            assert scope_of(RequestFactory().get("/"), per_user=True).user is ANONYMOUS

    def test_a_request_of_rest_framework_is_understood(self, user: User) -> None:
        """Its user is its own, even where neither cookie nor `Authorization` says so."""

        class ByHeader(BaseAuthentication):
            def authenticate(self, request: Request) -> Any:
                return (user, None) if request.META.get("HTTP_X_KEY") else None

        known = Request(RequestFactory().get("/", headers={"x-key": "1"}), authenticators=[ByHeader()])
        assert scope_of(known).user == user.pk  # type: ignore[arg-type]
        stranger = Request(RequestFactory().get("/"), authenticators=[ByHeader()])
        assert scope_of(stranger).user is None  # type: ignore[arg-type]
        forced = RequestFactory().get("/")
        force_authenticate(forced, user)
        assert scope_of(Request(forced)).user == user.pk  # type: ignore[arg-type]


class TestLanguages:
    def test_the_active_language_is_asked_for(self) -> None:
        """Only where it is wanted; switched off it is a variant of its own."""
        request = served()
        with translation.override("de"):
            assert scope_of(request).language is None
            assert scope_of(request, per_language=True).prefix() == "lang:de"
        with translation.override(None):
            assert scope_of(request, per_language=True).prefix() == "lang:~untranslated"
        with override_settings(OXICACHE={"LANGUAGE": lambda request: "fr"}):
            assert scope_of(request, per_language=True).language == "fr"
