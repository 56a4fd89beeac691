"""Who may see the pages of health and metrics: staff, whoever sends the token, and nobody else."""

import itertools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from oxicache.django import views

NATIVE = "oxicache.django.backends.NativeCache"
TOKEN = "s3cret"  # noqa: S105 -- opens nothing but these tests
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(
        CACHES={"default": {"BACKEND": NATIVE, "LOCATION": f"health-access-{next(_numbers)}"}}
    ):
        yield


def is_stored_nowhere(response: HttpResponse) -> bool:
    return "no-store" in response.headers["Cache-Control"]


class TestAccess:
    PAGES = ("/cache/health/detail/", "/cache/metrics/")

    @pytest.mark.parametrize("page", PAGES)
    def test_anonymous_visitors_go_to_the_login(self, client: Client, page: str) -> None:
        """As the admin does, and back afterwards."""
        response = client.get(page)
        assert response.status_code == 302
        assert response.headers["Location"] == f"/admin/login/?next={page}"
        assert is_stored_nowhere(response)

    @pytest.mark.parametrize("page", PAGES)
    def test_members_are_refused(self, member: Client, page: str) -> None:
        """Who is logged in and no staff is not sent to a login that would not help."""
        assert member.get(page).status_code == 403

    @pytest.mark.parametrize("page", PAGES)
    def test_staff_may(self, staff: Client, page: str) -> None:
        """And what they see is stored nowhere on the way."""
        response = staff.get(page)
        assert response.status_code == 200
        assert is_stored_nowhere(response)
        assert staff.post(page).status_code == 405

    @pytest.mark.parametrize("page", PAGES)
    def test_former_staff_may_not(self, staff: Client, page: str) -> None:
        """An account that is no longer active is nobody's."""
        User.objects.filter(is_staff=True).update(is_active=False)
        assert staff.get(page).status_code in {302, 403}

    @pytest.mark.parametrize("page", PAGES)
    def test_switched_off(self, staff: Client, page: str) -> None:
        """CACHE_MONITORING_ENABLED = False: these pages are not there, and the public one still is."""
        with override_settings(CACHE_MONITORING_ENABLED=False):
            assert staff.get(page).status_code == 404
            assert staff.get("/cache/health/").status_code == 200

    def test_a_site_without_authentication(self) -> None:
        """Where requests have no user, nobody is staff."""
        from django.core.exceptions import PermissionDenied

        with pytest.raises(PermissionDenied):
            views.health_detail(RequestFactory().get("/"))

    def test_without_the_admin_the_login_is_the_sites(self) -> None:
        """Where there is no admin, LOGIN_URL is."""
        request = RequestFactory().get("/cache/health/detail/")
        request.user = AnonymousUser()
        with override_settings(ROOT_URLCONF="oxicache.django.urls", LOGIN_URL="/enter/"):
            assert views.health_detail(request).headers["Location"].startswith("/enter/?next=")


class TestToken:
    def get(self, authorization: str | None, token: str | None = TOKEN) -> Any:
        headers = {} if authorization is None else {"authorization": authorization}
        with override_settings(OXICACHE={"METRICS_TOKEN": token}):
            return Client(headers=headers).get("/cache/metrics/")

    def test_who_sends_it_may_read_the_metrics(self) -> None:
        """Prometheus has no session; the scheme's case does not matter."""
        assert self.get("Bearer s3cret").status_code == 200
        assert self.get("bearer s3cret").status_code == 200

    @pytest.mark.parametrize(
        "sent", ["Bearer wrong", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Bearer \xe4"]
    )
    def test_a_wrong_one_is_refused(self, sent: str) -> None:
        """Not sent to a login: 401, as a scraper expects."""
        response = self.get(sent)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert is_stored_nowhere(response)

    @pytest.mark.parametrize("sent", [None, "Basic czNjcmV0", "Bearer s3cret"])
    def test_without_the_setting_there_is_none(self, sent: str | None) -> None:
        """No token is set, so none is right: not even an empty one."""
        assert self.get(sent, token=None).status_code == 302

    def test_it_opens_the_metrics_alone(self) -> None:
        """The detailed page is for staff."""
        with override_settings(OXICACHE={"METRICS_TOKEN": "s3cret"}):
            client = Client(headers={"authorization": "Bearer s3cret"})
            assert client.get("/cache/health/detail/").status_code == 302

    def test_it_is_compared_in_constant_time(self) -> None:
        """How much of it was right is not told by how long the answer takes."""
        with mock.patch("secrets.compare_digest", return_value=False) as compare:
            self.get("Bearer s3cret")
        compare.assert_called_once_with(b"s3cret", b"s3cret")

    def test_monitoring_that_is_off_stays_off(self) -> None:
        """The token opens nothing that is not there."""
        with override_settings(CACHE_MONITORING_ENABLED=False):
            assert self.get("Bearer s3cret").status_code == 404


class TestLoginRequired:
    """A site where LoginRequiredMiddleware sends everybody to the login."""

    @pytest.fixture(autouse=True)
    def _middleware(self) -> Iterator[None]:
        added = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, added], OXICACHE={"METRICS_TOKEN": TOKEN}):
            yield

    def test_load_balancers_and_scrapers_are_let_through(self, client: Client) -> None:
        """Neither has a login: the public page is public, and the token opens the metrics."""
        assert client.get("/cache/health/").status_code == 200
        assert client.get("/cache/metrics/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200

    @pytest.mark.parametrize("page", TestAccess.PAGES)
    def test_others_are_not(self, client: Client, page: str) -> None:
        """Pages for staff are still for staff."""
        assert client.get(page).status_code == 302
