"""`cache-clear/` of document 002: what a body names, what goes of it, and when nobody is told that it has gone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client, override_settings
from endpoint_sites import BASE, LOCMEM, aliases, clear, serving, told

from oxicache.compat.the_bot import CacheKeyBuilder


@pytest.fixture(params=["plain", "rest"], autouse=True)
def face(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(request.param, CACHES=aliases()):
        yield request.param


def fill(*names: str) -> None:
    caches["default"].set_many(dict.fromkeys(names, 1))


def left(*names: str) -> list[str]:
    return sorted(caches["default"].get_many(names))


class TestClear:
    NAMES = ("materials:list", "materials:detail:7", "users:list", "other")

    @pytest.fixture(autouse=True)
    def _filled(self, face: str) -> None:
        fill(*self.NAMES)

    def test_everything(self, staff: Client) -> None:
        """No body: all entries of the alias."""
        assert clear(staff) == (
            200,
            {
                "status": "success",
                "message": "Cache cleared",
                "pattern": None,
                "namespace": None,
                "workers": 1,
                "answered": 1,
            },
        )
        assert left(*self.NAMES) == []

    @pytest.mark.parametrize(
        "body",
        [
            {"pattern": "materials:*"},
            b"pattern=materials:*",
            b'{"pattern": "materials:*"}',
            b'{"pattern": "materials:*", "namespace": null}',
        ],
    )
    def test_a_pattern(self, staff: Client, body: Any) -> None:
        """As JSON, as a form, and as JSON that curl calls a form."""
        status, said = clear(staff, body)
        assert (status, said["message"], said["pattern"]) == (200, "Cache cleared", "materials:*")
        assert left(*self.NAMES) == ["other", "users:list"]

    def test_a_multipart_form(self, staff: Client) -> None:
        """As a browser's FormData sends it."""
        assert told(staff.post(f"{BASE}cache-clear/", {"pattern": "users:*"}))[0] == 200
        assert left(*self.NAMES) == ["materials:detail:7", "materials:list", "other"]

    def test_json_that_a_form_would_take_apart(self, staff: Client) -> None:
        """Curl without a Content-Type: `=`, `&` and `+` stay what they are."""
        fill("a=1&b+c:1", "a")
        assert clear(staff, b'{"pattern": "a=1&b+c:*"}')[1]["pattern"] == "a=1&b+c:*"
        assert left("a=1&b+c:1", "a") == ["a"]

    def test_a_namespace_of_the_core(self, staff: Client) -> None:
        """`materials` is `materials:*`, and not every key that begins so."""
        fill("materials2:list")
        status, said = clear(staff, {"namespace": "materials"})
        assert (status, said["namespace"], said["pattern"]) == (200, "materials", None)
        assert left(*self.NAMES, "materials2:list") == ["materials2:list", "other", "users:list"]

    def test_a_namespace_of_the_document(self, staff: Client) -> None:
        """Keys of CacheKeyBuilder, with both of their colons; another namespace's stay."""
        gone = CacheKeyBuilder.make_key("materials", "list")
        kept = CacheKeyBuilder.make_key("users", "list")
        assert "::" in gone
        fill(gone, kept)
        assert clear(staff, b'{"namespace": "materials"}')[0] == 200
        assert left(gone, kept) == [kept]

    def test_wildcards_in_a_namespace_are_none(self, staff: Client) -> None:
        """A namespace is a name."""
        assert clear(staff, {"namespace": "*"})[0] == 200
        assert left(*self.NAMES) == sorted(self.NAMES)

    def test_a_pattern_that_nothing_matches(self, staff: Client) -> None:
        """It was looked for, and there is none: that is success."""
        assert clear(staff, {"pattern": "nothing:*"})[0] == 200
        assert left(*self.NAMES) == sorted(self.NAMES)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            pytest.param({"patern": "materials:*"}, "patern is no field", id="misspelt"),
            pytest.param({"pattern": ""}, "pattern must be a text that is not empty", id="empty"),
            pytest.param({"namespace": 7}, "namespace must be a text that is not empty, not 7", id="number"),
            pytest.param({"pattern": "a*", "namespace": "a"}, "not both", id="both"),
            pytest.param(["materials"], "must be a JSON object, not list", id="list"),
            pytest.param(b"pattern=a*&pattern=b*", "pattern is given 2 times", id="twice"),
            pytest.param(b"materials", "materials is no field", id="a word"),
            pytest.param(b'{"pattern": ', "the body is no JSON", id="broken"),
            pytest.param(b"{" * 20_000, "the body is no JSON", id="deep"),
            pytest.param(
                b'{"pattern": "' + b"*a" * 40_000 + b'"}', "at most 10000 are allowed", id="too long"
            ),
        ],
    )
    def test_a_body_that_means_nothing(self, staff: Client, body: Any, said: str) -> None:
        """400 that says why, and nothing is cleared: a slip of the pen does not clear everything."""
        status, answer = clear(staff, body)
        assert (status, answer["status"]) == (400, "error")
        assert said in answer["message"]
        assert left(*self.NAMES) == sorted(self.NAMES)

    @pytest.mark.parametrize("body", [None, b"namespace=users"])
    def test_what_stands_in_the_address(self, staff: Client, body: bytes | None) -> None:
        """A pattern after the question mark is no body, and is not passed over, which would clear everything."""
        status, answer = clear(staff, body, query_params={"pattern": "materials:*"})
        assert status == 400
        assert "in the body" in answer["message"]
        assert left(*self.NAMES) == sorted(self.NAMES)

    @pytest.mark.parametrize("body", [None, b""])
    def test_a_body_that_did_not_arrive(self, staff: Client, body: bytes | None) -> None:
        """WSGI hands on none that is sent in chunks, without a length; it was meant to say something."""
        status, answer = clear(staff, body, headers={"Transfer-Encoding": "chunked"})
        assert status == 400
        assert "Content-Length" in answer["message"]
        assert left(*self.NAMES) == sorted(self.NAMES)

    @pytest.mark.parametrize(
        "body", [b'{"pattern": "\\ud800*"}', b'{"\\ud800": 1}', b"pattern=%00*", b'{"pattern": "\\u0000*"}']
    )
    def test_characters_that_no_key_has(self, staff: Client, body: bytes) -> None:
        """They match nothing, or are refused; nothing else is cleared."""
        assert clear(staff, body)[0] in {200, 400}
        assert left(*self.NAMES) == sorted(self.NAMES)

    def test_a_body_of_another_type(self, staff: Client) -> None:
        """XML is not read as nothing, which would clear everything."""
        status, answer = clear(staff, b"<clear/>", content_type="application/xml")
        assert status == 400
        assert "send JSON or a form" in answer["message"]
        assert left(*self.NAMES) == sorted(self.NAMES)

    def test_locmem(self, staff: Client) -> None:
        """It had no `delete_pattern`, and was said to be cleared; its entries are found here."""
        with override_settings(CACHES=aliases(LOCMEM)):
            fill(*self.NAMES)
            assert clear(staff, {"pattern": "materials:*"})[0] == 200
            assert left(*self.NAMES) == ["other", "users:list"]
            assert clear(staff)[0] == 200
            assert left(*self.NAMES) == []

    @pytest.mark.parametrize("body", [{"pattern": "materials:*"}, {"namespace": "materials"}])
    def test_a_backend_that_cannot_list(self, staff: Client, tmp_path: Any, body: dict[str, str]) -> None:
        """A pattern reaches nothing there, and that is an error; everything can be cleared all the same."""
        backend = "django.core.cache.backends.filebased.FileBasedCache"
        with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": str(tmp_path)}}):
            fill(*self.NAMES)
            status, answer = clear(staff, body)
            assert (status, answer["status"]) == (400, "error")
            assert "FileBasedCache" in answer["message"]
            assert "Cache cleared" not in json.dumps(answer)
            assert left(*self.NAMES) == sorted(self.NAMES)
            assert clear(staff)[0] == 200
            assert left(*self.NAMES) == []

    def test_a_server_that_is_away(self, staff: Client) -> None:
        """Nothing is said to be cleared."""
        backend = {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
        with override_settings(CACHES={"default": backend}):
            for body in (None, {"pattern": "a*"}):
                status, answer = clear(staff, body)
                assert (status, answer["status"]) == (503, "error")
                assert "Cache cleared" not in json.dumps(answer)

    def test_another_alias_is_left_alone(self, staff: Client) -> None:
        """The endpoints are about one alias of CACHES."""
        two = {**aliases(), "sessions": aliases()["default"]}
        with override_settings(CACHES=two):
            caches["sessions"].set("materials:list", 1)
            assert clear(staff)[0] == 200
            assert clear(staff, {"pattern": "materials:*"})[0] == 200
            assert caches["sessions"].get("materials:list") == 1
