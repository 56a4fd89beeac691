"""The direct handles `oxicache.django.cache` and `caches`."""

import asyncio
import copy
import itertools
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.core import cache as django_cache
from django.core.cache import InvalidCacheBackendError
from django.test import override_settings

from oxicache.django import cache, caches
from oxicache.django.backends import NativeCache
from oxicache.django.handles import DirectHandle

BACKEND = "oxicache.django.backends.NativeCache"
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    number = next(_numbers)
    with override_settings(
        CACHES={
            "default": {"BACKEND": BACKEND, "LOCATION": f"handles-{number}"},
            "other": {"BACKEND": BACKEND, "LOCATION": f"handles-{number}-other", "KEY_PREFIX": "p"},
            "locmem": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": f"handles-{number}",
            },
        }
    ):
        yield


class TestUse:
    def test_reaches_what_django_reaches(self) -> None:
        """A handle and Django's proxy are two ways to one cache."""
        cache.set("key", [1])
        assert django_cache.cache.get("key") == [1]
        django_cache.caches["other"].set("key", 2)
        assert caches["other"].get("key") == 2
        assert caches["other"].key_prefix == "p"
        assert caches["default"] is cache
        assert "key" in cache
        assert "missing" not in cache

    def test_methods_are_kept(self) -> None:
        """After the first call a method is an attribute of the handle, bound to a handler of its own."""
        cache.get("key")
        assert isinstance(vars(cache)["get"].__self__, NativeCache)
        assert vars(cache)["get"].__self__ is not django_cache.caches["default"]
        assert "default_timeout" not in vars(cache)
        assert cache.default_timeout == 300

    def test_other_backends_are_asked_each_time(self) -> None:
        """A handle of LocMemCache asks Django, and keeps nothing."""
        caches["locmem"].set("key", 1)
        assert django_cache.caches["locmem"].get("key") == 1
        assert caches["locmem"].get("key") == 1
        assert vars(caches["locmem"]) == {}

    def test_an_unknown_alias_is_djangos_error(self) -> None:
        """It is raised where the alias is asked for."""
        with pytest.raises(InvalidCacheBackendError, match="nobody"):
            caches["nobody"]
        assert "nobody" not in caches
        assert "other" in caches
        assert list(caches) == ["default", "other", "locmem"]
        assert caches.all() == [caches["default"], caches["other"], caches["locmem"]]

    def test_an_unknown_attribute_is_an_error(self) -> None:
        """As on the cache itself."""
        with pytest.raises(AttributeError, match="no_such"):
            _ = cache.no_such

    def test_attributes_are_set_where_djangos_proxy_sets_them(self) -> None:
        """On this thread's handler; the handle then asks for it at each call."""
        cache.get("key")
        cache.key_prefix = "changed"
        assert django_cache.caches["default"].key_prefix == "changed"
        cache.set("key", 1)
        assert django_cache.cache.keys() == ["key"]
        django_cache.caches["default"].note = 1
        del cache.note
        assert not hasattr(django_cache.caches["default"], "note")

    def test_equality_and_copies(self) -> None:
        """A handle equals the cache that it stands for, and its copies and pickles are itself."""
        assert cache == django_cache.caches["default"]
        assert cache == caches["default"]
        assert cache != caches["other"]
        assert copy.deepcopy(cache) is cache
        assert pickle.loads(pickle.dumps(caches["other"])) is caches["other"]  # noqa: S301 -- made here
        assert {cache: 1}[caches["default"]] == 1
        assert repr(caches["other"]) == "<oxicache.django handle of CACHES['other']>"

    def test_threads_share_a_handle(self) -> None:
        """One handler serves all threads, with nothing lost."""
        cache.set("n", 0)

        def count() -> None:
            for _ in range(500):
                cache.incr("n")

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert cache.get("n") == 4000

    def test_tasks_share_a_handle(self) -> None:
        """The async twins are kept like other methods."""

        async def use() -> list[Any]:
            await cache.aset("key", 1)
            return list(await asyncio.gather(*(cache.aget("key") for _ in range(10))))

        assert asyncio.run(use()) == [1] * 10
        assert "aget" in vars(cache)


class TestChanges:
    def test_overridden_settings_count_at_once(self) -> None:
        """A handle follows CACHES there and back, to whatever backend."""
        get = cache.get
        cache.set("key", "first")
        with override_settings(CACHES={"default": {"BACKEND": BACKEND, "LOCATION": "handles-elsewhere"}}):
            assert cache.get("key") is None
            cache.set("key", "second")
            with override_settings(
                CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
            ):
                cache.set("key", "third")
                assert cache.get("key") is None
            assert cache.get("key") == "second"
        assert cache.get("key") == "first"
        assert cache.get is not get

    def test_wrapped_methods_are_called(self) -> None:
        """A debug toolbar that wraps the methods of Django's handlers sees the calls through a handle."""
        calls: list[str] = []
        cache.set("key", 1)
        handler = django_cache.caches["default"]
        original = handler.get

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            calls.append("get")
            return original(*args, **kwargs)

        handler.get = wrapped
        assert cache.get("key") == 1
        assert calls == ["get"]
        del handler.get
        assert cache.get("key") == 1
        assert calls == ["get"]
        assert "get" in vars(cache)

    def test_handlers_that_are_wrapped_when_made_are_called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A toolbar that wraps each handler as it is made sees the calls too."""
        calls: list[str] = []
        make = django_cache.CacheHandler.create_connection

        def create_connection(self: Any, alias: str) -> Any:
            handler = make(self, alias)
            original = handler.get
            handler.get = lambda *args: (calls.append(alias), original(*args))[1]
            return handler

        monkeypatch.setattr(django_cache.CacheHandler, "create_connection", create_connection)
        with override_settings(CACHES={"default": {"BACKEND": BACKEND, "LOCATION": "handles-wrapped"}}):
            cache.set("key", 1)
            assert cache.get("key") == 1
            assert cache.get("key") == 1
        assert calls == ["default", "default"]

    def test_another_threads_wrapping_is_its_own(self) -> None:
        """A thread whose handler is not wrapped gets the value itself."""
        cache.set("key", 1)
        found: list[Any] = []
        with mock.patch.object(django_cache.caches["default"], "get", return_value="mocked"):
            assert cache.get("key") == "mocked"
            thread = threading.Thread(target=lambda: found.append(cache.get("key")))
            thread.start()
            thread.join(30)
        assert found == [1]
        assert cache.get("key") == 1

    def test_patching_djangos_proxy_patches_the_handle(self) -> None:
        """`mock.patch("django.core.cache.cache.get")` is what tests write."""
        cache.set("key", 1)
        with mock.patch("django.core.cache.cache.get", return_value="mocked"):
            assert cache.get("key") == "mocked"
        assert cache.get("key") == 1
        with mock.patch.object(cache, "get", return_value="mocked"):
            assert cache.get("key") == "mocked"
            assert django_cache.cache.get("key") == "mocked"
        assert cache.get("key") == 1

    def test_a_replaced_handler_collection_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Old toolbars replace `django.core.cache.caches` itself."""

        class Replaced:
            def __getitem__(self, alias: str) -> Any:
                return mock.Mock(get=lambda key: f"{alias} {key}")

        monkeypatch.setattr(django_cache, "caches", Replaced())
        handle = DirectHandle("default")
        assert handle.get("key") == "default key"


class TestImport:
    def test_may_be_imported_before_there_are_settings(self) -> None:
        """A module that is imported by the settings may import the handles."""
        code = """
from oxicache.django import cache, caches
from django.conf import settings
settings.configure(SECRET_KEY="x", CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})
cache.set("key", 1)
print(cache.get("key"), caches["default"] is cache)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.split() == ["1", "True"]
