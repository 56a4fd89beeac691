"""Loads of rows: versions captured before they begin, one at a time, whatever else happens meanwhile."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TestCase, TransactionTestCase
from project.catalogue.models import Item, computed
from row_source import row_word, source

from oxicache import _native, cached_method, rows, ttl_cached_property
from oxicache.store import failure_counts, forget_failures
from oxicache.testing import clock


class TestVersions(TestCase):
    def setUp(self) -> None:
        computed.clear()
        self.item = Item.objects.create(title="Lamp", price=3)

    def test_a_value_that_is_invalidated_while_it_is_computed_is_not_kept(self) -> None:
        """Its caller gets it, for it asked before; the next one computes."""
        calls: list[int] = []

        @cached_method
        def method(item: Item) -> int:
            calls.append(item.price)
            if len(calls) == 1:
                Item.objects.filter(pk=item.pk).update(price=4)
                _native.bump([row_word(item)])
            return item.price

        assert [method(self.item), method(self.item), method(self.item)] == [3, 4, 4]
        assert calls == [3, 4]

    def test_the_copy_is_loaded_under_the_versions(self) -> None:
        """A row that changes between the capture and the loading of the copy, or after it, is seen."""
        known = rows.source()
        assert known is not None
        for before in (True, False):
            method = cached_method(lambda item: item.price)

            def fresh(row: rows.Row, before: bool = before, price: int = 7) -> Any:
                if before:
                    _native.bump([row_word(self.item)])
                copy = known.fresh(row)
                if not before:
                    _native.bump([row_word(self.item)])
                return copy

            with source(fresh=fresh):
                assert method(self.item) == 3
            assert len(method.cache) == 0

    def test_a_capture_that_fails_is_a_miss(self) -> None:
        """The value is computed and not stored, nobody is told but the log, once."""
        forget_failures()

        def stamps(row: rows.Row, member: rows.Member) -> Any:
            raise OSError("the file is gone")

        method = cached_method(lambda item: computed.update(["method"]) or item.price)
        with source(stamps=stamps), self.assertLogs("oxicache.store", logging.WARNING) as logs:
            assert [method(self.item), method(self.item)] == [3, 3]
        assert computed["method"] == 2
        assert len(logs.output) == 1
        assert "the file is gone" in logs.output[0]
        assert list(failure_counts().values()) == [2]
        forget_failures()

    def test_a_source_that_cannot_say_whether_to_store_is_a_miss(self) -> None:
        """The same, where one of the questions fails that are asked of Django."""

        def fail(*_: Any) -> bool:
            raise OSError("no router")

        method = cached_method(lambda item: item.price)
        for question in ("allows_storing", "is_committed"):
            forget_failures()
            with source(**{question: fail}), self.assertLogs("oxicache.store", logging.WARNING):
                assert method(self.item) == 3
            assert len(method.cache) == 0
        forget_failures()

    def test_what_was_read_in_a_transaction_that_ended_meanwhile_is_not_kept(self) -> None:
        """Both ends count: what is committed when the value is there may not have been when its copy was read."""
        answers = iter([False, True, True])
        method = cached_method(lambda item: item.price)
        with source(is_committed=lambda *_: next(answers)):
            assert method(self.item) == 3
        assert len(method.cache) == 0

    def test_grace_serves_what_expired(self) -> None:
        """A row whose database is out of reach keeps its old value for `grace`, copy or computation failing alike."""
        method = cached_method(ttl=10, grace=60)(lambda item: item.price)

        def fresh(row: rows.Row) -> Any:
            raise OperationalError("gone away")

        with clock() as time:
            assert method(self.item) == 3
            time.advance(11)
            with source(fresh=fresh), self.assertLogs("oxicache.grace", logging.WARNING):
                assert method(self.item) == 3

    def test_grace_never_serves_what_was_invalidated(self) -> None:
        """An error is better than a value that is known to be wrong."""
        method = cached_method(ttl=10, grace=60)(lambda item: item.price)

        def fresh(row: rows.Row) -> Any:
            raise OperationalError("gone away")

        with clock() as time:
            assert method(self.item) == 3
            _native.bump([row_word(self.item)])
            with source(fresh=fresh), pytest.raises(OperationalError):
                method(self.item)
            assert method(self.item) == 3
            time.advance(11)
            _native.bump([row_word(self.item)])
            with source(fresh=fresh), pytest.raises(OperationalError):
                method(self.item)

    def test_early_refresh_reads_the_row_again(self) -> None:
        """The elected caller computes on a fresh copy, and its value replaces the old one."""
        with clock() as time:

            @cached_method(ttl=100, early_refresh=1e12)
            def slow(item: Item) -> int:
                time.advance(1)  # what took no time is not refreshed early
                return item.price

            assert slow(self.item) == 3
            Item.objects.filter(pk=self.item.pk).update(price=9)
            time.advance(50)
            assert slow(self.item) == 9


class TestFlights(TransactionTestCase):
    """Several threads, a connection and an instance each, ask for one row."""

    def setUp(self) -> None:
        computed.clear()
        self.item = Item.objects.create(title="Lamp", price=3)

    def in_thread(self, pool: ThreadPoolExecutor, call: Callable[[Item], Any], **edits: Any) -> Any:
        item = Item.objects.get(pk=self.item.pk)
        for name, value in edits.items():
            setattr(item, name, value)

        def ask() -> Any:
            try:
                return call(item)
            finally:
                BaseDatabaseWrapper.close(connection)  # SQLite's own leaves a database in memory open

        return pool.submit(ask)

    def test_one_thread_computes_for_all(self) -> None:
        """The others wait for it, though each has an instance of its own."""
        arrived, go = threading.Semaphore(0), threading.Event()

        @cached_method
        def method(item: Item) -> int:
            computed["method"] += 1
            arrived.release()
            assert go.wait(10)
            return item.price

        with ThreadPoolExecutor(8) as pool:
            first = self.in_thread(pool, method)
            assert arrived.acquire(timeout=10)
            others = [self.in_thread(pool, method) for _ in range(7)]
            self.wait_for_waiters(method, 7)
            go.set()
            assert [future.result(10) for future in (first, *others)] == [3] * 8
        assert computed["method"] == 1

    def test_who_comes_after_an_invalidation_does_not_join(self) -> None:
        """A load that began before it may have read what was there before; a new one begins beside it."""
        arrived, go = threading.Semaphore(0), threading.Event()

        @cached_method
        def method(item: Item) -> int:
            price = item.price
            if price == 3:
                arrived.release()
                assert go.wait(10)
            return price

        with ThreadPoolExecutor(2) as pool:
            first = self.in_thread(pool, method)
            assert arrived.acquire(timeout=10)
            Item.objects.filter(pk=self.item.pk).update(price=4)
            _native.bump([row_word(self.item)])
            assert self.in_thread(pool, method).result(10) == 4
            go.set()
            assert first.result(10) == 3
        assert method(self.item) == 4
        assert method.cache_info().currsize == 1

    def test_each_computes_for_itself_where_the_row_is_gone(self) -> None:
        """What one computed on its own instance is not handed to those who waited."""
        arrived, go = threading.Semaphore(0), threading.Event()

        @cached_method
        def method(item: Item) -> int:
            arrived.release()
            assert go.wait(10)
            return item.price

        with ThreadPoolExecutor(3) as pool, source(fresh=lambda row: None):
            first = self.in_thread(pool, method, price=10)
            assert arrived.acquire(timeout=10)
            others = [self.in_thread(pool, method, price=price) for price in (20, 30)]
            self.wait_for_waiters(method, 2)
            go.set()
            assert [future.result(10) for future in (first, *others)] == [10, 20, 30]
        assert len(method.cache) == 0

    def test_what_a_transaction_wrote_itself_is_its_own(self) -> None:
        """A function that writes returns uncommitted work: to its caller, not to the cache."""

        @cached_method
        def method(item: Item) -> int:
            Item.objects.filter(pk=item.pk).update(price=item.price + 1)
            return Item.objects.get(pk=item.pk).price

        with transaction.atomic():
            assert method(self.item) == 4
            transaction.set_rollback(True)
        assert len(method.cache) == 0
        assert method(self.item) == 4
        assert len(method.cache) == 1

    def test_those_who_wait_for_a_transaction_s_value_compute_their_own(self) -> None:
        """What a leader in a transaction sees may be older than what they would see, and so may its errors be."""
        arrived, go = threading.Semaphore(0), threading.Event()
        leaders: list[int] = []

        @cached_method
        def method(item: Item) -> str:
            me = threading.get_ident()
            if not leaders:
                leaders.append(me)
                arrived.release()
                assert go.wait(10)
                raise LookupError("in a transaction")
            return "committed"

        def is_committed(*_: Any) -> bool:
            return threading.get_ident() not in leaders

        with ThreadPoolExecutor(2) as pool, source(is_committed=is_committed):
            first = self.in_thread(pool, method)
            assert arrived.acquire(timeout=10)
            second = self.in_thread(pool, method)
            self.wait_for_waiters(method, 1)
            go.set()
            assert second.result(10) == "committed"
            with pytest.raises(LookupError):
                first.result(10)

    def wait_for_waiters(self, method: Any, count: int) -> None:
        """Go on when so many wait for the load under way."""
        from oxicache.flights import flights

        told = threading.Event()
        for _ in range(10_000):
            flight = next((one for one in flights._table.values() if one.cache is method.cache), None)
            if flight is not None and len(flight._waiters) >= count:
                return
            told.wait(0.001)
        raise AssertionError(f"nobody waits for {method}")


def test_a_property_s_load_is_the_member_s() -> None:
    """Every kind of decorated object carries what it is to a model class, under one name."""

    async def later(self: Any) -> int:
        return 1

    def now(self: Any) -> int:
        return 1

    for decorate in (cached_method, ttl_cached_property):
        for function in (now, later):
            member = getattr(decorate(function), rows.MEMBER_ATTRIBUTE)
            assert (member.decorator, member.name) == (
                decorate.__name__,
                f"{__name__}.{function.__qualname__}",
            )
