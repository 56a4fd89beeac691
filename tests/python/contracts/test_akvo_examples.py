"""The examples of document 000 (akvo), "Advanced Usage Patterns"; those that read many rows: test_akvo_hierarchy.py.

Of document 001: test_akvo_reference.py.
"""

import json
import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models
from django.test import RequestFactory
from django.utils import timezone
from document_pages import EXAMPLES, Example, Key, example
from rest_framework import viewsets

from oxicache import DELETION_SET, TTLCache, cache_manager, memory
from oxicache.django import views


@pytest.fixture(autouse=True)
def _akvo(django_databases: None) -> Iterator[None]:
    """Caches that an example makes are removed again."""
    before = set(cache_manager.names())
    yield
    for name in set(cache_manager.names()) - before:
        cache_manager.remove(name)


def run(shown: Example, **prelude: Any) -> dict[str, Any]:
    """Run an example that says something to a logger."""
    return shown.run(logger=logging.getLogger("example"), **prelude)


class Queryset(list[Any]):
    """As much of a queryset as the examples use: a list with count() and filter()."""

    def count(self) -> int:  # type: ignore[override]
        return len(self)

    def filter(self, **conditions: Any) -> "Queryset":
        return Queryset(
            item for item in self if all(getattr(item, name) == value for name, value in conditions.items())
        )


def record(**fields: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(**fields)


class TestAdvancedUsagePatterns:
    """Document 000."""

    @example("000", "Memory-Aware Model Design")
    def test_memory_aware_model_design(self, shown: Example, django_databases: None) -> None:
        """000, "Memory-Aware Model Design": the model caches, and its deletion leaves nothing tracked."""
        calls: list[Any] = []
        tracked: list[bool] = []

        class Base(models.Model):
            class Meta:
                abstract = True
                app_label = "projects"

            def aggregate_complex_data(self) -> int:
                calls.append("aggregate")
                return 7

            def filter_and_process(self, filter_params: Any) -> Any:
                calls.append(filter_params)
                return filter_params

            def delete(self, *args: Any, **kwargs: Any) -> Any:
                tracked.append(self.pk in DELETION_SET)
                self.pk = None  # as Model.delete does; this model has no table

        prelude = types.SimpleNamespace(Model=Base)
        my_model = run(shown, models=prelude)["MyModel"]
        instance = my_model(id=5)
        assert [instance.expensive_aggregation, instance.expensive_aggregation] == [7, 7]
        assert instance.get_filtered_data({"status": "A"}) == instance.get_filtered_data({"status": "A"})
        assert calls == ["aggregate", {"status": "A"}]
        instance.delete()
        assert (tracked, 5 in DELETION_SET, len(DELETION_SET._timestamps)) == ([True], False, 0)

    @example("000", "Large Dataset Processing")
    def test_large_dataset_processing(self, shown: Example) -> None:
        """000, "Large Dataset Processing": every item comes out, and none is processed twice within the ttl."""
        processed: list[int] = []

        def expensive_processing(item: Any) -> str:
            processed.append(item.id)
            return f"result {item.id}"

        names = run(
            shown,
            expensive_processing=expensive_processing,
        )
        items = Queryset(record(id=number % 400) for number in range(2500))
        results = list(names["process_large_dataset"](items))
        assert results == [f"result {number % 400}" for number in range(2500)]
        assert processed == list(range(400))
        assert cache_manager.get_cache("large_dataset_processing").max_size == 500

    @example("000", "Memory-Efficient API Views")
    def test_memory_efficient_api_views(self, shown: Example) -> None:
        """000, "Memory-Efficient API Views": the cached method of the viewset takes its dict of filters."""
        names = run(
            shown,
            viewsets=viewsets,
            json=json,
        )
        asked: list[dict[str, Any]] = []

        class Expensive:
            def complex_filter(self, **filters: Any) -> list[dict[str, Any]]:
                asked.append(filters)
                return [filters]

        viewset = names["MemoryEfficientViewSet"]()
        viewset.get_queryset = Expensive
        assert viewset.get_expensive_data({"status": "A"}) == [{"status": "A"}]
        assert viewset.get_expensive_data({"status": "A"}) == [{"status": "A"}]
        assert viewset.get_expensive_data({"status": "H"}) == [{"status": "H"}]
        assert asked == [{"status": "A"}, {"status": "H"}]

    @example("000", "Cache Warming")
    def test_cache_warming(self, shown: Example) -> None:
        """000, "Cache Warming": what is already there is not computed, the rest is filled in."""
        computed: list[int] = []

        def compute_project_statistics(project: Any) -> dict[str, int]:
            computed.append(project.id)
            return {"id": project.id}

        projects = Queryset(record(id=number, status="A" if number % 2 else "H") for number in range(6))
        names = run(
            shown,
            Project=record(objects=projects),
            compute_project_statistics=compute_project_statistics,
        )
        cache = cache_manager.get_cache("project_aggregations")
        cache.set("project_stats_3", {"id": 3})
        names["warm_critical_caches"]()
        assert computed == [1, 5]
        assert cache.get("project_stats_5") == {"id": 5}

    @example("000", "Custom Monitoring Metrics")
    def test_custom_monitoring_metrics(self, shown: Example, wall: Any) -> None:
        """000, "Custom Monitoring Metrics": sizes of caches and of the tracker under the documented names."""
        cache = cache_manager.get_cache("monitored", max_size=10, ttl=60)
        cache.set("a", 1)
        wall.advance(60)
        cache.set("b", 2)
        DELETION_SET.add(7)
        metrics = run(shown)["collect_memory_metrics"]()
        assert metrics["cache_total_entries"] == 2
        assert metrics["cache_count"] == len(cache_manager.names())
        assert metrics["deletion_tracker_size"] == metrics["deletion_tracker_timestamps"] == 1
        assert metrics["cache_monitored_size"] == 2
        assert metrics["cache_monitored_expired"] == 1
        assert metrics["cache_monitored_utilization"] == 20.0
        ours = memory.collect_memory_metrics()
        assert {name: ours[name] for name in metrics} == metrics, "oxicache's own says the same, and more"

    @example("000", "Health Check Endpoints")
    def test_health_check_endpoints(self, shown: Example, wall: Any) -> None:
        """000, "Health Check Endpoints": healthy, and a warning once more than 50 entries are expired."""
        collect = run(EXAMPLES[Key("000", "Custom Monitoring Metrics")])["collect_memory_metrics"]
        check = run(shown, timezone=timezone, collect_memory_metrics=collect)["memory_health_check"]

        def answer(view: Any = check) -> Any:
            return json.loads(view(RequestFactory().get("/health/")).content)

        assert (answer()["status"], answer()["warnings"]) == ("healthy", [])
        cache = cache_manager.get_cache("sick", max_size=1000, ttl=60)
        for number in range(51):
            cache.set(number, number)
        wall.advance(60)
        assert (answer()["status"], answer()["warnings"]) == (
            "warning",
            ["High number of expired cache entries"],
        )
        ours = answer(views.memory_health_check)
        assert list(ours) == list(answer())
        assert (ours["status"], ours["warnings"]) == (answer()["status"], answer()["warnings"])

    @example("000", "Cache Size Optimization")
    def test_cache_size_optimization(self, shown: Example) -> None:
        """000, "Cache Size Optimization": each branch of settings.py is a valid set of settings, and takes effect."""
        from django.test import override_settings

        made = []
        for environment in ("production-high-memory", "production-low-memory", "development"):
            names = run(shown, ENVIRONMENT=environment)
            with override_settings(
                **{name: value for name, value in names.items() if name.startswith("RSR_")}
            ):
                cache: TTLCache[str, int] = TTLCache()
                made.append((cache.max_size, cache.ttl))
        assert made == [(2000, 7200), (200, 900), (500, 3600)]

    @example("000", "Graceful Degradation")
    def test_graceful_degradation(self, shown: Example) -> None:
        """000, "Graceful Degradation": the value comes from the cache, else from the function, whose error passes."""
        names = run(shown)
        get = names["get_data_with_fallback"]
        assert get("a", lambda: 1) == 1
        assert get("a", lambda: 2) == 1
        assert "default" in cache_manager.names(), "a cache of that name, not Django's"
        with pytest.raises(ZeroDivisionError):
            get("b", lambda: 1 // 0)
        assert get("b", lambda: 3) == 3

    @pytest.mark.parametrize("ours", [False, True])
    @pytest.mark.parametrize(("percent", "left"), [(80, 2), (86, 1), (91, 0)])
    @example("000", "Memory Pressure Handling")
    def test_memory_pressure_handling(
        self,
        shown: Example,
        wall: Any,
        monkeypatch: pytest.MonkeyPatch,
        percent: int,
        left: int,
        *,
        ours: bool,
    ) -> None:
        """000, "Memory Pressure Handling": above 85 % the expired go, above 90 % everything."""
        psutil: Any = types.ModuleType("psutil")
        psutil.virtual_memory = lambda: record(percent=percent)
        monkeypatch.setitem(sys.modules, "psutil", psutil)
        monkeypatch.setattr(memory, "_of_groups", lambda root: iter(()))  # what the tests themselves may use
        cache = cache_manager.get_cache("pressed", ttl=60)
        cache.set("old", 1)
        wall.advance(60)
        cache.set("new", 2)
        handle = run(shown)["handle_memory_pressure"]
        memory.handle_memory_pressure() if ours else handle()
        assert len(cache._cache) == left
