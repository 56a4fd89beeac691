"""`track_deletions`: which rows are being deleted, whoever deletes them, and none for longer than that."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import models, transaction
from django.db.models.signals import post_delete, pre_delete
from django.test import TestCase, TransactionTestCase
from django.test.utils import isolate_apps
from project.catalogue.models import Atlas, Author, Dozen, Item, Label
from sessions import rolled_back

from oxicache import DELETION_SET, ProjectDeletionTracker
from oxicache.django import track_deletions


class RefusedError(Exception):
    """What a receiver raises that wants a row kept."""


class Tracking:
    """What both kinds of test case do: item 1 with a part, both of an author."""

    def setUp(self) -> None:
        self.tracker = ProjectDeletionTracker()
        self.untrack = track_deletions(Item, self.tracker)
        self.addCleanup(self.untrack)  # type: ignore[attr-defined]
        self.author = Author.objects.create(name="Ann")
        self.item = Item.objects.create(pk=1, author=self.author)
        Item.objects.create(pk=2, whole=self.item, author=self.author)
        self.seen: list[set[Any]] = []

        for model in (Item, Author):
            post_delete.connect(self.see, sender=model)
            self.addCleanup(post_delete.disconnect, self.see, sender=model)  # type: ignore[attr-defined]

    def see(self, **_: Any) -> None:
        """Hear of a deletion."""
        self.seen.append(set(self.tracker._deletion_set))

    def nothing_left(self) -> bool:
        """Whether no id is tracked."""
        return len(self.tracker._deletion_set) == 0 and len(self.tracker._timestamps) == 0

    def test_an_instance_and_what_cascades(self) -> None:
        """All of them are tracked until the last receiver has run, although Django then takes the pk away."""
        self.item.delete()
        assert self.seen == [{1, 2}] * 2
        assert self.item.pk is None
        assert self.nothing_left()

    def test_a_queryset(self) -> None:
        """Nobody's `delete()` method is called there."""
        Item.objects.all().delete()
        assert self.seen == [{1, 2}] * 2
        assert self.nothing_left()

    def test_another_models_deletion(self) -> None:
        """A row that goes because its author goes."""
        self.author.delete()
        assert self.seen == [{1, 2}] * 3
        assert self.nothing_left()

    def test_children_and_proxies(self) -> None:
        """A child's deletion is its parent's too, and a proxy's is its model's."""
        atlas = Atlas.objects.create(pk=7)
        dozen = Dozen.objects.create(pk=8)
        atlas.delete()
        assert self.seen == [{7}]
        post_delete.connect(self.see, sender=Dozen)
        dozen.delete()
        post_delete.disconnect(self.see, sender=Dozen)
        assert self.seen == [{7}, {8}]
        assert self.nothing_left()

    def test_a_deletion_that_raises(self) -> None:
        """No post_delete comes, and nothing stays: neither alone nor inside a block that goes on."""

        def refuse(**_: Any) -> None:
            assert 1 in self.tracker
            raise RefusedError

        pre_delete.connect(refuse, sender=Item)
        try:
            for block in (transaction.atomic(), transaction.atomic()):
                with pytest.raises(RefusedError), block:
                    self.item.delete()
                assert self.nothing_left()
            with transaction.atomic():
                with pytest.raises(RefusedError), transaction.atomic():
                    self.item.delete()
                assert self.nothing_left()
        finally:
            pre_delete.disconnect(refuse, sender=Item)
        assert Item.objects.count() == 2

    def test_a_refusal_that_is_caught_and_kept(self) -> None:
        """An error that is held on to, traceback and all, holds no row."""

        def refuse(**_: Any) -> None:
            raise RefusedError

        pre_delete.connect(refuse, sender=Author)
        kept: list[Exception] = []
        try:
            with transaction.atomic():
                try:
                    with transaction.atomic():
                        self.author.delete()
                except RefusedError as error:
                    kept.append(error)
                assert self.nothing_left()
        finally:
            pre_delete.disconnect(refuse, sender=Author)
        assert kept[0].__traceback__ is not None

    def test_a_rolled_back_deletion(self) -> None:
        """The rows are there again, and may be saved."""
        with rolled_back():
            self.item.delete()
            assert self.nothing_left()
        assert self.nothing_left()

    def test_signals_that_somebody_else_sends(self) -> None:
        """A package for soft deletions sends them by itself, perhaps in a block that never dies."""

        @transaction.atomic
        def soft_delete() -> None:
            pre_delete.send(Item, instance=self.item, using="default")
            assert 1 in self.tracker
            post_delete.send(Item, instance=self.item, using="default")

        soft_delete()
        assert self.nothing_left()

    def test_deletions_inside_one_another(self) -> None:
        """A receiver that deletes more of the same."""

        def more(instance: Item, **_: Any) -> None:
            if instance.pk == 1:
                Item.objects.filter(pk=2).delete()
                assert 1 in self.tracker

        Item.objects.filter(pk=2).update(whole=None)
        pre_delete.connect(more, sender=Item)
        try:
            self.item.delete()
        finally:
            pre_delete.disconnect(more, sender=Item)
        assert self.seen == [{1, 2}, {1}]
        assert self.nothing_left()

    def test_it_ends_when_one_says_so(self) -> None:
        """Twice as well as once; the model's deletions are one query again."""
        again = track_deletions(Item, self.tracker)
        for untrack in (again, self.untrack, again):
            untrack()
        self.item.delete()
        assert self.seen == [set(), set()]


class TestInTestCase(Tracking, TestCase):
    """In the blocks of a TestCase, which never end."""


class TestOutside(Tracking, TransactionTestCase):
    """With transactions of its own."""

    def test_until_its_own_commit(self) -> None:
        """As a `delete()` that tracks itself does: callbacks of its transaction still see it."""
        seen: list[bool] = []

        def on_commit(**_: Any) -> None:
            transaction.on_commit(lambda: seen.append(1 in self.tracker))

        post_delete.connect(on_commit, sender=Item)
        try:
            self.item.delete()
        finally:
            post_delete.disconnect(on_commit, sender=Item)
        assert seen == [True, True]
        assert self.nothing_left()


class TestFunction:
    @pytest.fixture
    def undo(self) -> Iterator[list[Callable[[], None]]]:
        """What each test connects is taken away after it."""
        undo: list[Callable[[], None]] = []
        yield undo
        for one in undo:
            one()

    @isolate_apps("project.catalogue")
    def test_proxies_made_later(self, undo: list[Callable[[], None]]) -> None:
        """They are rows of the same model."""

        class Plain(models.Model):
            class Meta:
                app_label = "catalogue"

        assert not pre_delete.has_listeners(Plain)
        undo.append(track_deletions(Plain))

        class Later(Plain):
            class Meta:
                app_label = "catalogue"
                proxy = True

        class Apart(models.Model):
            class Meta:
                app_label = "catalogue"

        assert pre_delete.has_listeners(Later)
        assert not pre_delete.has_listeners(Apart)
        undo.pop()()
        assert not pre_delete.has_listeners(Later)

    def test_the_process_wide_tracker_is_the_default(self, undo: list[Callable[[], None]]) -> None:
        """As the documents have it."""
        undo.append(track_deletions(Label))
        label = Label(slug="gone")
        pre_delete.send(Label, instance=label, using="default")
        assert "gone" in DELETION_SET
        post_delete.send(Label, instance=label, using="default")
        assert "gone" not in DELETION_SET

    @pytest.mark.parametrize("wrong", [None, int, "catalogue.Nothing", models.Model])
    def test_what_is_no_model(self, wrong: Any) -> None:
        """The value is named."""
        with pytest.raises((TypeError, ValueError), match="is no model"):
            track_deletions(wrong)
