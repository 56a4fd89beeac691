"""The examples of document 000 (akvo) that read many rows, as they are printed, on a database; and oxicache's way.

What an example leaves out (its imports, its own functions and models) stands in the prelude of its test. Names under
`akvo` are those of oxicache.compat.akvo_rsr. The rest of the document: test_akvo_examples.py.
"""

# Long because each example is quoted whole, with what it needs to run.

import json
import logging
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from akvo_texts import PROCESS_LARGE_DATASET, WARM_CRITICAL_CACHES
from django.db import models, transaction
from django.db.models import Q
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import StreamingHttpResponse
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from project.programmes.models import Indicator, Organisation, Period, Programme, Result
from rest_framework import serializers, viewsets
from sessions import rolled_back

from oxicache import cache_manager
from oxicache.compat import akvo_rsr
from oxicache.django.chunking import iter_rows
from oxicache.django.hierarchy import aggregate_upwards, descendants_response
from oxicache.django.streaming import should_stream_response
from oxicache.django.viewsets import StreamedListMixin

Run = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _akvo(monkeypatch: pytest.MonkeyPatch, django_databases: None) -> Iterator[None]:
    """The module names that the document imports from; caches and rows that an example makes are removed again."""
    for name in ("akvo", "akvo.rsr", "akvo.rsr.models"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name in ("akvo.rsr.cache_management", "akvo.rsr.models.project"):
        monkeypatch.setitem(sys.modules, name, akvo_rsr)
    before = set(cache_manager.names())
    with rolled_back():
        yield
    for name in set(cache_manager.names()) - before:
        cache_manager.remove(name)


@pytest.fixture
def run() -> Run:
    """Run an example with a prelude of names; return its names."""

    def execute(source: str, **prelude: Any) -> dict[str, Any]:
        names = {"__name__": "examples", "logger": logging.getLogger("example"), **prelude}
        exec(compile(source, "<example>", "exec"), names)  # noqa: S102 -- the examples are constants of this file
        return names

    return execute


def programmes(count: int, **fields: Any) -> list[Programme]:
    return Programme.objects.bulk_create(Programme(title=f"p{number}", **fields) for number in range(count))


class TestLargeDatasets:
    def test_process_large_dataset(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        """000, "Large Dataset Processing": every row is processed, with a line for each five thousand."""
        programmes(5001)
        names = run(PROCESS_LARGE_DATASET, expensive_processing=lambda item: item.title)
        with caplog.at_level(logging.INFO, logger="example"):
            found = list(names["process_large_dataset"](Programme.objects.order_by("pk")))
        assert found == [f"p{number}" for number in range(5001)]
        assert caplog.messages == ["Processed 5000 items"]
        assert len(cache_manager.get_cache("large_dataset_processing")) == 500

    def test_rows_in_chunks_are_all_of_them(self, run: Run) -> None:
        """Where processing takes a row out of the queryset, the slices skip rows and iter_rows does not."""

        def archive(item: Programme) -> str:
            Programme.objects.filter(pk=item.pk).update(status="H")
            return item.title

        active = Programme.objects.filter(status="A").order_by("pk")
        programmes(2500)
        process = run(PROCESS_LARGE_DATASET, expensive_processing=archive)["process_large_dataset"]
        assert len(list(process(active))) == 1500
        Programme.objects.update(status="A")
        assert [archive(item) for item in iter_rows(active, 1000)] == [f"p{number}" for number in range(2500)]


class Serializer(serializers.ModelSerializer):  # type: ignore[misc]
    class Meta:
        model = Programme
        fields = ("id", "title")


class TestStreaming:
    VIEWSET = """
from django.http import StreamingHttpResponse
from akvo.rsr.cache_management import cached_method

class MemoryEfficientViewSet(viewsets.ModelViewSet):

    @cached_method(ttl=300, max_size=20)
    def get_expensive_data(self, filters):
        \"\"\"Cache expensive data queries\"\"\"
        return self.get_queryset().complex_filter(**filters)

    def list(self, request):
        \"\"\"Memory-efficient list with streaming response\"\"\"
        if self.should_stream_response(request):
            return self.stream_response(request)
        return super().list(request)

    def should_stream_response(self, request):
        \"\"\"Determine if response should be streamed\"\"\"
        # Stream for large datasets
        total_count = self.get_queryset().count()
        return total_count > 10000

    def stream_response(self, request):
        \"\"\"Stream large responses to avoid memory issues\"\"\"
        def generate_data():
            queryset = self.get_queryset()
            chunk_size = 100

            for offset in range(0, queryset.count(), chunk_size):
                chunk = queryset[offset:offset + chunk_size]
                serializer = self.get_serializer(chunk, many=True)

                for item in serializer.data:
                    yield json.dumps(item) + '\\n'

        return StreamingHttpResponse(
            generate_data(),
            content_type='application/json'
        )
"""

    def answers(self, viewset: Any) -> Any:
        class View(viewset):  # type: ignore[misc]
            queryset = Programme.objects.order_by("pk")
            serializer_class = Serializer

        response = View.as_view({"get": "list"})(RequestFactory().get("/"))
        return response if response.streaming else response.render()

    def test_memory_efficient_viewset(self, run: Run) -> None:
        """000, "Memory-Efficient API Views": as printed, and the mixin in its place gives the same rows and type."""
        printed = run(self.VIEWSET, viewsets=viewsets, json=json)["MemoryEfficientViewSet"]
        mixed = type("Mixed", (StreamedListMixin, viewsets.ModelViewSet), {})
        programmes(10_000)
        for viewset in (printed, mixed):
            response = self.answers(viewset)
            assert not response.streaming, "exactly ten thousand are not more"
            assert len(json.loads(response.content)) == 10_000
        programmes(1)
        found = []
        for viewset in (printed, mixed):
            response = self.answers(viewset)
            assert isinstance(response, StreamingHttpResponse)
            assert response["Content-Type"] == "application/json"
            found.append([json.loads(line) for line in b"".join(response).splitlines()])
        assert found[0] == found[1]
        assert len(found[0]) == 10_001

    def test_an_example_that_overrides_the_mixin_is_what_it_asks(self, run: Run) -> None:
        """Over the mixin the example streams past ten thousand rows still, whatever stream_limit says."""
        source = self.VIEWSET.replace("viewsets.ModelViewSet", "Base")
        base = type("Base", (StreamedListMixin, viewsets.ModelViewSet), {"stream_limit": 2})
        programmes(5)
        assert self.answers(base).streaming
        assert not self.answers(run(source, Base=base, json=json)["MemoryEfficientViewSet"]).streaming

    def test_the_count_is_bounded(self) -> None:
        """000's `total_count > 10000` counts all rows; should_stream_response stops at the limit."""
        programmes(30)
        from django.db import connection

        with CaptureQueriesContext(connection) as queries:
            assert should_stream_response(Programme.objects.all(), 20)
        assert "LIMIT 21" in queries.captured_queries[0]["sql"]


class TestWarmingAndInvalidation:
    def test_warm_critical_caches(self, run: Run) -> None:
        """000, "Cache Warming": the first hundred active projects are computed, once."""
        programmes(120)
        programmes(5, status="H")
        computed: list[int] = []

        def compute_project_statistics(project: Programme) -> dict[str, str]:
            computed.append(project.id)
            return {"title": project.title}

        warm = run(
            WARM_CRITICAL_CACHES,
            Project=Programme,
            compute_project_statistics=compute_project_statistics,
        )["warm_critical_caches"]
        warm()
        warm()
        assert len(computed) == len(set(computed)) == 100

    def test_invalidate_project_caches(self, run: Run) -> None:
        """000, "Cache Invalidation Patterns": connected to Django's own signals, a save drops it and its parent."""
        [parent, other] = programmes(2)
        child = Programme.objects.create(title="child", parent=parent)
        kept = run(
            """
from django.db.models.signals import post_save, post_delete
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
""",
            receiver=receiver,
            Project=Programme,
        )["invalidate_project_caches"]
        try:
            for name in ("project_aggregations", "project_statistics", "project_hierarchy"):
                for project in (parent, other, child):
                    cache_manager.get_cache(name).set(f"project_{project.id}", name)
            child.save()
            for name in ("project_aggregations", "project_statistics", "project_hierarchy"):
                assert cache_manager.get_cache(name).keys() == [f"project_{other.id}"]
        finally:
            assert post_save.disconnect(kept, sender=Programme)
            assert not post_delete.disconnect(kept, sender=Programme)


class TestHierarchies:
    def tree(self) -> Programme:
        """A root, three below it, two below each of those, with one result and period each."""
        organisation = Organisation.objects.create(name="Akvo")
        root = Programme.objects.create(title="root", primary_organisation=organisation)
        for number in range(3):
            child = Programme.objects.create(title=f"child {number}", parent=root)
            for _ in range(2):
                Programme.objects.create(title=f"grandchild {number}", parent=child)
        for programme in Programme.objects.all():
            indicator = Indicator.objects.create(result=Result.objects.create(project=programme))
            Period.objects.create(indicator=indicator)
        return root

    def test_get_project_hierarchy_efficient(self, run: Run) -> None:
        """000, "Database Query Optimization": two levels with all that belongs to them; the same rows in chunks."""
        get = run(
            """
def get_project_hierarchy_efficient(project_id):
    \"\"\"Memory-efficient project hierarchy retrieval\"\"\"

    # Use select_related and prefetch_related strategically
    queryset = Project.objects.select_related(
        'parent',
        'primary_organisation'
    ).prefetch_related(
        'children__children',  # Only 2 levels deep
        'results__indicators__periods'
    ).filter(
        Q(id=project_id) | Q(parent_id=project_id) | Q(parent__parent_id=project_id)
    )

    # Use iterator() for large datasets to avoid caching all objects
    if queryset.count() > 1000:
        return queryset.iterator(chunk_size=100)
    else:
        return queryset.all()
""",
            Project=Programme,
            Q=Q,
        )["get_project_hierarchy_efficient"]
        root = self.tree()
        few = get(root.pk)
        assert isinstance(few, models.QuerySet)
        assert len(few) == 10
        programmes(1000, parent=root)
        many = list(get(root.pk))
        assert len(many) == 1010
        chunked = list(iter_rows(few.all(), 100))
        assert [row.pk for row in chunked] == sorted(row.pk for row in many)
        with rolled_back(), CaptureQueriesContext(transaction.get_connection()) as queries:
            assert len(chunked[0].results.all()[0].indicators.all()[0].periods.all()) == 1
            assert len(chunked[0].children.all()[0].children.all()) == 2
        assert not [query for query in queries.captured_queries if "SELECT" in query["sql"]], (
            "all was fetched along"
        )

    def test_the_children_view(self) -> None:
        """SETTLED, "children view": chunked only past RSR_MAX_DESCENDANTS_PER_REQUEST, truncated only past it."""
        root = self.tree()
        for limit, headers in [
            (9, {"X-Children-Count": "9", "X-Memory-Protection": "standard"}),
            (
                8,
                {
                    "X-Children-Count": "8",
                    "X-Memory-Protection": "chunked",
                    "X-Total-Processed": "9",
                    "X-Truncated": "true",
                },
            ),
        ]:
            with override_settings(RSR_MAX_DESCENDANTS_PER_REQUEST=limit, RSR_DESCENDANTS_CHUNK_SIZE=3):
                response = descendants_response(root, Serializer, max_depth=2)
            assert isinstance(json.loads(response.content), list)
            assert {name: value for name, value in response.items() if name.startswith("X-")} == headers

    def test_an_aggregation_of_periods(self, caplog: pytest.LogCaptureFixture) -> None:
        """SETTLED, "_aggregate_period_value": values are summed upwards, and an error in the middle stops nothing."""
        indicator = Indicator.objects.create(result=Result.objects.create(project=self.tree()))
        periods: list[Period] = []
        for _ in range(4):
            periods.append(
                Period.objects.create(indicator=indicator, parent_period=periods[-1] if periods else None)
            )
        lowest = Period.objects.create(indicator=indicator, parent_period=periods[-1], value=5)

        def aggregate(period: Period) -> None:
            found = period.child_periods.aggregate(total=models.Sum("value"))["total"]
            if found is not None:
                period.value = found
                period.save()

        assert not aggregate_upwards(lowest, aggregate, "parent_period").errors
        assert set(Period.objects.filter(indicator=indicator).values_list("value", flat=True)) == {5}
        assert not caplog.messages
        with override_settings(RSR_MAX_AGGREGATION_DEPTH=2):
            report = aggregate_upwards(lowest, aggregate, "parent_period")
        assert len(report.computed) == 2
        assert caplog.messages[0].startswith("Maximum aggregation depth (2) reached")
        Period.objects.filter(pk=periods[0].pk).update(parent_period=periods[2])
        caplog.clear()
        aggregate_upwards(Period.objects.get(pk=lowest.pk), aggregate, "parent_period")
        assert [message.partition(":")[0] for message in caplog.messages] == ["Circular reference detected"]
