"""What a hit of `cached_view` hands out, and what its key is made of: where it takes shorter ways than Django does."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import timezone, translation

from oxicache.django.responses import cached_view, places, stored

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(path: str = "/page/", user: Any = None, **extra: Any) -> HttpRequest:
    request = RequestFactory().get(path, **extra)
    request.user = user or AnonymousUser()
    return request


def counting(say: Callable[[HttpRequest], Any] = lambda _: "page", **options: Any) -> Any:
    """Decorate a view that says what it is told to, and how often it was called."""
    calls: list[None] = []

    @cached_view(**options)
    def view(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        calls.append(None)
        return HttpResponse(f"{say(request)} {len(calls)}")

    return view


class TestResponses:
    def test_a_hit_is_a_response_like_any(self) -> None:
        """It has all that Django's constructor gives one, and what is done to it is done to it alone."""
        view = cached_view()(lambda _: HttpResponse("\xe9", headers={"X-Own": "yes"}, reason="Fine"))
        view(asked())
        first, second = view(asked()), view(asked())
        made = HttpResponse("\xe9", status=200, headers={"X-Own": "yes"}, reason="Fine")
        assert vars(first).keys() == vars(made).keys()
        assert (first.charset, first.reason_phrase, first.closed, first.text) == (
            "utf-8",
            "Fine",
            False,
            "\xe9",
        )
        first.write("more")
        first["X-Own"] = "changed"
        first.set_cookie("a", "b")
        closed: list[None] = []
        first._resource_closers.append(lambda: closed.append(None))
        first.close()
        assert (closed, first.closed, first.content) == ([None], True, "\xe9more".encode())
        assert (second.content, second["X-Own"], second.cookies, second.closed) == (
            made.content,
            "yes",
            {},
            False,
        )
        assert view(asked()).headers["X-Own"] == "yes"

    def test_a_django_that_gives_responses_more_is_left_to_do_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a response has an attribute that is not known here, hits are made by the constructor."""
        plain = HttpResponse.__init__

        def init(self: HttpResponse, *args: Any, **kwargs: Any) -> None:
            plain(self, *args, **kwargs)
            self.more = ["of its own"]  # type: ignore[attr-defined]

        stored._blank.cache_clear()
        monkeypatch.setattr(HttpResponse, "__init__", init)
        view = counting()
        view(asked())
        try:
            first, second = view(asked()), view(asked())
        finally:
            stored._blank.cache_clear()
        assert first.more == ["of its own"]
        assert first.more is not second.more
        assert (first["X-Cache"], first["Content-Type"]) == ("HIT", "text/html; charset=utf-8")


class TestKeys:
    def test_equal_arguments_of_several_types_are_apart(self) -> None:
        """`1`, `True`, `"1"` and `1.0` have entries of their own."""
        view = counting()
        values = (1, True, "1", 1.0, None, "none", 1, True)
        said = [view(asked(), one).content.split()[1] for one in values]
        assert said == [b"1", b"2", b"3", b"4", b"5", b"6", b"1", b"2"]
        said = [view(asked(), pk=one).content.split()[1] for one in values]
        assert said == [b"7", b"8", b"9", b"10", b"11", b"12", b"7", b"8"]

    def test_the_order_of_a_views_arguments_is_not_in_the_key(self) -> None:
        """They are told apart by their names."""
        view = counting()
        assert (
            view(asked(), a=1, b=2).content
            == view(asked(), b=2, a=1).content
            != view(asked(), a=2, b=1).content
        )

    def test_time_zones_and_languages_are_apart(self) -> None:
        """What is active before the view is in the key, and so is that nothing is."""
        view = counting()
        said = []
        for zone in (None, "Asia/Tokyo", None, "Asia/Tokyo", dt.timezone(dt.timedelta(hours=1), "A")):
            with timezone.override(zone):
                said.append(view(asked()).content)
        translation.deactivate()
        assert view(asked()).content == said[0]
        for language in ("de", None, "de"):
            with translation.override(language):
                said.append(view(asked()).content)
        assert said == [f"page {number}".encode() for number in (1, 2, 1, 2, 3, 4, 5, 4)]

    def test_an_asgiref_that_is_not_known_here_is_asked_each_time(self) -> None:
        """So are a Local of another kind and none at all."""
        for local in (None, object()):
            assert not places._is_empty(local)

    def test_django_makes_another_place_for_languages_when_settings_change(self) -> None:
        """As tests change them, and what is active in the new one counts."""
        view = counting()
        translation.deactivate()
        said = [view(asked()).content]
        with override_settings(LANGUAGES=[("de", "German"), ("en", "English")]), translation.override("de"):
            said.append(view(asked()).content)
        assert said == [b"page 1", b"page 2"]

    @override_settings(LANGUAGE_CODE="fr", TIME_ZONE="Asia/Tokyo")
    def test_the_settings_say_what_is_used_where_nothing_is_active(self) -> None:
        """Another process may have other settings, and share a cache."""
        translation.deactivate()
        assert places.places() == ("~lang=fr", "~tz=Asia/Tokyo")

    @override_settings(USE_I18N=False, USE_TZ=False)
    def test_a_project_without_languages_and_zones(self) -> None:
        """Its keys name none."""
        assert places.places() == ()

    def test_users_of_equal_ids_and_of_several_types(self) -> None:
        """The id of a user is told apart from another's, whatever is remembered of earlier keys."""
        view = counting()
        said = [view(asked(user=User(pk=pk))).content for pk in (1, 2, 1, 2)]
        assert said == [b"page 1", b"page 2", b"page 1", b"page 2"]

    def test_parameters_that_a_middleware_changed(self) -> None:
        """What `request.GET` says counts, not what was sent."""
        view = counting(lambda request: request.GET.get("q", "none"))

        def changed(value: str | None) -> HttpRequest:
            request = asked("/page/?q=sent") if value else asked()
            given = request.GET.copy()
            given["q"] = value or "added"
            request.GET = given  # type: ignore[assignment]
            return request

        said = [view(one).content for one in (asked("/page/?q=sent"), changed("own"), changed(None), asked())]
        assert said == [b"sent 1", b"own 2", b"added 3", b"none 4"]

    def test_an_encoding_that_a_request_names(self) -> None:
        """One query read in two ways is two entries."""
        view = counting(lambda request: ascii(request.GET["q"]))
        said = []
        for encoding in (None, "latin-1", None):
            request = RequestFactory().get("/page/?q=%E9")
            if encoding:
                request.encoding = encoding
            said.append(view(request).content)
        assert said == [rb"'\ufffd' 1", rb"'\xe9' 2", rb"'\ufffd' 1"]
