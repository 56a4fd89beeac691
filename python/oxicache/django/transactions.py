"""What a connection's transaction means to caches: what has written bypasses them, and invalidates once it commits.

After a connection has written inside a transaction, what it reads is nobody else's to see, and what others cached is
older than what it wrote: its loads bypass the caches of rows until the transaction ends. `invalidate_words` waits for
the commit; after a rollback, or the rollback of a savepoint, nothing is invalidated and nothing is bypassed. The blocks
that TestCase opens do not count: there an invalidation is immediate, and `on_commit` callbacks stay the test's own.

How a write is noticed: by the first word of each statement that a Django cursor executes (statements.py). Past that go
`callproc`, psycopg's `copy()`, cursors of the driver itself, functions that a SELECT calls, and transactions begun by
raw SQL outside of `atomic`. A model's save and delete are noticed by their signals as well.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.utils.connection import ConnectionDoesNotExist

from oxicache import _native
from oxicache._native import Stamps
from oxicache.django import marks
from oxicache.django.marks import in_own_transaction
from oxicache.invalidation import Effect
from oxicache.trail import Note, Told, trail

__all__ = [
    "allows_storing",
    "allows_storing_anywhere",
    "beginner",
    "close_connections",
    "in_transaction",
    "invalidate_effect",
    "invalidate_words",
    "is_any_written",
    "is_written",
    "put_off",
    "watch_connections",
]


def in_transaction() -> bool:
    """Whether this thread has a transaction open, on any database. The ones that TestCase opens do not count.

    Somebody in a transaction may hold row locks that the one waited for needs.
    """
    for connection in connections.all(initialized_only=True):
        blocks = connection.atomic_blocks
        if any(not getattr(block, "_from_testcase", False) for block in blocks):
            return True
        # Without a block: `set_autocommit(False)`. Before it has connected, a connection's `autocommit` is False too.
        if not blocks and connection.connection is not None and not connection.autocommit:
            return True
    return False


def close_connections() -> None:
    """Close this thread's connections: those of a background thread belong to no request that would.

    One in a transaction stays open: a test runs background jobs in its own thread, and its transaction.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def watch_connections() -> None:
    """Notice what is written from now on, on every connection. Idempotent; called once a model has row members."""
    _native.set_row_bypass(is_written)
    connection_created.connect(_created, dispatch_uid="oxicache.django.transactions")
    if "settings" in vars(connections):  # otherwise nobody has connected, and DATABASES is not to be read yet
        for connection in connections.all(initialized_only=True):
            marks.watched(connection)


def _created(connection: BaseDatabaseWrapper, **_: Any) -> None:
    marks.watched(connection)


# ---------------------------------------------------------------- what the rest may ask


def invalidate_words(names: Iterable[str], using: str | None = None, *, kind: str = "invalidate") -> None:
    """Bump these version words: now, or when the transaction that this thread has open on `using` is committed.

    Without `using`: now, and at the commit of each of this thread's transactions too. `kind` is the trail's word.
    """
    invalidate_effect(Effect(words=frozenset(names)), using, kind=kind)


def invalidate_effect(
    effect: Effect, using: str | None = None, *, kind: str = "invalidate", detail: str | None = None
) -> None:
    """Invalidate what this reaches, as and when `invalidate_words` does. `detail` says more to who reads the trail."""
    # Now: at the commit nobody sees who it was.
    if not effect:
        return
    names = effect.names() if effect.also else Told(effect.names, len(effect))
    note = trail.note(kind, names, detail)
    if using is None:
        _invalidate_now(effect, note)
        for connection in connections.all(initialized_only=True):
            if in_own_transaction(connection):
                marks.mark_written(connection).add(effect, note)
        return
    connection = connections[using]
    watcher = marks.watched(connection)
    if in_own_transaction(connection):
        marks.mark_written(connection).add(effect, note)
    else:
        watcher.mark_in_test(connection)
        _invalidate_now(effect, note)


def put_off(effect: Effect, using: str | None, note: Note | None) -> bool:
    """Have an effect wait for the commit of the transaction on `using`, or of each that this thread has open.

    False where there is none: nothing waits.
    """
    found = _in_transaction(using)
    for connection in found:
        marks.watched(connection)
        marks.mark_written(connection).add(effect, note)
    return bool(found)


def beginner(using: str | None) -> Callable[[Callable[[], None]], object] | None:
    """Return what has something begin at the commit of a transaction of this thread; None where none is open.

    Of several the last that was opened, on whichever database; with `using` the one there.
    """
    found = [connection for connection in _in_transaction(using) if connection.in_atomic_block]
    return partial(found[-1].on_commit, robust=True) if found else None


def _in_transaction(using: str | None) -> list[BaseDatabaseWrapper]:
    known = connections.all(initialized_only=True) if using is None else [connections[using]]
    return [connection for connection in known if in_own_transaction(connection)]


def _invalidate_now(effect: Effect, note: Note | None) -> None:
    marks.bump(effect.words)
    notes = [] if note is None else [note]
    if effect.reaches_caches:
        marks.carry_out(effect, notes)
    else:
        trail.enter(notes)


def is_written(using: str) -> bool:
    """Whether what this thread reads on `using` may be its own uncommitted work: then caches of rows are bypassed.

    In an event loop nobody knows in which thread its queries run, so there every thread's transactions count.
    """
    if asyncio._get_running_loop() is not None:
        return marks.written_anywhere(using)
    try:
        return marks.has_written(connections[using])
    except ConnectionDoesNotExist:
        return False


def is_any_written() -> bool:
    """Whether what this thread reads on any database may be its own uncommitted work."""
    return any(is_written(connection.alias) for connection in connections.all(initialized_only=True))


def allows_storing(using: str, stamps: Stamps) -> bool:
    """Whether what this thread reads on `using` from now on is committed, and at least as new as `stamps`.

    A transaction may go on seeing the database as it was at its first statement (SQLite does, PostgreSQL on request):
    what was invalidated since then is newer than what it reads.
    """
    if is_written(using):
        return False
    if asyncio._get_running_loop() is not None:
        begun = marks.begun_anywhere(using)
    else:
        connection = connections[using]
        if not in_own_transaction(connection):
            return True
        if not marks.is_watched(connection):
            marks.watched(connection)
            return False  # for nobody has noticed what this transaction did so far
        begun = marks.begun_at(connection)
    return begun is None or not stamps.was_bumped_within(max(0.0, _native.now() - begun))


def allows_storing_anywhere(stamps: Stamps | None) -> bool:
    """Whether what this thread reads on any database is committed, and at least as new as `stamps` if there are any."""
    if stamps is None:
        return not is_any_written()
    return all(
        allows_storing(connection.alias, stamps) for connection in connections.all(initialized_only=True)
    )
