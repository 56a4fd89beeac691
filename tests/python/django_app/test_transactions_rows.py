"""Row caches in transactions of the code under test: bypassed once it has written, invalidated by the commit."""

import pytest
from django.db import IntegrityError, connection, transaction
from project.catalogue.models import Item, Label, computed
from sessions import RolledBackError, RowsTestCase, Words, rolled_back

from oxicache import store
from oxicache.django import marks, transactions

# The older name, which is all that Django 5.2 has, is deprecated from 6.1 on.
SAVEPOINT = vars(transaction).get("savepoint_create") or transaction.savepoint


class TestCommitted(RowsTestCase):
    def test_a_write_outside_of_a_transaction_invalidates_at_once(self) -> None:
        """In autocommit mode a save is committed when its signal is sent."""
        self.write()
        assert self.words.moved == ["row:catalogue.item:1", "model:catalogue.item"]
        assert [self.reads(), self.reads(), computed["doubled"]] == [100, 100, 1]

    def test_a_transaction_sees_its_own_write_and_nobody_else_does(self) -> None:
        """From the write to the commit every read computes, stores nothing, and no word is moved."""
        with transaction.atomic():
            assert [self.reads(), computed["doubled"]] == [20, 0]
            self.write()
            assert [self.reads(), self.reads(), computed["doubled"]] == [100, 100, 2]
            assert self.words.moved == []
        assert self.words.moved == ["row:catalogue.item:1", "model:catalogue.item"]
        assert [self.reads(), self.reads(), computed["doubled"]] == [100, 100, 3]

    def test_a_rollback_leaves_everything_as_it_was(self) -> None:
        """Nothing is invalidated, nothing of what was computed is kept, and the next read hits."""
        with rolled_back():
            self.write()
            assert self.reads() == 100
        assert self.words.moved == []
        assert [self.reads(), computed["doubled"]] == [20, 1]

    def test_any_statement_that_writes_counts(self) -> None:
        """`update()` sends no signal, but what the transaction reads after it is uncommitted all the same."""
        with rolled_back():
            Item.objects.filter(pk=1).update(price=7)
            assert self.reads() == 14
        assert [self.reads(), computed["doubled"]] == [20, 1]

    def test_many_rows_at_once_count(self) -> None:
        """executemany() is noticed as execute() is."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.executemany("UPDATE catalogue_item SET price = %s WHERE id = %s", [(7, 1)])
            assert transactions.is_written("default")
        assert not transactions.is_written("default")

    def test_reading_is_not_writing(self) -> None:
        """A transaction that only reads hits."""
        with transaction.atomic():
            assert [self.reads(), computed["doubled"]] == [20, 0]
            with transaction.atomic():
                assert [self.reads(), computed["doubled"]] == [20, 0]
            assert not transactions.is_written("default")

    def test_another_database_is_not_bypassed(self) -> None:
        """A write on `other` says nothing about `default`."""
        with transaction.atomic(), transaction.atomic(using="other"):
            Label(slug="a").save(using="other")
            assert (transactions.is_written("other"), transactions.is_written("default")) == (True, False)
            assert [self.reads(), computed["doubled"]] == [20, 0]

    def test_each_database_invalidates_by_its_own_commit(self) -> None:
        """What was saved on `other` is not committed by the end of a block on `default`."""
        words = Words("row:catalogue.label:a")
        with transaction.atomic(using="other"):
            with transaction.atomic():
                Label(slug="a").save(using="other")
                self.write()
            assert (self.words.moved != [], words.moved) == (True, [])
        assert words.moved != []

    def test_deletions_and_relations_wait_too(self) -> None:
        """post_delete and m2m_changed are sent before the commit."""
        words = Words("row:catalogue.label:a")
        with transaction.atomic():
            self.item.labels.add(Label.objects.create(slug="a"))
            Item.objects.filter(pk=1).delete()
            assert self.words.moved + words.moved == []
        assert [*self.words.moved, *words.moved] == [
            "row:catalogue.item:1",
            "model:catalogue.item",
            "row:catalogue.label:a",
        ]

    def test_a_computation_that_writes_is_not_kept(self) -> None:
        """What a function reads after it has written in a transaction is uncommitted, though its load began before."""
        with rolled_back():
            item = Item.objects.get(pk=1)
            original = Item.unit
            Item.unit = lambda self: (self.save(), "of all")[1]  # type: ignore[method-assign,func-returns-value]
            try:
                assert item.priced() == "10 of all"
            finally:
                Item.unit = original  # type: ignore[method-assign]
        assert self.item.priced() == "10 each"


class TestNesting(RowsTestCase):
    def test_a_savepoint_rolled_back_takes_its_writes_along(self) -> None:
        """After it the transaction has not written: it hits again, and its commit invalidates nothing."""
        with transaction.atomic():
            with rolled_back():
                self.write()
                assert [self.reads(), computed["doubled"]] == [100, 1]
            assert not transactions.is_written("default")
            assert [self.reads(), computed["doubled"]] == [20, 1]
        assert self.words.moved == []

    def test_a_savepoint_released_leaves_its_writes_to_the_block_around(self) -> None:
        """They are the transaction's: uncommitted until its end, and gone with its rollback."""
        with rolled_back():
            with transaction.atomic():
                self.write()
            assert (transactions.is_written("default"), self.words.moved) == (True, [])
        assert (transactions.is_written("default"), self.words.moved) == (False, [])
        with transaction.atomic(), transaction.atomic():
            self.write()
        assert self.words.moved != []

    def test_what_was_written_before_a_savepoint_outlives_its_rollback(self) -> None:
        """The rollback of an inner block undoes the inner writes alone."""
        label = Words("row:catalogue.label:a")
        with transaction.atomic():
            self.write()
            with rolled_back():
                Label.objects.create(slug="a")
            assert transactions.is_written("default")
        assert (self.words.moved != [], label.moved) == (True, [])

    def test_a_released_savepoint_inside_one_that_is_rolled_back(self) -> None:
        """The block in the middle decides for those inside it."""
        with transaction.atomic():
            with rolled_back(), transaction.atomic():
                self.write()
            assert not transactions.is_written("default")
        assert self.words.moved == []

    def test_savepoints_come_and_go_and_marks_do_not_pile_up(self) -> None:
        """A loop of `get_or_create` leaves two marks, not one a turn, and every row is invalidated."""
        words = Words(*(f"row:catalogue.label:{number}" for number in range(50)))
        with transaction.atomic():
            for number in range(50):
                Label.objects.get_or_create(slug=str(number))
            assert len(connection.run_on_commit) <= 3
        assert len(words.moved) == 50

    def test_a_block_without_a_savepoint_is_part_of_the_one_around(self) -> None:
        """An error in it rolls all of it back, at the end of the block around it."""
        with transaction.atomic():
            with rolled_back(savepoint=False):
                self.write()
            assert connection.needs_rollback
            assert transactions.is_written("default")
        assert (self.words.moved, transactions.is_written("default")) == ([], False)
        assert self.reads() == 20

    def test_a_durable_block_invalidates_at_its_end(self) -> None:
        """It is the outermost one by definition."""
        with transaction.atomic(durable=True):
            self.write()
        assert self.reads() == 100

    def test_a_statement_that_fails_leaves_no_mark_behind(self) -> None:
        """The savepoint around it is rolled back."""
        with transaction.atomic():
            with pytest.raises(IntegrityError), transaction.atomic():
                Item.objects.create(pk=1, title="Again")
            assert not transactions.is_written("default")

    def test_savepoints_of_ones_own_are_on_the_safe_side(self) -> None:
        """Django does not say that a `transaction.savepoint()` was rolled back: too much is invalidated."""
        with transaction.atomic():
            sid = SAVEPOINT()
            self.write()
            transaction.savepoint_rollback(sid)
            assert self.reads() == 20
        assert self.words.moved != []
        assert self.reads() == 20


class TestCallbacks(RowsTestCase):
    def test_on_commit_callbacks_see_fresh_values(self) -> None:
        """Even one that was registered before the write."""
        seen: list[int] = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(self.reads()))
            self.write()
        assert seen == [100]

    def test_a_failing_callback_does_not_keep_values_alive(self) -> None:
        """It runs after the invalidation."""

        def fail() -> None:
            raise RolledBackError

        def write() -> None:
            with transaction.atomic():
                transaction.on_commit(fail)
                self.write()

        with pytest.raises(RolledBackError):
            write()
        assert [self.words.moved != [], self.reads()] == [True, 100]

    def test_a_failing_invalidation_does_not_stop_callbacks(self) -> None:
        """It is counted and logged, and the commit goes on."""
        seen: list[str] = []
        before = store.failure_counts().get("row invalidation", 0)
        with pytest.MonkeyPatch.context() as patch, self.assertLogs("oxicache.store", "WARNING"):
            patch.setattr(marks.version_words, "bump", lambda names: 1 / 0)
            with transaction.atomic():
                transaction.on_commit(lambda: seen.append("mine"))
                self.write()
        assert seen == ["mine"]
        assert store.failure_counts()["row invalidation"] == before + 1

    def test_a_commit_that_fails_invalidates(self) -> None:
        """Whether the database has committed is not always known then; too much invalidated is harmless."""
        item = Item(pk=1, title="Set", price=50, author_id="00000000000000000000000000000001")
        with pytest.raises(IntegrityError), transaction.atomic():
            item.save()
        assert self.words.moved != []
        assert not transactions.is_written("default")
        assert [self.reads(), computed["doubled"]] == [20, 1]

    def test_a_bulk_of_rows_becomes_all_rows(self) -> None:
        """The names of more rows than MAX_PENDING_WORDS are not kept: their models' are."""
        words = Words("rows:catalogue.item", "row:catalogue.item:3")
        with transaction.atomic():
            names = [f"row:catalogue.item:{number}" for number in range(marks.MAX_PENDING_WORDS + 1)]
            transactions.invalidate_words(names, "default")
        assert words.moved == ["rows:catalogue.item"]

    def test_without_a_database_it_is_done_now_and_at_the_commit(self) -> None:
        """`cache_clear()` takes effect at once, and once more when nobody can read what it was about any more."""
        first = Words("member:a")
        with transaction.atomic():
            Item.objects.exists()
            transactions.invalidate_words(["member:a"])
            assert first.moved == ["member:a"]
            second = Words("member:a")
        assert second.moved == ["member:a"]


class TestManual(RowsTestCase):
    def setUp(self) -> None:
        super().setUp()
        transaction.set_autocommit(False)

    def tearDown(self) -> None:
        transaction.rollback()
        transaction.set_autocommit(True)

    def test_a_commit_by_hand_invalidates(self) -> None:
        """At once, although Django runs callbacks only when autocommit is switched on again."""
        self.write()
        assert (self.words.moved, self.reads(), computed["doubled"]) == ([], 100, 1)
        transaction.commit()
        assert self.words.moved != []
        assert self.reads() == 100

    def test_a_rollback_by_hand_does_not(self) -> None:
        """The next transaction has not written."""
        self.write()
        transaction.rollback()
        assert (self.words.moved, self.reads(), computed["doubled"]) == ([], 20, 0)

    def test_the_commit_is_djangos_own_again(self) -> None:
        """Nothing is left on the connection once there is nothing to wait for."""
        self.write()
        transaction.commit()
        assert "commit" not in vars(transaction.get_connection())

    def test_a_block_inside_is_committed_by_hand_too(self) -> None:
        """Its end is the end of a savepoint."""
        with transaction.atomic():
            self.write()
        assert (self.words.moved, transactions.is_written("default")) == ([], True)
        transaction.commit()
        assert (self.words.moved != [], transactions.is_written("default")) == (True, False)

    def test_a_commit_inside_a_block_is_refused_and_loses_nothing(self) -> None:
        """Django's error is the caller's, and the commit that follows invalidates."""
        with transaction.atomic():
            self.write()
            with pytest.raises(transaction.TransactionManagementError):
                transaction.commit()
            assert self.words.moved == []
        transaction.commit()
        assert self.words.moved != []

    def test_a_raw_commit_invalidates(self) -> None:
        """COMMIT may be a statement like any other."""
        self.write()
        with connection.cursor() as cursor:
            cursor.execute("COMMIT")
        assert (self.words.moved != [], transactions.is_written("default")) == (True, False)

    def test_a_raw_rollback_does_not(self) -> None:
        """So may ROLLBACK."""
        self.write()
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
        assert (self.words.moved, transactions.is_written("default")) == ([], False)
