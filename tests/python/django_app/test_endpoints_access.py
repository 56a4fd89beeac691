"""Who may ask the endpoints of document 002: by session and by token, with which methods, and what others are told."""

import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from endpoint_sites import BASE, FACES, aliases, clear, rest, routed, serving, told
from rest_framework.permissions import AllowAny
from users_site import Site

from oxicache.django.endpoints import rest_views, views

METHODS = {
    "cache-stats/": "GET",
    "cache-health/": "GET",
    "cache-clear/": "POST",
    "cache-reset-stats/": "POST",
}
FOR_STAFF = ("cache-health/", "cache-clear/", "cache-reset-stats/")
SCHEMES = {
    "plain": "Session",
    "rest": "Basic",
    "rest by token": "Token",
    "rest by session": "Session",
}
_numbers = itertools.count()


@pytest.fixture(params=list(FACES), autouse=True)
def face(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(request.param, CACHES=aliases()):
        yield request.param


def ask(client: Client, name: str, **options: Any) -> tuple[int, Any]:
    return told(client.generic(METHODS[name], BASE + name, **options))


@pytest.mark.parametrize("name", METHODS)
class TestWho:
    def test_visitors(self, client: Client, name: str, face: str) -> None:
        """401, with a scheme, in JSON, and stored nowhere: no page to log in."""
        caches["default"].set("a", 1)
        response = client.generic(METHODS[name], BASE + name)
        status, body = told(response)
        assert status == 401
        assert list(body) == ["detail"]
        assert response["WWW-Authenticate"].startswith(SCHEMES[face])
        assert "no-store" in response["Cache-Control"]
        assert caches["default"].get("a") == 1

    def test_members(self, member: Client, name: str) -> None:
        """Who is logged in may see the statistics, and nothing else."""
        status, body = ask(member, name)
        assert status == (403 if name in FOR_STAFF else 200)
        assert ("detail" in body) is (name in FOR_STAFF)

    def test_staff(self, staff: Client, name: str) -> None:
        """Staff may do all of it; what they see is stored nowhere."""
        response = staff.generic(METHODS[name], BASE + name)
        assert told(response)[0] == 200
        assert "no-store" in response["Cache-Control"]

    def test_former_staff(self, staff: Client, name: str) -> None:
        """An account that is no longer active is nobody's."""
        User.objects.filter(is_staff=True).update(is_active=False)
        assert ask(staff, name)[0] == 401

    def test_other_methods(self, staff: Client, name: str) -> None:
        """405 in JSON that says which one it takes; clearing is no link that somebody could be sent."""
        other = "POST" if METHODS[name] == "GET" else "GET"
        response = staff.generic(other, BASE + name)
        assert told(response)[0] == 405
        assert METHODS[name] in response["Allow"]

    def test_a_site_where_all_must_log_in(self, client: Client, name: str) -> None:
        """LoginRequiredMiddleware does not turn the 401 into a redirect."""
        added = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, added]):
            assert ask(client, name)[0] == 401


class TestToken:
    @pytest.fixture(autouse=True)
    def _by_token(self, face: str) -> Iterator[None]:
        with override_settings(ROOT_URLCONF=FACES["rest by token"]):
            yield

    def by(self, user: User | None, name: str = "cache-clear/") -> tuple[int, Any]:
        token = "wrong" if user is None else user.username
        return ask(Client(enforce_csrf_checks=True, headers={"authorization": f"Token {token}"}), name)

    @pytest.fixture
    def users(self) -> Iterator[dict[bool, User]]:
        made = {
            is_staff: User.objects.create_user(f"token-{next(_numbers)}", is_staff=is_staff)
            for is_staff in (True, False)
        }
        yield made
        for user in made.values():
            user.delete()

    @pytest.mark.parametrize("name", METHODS)
    def test_who_it_belongs_to_counts(self, users: dict[bool, User], name: str) -> None:
        """Staff's may do all of it without a CSRF token, a member's sees the statistics, a wrong one is refused."""
        assert self.by(users[True], name)[0] == 200
        assert self.by(users[False], name)[0] == (403 if name in FOR_STAFF else 200)
        assert self.by(None, name)[0] == 401


class TestCsrf:
    @pytest.fixture(params=[False, True], ids=["without the middleware", "with the middleware"], autouse=True)
    def _middleware(self, request: pytest.FixtureRequest) -> Iterator[None]:
        own = ["django.middleware.csrf.CsrfViewMiddleware"] if request.param else []
        with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, *own]):
            yield

    @pytest.fixture
    def browser(self) -> Iterator[Client]:
        """Staff's browser, whose requests are checked as those of any."""
        user = User.objects.create_user(f"browser-{next(_numbers)}", is_staff=True)
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        yield client
        user.delete()
        Session.objects.all().delete()

    def test_another_site_cannot_have_it_done(self, browser: Client) -> None:
        """A session's POST without the token is refused in JSON, and nothing is cleared."""
        caches["default"].set("a", 1)
        status, body = clear(browser)
        assert status == 403
        assert re.match("CSRF Failed: CSRF (cookie|token)", body["detail"])
        assert caches["default"].get("a") == 1
        assert ask(browser, "cache-reset-stats/")[0] == 403

    @pytest.mark.parametrize("sent", ["header", "form"])
    def test_with_the_token(self, browser: Client, sent: str) -> None:
        """As Django takes it: in a header, or as a field of the form, which is no pattern."""
        token = "a" * 32
        browser.cookies["csrftoken"] = token
        caches["default"].set_many({"a": 1, "b": 1})
        if sent == "header":
            answer = clear(browser, {"pattern": "a"}, headers={"x-csrftoken": token})
        else:
            answer = clear(browser, f"csrfmiddlewaretoken={token}&pattern=a".encode())
        assert answer[0] == 200, answer
        assert [caches["default"].get(key) for key in "ab"] == [None, 1]

    def test_a_wrong_token(self, browser: Client) -> None:
        """One that is not the cookie's is none."""
        browser.cookies["csrftoken"] = "a" * 32
        status, body = clear(browser, headers={"x-csrftoken": "b" * 32})
        assert status == 403
        assert "CSRF Failed" in body["detail"]

    def test_reading_needs_none(self, browser: Client) -> None:
        """A GET changes nothing."""
        assert ask(browser, "cache-stats/")[0] == 200


class TestConfiguration:
    def test_permissions_of_plain_views(self, member: Client) -> None:
        """A subclass says who may."""

        class ForMembers(views.CacheHealthView):
            def has_permission(self, user: Any) -> bool:
                return bool(user.is_authenticated)

        with override_settings(ROOT_URLCONF=routed(path("api/core/cache-health/", ForMembers.as_view()))):
            assert ask(member, "cache-health/")[0] == 200

    def test_permissions_of_the_framework(self, client: Client) -> None:
        """`as_view(permission_classes=...)`, as every view of the framework has it."""
        view = rest_views.CacheHealthView.as_view(permission_classes=[AllowAny])
        with override_settings(ROOT_URLCONF=routed(path("api/core/cache-health/", view))):
            assert ask(client, "cache-health/")[0] == 200

    @pytest.mark.parametrize(
        "body", [{"pattern": "a"}, b"pattern=a", b'{"pattern": "a"}'], ids=["JSON", "form", "JSON as a form"]
    )
    def test_a_permission_that_reads_the_body(self, staff: Client, body: Any) -> None:
        """What the project's own classes have read before can be read again."""

        class Reading(AllowAny):  # type: ignore[misc]  # the framework has no types
            def has_permission(self, request: Any, view: Any) -> bool:
                return bool(request.data)

        caches["default"].set_many({"a": 1, "b": 1})
        view = rest_views.CacheClearView.as_view(permission_classes=[Reading])
        with override_settings(ROOT_URLCONF=routed(path("api/core/cache-clear/", view))):
            assert clear(staff, body)[0] == 200
        assert [caches["default"].get(key) for key in "ab"] == [None, 1]

    def test_without_any_authentication(self, client: Client) -> None:
        """Where the framework asks nobody who he is, nobody is let in, and there is nothing to be sent: 403."""
        with override_settings(ROOT_URLCONF=rest()):
            assert ask(client, "cache-stats/")[0] == 403

    def test_a_site_without_users(self) -> None:
        """Where requests have no user, nobody is logged in."""
        request = RequestFactory().get("/")
        assert views.CacheStatsView.as_view()(request).status_code == 401
        request.user = AnonymousUser()
        assert views.CacheStatsView.as_view()(request).status_code == 401


class TestWithoutTheFramework:
    def test_the_plain_face_needs_none_and_the_other_says_what_it_needs(self) -> None:
        """Without Django REST framework the plain views are there, and `rest_urls` names the remedy."""
        source = """
            import sys
            sys.modules["rest_framework"] = None
            from oxicache.django.endpoints import urls
            print(len(urls.urlpatterns))
            try:
                from oxicache.django.endpoints import rest_urls
            except ImportError as error:
                print(error)
        """
        with tempfile.TemporaryDirectory(prefix="ox") as folder:
            said = Site(Path(folder), 'INSTALLED_APPS = ["oxicache.django"]').python(source)
        assert said.splitlines() == [
            "4",
            'Django REST framework is not installed; run: pip install "oxicache[drf]"',
        ]
