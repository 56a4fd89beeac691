"""Row caches inside TestCase: its own blocks do not count, those of the code under test do as far as it can see."""

import asyncio
from typing import ClassVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase
from project.catalogue.models import Item, Label, computed
from sessions import Words, rolled_back

from oxicache import _native
from oxicache.django import statements, transactions


class TestInTestCase(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    @classmethod
    def setUpTestData(cls) -> None:
        Item.objects.create(pk=1, title="Set", price=10)

    def setUp(self) -> None:
        assert self.reads() == 20
        computed.clear()
        self.words = Words("row:catalogue.item:1", "model:catalogue.item")

    def reads(self) -> int:
        """What the next request reads."""
        return Item.objects.get(pk=1).doubled

    def write(self, price: int = 50) -> None:
        """Save another price."""
        Item(pk=1, title="Set", price=price).save()

    def test_the_block_of_a_testcase_does_not_count(self) -> None:
        """A test that saves and reads sees what a user would: invalidated at once, and cached again."""
        self.write()
        assert self.words.moved == ["row:catalogue.item:1", "model:catalogue.item"]
        assert not transactions.is_written("default")
        assert [self.reads(), self.reads(), computed["doubled"]] == [100, 100, 1]

    def test_no_callback_of_ours_is_captured(self) -> None:
        """captureOnCommitCallbacks() counts the callbacks of the code under test, and run_on_commit holds no others."""
        with self.captureOnCommitCallbacks() as callbacks:
            self.write()
            with transaction.atomic():
                self.write(60)
                transaction.on_commit(str)
                assert len(connection.run_on_commit) == 1
            Item.objects.filter(pk=1).delete()
        assert callbacks == [str]

    def test_a_block_of_the_test_bypasses_and_invalidates_at_once(self) -> None:
        """Its commit will never come; what it reads until its end is stored by nobody."""
        with transaction.atomic():
            assert [self.reads(), computed["doubled"]] == [20, 0]
            self.write()
            assert self.words.moved != []
            assert [self.reads(), self.reads(), computed["doubled"]] == [100, 100, 2]
        assert not transactions.is_written("default")
        assert [self.reads(), self.reads(), computed["doubled"]] == [100, 100, 3]

    def test_a_block_of_the_test_rolled_back(self) -> None:
        """The next read computes what the database went back to."""
        with rolled_back():
            self.write()
            assert self.reads() == 100
        assert not transactions.is_written("default")
        assert [self.reads(), self.reads(), computed["doubled"]] == [20, 20, 2]

    def test_a_savepoint_rolled_back_ends_the_bypass(self) -> None:
        """As it does outside of TestCase."""
        with transaction.atomic():
            with rolled_back():
                self.write()
            assert not transactions.is_written("default")
            assert [self.reads(), self.reads(), computed["doubled"]] == [20, 20, 1]

    def test_a_savepoint_released_does_not(self) -> None:
        """What it wrote is the block's around it."""
        with transaction.atomic():
            with transaction.atomic():
                Item.objects.filter(pk=1).update(price=5)
            assert transactions.is_written("default")
        assert not transactions.is_written("default")

    def test_a_function_that_is_a_block_ends_each_time(self) -> None:
        """A decorator's block is one object for all its calls."""

        @transaction.atomic
        def write() -> bool:
            before = transactions.is_written("default")
            self.write()
            assert transactions.is_written("default")
            return before

        assert [write(), transactions.is_written("default"), write()] == [False, False, False]

    def test_a_block_without_a_savepoint(self) -> None:
        """It is the test's own block all the same."""
        with transaction.atomic(savepoint=False):
            self.write()
            assert transactions.is_written("default")
        assert not transactions.is_written("default")

    def test_another_database(self) -> None:
        """A write on `other` does not bypass `default`."""
        with transaction.atomic(), transaction.atomic(using="other"):
            Label(slug="a").save(using="other")
            assert (transactions.is_written("other"), transactions.is_written("default")) == (True, False)

    async def test_an_async_test(self) -> None:
        """Saves and reads of an async test go through another thread, and are as fresh."""
        item = await Item.objects.aget(pk=1)
        assert await item.awaited == 20
        item.price = 50
        await item.asave()
        assert [await item.awaited, await item.awaited, computed["awaited"]] == [100, 100, 2]


class TestAsync(TransactionTestCase):
    def setUp(self) -> None:
        self.item = Item.objects.create(pk=1, title="Set", price=10)
        computed.clear()
        self.words = Words("row:catalogue.item:1")

    async def test_a_block_in_a_thread_invalidates_at_its_end(self) -> None:
        """A transaction in async code is one function in a thread, and its commit is that function's end."""
        assert await self.item.awaited == 20

        def work() -> None:
            with transaction.atomic():
                Item(pk=1, title="Set", price=50).save()
                assert self.words.moved == []

        await sync_to_async(work)()
        assert self.words.moved != []
        assert [await self.item.awaited, await self.item.awaited, computed["awaited"]] == [100, 100, 2]

    def test_an_async_read_inside_a_block_stores_nothing(self) -> None:
        """An event loop cannot tell whose connection its queries use: it bypasses while anybody has written."""

        async def read() -> int:
            return await self.item.awaited  # type: ignore[no-any-return]

        with rolled_back():
            Item.objects.filter(pk=1).update(price=50)
            self.item.price = 50
            assert async_to_sync(read)() == 100
        assert asyncio.run(read()) == 20

    async def test_an_event_loop_stores_nothing_older_than_what_was_invalidated(self) -> None:
        """An open transaction anywhere may be the one that its queries run in."""
        asked: list[bool] = []

        def work() -> None:
            with transaction.atomic():
                Item.objects.exists()
                stamps = _native.capture(["row:catalogue.item:1"])
                asked.append(async_to_sync(allows)(stamps))
                _native.bump(["row:catalogue.item:1"])
                asked.append(async_to_sync(allows)(_native.capture(["row:catalogue.item:1"])))

        async def allows(stamps: _native.Stamps) -> bool:
            return transactions.allows_storing("default", stamps)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transactions._native, "now", lambda: 1e6)
            await sync_to_async(work)()
        assert asked[1] is False


READING = [
    "SELECT 1",
    "  select 1",
    "(SELECT 1) UNION (SELECT 2)",
    "-- a comment\nSELECT 1",
    "/* insert */ SELECT 1;",
    'SELECT * FROM t WHERE id = %s FOR UPDATE OF "t"',
    "SAVEPOINT s1",
    "RELEASE SAVEPOINT s1",
    "ROLLBACK TO SAVEPOINT s1",
    "SHOW server_version",
    "SET TIME ZONE 'UTC'",
    "EXPLAIN DELETE FROM t",
    "PRAGMA table_info(t)",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE",
    "VALUES (1)",
    b"SELECT 1",
]
WRITING = [
    "INSERT INTO t VALUES (1)",
    "update t set a = 1",
    "DELETE FROM t",
    "REPLACE INTO t VALUES (1)",
    "MERGE INTO t USING s ON a = b WHEN MATCHED THEN DELETE",
    "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
    "EXPLAIN ANALYZE DELETE FROM t",
    "PRAGMA user_version = 3",
    "CREATE TABLE t (a int)",
    "TRUNCATE t",
    "CALL refresh()",
    "COPY t FROM STDIN",
    "SELECT 1; DELETE FROM t",
    "selection",
    "",
    object(),
]


@pytest.mark.parametrize("sql", READING, ids=str)
def test_a_statement_that_reads(sql: object) -> None:
    """It leaves a transaction unwritten."""
    assert not statements.may_write(sql)


@pytest.mark.parametrize("sql", WRITING, ids=lambda sql: str(sql)[:20])
def test_a_statement_that_may_write(sql: object) -> None:
    """In doubt it does."""
    assert statements.may_write(sql)


@pytest.mark.parametrize(
    ("sql", "ending"),
    [
        ("COMMIT", "COMMIT"),
        (" end transaction", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("ABORT", "ROLLBACK"),
        ("ROLLBACK TO SAVEPOINT a", None),
        ("rollback transaction to a", None),
        ("COMMIT PREPARED 'a'", None),
        ("SELECT 1", None),
        (object(), None),
    ],
)
def test_how_a_statement_ends_a_transaction(sql: object, ending: str | None) -> None:
    """A savepoint's end is not the transaction's."""
    assert statements.ending_of(sql) == ending
