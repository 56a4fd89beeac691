"""`SiteCacheMiddleware` beside the admin, the login pages and what middleware does."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from whole_site import status_of


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
