"""Whose miss makes a fill of whose set: threads, tasks, requests. No other process is needed for it.

A fill whose key was invalidated since the miss is not stored, a write always is: that tells them apart.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from contracts.backend_contract import clock
from django.core import signals
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from oxicache._native import set_task_of, tokens_forget
from oxicache.django.backends import NativeCache

__all__ = ["clock"]  # a fixture

_places = itertools.count()


@pytest.fixture
def cache() -> Iterator[NativeCache]:
    tokens_forget()
    yield NativeCache(f"tokens-{next(_places)}", {})
    tokens_forget()


def invalidate(cache: NativeCache, key: str = "a") -> None:
    """Delete a key as another process would: the tokens of this thread stay as they are."""
    thread = threading.Thread(target=cache.delete, args=(key,))
    thread.start()
    thread.join()


def is_fill(cache: NativeCache, between: Callable[[], Any] = lambda: None) -> bool:
    """Whether a set after a miss and `between` is one."""
    assert cache.get("a") is None
    between()
    invalidate(cache)
    cache.set("a", "loaded")
    return cache.get("a") is None


class TestTime:
    @pytest.mark.parametrize(("seconds", "fill"), [(0, True), (9.99, True), (10, False), (3600, False)])
    def test_a_token_lives_ten_seconds(
        self, cache: NativeCache, clock: Any, seconds: float, fill: bool
    ) -> None:
        """Of the engine's clock."""
        assert is_fill(cache, lambda: clock.advance(seconds)) is fill

    def test_a_new_miss_begins_anew(self, cache: NativeCache, clock: Any) -> None:
        """What was missed again was loaded after that."""

        def miss_again() -> None:
            clock.advance(8)
            assert cache.get("a") is None
            clock.advance(8)

        assert is_fill(cache, miss_again)


class TestRequests:
    @pytest.mark.parametrize("signal", [signals.request_started, signals.request_finished])
    def test_a_token_dies_when_a_request_begins_or_ends(self, cache: NativeCache, signal: Any) -> None:
        """As Django's signals say it, whoever serves."""
        # Other receivers would close the databases of the tests.
        receivers = [
            receiver
            for receiver in signal._live_receivers(sender=None)[0]
            if receiver.__module__.startswith("oxicache.")
        ]
        assert receivers
        assert not is_fill(cache, lambda: [receiver(sender=None) for receiver in receivers])

    def test_a_view_finds_no_token_of_the_view_before(self, cache: NativeCache) -> None:
        """One request misses, the next one of the same thread stores what it was sent: a write."""
        with served(cache):
            client = Client()
            client.get("/miss")
            invalidate(cache)
            client.get("/store")
        assert cache.get("a") == "stored"

    def test_within_a_view_a_set_after_a_miss_is_a_fill(self, cache: NativeCache) -> None:
        """That is what tokens are for."""
        with served(cache):
            Client().get("/load")
        assert cache.get("a") is None

    def test_so_it_is_in_async_views(self, cache: NativeCache) -> None:
        """Their requests are tasks."""
        with served(cache):
            async_to_sync(AsyncClient().get)("/aload")
            assert cache.get("a") is None
            tokens_forget()
            async_to_sync(AsyncClient().get)("/miss")
            invalidate(cache)
            async_to_sync(AsyncClient().get)("/store")
        assert cache.get("a") == "stored"


def served(cache: NativeCache) -> Any:
    """Views that use this cache."""

    def miss(request: Any) -> HttpResponse:
        assert cache.get("a") is None
        return HttpResponse()

    def store(request: Any) -> HttpResponse:
        cache.set("a", "stored")
        return HttpResponse()

    def load(request: Any) -> HttpResponse:
        assert is_fill(cache)
        return HttpResponse()

    async def aload(request: Any) -> HttpResponse:
        assert await cache.aget("a") is None
        await asyncio.to_thread(cache.delete, "a")
        await cache.aset("a", "loaded")
        assert await cache.aget("a") is None
        return HttpResponse()

    views = {"miss": miss, "store": store, "load": load, "aload": aload}
    module = type("urls", (), {"urlpatterns": [path(name, view) for name, view in views.items()]})
    return override_settings(ROOT_URLCONF=module, MIDDLEWARE=[])


class TestThreads:
    def test_a_miss_is_its_threads(self, cache: NativeCache) -> None:
        """Another thread that sets the key writes it, and outdates what the first one loads."""
        assert cache.get("a") is None
        thread = threading.Thread(target=cache.set, args=("a", "written"))
        thread.start()
        thread.join()
        assert cache.get("a") == "written"
        cache.set("a", "loaded before")
        assert cache.get("a") == "written"

    def test_a_thread_that_ends_leaves_nothing_to_the_next(self, cache: NativeCache) -> None:
        """Threads have identities that are used again, tokens have not."""
        for _ in range(20):
            thread = threading.Thread(target=cache.get, args=("a",))
            thread.start()
            thread.join()
            invalidate(cache)
            thread = threading.Thread(target=cache.set, args=("a", "written"))
            thread.start()
            thread.join()
            assert cache.get("a") == "written"
            cache.delete("a")


class TestTasks:
    def test_a_task_that_deletes_outdates_what_another_loads(self, cache: NativeCache) -> None:
        """Of the same thread and loop."""

        async def main() -> None:
            loaded, deleted = asyncio.Event(), asyncio.Event()

            async def load() -> None:
                assert await cache.aget("a") is None
                loaded.set()
                await deleted.wait()
                await cache.aset("a", "loaded before")

            async def delete() -> None:
                await loaded.wait()
                await cache.adelete("a")
                deleted.set()

            await asyncio.gather(load(), delete())
            assert await cache.aget("a") is None

        asyncio.run(main())

    def test_a_set_of_a_task_that_missed_nothing_is_a_write(self, cache: NativeCache) -> None:
        """Another task's miss is not its own, and what that one loaded is outdated."""

        async def main() -> None:
            loaded, written = asyncio.Event(), asyncio.Event()

            async def load() -> None:
                assert await cache.aget("a") is None
                loaded.set()
                await written.wait()
                await cache.aset("a", "loaded before")

            async def write() -> None:
                await loaded.wait()
                await cache.aset("a", "written")
                written.set()

            await asyncio.gather(load(), write())
            assert await cache.aget("a") == "written"

        asyncio.run(main())

    def test_tasks_that_load_the_same_are_fills(self, cache: NativeCache) -> None:
        """The second stores too, as nobody has changed anything."""

        async def main() -> None:
            both = asyncio.Barrier(2)

            async def load(name: str) -> None:
                assert await cache.aget("a") is None
                await both.wait()
                await cache.aset("a", name)
                assert await cache.aget("a") == name

            await asyncio.gather(load("one"), load("two"))

        asyncio.run(main())

    def test_a_task_sees_no_token_of_the_thread_it_runs_in(self, cache: NativeCache) -> None:
        """Nor the thread afterwards one of the task."""
        assert cache.get("a") is None
        invalidate(cache)

        async def write() -> None:
            await cache.aset("a", "written")

        asyncio.run(write())
        assert cache.get("a") == "written"
        cache.delete("a")

        async def miss() -> None:
            assert await cache.aget("a") is None

        asyncio.run(miss())
        invalidate(cache)
        cache.set("a", "written")
        assert cache.get("a") == "written"

    def test_a_miss_of_a_task_goes_on_in_sync_to_async_as_a_write(self, cache: NativeCache) -> None:
        """The thread that a sync piece of a task runs in has missed nothing: safe, at the price of an invalidation."""

        async def main() -> None:
            assert await cache.aget("a") is None
            await asyncio.to_thread(cache.delete, "a")
            await sync_to_async(cache.set)("a", "loaded")
            assert await cache.aget("a") == "loaded"

        asyncio.run(main())

    def test_both_in_one_sync_to_async_are_a_fill(self, cache: NativeCache) -> None:
        """A view that runs in a thread as a whole."""

        async def main() -> None:
            assert await sync_to_async(is_fill)(cache)

        asyncio.run(main())

    def test_a_generator_that_ends_in_another_task_is_safe(self, cache: NativeCache) -> None:
        """What one task began another may finish: it is a write."""

        async def load() -> AsyncIterator[None]:
            assert await cache.aget("a") is None
            yield
            await cache.aset("a", "loaded")

        async def main() -> None:
            generator = load()
            await asyncio.ensure_future(generator.__anext__())
            await asyncio.to_thread(cache.delete, "a")
            with pytest.raises(StopAsyncIteration):
                await asyncio.ensure_future(generator.__anext__())
            assert await cache.aget("a") == "loaded"

        asyncio.run(main())


class TestGreenlets:
    def test_what_tells_them_apart_is_asked(self, cache: NativeCache) -> None:
        """Gevent's and eventlet's workers run many requests in one thread; what is current there is a greenlet."""

        class Greenlet:
            """Stands for one; gevent itself is not installed."""

        one, two = Greenlet(), Greenlet()
        current = one
        set_task_of(lambda: current)
        try:
            assert cache.get("a") is None
            current = two
            cache.set("a", "written")
            current = one
            cache.set("a", "loaded before")
            assert cache.get("a") == "written"
        finally:
            set_task_of(None)
