"""WATCH_STATEMENTS: raw SQL that invalidates, what it spares, and what it cannot tell."""

import logging
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, connection, connections, models, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from project.catalogue.models import Author, Book, Item, Label
from project.parcels.models import Depot, Parcel, Sender, Stop, computed
from sessions import Words, rolled_back

from oxicache.django import conf, execution

ON: dict[str, Any] = {"OXICACHE": {"WATCH_STATEMENTS": True}}


def execute(sql: str, params: Any = None, using: str = "default") -> None:
    """As a project executes raw SQL."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)


@pytest.fixture(autouse=True)
def _log_again() -> Iterator[None]:
    execution._logged.clear()
    yield
    execution._logged.clear()


@override_settings(**ON)
class TestStatements(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def setUp(self) -> None:
        self.sender = Sender.objects.create(name="Ann")
        for pk in (1, 2, 3):
            Parcel.objects.create(pk=pk, code=str(pk), grams=1_000 * pk, sender=self.sender)
        assert [self.weights(), self.sender.grams] == [[1, 2, 3], 6_000]
        computed.clear()

    def weights(self) -> list[float]:
        """What the next request reads of each parcel."""
        return [parcel.kilograms for parcel in Parcel.objects.order_by("pk")]

    def test_an_update_of_rows_whose_keys_it_names(self) -> None:
        """Those rows and what depends on them; the others stay."""
        for sql, params in (
            ("UPDATE parcels_parcel SET grams = %s WHERE id = %s", [9_000, 2]),
            ('update "main"."Parcels_Parcel" set grams = 9000 where (id in (%s) and grams > %s)', (2, 0)),
            ("UPDATE parcels_parcel SET grams = %(grams)s WHERE id = %(id)s", {"grams": 9_000, "id": 2}),
            ("UPDATE parcels_parcel SET grams = 9000 WHERE id = 2", None),
        ):
            computed.clear()
            execute(sql, params)
            assert [self.weights(), computed["kilograms"]] == [[1, 9, 3], 1], sql
            assert Sender.objects.get().grams == 13_000

    def test_an_update_by_anything_else(self) -> None:
        """All rows of the model, with keys that change among them."""
        execute("UPDATE parcels_parcel SET grams = 0 WHERE grams > 2500")
        assert [self.weights(), computed["kilograms"]] == [[1, 2, 0], 3]
        words = Words("rows:parcels.parcel")
        execute("UPDATE parcels_parcel SET id = 4 WHERE id = 3")
        assert words.moved

    def test_deletions_and_upserts(self) -> None:
        """Of rows that may have been there under any key."""
        for sql in (
            "DELETE FROM parcels_parcel WHERE code = '9' OR 1",
            "INSERT INTO parcels_parcel (code, grams) VALUES ('9', 1) ON CONFLICT (code) DO UPDATE SET grams = 9",
            "REPLACE INTO parcels_parcel (id, code, grams) VALUES (9, '9', 1)",
            "WITH old AS (SELECT 9 AS id) DELETE FROM parcels_parcel WHERE id IN (SELECT id FROM old)",
        ):
            words = Words("rows:parcels.parcel", "model:parcels.parcel")
            execute(sql)
            assert len(words.moved) == 2, sql

    def test_new_rows(self) -> None:
        """Only what depends on the model: nothing can be held of a row that was not there."""
        execute(
            "INSERT INTO parcels_parcel (code, grams, sender_id) VALUES (%s, %s, %s)",
            ["4", 1, self.sender.pk],
        )
        assert Sender.objects.get().grams == 6_001
        assert [self.weights()[:3], computed["kilograms"]] == [[1, 2, 3], 1]

    def test_many_at_once(self) -> None:
        """`executemany`: the rows of all parameters, or all rows where these can be read only once."""
        sql = "UPDATE parcels_parcel SET grams = %s WHERE id = %s"
        for params, count in (([(0, 1), (0, 2)], 2), (iter([(0, 1), (0, 2)]), 3)):
            computed.clear()
            with connection.cursor() as cursor:
                cursor.executemany(sql, params)
            assert [self.weights(), computed["kilograms"]] == [[0, 0, 3], count]

    def test_what_changes_nothing(self) -> None:
        """Neither reading, nor a statement that finds no row, nor one on a table of no model."""
        words = Words("rows:parcels.parcel", "model:parcels.parcel")
        execute("SELECT * FROM parcels_parcel")
        execute("UPDATE parcels_parcel SET grams = 1 WHERE id = 99")
        execute("CREATE TABLE nobodys (parcels_parcel integer)")
        execute("INSERT INTO nobodys VALUES (1)")
        execute("UPDATE nobodys SET parcels_parcel = 2")
        execute("ALTER TABLE nobodys ADD more integer")
        execute("DROP TABLE nobodys")
        execute("")
        assert words.moved == []

    def test_rows_that_a_statement_returns(self) -> None:
        """Which SQLite has not counted yet when it has executed."""
        execute("UPDATE parcels_parcel SET grams = 5000 WHERE id = 1 RETURNING id")
        assert self.weights() == [5, 2, 3]

    def test_saves_drop_no_more_than_by_their_signals(self) -> None:
        """What Django writes for `save()` and `delete()` names its row."""
        parcel = Parcel.objects.get(pk=1)
        parcel.grams = 7_000
        parcel.save()
        Parcel.objects.create(code="4", grams=4_000)
        Parcel.objects.get(pk=2).delete()
        assert [self.weights(), computed["kilograms"]] == [[7, 3, 4], 2]

    def test_a_model_of_text_keys(self) -> None:
        """The database may find a text under another spelling: all rows."""
        words = Words("rows:catalogue.label")
        Label.objects.create(slug="a")
        execute("DELETE FROM catalogue_label WHERE slug = 'A' COLLATE NOCASE")
        assert words.moved

    def test_a_child_and_its_parent(self) -> None:
        """The table of either; a UUID as the database has it."""
        book = Book.objects.create(price=1, pages=1)
        names = [f"row:catalogue.item:{book.pk}", f"row:catalogue.book:{book.pk}", "rows:catalogue.item"]
        words = Words(*names)
        execute("UPDATE catalogue_book SET pages = 2 WHERE item_ptr_id = %s", [book.pk])
        assert words.moved == names[:2]
        words = Words(*names)
        execute("UPDATE catalogue_item SET price = 2 WHERE id = %s", [book.pk])
        assert words.moved == names[:1]
        author = Author.objects.create(name="Ann")
        words = Words(f"row:catalogue.author:{author.pk}", "rows:catalogue.author")
        execute("UPDATE catalogue_author SET name = 'B' WHERE id = %s", [author.pk.hex])
        assert words.moved == [f"row:catalogue.author:{author.pk}"]

    def test_a_table_between_a_relation(self) -> None:
        """The rows at both ends, those it names where it does."""
        one, two = (Depot.objects.create(name=name) for name in "ab")
        assert [one.parcels_here, two.parcels_here] == [0, 0]

        def read() -> list[int]:
            return [Depot.objects.get(pk=depot.pk).parcels_here for depot in (one, two)]

        execute("INSERT INTO parcels_stop (parcel_id, depot_id) VALUES (%s, %s)", [1, one.pk])
        assert [read(), computed["parcels_here"]] == [[1, 0], 3]
        execute("UPDATE parcels_stop SET depot_id = %s WHERE parcel_id = %s", [two.pk, 1])
        assert read() == [0, 1]
        execute("UPDATE parcels_stop SET depot_id = %s WHERE depot_id = %s", [one.pk, two.pk])
        assert read() == [1, 0]
        computed.clear()
        execute("DELETE FROM parcels_stop WHERE depot_id = %s", [one.pk])
        assert [read(), computed["parcels_here"]] == [[0, 0], 1]
        Stop.objects.create(parcel_id=1, depot=one)
        assert read() == [1, 0]

    def test_the_table_that_django_makes_between_a_relation(self) -> None:
        """It has a model like any other."""
        item, label = Item.objects.create(), Label.objects.create(slug="a")
        names = [f"row:catalogue.item:{item.pk}", "rows:catalogue.item", "rows:catalogue.label"]
        words = Words(*names)
        item.labels.add(label)
        assert words.moved == [names[0], names[2]]  # the label's key is a text
        words = Words(*names)
        execute("DELETE FROM catalogue_item_labels")
        assert words.moved == names[1:]

    def test_several_models_of_one_table(self) -> None:
        """Each of them."""

        class Weights(models.Model):
            grams = models.IntegerField()

            class Meta:
                app_label = "parcels"
                db_table = "parcels_parcel"
                managed = False

        try:
            words = Words("rows:parcels.weights", "rows:parcels.parcel")
            execute("UPDATE parcels_parcel SET grams = 0")
            assert len(words.moved) == 2
        finally:
            del Weights._meta.apps.all_models["parcels"]["weights"]
            Weights._meta.apps.clear_cache()
            execution._tables.clear()

    def test_what_cannot_be_told(self) -> None:
        """All models are invalidated each time, and one line of the log says so, without the values."""
        names = ["rows:parcels.parcel", "model:catalogue.item"]
        words = Words(*names)
        with self.assertLogs("oxicache", logging.WARNING) as logs:
            self.call()
        assert words.moved == names
        assert "CALL on database 'default'" in logs.output[0]
        assert "secret" not in logs.output[0]
        words = Words(*names)
        with self.assertNoLogs("oxicache", logging.WARNING):
            self.call()
        assert words.moved == names

    def call(self) -> None:
        """A statement that SQLite does not have, as if it had."""
        wrapper = execution._statement_executed
        cursor = mock.Mock(rowcount=-1)
        wrapper(
            lambda *_: None, "CALL f('secret')", None, False, {"connection": connection, "cursor": cursor}
        )

    def test_a_failing_invalidation(self) -> None:
        """It is counted and logged, and the statement stands."""
        with (
            mock.patch.object(execution.bulk, "changed", side_effect=OSError("no memory")),
            self.assertLogs("oxicache", logging.WARNING) as logs,
        ):
            execute("UPDATE parcels_parcel SET grams = 0 WHERE id = 1")
        assert "watched statements" in logs.output[0]

    def test_a_statement_of_another_kind_of_text(self) -> None:
        """Bytes, and psycopg's own objects."""

        class Composed:
            def as_string(self, context: object) -> str:
                return "UPDATE parcels_parcel SET grams = 0 WHERE id = 2"

        for sql in (b"UPDATE parcels_parcel SET grams = 0 WHERE id = 2", Composed()):
            words = Words("row:parcels.parcel:2", "rows:parcels.parcel")
            context = {"connection": connection, "cursor": mock.Mock(rowcount=1)}
            execution._statement_executed(lambda *_: None, sql, None, False, context)
            assert words.moved == ["row:parcels.parcel:2"]


@override_settings(**ON)
class TestTransactions(TransactionTestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    SQL: ClassVar = "UPDATE parcels_parcel SET grams = 5000 WHERE id = 1"

    def setUp(self) -> None:
        Parcel.objects.create(pk=1, code="1", grams=1_000)
        assert self.read() == 1
        self.words = Words("row:parcels.parcel:1", "rows:parcels.parcel", "model:parcels.parcel")

    def read(self) -> float:
        return Parcel.objects.get(pk=1).kilograms

    def test_without_one(self) -> None:
        """At once."""
        execute(self.SQL)
        assert self.read() == 5

    def test_a_commit(self) -> None:
        """Not before it."""
        with transaction.atomic():
            execute(self.SQL)
            assert self.words.moved == []
        assert self.read() == 5

    def test_a_rollback(self) -> None:
        """Of the transaction or of a savepoint: nothing."""
        with rolled_back():
            execute(self.SQL)
        with transaction.atomic(), rolled_back():
            execute(self.SQL)
        assert [self.words.moved, self.read()] == [[], 1]

    def test_another_database(self) -> None:
        """The connection says whose commit is waited for."""
        Parcel.objects.using("other").create(pk=1, code="1")
        words = Words("row:parcels.parcel:1")
        with transaction.atomic(using="other"):
            execute(self.SQL, using="other")
            with transaction.atomic(using="default"):
                Depot.objects.create(name="a")
            assert words.moved == []
        assert words.moved

    def test_a_statement_that_fails(self) -> None:
        """It changed nothing; one whose connection broke may have."""
        with pytest.raises(IntegrityError):
            execute("INSERT INTO parcels_parcel (id, code, grams) VALUES (1, '1', 1)")
        assert self.words.moved == []

        def breaks(*_: Any) -> None:
            raise OperationalError("the connection is lost")

        context = {"connection": connection, "cursor": mock.Mock(rowcount=-1)}
        with pytest.raises(OperationalError):
            execution._statement_executed(breaks, self.SQL, None, False, context)
        assert self.read() == 1
        assert "rows:parcels.parcel" in self.words.moved

    def test_a_connection_that_is_new(self) -> None:
        """Another thread's, say: it is watched from its beginning, once."""
        other = connection.copy()
        for _ in range(2):
            other.connect()
            assert other.execute_wrappers.count(execution._statement_executed) == 1
            other.connection.close()


class TestSetting(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def moved_on(self, alias: str) -> bool:
        words = Words("rows:parcels.parcel")
        Parcel.objects.using(alias).get_or_create(code="1")
        execute("UPDATE parcels_parcel SET grams = 0", using=alias)
        return bool(words.moved)

    def test_it_is_off(self) -> None:
        """Unless it is asked for."""
        assert conf.current().watch_statements is False
        assert not self.moved_on("default")

    def test_some_databases(self) -> None:
        """Those of the list alone."""
        with override_settings(OXICACHE={"WATCH_STATEMENTS": ["other"]}):
            assert [self.moved_on(alias) for alias in ("default", "other")] == [False, True]

    def test_it_is_switched_off_again(self) -> None:
        """Also for connections that are open."""
        with override_settings(**ON):
            execute("SELECT 1")
            assert self.moved_on("default")
        assert not self.moved_on("default")

    def test_what_is_no_value_of_it(self) -> None:
        """The error names the aliases there are."""
        for wrong in ("default", ["nowhere"], 1, None):
            with (
                pytest.raises(ImproperlyConfigured, match=r"WATCH_STATEMENTS.*default, other"),
                override_settings(OXICACHE={"WATCH_STATEMENTS": wrong}),
            ):
                conf.current()
