"""What a view class has on itself before its cached method is asked: what `setup` and `dispatch` left there."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from oxicache import testing
from oxicache.django.responses import cached_view
from oxicache.errors import LeakError

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "instances"}}

calls: Counter[str] = Counter()
kinds: list[type[Any]] = []


class Prepared(View):
    """Finds out in `setup` whose page it is."""

    word = "any"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.colour = request.headers.get("X-Colour")
        self.pot = {"of": object(), "colour": self.colour}
        calls["unused"] += 1
        self.unused = calls["unused"]

    def show(self) -> HttpResponse:
        calls["shown"] += 1
        return HttpResponse(f"{self.word} {self.colour}")


class Method(Prepared):
    @cached_view(timeout=60)
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()


@method_decorator(cached_view(timeout=60), name="get")
class Named(Prepared):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()


@cached_view(timeout=60)
class Whole(Prepared):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()


class Async(Prepared):
    @cached_view(timeout=60)
    async def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()


class Listed(Prepared):
    """Keeps a list of what is derived from it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        kinds.append(cls)

    @cached_view(timeout=60)
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()


class Unspelt(Prepared):
    @cached_view(timeout=60)
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{self.word} {self.pot['colour']}")


class Renaming(Prepared):
    """Changes what it has found on itself."""

    @cached_view(timeout=60)
    def get(self, request: HttpRequest) -> HttpResponse:
        shown = self.show()
        self.colour = "grey"
        return shown


VIEWS = {"method": Method, "named": Named, "whole": Whole, "async": Async, "renaming": Renaming}
urlpatterns = [
    *[path(f"{name}/", kind.as_view(word="some")) for name, kind in VIEWS.items()],
    path("listed/", Listed.as_view()),
    path("unspelt/", Unspelt.as_view()),
]


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    with override_settings(CACHES=NATIVE, ROOT_URLCONF=__name__):
        yield


def asked(client: Client, url: str, colour: str | None) -> tuple[str | None, str]:
    answer = client.get(url, headers={} if colour is None else {"X-Colour": colour})
    return answer.headers.get("X-Cache"), answer.content.decode()


@pytest.mark.parametrize("name", VIEWS)
def test_what_setup_has_found_out_joins_the_key(client: Client, name: str) -> None:
    """It is not seen where that came from, so its value counts; what the view does not look at does not."""
    for said in ("MISS", "HIT"):
        for colour in ("red", "blue", None):
            assert asked(client, f"/{name}/", colour) == (said, f"some {colour}")
    assert calls["shown"] == 3


def test_on_asgi() -> None:
    """As on WSGI."""

    async def ask(colour: str) -> tuple[str | None, bytes]:
        answer = await AsyncClient().get("/async/", headers={"X-Colour": colour})
        return answer.headers.get("X-Cache"), answer.content

    for said in ("MISS", "HIT"):
        for colour in ("red", "blue"):
            assert asyncio.run(ask(colour)) == (said, f"some {colour}".encode())


def test_what_has_no_spelling(client: Client) -> None:
    """An object keeps the view from being cached, and is an error where leaks are."""
    for colour in ("red", "blue"):
        assert asked(client, "/unspelt/", colour) == (None, f"any {colour}")
    with testing.strict(), pytest.raises(LeakError, match=r"view\.pot"):
        client.get("/unspelt/")


def test_no_class_is_derived_where_that_would_be_noticed(client: Client) -> None:
    """Then all that is on the view counts, and of this one something has no spelling."""
    before = list(kinds)
    assert [asked(client, "/listed/", colour) for colour in ("red", "blue")] == [
        (None, "any red"),
        (None, "any blue"),
    ]
    assert kinds == before
