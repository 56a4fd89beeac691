"""Document 003, "Cache Monitoring" and "Cache Analytics": its names, its shapes, and the defects not to be had again.

Names under `platform_core` are those of oxicache.compat.enterpriseland.
"""

import itertools
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from unittest import mock

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings
from document_pages import Example, example
from prometheus_client.parser import text_string_to_metric_families

from oxicache.compat import enterpriseland
from oxicache.compat.enterpriseland import CacheMetrics, CacheMonitor, cache_manager, cache_monitor

NATIVE = "oxicache.django.backends.NativeCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
_numbers = itertools.count()


class FailingCache(LocMemCache):
    """A backend whose server is out of reach."""

    def set(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("out of reach")

    def clear(self) -> None:
        raise ConnectionError("out of reach")


@pytest.fixture(autouse=True)
def _platform(django_databases: None) -> Iterator[None]:
    """Aliases whose figures no other test has touched."""
    number = next(_numbers)
    cache_monitor.metrics._recorder.reset()
    with override_settings(
        CACHES={
            "default": {"BACKEND": NATIVE, "LOCATION": f"monitor-{number}", "KEY_PREFIX": "site"},
            "other": {"BACKEND": LOCMEM, "LOCATION": f"monitor-{number}"},
        }
    ):
        yield
    cache_monitor.metrics._recorder.reset()


class TestExamples:
    @example("003", "4. Cache Analytics")
    def test_cache_analytics(self, shown: Example) -> None:
        """003, "Cache Analytics"."""
        cache.set("user:1", "Ada")
        cache.get("user:1")
        names = shown.run()
        assert names["key_stats"]["user:*"]["hits"] == 1
        assert set(names["memory_analysis"]["by_pattern"]) == {"user:*"}
        assert 'cache_hit_rate{cache="default"} 1' in names["prometheus_metrics"]

    @example("003", "Performance Reports")
    def test_performance_reports(self, shown: Example) -> None:
        """003, "Performance Reports": each of the four things that its comments name."""
        names = shown.run(cache_manager=cache_manager)
        assert {"health", "performance", "warming_schedule", "configuration"} <= set(names["report"])


class TestMetrics:
    def test_recorded_by_hand(self) -> None:
        """What callers record of a cache that nobody else counts, by the first segment of the key."""
        metrics = CacheMetrics("other")
        metrics.record_hit("user:1:profile", 2.0)
        metrics.record_hit("user:2", 4.0)
        metrics.record_miss("user:3", 6.0)
        metrics.record_set("user:3", 100, 1.0)
        metrics.record_set("user:4", 300, 1.0)
        metrics.record_delete("plain")
        assert metrics.get_key_statistics() == {
            "user:*": {
                "hits": 2,
                "misses": 1,
                "sets": 2,
                "deletes": 0,
                "avg_size": 200.0,
                "total_size": 400,
                "hit_rate": pytest.approx(2 / 3),
            },
            "plain": {
                "hits": 0,
                "misses": 0,
                "sets": 0,
                "deletes": 1,
                "avg_size": 0.0,
                "total_size": 0,
                "hit_rate": 0.0,
            },
        }
        assert metrics.get_hit_rate() == pytest.approx(2 / 3)
        assert metrics.get_average_response_time() == pytest.approx(4.0)

    def test_counted_without_being_recorded(self) -> None:
        """What a NativeCache does is counted where it happens, and nobody has to record it."""
        cache.set_many({"user:1:profile": "x" * 100, "user:2": "y" * 100, "page": "z"})
        cache.get_many(["user:1:profile", "user:2", "user:3", "page"])
        found = cache_monitor.metrics.get_key_statistics()
        assert {name: (one["hits"], one["misses"], one["sets"]) for name, one in found.items()} == {
            "user:*": (2, 1, 2),
            "page": (1, 0, 1),
        }
        assert found["user:*"]["total_size"] > 200
        assert cache_monitor.metrics.get_hit_rate() == 0.75

    def test_before_anything_was_read(self) -> None:
        """Zero, with which callers can reckon."""
        assert (cache_monitor.metrics.get_hit_rate(), cache_monitor.metrics.get_average_response_time()) == (
            0.0,
            0.0,
        )
        assert cache_monitor.metrics.get_key_statistics() == {}

    def test_recorded_and_counted_are_one(self) -> None:
        """What is recorded by hand of an alias that is counted too is added to its figures."""
        cache.set("user:1", 1)
        cache.get("user:1")
        cache_monitor.metrics.record_miss("user:2", 5.0)
        assert cache_monitor.metrics.get_hit_rate() == 0.5
        assert cache_monitor.metrics.get_key_statistics()["user:*"]["misses"] == 1

    def test_sensitive_keys_are_not_named(self) -> None:
        """Neither those that were counted nor those that were recorded."""
        with override_settings(OXICACHE={"SENSITIVE": ["secret*"]}):
            cache.get("secret:1")
            cache_monitor.metrics.record_hit("secret:2")
            assert set(cache_monitor.metrics.get_key_statistics()) == {"other"}
            assert "secret" not in cache_monitor.export_metrics("prometheus")


class TestMonitor:
    def test_memory_by_pattern(self) -> None:
        """Bytes, share, mean size and number of what was stored; more than 30 percent is advised upon."""
        monitor = CacheMonitor("other")
        monitor.metrics.record_set("big:1", 800)
        monitor.metrics.record_set("small:1", 100)
        monitor.metrics.record_set("small:2", 100)
        found = monitor.analyze_memory_usage()
        assert found["total_tracked_bytes"] == 1000
        assert found["by_pattern"] == {
            "small:*": {"bytes": 200, "percentage": 20.0, "avg_size": 100.0, "count": 2},
            "big:*": {"bytes": 800, "percentage": 80.0, "avg_size": 800.0, "count": 1},
        }
        (advised,) = found["recommendations"]
        assert "big:*" in advised["issue"]
        assert {"issue", "current", "recommendation", "priority"} <= set(advised)

    def test_the_report(self) -> None:
        """cache_alias, timestamp, hit_rate, avg_response_time_ms, key_statistics, recommendations."""
        for _ in range(200):
            cache.get("user:1")
        for report in (cache_monitor.generate_report(), cache_monitor.report()):
            assert list(report) == [
                "cache_alias",
                "timestamp",
                "hit_rate",
                "avg_response_time_ms",
                "key_statistics",
                "recommendations",
            ]
            assert (report["cache_alias"], report["hit_rate"]) == ("default", 0.0)
            assert datetime.fromisoformat(report["timestamp"])
            assert report["avg_response_time_ms"] > 0
            assert {one["priority"] for one in report["recommendations"]} == {"high", "medium"}

    def test_export_for_prometheus(self) -> None:
        """The document's three families, with the alias as label; the reference parser takes the text."""
        cache.set("user:1", 1)
        cache.get("user:1")
        cache.get("user:2")
        cache.delete("user:1")
        cache_monitor.metrics.record_hit("user:1", 1.0)
        cache_monitor.metrics.record_miss("user:1", 1.0)
        found = [
            ((sample.name, *sorted(sample.labels.items())), sample.value)
            for family in text_string_to_metric_families(cache_monitor.export_metrics("prometheus"))
            for sample in family.samples
        ]
        samples = dict(found)
        assert len(samples) == len(found), "no series is there twice"
        assert samples["oxicache_workers",] == 1
        assert samples["cache_hit_rate", ("cache", "default")] == 0.5
        assert samples["cache_response_time_ms", ("cache", "default")] > 0
        operations = [
            samples["cache_operations_total", ("cache", "default"), ("op", op)] for op in OPERATIONS
        ]
        assert operations == [2, 2, 1, 1]

    def test_export_as_json(self) -> None:
        """The report, as text."""
        assert json.loads(cache_monitor.export_metrics("json"))["cache_alias"] == "default"
        with pytest.raises(ValueError, match="format is 'xml'; it must be 'prometheus' or 'json'"):
            cache_monitor.export_metrics("xml")  # type: ignore[arg-type]

    def test_monitoring_that_is_switched_off(self) -> None:
        """CACHE_MONITORING_ENABLED = False: nothing is recorded and nothing shown, and nothing raises."""
        with override_settings(CACHE_MONITORING_ENABLED=False):
            cache_monitor.metrics.record_hit("a:1")
            assert cache_monitor.metrics.get_hit_rate() == 0.0
            assert cache_monitor.analyze_memory_usage()["by_pattern"] == {}
            assert cache_monitor.generate_report()["key_statistics"] == {}
            assert cache_manager.get_cache_status()["configuration"]["monitoring_enabled"] is False
        assert set(cache_monitor.metrics.get_key_statistics()) == {"oxicache:*"}, (
            "what the status tried, and no more"
        )


OPERATIONS = ("hit", "miss", "set", "delete")


class TestManager:
    def test_the_status(self) -> None:
        """timestamp, health by alias, performance, warming_schedule, configuration, backends."""
        found = cache_manager.get_cache_status()
        assert set(found) == {
            "timestamp",
            "health",
            "performance",
            "warming_schedule",
            "configuration",
            "backends",
        }
        assert found["health"]["default"]["healthy"] is True
        assert set(found["health"]["default"]) == {"healthy", "response_times", "backend"}
        assert set(found["health"]["other"]["response_times"]) == {"set_ms", "get_ms", "delete_ms"}
        assert found["configuration"] == {
            "warming_enabled": True,
            "invalidation_enabled": True,
            "monitoring_enabled": True,
        }
        assert found["backends"]["other"] == {"backend": LOCMEM, "location": mock.ANY, "timeout": 300}
        assert isinstance(found["performance"]["hit_rate"], float)

    def test_an_alias_that_fails(self) -> None:
        """It is unhealthy with its error, and the most urgent of the recommendations."""
        with override_settings(
            CACHES={"default": {"BACKEND": f"{__name__}.FailingCache"}, "other": {"BACKEND": LOCMEM}}
        ):
            assert cache_manager.get_cache_status()["health"]["default"] == {
                "healthy": False,
                "error": "ConnectionError: out of reach",
            }
            found = cache_manager.optimize_cache_configuration()
            assert cache_manager.clear_all_caches() == {"default": False, "other": True}
        assert found["recommendations"][0]["priority"] == "critical"
        assert found["recommendations"][0]["error"] == "ConnectionError: out of reach"

    def test_what_to_change(self) -> None:
        """timestamp, current_performance, recommendations, suggested_config."""
        for _ in range(200):
            cache.get("user:1")
        found = cache_manager.optimize_cache_configuration()
        assert list(found) == ["timestamp", "current_performance", "recommendations", "suggested_config"]
        assert set(found["current_performance"]) == {"hit_rate", "avg_response_time"}
        priorities = [one["priority"] for one in found["recommendations"]]
        assert priorities == sorted(priorities, key=["critical", "high", "medium"].index)

    def test_clearing_everything(self) -> None:
        """Every alias is cleared, and named."""
        for alias in ("default", "other"):
            caches[alias].set("key", 1)
        assert cache_manager.clear_all_caches() == {"default": True, "other": True}
        assert [caches[alias].get("key") for alias in ("default", "other")] == [None, None]

    def test_a_password_in_a_location_is_not_shown(self) -> None:
        """Where a cache is may be told, not how one gets in."""
        locations = [
            "redis://user:hunter2@a:6379/1",
            "redis://b:6379",
            "redis://c/0?password=hunter2",
            "memory",
        ]
        with override_settings(CACHES={"default": {"BACKEND": LOCMEM, "LOCATION": locations}}):
            from oxicache.django import probes

            shown = ["redis://...@a:6379/1", "redis://b:6379", "redis://c/0", "memory"]
            assert probes.backends()["default"]["location"] == shown

    def test_as_functions(self) -> None:
        """The three are there under their own names too."""
        assert set(enterpriseland.get_cache_status()) >= {"health"}
        assert set(enterpriseland.optimize_cache_configuration()) >= {"recommendations"}
        assert enterpriseland.clear_all_caches() == {"default": True, "other": True}


class TestDefects:
    """What the earlier system got wrong: SETTLED, 3, "Known defects"."""

    def test_the_hit_rate_does_not_saturate(self) -> None:
        """5000 hits and 1000 misses gave 0.5, from two lists of the last thousand each."""
        metrics = CacheMetrics("other")
        for _ in range(5000):
            metrics.record_hit("a:1", 1.0)
        for _ in range(1000):
            metrics.record_miss("a:1", 1.0)
        assert metrics.get_hit_rate() == pytest.approx(5 / 6)
        cache.set("a:1", 1)
        for _ in range(5000):
            cache.get("a:1")
        for _ in range(1000):
            cache.get("b:1")
        assert cache_monitor.metrics.get_hit_rate() == pytest.approx(5 / 6)

    def test_other_threads_are_seen(self) -> None:
        """The monitor changed the connection of the thread that made it, and saw no other."""
        monitor = CacheMonitor()
        cache.set("a:1", 1)

        def read() -> None:
            for _ in range(10):
                cache.get("a:1")

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(60)
        assert monitor.metrics.stats()["hits"] == 10

    def test_a_monitor_changes_nothing(self) -> None:
        """Each CacheMonitor() wrapped the connection once more, so that operations were counted many times over."""
        handler = caches["default"]
        before = dict(vars(handler))
        monitors = [CacheMonitor() for _ in range(3)]
        cache.set("a:1", 1)
        cache.get("a:1")
        assert vars(handler) == before
        assert [monitor.metrics.stats()["hits"] for monitor in monitors] == [1, 1, 1]

    def test_values_are_not_written_as_json(self) -> None:
        """Every value that was stored was written as JSON, to know its size."""
        with (
            mock.patch("json.dumps", side_effect=AssertionError),
            mock.patch("json.JSONEncoder.encode") as encode,
        ):
            cache.set("a:1", {1, 2, 3})
            cache_monitor.metrics.record_set("a:2", 10, 0.1)
        encode.assert_not_called()
        assert cache.get("a:1") == {1, 2, 3}

    def test_a_set_that_returns_none_is_healthy(self) -> None:
        """Built-in backends were called unhealthy, because their set() returns None."""
        assert all(one["healthy"] for one in cache_manager.get_cache_status()["health"].values())

    def test_trying_leaves_no_key_that_others_could_meet(self) -> None:
        """The key that was tried was one fixed name, which two checks at a time deleted from each other."""
        tried: list[str] = []
        real = LocMemCache.set

        def note(self: LocMemCache, key: str, *args: Any, **kwargs: Any) -> None:
            tried.append(key)
            real(self, key, *args, **kwargs)

        with mock.patch.object(LocMemCache, "set", note):
            cache_manager.get_cache_status()
            cache_manager.get_cache_status()
        assert len(set(tried)) == len(tried) == 2
        assert caches["other"]._cache == {}  # type: ignore[attr-defined]
