"""`OXICACHE["WATCH_STATEMENTS"]`: what raw SQL writes through Django's connections invalidates too.

Each statement that a Django cursor executes is looked at once it has succeeded; of one that writes, the tables are
found in its text (writes.py), and their models, several of one table too, are invalidated as bulk.py does. Where the
text compares the primary key with whole numbers or UUIDs it is those rows, else all rows of the model; an INSERT of new
rows is what depends on the model. What Django executes for `save()` and `delete()` passes here too, and is left to
their signals.

Tables of no model are ignored. What writes and does not say where (CALL, EXECUTE, DO, TRUNCATE ... CASCADE, a text
beyond a million characters) counts as a change of all models, and is logged once.

Not noticed: cursors and connections of the driver itself, psycopg's `copy()`, `callproc`, what a function called by a
SELECT does, what triggers, rules and cascades of the database change, what is written through an updatable view to the
tables behind it, other programs, and other databases of the same server.
"""

import logging
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, cast

from django.apps import apps
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.db.models.deletion import Collector
from django.db.models.signals import class_prepared, post_delete
from django.db.models.sql import compiler

from oxicache.django import bulk, dependencies
from oxicache.django.signals import ancestors
from oxicache.django.statements import may_write, text_of
from oxicache.django.writes import Statement, Write, last_name, parsed, values_of
from oxicache.store import Store, attempt

__all__ = ["configure"]

DISPATCH_UID: Final = "oxicache.django.execution"
MAX_FRAMES: Final = 30  # between a cursor and `save()`, tools that wrap cursors included
MAX_LOGGED: Final = 100  # databases and words that a log line was written for

_SAVE: Final = Model._save_table.__code__  # type: ignore[attr-defined]
_DELETE: Final = Collector.delete.__code__
_COMPILER: Final = compiler.__file__
_MODELS: Final = str(Path(compiler.__file__).parents[1])

logger = logging.getLogger(__name__)


class _Execution:
    """Whose failures `store.attempt` counts and logs here: none of them may reach the code that executes."""

    name = "watched statements"


_STORE = cast("Store", _Execution())


@dataclass(frozen=True, slots=True)
class _Table:
    """What a table is to a model."""

    model: type[Model]
    key: str | None  # the column of the primary key; None where it has several
    ends: Mapping[str, Any]  # of a table between a relation, its foreign keys by column


_watched: bool | tuple[str, ...] = False
_tables: dict[str, dict[str, list[_Table]]] = {}  # by the databases' vendors and tables' names
_logged: set[tuple[str, str]] = set()


def configure(watched: bool | tuple[str, ...]) -> None:
    """Look at the statements of all databases, of none or of these from now on. Idempotent.

    Connections that other threads have open already go on as they were.
    """
    global _watched  # noqa: PLW0603 - one setting for the process
    _watched = watched
    if not watched:
        return
    connection_created.connect(_created, dispatch_uid=DISPATCH_UID)
    class_prepared.connect(_forget_tables, dispatch_uid=DISPATCH_UID)
    if "settings" in vars(connections):  # otherwise nobody has connected, and DATABASES is not to be read yet
        for connection in connections.all(initialized_only=True):
            _watch(connection)


def _created(connection: BaseDatabaseWrapper, **_: Any) -> None:
    _watch(connection)


def _watch(connection: BaseDatabaseWrapper) -> None:
    if _is_watched(connection.alias) and _statement_executed not in connection.execute_wrappers:
        # Not at the end: `with connection.execute_wrapper(...)` takes away what is last.
        connection.execute_wrappers.insert(0, _statement_executed)


def _is_watched(alias: str) -> bool:
    return _watched is True or (_watched is not False and alias in _watched)


def _forget_tables(sender: type[Model], **_: Any) -> None:
    if not dependencies.is_historical(sender):
        _tables.clear()


# ---------------------------------------------------------------- one statement


def _statement_executed(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    connection = context["connection"]
    if not _is_watched(connection.alias) or not may_write(sql):
        return execute(sql, params, many, context)
    told = _told_by_signals()
    try:
        result = execute(sql, params, many, context)
    except (InterfaceError, OperationalError):
        # The database may have done its part before the connection broke. Too much invalidated is harmless.
        attempt(_STORE, _invalidate, None, connection, sql, None)
        raise
    count = getattr(context["cursor"], "rowcount", -1)
    attempt(_STORE, _invalidate, None, connection, sql, _rows_of(params, many), count, told)
    return result


def _told_by_signals() -> Container[type[Model]]:
    """Return the models of whose rows a signal tells what is being executed: by `save()`, or by `delete()`.

    Only what Django's own code executes by itself in there: not what a field's `pre_save` does, nor a queryset in it.
    """
    frame: FrameType | None = sys._getframe(2)
    is_compiled = False
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        if code is _SAVE or code is _DELETE:
            return _models_told(frame.f_locals.get("self"), code) if is_compiled else ()
        name = code.co_filename
        if name == _COMPILER:
            if not code.co_name.startswith("execute_"):
                break
            is_compiled = True
        elif is_compiled and not name.startswith(_MODELS):
            break
        frame = frame.f_back
    return ()


def _models_told(sender: Any, code: CodeType) -> Container[type[Model]]:
    if code is _DELETE:
        return [
            model
            for model in getattr(sender, "data", ())
            if post_delete.has_listeners(model) and _sends_signals(model)
        ]
    return ancestors(type(sender)) if isinstance(sender, Model) and _sends_signals(type(sender)) else ()


def _sends_signals(model: type[Model]) -> bool:
    return not model._meta.auto_created and not dependencies.is_historical(model)


def _rows_of(params: Any, many: bool) -> Sequence[Any] | None:
    """Return the parameters of each row; None where they can be read only once."""
    if not many:
        return [params]
    return params if isinstance(params, list | tuple) and len(params) <= bulk.MAX_ROWS else None


def _invalidate(
    connection: BaseDatabaseWrapper,
    sql: Any,
    rows: Sequence[Any] | None,
    count: int = -1,
    told: Container[type[Model]] = (),
) -> None:
    text = text_of(sql, connection)
    statement = Statement(untold="an SQL object") if text is None else parsed(text, connection.vendor)
    if statement.untold:
        _log(connection.alias, statement.untold)
        models = {table.model for tables in _tables_of(connection).values() for table in tables}
        bulk.models_changed(models, connection.alias)
    elif count != 0 or not statement.is_counted:
        for write in statement.writes:
            for table in _tables_of(connection).get(write.table, ()):
                if table.model not in told:
                    _written(table, write, rows, connection.alias)


def _log(alias: str, what: str) -> None:
    if (alias, what) not in _logged and len(_logged) < MAX_LOGGED:
        _logged.add((alias, what))
        logger.warning(
            "%s on database %r writes what its text does not tell: all models were invalidated. "
            "Name what it changes with oxicache.django.invalidate() and keep its database out of WATCH_STATEMENTS, or "
            "write the statement out. Logged once.",
            what,
            alias,
        )


def _written(table: _Table, write: Write, rows: Sequence[Any] | None, alias: str) -> None:
    known: dict[str, list[Any] | None] = {}
    if rows is not None:
        known = {name: _values(given, rows) for name, given in write.known.items()}
    found = None if table.key is None or table.key in write.sets else known.get(table.key)
    pks = None if found is None else bulk.exact_pks(table.model, found)
    ends = {
        field.attname: bulk.exact_pks(field.related_model, values)
        for column, field in table.ends.items()
        if column not in write.sets and (values := known.get(column)) is not None
    }
    # An UPDATE that names the ends it sets says nothing of those that the rows had before.
    bulk.changed(table.model, pks, alias, ends=ends, is_new=write.adds, is_gone=write.removes)


def _values(found: Sequence[Any], rows: Sequence[Any]) -> list[Any] | None:
    values: list[Any] = []
    for params in rows:
        of_row = values_of(found, params)
        if of_row is None:
            return None
        values += of_row
    return values


# ---------------------------------------------------------------- tables and models


def _tables_of(connection: BaseDatabaseWrapper) -> dict[str, list[_Table]]:
    found = _tables.get(connection.vendor)
    if found is None:
        found = _tables_found(connection)
        if apps.models_ready:
            _tables[connection.vendor] = found
    return found


def _tables_found(connection: BaseDatabaseWrapper) -> dict[str, list[_Table]]:
    found: dict[str, list[_Table]] = {}
    for models in list(apps.all_models.values()):
        for model in list(models.values()):
            options: Any = model._meta
            if options.proxy or options.swapped:
                continue
            # As Django writes it: that shortens names, and a schema may be part of it.
            name = last_name(connection.ops.quote_name(options.db_table), connection.vendor)
            key = options.pk.column if options.pk is not None else None
            ends = {field.column.lower(): field for field in bulk.relation_ends(model)}
            if name is not None:
                table = _Table(model, None if key is None else key.lower(), ends)
                found.setdefault(name, []).append(table)
    return found
