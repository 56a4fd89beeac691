"""`SiteCacheMiddleware`: what it keeps, and for whom."""

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from whole_site import DJANGOS, OURS, calls, site, status_of

from oxicache import testing


class TestHits:
    @pytest.mark.parametrize("address", ["/plain/", "/async/", "/plain/5/", "/api/", "/show/"])
    def test_the_second_visitor_gets_what_the_first_got(self, site_last: None, address: str) -> None:
        """No view is called for him, and the response is the same."""
        first, second = Client().get(address), Client().get(address)
        assert (status_of(first), status_of(second)) == ("MISS", "HIT")
        assert len(calls) == 1
        assert second.content == first.content
        left_out = {"Age", "X-Cache"}
        assert {k: v for k, v in second.items() if k not in left_out} == {
            k: v for k, v in first.items() if k not in left_out
        }

    def test_what_is_asked_for_is_in_the_key(self, site_last: None, client: Client) -> None:
        """Path, query and host part entries."""
        for address in ("/plain/", "/plain/?a=1", "/plain/?a=2", "/plain/1/", "/plain/2/"):
            client.get(address)
        client.get("/plain/", headers={"Host": "testserver:81"})
        assert len(calls) == 6

    def test_it_expires(self, site_last: None, client: Client) -> None:
        """After SITE_TTL seconds the view is asked again."""
        with testing.clock() as clock, override_settings(OXICACHE={"SITE_TTL": 60}):
            client.get("/plain/")
            clock.advance(59)
            assert client.get("/plain/")["Age"] == "59"
            clock.advance(1)
            assert status_of(client.get("/plain/")) == "MISS"

    def test_a_head_is_answered_by_what_get_has_left(self, site_last: None, client: Client) -> None:
        """It fills nothing itself."""
        assert status_of(client.head("/plain/")) == ""
        body = client.get("/plain/").content
        head = client.head("/plain/")
        assert (status_of(head), head.content, head["Content-Length"]) == ("HIT", b"", str(len(body)))

    def test_a_hit_is_conditional(self, site_last: None, client: Client) -> None:
        """Who has the page gets a 304."""
        tag = client.get("/plain/")["ETag"]
        response = client.get("/plain/", headers={"If-None-Match": tag})
        assert (response.status_code, status_of(response)) == (304, "HIT")

    def test_many_at_once_ask_the_view_once(self, site_last: None) -> None:
        """Those who come while a page is made wait for it."""
        is_asked, go_on = threading.Event(), threading.Event()

        def slow(request: HttpRequest) -> HttpResponse:
            calls.append("slow")
            is_asked.set()
            assert go_on.wait(30)
            return HttpResponse("slow")

        with override_settings(ROOT_URLCONF=(path("slow/", slow),)), ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(Client().get, "/slow/") for _ in range(4)]
            assert is_asked.wait(30)
            go_on.set()
            assert {one.result().content for one in asked} == {b"slow"}
        assert calls == ["slow"]

    def test_what_a_view_tells_middleware_by_attribute(self, site_last: None, client: Client) -> None:
        """A page that may be framed may be framed on a hit."""
        first, second = client.get("/framed/"), client.get("/framed/")
        assert (status_of(first), status_of(second)) == ("MISS", "HIT")
        assert "X-Frame-Options" not in first
        assert "X-Frame-Options" not in second
        assert client.get("/plain/")["X-Frame-Options"] == "DENY"

    def test_the_match_is_there_for_middleware(self, site_last: None, client: Client) -> None:
        """`request.resolver_match` of a hit is that of its view."""
        client.get("/plain/5/")
        response = client.get("/plain/5/")
        assert status_of(response) == "HIT"
        assert response.wsgi_request.resolver_match.kwargs == {"pk": 5}

    def test_outside_of_compression(self) -> None:
        """What is compressed before it is kept is kept for those who ask for that."""
        asked: list[dict[str, str]] = [
            {}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}, {"Accept-Encoding": "br, gzip"}
        ]  # fmt: skip
        with site([OURS, DJANGOS[0]]):
            for headers in (*asked, *reversed(asked)):
                response = Client().get("/long/", headers=headers)
                is_gzip = response.get("Content-Encoding") == "gzip"
                assert is_gzip == ("gzip" in headers.get("Accept-Encoding", ""))
                assert (gzip.decompress(response.content) if is_gzip else response.content) == b"long " * 200
        assert len(calls) == len(asked)


class TestWhose:
    def test_pages_that_name_their_user(self, site_anywhere: None, member: Client, staff: Client) -> None:
        """In every order each gets his own, and who is nobody gets nobody's."""
        for visitor in (Client(), member, staff, Client(), staff, member):
            pk = visitor.session.get("_auth_user_id")
            assert visitor.get("/named/").content.decode() == f"for {pk}"

    def test_users_are_left_alone_unless_they_are_wanted(self, site_last: None, member: Client) -> None:
        """Neither their session nor they themselves are loaded to find that out."""
        Client().get("/plain/")
        response = member.get("/plain/")
        assert status_of(response) == ""
        assert not hasattr(response.wsgi_request.session, "_session_cache")

    def test_each_user_has_entries_of_his_own(self, site_last: None, member: Client, staff: Client) -> None:
        """With SITE_USERS a user's second visit is a hit, and another's is none."""
        with override_settings(OXICACHE={"SITE_USERS": True}):
            found = [status_of(one.get("/named/")) for one in (member, staff, member, staff)]
        assert found == ["MISS", "MISS", "HIT", "HIT"]

    def test_a_user_known_by_something_else(self, site_last: None) -> None:
        """Whom the setting USER names is a user."""
        with override_settings(OXICACHE={"USER": lambda request: request.META.get("HTTP_X_USER")}):
            for _ in range(2):
                assert status_of(Client().get("/plain/", headers={"X-User": "7"})) == ""
            assert [status_of(Client().get("/plain/")) for _ in range(2)] == ["MISS", "HIT"]

    def test_who_has_authorization(self, site_anywhere: None) -> None:
        """He may be anybody: he is given nothing that is held, and leaves nothing."""
        for _ in range(2):
            assert status_of(Client().get("/plain/", headers={"Authorization": "Token a"})) == ""
        assert len(calls) == 2

    def test_cookies(self, site_anywhere: None) -> None:
        """A page that reads one is shared by those who lack it, and by nobody else."""
        for theme in (None, "dark", None, "blue", "dark"):
            client = Client()
            if theme:
                client.cookies.load({"theme": theme})
            assert client.get("/themed/").content.decode() == (theme or "light")

    def test_languages(self, site_anywhere: None) -> None:
        """By header or by cookie, in every order."""
        for language, by_cookie, expected in (
            ("de", False, "Ja"), ("en", False, "Yes"), ("de", True, "Ja"), ("en", True, "Yes"), ("de", False, "Ja"),
        ):  # fmt: skip
            client = Client()
            if by_cookie:
                client.cookies.load({"django_language": language})
            headers = {} if by_cookie else {"Accept-Language": language}
            response = client.get("/spoken/", headers=headers)
            assert (response.content.decode(), response["Content-Language"]) == (expected, language)

    def test_a_form_is_each_visitors_own(self, site_anywhere: None) -> None:
        """Its token, and the cookie that belongs to it."""
        tokens = set()
        for _ in range(3):
            client = Client()
            response = client.get("/form/")
            assert status_of(response) == ""
            assert "csrftoken" in client.cookies
            tokens.add(client.cookies["csrftoken"].value)
        assert len(tokens) == 3

    def test_messages(self, site_anywhere: None, has_users: bool) -> None:
        """They are shown once, to whom they are for."""
        one, other = Client(), Client()
        other.get("/show/")
        one.get("/tell/")
        assert one.get("/show/").content == b"saved"
        assert other.get("/show/").content == b""
        assert one.get("/show/").content == b""
        one.get("/tell/")
        assert one.get("/show/").content == b"saved"


class TestAsync:
    async def ask(self, *addresses: str, **headers: str) -> list[Any]:
        return [await AsyncClient().get(one, headers=headers) for one in addresses]

    @pytest.mark.parametrize("address", ["/plain/", "/async/", "/named/"])
    def test_asgi(self, site_last: None, address: str) -> None:
        """An async site is cached alike, its sync and its async views."""
        found = async_to_sync(self.ask)(address, address)
        assert [status_of(one) for one in found] == ["MISS", "HIT"]
        assert found[0].content == found[1].content
        assert len(calls) == 1

    def test_a_hit_takes_no_thread(self) -> None:
        """Nothing of a hit of an anonymous visitor leaves the loop."""
        from asgiref.sync import sync_to_async
        from django.test import AsyncRequestFactory

        from oxicache.django.responses import SiteCacheMiddleware

        async def inside(request: HttpRequest) -> HttpResponse:
            return HttpResponse("x")

        async def run() -> list[str]:
            served = SiteCacheMiddleware(inside)
            return [status_of(await served(AsyncRequestFactory().get("/plain/"))) for _ in range(3)]

        hops = []
        with site([]), pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "oxicache.django.responses.serving.sync_to_async",
                lambda *args, **kw: hops.append(args) or sync_to_async(*args, **kw),
            )
            assert async_to_sync(run)() == ["MISS", "HIT", "HIT"]
        assert hops == []
