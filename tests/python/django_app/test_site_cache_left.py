"""`SiteCacheMiddleware`: what it leaves alone, and `uncached`."""

import logging
from typing import Any

import pytest
from django.test import Client, override_settings
from django.views import View
from whole_site import LeftAsync, calls, left, left_async, status_of

from oxicache import testing
from oxicache.django.responses import uncached


class TestWhatIsLeftAlone:
    @pytest.mark.parametrize(
        "address",
        [
            "/streamed/", "/never/", "/status/?status=404", "/status/?status=301", "/status/?status=500",
            "/status/?status=206", "/left/function/", "/left/async/", "/left/class/", "/left/class/async/",
            "/left/method/", "/left/inherited/", "/left/hidden/", "/left/partial/", "/left/api/", "/left/api/method/",
        ],
    )  # fmt: skip
    def test_what_is_not_cached(self, site_anywhere: None, address: str) -> None:
        """Streams, other statuses, what says so itself, and views marked `uncached`, however they are wrapped."""
        for _ in range(3):
            assert status_of(Client().get(address)) == ""
        assert len(calls) == 3

    def test_a_view_that_fails(self, site_last: None) -> None:
        """Its exception reaches who would get it without us, each time."""
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                Client().get("/failing/")
            assert Client(raise_request_exception=False).get("/failing/").status_code == 500
        assert len(calls) == 4

    def test_an_address_of_nothing(self, site_last: None, client: Client) -> None:
        """404, as ever."""
        assert [client.get("/nowhere/").status_code for _ in range(2)] == [404, 404]
        assert client.get("/plain").status_code == 301

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_other_methods(self, site_last: None, client: Client, method: str) -> None:
        """They reach the view, find nothing and leave nothing."""
        client.get("/plain/")
        for _ in range(2):
            assert status_of(getattr(client, method)("/plain/")) == ""
        assert len(calls) == 3

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("/plain/*", ["", "", "HIT"]),
            ("/plain/", ["", "HIT", "HIT"]),
            ("plain", ["", "HIT", "HIT"]),
            ("shop:*", ["HIT", "HIT", ""]),
            ("whole_site.plain", ["", "", ""]),
            ("*.plain", ["", "", ""]),
            ("/other/*", ["HIT", "HIT", "HIT"]),
        ],
    )
    def test_what_the_settings_exempt(
        self, site_last: None, client: Client, pattern: str, expected: list[str]
    ) -> None:
        """SITE_EXEMPT names paths, names of views as in reverse(), and where views are defined."""
        with override_settings(OXICACHE={"SITE_EXEMPT": [pattern]}):
            addresses = ("/plain/", "/plain/5/", "/shop/list/")
            assert [(client.get(one), status_of(client.get(one)))[1] for one in addresses] == expected

    def test_what_does_not_fit_is_no_mistake(self, site_last: None, caplog: Any) -> None:
        """Of a view that nobody has decorated nothing is said aloud, nor does strict() raise."""
        client = Client()
        client.cookies.load({"theme": "dark"})
        with testing.strict(), caplog.at_level(logging.INFO, "oxicache"):
            assert client.get("/themed/").content == b"dark"
            assert client.get("/form/").status_code == 200
        assert caplog.records == []

    def test_why_is_said_to_who_listens(self, site_last: None, caplog: Any) -> None:
        """At level DEBUG, once for each view and reason."""
        own = override_settings(OXICACHE={"SITE_KEY_PREFIX": "listening"})
        with own, caplog.at_level(logging.DEBUG, "oxicache.responses"):
            for _ in range(2):
                Client().get("/form/")
        said = [one.getMessage() for one in caplog.records]
        assert len([one for one in said if "form looks at csrf" in one]) == 1


class TestViewsThatAreCachedThemselves:
    @pytest.mark.parametrize("address", ["/own/", "/own/hidden/"])
    def test_they_are_held_once(self, site_last: None, client: Client, address: str) -> None:
        """By their own decorator, for as long as that says, hidden by another decorator or not."""
        with testing.clock() as clock:
            assert [status_of(client.get(address)) for _ in range(3)] == ["MISS", "HIT", "HIT"]
            clock.advance(999)  # longer than SITE_TTL
            assert status_of(client.get(address)) == "HIT"
            clock.advance(2)
            assert status_of(client.get(address)) == "MISS"

    def test_what_they_do_not_cache_is_not_cached(self, site_last: None, client: Client) -> None:
        """A condition of theirs that is not met holds for the whole site."""
        for _ in range(3):
            assert status_of(client.get("/own/never/")) == ""
        assert len(calls) == 3


class TestUncached:
    def test_it_stays_what_it_was(self) -> None:
        """Names, documentation and kind of a view are kept; a class is the same class."""
        from asgiref.sync import iscoroutinefunction

        assert left.__name__ == "left"
        assert iscoroutinefunction(left_async)
        assert not iscoroutinefunction(left)
        assert iscoroutinefunction(LeftAsync.as_view())

        class Kind(View):
            pass

        assert uncached(Kind) is Kind

    @pytest.mark.parametrize("wrong", [5, "view", int, None])
    def test_what_is_no_view(self, wrong: Any) -> None:
        """It is refused where it is decorated."""
        with pytest.raises(TypeError, match="uncached decorates views"):
            uncached(wrong)
