"""`invalidate`: for what sends no signal."""

import uuid
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import Group
from django.db import connection, models, transaction
from django.test import TestCase, TransactionTestCase
from project.catalogue.models import Atlas, Author, Book, Crate, Item, Label, Shelf, computed
from sessions import Words

from oxicache.django import invalidate


class TestInvalidate(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.items = [Item.objects.create(pk=pk, title=str(pk), price=pk) for pk in range(1, 4)]

    def doubled(self) -> list[int]:
        """What the next request reads of each item."""
        return [item.doubled for item in Item.objects.order_by("pk")]

    def updated(self) -> None:
        """Change all prices without a signal, after all are cached."""
        assert self.doubled() == [2, 4, 6]
        Item.objects.update(price=50)
        assert self.doubled() == [2, 4, 6]
        computed.clear()

    def test_a_model(self) -> None:
        """All rows; how many is not known."""
        self.updated()
        assert invalidate(Item) is None
        assert [self.doubled(), computed["doubled"]] == [[100] * 3, 3]

    def test_a_label(self) -> None:
        """A model may be named, in any case."""
        self.updated()
        assert invalidate("Catalogue.ITEM", 1) == 1
        assert self.doubled() == [100, 4, 6]

    def test_primary_keys(self) -> None:
        """One or several, of the key's type or as text, each counted once."""
        self.updated()
        assert invalidate(Item, 1) == 1
        assert self.doubled() == [100, 4, 6]
        assert invalidate(Item, [2, "2", 3]) == 2
        assert self.doubled() == [100, 100, 100]
        assert invalidate(Item, []) == 0
        assert invalidate(Item, (pk for pk in (1, 2))) == 2
        assert invalidate(Item, Item.objects.filter(pk__gt=1)) == 2
        assert invalidate(Item, Item.objects.values_list("pk", flat=True)) == 3

    def test_instances(self) -> None:
        """One, several of several models, or a queryset."""
        self.updated()
        assert invalidate(self.items[0]) == 1
        assert self.doubled() == [100, 4, 6]
        assert invalidate([*self.items, self.items[0], Label.objects.create(slug="a")]) == 4
        assert self.doubled() == [100] * 3

    def test_a_queryset_reads_only_primary_keys(self) -> None:
        """And reads them once."""
        self.updated()
        with self.assertNumQueries(1) as queries:
            assert invalidate(Item.objects.filter(pk__lt=3).order_by("title")) == 2
        assert "price" not in queries[0]["sql"].partition("FROM")[0]
        assert self.doubled() == [100, 100, 6]

    def test_keys_of_every_kind(self) -> None:
        """A UUID as text, and a key of two parts as a tuple."""
        number = uuid.uuid4()
        words = Words(f"row:catalogue.author:{number}", "row:catalogue.shelf:('1', 'a')")
        assert invalidate(Author, number.hex) == 1
        assert invalidate(Shelf, (1, "a")) == 1
        assert len(words.moved) == 2
        assert invalidate(Shelf, [(1, "a"), ("1", "a"), (2, "b")]) == 2

    def test_parents_and_dependants(self) -> None:
        """A child's row is its parents' too, and the model's word reaches what depends on it."""
        words = Words(
            "row:catalogue.item:9", "row:catalogue.book:9", "model:catalogue.book", "model:catalogue.item"
        )
        assert invalidate(Atlas, 9) == 1
        assert len(words.moved) == 4
        words = Words("rows:catalogue.item", "rows:catalogue.book", "model:catalogue.item")
        invalidate(Book)
        assert len(words.moved) == 3

    def test_a_parent_with_a_key_of_its_own(self) -> None:
        """By the child's key alone its row is not known: all of them."""
        for call in (lambda: invalidate(Crate, 3), lambda: invalidate(Crate)):
            words = Words("rows:catalogue.stock", "model:catalogue.stock")
            call()
            assert len(words.moved) == 2

    def test_a_model_without_members(self) -> None:
        """Nothing holds anything of it, and nothing is wrong with that."""
        assert (invalidate(Group), invalidate(Group, [1, 2])) == (None, 2)

    def test_using_says_whose_commit_is_waited_for(self) -> None:
        """An instance's database otherwise."""
        item = Item.objects.using("other").create(pk=1)
        for given in ({"using": "other"}, {}):
            assert invalidate(item, **given) == 1


class Abstract(models.Model):
    class Meta:
        abstract = True


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("catalogue.Nothing",), ValueError, "'catalogue.Nothing' is no model"),
        (("Item",), ValueError, "'Item' is no model"),
        ((int,), TypeError, "<class 'int'> is no model"),
        ((models.Model,), TypeError, "Model'> is no model"),
        ((Abstract,), ValueError, "Abstract is abstract"),
        ((Item, None), ValueError, "None is no primary key of catalogue.Item"),
        ((Item, "x"), ValueError, "'x' is no primary key of catalogue.Item"),
        ((Item, [1, "x"]), ValueError, "'x' is no primary key of catalogue.Item"),
        ((Item, True), ValueError, "True is no primary key of catalogue.Item"),
        ((Item, 1.5), ValueError, "1.5 is no primary key of catalogue.Item"),
        ((Item, {}), ValueError, "{} is no primary key of catalogue.Item"),
        ((Item, Item(pk=1)), ValueError, "instances are given without their model"),
        ((Author, "x"), ValueError, "'x' is no primary key of catalogue.Author"),
        ((Shelf, 1), ValueError, "1 is no primary key of catalogue.Shelf"),
        ((Shelf, (1,)), ValueError, r"\(1,\) is no primary key of catalogue.Shelf"),
        ((Item(),), ValueError, "was never saved"),
        ((Item(pk=3),), ValueError, "was never saved"),
        (([Item(pk=3), 1],), ValueError, "was never saved"),
        (([1],), TypeError, "1 is none"),
        ((1,), TypeError, "not 1"),
        (({},), TypeError, "not {}"),
        ((Item(pk=1), 1), TypeError, "takes primary keys after a model"),
    ],
    ids=str,
)
def test_wrong_use_names_the_value(arguments: tuple[Any, ...], error: type[Exception], said: str) -> None:
    """And invalidates nothing."""
    words = Words("model:catalogue.item", "rows:catalogue.item")
    with pytest.raises(error, match=said):
        invalidate(*arguments)
    assert words.moved == []


class TestInTransaction(TransactionTestCase):
    def test_it_waits_for_the_commit(self) -> None:
        """What others would cache before it is what they can read."""
        item = Item.objects.create(pk=1, price=5)
        assert item.doubled == 10
        words = Words("row:catalogue.item:1")
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("UPDATE catalogue_item SET price = 50")
            invalidate(item)
            assert words.moved == []
        assert words.moved == ["row:catalogue.item:1"]
        assert Item.objects.get(pk=1).doubled == 100

    def test_a_deleted_instance_has_no_row(self) -> None:
        """Django took its primary key."""
        item = Item.objects.create(pk=1)
        item.delete()
        with pytest.raises(ValueError, match="was deleted"):
            invalidate(item)
