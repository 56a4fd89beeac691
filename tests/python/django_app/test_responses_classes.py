"""Views that are classes: what they look at before `dispatch`, and what is cached in several layers of them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.utils.decorators import method_decorator
from django.views.generic import View

from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(**extra: Any) -> Any:
    """A GET of a visitor who is nobody."""
    request: Any = RequestFactory().get("/page/", **extra)
    request.user = AnonymousUser()
    return request


class TestClasses:
    """Views that are classes look at a request before `dispatch`, and may be cached in several layers."""

    @pytest.mark.parametrize("is_class", [True, False], ids=["class", "method_decorator"])
    def test_what_setup_reads_is_read_by_the_view(self, is_class: bool) -> None:
        """`setup()` runs before `dispatch`, and what it takes from a request ends in the response all the same."""

        class Page(View):
            def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
                super().setup(request, *args, **kwargs)
                self.theme = request.headers.get("X-Theme")

            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse(str(self.theme))

        decorate: Any = cached_view() if is_class else method_decorator(cached_view(), name="dispatch")
        view = decorate(Page).as_view()
        assert view(asked(HTTP_X_THEME="dark")).content == b"dark"
        assert view(asked(HTTP_X_THEME="light")).content == b"light"
        assert view(asked(HTTP_X_THEME="dark"))["X-Cache"] == "HIT"

    def test_what_an_async_setup_reads_is_read_by_the_view(self) -> None:
        """So it is where the handlers are async."""

        @cached_view()
        class Page(View):
            def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
                super().setup(request, *args, **kwargs)
                self.theme = request.headers.get("X-Theme")

            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse(str(self.theme))

        view: Any = Page.as_view()

        async def ask(theme: str) -> bytes:
            response = await view(asked(HTTP_X_THEME=theme))
            return response.content  # type: ignore[no-any-return]

        assert asyncio.run(ask("dark")) == b"dark"
        assert asyncio.run(ask("light")) == b"light"

    @pytest.mark.parametrize("kind", ["methods", "classes", "method_decorator"])
    def test_a_method_and_the_one_that_it_overrides(self, kind: str) -> None:
        """Where both are cached each has an entry of its own, and neither waits for the other."""
        on_method: Any = cached_view() if kind == "methods" else lambda view: view
        on_class: Any = {
            "methods": lambda view: view,
            "classes": cached_view(),
            "method_decorator": method_decorator(cached_view(), name="dispatch"),
        }[kind]

        @on_class
        class Base(View):
            @on_method
            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("base")

        @on_class
        class Page(Base):
            @on_method
            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse(b"page of " + super().get(request).content)

        view = Page.as_view()
        assert [view(asked()).content for _ in range(3)] == [b"page of base"] * 3
        assert view(asked())["X-Cache"] == "HIT"
        assert Base.as_view()(asked()).content == b"base"
