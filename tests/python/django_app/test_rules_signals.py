"""When rules apply: which models get receivers, which changes they hear of, and that it takes effect at the commit."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.db import IntegrityError, connection
from django.db.models.signals import m2m_changed, post_save
from django.test.utils import CaptureQueriesContext, isolate_apps, override_settings
from project.catalogue.models import Author, Book, Dozen, Item, Topic
from ruled import Register, keys_in, listens
from sessions import Words

from oxicache.django import rulebook
from oxicache.django.rules import changed_rows
from oxicache.invalidation import Effect

pytestmark = pytest.mark.usefixtures("no_rows")


class TestReceivers:
    def test_a_model_without_rules_has_none(self, register: Register) -> None:
        """So that saving it costs nothing, and deleting many stays one query."""
        assert listens(Group) == listens(Permission) == listens(ContentType) == (False, False, False)
        register("auth.User", keys="k")
        assert listens(Group) == listens(ContentType) == (False, False, False)

    def test_a_model_has_those_that_its_rules_need_and_as_long_as_they_do(self, register: Register) -> None:
        """A rule of saves keeps fast deletes."""
        first = register("auth.Group", keys="k", on="save")
        assert listens(Group) == (True, False, False)
        second = register("auth.Group", keys="k", on="delete")
        assert listens(Group) == (True, True, False)
        first()
        assert listens(Group) == (False, True, False)
        second()
        assert listens(Group) == (False, False, False)
        assert not m2m_changed.has_listeners(Group.permissions.through)
        third = register("auth.Permission", keys="k", on="m2m")
        assert m2m_changed.has_listeners(Group.permissions.through)
        third()
        assert not m2m_changed.has_listeners(Group.permissions.through)

    def test_without_rules_that_delete_a_queryset_is_deleted_by_one_query(self, register: Register) -> None:
        """Receivers of deletions would make Django load the rows."""
        register("contenttypes.ContentType", keys="k", on="save")
        with CaptureQueriesContext(connection) as queries:
            Topic.objects.filter(name="none").delete()
        assert not any("SELECT" in query["sql"] and "LIMIT" not in query["sql"] for query in queries[1:])

    @isolate_apps("project.catalogue")
    def test_a_child_made_later_is_heard_of(self, register: Register, carried: list[Effect]) -> None:
        """And a proxy of it."""
        register("auth.Group", keys="k:{pk}")

        class Proxy(Group):
            class Meta:
                proxy = True
                app_label = "catalogue"

        assert listens(Proxy) == (True, True, False)
        post_save.send(Proxy, instance=Proxy(pk=3), created=False, using="default")
        assert keys_in(carried) == {"k:3"}


class TestChanges:
    def test_every_way_to_save_and_delete_one(self, register: Register, carried: list[Effect]) -> None:
        """`create`, `save`, `get_or_create`, `update_or_create`, `delete` of a row and of a queryset."""
        register("auth.Group", keys="{name}", on=["save", "delete"])
        one = Group.objects.create(name="rules1")
        assert keys_in(carried) == {"rules1"}
        one.name = "rules2"
        one.save(update_fields=["name"])
        assert keys_in(carried) == {"rules1", "rules2"}
        Group.objects.get_or_create(name="rules3")
        assert keys_in(carried) == {"rules3"}
        Group.objects.get_or_create(name="rules3")
        assert keys_in(carried) == set()
        Group.objects.update_or_create(name="rules3", defaults={"name": "rules4"})
        assert keys_in(carried) == {"rules3", "rules4"}
        one.delete()
        assert keys_in(carried) == {"rules2"}
        Group.objects.filter(name="rules4").delete()
        assert keys_in(carried) == {"rules4"}

    def test_created_and_updated_are_told_apart(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """As the operations of document 004 are."""
        register("auth.Group", keys="created", on="create")
        register("auth.Group", keys="updated", on="update")
        group.save()
        assert keys_in(carried) == {"updated"}
        Group.objects.create(name="rules1")
        assert keys_in(carried) == {"created"}

    def test_fixtures_count(self, register: Register, carried: list[Effect]) -> None:
        """`loaddata` sends raw saves."""
        register("auth.Group", keys="k:{pk}")
        text = '[{"model": "auth.group", "pk": 77, "fields": {"name": "rules77"}}]'
        for loaded in serializers.deserialize("json", text):
            loaded.save()
        assert keys_in(carried) == {"k:77"}

    def test_a_row_that_goes_with_another(self, register: Register, carried: list[Effect]) -> None:
        """Django's own cascade sends a signal for each."""
        author = Author.objects.create(name="a")
        item = Item.objects.create(title="i", author=author)
        register("catalogue.Item", keys="k:{pk}", on="delete")
        author.delete()
        assert keys_in(carried) == {f"k:{item.pk}"}

    def test_a_deferred_row_is_saved_without_a_query_more(self, register: Register, group: Group) -> None:
        """What is not loaded stays so."""
        item = Item.objects.create(title="i", price=1)

        def queries() -> int:
            with CaptureQueriesContext(connection) as found:
                Item.objects.only("price").get(pk=item.pk).save()
            return len(found)

        before = queries()
        register("catalogue.Item", keys=["k:{title}", "k:{pk}"], tags="t:{author_id}")
        assert queries() == before
        item.delete()

    def test_a_proxy_and_a_child(self, register: Register, carried: list[Effect]) -> None:
        """The model's rules are theirs, and a parent's deletion tells of both."""
        register("catalogue.Item", keys="item:{pk}")
        register("catalogue.Book", keys="book:{pk}:{pages}")
        dozen = Dozen.objects.create(title="d")
        assert keys_in(carried) == {f"item:{dozen.pk}"}
        book = Book.objects.create(title="b", pages=2)
        pk = book.pk
        assert keys_in(carried) == {f"item:{pk}", f"book:{pk}:2"}
        Item.objects.get(pk=pk).save()
        assert keys_in(carried) == {f"item:{pk}", f"book:{pk}:2"}
        Item.objects.get(pk=pk).delete()
        assert keys_in(carried) == {f"item:{pk}", f"book:{pk}:2"}
        dozen.delete()

    def test_switched_off_nothing_is_invalidated(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """CACHE_INVALIDATION_ENABLED of document 003; rows of decorated members stay right all the same."""
        register("auth.Group", keys="k")
        register("catalogue.Item", keys="k")
        with override_settings(CACHE_INVALIDATION_ENABLED=False):
            group.save()
            changed_rows(Group, None)
            words = Words("model:catalogue.item")
            Item.objects.create(title="x").delete()
            assert words.moved == ["model:catalogue.item"]
        assert carried == []
        with override_settings(OXICACHE={"INVALIDATION_ENABLED": False}):
            group.save()
        assert carried == []
        group.save()
        assert keys_in(carried) == {"k"}

    def test_statements_are_told_by_who_makes_them(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """`update()` sends no signal: `changed_rows` is for the managers that know."""
        register("auth.Group", keys=["k:{pk}"], on="bulk")
        Group.objects.filter(pk=group.pk).update(name="rules2")
        assert carried == []
        changed_rows(Group, [group.pk], "default")
        assert keys_in(carried) == {f"k:{group.pk}"}

    def test_a_rule_that_fails_lets_the_save_go_on(
        self, register: Register, carried: list[Effect], group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever fails: its callable, the database it asks, the rules themselves."""
        register("auth.Group", keys=lambda group: group.nothing)
        register("auth.Group", keys="k")
        group.save()
        assert keys_in(carried) == {"k"}
        monkeypatch.setattr(rulebook, "effect_of_instance", lambda *_: 1 / 0)
        group.save()


class TestBefore:
    """A row that moves from one list to another changes both."""

    @pytest.fixture
    def item(self) -> Iterator[Item]:
        """An item of some price."""
        item = Item.objects.create(title="t", price=1)
        yield item
        item.delete()

    @pytest.mark.parametrize(
        "source", ["p:{price}", lambda item: f"p:{item.price}"], ids=["template", "callable"]
    )
    def test_what_it_was_counts_too(
        self, register: Register, carried: list[Effect], item: Item, source: Any
    ) -> None:
        """Whether it was read or made by hand, and whatever others did to it meanwhile."""
        register("catalogue.Item", keys=source)
        item.price = 2
        item.save()
        assert keys_in(carried) == {"p:1", "p:2"}
        Item(pk=item.pk, title="t", price=3).save()
        assert keys_in(carried) == {"p:2", "p:3"}
        item.save()
        assert keys_in(carried) == {"p:3", "p:2"}

    def test_it_is_asked_for_only_where_it_matters(self, register: Register, item: Item) -> None:
        """Not for keys alone, not for rows that are new, not for columns that are not saved."""

        def queries(save: Callable[[], object]) -> int:
            with CaptureQueriesContext(connection) as found:
                save()
            return len([query for query in found if query["sql"].startswith("SELECT")])

        register("catalogue.Item", keys="k:{pk}", tags="{tenant}")
        assert queries(item.save) == 0
        register("catalogue.Item", keys="p:{price}", previous=False)
        assert queries(item.save) == 0
        register("catalogue.Item", keys="a:{author_id}")
        register("catalogue.Author", keys="n:{name}")
        assert queries(item.save) == 1
        assert queries(lambda: item.save(update_fields=["title"])) == 0
        assert queries(lambda: item.save(update_fields=["author"])) == 1
        assert queries(lambda: Author.objects.create(name="new")) == 0
        with override_settings(CACHE_INVALIDATION_ENABLED=False):
            assert queries(item.save) == 0

    def test_a_save_that_failed_leaves_nothing(
        self, register: Register, carried: list[Effect], item: Item
    ) -> None:
        """The next one asks anew."""
        register("catalogue.Item", keys="p:{price}")
        item.price = None  # type: ignore[assignment]
        with pytest.raises(IntegrityError):
            item.save()
        assert carried == []
        Item(pk=item.pk, title="t", price=5).save()
        carried.clear()
        item.price = 6
        item.save()
        assert keys_in(carried) == {"p:5", "p:6"}
