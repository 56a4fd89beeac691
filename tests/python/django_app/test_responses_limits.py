"""What `cached_view` does with what views return beyond plain responses, and where its limits are."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory, override_settings

from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}
LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "limits"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(path: str = "/page/", method: str = "GET") -> HttpRequest:
    request = RequestFactory().generic(method, path)
    request.user = AnonymousUser()
    return request


class TestTemplates:
    def test_callbacks_of_a_response_that_is_rendered_here(self) -> None:
        """They run once, after it is rendered; what they made of it is what is held."""
        ran: list[str] = []

        def after(response: SimpleTemplateResponse) -> HttpResponse:
            ran.append(response.content.decode())
            return HttpResponse(response.content + b" and more")

        @cached_view()
        def view(request: HttpRequest) -> SimpleTemplateResponse:
            response = SimpleTemplateResponse(engines["django"].from_string("page"))
            response.add_post_render_callback(after)
            return response

        found = [view(asked()) for _ in range(2)]
        assert [(one.content, one["X-Cache"]) for one in found] == [
            (b"page and more", "MISS"),
            (b"page and more", "HIT"),
        ]
        assert ran == ["page"]

    def test_an_async_views_template_is_rendered_beside_the_loop(self) -> None:
        """A template may ask the database."""

        def where() -> str:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            return "page"

        @cached_view()
        async def view(request: HttpRequest) -> SimpleTemplateResponse:
            return SimpleTemplateResponse(engines["django"].from_string("{{ where }}"), {"where": where})

        async def run() -> list[bytes]:
            return [(await view(asked())).content for _ in range(2)]

        assert asyncio.run(run()) == [b"page", b"page"]

    def test_a_template_that_fails(self) -> None:
        """Its error is the view's own, each time."""
        calls: list[None] = []

        def fail() -> str:
            calls.append(None)
            raise LookupError("lost")

        @cached_view()
        def view(request: HttpRequest) -> SimpleTemplateResponse:
            return SimpleTemplateResponse(engines["django"].from_string("{{ fail }}"), {"fail": fail})

        for _ in range(2):
            with pytest.raises(LookupError, match="lost"):
                view(asked())
        assert len(calls) == 2


class TestOddResponses:
    def test_an_async_view_that_returns_none(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is handed on, and one line says that it is no response."""

        @cached_view()
        async def view(request: HttpRequest) -> Any:
            return None

        assert [asyncio.run(view(asked())) for _ in range(2)] == [None, None]
        assert ["returned NoneType" in record.message for record in caplog.records] == [True]

    @pytest.mark.parametrize("caches", [NATIVE, LOCMEM], ids=["native", "locmem"])
    def test_an_attribute_that_cannot_be_pickled(self, caches: Any) -> None:
        """What a view hangs on its response is that response's, and keeps it from no cache."""
        with override_settings(CACHES=caches):

            @cached_view()
            def view(request: HttpRequest) -> HttpResponse:
                response = HttpResponse("page")
                response.made_by = lambda: view  # type: ignore[attr-defined]
                return response

            first, second = view(asked("/odd/")), view(asked("/odd/"))
        assert first.made_by() is view
        assert (second["X-Cache"], second.content, hasattr(second, "made_by")) == ("HIT", b"page", False)

    def test_a_response_of_another_class(self) -> None:
        """What is held of it is its status, headers and body."""

        class Own(HttpResponse):
            status_code = 200

        view = cached_view()(lambda request: Own("page", content_type="text/own"))
        first, second = view(asked()), view(asked())
        assert (type(first), type(second)) == (Own, HttpResponse)
        assert (second.content, second["Content-Type"]) == (b"page", "text/own")


class TestLimits:
    @pytest.mark.parametrize(("size", "status"), [(10, "HIT"), (11, None)], ids=["at it", "over it"])
    def test_max_bytes(self, size: int, status: str | None) -> None:
        """A body of as many bytes is kept, a longer one is not."""
        view = cached_view(max_bytes=10)(lambda request: HttpResponse(b"x" * size))
        assert [view(asked()).get("X-Cache") for _ in range(2)][1] == status

    def test_no_time_at_all(self) -> None:
        """With `timeout=0` each request reaches the view."""
        calls: list[None] = []

        @cached_view(timeout=0)
        def view(request: HttpRequest) -> HttpResponse:
            calls.append(None)
            return HttpResponse(f"page {len(calls)}")

        assert [view(asked()).content for _ in range(3)] == [b"page 1", b"page 2", b"page 3"]

    def test_head_of_a_page_that_is_not_held(self) -> None:
        """The view answers it itself, and a page that has expired is not renewed by it."""
        methods: list[str | None] = []

        @cached_view()
        def view(request: HttpRequest) -> HttpResponse:
            methods.append(request.method)
            return HttpResponse(b"" if request.method == "HEAD" else b"page")

        for method in ("HEAD", "GET", "HEAD", "GET"):
            view(asked(method=method))
        assert methods == ["HEAD", "GET"]
        assert view(asked()).content == b"page"

    def test_a_view_that_looks_at_ever_more_attributes(self, caplog: pytest.LogCaptureFixture) -> None:
        """Past sixteen names its responses are not kept, and one line says so."""

        @cached_view()
        def view(request: Any) -> HttpResponse:
            return HttpResponse(str([getattr(request, f"name_{number}", 0) for number in range(20)]))

        assert ["X-Cache" in view(asked()) for _ in range(2)] == [False, False]
        assert ["more than 16" in record.message for record in caplog.records] == [True]
