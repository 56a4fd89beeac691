"""Reading querysets chunk by chunk: which rows come out, in which order, with how many queries."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Sum, Window
from django.db.models.functions import Lower, Rank
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from project.catalogue.models import Author, Book, Dozen, Item, Label, Shelf
from project.projects.models import Project

from oxicache.django import chunking
from oxicache.django.chunking import aiter_chunks, aiter_rows, iter_chunks, iter_rows

COUNT = 23
SIZES = (1, 2, 3, 7, 22, 23, 24, 500)


def shown(row: Any) -> Any:
    return (type(row), row.__dict__.keys() - {"_state"}, row.pk) if hasattr(row, "_meta") else row


def read(queryset: Any, size: int) -> list[Any]:
    return list(iter_rows(queryset, size))


class Catalogue(TestCase):
    """Some items by two authors and by none, with equal titles and prices."""

    databases = {"default", "other"}  # noqa: RUF012 -- as Django writes it

    @classmethod
    def setUpTestData(cls) -> None:
        cls.authors = [Author.objects.create(name=name) for name in ("Ann", "bob")]
        Item.objects.bulk_create(
            Item(title=f"t{n % 7}" if n % 2 else f"T{n % 7}", price=n % 5, author=[*cls.authors, None][n % 3])
            for n in range(COUNT)
        )
        one, two = Label.objects.create(slug="one"), Label.objects.create(slug="two")
        for number, item in enumerate(Item.objects.order_by("pk")[:9]):
            item.labels.set([one, two] if number % 2 else [one])


class TestOrders(Catalogue):
    ORDERED: dict[str, Callable[[], QuerySet[Any, Any]]] = {  # noqa: RUF012 -- as above
        "none": Item.objects.all,
        "pk": lambda: Item.objects.order_by("-pk"),
        "a column": lambda: Item.objects.order_by("title", "pk"),
        "descending": lambda: Item.objects.order_by("-price", "-pk"),
        "mixed": lambda: Item.objects.order_by("price", "-title", "pk"),
        "nullable": lambda: Item.objects.order_by("author_id", "title", "pk"),
        "nullable, descending": lambda: Item.objects.order_by("-author_id", "pk"),
        "nulls first": lambda: Item.objects.order_by(F("author_id").asc(nulls_first=True), "pk"),
        "nulls last": lambda: Item.objects.order_by(F("author_id").asc(nulls_last=True), "-pk"),
        "descending, nulls first": lambda: Item.objects.order_by(F("author_id").desc(nulls_first=True), "pk"),
        "descending, nulls last": lambda: Item.objects.order_by(F("author_id").desc(nulls_last=True), "pk"),
        "nulls last, reversed": lambda: Item.objects.order_by(
            F("author_id").asc(nulls_last=True), "pk"
        ).reverse(),
        "a relation by its key": lambda: Item.objects.order_by("author", "pk"),
        "a relation's column": lambda: Item.objects.order_by("-author__name", "pk"),
        "an expression": lambda: Item.objects.order_by(Lower("title").desc(), "pk"),
        "an expression that is no order": lambda: Item.objects.order_by(Lower("title"), "pk"),
        "a column of an expression": lambda: Item.objects.order_by(F("price"), "pk"),
        "an annotation": lambda: Item.objects.annotate(n=Count("labels")).order_by("-n", "pk"),
        "an aggregate that may be NULL": lambda: Author.objects.annotate(
            n=Sum("items__whole__price")
        ).order_by("n", "pk"),
        "an alias of an aggregate": lambda: Item.objects.alias(n=Count("labels")).order_by("n", "pk"),
        "a condition": lambda: Item.objects.order_by(
            Exists(Label.objects.filter(item=OuterRef("pk"))).desc(), "pk"
        ),
        "an alias": lambda: Item.objects.alias(n=F("price") * 2).order_by("-n", "pk"),
        "reversed": lambda: Item.objects.order_by("title", "-pk").reverse(),
        "reversed without an order": lambda: Item.objects.order_by("pk").reverse(),
        "with select_related": lambda: Item.objects.select_related("author").order_by("author__name", "pk"),
        "only": lambda: Item.objects.only("price").order_by("title", "pk"),
        "deferred": lambda: Item.objects.defer("title").order_by("title", "pk"),
        "filtered": lambda: (
            Item.objects.filter(price__gt=1).exclude(author__name="Ann").order_by("price", "pk")
        ),
        "values": lambda: Item.objects.values("title").order_by("price", "pk"),
        "values of all": lambda: Item.objects.order_by("title", "pk").values(),
        "values with an annotation": lambda: (
            Item.objects.annotate(n=F("price") + 1).values("n", "title").order_by("pk")
        ),
        "values_list": lambda: Item.objects.values_list("title", "author__name").order_by(
            "author__name", "pk"
        ),
        "values_list of all": lambda: Item.objects.order_by("-price", "pk").values_list(),
        "values_list, flat": lambda: Item.objects.values_list("title", flat=True).order_by(
            "-author__name", "pk"
        ),
        "values_list, named": lambda: Item.objects.values_list("price", "title", named=True).order_by(
            "title", "pk"
        ),
        "values, distinct": lambda: Item.objects.values("price").distinct().order_by("-price"),
        "values, distinct, nullable": lambda: (
            Item.objects.values("author_id").distinct().order_by(F("author_id").asc(nulls_last=True))
        ),
        "values of counted rows": lambda: (
            Item.objects.annotate(n=Count("labels")).values("title", "n").order_by("-n", "pk")
        ),
        "distinct over a join": lambda: (
            Item.objects.filter(labels__slug__contains="o").distinct().order_by("pk")
        ),
        "an inherited table": lambda: Book.objects.order_by("title", "pk"),
        "a proxy": lambda: Dozen.objects.order_by("title", "pk"),
        "nothing": Item.objects.none,
    }

    def test_every_size_reads_what_the_queryset_reads(self) -> None:
        """Rows come out as the queryset has them, in its order, whatever the size of a chunk."""
        for number in range(4):
            Book.objects.create(title=f"b{number % 2}", pages=number)
        for name, make in self.ORDERED.items():
            expected = [shown(row) for row in (make() if make().ordered else make().order_by("pk"))]
            for size in SIZES:
                with self.subTest(name, size=size):
                    assert [shown(row) for row in read(make(), size)] == expected

    def test_an_order_that_ties_is_ended_by_the_primary_key(self) -> None:
        """Rows with equal values are told apart, in the direction of the last column."""
        ascending = read(Item.objects.order_by("title"), 2)
        assert ascending == list(Item.objects.order_by("title", "pk"))
        assert read(Item.objects.order_by("-title"), 2) == ascending[::-1]
        assert read(Item.objects.order_by("title").reverse(), 2) == ascending[::-1]

    def test_a_composite_primary_key_orders_by_its_parts(self) -> None:
        """A primary key of two columns is two keys."""
        Shelf.objects.bulk_create(
            Shelf(room=room, place=place, width=room) for room in (3, 1, 2) for place in "cab"
        )
        for size in (1, 2, 4, 9, 10):
            assert [row.pk for row in iter_rows(Shelf.objects.all(), size)] == [
                (room, place) for room in (1, 2, 3) for place in "abc"
            ]
            assert next(row.pk for row in iter_rows(Shelf.objects.order_by("-pk"), size)) == (3, "c")
            assert len(read(Shelf.objects.order_by("width"), size)) == 9
            assert len(read(Shelf.objects.values_list("width", flat=True), size)) == 9

    def test_a_unique_column_needs_no_tie_breaker(self) -> None:
        """What follows a unique column in an order changes nothing, so it is no condition either."""
        with CaptureQueriesContext(connection) as queries:
            read(Label.objects.order_by("slug"), 1)
        assert " OR " not in queries.captured_queries[-1]["sql"]


class TestQueries(Catalogue):
    def test_each_chunk_is_one_query(self) -> None:
        """A chunk costs one query; a last one that is shorter ends the reading."""
        for size, queries in [(5, 5), (COUNT, 2), (COUNT + 1, 1)]:
            with self.assertNumQueries(queries):
                read(Item.objects.all(), size)

    def test_no_query_has_an_offset(self) -> None:
        """A chunk begins after a row, not after a number of rows."""
        with CaptureQueriesContext(connection) as queries:
            read(Item.objects.order_by("title"), 4)
        assert not [query for query in queries.captured_queries if "OFFSET" in query["sql"]]

    def test_chunks_have_the_size_asked_for(self) -> None:
        """Every list is full but the last, and none is empty."""
        assert [len(rows) for rows in iter_chunks(Item.objects.all(), 10)] == [10, 10, 3]
        assert [len(rows) for rows in iter_chunks(Item.objects.all(), COUNT)] == [COUNT]

    @override_settings(RSR_DESCENDANTS_CHUNK_SIZE=9)
    def test_the_size_is_the_setting_unless_it_is_given(self) -> None:
        """RSR_DESCENDANTS_CHUNK_SIZE counts where no size is given."""
        assert [len(rows) for rows in iter_chunks(Item.objects.all())] == [9, 9, 5]

    def test_what_was_fetched_along_is_fetched_along(self) -> None:
        """select_related costs no query more, prefetch_related one for each chunk."""
        related = Item.objects.select_related("author")
        with self.assertNumQueries(3):
            assert {row.author.name for row in iter_rows(related, 10) if row.author} == {"Ann", "bob"}
        fetched = Item.objects.prefetch_related(Prefetch("labels", to_attr="found"))
        with self.assertNumQueries(6):
            assert sum(len(row.found) for row in iter_rows(fetched, 10)) == 13

    def test_the_key_of_deferred_rows_is_read_along(self) -> None:
        """A deferred column that is ordered by costs no query for each chunk, and stays deferred."""
        with self.assertNumQueries(5):
            rows = read(Item.objects.only("price").order_by("title"), 5)
        assert rows[0].get_deferred_fields() == {"title", "author_id", "whole_id"}

    def test_nothing_is_asked_before_the_first_row_is(self) -> None:
        """The call itself makes no query."""
        with self.assertNumQueries(0):
            iter_chunks(Item.objects.all(), 5)

    def test_managers_are_querysets_too(self) -> None:
        """A manager, or that of a relation, is read as its all()."""
        assert len(read(Item.objects, 5)) == COUNT
        assert len(read(self.authors[0].items, 5)) == 8

    def test_the_alias_is_kept(self) -> None:
        """Rows come from the database that the queryset names, in each chunk."""
        Item.objects.using("other").bulk_create(Item(title=str(n)) for n in range(5))
        rows = read(Item.objects.using("other"), 2)
        assert [row._state.db for row in rows] == ["other"] * 5

    def test_a_router_is_asked_once(self) -> None:
        """Chunks come from one replica: another may lag behind it."""
        asked: list[str] = []

        class Spreading:
            def db_for_read(self, model: Any, **_: Any) -> str:
                asked.append(model.__name__)
                return ["default", "other"][len(asked) % 2]

        Item.objects.using("other").bulk_create(Item(title=str(n)) for n in range(5))
        with override_settings(DATABASE_ROUTERS=[Spreading()]):
            assert len({row._state.db for row in iter_rows(Item.objects.all(), 2)}) == 1
        assert asked == ["Item"]

    def test_rows_hold_nothing_of_the_reading(self) -> None:
        """What was selected to know where a chunk ends is no attribute of its rows."""
        row = read(Item.objects.order_by("author__name"), 3)[0]
        assert not [name for name in row.__dict__ if "oxicache" in name]

    def test_a_row_may_be_changed_or_deleted_by_who_has_it(self) -> None:
        """Deleting every row of a chunk, which takes its primary key, does not disturb the next chunk."""
        for rows in iter_chunks(Item.objects.order_by("title"), 4):
            for row in rows:
                row.delete()
        assert not Item.objects.exists()


class TestRefusals(Catalogue):
    REFUSED: dict[str, tuple[Callable[[], Any], str]] = {  # noqa: RUF012 -- as above
        "sliced": (lambda: Item.objects.all()[:5], "slice"),
        "union": (lambda: Item.objects.all().union(Item.objects.all()), r"union\(\) takes no conditions"),
        "random": (lambda: Item.objects.order_by("?"), "random"),
        "random, among others": (lambda: Item.objects.order_by("price", "?"), "random"),
        "extra order": (lambda: Item.objects.extra(order_by=["price"]), "extra"),
        "extra column": (
            lambda: Item.objects.extra(select={"n": "1"}).order_by("n"),
            "annotate",
        ),
        "distinct on": (lambda: Item.objects.distinct("price"), "one row of each group"),
        "window": (lambda: Item.objects.annotate(rank=Window(Rank(), order_by="price")), "window"),
        "grouped": (lambda: Item.objects.values("price").annotate(n=Count("pk")), "grouped"),
        "distinct values": (lambda: Item.objects.values("price").distinct(), "order_by"),
        "distinct values, in part": (
            lambda: Item.objects.values("price", "title").distinct().order_by("price"),
            "price",
        ),
        "a join": (lambda: Item.objects.filter(labels__slug__contains="o"), "distinct"),
        "a join, further": (lambda: Author.objects.filter(items__whole__title="a"), "distinct"),
        "joined values": (lambda: Item.objects.values("labels__slug"), "distinct"),
        "joined values, distinct": (
            lambda: Item.objects.values("pk", "labels__slug").distinct(),
            "prefetch_related",
        ),
        "an order of many": (lambda: Item.objects.order_by("labels__slug"), "several places"),
    }

    def test_what_cannot_be_continued_is_refused_at_the_call(self) -> None:
        """A queryset whose rows have no place of their own is a ValueError that says what to do."""
        for name, (make, match) in self.REFUSED.items():
            with self.subTest(name), pytest.raises(ValueError, match=match):
                iter_chunks(make(), 5)

    def test_a_join_that_exists_answers_is_read(self) -> None:
        """The remedies that the messages name do work."""
        labels = Item.labels.through.objects.filter(item=OuterRef("pk"), label__slug__contains="o")
        assert len(read(Item.objects.filter(Exists(labels)), 2)) == 9
        assert len(read(Item.objects.filter(Q(price=1) | Q(price=2)), 2)) == 10

    def test_an_order_of_a_model_with_an_order_is_refused(self) -> None:
        """order_by of a relation means the order of its model, which may be several columns."""
        options = Author._meta
        options.ordering = ["name"]
        try:
            with pytest.raises(ValueError, match="author_id"):
                iter_chunks(Item.objects.order_by("author"))
            assert [author.name for author in iter_rows(Author.objects.all(), 1)] == ["Ann", "bob"]
        finally:
            options.ordering = []

    def test_what_is_no_queryset_is_a_type_error(self) -> None:
        """Lists, models and raw querysets are named in a TypeError."""
        for source in ([], Item, Item.objects.raw("SELECT 1")):
            with pytest.raises(TypeError, match=type(source).__name__):
                iter_chunks(source)  # type: ignore[type-var]

    def test_a_size_is_a_whole_number_of_rows(self) -> None:
        """Zero and less are a ValueError, anything but an int a TypeError, at the call."""
        for size in (0, -1):
            with pytest.raises(ValueError, match=f"{size}"):
                iter_chunks(Item.objects.all(), size)
        for wrong in (1.5, "5", True):
            with pytest.raises(TypeError, match="whole number"):
                iter_rows(Item.objects.all(), wrong)  # type: ignore[arg-type]

    def test_a_place_that_does_not_move_is_an_error_and_no_loop(self) -> None:
        """A column that the database rounds when it compares would be read for ever."""
        keyset = chunking.Keyset.of(Item.objects.order_by("price"), 5)
        row = Item.objects.order_by("price", "pk")[4]
        place = keyset.place_after(row, None)
        with pytest.raises(RuntimeError, match="order_by"):
            keyset.place_after(row, place)


class TestWrites(TransactionTestCase):
    databases = {"default"}  # noqa: RUF012 -- as above

    def setUp(self) -> None:
        Project.objects.bulk_create(Project(title=f"{n:02}", budget=n) for n in range(20))

    def test_rows_deleted_before_the_place_make_no_row_skipped(self) -> None:
        """With OFFSET, deleting what was read would skip as many rows of what was not."""
        seen = []
        for rows in iter_chunks(Project.objects.order_by("title"), 5):
            seen += [row.title for row in rows]
            Project.objects.filter(pk__in=[row.pk for row in rows]).delete()
        assert seen == [f"{n:02}" for n in range(20)]

    def test_rows_inserted_before_the_place_make_no_row_repeated(self) -> None:
        """With OFFSET, rows inserted before the place would push others behind it once more."""
        seen = []
        for rows in iter_chunks(Project.objects.order_by("title"), 5):
            seen += [row.title for row in rows]
            Project.objects.bulk_create(Project(title="-") for _ in range(3))
        assert seen == [f"{n:02}" for n in range(20)]

    def test_it_works_inside_of_a_transaction_and_outside(self) -> None:
        """Also where the transaction ends between two chunks."""
        chunks = iter_chunks(Project.objects.all(), 8)
        with transaction.atomic():
            first = next(chunks)
        assert [len(first), *(len(rows) for rows in chunks)] == [8, 8, 4]
        with transaction.atomic():
            assert len(read(Project.objects.select_for_update(), 8)) == 20


class TestAsync(TransactionTestCase):
    databases = {"default"}  # noqa: RUF012 -- as above

    def test_the_twins_read_the_same(self) -> None:
        """aiter_chunks and aiter_rows give what iter_chunks and iter_rows do."""
        Item.objects.bulk_create(Item(title=str(n % 3)) for n in range(11))
        queryset = Item.objects.order_by("title")

        async def collect() -> tuple[list[int], list[Item]]:
            sizes = [len(rows) async for rows in aiter_chunks(queryset, 4)]
            return sizes, [row async for row in aiter_rows(queryset.prefetch_related("labels"), 4)]

        assert async_to_sync(collect)() == ([4, 4, 3], read(queryset, 4))

    def test_they_refuse_at_the_call(self) -> None:
        """A queryset that cannot be read is an error before anything is awaited."""
        with pytest.raises(ValueError, match="slice"):
            aiter_rows(Item.objects.all()[:3])
        with pytest.raises(TypeError):
            aiter_chunks([])  # type: ignore[type-var]
