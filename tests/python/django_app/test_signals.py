"""Which models get receivers, and what a save, a deletion or a changed relation invalidates."""

import gc
import uuid
from typing import Any, ClassVar
from unittest import mock
from weakref import WeakSet

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core import serializers
from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.test import TestCase
from django.test.utils import isolate_apps
from project.catalogue.models import Atlas, Author, Book, Crate, Dozen, Item, Label, Shelf, Stock
from project.projects.models import ArchivedProject, FundedProject, Project
from sessions import Words

from oxicache import ttl_cached_property
from oxicache.django import signals


def listens(model: type[models.Model]) -> tuple[bool, bool, bool]:
    """Whether anything listens to saves, deletions and relations of a model."""
    return post_save.has_listeners(model), post_delete.has_listeners(model), m2m_changed.has_listeners(model)


@pytest.fixture(autouse=True)
def _no_receivers_of_dead_classes() -> None:
    """Django knows senders by address: what a class of an earlier test was told, one in its place would be told."""
    gc.collect()
    alive = {id(None), *map(id, signals.known_models())}
    for signal in (post_save, post_delete, m2m_changed):
        signal.receivers = [receiver for receiver in signal.receivers if receiver[0][1] in alive]
        signal.sender_receivers_cache.clear()


class TestReceivers:
    def test_an_unwatched_model_has_none(self) -> None:
        """So that saving it costs nothing, and deleting many stays one query."""
        assert listens(Group) == listens(Permission) == listens(ContentType) == (False, False, False)
        assert listens(Group.permissions.through) == (False, False, False)

    @pytest.mark.parametrize(
        "model",
        [
            Item,
            Book,
            Atlas,
            Crate,
            Stock,
            Dozen,
            Author,
            Label,
            Shelf,
            Project,
            ArchivedProject,
            FundedProject,
        ],
    )
    def test_whole_families_are_watched(self, model: type[models.Model]) -> None:
        """Parents, children, proxies and dependencies of models with decorated members."""
        assert listens(model) == (True, True, False)

    def test_the_table_between_is_watched(self) -> None:
        """A relation's own table sends m2m_changed and nothing else."""
        assert listens(Item.labels.through) == (False, False, True)

    def test_watching_twice_connects_once(self) -> None:
        """`watch` and `begin` may be called again."""
        signals.watch(Item)
        signals.begin()
        before = len(post_save.receivers), len(post_delete.receivers), len(m2m_changed.receivers)
        signals.watch(Item)
        signals.begin()
        assert (len(post_save.receivers), len(post_delete.receivers), len(m2m_changed.receivers)) == before

    @isolate_apps("project.catalogue")
    def test_models_made_later_are_watched_too(self) -> None:
        """A child and a proxy of a watched model, a parent's other child, and what a later class depends on."""

        class Gadget(models.Model):
            class Meta:
                app_label = "catalogue"

        assert listens(Gadget) == (False, False, False)

        class Origin(models.Model):
            class Meta:
                app_label = "catalogue"

        class Watched(Gadget):
            @ttl_cached_property(depends_on="Catalogue.Origin")
            def one(self) -> int:
                return 1

            class Meta:
                app_label = "catalogue"

        class Child(Watched):
            class Meta:
                app_label = "catalogue"

        class Proxy(Watched):
            class Meta:
                app_label = "catalogue"
                proxy = True

        class Sibling(Gadget):
            class Meta:
                app_label = "catalogue"

        class Elsewhere(models.Model):
            class Meta:
                app_label = "catalogue"

        for model in (Gadget, Watched, Child, Proxy, Sibling, Origin):
            assert listens(model) == (True, True, False), model
        assert listens(Elsewhere) == (False, False, False)

    @isolate_apps("project.catalogue")
    def test_a_member_that_comes_after_its_class(self) -> None:
        """A process that only saves rows of a model must know of members that `add_to_class` gave it."""

        class Plain(models.Model):
            class Meta:
                app_label = "catalogue"

        Plain.add_to_class("one", ttl_cached_property(lambda _: 1))
        assert listens(Plain) == (False, False, False)
        # Classes that other tests have had refused are known too, where a process would have ended.
        with mock.patch.object(signals, "_known", WeakSet([Plain])):
            signals.complete()
        assert listens(Plain) == (True, True, False)

    @isolate_apps("project.catalogue")
    @pytest.mark.parametrize("on_delete", [models.SET_NULL, models.SET(None)])
    def test_a_deletion_that_changes_other_rows_invalidates_them(self, on_delete: Any) -> None:
        """Django tells nobody of a reference that it sets to NULL; hidden relations and proxies count too."""

        class Target(models.Model):
            class Meta:
                app_label = "catalogue"

        class Referring(models.Model):
            target = models.ForeignKey(Target, on_delete, null=True, related_name="+")

            @ttl_cached_property
            def one(self) -> int:
                return 1

            class Meta:
                app_label = "catalogue"

        class Other(Target):
            class Meta:
                app_label = "catalogue"
                proxy = True

        for target in (Target, Other):
            assert listens(target) == (False, True, False)
            referring = Words("rows:catalogue.referring", "model:catalogue.referring")
            post_delete.send(target, instance=target(pk=1), using="default")
            assert len(referring.moved) == 2

    @isolate_apps("project.catalogue")
    def test_a_deletion_that_cascades_needs_no_more(self) -> None:
        """Each row that goes with the one it refers to sends a signal of its own."""

        class Target(models.Model):
            class Meta:
                app_label = "catalogue"

        class Referring(models.Model):
            target = models.ForeignKey(Target, models.CASCADE)

            @ttl_cached_property
            def one(self) -> int:
                return 1

            class Meta:
                app_label = "catalogue"

        assert listens(Referring) == (True, True, False)
        assert listens(Target) == (False, False, False)

    @isolate_apps("project.catalogue")
    def test_relations_of_models_made_later(self) -> None:
        """Whichever side is watched, and whichever of the two came first; a table of one's own sends saves as well."""

        class Loose(models.Model):
            class Meta:
                app_label = "catalogue"

        class Owner(models.Model):
            loose = models.ManyToManyField(Loose)
            apart = models.ManyToManyField(Loose, through="Between", related_name="+")

            @ttl_cached_property
            def one(self) -> int:
                return 1

            class Meta:
                app_label = "catalogue"

        class Between(models.Model):
            owner = models.ForeignKey(Owner, models.CASCADE)
            loose = models.ForeignKey(Loose, models.CASCADE)

            class Meta:
                app_label = "catalogue"

        assert listens(Loose) == (False, False, False)
        assert listens(Owner.loose.through) == (False, False, True)
        assert listens(Between) == (True, True, True)
        words = Words("row:catalogue.owner:7", "row:catalogue.between:3", "row:catalogue.loose:8")
        post_save.send(Between, instance=Between(pk=3, owner_id=7, loose_id=8), using="default")
        assert words.moved == ["row:catalogue.owner:7", "row:catalogue.between:3"]

    def test_a_member_that_comes_later_is_watched_from_its_first_value_on(self) -> None:
        """Nothing is said when an attribute is set on a class that was made before."""
        from oxicache import rows
        from oxicache.django import dependencies

        @isolate_apps("project.catalogue")
        def late() -> type[models.Model]:
            class Late(models.Model):
                class Meta:
                    app_label = "catalogue"

            return Late

        model: Any = late()

        def one(self: models.Model) -> int:
            return 1

        model.one = ttl_cached_property(one)
        assert listens(model) == (False, False, False)
        dependencies.words_of(model, rows.members_of(model)[0])
        assert listens(model) == (True, True, False)


class TestWords(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def test_save_and_update_fields(self) -> None:
        """Any save moves the words of the row and of its model, and of no other row."""
        item = Item.objects.create(title="Set")
        names = f"row:catalogue.item:{item.pk}", "model:catalogue.item", f"row:catalogue.item:{item.pk + 1}"
        for save in (item.save, lambda: item.save(update_fields=["price"]), item.delete):
            words = Words(*names)
            save()
            assert words.moved == [*names[:2]]

    def test_a_save_on_another_database(self) -> None:
        """A word is not of one database."""
        words = Words("row:catalogue.item:5")
        Item(pk=5).save(using="other")
        assert words.moved

    def test_a_child_moves_its_parents_words(self) -> None:
        """A child's save writes the tables of its parents, whose signals Django does not send."""
        atlas = Atlas.objects.create(title="World")
        names = [
            f"{kind}:catalogue.{name}" for kind in ("row", "model") for name in ("atlas", "book", "item")
        ]
        names = [f"{name}:{atlas.pk}" if name.startswith("row") else name for name in names]
        words = Words(*names)
        atlas.save()
        assert words.moved == names

    def test_a_parent_with_a_key_of_its_own(self) -> None:
        """Its row is found by the link of the child."""
        crate = Crate.objects.create(title="Crate", amount=3)
        Stock.objects.create()
        crate = Crate.objects.get(pk=crate.pk)
        names = [
            f"row:catalogue.crate:{crate.pk}",
            f"row:catalogue.stock:{crate.number}",
            "model:catalogue.stock",
        ]
        words = Words(*names)
        crate.save()
        assert words.moved == names
        words = Words("rows:catalogue.stock")
        post_save.send(Crate, instance=Crate(pk=crate.pk), using="default")
        assert words.moved  # which of its rows this was cannot be told

    def test_a_proxy_is_its_model(self) -> None:
        """A proxy's save is one of its row."""
        item = Dozen.objects.create(title="Eggs")
        words = Words(f"row:catalogue.item:{item.pk}")
        item.save()
        assert words.moved

    def test_keys_of_every_kind(self) -> None:
        """A UUID, text and a key of two parts are spelt as they are captured."""
        number = uuid.uuid4()
        words = Words(
            f"row:catalogue.author:{number}", "row:catalogue.label:a", "row:catalogue.shelf:('1', 'a')"
        )
        Author(id=str(number)).save()
        Label(slug="a").save()
        Shelf(room="1", place="a").save()
        assert len(words.moved) == 3

    def test_fixtures_invalidate(self) -> None:
        """`loaddata` saves raw."""
        words = Words("row:catalogue.item:7")
        for each in serializers.deserialize("python", [{"model": "catalogue.item", "pk": 7, "fields": {}}]):
            each.save()
        assert words.moved

    def test_a_cascade_invalidates_what_goes_with_it(self) -> None:
        """A deletion that reaches a watched model deletes its rows one by one."""
        author = Author.objects.create(name="Ann")
        item = Item.objects.create(author=author)
        words = Words(f"row:catalogue.item:{item.pk}", f"row:catalogue.author:{author.pk}")
        author.delete()
        assert len(words.moved) == 2

    def test_no_query_is_added(self) -> None:
        """Neither for a watched model nor for another; an unwatched one's deletion stays one query."""
        item = Item.objects.create()
        with self.assertNumQueries(1):
            item.save()
        group = Group.objects.create(name="a")
        with self.assertNumQueries(1):
            group.save()
        with self.assertNumQueries(1):
            Session.objects.filter(expire_date__year=1999).delete()


class TestRelations(TestCase):
    def setUp(self) -> None:
        self.item = Item.objects.create(title="Set")
        self.label, self.other = Label.objects.create(slug="a"), Label.objects.create(slug="b")
        self.mine = f"row:catalogue.item:{self.item.pk}"

    def words(self) -> Words:
        """Of both sides and the table between."""
        return Words(
            self.mine, "row:catalogue.label:a", "row:catalogue.label:b", "model:catalogue.item_labels"
        )

    def test_both_sides_of_what_was_added_and_removed(self) -> None:
        """Forwards, and no label that had no part in it."""
        for change in (self.item.labels.add, self.item.labels.remove):
            words = self.words()
            change(self.label)
            assert words.moved == [self.mine, "row:catalogue.label:a", "model:catalogue.item_labels"]

    def test_both_sides_from_the_other(self) -> None:
        """Backwards it is the same relation."""
        for change in (self.label.item_set.add, self.label.item_set.remove):
            words = self.words()
            change(self.item)
            assert words.moved == [self.mine, "row:catalogue.label:a", "model:catalogue.item_labels"]

    def test_what_changes_nothing_invalidates_nothing(self) -> None:
        """Adding what is there already."""
        self.item.labels.add(self.label)
        words = self.words()
        self.item.labels.add(self.label)
        assert words.moved == []

    def test_set_invalidates_what_came_and_what_went(self) -> None:
        """`set` is an addition and a removal."""
        self.item.labels.add(self.label)
        words = self.words()
        self.item.labels.set([self.other])
        assert len(words.moved) == 4

    def test_clear_invalidates_all_rows_of_the_other_side(self) -> None:
        """After it nobody knows which they were, and it costs no query to find out."""
        self.item.labels.add(self.label)
        words = Words(self.mine, "rows:catalogue.label", "model:catalogue.label")
        with self.assertNumQueries(1):
            self.item.labels.clear()
        assert len(words.moved) == 3

    def test_values_follow(self) -> None:
        """What a label shows of its items is fresh after each of these."""
        found = [self.label.count()]
        for change in (
            lambda: self.item.labels.add(self.label),
            self.item.labels.clear,
            lambda: self.label.item_set.set([self.item]),
            self.item.delete,
        ):
            change()
            found.append(Label.objects.get(slug="a").count())
        assert found == [0, 1, 0, 1, 0]
