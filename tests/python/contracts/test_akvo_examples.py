"""The code examples of documents 000 and 001 (akvo), as far as their parts exist, run as they are printed.

An example is quoted to the letter. What it leaves out (its imports, its own functions) stands in the prelude of its
test; the one thing that an example itself gets wrong is in CORRECTION. Names under `akvo` are those of
oxicache.compat.akvo_rsr.
"""

# Long because each example is quoted whole, with what it needs to run.

import gc
import json
import logging
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from akvo_texts import PROCESS_LARGE_DATASET, WARM_CRITICAL_CACHES
from django.db import models
from django.test import RequestFactory
from django.utils import timezone
from project.projects.models import Project
from rest_framework import viewsets

from oxicache import DELETION_SET, TTLCache, cache_manager, memory
from oxicache.compat import akvo_rsr
from oxicache.django import views

Run = Callable[..., dict[str, Any]]

# Both documents discard by the instance's id in a `finally`. Django has set that to None by then, so the id stayed
# tracked for an hour and a later save() of the same pk was dropped. `deleting` remembers the id.
CORRECTION = (
    """\
        DELETION_SET.add(self.id)
        try:
            super().delete(*args, **kwargs)
        finally:
            DELETION_SET.discard(self.id)
""",
    """\
        with DELETION_SET.deleting(self):
            super().delete(*args, **kwargs)
""",
)


@pytest.fixture(autouse=True)
def _akvo(monkeypatch: pytest.MonkeyPatch, django_databases: None) -> Iterator[None]:
    """The module names that the documents import from; caches that an example makes are removed again."""
    for name in ("akvo", "akvo.rsr", "akvo.rsr.models"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name in ("akvo.rsr.cache_management", "akvo.rsr.models.project"):
        monkeypatch.setitem(sys.modules, name, akvo_rsr)
    before = set(cache_manager.names())
    yield
    for name in set(cache_manager.names()) - before:
        cache_manager.remove(name)


@pytest.fixture
def run() -> Run:
    """Run an example with a prelude of names; return its names."""

    def execute(source: str, **prelude: Any) -> dict[str, Any]:
        names = {"__name__": "project.projects.examples", "logger": logging.getLogger("example"), **prelude}
        exec(compile(source, "<example>", "exec"), names)  # noqa: S102 -- the examples are constants of this file
        return names

    return execute


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

    def test_memory_aware_model_design(self, run: Run, django_databases: None) -> None:
        """000, "Memory-Aware Model Design": the model caches, and its deletion leaves nothing tracked."""
        source = """
from akvo.rsr.cache_management import ttl_cached_property, cached_method
from akvo.rsr.models.project import DELETION_SET

class MyModel(models.Model):
    # Use TTL caching for expensive computations
    @ttl_cached_property(ttl=1800, max_size=100)
    def expensive_aggregation(self):
        # This will be cached for 30 minutes with max 100 entries
        return self.aggregate_complex_data()

    # Cache method results with different TTL
    @cached_method(ttl=300, max_size=50)
    def get_filtered_data(self, filter_params):
        # Cached for 5 minutes with max 50 parameter combinations
        return self.filter_and_process(filter_params)

    def delete(self, *args, **kwargs):
        # Track deletion to prevent signal handler issues
        DELETION_SET.add(self.id)
        try:
            super().delete(*args, **kwargs)
        finally:
            DELETION_SET.discard(self.id)
"""
        assert CORRECTION[0] in source
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
        my_model = run(source.replace(*CORRECTION), models=prelude)["MyModel"]
        instance = my_model(id=5)
        assert [instance.expensive_aggregation, instance.expensive_aggregation] == [7, 7]
        assert instance.get_filtered_data({"status": "A"}) == instance.get_filtered_data({"status": "A"})
        assert calls == ["aggregate", {"status": "A"}]
        instance.delete()
        assert (tracked, 5 in DELETION_SET, len(DELETION_SET._timestamps)) == ([True], False, 0)

    def test_large_dataset_processing(self, run: Run) -> None:
        """000, "Large Dataset Processing": every item comes out, and none is processed twice within the ttl."""
        processed: list[int] = []

        def expensive_processing(item: Any) -> str:
            processed.append(item.id)
            return f"result {item.id}"

        names = run(
            PROCESS_LARGE_DATASET,
            expensive_processing=expensive_processing,
        )
        items = Queryset(record(id=number % 400) for number in range(2500))
        results = list(names["process_large_dataset"](items))
        assert results == [f"result {number % 400}" for number in range(2500)]
        assert processed == list(range(400))
        assert cache_manager.get_cache("large_dataset_processing").max_size == 500

    def test_memory_efficient_api_views(self, run: Run) -> None:
        """000, "Memory-Efficient API Views": the cached method of the viewset takes its dict of filters."""
        names = run(
            """
from akvo.rsr.cache_management import cached_method

class MemoryEfficientViewSet(viewsets.ModelViewSet):

    @cached_method(ttl=300, max_size=20)
    def get_expensive_data(self, filters):
        \"\"\"Cache expensive data queries\"\"\"
        return self.get_queryset().complex_filter(**filters)
""",
            viewsets=viewsets,
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

    def test_cache_warming(self, run: Run) -> None:
        """000, "Cache Warming": what is already there is not computed, the rest is filled in."""
        computed: list[int] = []

        def compute_project_statistics(project: Any) -> dict[str, int]:
            computed.append(project.id)
            return {"id": project.id}

        projects = Queryset(record(id=number, status="A" if number % 2 else "H") for number in range(6))
        names = run(
            WARM_CRITICAL_CACHES,
            Project=record(objects=projects),
            compute_project_statistics=compute_project_statistics,
        )
        cache = cache_manager.get_cache("project_aggregations")
        cache.set("project_stats_3", {"id": 3})
        names["warm_critical_caches"]()
        assert computed == [1, 5]
        assert cache.get("project_stats_5") == {"id": 5}

    def test_cache_invalidation_patterns(self, run: Run) -> None:
        """000, "Cache Invalidation Patterns": saving a project drops its entry and its parent's, and no other."""
        from django.dispatch import Signal, receiver

        post_save, post_delete = Signal(), Signal()
        run(
            """
from akvo.rsr.cache_management import cache_manager

@receiver(post_save, sender=Project)
def invalidate_project_caches(sender, instance, **kwargs):
    \"\"\"Invalidate related caches when project changes\"\"\"

    # Clear specific cache entries
    caches_to_clear = [
        'project_aggregations',
        'project_statistics',
        'project_hierarchy'
    ]

    for cache_name in caches_to_clear:
        cache = cache_manager.get_cache(cache_name)

        # Clear entries related to this project
        cache_key = f"project_{instance.id}"
        cache._cache.pop(cache_key, None)
        cache._expiry_times.pop(cache_key, None)

        # Also clear parent project caches
        if instance.parent:
            parent_key = f"project_{instance.parent.id}"
            cache._cache.pop(parent_key, None)
            cache._expiry_times.pop(parent_key, None)

kept = invalidate_project_caches  # receivers are held weakly
""",
            receiver=receiver,
            post_save=post_save,
            post_delete=post_delete,
            Project=Project,
        )["kept"]
        cache = cache_manager.get_cache("project_statistics")
        for number in (1, 2, 3):
            cache.set(f"project_{number}", number)
        post_save.send(sender=Project, instance=record(id=2, parent=record(id=1)))
        assert cache.keys() == ["project_3"]
        assert list(cache._expiry_times) == ["project_3"]

    METRICS = """
from akvo.rsr.cache_management import cache_manager
from akvo.rsr.models.project import DELETION_SET

def collect_memory_metrics():
    \"\"\"Collect memory-related metrics for monitoring\"\"\"

    # Cache metrics
    cache_stats = cache_manager.get_global_stats()
    global_stats = cache_stats.pop('_global', {})

    metrics = {
        'cache_total_entries': global_stats.get('total_entries', 0),
        'cache_utilization_percent': global_stats.get('global_utilization_percent', 0),
        'cache_count': global_stats.get('total_caches', 0),
    }

    # Deletion tracker metrics
    with DELETION_SET._lock:
        metrics.update({
            'deletion_tracker_size': len(DELETION_SET._deletion_set),
            'deletion_tracker_timestamps': len(DELETION_SET._timestamps),
        })

    # Cache-specific metrics
    for cache_name, stats in cache_stats.items():
        prefix = f'cache_{cache_name}'
        metrics[f'{prefix}_size'] = stats.get('size', 0)
        metrics[f'{prefix}_expired'] = stats.get('expired_entries', 0)
        metrics[f'{prefix}_utilization'] = stats.get('utilization_percent', 0)

    return metrics
"""

    def test_custom_monitoring_metrics(self, run: Run, wall: Any) -> None:
        """000, "Custom Monitoring Metrics": sizes of caches and of the tracker under the documented names."""
        cache = cache_manager.get_cache("monitored", max_size=10, ttl=60)
        cache.set("a", 1)
        wall.advance(60)
        cache.set("b", 2)
        DELETION_SET.add(7)
        metrics = run(self.METRICS)["collect_memory_metrics"]()
        assert metrics["cache_total_entries"] == 2
        assert metrics["cache_count"] == len(cache_manager.names())
        assert metrics["deletion_tracker_size"] == metrics["deletion_tracker_timestamps"] == 1
        assert metrics["cache_monitored_size"] == 2
        assert metrics["cache_monitored_expired"] == 1
        assert metrics["cache_monitored_utilization"] == 20.0
        ours = memory.collect_memory_metrics()
        assert {name: ours[name] for name in metrics} == metrics, "oxicache's own says the same, and more"

    def test_health_check_endpoints(self, run: Run, wall: Any) -> None:
        """000, "Health Check Endpoints": healthy, and a warning once more than 50 entries are expired."""
        source = """
from django.http import JsonResponse
from django.views.decorators.cache import never_cache

@never_cache
def memory_health_check(request):
    \"\"\"Health check endpoint for memory monitoring\"\"\"

    metrics = collect_memory_metrics()

    # Determine health status
    health_status = 'healthy'
    warnings = []

    # Check cache utilization
    if metrics.get('cache_utilization_percent', 0) > 80:
        health_status = 'warning'
        warnings.append('High cache utilization')

    # Check deletion tracker size
    if metrics.get('deletion_tracker_size', 0) > 100:
        health_status = 'warning'
        warnings.append('Large deletion tracker')

    # Check for expired entries
    total_expired = sum(
        v for k, v in metrics.items()
        if k.endswith('_expired')
    )
    if total_expired > 50:
        health_status = 'warning'
        warnings.append('High number of expired cache entries')

    return JsonResponse({
        'status': health_status,
        'warnings': warnings,
        'metrics': metrics,
        'timestamp': timezone.now().isoformat()
    })
"""
        check = run(self.METRICS + source, timezone=timezone)["memory_health_check"]

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

    def test_cache_size_optimization(self, run: Run) -> None:
        """000, "Cache Size Optimization": each branch of settings.py is a valid set of settings, and takes effect."""
        from django.test import override_settings

        source = """
# For high-memory environments
if ENVIRONMENT == 'production-high-memory':
    RSR_CACHE_MAX_SIZE = 2000
    RSR_CACHE_TTL = 7200  # 2 hours
    RSR_DESCENDANTS_CHUNK_SIZE = 1000

# For memory-constrained environments
elif ENVIRONMENT == 'production-low-memory':
    RSR_CACHE_MAX_SIZE = 200
    RSR_CACHE_TTL = 900  # 15 minutes
    RSR_DESCENDANTS_CHUNK_SIZE = 100
    RSR_MAX_DESCENDANTS_PER_REQUEST = 200

# For development
else:
    RSR_CACHE_MAX_SIZE = 500
    RSR_CACHE_TTL = 3600  # 1 hour
    RSR_DESCENDANTS_CHUNK_SIZE = 500
"""
        made = []
        for environment in ("production-high-memory", "production-low-memory", "development"):
            names = run(source, ENVIRONMENT=environment)
            with override_settings(
                **{name: value for name, value in names.items() if name.startswith("RSR_")}
            ):
                cache: TTLCache[str, int] = TTLCache()
                made.append((cache.max_size, cache.ttl))
        assert made == [(2000, 7200), (200, 900), (500, 3600)]

    def test_graceful_degradation(self, run: Run) -> None:
        """000, "Graceful Degradation": the value comes from the cache, else from the function, whose error passes."""
        names = run("""
from akvo.rsr.cache_management import cache_manager

def get_data_with_fallback(key, compute_func, cache_name='default'):
    \"\"\"Get data with graceful cache fallback\"\"\"

    try:
        # Try cache first
        cache = cache_manager.get_cache(cache_name)
        result = cache.get(key)

        if result is not None:
            return result

    except Exception as e:
        logger.warning(f"Cache access failed for {key}: {e}")

    try:
        # Compute data
        result = compute_func()

        # Try to cache result
        try:
            cache.set(key, result)
        except Exception as e:
            logger.warning(f"Cache storage failed for {key}: {e}")

        return result

    except Exception as e:
        logger.error(f"Data computation failed for {key}: {e}")
        raise
""")
        get = names["get_data_with_fallback"]
        assert get("a", lambda: 1) == 1
        assert get("a", lambda: 2) == 1
        assert "default" in cache_manager.names(), "a cache of that name, not Django's"
        with pytest.raises(ZeroDivisionError):
            get("b", lambda: 1 // 0)
        assert get("b", lambda: 3) == 3

    @pytest.mark.parametrize("ours", [False, True])
    @pytest.mark.parametrize(("percent", "left"), [(80, 2), (86, 1), (91, 0)])
    def test_memory_pressure_handling(
        self, run: Run, wall: Any, monkeypatch: pytest.MonkeyPatch, percent: int, left: int, *, ours: bool
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
        handle = run("""
import psutil
from akvo.rsr.cache_management import cache_manager

def handle_memory_pressure():
    \"\"\"Handle high memory usage situations\"\"\"

    # Check system memory usage
    memory = psutil.virtual_memory()

    if memory.percent > 85:  # High memory usage
        logger.warning(f"High memory usage: {memory.percent}%")

        # Force cache cleanup
        cleaned_counts = cache_manager.cleanup_all()
        logger.info(f"Emergency cache cleanup: {cleaned_counts}")

        # If still high, clear some caches
        if memory.percent > 90:
            logger.warning("Critical memory usage, clearing caches")
            cache_manager.clear_all()
""")["handle_memory_pressure"]
        memory.handle_memory_pressure() if ours else handle()
        assert len(cache._cache) == left


class TestApiReference:
    """Document 001."""

    def test_get(self, run: Run) -> None:
        """001, "get(key)": computed once, found afterwards."""
        calls: list[int] = []
        source = """
value = cache.get('user_123')
if value is None:
    value = expensive_computation()
    cache.set('user_123', value)
"""
        cache: TTLCache[str, str] = TTLCache(max_size=500, ttl=1800)
        for _ in range(2):
            names = run(source, cache=cache, expensive_computation=lambda: calls.append(1) or "computed")
            assert names["value"] == "computed"
        assert calls == [1]

    def test_set_clear_and_stats(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        """001, "Constructor", "set(key, value)", "stats()", "clear()": the four examples in a row."""
        names = run("""
from akvo.rsr.cache_management import TTLCache
cache = TTLCache(max_size=500, ttl=1800)  # 500 entries, 30 min TTL
cache.set('user_123', {'name': 'John', 'email': 'john@example.com'})
stats = cache.stats()
print(f"Cache utilization: {stats['utilization_percent']:.1f}%")
cache.clear()  # Empty the cache completely
""")
        assert capsys.readouterr().out == "Cache utilization: 0.2%\n"
        assert len(names["cache"]) == 0

    def test_the_manager(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        """001, "get_cache", "cleanup_all()", "get_global_stats()", "clear_all()": the examples in a row."""
        gc.collect()  # what other tests' aliases left behind is counted until then
        names = run("""
from akvo.rsr.cache_management import cache_manager
user_cache = cache_manager.get_cache('users', max_size=500, ttl=1800)
project_cache = cache_manager.get_cache('projects', max_size=200, ttl=3600)
user_cache.set('user_1', 'Ann')
cleanup_counts = cache_manager.cleanup_all()
total_cleaned = sum(count for count in cleanup_counts.values() if count >= 0)
print(f"Cleaned {total_cleaned} expired entries")
stats = cache_manager.get_global_stats()
global_stats = stats['_global']
print(f"Total caches: {global_stats['total_caches']}")
print(f"Global utilization: {global_stats['global_utilization_percent']:.1f}%")
cache_manager.clear_all()  # Nuclear option - clears everything
""")
        first, second, third = capsys.readouterr().out.splitlines()
        assert first == "Cleaned 0 expired entries"
        assert second == f"Total caches: {len(cache_manager.names())}"
        assert third.startswith("Global utilization: ")
        assert names["user_cache"].get("user_1") is None

    def test_the_decorators(self, run: Run) -> None:
        """001, "@ttl_cached_property" and "@cached_method": both example classes."""
        names = run("""
from akvo.rsr.cache_management import ttl_cached_property, cached_method

class WithProperty:
    @ttl_cached_property(ttl=1800, max_size=100)
    def expensive_calculation(self):
        return sum(self.complex_data_processing())

    # Clear cache manually
    def forget(self):
        del self.expensive_calculation

class WithMethod:
    @cached_method(ttl=900, max_size=50)
    def expensive_query(self, filter_param, limit=10):
        return self.objects.filter(field=filter_param)[:limit]
""")
        model = names["WithProperty"]()
        model.complex_data_processing = lambda: [1, 2, 3]
        assert model.expensive_calculation == 6
        model.complex_data_processing = lambda: [4]
        assert model.expensive_calculation == 6
        model.forget()
        assert model.expensive_calculation == 4
        queried = names["WithMethod"]()
        queried.objects = Queryset(record(field="x", number=number) for number in range(20))
        assert [item.number for item in queried.expensive_query("x")] == list(range(10))
        queried.objects = Queryset()
        assert len(queried.expensive_query("x", limit=10)) == 10

    def test_the_tracker(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        """001, "add", "__contains__", "discard", "force_cleanup()": the examples, around a deletion."""
        seen: list[bool] = []
        run(
            """
from akvo.rsr.models.project import DELETION_SET

def handler(project):
    if project.id in DELETION_SET:
        return  # Skip signal processing
    processed.append(project.id)

DELETION_SET.add(project.id)
try:
    project.delete()
    handler(project)
finally:
    DELETION_SET.discard(project.id)
handler(project)
DELETION_SET.discard(project.id)  # Safe to call even if not tracked
cleaned_count = DELETION_SET.force_cleanup()
print(f"Removed {cleaned_count} stale deletion entries")
""",
            project=record(id=3, delete=lambda: seen.append(3 in DELETION_SET)),
            processed=(processed := []),
        )
        assert (seen, processed) == ([True], [3])
        assert capsys.readouterr().out == "Removed 0 stale deletion entries\n"

    def test_error_recovery(self, run: Run) -> None:
        """001, "Error Recovery": both patterns, with a working cache and with one that fails."""
        cache_failures = """
try:
    result = cache.get(key)
    if result is None:
        result = fallback_computation()
        cache.set(key, result)
except Exception as e:
    logger.warning(f"Cache operation failed: {e}")
    result = fallback_computation()
"""
        for cache in (TTLCache(max_size=10, ttl=60), None):
            assert run(cache_failures, cache=cache, key="a", fallback_computation=lambda: 9)["result"] == 9
        run(
            """
try:
    DELETION_SET.add(project_id)
    # ... deletion logic
except Exception as e:
    logger.error(f"Deletion tracking failed: {e}")
finally:
    DELETION_SET.discard(project_id)  # Always cleanup
""",
            DELETION_SET=DELETION_SET,
            project_id=4,
        )
        assert 4 not in DELETION_SET
