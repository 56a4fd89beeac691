"""Bulk operations and raw SQL on PostgreSQL: its own statements, as Django and psycopg write them, and two sessions."""

from collections.abc import Iterator
from typing import Any

import pytest

django = pytest.importorskip("django")

from django.db import ProgrammingError, connections  # noqa: E402 -- needs Django, as the rest
from django.test import override_settings  # noqa: E402
from project.catalogue.models import Item, Label, computed  # noqa: E402
from sessions import ALIAS, Session, Words, catalogue_database  # noqa: E402

from oxicache.django import InvalidatingQuerySet, execution  # noqa: E402

Pair = tuple[Session, Session]


@pytest.fixture(scope="module", autouse=True)
def _database(postgresql_settings: dict[str, Any], django_databases: None) -> Iterator[None]:
    """The catalogue's tables in a database of this module's own."""
    with catalogue_database(dict(postgresql_settings)):
        yield


@pytest.fixture
def pair(_database: None) -> Iterator[Pair]:
    """A reader and a writer, of rows 1 and 2 whose price is 10."""
    Item.objects.using(ALIAS).all().delete()
    Label.objects.using(ALIAS).all().delete()
    Item.objects.using(ALIAS).bulk_create([Item(pk=pk, title="Shared", price=10) for pk in (1, 2)])
    computed.clear()
    pair = Session(), Session()
    yield pair
    for session in pair:
        session.end()


@pytest.fixture
def watched() -> Iterator[None]:
    """WATCH_STATEMENTS on the databases that settings name; this one comes and goes."""
    with override_settings(OXICACHE={"WATCH_STATEMENTS": True}):
        execution._logged.clear()
        yield
        execution._tables.clear()


def rows(model: Any) -> InvalidatingQuerySet[Any]:
    return InvalidatingQuerySet(model, using=ALIAS)


def moved(change: Any, *names: str) -> list[str]:
    """Which of these words a change moves."""
    words = Words(*names)
    change()
    return words.moved


class TestManager:
    def test_another_session_reads_what_was_committed(self, pair: Pair) -> None:
        """Until the commit the reader sees the old value, after it the new one, and nothing of a rollback."""
        reader, writer = pair
        assert reader.doubled(1) == 20
        for price, end, after in ((50, writer.commit, 100), (60, writer.rollback, 100)):
            before = reader.doubled(1)
            writer.begin()
            with writer:
                rows(Item).filter(title="Shared").update(price=price)
                assert Item.objects.using(ALIAS).get(pk=1).doubled == 2 * price
            assert reader.doubled(1) == before
            end()
            assert [reader.doubled(1), writer.doubled(1), reader.doubled(1)] == [after] * 3

    def test_a_row_that_comes_into_the_filter_meanwhile(self, pair: Pair) -> None:
        """Another session commits it between the beginning of the update's transaction and its statement."""
        reader, writer = pair
        with reader:
            Item.objects.using(ALIAS).filter(pk=2).update(title="Other")
        assert [reader.doubled(1), reader.doubled(2)] == [20, 20]
        writer.begin()
        with writer:
            found = rows(Item).filter(title="Shared")
            assert found.count() == 1
        with reader:
            Item.objects.using(ALIAS).filter(pk=2).update(title="Shared")
        with writer:
            assert found.update(price=50) == 2
        writer.commit()
        assert [reader.doubled(1), reader.doubled(2)] == [100, 100]

    def test_keys_of_new_rows_come_back(self, pair: Pair) -> None:
        """Those of a bulk_create, and not of one that may have updated."""
        _, writer = pair
        with writer:
            names = ["row:catalogue.item:7", "rows:catalogue.item", "model:catalogue.item"]
            made = [Item(pk=7)]
            assert moved(lambda: rows(Item).bulk_create(made), *names) == [names[0], names[2]]
            options: dict[str, Any] = {
                "update_conflicts": True,
                "update_fields": ["price"],
                "unique_fields": ["id"],
            }
            assert moved(lambda: rows(Item).bulk_create(made, **options), *names) == names[1:]


@pytest.mark.usefixtures("watched")
class TestStatements:
    NAMES = ("row:catalogue.item:1", "row:catalogue.item:2", "rows:catalogue.item", "model:catalogue.item")

    def run(self, sql: Any, params: Any = None) -> list[str]:
        """Which words a statement moves."""

        def execute() -> None:
            with connections[ALIAS].cursor() as cursor:
                cursor.execute(sql, params)

        return moved(execute, *self.NAMES)

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ('UPDATE ONLY "public"."catalogue_item" i SET price = 1 WHERE i.id = 2', (1, 3)),
            (
                "WITH gone AS (DELETE FROM catalogue_item WHERE id = 2 RETURNING *) SELECT count(*) FROM gone",
                (1, 3),
            ),
            ("INSERT INTO catalogue_item (id, title, price) SELECT 77, 'x', 1", (3,)),
            (
                """INSERT INTO catalogue_item (id, title, price) VALUES (1, 'x', 1)
                ON CONFLICT (id) DO UPDATE SET price = 2""",
                (2, 3),
            ),
            (
                """MERGE INTO catalogue_item t USING (SELECT 1 AS id) s ON t.id = s.id
                WHEN MATCHED THEN UPDATE SET price = 2""",
                (2, 3),
            ),
            ("TRUNCATE catalogue_item CASCADE", (2, 3)),
            ("SELECT * FROM catalogue_item WHERE id = 1 FOR UPDATE", ()),
            ("EXPLAIN UPDATE catalogue_item SET price = 1", ()),
            ("EXPLAIN ANALYZE UPDATE catalogue_item SET price = 1 WHERE id = 1", (0, 3)),
            ("UPDATE catalogue_item SET price = 1 WHERE id = 99", ()),
            ("DO $$ BEGIN UPDATE catalogue_item SET price = 1; END $$", (2, 3)),
            ("CREATE TEMPORARY TABLE catalogue_others AS SELECT * FROM catalogue_item", ()),
        ],
    )
    def test_what_postgresql_has(self, pair: Pair, sql: str, words: tuple[int, ...]) -> None:
        """Each is what its text says: rows, all rows, or nothing."""
        with pair[1]:
            if "FOR UPDATE" in sql:
                pair[1].begin()
            assert self.run(sql) == [self.NAMES[word] for word in words]

    def test_objects_of_psycopg(self, pair: Pair) -> None:
        """Composed statements, whose names and parameters come apart."""
        sql = pytest.importorskip("psycopg.sql")
        statement = sql.SQL("UPDATE {} SET price = %s WHERE {} = %s").format(
            sql.Identifier("public", "catalogue_item"), sql.Identifier("id")
        )
        with pair[1]:
            assert self.run(statement, [9, 2]) == [self.NAMES[1], self.NAMES[3]]

    def test_what_django_writes(self, pair: Pair) -> None:
        """A save is its row; a relation is the rows that it names, also where they come as lists."""
        with pair[1]:
            item = Item.objects.using(ALIAS).get(pk=1)
            assert moved(item.save, *self.NAMES) == [self.NAMES[0], self.NAMES[3]]
            labels = [Label.objects.using(ALIAS).create(slug=slug) for slug in "abc"]
            assert moved(lambda: item.labels.set(labels), *self.NAMES) == [self.NAMES[0], self.NAMES[3]]
            between = Item.labels.through
            many = [between(item_id=2, label_id=slug) for slug in "abc"]
            assert moved(lambda: between.objects.using(ALIAS).bulk_create(many), *self.NAMES) == [
                self.NAMES[1],
                self.NAMES[3],
            ]

    def test_a_statement_that_fails_in_a_savepoint(self, pair: Pair) -> None:
        """Nothing is invalidated, and the transaction goes on."""
        _, writer = pair
        writer.begin()
        writer.begin()
        with writer, pytest.raises(ProgrammingError):
            self.run("UPDATE catalogue_item SET nothing = 1")
        writer.rollback()
        with writer:
            assert self.run("UPDATE catalogue_item SET price = 2 WHERE id = 1") == []
        words = Words(*self.NAMES)
        writer.commit()
        assert words.moved == [self.NAMES[0], self.NAMES[3]]

    def test_many_at_once(self, pair: Pair) -> None:
        """Psycopg sends them together; the rows are those of all parameters."""

        def execute() -> None:
            with connections[ALIAS].cursor() as cursor:
                cursor.executemany("UPDATE catalogue_item SET price = %s WHERE id = %s", [(1, 1), (2, 2)])

        with pair[1]:
            assert moved(execute, *self.NAMES) == [self.NAMES[0], self.NAMES[1], self.NAMES[3]]
