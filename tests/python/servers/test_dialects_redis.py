"""The invalidation of the dialects on a real Redis, through Django's backend and django-redis: the same examples."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import server_process

pytest.importorskip("django")
pytest.importorskip("redis")

from contracts import test_enterpriseland_defects as platform_defects
from contracts import test_enterpriseland_invalidation as platform
from contracts import test_the_bot_invalidation as the_bot
from contracts import test_youtility_defects as youtility_defects
from contracts import test_youtility_invalidation as youtility
from dialect_caches import own_default
from platform_site import forget_dependencies, run_later, user
from youtility_site import own_dependencies, row

__all__ = ["row", "run_later", "user"]  # fixtures

receivers = the_bot.receivers
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
    location = f"redis://{redis_server.host}:{redis_server.port}/2"
    prefix = f"site-{next(_numbers)}"
    with own_dependencies(), own_default(request.param, LOCATION=location, KEY_PREFIX=prefix) as default:
        default.clear()
        yield default
    forget_dependencies()


class TestTheBotExamples(the_bot.TestExamples): ...


class TestTheBotSettled(the_bot.TestSettled): ...


class TestTheBotDefects(the_bot.TestDefects): ...


class TestPlatformExamples(platform.TestExamples): ...


class TestPlatformSettled(platform.TestSettled): ...


class TestPlatformDefects(platform_defects.TestDefects): ...


class TestYoutilityExamples(youtility.TestExamples): ...


class TestYoutilitySettled(youtility.TestSettled): ...


class TestYoutilityDefects(youtility_defects.TestDefects): ...
