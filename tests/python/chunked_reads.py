"""Reading in chunks while rows come and go: what holds on any database, whatever is written meanwhile."""

from typing import Any

from django.db.models import F
from django.db.models.functions import Lower
from hypothesis import strategies as st
from project.catalogue.models import Author, Item

from oxicache.django.chunking import iter_chunks

TITLES = ["", "a", "A", "b", "ab", "Zoë", "z", "ä", "a b", "10", "9"]
ORDERS: dict[str, tuple[Any, ...]] = {
    "pk": ("pk",),
    "descending": ("-pk",),
    "text": ("title", "pk"),
    "two columns": ("-price", "title", "pk"),
    "nullable": ("author_id", "pk"),
    "nullable, descending": ("-author_id", "-pk"),
    "nulls first": (F("author_id").desc(nulls_first=True), "price", "pk"),
    "nulls last": (F("author_id").desc(nulls_last=True), "price", "pk"),
    "of a relation": ("author__name", "-pk"),
    "of an expression": (Lower("title"), "pk"),
}

row = st.tuples(st.sampled_from(TITLES), st.integers(-2, 2), st.integers(0, 2))
rows = st.lists(row, max_size=12)
# Between two chunks: rows that are inserted, and places in the table whose rows are deleted.
writes = st.lists(st.tuples(st.lists(row, max_size=3), st.lists(st.integers(0, 30), max_size=3)), max_size=12)


def insert(using: str, new: list[tuple[str, int, int]]) -> None:
    """Insert rows; the third number says which of two authors, or none."""
    authors = [None, *Author.objects.using(using).order_by("name")]
    Item.objects.using(using).bulk_create(
        Item(title=title, price=price, author=authors[author]) for title, price, author in new
    )


def check(using: str, order: str, size: int, initial: list[Any], between: list[Any]) -> None:
    """Read the table in chunks, writing to it between them.

    What is there from beginning to end comes out once and in order, and nothing comes out twice.
    """
    items = Item.objects.using(using)
    items.all().delete()
    insert(using, initial)
    survivors = set(items.values_list("pk", flat=True))
    steps = iter(between)
    found: list[int] = []
    for chunk in iter_chunks(items.order_by(*ORDERS[order]), size):
        assert 0 < len(chunk) <= size
        found += [item.pk for item in chunk]
        new, places = next(steps, ([], []))
        insert(using, new)
        pks = list(items.order_by("pk").values_list("pk", flat=True))
        gone = {pks[place % len(pks)] for place in places if pks}
        items.filter(pk__in=gone).delete()
        survivors -= gone
    assert len(found) == len(set(found))
    kept = [item.pk for item in items.order_by(*ORDERS[order]) if item.pk in survivors]
    assert [pk for pk in found if pk in survivors] == kept
