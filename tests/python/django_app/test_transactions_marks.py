"""The marks of transactions: the process-wide switch, threads that die, wrappers, requests that are transactions."""

import gc
import threading
from typing import Any
from unittest import mock

import pytest
from django.core.handlers.base import BaseHandler
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from project.catalogue.models import Item, Label, computed
from sessions import RolledBackError, RowsTestCase, Words

from oxicache import _native
from oxicache.django import marks, transactions


class TestSwitch(RowsTestCase):
    """The process-wide switch: hits ask about transactions only while somebody has written."""

    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        self.said: list[bool] = []
        patch = pytest.MonkeyPatch()
        self.addCleanup(patch.undo)
        original = _native.row_bypassing

        def row_bypassing(on: bool, /) -> None:
            self.said.append(on)
            original(on)

        patch.setattr(_native, "row_bypassing", row_bypassing)

    def test_it_is_on_from_the_write_to_the_end(self) -> None:
        """However the transaction ends."""
        for end in (None, RolledBackError):
            self.said.clear()
            try:
                with transaction.atomic():
                    Item.objects.exists()
                    assert self.said == []
                    self.write()
                    assert self.said == [True]
                    if end is not None:
                        raise end
            except RolledBackError:
                pass
            assert self.said == [True, False]

    def test_it_stays_on_while_another_connection_has_written(self) -> None:
        """The last one to end switches it off."""
        with transaction.atomic():
            self.write()
            with transaction.atomic(using="other"):
                Label(slug="a").save(using="other")
            assert self.said == [True, True]
        assert self.said == [True, True, False]

    # From 3.13 on sqlite3 complains of connections that were not closed, which is what this is about.
    @pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
    def test_a_thread_that_dies_in_a_transaction_does_not_leave_it_on(self) -> None:
        """Its connection is collected, and its mark with it."""

        def die() -> None:
            block = transaction.atomic(using="other")
            block.__enter__()
            transactions.invalidate_words(["row:catalogue.label:a"], "other")
            assert transactions.is_written("other")

        words = Words("row:catalogue.label:a")
        thread = threading.Thread(target=die)
        thread.start()
        thread.join(30)
        del thread
        gc.collect()
        assert self.said == [True, False]
        assert words.moved == []
        assert not transactions.is_written("other")

    def test_another_threads_reads_hit_meanwhile(self) -> None:
        """Only the thread that has written computes for itself."""
        found: list[Any] = []
        with transaction.atomic():
            self.write()
            thread = threading.Thread(
                target=lambda: found.extend([transactions.is_written("default"), self.item.doubled])
            )
            thread.start()
            thread.join(30)
            assert self.reads() == 100
        assert found == [False, 20]


class TestWrappers(RowsTestCase):
    def test_a_wrapper_of_ones_own_that_ends_takes_itself_away(self) -> None:
        """`with connection.execute_wrapper(...)` removes what is last, which must be its own."""

        def passing(execute: Any, *args: Any) -> Any:
            return execute(*args)

        watcher = marks.watched(transaction.get_connection())
        before = len(connection.execute_wrappers)
        connection.execute_wrappers.remove(watcher)
        with connection.execute_wrapper(passing):
            marks.watched(transaction.get_connection())
        assert passing not in connection.execute_wrappers
        assert len(connection.execute_wrappers) == before
        assert type(connection.execute_wrappers[0]) is type(watcher)

    def test_a_connection_that_nobody_watched_is_not_trusted(self) -> None:
        """What its transaction did before is unknown: it stores nothing."""
        connection.execute_wrappers.clear()
        with transaction.atomic():
            assert not transactions.allows_storing("default", _native.capture(["a"]))
        with transaction.atomic():
            assert transactions.allows_storing("default", _native.capture(["a"]))

    def test_an_unknown_database_is_nobodys(self) -> None:
        """An instance may name an alias that is not configured any more."""
        assert not transactions.is_written("gone")


class TestRequests(RowsTestCase):
    """ATOMIC_REQUESTS: a request is a transaction."""

    def answer(self, view: Any) -> HttpResponse:
        """Call a view as a request does."""
        with mock.patch.dict(connections.settings["default"], ATOMIC_REQUESTS=True):
            return BaseHandler().make_view_atomic(view)(HttpRequest())

    def test_a_request_that_saves_and_renders(self) -> None:
        """It renders what it saved, nobody else sees that before it ends, and everybody after."""

        def view(_: HttpRequest) -> HttpResponse:
            before = self.reads()
            self.write()
            assert self.words.moved == []
            return HttpResponse(f"{before} {self.reads()}")

        assert self.answer(view).content == b"20 100"
        assert (self.words.moved != [], self.reads()) == (True, 100)

    def test_a_request_that_fails(self) -> None:
        """It is rolled back, and nothing of it is cached or invalidated."""

        def view(_: HttpRequest) -> HttpResponse:
            self.write()
            assert self.reads() == 100
            raise RolledBackError

        with pytest.raises(RolledBackError):
            self.answer(view)
        assert (self.words.moved, self.reads(), computed["doubled"]) == ([], 20, 1)
