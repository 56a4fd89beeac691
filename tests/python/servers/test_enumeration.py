"""Enumerators of real servers, under the contract of all: Redis, and Valkey where there is one, and PostgreSQL."""

import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import server_process

django = pytest.importorskip("django")
redis = pytest.importorskip("redis")

from contracts.enumerated_caches import cache_table  # noqa: E402 -- needs Django, as the rest
from contracts.enumerator_contract import EnumeratorContract  # noqa: E402
from django.core.cache import caches  # noqa: E402
from django.core.cache.backends.redis import RedisCache, RedisCacheClient  # noqa: E402
from django.test import override_settings  # noqa: E402
from django_redis.client import DefaultClient  # noqa: E402
from sessions import ALIAS, catalogue_database  # noqa: E402

from oxicache.django.enumeration import ALL_VERSIONS, enumerator_of  # noqa: E402
from oxicache.errors import CannotEnumerateError, CannotTagError  # noqa: E402


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


class TestWhatTheServerSees:
    """What a server is asked, by its own account."""

    @pytest.fixture(params=["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"])
    def place(
        self, request: pytest.FixtureRequest, server: server_process.Listening
    ) -> Iterator[dict[str, Any]]:
        """An entry of CACHES of an empty database."""
        place = {"BACKEND": request.param, "LOCATION": f"redis://{server.host}:{server.port}/3"}
        with override_settings(CACHES={"default": place}):
            caches["default"].clear()
            yield place

    @pytest.fixture
    def raw(self, place: dict[str, Any]) -> Iterator[Any]:
        """A client of the server's own library."""
        with redis.Redis.from_url(place["LOCATION"]) as client:
            yield client

    def test_a_raw_pattern_matches_nothing(self, raw: Any) -> None:
        """004 asked the server for its patterns as they are: Django's keys begin with ":1:", and none matched."""
        caches["default"].set("tenant:1:dropdown", 1)
        assert raw.keys("tenant:1:*") == []
        assert not hasattr(
            getattr(caches["default"], "_cache", None), "get_master_client"
        )  # what it asked for
        assert enumerator_of("default").delete_matching("tenant:1:*") == 1
        assert raw.dbsize() == 0

    def test_neither_keys_nor_del(self, raw: Any) -> None:
        """KEYS blocks a server for as long as it has keys, and DEL for as long as a value is large."""
        found = enumerator_of("default")
        raw.config_resetstat()
        found.set_tagged("a", 1, ["x"])
        for version in (None, ALL_VERSIONS):
            assert [*found.keys("a*", version), *found.keys_of(["x"], version)] == ["a", "a"]
        assert found.count() + found.delete_by_tag(["x"]) == 2
        caches["default"].set("a", 1)
        assert found.delete_matching("*") == 1
        caches["default"].set("a", 1)
        assert found.delete(["a"]) == 1
        asked = set(raw.info("commandstats"))
        assert {"cmdstat_scan", "cmdstat_unlink"} <= asked
        assert asked.isdisjoint({"cmdstat_keys", "cmdstat_del", "cmdstat_smembers", "cmdstat_flushdb"})

    def test_only_the_own_keys_come_over_the_wire(self, raw: Any) -> None:
        """The server looks for the start of a pattern itself."""
        caches["default"].set_many({f"a:{number}": 1 for number in range(300)})
        caches["default"].set("b:1", 1)
        found = enumerator_of("default")
        before = raw.info("stats")["total_net_output_bytes"]
        assert found.count("b:?") == 1
        assert (
            raw.info("stats")["total_net_output_bytes"] - before < 20_000
        )  # INFO's own answer is most of it

    def test_a_client_is_kept(self, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Django's RedisCache makes a client for each call; an enumerator makes one."""
        made: list[Any] = []
        original = redis.Redis.__init__

        def counted(self: Any, *args: Any, **kwargs: Any) -> None:
            made.append(self)
            original(self, *args, **kwargs)

        monkeypatch.setattr(redis.Redis, "__init__", counted)
        connections_before = raw.info("stats")["total_connections_received"]
        for _ in range(5):
            assert enumerator_of("default").count() == 0
        assert len(made) <= 1
        assert raw.info("stats")["total_connections_received"] - connections_before <= 1

    def test_a_key_that_comes_twice_counts_once(self, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """SCAN may name a key again while the server enlarges its table."""
        caches["default"].set_many({"a": 1, "b": 1})
        original = redis.Redis.scan_iter

        def twice(self: Any, **options: Any) -> Iterator[Any]:
            for _ in range(2):
                yield from original(self, **options)

        monkeypatch.setattr(redis.Redis, "scan_iter", twice)
        found = enumerator_of("default")
        assert sorted(found.keys(batch=1)) == ["a", "b"]
        assert found.count() == 2
        assert found.delete_matching("*") == 2

    def test_an_index_forgets_what_others_deleted(self, raw: Any) -> None:
        """Entries for ever that were deleted by key, or evicted, do not make the index of their tag grow for ever."""
        found = enumerator_of("default")
        caches["default"].set("stays", 1, None)
        found.tag("stays", ["x"], None)
        for number in range(300):
            found.set_tagged(f"k{number}", 1, ["x"], None)
            caches["default"].delete(f"k{number}")
        (index,) = raw.keys("*oxitag*")
        assert raw.zcard(index) < 100
        assert found.keys_of(["x"]) == {"stays"}

    def test_replicas_are_not_asked(self, place: dict[str, Any]) -> None:
        """What a replica does not know yet would stay: all goes to the server that is written to."""
        nowhere = "redis://127.0.0.1:1/0"
        location: Any = f"{place['LOCATION']},{nowhere}"
        with override_settings(CACHES={"default": place | {"LOCATION": location}}):
            found = enumerator_of("default")
            for _ in range(3):
                found.set_tagged("a", 1, ["x"])
                assert list(found.keys()) == ["a"]
                assert found.keys_of(["x"]) == {"a"}
                assert found.delete_matching("*") == 1

    def test_a_server_that_is_not_there(self, place: dict[str, Any]) -> None:
        """It is an error, whatever django-redis is told to ignore, and never a cache without entries."""
        options = {"IGNORE_EXCEPTIONS": True} if "django_redis" in place["BACKEND"] else {}
        gone = place | {"LOCATION": "redis://127.0.0.1:1/0", "OPTIONS": options}
        with override_settings(CACHES={"default": gone}):
            found = enumerator_of("default")
            for asked in (
                found.count,
                lambda: list(found.keys("*")),
                lambda: found.delete(["a"]),
                lambda: found.delete_matching("*"),
                lambda: found.keys_of(["x"]),
                lambda: found.delete_by_tag(["x"]),
                lambda: found.tag("a", ["x"]),
            ):
                with pytest.raises(redis.exceptions.ConnectionError):
                    asked()

    def test_what_is_no_text_is_left_alone(self, raw: Any) -> None:
        """Keys that Django cannot have made are neither listed nor deleted."""
        raw.set(b":1:\xff", 1)
        found = enumerator_of("default")
        assert (list(found.keys()), found.delete_matching("*")) == ([], 0)
        assert raw.exists(b":1:\xff")

    def test_an_index_lives_as_long_as_its_entries(self, raw: Any) -> None:
        """It ends with its last member, and no later one shortens it; what is over is forgotten when others come."""
        found = enumerator_of("default")
        caches["default"].set_many(dict.fromkeys("abc", 1), None)
        found.tag("a", ["x"], 100)
        (index,) = raw.keys("*oxitag*")
        assert 99_000 < raw.pttl(index) <= 100_000
        found.tag("b", ["x"], 10)
        assert raw.pttl(index) > 99_000
        found.tag("b", ["x"], 1000)
        assert raw.pttl(index) > 999_000
        found.tag("c", ["x"], None)
        assert raw.pttl(index) == -1
        found.tag("c", ["x"], 5)
        assert raw.pttl(index) == -1
        raw.zadd(index, {":1:c": 1000, ":1:a": 1000})  # long ago
        found.tag("d", ["x"], 0)
        assert raw.zcard(index) == 3
        caches["default"].set("d", 1)
        found.tag("d", ["x"], 10)
        assert set(raw.zrange(index, 0, -1)) == {b":1:b", b":1:d"}
        assert 990_000 < raw.pttl(index) <= 1_000_000


class Clustered(DefaultClient):
    """A client of django-redis for a cluster, as projects write one."""

    def connect(self, index: int = 0) -> Any:
        return redis.RedisCluster.from_url(self._server[index])


def test_a_cluster(second_server: server_process.Listening) -> None:
    """Its entries are found; tags are an error, since no script reaches the keys of several servers."""
    with server_process.redis("redis-server", "--cluster-enabled", "yes") as listening:
        url = f"redis://{listening.host}:{listening.port}"
        with redis.Redis.from_url(url) as client:
            client.execute_command("CLUSTER ADDSLOTS", *range(16384))
            for _ in range(1000):
                if client.execute_command("CLUSTER INFO")["cluster_state"] == "ok":
                    break
                threading.Event().wait(0.02)
        place = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": url,
            "OPTIONS": {"CLIENT_CLASS": f"{__name__}.Clustered"},
        }
        with override_settings(CACHES={"default": place}):
            found = enumerator_of("default")
            caches["default"].set_many({f"a:{number}": 1 for number in range(50)})
            caches["default"].set("b", 1)
            assert found.count("a:*") == 50
            for asked in (lambda: found.set_tagged("c", 1, ["x"]), lambda: found.delete_by_tag(["x"])):
                with pytest.raises(CannotTagError, match="RedisCluster") as caught:
                    asked()
                assert caught.value.alias == "default"
            assert found.delete_matching("a:*") == 50
            assert list(found.keys()) == ["b"]
            assert found.delete(["b", "c"]) == 1


class ByKey(RedisCacheClient):
    """A client that chooses a server by key."""

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        return super().get_client(key, write=write)


def test_a_client_that_chooses_by_key(
    server: server_process.Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which servers it has keys on is its secret: an error, rather than the keys of one of them."""
    original = RedisCache.__init__

    def changed(self: Any, *args: Any) -> None:
        original(self, *args)
        self._class = ByKey

    monkeypatch.setattr(RedisCache, "__init__", changed)
    place = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://{server.host}:{server.port}/3",
    }
    with override_settings(CACHES={"default": place}), pytest.raises(CannotEnumerateError, match="ByKey"):
        enumerator_of("default")


class TestHerd(RedisContract):
    """django-redis's client against herds, whose values are packed."""

    def place(self) -> dict[str, Any]:
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": self.url,
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.HerdClient"},
        }

    @pytest.fixture(params=["plain"])
    def alias(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


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
