"""Values of rows after changes: the next request, whatever its instance, shows what the database holds."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.forms import modelform_factory
from django.test import TestCase, TransactionTestCase
from project.catalogue.models import Atlas, Author, Book, Crate, Dozen, Item, Label, Shelf, computed

from oxicache import cached_method


class TestChanges(TestCase):
    def setUp(self) -> None:
        computed.clear()
        self.author = Author.objects.create(name="Ann")
        self.item = Item.objects.create(title="Lamp", price=3, author=self.author)

    def test_a_save_is_seen_by_every_instance(self) -> None:
        """Also by the one that was saved, and by those that were loaded before."""
        before = Item.objects.get(pk=self.item.pk)
        assert before.doubled == 6
        self.item.price = 4
        self.item.save()
        assert [before.doubled, self.item.doubled, Item.objects.get(pk=self.item.pk).doubled] == [8, 8, 8]
        assert computed["doubled"] == 2

    def test_a_valid_form_s_edits_are_seen(self) -> None:
        """What a form saves is what the next page shows."""
        assert self.item.doubled == 6
        form = modelform_factory(Item, fields=("title", "price"))(
            {"title": "Lamp", "price": "9"}, instance=self.item
        )
        form.save()
        assert Item.objects.get(pk=self.item.pk).doubled == 18

    def test_a_save_of_one_row_leaves_the_others(self) -> None:
        """Only what depends on the model as a whole is computed again."""
        other = Item.objects.create(price=5)
        assert [self.item.doubled, other.doubled, other.siblings] == [6, 10, 1]
        self.item.save()
        with self.assertNumQueries(2):
            assert [other.doubled, other.siblings] == [10, 1]

    def test_a_primary_key_that_is_used_again_shows_the_new_row(self) -> None:
        """The deleted row's value does not come back with another row of its key."""
        pk = self.item.pk
        assert self.item.doubled == 6
        self.item.delete()
        assert Item.objects.create(pk=pk, price=50).doubled == 100

    def test_a_cascade_is_seen(self) -> None:
        """Rows that Django deletes on its own account are deleted rows."""
        label = Label.objects.create(slug="a")
        self.item.labels.add(label)
        assert label.count() == 1
        self.author.delete()
        assert label.count() == 0

    def test_related_models_are_seen(self) -> None:
        """A renamed author, another author, a new item: each changes what `depends_on` named."""
        assert [self.item.byline, self.author.worth] == ["Ann", 3]
        self.author.name = "Eve"
        self.author.save()
        assert self.item.byline == "Eve"
        Item.objects.create(price=2, author=self.author)
        assert self.author.worth == 5
        self.item.author = None
        self.item.save()
        assert [self.item.byline, self.author.worth] == ["nobody", 2]

    def test_many_to_many_relations_are_seen(self) -> None:
        """Added, removed, set and cleared, from either end."""
        label, other = Label.objects.create(slug="a"), Label.objects.create(slug="b")
        assert [label.count(), other.count()] == [0, 0]
        changes: list[tuple[Callable[[], Any], list[int]]] = [
            (lambda: self.item.labels.add(label), [1, 0]),
            (lambda: other.item_set.add(self.item), [1, 1]),
            (lambda: self.item.labels.remove(label), [0, 1]),
            (lambda: self.item.labels.set([label]), [1, 0]),
            (label.item_set.clear, [0, 0]),
        ]
        for change, counts in changes:
            change()
            assert [label.count(), other.count()] == counts

    def test_parents_and_children_are_one_row(self) -> None:
        """A save through any of the classes that show a row is seen through all of them."""
        atlas = Atlas.objects.create(price=1, pages=2)
        pk = atlas.pk

        def seen() -> list[int]:
            return [model.objects.get(pk=pk).doubled for model in (Item, Dozen, Book, Atlas)]

        assert seen() == [2] * 4
        for price, model in enumerate((Item, Dozen, Book, Atlas), start=2):
            instance = model.objects.get(pk=pk)
            instance.price = price
            instance.save()
            assert seen() == [2 * price] * 4
        assert computed["doubled"] == 20
        assert atlas.weight == 10
        book = Book.objects.get(pk=pk)
        book.pages = 3
        book.save()
        assert atlas.weight == 15

    def test_a_parent_with_a_key_of_its_own_is_seen(self) -> None:
        """A crate shows the amount that stands in its stock's row."""
        crate = Crate.objects.create(price=2, amount=5)
        assert crate.total == 10
        stock = crate.stock_ptr  # type: ignore[attr-defined]
        stock.amount = 6
        stock.save()
        assert Crate.objects.get(pk=crate.pk).total == 12

    def test_a_key_of_two_parts(self) -> None:
        """A row with a composite key is saved and seen like any other."""
        shelf = Shelf.objects.create(room=1, place="a", width=2)
        assert shelf.area == 4
        shelf.width = 3
        shelf.save()
        assert Shelf.objects.get(pk=(1, "a")).area == 9


class TestTransactions(TransactionTestCase):
    def setUp(self) -> None:
        computed.clear()
        self.item = Item.objects.create(title="Lamp", price=3)

    def test_a_commit_is_seen_and_a_rollback_is_not(self) -> None:
        """Inside the block its own work is seen; outside only what was committed."""
        assert self.item.doubled == 6
        for price, is_rolled_back, seen in ((4, True, 6), (5, False, 10)):
            with transaction.atomic():
                item = Item.objects.get(pk=self.item.pk)
                item.price = price
                item.save()
                assert item.doubled == 2 * price
                transaction.set_rollback(is_rolled_back)
            assert self.item.doubled == seen
        with self.assertNumQueries(0):
            assert self.item.doubled == 10

    async def test_async_members_in_a_transaction(self) -> None:
        """An async member is bypassed and invalidated as a sync one is."""
        from asgiref.sync import sync_to_async

        assert await self.item.awaited == 6
        self.item.price = 4
        await self.item.asave()
        item = await Item.objects.aget(pk=self.item.pk)
        assert [await item.awaited, await item.awaited, computed["awaited"]] == [8, 8, 2]

        def write() -> None:
            with transaction.atomic():
                Item.objects.filter(pk=self.item.pk).update(price=9)
                item.save()

        await sync_to_async(write)()
        assert await item.awaited == 8

    def test_every_member_is_bypassed_while_a_transaction_has_written(self) -> None:
        """What a method shows there is computed on the instance, is stored nowhere, and is gone with the block."""
        method = cached_method(lambda item: item.price)
        with transaction.atomic():
            self.item.price = 7
            self.item.save()
            assert [method(self.item), method(Item.objects.get(pk=self.item.pk))] == [7, 7]
            transaction.set_rollback(True)
        assert len(method.cache) == 0
        assert method(self.item) == 3
