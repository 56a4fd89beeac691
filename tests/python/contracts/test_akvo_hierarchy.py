"""The examples of document 000 (akvo) that read many rows, on a database; and oxicache's way.

The rest of the document: test_akvo_examples.py.
"""

import json
import logging
import types
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models, transaction
from django.db.models import Q
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import StreamingHttpResponse
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from document_pages import Example, example
from project.programmes.models import Indicator, Organisation, Period, Programme, Result
from rest_framework import serializers, viewsets
from sessions import rolled_back

from oxicache import cache_manager
from oxicache.django.chunking import iter_rows
from oxicache.django.hierarchy import aggregate_upwards, descendants_response
from oxicache.django.streaming import should_stream_response
from oxicache.django.viewsets import StreamedListMixin


@pytest.fixture(autouse=True)
def _akvo(django_databases: None) -> Iterator[None]:
    """Caches and rows that an example makes are removed again."""
    before = set(cache_manager.names())
    with rolled_back():
        yield
    for name in set(cache_manager.names()) - before:
        cache_manager.remove(name)


def run(shown: Example, **prelude: Any) -> dict[str, Any]:
    """Run an example that says something to a logger."""
    return shown.run(logger=logging.getLogger("example"), **prelude)


def programmes(count: int, **fields: Any) -> list[Programme]:
    return Programme.objects.bulk_create(Programme(title=f"p{number}", **fields) for number in range(count))


class TestLargeDatasets:
    @example("000", "Large Dataset Processing")
    def test_process_large_dataset(self, shown: Example, caplog: pytest.LogCaptureFixture) -> None:
        """000, "Large Dataset Processing": every row is processed, with a line for each five thousand."""
        programmes(5001)
        names = run(shown, expensive_processing=lambda item: item.title)
        with caplog.at_level(logging.INFO, logger="example"):
            found = list(names["process_large_dataset"](Programme.objects.order_by("pk")))
        assert found == [f"p{number}" for number in range(5001)]
        assert caplog.messages == ["Processed 5000 items"]
        assert len(cache_manager.get_cache("large_dataset_processing")) == 500

    @example("000", "Large Dataset Processing")
    def test_rows_in_chunks_are_all_of_them(self, shown: Example) -> None:
        """Where processing takes a row out of the queryset, the slices skip rows and iter_rows does not."""

        def archive(item: Programme) -> str:
            Programme.objects.filter(pk=item.pk).update(status="H")
            return item.title

        active = Programme.objects.filter(status="A").order_by("pk")
        programmes(2500)
        process = run(shown, expensive_processing=archive)["process_large_dataset"]
        assert len(list(process(active))) == 1500
        Programme.objects.update(status="A")
        assert [archive(item) for item in iter_rows(active, 1000)] == [f"p{number}" for number in range(2500)]


class Serializer(serializers.ModelSerializer):  # type: ignore[misc]
    class Meta:
        model = Programme
        fields = ("id", "title")


class TestStreaming:
    def answers(self, viewset: Any) -> Any:
        class View(viewset):  # type: ignore[misc]
            queryset = Programme.objects.order_by("pk")
            serializer_class = Serializer

        response = View.as_view({"get": "list"})(RequestFactory().get("/"))
        return response if response.streaming else response.render()

    @example("000", "Memory-Efficient API Views")
    def test_memory_efficient_viewset(self, shown: Example) -> None:
        """000, "Memory-Efficient API Views": as printed, and the mixin in its place gives the same rows and type."""
        printed = run(shown, viewsets=viewsets, json=json)["MemoryEfficientViewSet"]
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

    @example("000", "Memory-Efficient API Views")
    def test_an_example_that_overrides_the_mixin_is_what_it_asks(self, shown: Example) -> None:
        """Over the mixin the example streams past ten thousand rows still, whatever stream_limit says."""
        base = type("Base", (StreamedListMixin, viewsets.ModelViewSet), {"stream_limit": 2})
        programmes(5)
        assert self.answers(base).streaming
        assert not self.answers(
            run(shown, viewsets=types.SimpleNamespace(ModelViewSet=base), json=json)["MemoryEfficientViewSet"]
        ).streaming

    def test_the_count_is_bounded(self) -> None:
        """000's `total_count > 10000` counts all rows; should_stream_response stops at the limit."""
        programmes(30)
        from django.db import connection

        with CaptureQueriesContext(connection) as queries:
            assert should_stream_response(Programme.objects.all(), 20)
        assert "LIMIT 21" in queries.captured_queries[0]["sql"]


class TestWarmingAndInvalidation:
    @example("000", "Cache Warming")
    def test_warm_critical_caches(self, shown: Example) -> None:
        """000, "Cache Warming": the first hundred active projects are computed, once."""
        programmes(120)
        programmes(5, status="H")
        computed: list[int] = []

        def compute_project_statistics(project: Programme) -> dict[str, str]:
            computed.append(project.id)
            return {"title": project.title}

        warm = run(
            shown,
            Project=Programme,
            compute_project_statistics=compute_project_statistics,
        )["warm_critical_caches"]
        warm()
        warm()
        assert len(computed) == len(set(computed)) == 100

    @example("000", "Cache Invalidation Patterns")
    def test_invalidate_project_caches(self, shown: Example) -> None:
        """000, "Cache Invalidation Patterns": connected to Django's own signals, a save drops it and its parent."""
        [parent, other] = programmes(2)
        child = Programme.objects.create(title="child", parent=parent)
        kept = run(
            shown,
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

    @example("000", "Database Query Optimization")
    def test_get_project_hierarchy_efficient(self, shown: Example) -> None:
        """000, "Database Query Optimization": two levels with all that belongs to them; the same rows in chunks."""
        get = run(
            shown,
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
