"""`grace`: what is served while a view fails, and how caches that are far are asked by tasks."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.cache.backends.locmem import LocMemCache
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from oxicache import testing
from oxicache.django import invalidate
from oxicache.django.responses import CacheMiddleware, cached_view, shelves

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}


class Threaded(LocMemCache):
    """A cache that is asked in threads alone, and breaks when it is told to."""

    broken: list[Exception] = []  # noqa: RUF012 -- shared with the tests

    def get(self, *args: Any, **options: Any) -> Any:
        self.check()
        return super().get(*args, **options)

    def set(self, *args: Any, **options: Any) -> None:
        self.check()
        super().set(*args, **options)

    def check(self) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        if self.broken:
            raise self.broken[0]


FAR = {"default": {"BACKEND": f"{__name__}.Threaded", "LOCATION": "responses-far"}}


@pytest.fixture(autouse=True, params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], HttpResponse]]:
    """What decorates and asks: a view that is sync, and the same one as an async view."""
    is_async = request.param == "async"

    def asked(view: Any, path: str = "/page/") -> HttpResponse:
        get = RequestFactory().get(path)
        get.user = AnonymousUser()
        found = view(get)
        if not is_async:
            return found  # type: ignore[no-any-return]

        async def run() -> HttpResponse:
            return await found  # type: ignore[no-any-return]

        return asyncio.run(run())

    def made(say: Callable[[], HttpResponse], **options: Any) -> Callable[..., HttpResponse]:
        if is_async:

            @cached_view(**options)
            async def aview(request: HttpRequest) -> HttpResponse:
                return say()

            return lambda *args: asked(aview, *args)

        @cached_view(**options)
        def view(request: HttpRequest) -> HttpResponse:
            return say()

        return lambda *args: asked(view, *args)

    with override_settings(CACHES=NATIVE):
        yield made


class Clock:
    """Drives the engine's time, and what a far cache's responses are compared with."""

    def __init__(self, driven: testing.Clock) -> None:
        self.driven = driven
        self.offset = 0.0

    def advance(self, seconds: float) -> None:
        self.driven.advance(seconds)
        self.offset += seconds

    def time(self) -> float:
        return time.time() + self.offset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    with testing.clock() as driven:
        made = Clock(driven)
        monkeypatch.setattr(shelves, "time", made)
        yield made


class Saying:
    """A view that says what it was last told to: a status, or an error that it raises."""

    def __init__(self) -> None:
        self.says: Any = 200
        self.calls = 0

    def __call__(self) -> HttpResponse:
        self.calls += 1
        if isinstance(self.says, Exception):
            raise self.says
        return HttpResponse(f"page {self.calls}", status=self.says)


class TestServerErrors:
    @pytest.mark.parametrize("caches", [NATIVE, FAR], ids=["native", "far"])
    def test_a_stale_response_is_served_in_place_of_a_5xx(
        self, ask: Any, caches: Any, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The view is left alone for a while, then asked again; what it says well is served and kept."""
        saying = Saying()
        with override_settings(CACHES=caches):
            view = ask(saying, timeout=60, grace=600)
            view()
            clock.advance(61)
            saying.says = 503
            found = [view() for _ in range(2)]
            assert [(one.status_code, one.content, one["X-Cache"]) for one in found] == [
                (200, b"page 1", "STALE")
            ] * 2
            assert saying.calls == 2
            assert ["status 503" in record.message for record in caplog.records] == [True]
            saying.says = 200
            clock.advance(31)
            assert (view().content, view()["X-Cache"]) == (b"page 3", "HIT")

    def test_browsers_are_to_ask_again_for_a_stale_response(self, ask: Any, clock: Clock) -> None:
        """And proxies not to keep it: the next one may be right again."""
        saying = Saying()
        view = ask(saying, timeout=60, grace=600)
        told = []
        for saying.says in (200, ConnectionError("away")):
            response = view()
            told.append(CacheMiddleware(lambda _, said=response: said)(RequestFactory().get("/page/")))
            clock.advance(61)
        assert [(one["X-Cache"], one["Cache-Control"]) for one in told] == [
            ("MISS", "public, max-age=3600"),
            ("STALE", "private, no-cache"),
        ]

    def test_a_5xx_replaces_no_good_response(self, ask: Any, clock: Clock) -> None:
        """Also where errors are cached."""
        saying = Saying()
        view = ask(saying, timeout=60, grace=600, statuses=[200, 500])
        view()
        clock.advance(61)
        saying.says = 500
        assert (view().status_code, view()["X-Cache"]) == (200, "STALE")
        clock.advance(601)
        assert (view().status_code, view()["X-Cache"]) == (500, "HIT")

    def test_what_was_invalidated_is_not_served(self, ask: Any, clock: Clock) -> None:
        """A view that fails after that fails for all to see."""
        saying = Saying()
        view = ask(saying, timeout=60, grace=600, tags=["page"])
        view()
        clock.advance(61)
        invalidate(tags=["page"])
        saying.says = 500
        assert view().status_code == 500
        saying.says = OperationalError("down")
        with pytest.raises(OperationalError):
            view()

    def test_answers_are_no_failures(self, ask: Any, clock: Clock) -> None:
        """A 404, returned or raised, is what the view says now."""
        saying = Saying()
        view = ask(saying, timeout=60, grace=600)
        view()
        clock.advance(61)
        saying.says = 404
        assert view().status_code == 404
        saying.says = Http404("gone")
        with pytest.raises(Http404):
            view()
        # Nothing was kept a moment ago, and what is held is served all the same.
        saying.says = OperationalError("down")
        assert view()["X-Cache"] == "STALE"

    def test_without_grace_a_5xx_is_the_answer(self, ask: Any) -> None:
        """And nothing of it is kept."""
        saying = Saying()
        view = ask(saying)
        saying.says = 500
        assert [view().status_code for _ in range(2)] == [500, 500]
        assert saying.calls == 2


class TestFar:
    @pytest.fixture(autouse=True)
    def _far(self, ask: Any) -> Iterator[None]:
        with override_settings(CACHES=FAR):
            yield

    def test_a_task_does_not_wait_in_its_loop(self, ask: Any) -> None:
        """Reads and writes are awaited; hits, misses and ends of life are the same."""
        saying = Saying()
        view = ask(saying, timeout=60)
        assert [view("/far/")["X-Cache"] for _ in range(3)] == ["MISS", "HIT", "HIT"]

    def test_a_cache_that_is_down_costs_no_page(
        self, ask: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The view answers, and a line says that the cache failed."""
        saying = Saying()
        view = ask(saying, timeout=60)
        monkeypatch.setattr(Threaded, "broken", [ConnectionError("down")])
        with caplog.at_level(logging.WARNING, "oxicache.store"):
            assert [view("/down/").content for _ in range(2)] == [b"page 1", b"page 2"]
        assert any("treated as a miss" in record.message for record in caplog.records)

    def test_a_stale_response_of_a_far_cache(self, ask: Any, clock: Clock) -> None:
        """It is served when the view's database is out of reach."""
        saying = Saying()
        view = ask(saying, timeout=60, grace=600)
        view("/stale/")
        clock.advance(61)
        saying.says = OperationalError("down")
        assert (view("/stale/").content, view("/stale/")["X-Cache"]) == (b"page 1", "STALE")


class TestNear:
    def test_what_waits_for_nothing_is_asked_where_the_task_runs(
        self, ask: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """LocMemCache itself: to ask it in another thread costs more than the answer."""
        threads = set()
        plain = LocMemCache.get

        def get(self: LocMemCache, *args: Any, **options: Any) -> Any:
            threads.add(threading.current_thread())
            return plain(self, *args, **options)

        monkeypatch.setattr(LocMemCache, "get", get)
        near = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "near"}}
        with override_settings(CACHES=near):
            view = ask(Saying(), timeout=60)
            assert [view("/near/")["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
        assert threads == {threading.current_thread()}
