"""Reading in chunks while rows come and go, at random; and what the database does for a chunk."""

from collections.abc import Iterator
from typing import Any

import pytest
from chunked_reads import ORDERS, check, rows, writes
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st
from profiles import MODEL
from project.catalogue.models import Author, Item
from sessions import rolled_back

from oxicache.django.chunking import iter_chunks
from oxicache.django.keysets import Keyset


@pytest.fixture(autouse=True)
def _authors() -> Iterator[None]:
    with rolled_back():
        Author.objects.create(name="Ann")
        Author.objects.create(name="bob")
        yield


@MODEL
@given(order=st.sampled_from(sorted(ORDERS)), size=st.integers(1, 6), initial=rows, between=writes)
def test_what_stays_comes_out_once(order: str, size: int, initial: list[Any], between: list[Any]) -> None:
    """Whatever is inserted and deleted between two chunks, no row that stays is skipped, and none is repeated."""
    with transaction.atomic():
        check("default", order, size, initial, between)


def test_offsets_would_fail_this() -> None:
    """The check is one: slices, as document 000's system took them, skip rows after a deletion."""
    Item.objects.bulk_create(Item(title=str(number)) for number in range(6))
    seen = []
    for start in range(0, 6, 2):
        found = list(Item.objects.order_by("pk")[start : start + 2])
        seen += found
        Item.objects.filter(pk__in=[item.pk for item in found]).delete()
    assert len(seen) < 6


def test_a_chunk_is_looked_up_in_the_index() -> None:
    """The database begins at the place, and scans nothing before it."""
    Item.objects.bulk_create(Item(title=str(number)) for number in range(6))
    keyset = Keyset.of(Item.objects.all(), 2)
    [first] = list(iter_chunks(Item.objects.all(), 6))
    plan = keyset.page(keyset.place_after(first[1], None)).explain()
    assert "SEARCH" in plan
    assert "rowid>?" in plan
    ordered = Keyset.of(Item.objects.order_by("author_id"), 2)
    plan = ordered.page((first[0].author_id, first[0].pk)).explain()
    assert "SEARCH" in plan or first[0].author_id is None
