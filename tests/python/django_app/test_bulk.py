"""Which words a change of many rows moves: keys of other types, parents, children, composite keys."""

from typing import Any
from unittest import mock

import pytest
from django.db import models, transaction
from project.catalogue.models import Atlas, Author, Book, Crate, Dozen, Item, Label, Shelf
from sessions import Words

from oxicache import _native
from oxicache.django import InvalidatingQuerySet, bulk


def rows(model: type[models.Model], using: str | None = None) -> InvalidatingQuerySet[Any]:
    """The queryset of a model whose manager is Django's own."""
    return InvalidatingQuerySet(model, using=using)


class TestRowsOfMany:
    """Keys of other types, parents, children, composite keys: by the words that move."""

    pytestmark = pytest.mark.usefixtures("_empty_again")

    @pytest.fixture
    def _empty_again(self) -> Any:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)

    def moved_by(self, change: Any, *names: str) -> list[str]:
        """Which of these words the change moves."""
        words = Words(*names)
        with mock.patch.object(bulk.transactions, "invalidate_words", self.at_once):
            change()
        return words.moved

    def at_once(self, names: Any, using: str, *, kind: str) -> None:
        _native.bump(list(names))

    def test_a_child_is_its_parents_row_too(self) -> None:
        """With a table of its own, whichever table the fields are in."""
        book = Book.objects.create(price=1, pages=1)
        names = [f"row:catalogue.book:{book.pk}", f"row:catalogue.item:{book.pk}", "rows:catalogue.item"]
        for change in ({"pages": 2}, {"price": 2}, {"price": 3, "pages": 3}):
            update = rows(Book).filter(pk=book.pk).update
            assert self.moved_by(lambda update=update, change=change: update(**change), *names) == names[:2]

    def test_a_parents_column(self) -> None:
        """The parent's own key is the child's too; its other columns say nothing of the child's key."""
        book = Book.objects.create(price=1, pages=1)
        for found, moved in (({"id": book.pk}, False), ({"price": 1}, True)):
            update = rows(Book).filter(**found).update
            assert bool(self.moved_by(lambda update=update: update(pages=2), "rows:catalogue.book")) is moved

    def test_the_key_of_another_row_of_the_model(self) -> None:
        """A relation to the model itself has the same column, of another row."""
        whole = Item.objects.create()
        part = Item.objects.create(whole=whole)
        found = rows(Item).filter(parts__pk=part.pk)
        assert self.moved_by(
            lambda: found.update(price=1), f"row:catalogue.item:{whole.pk}", "rows:catalogue.item"
        )

    def test_a_parent_with_a_key_of_its_own(self) -> None:
        """Which of its rows it was is not known."""
        crate = Crate.objects.create(price=1)
        moved = self.moved_by(
            lambda: rows(Crate).filter(pk=crate.pk).update(price=2),
            "rows:catalogue.stock",
            "rows:catalogue.crate",
        )
        assert moved == ["rows:catalogue.stock"]

    def test_a_uuid_and_a_text(self) -> None:
        """A UUID is one row however it is written; a text may be found under another spelling."""
        author = Author.objects.create(name="Ann")
        moved = self.moved_by(
            lambda: rows(Author).filter(pk=author.pk.hex).update(name="Bob"),
            f"row:catalogue.author:{author.pk}",
            "rows:catalogue.author",
        )
        assert moved == [f"row:catalogue.author:{author.pk}"]
        Label.objects.create(slug="a")
        assert self.moved_by(lambda: rows(Label).filter(pk="a").update(slug="b"), "rows:catalogue.label")

    def test_a_key_of_two_parts(self) -> None:
        """All rows of an update; those of a bulk_update."""
        shelf = Shelf.objects.create(room=1, place="a")
        assert self.moved_by(lambda: rows(Shelf).filter(pk=(1, "a")).update(width=2), "rows:catalogue.shelf")
        shelf.width = 3
        names = ["row:catalogue.shelf:('1', 'a')", "rows:catalogue.shelf"]
        assert self.moved_by(lambda: rows(Shelf).bulk_update([shelf], ["width"]), *names) == names[:1]

    def test_more_rows_than_words_are_worth(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beyond MAX_ROWS all rows of the model."""
        monkeypatch.setattr(bulk, "MAX_ROWS", 2)
        item = Item.objects.create()
        find = rows(Item).filter
        assert not self.moved_by(lambda: find(pk__in=[item.pk, 0]).update(price=1), "rows:catalogue.item")
        assert self.moved_by(lambda: find(pk__in=[item.pk, 0, -1]).update(price=1), "rows:catalogue.item")

    def test_children_of_a_model(self) -> None:
        """A change of the parent by its model reaches the children's values."""
        atlas = Atlas.objects.create(price=1)
        assert atlas.doubled == 2
        rows(Item).update(price=5)
        transaction.set_rollback(False)
        assert self.moved_by(lambda: rows(Item).update(price=6), "rows:catalogue.item")
        assert self.moved_by(lambda: rows(Dozen).update(price=6), "rows:catalogue.item")
