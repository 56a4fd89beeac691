"""Two connections to one SQLite file: what each reads through a row cache, interleaved by hand and at random."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from profiles import MODEL
from project.catalogue.models import Item, computed
from sessions import ALIAS, Session, Words, catalogue_database

from oxicache import _native, cache_manager
from oxicache.django import invalidate, transactions


def settings_of(folder: Path) -> dict[str, Any]:
    # WAL: a reader keeps the database as its transaction found it, while another connection commits.
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "shared.sqlite3"),
        "OPTIONS": {"timeout": 0, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"},
    }


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, django_databases: None) -> Iterator[None]:
    with catalogue_database(settings_of(tmp_path_factory.mktemp("sqlite"))):
        yield


@pytest.fixture
def pair(database: None) -> Iterator[tuple[Session, Session]]:
    """A reader and a writer, of a row with pk 1 and price 10."""
    Item.objects.using(ALIAS).all().delete()
    Item.objects.using(ALIAS).create(pk=1, title="Shared", price=10)
    computed.clear()
    pair = Session(), Session()
    yield pair
    for session in pair:
        session.end()


Pair = tuple[Session, Session]


class TestByHand:
    def test_nobody_else_sees_an_uncommitted_write(self, pair: Pair) -> None:
        """Not from the cache either, although the writer reads it back."""
        reader, writer = pair
        writer.begin()
        writer.save(1, 50)
        assert (writer.doubled(1), reader.doubled(1), reader.doubled(1)) == (100, 20, 20)
        writer.commit()
        assert reader.doubled(1) == 100

    def test_what_was_read_before_the_commit_is_not_kept_after_it(self, pair: Pair) -> None:
        """The reader fills the cache between the write and its commit."""
        reader, writer = pair
        writer.begin()
        writer.save(1, 50)
        assert reader.doubled(1) == 20
        assert reader.doubled(1) == 20
        assert computed["doubled"] == 1
        writer.commit()
        assert [reader.doubled(1), reader.doubled(1)] == [100, 100]

    def test_a_load_that_the_commit_overtakes_is_not_kept(self, pair: Pair) -> None:
        """It read before the commit and would store after it."""
        reader, writer = pair
        original = Item.unit

        def unit(item: Item) -> str:
            Item.unit = original  # type: ignore[method-assign]
            writer.begin()
            writer.save(1, 50)
            writer.commit()
            return original(item)

        Item.unit = unit  # type: ignore[method-assign]
        with reader:
            assert Item.objects.using(ALIAS).get(pk=1).priced() == "10 each"
            assert Item.objects.using(ALIAS).get(pk=1).priced() == "50 each"

    def test_a_transaction_that_sees_the_past_stores_none_of_it(self, pair: Pair) -> None:
        """It began before the commit and loads after it: its versions are current, what it reads is not."""
        reader, writer = pair
        reader.begin()
        writer.save(1, 50)
        assert reader.item(1).price == 10, "this database has no snapshots, and the test says nothing"
        assert reader.doubled(1) == 20
        assert writer.doubled(1) == 100
        reader.commit()
        assert [reader.doubled(1), writer.doubled(1)] == [100, 100]

    def test_a_transactions_load_is_shared_with_nobody(self, pair: Pair) -> None:
        """Who reads meanwhile, outside of it, computes the present instead of waiting for its past."""
        reader, writer = pair
        found: list[str] = []
        original = Item.unit

        def read() -> None:
            found.append(Item.objects.using(ALIAS).get(pk=1).priced())
            connections[ALIAS].close()

        def unit(item: Item) -> str:
            Item.unit = original  # type: ignore[method-assign]
            thread = threading.Thread(target=read)
            thread.start()
            thread.join(30)
            return original(item)

        reader.begin()
        writer.save(1, 50)
        Item.unit = unit  # type: ignore[method-assign]
        with reader:
            assert Item.objects.using(ALIAS).get(pk=1).priced() == "10 each"
        assert found == ["50 each"]

    def test_a_connection_closed_in_the_middle_has_written_nothing(self, pair: Pair) -> None:
        """The database rolls back by itself; nothing is invalidated, and nothing stays bypassed."""
        reader, writer = pair
        assert reader.doubled(1) == 20
        words = Words("row:catalogue.item:1")
        writer.begin()
        writer.save(1, 50)
        with writer:
            assert transactions.is_written(ALIAS)
            writer.connection.close()
            assert not transactions.is_written(ALIAS)
        writer.blocks.pop().__exit__(None, None, None)
        assert (words.moved, reader.doubled(1)) == ([], 20)

    def test_invalidate_waits_for_the_commit(self, pair: Pair) -> None:
        """`update()` and `invalidate()` in one transaction are as good as a save."""
        reader, writer = pair
        assert reader.doubled(1) == 20
        writer.begin()
        with writer:
            Item.objects.using(ALIAS).filter(pk=1).update(price=50)
            assert invalidate(Item, 1, using=ALIAS) == 1
        assert reader.doubled(1) == 20
        writer.commit()
        assert reader.doubled(1) == 100


SESSIONS = st.integers(0, 1)
PKS = st.integers(1, 2)
PRICES = st.integers(0, 50)


class Interleavings(RuleBasedStateMachine):
    """Random transactions of two sessions. `committed` is what everybody must see, a view what one session may."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = [Session(), Session()]
        self.committed = {1: 10, 2: 20}
        self.views: list[list[dict[int, int]]] = [[], []]  # of each open block, once the session has written
        self.written: list[list[bool]] = [[], []]

    @initialize()
    def fill(self) -> None:
        Item.objects.using(ALIAS).all().delete()
        for pk, price in self.committed.items():
            Item.objects.using(ALIAS).create(pk=pk, title="Shared", price=price)
        _native.bump(["rows:catalogue.item"])
        cache_manager.clear_all()

    @rule(who=SESSIONS, savepoint=st.booleans())
    def begin(self, who: int, savepoint: bool) -> None:
        session = self.sessions[who]
        if len(session.blocks) > 3:
            return
        session.begin(savepoint=savepoint or not session.blocks)
        if not self.views[who]:
            self.views[who].append(dict(self.committed))
            self.written[who].append(False)
        else:
            self.views[who].append(dict(self.views[who][-1]))
            self.written[who].append(self.written[who][-1])

    @precondition(lambda self: any(session.blocks for session in self.sessions))
    @rule(who=SESSIONS)
    def commit(self, who: int) -> None:
        session = self.sessions[who]
        if not session.blocks:
            return
        session.commit()
        view, written = self.views[who].pop(), self.written[who].pop()
        if self.views[who]:
            self.views[who][-1], self.written[who][-1] = view, written
        elif written:
            self.committed = view

    @precondition(lambda self: any(session.blocks for session in self.sessions))
    @rule(who=SESSIONS)
    def rollback(self, who: int) -> None:
        session = self.sessions[who]
        while session.blocks:
            session.rollback()
            self.views[who].pop()
            self.written[who].pop()
            if not session.connection.needs_rollback:
                break  # otherwise the block was part of the one around it, which goes too

    @rule(who=SESSIONS, pk=PKS, price=PRICES, by_hand=st.booleans())
    def write(self, who: int, pk: int, price: int, by_hand: bool) -> None:
        session = self.sessions[who]
        try:
            if by_hand:
                with session:
                    Item.objects.using(ALIAS).filter(pk=pk).update(price=price)
                    invalidate(Item, [pk], using=ALIAS)
            else:
                session.save(pk, price)
        except (
            OperationalError
        ) as error:  # the other session has written, or has committed since this one began
            assert "locked" in str(error)  # noqa: PT017 - what is expected here depends on both sessions
            while session.blocks:
                session.rollback()
            self.views[who], self.written[who] = [], []
            return
        if self.views[who]:
            self.views[who][-1][pk] = price
            self.written[who][-1] = True
        else:
            self.committed[pk] = price

    @rule(who=SESSIONS, pk=PKS)
    def read(self, who: int, pk: int) -> None:
        session = self.sessions[who]
        with session:
            value = Item.objects.using(ALIAS).get(pk=pk).doubled
        allowed = {self.committed[pk]}
        if self.views[who] and self.written[who][-1]:
            allowed = {self.views[who][-1][pk]}
        elif self.views[who]:
            allowed.add(self.views[who][-1][pk])
        assert value in {2 * price for price in allowed}

    @invariant()
    def bypasses_what_has_written(self) -> None:
        for session, written in zip(self.sessions, self.written, strict=True):
            with session:
                assert transactions.is_written(ALIAS) == (bool(written) and written[-1])

    def teardown(self) -> None:
        for session in self.sessions:
            session.end()
        gc.collect()


def test_no_read_is_stale_or_uncommitted(database: None) -> None:
    """Outside of a transaction a read is the last commit; inside one what that transaction sees, or the commit."""
    from hypothesis.stateful import run_state_machine_as_test

    # A third of what the engine's models get: each step here is a statement on a file.
    run_state_machine_as_test(Interleavings, settings=settings(MODEL, max_examples=MODEL.max_examples // 3))
    assert ALIAS in connections.settings
