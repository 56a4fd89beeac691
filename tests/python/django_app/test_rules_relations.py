"""What rules hear of many-to-many relations, and cascades to rows that refer to one."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext, isolate_apps
from project.catalogue.models import Author, Item, Label, Topic
from ruled import Register, keys_in
from sessions import Words

from oxicache.django.rules import rules_stats
from oxicache.invalidation import Effect


class TestRelations:
    @pytest.fixture
    def rows(self) -> Iterator[tuple[Item, Label, Label]]:
        """An item and two labels."""
        item = Item.objects.create(title="i")
        labels = [Label.objects.create(slug=f"rules{number}") for number in range(2)]
        yield item, labels[0], labels[1]
        item.delete()
        for label in labels:
            label.delete()

    @pytest.fixture
    def _rules(self, rows: Any, register: Register) -> None:
        register("catalogue.Item", keys="item:{pk}", on="m2m")
        register("catalogue.Label", keys="label:{pk}", on="m2m")

    @pytest.mark.usefixtures("_rules")
    def test_both_sides_and_both_directions(
        self, rows: tuple[Item, Label, Label], carried: list[Effect]
    ) -> None:
        """An item given a label is a label given an item."""
        item, one, other = rows
        both = {f"item:{item.pk}", f"label:{one.pk}", f"label:{other.pk}"}
        item.labels.add(one, other)
        assert keys_in(carried) == both
        item.labels.add(one)
        assert keys_in(carried) == set(), "it had it already"
        one.item_set.remove(item)
        assert keys_in(carried) == {f"item:{item.pk}", f"label:{one.pk}"}
        item.labels.set([one])
        assert keys_in(carried) == both
        one.item_set.clear()
        assert keys_in(carried) == {f"item:{item.pk}", f"label:{one.pk}"}
        item.labels.set([one, other], clear=True)
        assert keys_in(carried) == both
        item.labels.clear()
        assert keys_in(carried) == both

    def test_what_was_cleared_is_asked_for_by_rules_that_differ_by_row_only(
        self, rows: tuple[Item, Label, Label], register: Register
    ) -> None:
        """One query more, before the rows are gone."""
        item, one, _ = rows

        def queries() -> int:
            item.labels.set([one])
            with CaptureQueriesContext(connection) as found:
                item.labels.clear()
            return len([query for query in found if query["sql"].startswith("SELECT")])

        before = queries()
        register("catalogue.Label", keys="labels", on="m2m")
        assert queries() == before
        register("catalogue.Label", keys="label:{pk}", on="m2m")
        assert queries() == before + 1

    def test_a_relation_of_a_model_with_itself(self, register: Register, carried: list[Effect]) -> None:
        """Symmetrical or not: both rows."""
        topics = [Topic.objects.create(name=f"t{number}") for number in range(2)]
        register("catalogue.Topic", keys="topic:{pk}", on="m2m")
        both = {f"topic:{topic.pk}" for topic in topics}
        topics[0].narrower.add(topics[1])
        assert keys_in(carried) == both
        topics[1].broader.clear()
        assert keys_in(carried) == both
        topics[0].related.add(topics[1])
        assert keys_in(carried) == both
        topics[1].related.clear()
        assert keys_in(carried) == both
        for topic in topics:
            topic.delete()


class TestCascades:
    def test_rows_that_refer_to_it_have_their_rules_applied(
        self, register: Register, carried: list[Effect]
    ) -> None:
        """One level of reverse foreign keys, and nobody else's rows."""
        author, other = Author.objects.create(name="a"), Author.objects.create(name="b")
        item = Item.objects.create(title="i", author=author)
        Item.objects.create(title="j", author=other)
        register("catalogue.Author", cascade=True, keys="author:{pk}")
        register("catalogue.Item", keys=["item:{pk}", "items"])
        words = Words("rows:catalogue.item", "model:catalogue.item")
        author.save()
        assert keys_in(carried) == {
            f"author:{author.pk}",
            f"author:~uuid({author.pk})",
            f"item:{item.pk}",
            "items",
        }
        assert words.moved == ["rows:catalogue.item", "model:catalogue.item"]
        author.delete()
        other.delete()

    def test_without_rules_that_differ_by_row_nothing_is_asked_for(self, register: Register) -> None:
        """A save costs the queries of a save."""
        author = Author.objects.create(name="a")

        def queries() -> int:
            with CaptureQueriesContext(connection) as found:
                author.save()
            return len(found)

        before = queries()
        register("catalogue.Author", cascade=True)
        register("catalogue.Item", keys="items")
        assert queries() == before
        author.delete()

    def test_a_row_that_refers_to_itself_is_no_cycle(
        self, register: Register, carried: list[Effect], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A tree: the children of the one that was saved, and no grandchildren."""
        whole = Item.objects.create(title="w")
        part = Item.objects.create(title="p", whole=whole)
        deeper = Item.objects.create(title="d", whole=part)
        register("catalogue.Item", cascade=True, keys="item:{pk}")
        whole.save()
        found = keys_in(carried)
        assert {f"item:{whole.pk}", f"item:{part.pk}"} <= found
        assert f"item:{deeper.pk}" not in found
        assert not caplog.records
        whole.delete()

    @isolate_apps("project.catalogue")
    def test_a_cycle_is_cut_logged_once_and_counted(
        self, register: Register, carried: list[Effect], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two models that refer to each other and cascade to each other."""

        class Head(models.Model):
            tail = models.ForeignKey("Tail", models.CASCADE, null=True)

            class Meta:
                app_label = "catalogue"

        class Tail(models.Model):
            head = models.ForeignKey(Head, models.CASCADE, null=True)

            class Meta:
                app_label = "catalogue"

        register(Head, cascade=True, keys="heads", name="head")
        register(Tail, cascade=True, keys="tails", name="tail")
        for _ in range(3):
            post_save.send(Head, instance=Head(pk=1), created=False, using="default")
        assert keys_in(carried) == {"heads", "tails"}
        told = [record.message for record in caplog.records]
        assert len(told) == 1
        assert "catalogue.Head -> catalogue.Tail -> catalogue.Head" in told[0]
        assert rules_stats()["tail"]["cycles"] == 3
