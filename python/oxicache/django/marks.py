"""The marks that a transaction carries: since when it sees the database, that it has written, what it invalidates.

A mark lies at the front of its connection's `run_on_commit`, because Django takes it away from there whatever ends the
transaction or the savepoint. What is done with marks: transactions.py.
"""

# Long because a mark, its commit and what notices statements stand on the same private parts of Django.

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeAlias, cast

from django.db.backends.base.base import BaseDatabaseWrapper

from oxicache import _native
from oxicache.django.statements import ending_of, may_write, rolls_back_to
from oxicache.invalidation import Effect, Pending
from oxicache.store import Store, attempt
from oxicache.trail import Note, trail
from oxicache.versions import version_words

__all__ = [
    "begun_anywhere",
    "begun_at",
    "bump",
    "carry_out",
    "carry_out_with",
    "has_written",
    "in_own_transaction",
    "is_watched",
    "mark_written",
    "watched",
    "written_anywhere",
]

Executor: TypeAlias = Callable[[Effect, Sequence[Note]], object]

# A transaction that invalidates more rows than this invalidates all rows of their models: names take memory.
MAX_PENDING_WORDS: Final = 10_000


class _Invalidations:
    """Whose failures `store.attempt` counts and logs here."""

    name = "row invalidation"


_STORE = cast("Store", _Invalidations())


def in_own_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is in a transaction whose end decides what becomes of what it wrote."""
    blocks = connection.atomic_blocks
    if blocks:
        return not _is_of_test(blocks[0])
    return connection.connection is not None and not connection.autocommit


def _is_of_test(block: Any) -> bool:
    return getattr(block, "_from_testcase", False) is True


# ---------------------------------------------------------------- what a transaction carries

# A mark says something for as long as it lives. Commit, rollback, rollback to a savepoint, close and the end of a
# thread all drop `run_on_commit` or what is in it, and the mark with it.

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
        if _written.pop(number, None) is not None and not _written:
            _native.row_bypassing(False)


class _Written:
    """This transaction has written, and these words and effects are invalidated when it commits."""

    __slots__ = ("effects", "notes", "words")

    def __init__(self, alias: str) -> None:
        self.words: set[str] = set()
        self.effects = Pending()
        self.notes: deque[Note] = deque(maxlen=trail.size)  # of who has written; as many as the trail keeps
        _enter_written(id(self), alias)

    def __del__(self) -> None:
        _leave_written(id(self))

    def __call__(self) -> None:
        """Invalidate; the transaction is committed."""
        self.invalidate()
        self.words.clear()
        self.effects.clear()
        self.notes.clear()
        _leave_written(id(self))

    def invalidate(self) -> None:
        """Invalidate what waits, and keep it: a commit that failed may be tried again."""
        bump(self.words)
        if self.effects:
            carry_out(self.effects.effect(), self.notes)
        else:
            trail.enter(self.notes)

    def add(self, effect: Effect, note: Note | None) -> None:
        """Invalidate this too. Beyond MAX_PENDING_WORDS all rows of the words' models; more names: Effect.coarser."""
        self.words |= effect.words
        is_coarser = self.effects.add(effect)
        if note is not None:
            self.notes.append(note)
        if len(self.words) > MAX_PENDING_WORDS:
            self.words = {_all_rows(word) for word in self.words}
            is_coarser = True
        if is_coarser:
            self._note_coarser()

    def join(self, other: "_Written") -> None:
        """Invalidate what waits in another mark too."""
        self.add(Effect(words=frozenset(other.words)), None)
        self.effects.join(other.effects)
        self.notes.extend(other.notes)

    def _note_coarser(self) -> None:
        detail = f"a transaction that changed more than {MAX_PENDING_WORDS:,} words, tags, keys or patterns"
        if (note := trail.note("many", self.words, detail)) is not None:
            self.notes.append(note)


def _all_rows(word: str) -> str:
    kind, _, rest = word.partition(":")
    return f"rows:{rest.partition(':')[0]}" if kind == "row" else word


class _Begun:
    """This transaction has begun before its first statement: what it reads may be that old."""

    __slots__ = ("since",)

    def __init__(self, alias: str) -> None:
        self.since = _native.now()
        _begun[id(self)] = (alias, self.since)

    def __del__(self) -> None:
        _begun.pop(id(self), None)

    def __call__(self) -> None:
        """Do nothing: to be dropped is all that a commit has to do."""


_OWN = (_Written, _Begun)


def _marks(connection: BaseDatabaseWrapper) -> list[Any]:
    """Return what this module put at the front of `run_on_commit`, where users' callbacks find fresh values."""
    found = []
    for entry in connection.run_on_commit:
        if not isinstance(entry[1], _OWN):
            break
        found.append(entry)
    return found


def _savepoints(connection: BaseDatabaseWrapper, start: int = 0) -> set[str]:
    sids: list[str | None] = [
        *connection.savepoint_ids[start:]
    ]  # None for a block without a savepoint of its own
    return {sid for sid in sids if sid is not None}


def _mark_begun(connection: BaseDatabaseWrapper) -> None:
    # With no savepoint: to roll back to one gives no newer view of the database.
    entries: list[Any] = connection.run_on_commit
    entries.insert(0, (set(), _Begun(connection.alias), True))
    if not connection.atomic_blocks or not connection.commit_on_exit:
        _follow_commit(connection)


def mark_written(connection: BaseDatabaseWrapper) -> _Written:
    """Return the mark that shares the fate of what is written now: it goes with the savepoints that are open."""
    active = _savepoints(connection)
    entries: list[Any] = connection.run_on_commit
    if entries and isinstance(entries[0][1], _Written) and entries[0][0] == active:
        return entries[0][1]
    # A savepoint that was released cannot be rolled back by itself any more: its mark is one with its block's. So there
    # are never more marks than blocks, however many savepoints come and go.
    own = _marks(connection)
    marks: dict[frozenset[Any], _Written] = {}
    for sids, mark, _ in own:
        if isinstance(mark, _Written):
            kept = marks.setdefault(frozenset(sids & active), mark)
            if kept is not mark:
                kept.join(mark)
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
            for _, mark, _ in _marks(connection):
                if isinstance(mark, _Written):
                    mark.invalidate()
            raise
        if vars(connection).get("commit") is self:
            del vars(connection)["commit"]
        _end(connection, is_committed=True)
        if _marks(connection):  # an effect has executed statements here, which began a transaction
            _commit_what_followed(connection)


def _commit_what_followed(connection: BaseDatabaseWrapper) -> None:
    """Commit what effects wrote to this very database, as a cache does that is a table.

    Django has not switched autocommit on again yet, and psycopg refuses to inside a transaction.
    """
    if not connection.autocommit and not connection.in_atomic_block:
        attempt(_STORE, connection.commit, None)


def _follow_commit(connection: BaseDatabaseWrapper) -> None:
    if not isinstance(vars(connection).get("commit"), _Commit):
        vars(connection)["commit"] = _Commit(connection)


def _end(connection: BaseDatabaseWrapper, *, is_committed: bool) -> None:
    own = _marks(connection)
    del connection.run_on_commit[: len(own)]
    if is_committed:
        for _, mark, _ in own:
            mark()


def bump(names: Collection[str]) -> None:
    """Bump words now. A failure is counted and logged: it must not reach the code that saved a row."""
    if names:
        attempt(_STORE, version_words.bump, 0, names)


_executors: list[Executor] = []  # at most one: who knows where the entries are


def carry_out_with(execute: Executor) -> None:
    """Have `execute` called with what is to be invalidated besides version words, and with notes of who asked."""
    _executors[:] = [execute]


def carry_out(effect: Effect, notes: Sequence[Note]) -> None:
    """Invalidate entries now. A failure is counted and logged: it must not reach the code that saved a row."""
    for execute in _executors:
        attempt(_STORE, execute, None, effect, notes)


# ---------------------------------------------------------------- what a connection executes


class _Watcher:
    """The first of a connection's `execute_wrappers`: notices what is _written inside a transaction."""

    __slots__ = ("__weakref__", "_in_test")

    def __init__(self) -> None:
        self._in_test: tuple[_Written, int, weakref.ref[Any], set[str]] | None = None

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        connection = context["connection"]
        if self._in_test is not None:
            self.is_written_in_test(connection)  # forgets what is over: a block's end is a statement too
        if not connection.atomic_blocks and connection.autocommit:
            return execute(sql, params, many, context)
        attempt(_STORE, self._before, None, connection, sql)
        result = execute(sql, params, many, context)
        if not connection.atomic_blocks and (ending := ending_of(sql)) is not None:
            _end(connection, is_committed=ending == "COMMIT")
        return result

    def _before(self, connection: BaseDatabaseWrapper, sql: object) -> None:
        if in_own_transaction(connection):
            own = _marks(connection)
            if not own:
                _mark_begun(connection)
            elif isinstance(own[0][1], _Written):
                return
            if may_write(sql):
                mark_written(connection)
        elif connection.atomic_blocks and not _is_of_test(connection.atomic_blocks[-1]):
            if not self.is_written_in_test(connection):
                if may_write(sql):
                    self.mark_in_test(connection)
            elif self._in_test is not None and (text := rolls_back_to(sql)) is not None:
                _, _, _, sids = self._in_test
                if any(sid in text for sid in sids):
                    self._in_test = None

    def mark_in_test(self, connection: BaseDatabaseWrapper) -> None:
        """Remember that the blocks inside those of TestCase have written, if there are any."""
        if self.is_written_in_test(connection):
            return
        for depth, block in enumerate(connection.atomic_blocks):
            if not _is_of_test(block):
                sids = _savepoints(connection, depth - 1)
                # Not the block itself: others wait for it to die.
                self._in_test = (_Written(connection.alias), depth, weakref.ref(block), sids)
                return

    def is_written_in_test(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether a block inside those of TestCase has written and is still open."""
        if self._in_test is None:
            return False
        _, depth, block, sids = self._in_test
        blocks = connection.atomic_blocks
        # A block that decorates a function is the same object at each call; its savepoint is another.
        if len(blocks) > depth and blocks[depth] is block():
            sids_now: list[str | None] = [*connection.savepoint_ids]
            if sids_now[depth - 1 : depth] in ([], [None]) or sids_now[depth - 1] in sids:
                return True
        self._in_test = None
        return False


def is_watched(connection: BaseDatabaseWrapper) -> bool:
    """Whether what this connection executes is noticed."""
    return any(isinstance(wrapper, _Watcher) for wrapper in connection.execute_wrappers)


def watched(connection: BaseDatabaseWrapper) -> _Watcher:
    """Notice what this connection executes from now on; return who does."""
    wrappers = connection.execute_wrappers
    for wrapper in wrappers:
        if isinstance(wrapper, _Watcher):
            return wrapper
    watcher = _Watcher()
    # Not at the end: `with connection.execute_wrapper(...)` takes away what is last.
    wrappers.insert(0, watcher)
    return watcher


# ---------------------------------------------------------------- what the marks say


def has_written(connection: BaseDatabaseWrapper) -> bool:
    """Whether the transaction that this connection is in has written."""
    if in_own_transaction(connection):
        return any(isinstance(mark, _Written) for _, mark, _ in _marks(connection))
    return bool(connection.atomic_blocks) and watched(connection).is_written_in_test(connection)


def begun_at(connection: BaseDatabaseWrapper) -> float | None:
    """Return when the transaction executed its first statement, on the engine's clock; None when it has not yet."""
    return min((mark.since for _, mark, _ in _marks(connection) if isinstance(mark, _Begun)), default=None)


def written_anywhere(alias: str) -> bool:
    """Whether a transaction of any thread has written to this database."""
    return alias in list(_written.values())


def begun_anywhere(alias: str) -> float | None:
    """Return when the oldest of all threads' transactions on this database executed its first statement."""
    return min((since for name, since in list(_begun.values()) if name == alias), default=None)
