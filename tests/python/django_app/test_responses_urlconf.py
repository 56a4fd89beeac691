"""Objects that a URLconf gives its view: `path("sitemap.xml", cached_view(86400)(sitemap), {"sitemaps": sitemaps})`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import sitemaps
from django.contrib.sitemaps.views import sitemap
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "urlconf"}}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(sitemaps.__file__).parent / "templates"],
    }
]

view = cached_view(60)(sitemap)


class Places(sitemaps.Sitemap):  # type: ignore[type-arg]  # it takes none when it runs
    def __init__(self, *places: str) -> None:
        self.places = places

    def items(self) -> list[str]:
        return list(self.places)

    def location(self, item: str) -> str:
        return f"/{item}/"


def mapped(address: str, place: str, **given: Any) -> Any:
    return path(address, view, {"sitemaps": {"all": Places(place)}, **given})


urlpatterns = [mapped("first.xml", "first", content_type="text/xml"), mapped("second.xml", "second")]


def choosing(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Another URLconf for each visitor."""

    def served(request: HttpRequest) -> HttpResponse:
        request.urlconf = (mapped("map.xml", request.headers["X-Which"]),)  # type: ignore[attr-defined]
        return get_response(request)

    return served


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    with override_settings(CACHES=NATIVE, ROOT_URLCONF=__name__, TEMPLATES=TEMPLATES):
        yield


def asked(address: str, place: str, **headers: str) -> tuple[str | None, bool]:
    answer = Client().get(address, headers=headers)
    return answer.headers.get("X-Cache"), f"/{place}/" in answer.content.decode()


def test_they_need_no_spelling() -> None:
    """They are what the address stands for, and that is in the key."""
    for said in ("MISS", "HIT"):
        for place in ("first", "second"):
            assert asked(f"/{place}.xml", place) == (said, True)


def test_where_the_urlconf_is_the_visitors_own_they_count() -> None:
    """The address does not say then what it gives, and they have no spelling: nothing is kept."""
    with override_settings(MIDDLEWARE=[f"{__name__}.choosing"]):
        for place in ("first", "second", "first"):
            assert asked("/map.xml", place, **{"X-Which": place}) == (None, True)
