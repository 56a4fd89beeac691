"""The pages `cache/health/`, `cache/health/detail/` and `cache/metrics/`: what they show, and what that costs."""

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from prometheus_client.parser import text_string_to_metric_families

from oxicache import DELETION_SET, _native, cache_manager, operations, testing, workers
from oxicache.django import probes, views
from oxicache.errors import UnsafeFolderError
from oxicache.wire import Answers, Failure, Worker

NATIVE = "oxicache.django.backends.NativeCache"
HEALTHY = {"status": "healthy", "message": "Cache is working properly"}
_numbers = itertools.count()


class FailingCache(LocMemCache):
    """A backend whose server is out of reach."""

    def set(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("redis://:hunter2@cache:6379 is out of reach")


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(
        CACHES={"default": {"BACKEND": NATIVE, "LOCATION": f"health-views-{next(_numbers)}"}}
    ):
        yield


def own_name() -> str:
    """Under which name the figures of the default alias are shown."""
    return str(caches["default"]._memory.name)  # type: ignore[attr-defined]


def is_stored_nowhere(response: HttpResponse) -> bool:
    return "no-store" in response.headers["Cache-Control"]


class TestPublic:
    def test_a_cache_that_works(self, client: Client) -> None:
        """004: 200 and two fields, for everybody, and stored nowhere on the way."""
        response = client.get("/cache/health/")
        assert (response.status_code, response.json()) == (200, HEALTHY)
        assert is_stored_nowhere(response)

    def test_a_cache_that_fails(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        """004: 500 and unhealthy; what went wrong is for the log, not for the public."""
        with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.FailingCache"}}):
            response = client.get("/cache/health/")
        assert (response.status_code, response.json()["status"]) == (500, "unhealthy")
        assert "hunter2" not in response.content.decode()
        assert is_stored_nowhere(response)
        assert "out of reach" in caplog.text

    def test_nothing_is_left_behind(self, client: Client) -> None:
        """The key it tries is gone afterwards, and what others had stored is still there."""
        cache.set("mine", 1)
        for _ in range(3):
            client.get("/cache/health/")
        assert caches["default"].keys("*") == ["mine"]  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        "backend",
        [NATIVE, "django.core.cache.backends.locmem.LocMemCache"],
    )
    def test_a_set_that_returns_none_is_no_failure(self, client: Client, backend: str) -> None:
        """003's check called every built-in backend unhealthy, because their set() returns None."""
        with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": "none-is-fine"}}):
            assert caches["default"].set("key", 1) is None  # type: ignore[func-returns-value]
            assert client.get("/cache/health/").json() == HEALTHY

    def test_a_cache_that_stores_nothing(self, client: Client) -> None:
        """What cannot be read back is not healthy, whatever the backend says."""
        with override_settings(
            CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        ):
            assert client.get("/cache/health/").status_code == 500

    def test_a_cache_that_is_switched_off(self, client: Client) -> None:
        """What an operator has disabled is not broken: the site must not be taken out of service for it."""
        _native.set_enabled(False)
        try:
            response = client.get("/cache/health/")
        finally:
            _native.set_enabled(True)
        assert (response.status_code, response.json()["message"]) == (200, "Cache is disabled")

    def test_it_is_tried_at_each_request(self, client: Client) -> None:
        """Not even the cache itself answers for the cache."""
        with mock.patch.object(probes, "_tried", wraps=probes._tried) as tried:
            for _ in range(2):
                client.get("/cache/health/")
        assert tried.call_count == 2

    def test_it_needs_no_database(self, client: Client) -> None:
        """A health check opens no transaction, so that it tells of the cache even while the database is down."""
        with mock.patch(
            "django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", side_effect=OSError
        ):
            assert client.get("/cache/health/").json() == HEALTHY
        assert views.health._non_atomic_requests == {"default"}  # type: ignore[attr-defined]

    @pytest.mark.parametrize("method", ["post", "put", "delete"])
    def test_it_is_only_read(self, client: Client, method: str) -> None:
        """Nothing but GET and HEAD."""
        assert getattr(client, method)("/cache/health/").status_code == 405
        assert client.head("/cache/health/").status_code == 200


class TestHanging:
    def test_a_cache_that_hangs_takes_no_more_than_a_few_threads(self) -> None:
        """While one try has been waiting for longer than PATIENCE, others answer at once and wait for nothing."""
        entered, released = threading.Event(), threading.Event()

        def hang(*_: Any, **__: Any) -> None:
            entered.set()
            assert released.wait(30)

        with mock.patch.object(probes, "_tried", hang), mock.patch.object(probes, "PATIENCE", 0.0):
            thread = threading.Thread(target=probes.probe, daemon=True)
            thread.start()
            assert entered.wait(30)
            second = probes.probe()
            released.set()
            thread.join(30)
        assert second.error is not None
        assert "has not answered" in second.error
        assert probes.probe().error is None, "once it answers again it is tried again"


class TestDetail:
    def test_figures_of_the_workers(self, staff: Client) -> None:
        """Status with reasons, each cache summed and per worker, aliases that were tried, memory, advice."""
        cache.set("a", 1)
        cache.get("a")
        shown = staff.get("/cache/health/detail/").json()
        assert shown["status"] in {"healthy", "warning", "critical"}
        assert shown["backends"]["default"]["healthy"] is True
        assert set(shown["backends"]["default"]["response_times"]) == {"set_ms", "get_ms", "delete_ms"}
        name = own_name()
        assert shown["caches"][name]["size"] == 1
        assert shown["_global"]["answered"] == shown["_global"]["workers"] == 1
        (worker,) = shown["workers"].values()
        assert worker["caches"][name] == shown["caches"][name]
        assert worker["rss_bytes"] > 2**20
        assert {target["name"] for target in shown["targets"]} >= {"Hit rate of all caches"}
        assert isinstance(shown["recommendations"], list)

    def test_an_alias_that_fails_is_critical(self, staff: Client) -> None:
        """Staff see the error, and what to do about it."""
        settings = {
            "default": {"BACKEND": NATIVE, "LOCATION": "detail-fails"},
            "broken": {"BACKEND": f"{__name__}.FailingCache"},
        }
        with override_settings(CACHES=settings):
            shown = staff.get("/cache/health/detail/").json()
        assert shown["status"] == "critical"
        assert {"status": "critical", "message": "Cache 'broken' is unhealthy"} in shown["reasons"]
        assert "ConnectionError" in shown["backends"]["broken"]["error"]
        assert shown["recommendations"][0]["priority"] == "critical"

    def test_workers_that_do_not_answer(self, staff: Client) -> None:
        """Who is silent is named, and the figures are those of the others."""
        silent = Worker("/x/4711.sock", 4711, 0, 0)
        local_ask = workers.Local.ask

        def ask(self: workers.Local, request: Any) -> Answers:
            found = local_ask(self, request)
            return Answers(found.answers, (), (Failure(silent, "busy", "it is busy"),))

        with mock.patch.object(workers.Local, "ask", ask):
            shown = staff.get("/cache/health/detail/").json()
        assert (shown["_global"]["workers"], shown["_global"]["answered"]) == (2, 1)
        assert shown["status"] == "warning"
        assert "1 of 2 workers answered; silent: 4711" in [one["message"] for one in shown["reasons"]]

    def test_a_folder_of_somebody_else(self, staff: Client) -> None:
        """Where the sockets cannot be trusted this worker answers for itself, and says why for no other."""
        calls: list[bool] = []
        real = operations.snapshot

        def refuse(site: Any, **given: Any) -> Any:
            calls.append(site.is_local)
            if len(calls) == 1:
                raise UnsafeFolderError("the folder belongs to user 0")
            return real(site, **given)

        with mock.patch.object(operations, "snapshot", refuse):
            shown = staff.get("/cache/health/detail/").json()
        assert calls[1] is True
        assert "the folder belongs to user 0" in shown["_global"]["siblings"]

    def test_sensitive_patterns_are_not_named(self, staff: Client) -> None:
        """Neither here nor in the metrics."""
        with override_settings(OXICACHE={"SENSITIVE": ["secret:*"]}):
            for _ in range(200):
                cache.get("secret:token")
            for page in ("/cache/health/detail/", "/cache/metrics/"):
                assert "secret" not in staff.get(page).content.decode()

    def test_other_thresholds(self, staff: Client) -> None:
        """THRESHOLDS of the settings are those that count."""
        cache.set("a", 1)
        with override_settings(OXICACHE={"THRESHOLDS": {"CACHE_UTILIZATION_MEDIUM": 0}}):
            shown = staff.get("/cache/health/detail/").json()
        assert any("utilization > 0%" in one["message"] for one in shown["reasons"])


class TestMetrics:
    def test_the_parser_of_prometheus_takes_it(self, staff: Client) -> None:
        """Text of format 0.0.4 with every figure of this worker's caches."""
        cache.set("a", 1)
        cache.get("a")
        response = staff.get("/cache/metrics/")
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = {
            (sample.name, sample.labels.get("cache")): sample.value
            for family in text_string_to_metric_families(response.content.decode())
            for sample in family.samples
        }
        name = own_name()
        assert samples["oxicache_hits_total", name] == 1
        assert samples["oxicache_entries", name] == 1
        assert samples["oxicache_workers", None] == samples["oxicache_workers_answered", None] == 1

    def test_by_process(self, staff: Client) -> None:
        """`?by=process` gives each worker series of its own."""
        cache.set("a", 1)
        text = staff.get("/cache/metrics/?by=process").content.decode()
        lines = [line for line in text.splitlines() if line.startswith("oxicache_entries{")]
        assert lines
        assert all(',pid="' in line for line in lines)

    def test_under_asgi(self) -> None:
        """The same pages answer an async server."""

        async def ask() -> tuple[int, int, str]:
            client = AsyncClient()
            health = await client.get("/cache/health/")
            metrics = await client.get("/cache/metrics/", headers={"authorization": "Bearer s3cret"})
            return health.status_code, metrics.status_code, metrics.content.decode()

        with override_settings(OXICACHE={"METRICS_TOKEN": "s3cret"}):
            first, second, text = asyncio.run(ask())
        assert (first, second) == (200, 200)
        assert "oxicache_workers 1\n" in text


class TestMemoryHealthCheck:
    """000, "Health Check Endpoints"."""

    def answer(self) -> dict[str, Any]:
        response = views.memory_health_check(RequestFactory().get("/health/"))
        assert is_stored_nowhere(response)
        found: dict[str, Any] = json.loads(response.content)
        return found

    def test_its_shape(self) -> None:
        """Status, warnings, metrics, timestamp."""
        shown = self.answer()
        assert list(shown) == ["status", "warnings", "metrics", "timestamp"]
        assert shown["metrics"]["cache_count"] == len(cache_manager.names())

    def test_expired_entries(self) -> None:
        """More than fifty are a warning, whatever the caches are called."""
        with testing.clock() as clock:
            for name in ("first", "second_expired"):
                found = cache_manager.get_cache(f"memory_check_{name}", max_size=1000, ttl=60)
                for number in range(26):
                    found.set(number, number)
            clock.advance(60)
            shown = self.answer()
            for name in ("first", "second_expired"):
                cache_manager.remove(f"memory_check_{name}")
        assert (shown["status"], shown["warnings"]) == ("warning", ["High number of expired cache entries"])

    def test_the_deletion_tracker(self) -> None:
        """More than a hundred ids are a warning."""
        for number in range(101):
            DELETION_SET.add(f"health-{number}")
        try:
            assert self.answer()["warnings"] == ["Large deletion tracker"]
        finally:
            for number in range(101):
                DELETION_SET.discard(f"health-{number}")
