"""Enumerators of real servers, under the contract of all: Redis, and Valkey where there is one, and PostgreSQL."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import server_process

django = pytest.importorskip("django")
redis = pytest.importorskip("redis")

from contracts.enumerator_contract import EnumeratorContract, cache_table  # noqa: E402 -- needs Django, as the rest
from django.test import override_settings  # noqa: E402
from sessions import ALIAS, catalogue_database  # noqa: E402


@pytest.fixture(scope="module", params=["redis-server", *filter(shutil.which, ["valkey-server"])])
def server(
    request: pytest.FixtureRequest, redis_server: server_process.Listening
) -> Iterator[server_process.Listening]:
    """Redis, and Valkey where it is installed."""
    if request.param == "redis-server":
        yield redis_server
        return
    with server_process.redis(request.param) as listening:
        yield listening


@pytest.fixture(scope="module")
def second_server(redis_server: server_process.Listening) -> Iterator[server_process.Listening]:
    """Another Redis."""
    with server_process.redis() as listening:
        yield listening


class RedisContract(EnumeratorContract):
    @pytest.fixture(autouse=True)
    def _place(self, server: server_process.Listening) -> None:
        self.url = f"redis://{server.host}:{server.port}/1"

    def raw(self) -> Any:
        """A client of the server's own library."""
        return redis.Redis.from_url(self.url)


class TestRedisCache(RedisContract):
    def place(self) -> dict[str, Any]:
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": self.url}


class TestDjangoRedis(RedisContract):
    def place(self) -> dict[str, Any]:
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": self.url}


@pytest.mark.filterwarnings("ignore:.* on sharded client")  # of calls that django-redis makes itself
class TestShards(RedisContract):
    @pytest.fixture(autouse=True)
    def _place(self, server: server_process.Listening, second_server: server_process.Listening) -> None:
        self.urls = [f"redis://{one.host}:{one.port}/2" for one in (server, second_server)]

    def place(self) -> dict[str, Any]:
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": self.urls,
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
        }


class ToPostgresql:
    """Where the entries of DatabaseCache go."""

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return ALIAS if model._meta.app_label == "django_cache" else None

    db_for_read = db_for_write

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return db == ALIAS if app_label == "django_cache" else None


@pytest.fixture(scope="module")
def table(postgresql_settings: dict[str, Any], django_databases: None) -> Iterator[dict[str, Any]]:
    """An entry of CACHES whose table exists in PostgreSQL."""
    with (
        catalogue_database(dict(postgresql_settings)),
        override_settings(DATABASE_ROUTERS=[ToPostgresql()]),
        cache_table(ALIAS) as place,
    ):
        yield place


class TestPostgresql(EnumeratorContract):
    @pytest.fixture(autouse=True)
    def _place(self, table: dict[str, Any]) -> None:
        self.table = table

    def place(self) -> dict[str, Any]:
        return self.table
