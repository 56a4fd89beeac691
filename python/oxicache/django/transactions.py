"""What a connection's transaction means to caches: what has written bypasses them, and invalidates once it commits.

After a connection has written inside a transaction, what it reads is nobody else's to see, and what others cached is
older than what it wrote: its loads bypass the caches of rows until the transaction ends. `invalidate_words` waits for
the commit; after a rollback, or the rollback of a savepoint, nothing is invalidated and nothing is bypassed. The blocks
that TestCase opens do not count: there an invalidation is immediate, and `on_commit` callbacks stay the test's own.

How a write is noticed: by the first word of each statement that a Django cursor executes (statements.py). Past that go
`callproc`, psycopg's `copy()`, cursors of the driver itself, functions that a SELECT calls, and transactions begun by
raw SQL outside of `atomic`. A model's save and delete are noticed by their signals as well.
"""

# Long because the marks, their place in `run_on_commit` and what reads them are one protocol.

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.utils import ConnectionDoesNotExist

from oxicache import _native
from oxicache._native import Stamps
from oxicache.django.statements import ending_of, may_write, rolls_back_to
from oxicache.store import Store, attempt
from oxicache.words import version_words

__all__ = [
    "allows_storing",
    "close_connections",
    "in_transaction",
    "invalidate_words",
    "is_written",
    "watch_connections",
]

# A transaction that invalidates more rows than this invalidates all rows of their models: names take memory.
MAX_PENDING_WORDS: Final = 10_000


class _Invalidations:
    """Whose failures `store.attempt` counts and logs here."""

    name = "row invalidation"


_STORE = cast("Store", _Invalidations())

# ---------------------------------------------------------------- transactions as they are


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


def _is_real(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is in a transaction whose end decides what becomes of what it wrote."""
    blocks = connection.atomic_blocks
    if blocks:
        return not _is_of_test(blocks[0])
    return connection.connection is not None and not connection.autocommit


def _is_of_test(block: Any) -> bool:
    return getattr(block, "_from_testcase", False) is True


# ---------------------------------------------------------------- what a transaction carries

# While one of these lives, somebody's transaction is as old as it says, or has written. They are found by dying: commit,
# rollback, rollback to a savepoint, close and the end of a thread all drop `run_on_commit`, or what is in it.

_lock = threading.RLock()  # re-entrant, because a mark may be collected anywhere
_written: dict[int, str] = {}  # aliases that are written, by mark
_begun: dict[int, tuple[str, float]] = {}  # aliases in a transaction and since when, by mark


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork is held for ever
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _enter_written(number: int, alias: str) -> None:
    with _lock:
        _written[number] = alias
        _native.row_bypassing(True)


def _leave_written(number: int) -> None:
    with _lock:
        _written.pop(number, None)
        if not _written:
            _native.row_bypassing(False)


class _Written:
    """This transaction has written, and these words are invalidated when it commits."""

    __slots__ = ("__weakref__", "_end", "words")

    def __init__(self, alias: str) -> None:
        self.words: set[str] = set()
        _enter_written(id(self), alias)
        self._end = weakref.finalize(self, _leave_written, id(self))
        self._end.atexit = False

    def __call__(self) -> None:
        """Invalidate; the transaction is committed."""
        words, self.words = self.words, set()
        _bump(words)
        self._end()

    def add(self, names: Iterable[str]) -> None:
        """Invalidate these too. Beyond MAX_PENDING_WORDS all rows of their models."""
        self.words.update(names)
        if len(self.words) > MAX_PENDING_WORDS:
            self.words = {_all_rows(word) for word in self.words}


def _all_rows(word: str) -> str:
    kind, _, rest = word.partition(":")
    return f"rows:{rest.partition(':')[0]}" if kind == "row" else word


class _Begun:
    """This transaction has begun before its first statement: what it reads may be that old."""

    __slots__ = ("__weakref__", "since")

    def __init__(self, alias: str) -> None:
        self.since = _native.now()
        _begun[id(self)] = (alias, self.since)
        weakref.finalize(self, _begun.pop, id(self), None).atexit = False

    def __call__(self) -> None:
        """Do nothing: to be dropped is all that a commit has to do."""


_OWN = (_Written, _Begun)


def _own_entries(connection: BaseDatabaseWrapper) -> list[tuple[set[Any], Any, bool]]:
    """Return what this module put at the front of `run_on_commit`, where users' callbacks find fresh values."""
    found = []
    for entry in connection.run_on_commit:
        if not isinstance(entry[1], _OWN):
            break
        found.append(entry)
    return found


def _mark_begun(connection: BaseDatabaseWrapper) -> None:
    # With no savepoint: to roll back to one gives no newer view of the database.
    connection.run_on_commit.insert(0, (set(), _Begun(connection.alias), True))
    if not connection.atomic_blocks or not connection.commit_on_exit:
        _follow_commit(connection)


def _mark_written(connection: BaseDatabaseWrapper) -> _Written:
    """Return the mark that shares the fate of what is written now: it goes with the savepoints that are open."""
    active = {sid for sid in connection.savepoint_ids if sid is not None}
    entries = connection.run_on_commit
    if entries and isinstance(entries[0][1], _Written) and entries[0][0] == active:
        return entries[0][1]
    # A savepoint that was released cannot be rolled back by itself any more: its mark is one with its block's. So there
    # are never more marks than blocks, however many savepoints come and go.
    own = _own_entries(connection)
    marks: dict[frozenset[Any], _Written] = {}
    for sids, mark, _ in own:
        if isinstance(mark, _Written):
            kept = marks.setdefault(frozenset(sids & active), mark)
            if kept is not mark:
                kept.add(mark.words)
    mine = marks.pop(frozenset(active), None) or _Written(connection.alias)
    entries[: len(own)] = [
        (active, mine, True),
        *((set(sids), mark, True) for sids, mark in marks.items()),
        *(entry for entry in own if isinstance(entry[1], _Begun)),
    ]
    _follow_commit(connection)
    return mine


# ---------------------------------------------------------------- the commit


class _Commit:
    """A connection's `commit`, as long as it has something to invalidate.

    Django runs `run_on_commit` when autocommit is switched on again, which a project that manages transactions itself
    may never do; and a commit that failed halfway may have reached the database.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = weakref.ref(connection)
        self._commit: Callable[[], None] = connection.commit

    def __call__(self) -> None:
        connection = self._connection()
        if connection is None or connection.in_atomic_block:
            self._commit()  # which refuses
            return
        try:
            self._commit()
        except BaseException:
            # Nobody knows whether the database has committed. Too much invalidated is harmless.
            _bump({word for _, mark, _ in _own_entries(connection) for word in getattr(mark, "words", ())})
            raise
        if vars(connection).get("commit") is self:
            del vars(connection)["commit"]
        _end(connection, is_committed=True)


def _follow_commit(connection: BaseDatabaseWrapper) -> None:
    if not isinstance(vars(connection).get("commit"), _Commit):
        vars(connection)["commit"] = _Commit(connection)


def _end(connection: BaseDatabaseWrapper, *, is_committed: bool) -> None:
    own = _own_entries(connection)
    del connection.run_on_commit[: len(own)]
    if is_committed:
        for _, mark, _ in own:
            mark()


def _bump(names: Collection[str]) -> None:
    if names:
        attempt(_STORE, version_words.bump, 0, names)


# ---------------------------------------------------------------- what a connection executes


class _Watcher:
    """The first of a connection's `execute_wrappers`: notices what is written inside a transaction."""

    __slots__ = ("__weakref__", "_in_test")

    def __init__(self) -> None:
        self._in_test: tuple[_Written, int, Any, set[Any]] | None = None

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        connection = context["connection"]
        if not connection.atomic_blocks and connection.autocommit:
            return execute(sql, params, many, context)
        attempt(_STORE, self._before, None, connection, sql)
        result = execute(sql, params, many, context)
        if not connection.atomic_blocks and (ending := ending_of(sql)) is not None:
            _end(connection, is_committed=ending == "COMMIT")
        return result

    def _before(self, connection: BaseDatabaseWrapper, sql: object) -> None:
        if _is_real(connection):
            own = _own_entries(connection)
            if not own:
                _mark_begun(connection)
            elif isinstance(own[0][1], _Written):
                return
            if may_write(sql):
                _mark_written(connection)
        elif connection.atomic_blocks and not _is_of_test(connection.atomic_blocks[-1]):
            if not self.is_written_in_test(connection):
                if may_write(sql):
                    self.mark_in_test(connection)
            elif (text := rolls_back_to(sql)) is not None and self._in_test is not None:
                if any(sid in text for sid in self._in_test[3]):
                    self._in_test = None

    def mark_in_test(self, connection: BaseDatabaseWrapper) -> None:
        """Remember that the blocks inside those of TestCase have written, if there are any."""
        if self.is_written_in_test(connection):
            return
        for depth, block in enumerate(connection.atomic_blocks):
            if not _is_of_test(block):
                sids = {sid for sid in connection.savepoint_ids[depth - 1 :] if sid is not None}
                self._in_test = (_Written(connection.alias), depth, block, sids)
                return

    def is_written_in_test(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether a block inside those of TestCase has written and is still open."""
        if self._in_test is None:
            return False
        _, depth, block, sids = self._in_test
        blocks = connection.atomic_blocks
        # A block that decorates a function is the same object at each call; its savepoint is another.
        if len(blocks) > depth and blocks[depth] is block:
            first = connection.savepoint_ids[depth - 1 : depth]
            if not first or first[0] is None or first[0] in sids:
                return True
        self._in_test = None
        return False


def watch_connections() -> None:
    """Notice what is written from now on, on every connection. Idempotent; called once a model has row members."""
    _native.set_row_bypass(is_written)
    connection_created.connect(_created, dispatch_uid="oxicache.django.transactions")
    if "settings" in vars(connections):  # otherwise nobody has connected, and DATABASES is not to be read yet
        for connection in connections.all(initialized_only=True):
            _watcher(connection)


def _created(connection: BaseDatabaseWrapper, **_: Any) -> None:
    _watcher(connection)


def _is_watched(connection: BaseDatabaseWrapper) -> bool:
    return any(isinstance(wrapper, _Watcher) for wrapper in connection.execute_wrappers)


def _watcher(connection: BaseDatabaseWrapper) -> _Watcher:
    wrappers = connection.execute_wrappers
    for wrapper in wrappers:
        if isinstance(wrapper, _Watcher):
            return wrapper
    watcher = _Watcher()
    # Not at the end: `with connection.execute_wrapper(...)` takes away what is last.
    wrappers.insert(0, watcher)
    return watcher


# ---------------------------------------------------------------- what the rest may ask


def invalidate_words(names: Iterable[str], using: str | None = None) -> None:
    """Bump these version words: now, or when the transaction that this thread has open on `using` is committed.

    Without `using`: now, and at the commit of each of this thread's transactions too.
    """
    names = frozenset(names)
    if using is None:
        _bump(names)
        for connection in connections.all(initialized_only=True):
            if _is_real(connection):
                _mark_written(connection).add(names)
        return
    connection = connections[using]
    watcher = _watcher(connection)
    if _is_real(connection):
        _mark_written(connection).add(names)
        return
    watcher.mark_in_test(connection)
    _bump(names)


def is_written(using: str) -> bool:
    """Whether what this thread reads on `using` may be its own uncommitted work: then caches of rows are bypassed.

    In an event loop nobody knows in which thread its queries run, so there every thread's transactions count.
    """
    if asyncio._get_running_loop() is not None:
        return using in list(_written.values())
    try:
        connection = connections[using]
    except ConnectionDoesNotExist:
        return False
    if _is_real(connection):
        return any(isinstance(mark, _Written) for _, mark, _ in _own_entries(connection))
    return bool(connection.atomic_blocks) and _watcher(connection).is_written_in_test(connection)


def allows_storing(using: str, stamps: Stamps) -> bool:
    """Whether what this thread reads on `using` from now on is at least as new as `stamps`, and committed.

    A transaction may go on seeing the database as it was at its first statement (SQLite does, PostgreSQL on request): what
    was invalidated since then is newer than what it reads.
    """
    if is_written(using):
        return False
    if asyncio._get_running_loop() is not None:
        since = [begun for alias, begun in list(_begun.values()) if alias == using]
    else:
        connection = connections[using]
        if not _is_real(connection):
            return True
        if not _is_watched(connection):
            _watcher(connection)
            return False  # for nobody has noticed what this transaction did so far
        since = [mark.since for _, mark, _ in _own_entries(connection) if isinstance(mark, _Begun)]
    return not since or not stamps.was_bumped_within(max(0.0, _native.now() - min(since)))
