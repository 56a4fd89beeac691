"""What counts as a transaction for the loader, and that connections of other threads are closed."""

import threading

from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from oxicache.django.transactions import close_connections, in_transaction


class TestInTestCase(TestCase):
    databases = {"default", "other"}  # noqa: RUF012 -- as Django documents it

    def test_the_block_of_a_testcase_does_not_count(self) -> None:
        """Within a TestCase every test is in a transaction of Django's making, which holds nobody up."""
        assert connection.in_atomic_block
        assert not in_transaction()

    def test_a_block_of_the_test_counts(self) -> None:
        """An atomic block inside a TestCase is one of the code under test."""
        with transaction.atomic():
            assert in_transaction()
        assert not in_transaction()

    def test_a_block_on_another_database_counts(self) -> None:
        """A transaction on any alias may hold locks."""
        with transaction.atomic(using="other"):
            assert in_transaction()
        assert not in_transaction()


class TestOutsideTestCase(TransactionTestCase):
    def test_nothing_open_is_no_transaction(self) -> None:
        """A connection in autocommit mode is not in a transaction, connected or not."""
        connection.close()
        assert not in_transaction()
        connection.ensure_connection()
        assert not in_transaction()

    def test_nested_blocks_are_one_transaction(self) -> None:
        """The transaction lasts until the outermost block ends."""
        with transaction.atomic():
            with transaction.atomic():
                assert in_transaction()
            assert in_transaction()
        assert not in_transaction()

    def test_autocommit_switched_off_counts(self) -> None:
        """`set_autocommit(False)` opens a transaction without a block."""
        transaction.set_autocommit(False)
        try:
            assert in_transaction()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert not in_transaction()

    def test_another_threads_transaction_does_not_count(self) -> None:
        """Each thread is asked for its own connections."""
        found: list[bool] = []
        with transaction.atomic():
            thread = threading.Thread(target=lambda: found.append(in_transaction()))
            thread.start()
            thread.join(30)
        assert found == [False]

    def test_a_threads_connections_are_closed(self) -> None:
        """close_connections() closes those that this thread has opened, and no other thread's."""
        closed: list[str] = []

        def work(name: str) -> None:
            # A database in memory ignores close(), so the call itself is what can be seen.
            connections["default"].close = lambda: closed.append(name)  # type: ignore[method-assign]
            if name == "closes":
                close_connections()

        for name in ("closes", "does not"):
            thread = threading.Thread(target=work, args=(name,))
            thread.start()
            thread.join(30)
        assert closed == ["closes"]
