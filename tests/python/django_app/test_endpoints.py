"""The endpoints of document 002: what they answer, by both faces, and what they do to the cache."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from unittest import mock

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client, override_settings
from django.urls import path
from endpoint_sites import BASE, LOCMEM, aliases, clear, routed, serving, told

from oxicache import _native
from oxicache.compat.the_bot import CacheKeyBuilder
from oxicache.django.backends import NativeCache
from oxicache.django.endpoints import figures, namespaces, rest_views, views


@pytest.fixture(params=["plain", "rest"], autouse=True)
def face(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(request.param, CACHES=aliases()):
        yield request.param


class TestStats:
    def test_a_native_cache(self, member: Client) -> None:
        """The documented fields, in their order, of what all live workers hold."""
        cache = caches["default"]
        cache.set_many({"a": "x" * 1000, "b": 2})
        for key in ("a", "b", "a", "nothing"):
            cache.get(key)
        status, body = told(member.get(f"{BASE}cache-stats/"))
        assert status == 200
        assert body["status"] == "success"
        assert list(body["cache_stats"]) == [
            "backend",
            "memory_usage",
            "memory_usage_human",
            "keys_count",
            "evicted_keys",
            "hit_rate",
            "uptime_seconds",
        ]
        shown = body["cache_stats"]
        assert shown["backend"] == "native"
        assert (shown["keys_count"], shown["evicted_keys"], shown["hit_rate"]) == (2, 0, 75.0)
        assert 1000 < shown["memory_usage"] < 4000
        assert shown["memory_usage_human"] == f"{shown['memory_usage'] / 1024:.1f}K"
        assert isinstance(shown["uptime_seconds"], int)
        assert (body["workers"], body["answered"]) == (1, 1)
        assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None

    def test_a_native_cache_that_nobody_has_used(self, member: Client) -> None:
        """Zeros, and nothing is divided by them."""
        shown = told(member.get(f"{BASE}cache-stats/"))[1]["cache_stats"]
        assert (shown["keys_count"], shown["hit_rate"], shown["evicted_keys"]) == (0, 0.0, 0)

    def test_evictions_are_counted(self, member: Client) -> None:
        """What had to go because others came."""
        with override_settings(CACHES=aliases(OPTIONS={"MAX_ENTRIES": 10})):
            for number in range(25):
                caches["default"].set(f"key:{number}", number)
            shown = told(member.get(f"{BASE}cache-stats/"))[1]["cache_stats"]
        assert shown["keys_count"] == 10
        assert shown["evicted_keys"] == 15

    def test_locmem(self, member: Client) -> None:
        """What it does not count is N/A, as documented."""
        with override_settings(CACHES=aliases(LOCMEM)):
            caches["default"].set_many({"a": 1, "b": 2, "c": 3})
            shown = told(member.get(f"{BASE}cache-stats/"))[1]["cache_stats"]
        assert shown == {"backend": "locmem", "keys_count": 3, "memory_usage": "N/A", "hit_rate": "N/A"}

    @pytest.mark.parametrize(
        ("backend", "location", "shown"),
        [
            pytest.param("dummy.DummyCache", "", {"backend": "dummy", "keys_count": 0}, id="dummy"),
            pytest.param(
                "filebased.FileBasedCache",
                "/nowhere",
                {"backend": "filebased", "keys_count": "N/A"},
                id="files",
            ),
        ],
    )
    def test_other_backends(self, member: Client, backend: str, location: str, shown: dict[str, Any]) -> None:
        """Keys are counted where the backend can list them, and are N/A where it cannot."""
        given = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": location}
        with override_settings(CACHES={"default": given}):
            found = told(member.get(f"{BASE}cache-stats/"))[1]["cache_stats"]
        assert found == {**shown, "memory_usage": "N/A", "hit_rate": "N/A"}

    def test_a_server_that_is_away(self, member: Client, caplog: pytest.LogCaptureFixture) -> None:
        """503, and why stands in the log: anybody who is logged in may ask."""
        location = "redis://:hunter2@127.0.0.1:1/0"
        backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}
        with override_settings(CACHES={"default": backend}):
            status, body = told(member.get(f"{BASE}cache-stats/"))
        assert status == 503
        assert body == {"status": "error", "message": "The statistics of the cache could not be had"}
        assert "Connection" in caplog.text
        assert "hunter2" not in caplog.text

    def test_monitoring_that_is_off(self, staff: Client) -> None:
        """CACHE_MONITORING_ENABLED = False: no figures."""
        with override_settings(CACHE_MONITORING_ENABLED=False):
            assert told(staff.get(f"{BASE}cache-stats/"))[0] == 404
            assert told(staff.get(f"{BASE}cache-health/"))[0] == 200

    @pytest.mark.parametrize(
        ("size", "text"),
        [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (2097152, "2.0M"),
            (3 * 2**30, "3.0G"),
            (2**70, "1048576.0P"),
        ],
    )
    def test_sizes_read_as_documented(self, size: int, text: str) -> None:
        """2097152 is "2.0M"."""
        assert figures.human(size) == text


class TestHealth:
    def test_a_cache_that_works(self, staff: Client) -> None:
        """The documented answer; nothing of the try stays."""
        status, body = told(staff.get(f"{BASE}cache-health/"))
        assert status == 200
        assert body == {
            "status": "healthy",
            "backend": "NativeCache",
            "tests": {"set": "passed", "get": "passed", "delete": "passed"},
            "workers": 1,
            "answered": 1,
        }
        assert len(caches["default"]._memory) == 0  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("broken", "tests"),
        [
            ("set", {"set": "failed", "get": "failed", "delete": "failed"}),
            ("get", {"set": "passed", "get": "failed", "delete": "passed"}),
            ("delete", {"set": "passed", "get": "passed", "delete": "failed"}),
        ],
    )
    def test_a_cache_that_fails(self, staff: Client, broken: str, tests: dict[str, str]) -> None:
        """503, and which of the tests failed; after a `set` that raises the key is not there either."""
        with (
            override_settings(CACHES=aliases(LOCMEM)),
            mock.patch.object(LocMemCache, broken, side_effect=OSError("it is full")),
        ):
            if broken == "set":
                with mock.patch.object(LocMemCache, "delete", return_value=False):
                    status, body = told(staff.get(f"{BASE}cache-health/"))
            else:
                status, body = told(staff.get(f"{BASE}cache-health/"))
        assert status == 503
        assert body == {
            "status": "unhealthy",
            "backend": "LocMemCache",
            "tests": tests,
            "message": "OSError: it is full",
        }

    def test_a_cache_that_forgets(self, staff: Client) -> None:
        """What was set is not found: `get` has failed though nothing was raised."""
        with override_settings(CACHES=aliases("django.core.cache.backends.dummy.DummyCache")):
            status, body = told(staff.get(f"{BASE}cache-health/"))
        assert status == 503
        assert body["tests"] == {"set": "passed", "get": "failed", "delete": "failed"}

    def test_a_cache_that_cannot_be_made(self, staff: Client) -> None:
        """A backend that there is not is unhealthy, and no error of the page."""
        with override_settings(CACHES={"default": {"BACKEND": "nowhere.Cache"}}):
            status, body = told(staff.get(f"{BASE}cache-health/"))
            assert (status, body["status"], body["backend"]) == (503, "unhealthy", "Cache")
            assert told(staff.get(f"{BASE}cache-stats/"))[0] == 503

    def test_each_call_has_a_key_of_its_own(self, staff: Client) -> None:
        """Two calls at once do not find each other's value, or delete it."""
        used = []
        with override_settings(CACHES=aliases(LOCMEM)):
            real = LocMemCache.set

            def set_(self: Any, key: str, *args: Any, **kwargs: Any) -> None:
                used.append(key)
                real(self, key, *args, **kwargs)

            with mock.patch.object(LocMemCache, "set", set_):
                for _ in range(2):
                    assert told(staff.get(f"{BASE}cache-health/"))[0] == 200
        assert len(set(used)) == 2

    def test_a_disabled_cache_is_not_unhealthy(self, staff: Client) -> None:
        """An operator has switched it off: nothing is tried, and that is said."""
        _native.set_enabled(False)
        try:
            status, body = told(staff.get(f"{BASE}cache-health/"))
        finally:
            _native.set_enabled(True)
        assert (status, body["status"], body["message"]) == (200, "healthy", "Cache is disabled")
        assert set(body["tests"].values()) == {"skipped"}


class TestReset:
    def reset(self, client: Client) -> tuple[int, Any]:
        return told(client.post(f"{BASE}cache-reset-stats/"))

    def test_a_native_cache(self, staff: Client) -> None:
        """Counts begin at zero; the entries stay."""
        cache = caches["default"]
        cache.set("a", 1)
        cache.get("a")
        assert self.reset(staff) == (
            200,
            {"status": "success", "message": "Cache statistics reset", "workers": 1, "answered": 1},
        )
        shown = told(staff.get(f"{BASE}cache-stats/"))[1]["cache_stats"]
        assert (shown["hit_rate"], shown["keys_count"]) == (0.0, 1)
        assert cache.get("a") == 1

    def test_a_backend_that_counts_nothing(self, staff: Client) -> None:
        """There is nothing to be reset, and nobody is told that it was."""
        with override_settings(CACHES=aliases(LOCMEM)):
            status, answer = self.reset(staff)
        assert (status, answer["status"]) == (400, "error")
        assert "LocMemCache counts nothing" in answer["message"]

    def test_a_server_that_is_away(self, staff: Client) -> None:
        """As above."""
        backend = {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
        with override_settings(CACHES={"default": backend}):
            status, answer = self.reset(staff)
        assert (status, answer["status"]) == (503, "error")


class TestConfiguration:
    def test_another_alias(self, staff: Client, face: str) -> None:
        """`as_view(alias=...)`, as Django's views are configured: all is about that one."""
        module: Any = views if face == "plain" else rest_views
        clears = module.CacheClearView.as_view(alias="other")
        shows = module.CacheStatsView.as_view(alias="other")
        urls = routed(path("api/core/cache-clear/", clears), path("api/core/cache-stats/", shows))
        with override_settings(ROOT_URLCONF=urls, CACHES={**aliases(), "other": aliases(LOCMEM)["default"]}):
            for alias in ("default", "other"):
                caches[alias].set("a", 1)
            assert told(staff.get(f"{BASE}cache-stats/"))[1]["cache_stats"]["backend"] == "locmem"
            assert clear(staff)[0] == 200
            assert [caches[alias].get("a") for alias in ("default", "other")] == [1, None]

    @pytest.mark.parametrize("wrong", [None, "materials:*"])
    def test_a_spelling_is_a_callable(self, wrong: Any) -> None:
        """Anything else is a TypeError that names it."""
        with pytest.raises(TypeError, match=re.escape(repr(wrong))):
            namespaces.register_spelling(wrong)

    def test_a_spelling_is_registered_once(self) -> None:
        """However often its module is imported, a namespace has each glob once."""
        before = namespaces.globs_of("materials")
        namespaces.register_spelling(CacheKeyBuilder.pattern_key)
        assert (
            namespaces.globs_of("materials")
            == before
            == ("materials:*", CacheKeyBuilder.pattern_key("materials"))
        )

    def test_a_native_cache_is_what_these_tests_run_on(self) -> None:
        """The alias of the fixtures is no proxy of something else."""
        assert isinstance(caches["default"], NativeCache)
