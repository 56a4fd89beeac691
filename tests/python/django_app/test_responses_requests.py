"""One request in several hands: tasks that share it, and a view that is ended before it has answered."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from django.views.generic import View

from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


class TestSharedRequests:
    """Several views may be asked with one request at once."""

    def test_what_two_tasks_read_of_one_request_is_not_lost(self) -> None:
        """A view whose watch would outlast that of another is not cached, and nothing is left on the request."""

        async def main() -> None:
            first_reads, second_reads = asyncio.Event(), asyncio.Event()

            @cached_view()
            async def first(request: Any) -> HttpResponse:
                await first_reads.wait()
                return HttpResponse("first")

            @cached_view()
            async def second(request: Any) -> HttpResponse:
                await second_reads.wait()
                return HttpResponse(f"{request.tenant} {request.META.get('HTTP_X')}")

            async def page(tenant: str, *, is_first_done: bool) -> bytes:
                request: Any = AsyncRequestFactory().get("/page/", headers={"X": tenant})
                request.tenant = tenant
                meta, kind = request.META, type(request)
                first_reads.clear()
                second_reads.clear()
                one = asyncio.ensure_future(first(request))
                await asyncio.sleep(0)
                two = asyncio.ensure_future(second(request))
                await asyncio.sleep(0)
                first_reads.set()
                if is_first_done:
                    await one
                second_reads.set()
                await one
                said = (await two).content
                assert request.META is meta
                assert type(request) is kind
                assert "_oxicache_record" not in vars(request)
                return said  # type: ignore[no-any-return]

            assert await page("a", is_first_done=True) == b"a a"
            assert await page("b", is_first_done=True) == b"b b"
            assert await page("c", is_first_done=False) == b"c c"

        asyncio.run(main())

    def test_what_two_views_have_on_themselves(self) -> None:
        """Two view classes that are asked with one request at once are each keyed by what they have themselves."""

        @cached_view()
        class Shown(View):
            def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
                super().setup(request, *args, **kwargs)
                self.theme = request.headers.get("X-Theme")

            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse(str(self.theme))

        @cached_view()
        class Other(View):
            def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
                super().setup(request, *args, **kwargs)
                self.theme = "dark"

            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse(str(self.theme))

        async def main() -> None:
            shown: Any = Shown.as_view()
            other: Any = Other.as_view()
            for theme in ("dark", "light", "light", "dark"):
                request: Any = AsyncRequestFactory().get("/page/", headers={"X-Theme": theme})
                request.COOKIES["sessionid"] = "x"
                request.user = SimpleLazyObject(AnonymousUser)  # so that a key is made in a thread
                answers = await asyncio.gather(shown(request), other(request))
                assert [answer.content.decode() for answer in answers] == [theme, "dark"]

        asyncio.run(main())


class TestEnds:
    """However a view ends, its request is as it was."""

    def test_a_task_that_is_cancelled(self) -> None:
        """What stood in for the request's own is gone, and the next request with it is watched."""

        async def main() -> None:
            begun = asyncio.Event()

            @cached_view()
            async def view(request: HttpRequest) -> HttpResponse:
                if request.META.get("HTTP_X") == "wait":
                    begun.set()
                    await asyncio.Event().wait()
                return HttpResponse("done")

            request: Any = AsyncRequestFactory().get("/page/", headers={"X": "wait"})
            assert request.COOKIES == {}
            before = dict(vars(request))
            task = asyncio.ensure_future(view(request))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert vars(request) == before
            assert all(vars(request)[name] is value for name, value in before.items())
            request.META["HTTP_X"] = "go"
            assert [(await view(request))["X-Cache"], (await view(request))["X-Cache"]] == ["MISS", "HIT"]

        asyncio.run(main())
