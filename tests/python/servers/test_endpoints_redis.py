"""The endpoints of document 002 on a real Redis, through Django's backend and django-redis."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import server_process

pytest.importorskip("django")
pytest.importorskip("redis")

import redis
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.test import Client
from endpoint_sites import BASE, clear, serving, told

from oxicache.compat.the_bot import CacheKeyBuilder

BACKENDS = ["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"]
_numbers = itertools.count()


@pytest.fixture
def location(redis_server: server_process.Listening) -> str:
    return f"redis://{redis_server.host}:{redis_server.port}/5"


@pytest.fixture(params=BACKENDS)
def cache(request: pytest.FixtureRequest, location: str, django_databases: None) -> Iterator[Any]:
    given = {"BACKEND": request.param, "LOCATION": location, "KEY_PREFIX": f"site-{next(_numbers)}"}
    with redis.Redis.from_url(location) as server:
        server.flushdb()
    with serving("rest", CACHES={"default": given}):
        yield caches["default"]


@pytest.fixture
def staff(django_databases: None) -> Iterator[Client]:
    user = User.objects.create_user(f"redis-{next(_numbers)}", is_staff=True)
    client = Client()
    client.force_login(user)
    yield client
    user.delete()
    Session.objects.all().delete()


def stats(client: Client) -> dict[str, Any]:
    status, body = told(client.get(f"{BASE}cache-stats/"))
    assert status == 200, body
    found: dict[str, Any] = body["cache_stats"]
    return found


class TestStats:
    def test_the_documented_fields(self, cache: Any, staff: Client) -> None:
        """It is called redis, not after a proxy, and each figure is a number of the server."""
        cache.set_many({"a": "x" * 1000, "b": 2, "c": 3})
        shown = stats(staff)
        assert list(shown) == [
            "backend",
            "memory_usage",
            "memory_usage_human",
            "keys_count",
            "evicted_keys",
            "hit_rate",
            "uptime_seconds",
        ]
        assert shown["backend"] == "redis"
        assert shown["keys_count"] == 3
        assert shown["memory_usage"] > 100_000
        assert shown["memory_usage_human"] == f"{shown['memory_usage'] / 2**20:.1f}M"
        assert shown["evicted_keys"] == 0
        assert shown["uptime_seconds"] >= 0

    def test_a_reset(self, cache: Any, staff: Client) -> None:
        """The server counts hits and misses from zero, and keeps its entries."""
        cache.set("a", 1)
        told(staff.post(f"{BASE}cache-reset-stats/"))
        for key in ("a", "nothing", "a", "a"):
            cache.get(key)
        assert stats(staff)["hit_rate"] == 75.0
        assert told(staff.post(f"{BASE}cache-reset-stats/")) == (
            200,
            {"status": "success", "message": "Cache statistics reset"},
        )
        assert stats(staff)["hit_rate"] == 0.0
        assert cache.get("a") == 1

    def test_a_server_that_refuses(self, cache: Any, staff: Client, location: str) -> None:
        """Who may not send CONFIG is not told that the statistics were reset."""
        with redis.Redis.from_url(location) as server:
            server.acl_setuser(
                "default", enabled=True, nopass=True, commands=["+@all", "-config"], keys=["*"]
            )
            try:
                status, body = told(staff.post(f"{BASE}cache-reset-stats/"))
            finally:
                server.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"], keys=["*"])
        assert (status, body["status"]) == (503, "error")
        assert "permission" in body["message"].lower()


class TestHealth:
    def test_it_names_the_class(self, cache: Any, staff: Client) -> None:
        """RedisCache, and not a proxy; and no key stays."""
        assert told(staff.get(f"{BASE}cache-health/")) == (
            200,
            {
                "status": "healthy",
                "backend": "RedisCache",
                "tests": {"set": "passed", "get": "passed", "delete": "passed"},
            },
        )
        assert stats(staff)["keys_count"] == 0


class TestClear:
    def test_a_namespace(self, cache: Any, staff: Client) -> None:
        """The documented curl, on keys that CacheKeyBuilder made."""
        gone, kept = (CacheKeyBuilder.make_key(name, "list") for name in ("materials", "users"))
        cache.set_many({gone: 1, kept: 1})
        status, body = clear(staff, b'{"namespace": "materials"}')
        assert (status, body) == (
            200,
            {"status": "success", "message": "Cache cleared", "pattern": None, "namespace": "materials"},
        )
        assert list(cache.get_many([gone, kept])) == [kept]

    def test_everything_of_this_alias(self, cache: Any, staff: Client, location: str) -> None:
        """What others keep in the same database stays."""
        with redis.Redis.from_url(location) as server:
            server.set("another application's", 1)
            cache.set("a", 1)
            assert clear(staff)[0] == 200
            assert server.keys() == [b"another application's"]
