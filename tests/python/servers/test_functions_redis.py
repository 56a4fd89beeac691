"""What functions return, kept on a real Redis through Django's backend and django-redis: the same tests."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import server_process

pytest.importorskip("django")
pytest.importorskip("redis")

from contracts import test_enterpriseland_functions as platform
from contracts import test_the_bot_functions as the_bot
from contracts import test_youtility_functions as youtility
from dialect_caches import own_default
from django_app import test_functions as functions
from youtility_site import own_dependencies, row

from oxicache.compat.youtility import get_cache_stats

__all__ = ["row"]  # a fixture

attach, clock = youtility.attach, platform.clock
_numbers = itertools.count()


@pytest.fixture(
    params=["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"], autouse=True
)
def cache(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    redis_server: server_process.Listening,
    django_databases: None,
) -> Iterator[Any]:
    """The default alias, empty."""
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    location = f"redis://{redis_server.host}:{redis_server.port}/3"
    prefix = f"site-{next(_numbers)}"
    with own_dependencies(), own_default(request.param, LOCATION=location, KEY_PREFIX=prefix) as default:
        default.clear()
        yield default


def test_statistics(cache: Any) -> None:
    """Those of the server, the ratio in percent."""
    cache.set("a", 1)
    cache.get("a")
    found = get_cache_stats()
    assert found["redis_keyspace_hits"] >= 1
    assert found["redis_connected_clients"] >= 1
    assert found["redis_memory_used"].endswith(("K", "M"))
    assert 0 < found["hit_ratio"] <= 100
    assert found["cache_backend"] == f"{type(cache).__module__}.{type(cache).__qualname__}"


class TestKeys(functions.TestKeys): ...


class TestResults(functions.TestResults): ...


class TestInvalidation(functions.TestInvalidation): ...


class TestConcurrency(functions.TestConcurrency): ...


class TestTheBotSettled(the_bot.TestSettled): ...


class TestTheBotDefects(the_bot.TestDefects): ...


class TestPlatformDefects(platform.TestDefects): ...


class TestSmartCache(platform.TestSmartCache): ...


class TestMethodCache(youtility.TestMethodCache): ...


class TestYoutilityDefects(youtility.TestDefects): ...


class TestWarming(youtility.TestWarming): ...
