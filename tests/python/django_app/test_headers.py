"""`get_cache_headers`: document 002's "Cache Headers"."""

from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from oxicache.django.responses import get_cache_headers
from oxicache.django.responses.headers import weakened

VARY = "Accept, Accept-Encoding, Authorization"


class TestGetCacheHeaders:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({}, "public, max-age=300"),
            ({"ttl": 3600, "is_private": False}, "public, max-age=3600"),
            ({"ttl": 300, "is_private": True}, "private, max-age=300"),
            ({"ttl": timedelta(minutes=2)}, "public, max-age=120"),
            ({"ttl": 59.9}, "public, max-age=59"),
            ({"ttl": 0}, "public, max-age=0"),
        ],
        ids=["default", "public", "private", "timedelta", "fraction", "nothing"],
    )
    def test_what_it_returns(self, given: dict[str, Any], said: str) -> None:
        """Cache-Control, ETag and Vary, in this order; ETag is None, which the document's own loop leaves out."""
        found = get_cache_headers(**given)
        assert list(found.items()) == [("Cache-Control", said), ("ETag", None), ("Vary", VARY)]

    def test_the_loop_of_the_document(self) -> None:
        """What is not None is put on the response."""
        response = HttpResponse()
        for header, value in get_cache_headers(ttl=1800, is_private=False).items():
            if value is not None:
                response[header] = value
        assert (response["Cache-Control"], response["Vary"]) == ("public, max-age=1800", VARY)
        assert "ETag" not in response

    @pytest.mark.parametrize(
        ("given", "error", "named"),
        [
            ({"ttl": None}, TypeError, "ttl must be a number of seconds"),
            ({"ttl": "300"}, TypeError, "not '300'"),
            ({"ttl": True}, TypeError, "not True"),
            ({"ttl": -1}, ValueError, "ttl must be at least 0 seconds, not -1"),
            ({"ttl": float("inf")}, ValueError, "finite"),
            ({"ttl": float("nan")}, ValueError, "nan"),
            ({"is_private": 1}, TypeError, "is_private must be True or False, not 1"),
        ],
    )
    def test_a_wrong_argument_is_named(
        self, given: dict[str, Any], error: type[Exception], named: str
    ) -> None:
        """It is refused where it is given."""
        with pytest.raises(error, match=named):
            get_cache_headers(**given)


class TestWeakened:
    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ('W/"a"', 'W/"a"'),
            ('"a"', '"a"'),
            ('"a", W/"a"', '"a"'),
            ('W/"b"', '"a"'),
            ("*", '"a"'),
            ("", '"a"'),
        ],
    )
    def test_a_304_has_the_etag_its_client_knows(self, asked: str, said: str) -> None:
        """Weak where the client knows that one alone."""
        response = HttpResponse(status=304, headers={"ETag": '"a"'})
        weakened(RequestFactory().get("/", HTTP_IF_NONE_MATCH=asked), response)
        assert response["ETag"] == said
