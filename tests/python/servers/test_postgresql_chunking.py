"""Reading in chunks on PostgreSQL, where NULLs are last, others write meanwhile, and a transaction may stand still."""

from collections.abc import Iterator
from typing import Any

import pytest

django = pytest.importorskip("django")

from chunked_reads import ORDERS, check, insert, rows, writes  # noqa: E402 -- needs Django, as the rest
from django.db import connections, transaction  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from profiles import MODEL  # noqa: E402
from project.catalogue.models import Author, Item  # noqa: E402
from sessions import ALIAS, Session, catalogue_database  # noqa: E402

from oxicache.django.chunking import iter_chunks, iter_rows  # noqa: E402
from oxicache.django.hierarchy import aggregate_upwards, descendants  # noqa: E402
from oxicache.django.streaming import should_stream_response, stream_json_lines  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _database(postgresql_settings: dict[str, Any], django_databases: None) -> Iterator[None]:
    """The catalogue's tables in a database of this module's own."""
    with catalogue_database(dict(postgresql_settings)):
        for name in ("Ann", "bob"):
            Author.objects.using(ALIAS).create(name=name)
        yield


@pytest.fixture(autouse=True)
def _empty(_database: None) -> None:
    Item.objects.using(ALIAS).all().delete()


@settings(MODEL, max_examples=60)
@given(order=st.sampled_from(sorted(ORDERS)), size=st.integers(1, 6), initial=rows, between=writes)
def test_what_stays_comes_out_once(order: str, size: int, initial: list[Any], between: list[Any]) -> None:
    """As on SQLite, by the server's own rules for text and for NULLs."""
    with transaction.atomic(using=ALIAS):
        check(ALIAS, order, size, initial, between)


def test_it_reads_what_others_commit_and_no_row_twice() -> None:
    """Outside of a transaction each chunk sees what is committed by then."""
    insert(ALIAS, [("m", 0, 0)] * 6)
    writer = Session()
    seen: list[str] = []
    for number, chunk in enumerate(iter_chunks(Item.objects.using(ALIAS).order_by("title"), 2)):
        seen += [item.title for item in chunk]
        with writer:
            insert(ALIAS, [("a", 0, 0)] + [("z", 0, 0)] * (number == 0))
    writer.end()
    assert seen == ["m"] * 6 + ["z"]


def test_a_transaction_that_stands_still_reads_what_it_began_with() -> None:
    """With REPEATABLE READ all chunks are one moment's."""
    insert(ALIAS, [("m", 0, 0)] * 6)
    writer = Session()
    with transaction.atomic(using=ALIAS):
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = 0
        for chunk in iter_chunks(Item.objects.using(ALIAS).order_by("title"), 2):
            found += len(chunk)
            with writer:
                insert(ALIAS, [("z", 0, 0)])
    writer.end()
    assert found == 6


def test_distinct_on_is_refused_and_its_remedy_works() -> None:
    """DISTINCT ON keeps one row of each group; a chunk might keep another."""
    insert(ALIAS, [("a", 1, 0), ("a", 2, 0), ("b", 1, 0)])
    items = Item.objects.using(ALIAS)
    chosen = items.order_by("title", "-price").distinct("title")
    with pytest.raises(ValueError, match="pk__in"):
        iter_chunks(chosen)
    rows = iter_rows(items.filter(pk__in=chosen.values("pk")).order_by("title"), 1)
    assert [(item.title, item.price) for item in rows] == [("a", 2), ("b", 1)]


def test_an_index_is_used() -> None:
    """The plan of a later chunk of an order by the primary key is a range of its index."""
    insert(ALIAS, [("m", 0, 0)] * 1000)
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("ANALYZE catalogue_item")
    with CaptureQueriesContext(connections[ALIAS]) as queries:
        list(iter_rows(Item.objects.using(ALIAS).all(), 300))
    assert len(queries) == 4
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("EXPLAIN " + queries.captured_queries[2]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan" in plan
    assert "Index Cond" in plan


def test_lines_and_limits() -> None:
    """The bounded count and the stream."""
    insert(ALIAS, [("m", 0, 0)] * 12)
    items = Item.objects.using(ALIAS)
    assert should_stream_response(items, 11)
    assert not should_stream_response(items, 12)
    assert len(list(stream_json_lines(items.values("title"), size=5))) == 12


def test_an_error_of_the_database_leaves_the_transaction_usable() -> None:
    """PostgreSQL refuses everything after an error until the savepoint is rolled back, which each node has."""
    top = Item.objects.using(ALIAS).create(title="top")
    middle = Item.objects.using(ALIAS).create(title="middle", whole=top)
    low = Item.objects.using(ALIAS).create(title="low", whole=middle)

    def compute(item: Item) -> None:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("SELECT 1 / %s", [0 if item.title == "middle" else 1])
        Item.objects.using(ALIAS).filter(pk=item.pk).update(price=7)

    with transaction.atomic(using=ALIAS):
        report = aggregate_upwards(low, compute, "whole")
        assert [item.title for item in descendants(top, "parts")] == ["middle", "low"]
    assert list(report.errors) == [middle.pk]
    prices = dict(Item.objects.using(ALIAS).values_list("title", "price"))
    assert prices == {"top": 7, "middle": 0, "low": 7}
