"""What of Django a test may not leave changed: rows, transactions, receivers, settings. Who looks: leftovers.py."""

import functools
import importlib
import pkgutil
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import django.contrib.auth.signals
import django.core.signals
import django.db.backends.signals
import django.test.signals
import rest_framework.settings  # noqa: F401 -- it listens from then on, as below
from django.apps import apps
from django.conf import settings
from django.db import connections, models
from django.db.backends.utils import CursorWrapper
from django.db.models import signals
from django.db.models.deletion import Collector
from django.db.models.query import QuerySet
from django.db.transaction import Atomic
from django.dispatch import Signal
from django.urls import get_script_prefix, get_urlconf
from django.utils import timezone, translation
from leftovers import State

import oxicache.django
from oxicache.django import marks
from oxicache.django import signals as watching
from oxicache.django.backends import loads, stores
from oxicache.django.responses import shelves
from oxicache.registry import cache_manager

__all__ = [
    "django_state",
    "forget_models",
    "forget_stores",
    "remember_models",
    "remove_rows",
    "unwatch",
    "unwatch_models",
]

# Loaded before anybody looks: what listens to signals does so from then on. Else the test that loads it, where it runs
# alone, would have left that behind.
for _one in pkgutil.walk_packages(oxicache.django.__path__, "oxicache.django."):
    with suppress(ModuleNotFoundError):  # an extra that is not installed
        importlib.import_module(_one.name)
# Who patches Django patches it there.
CLASSES: Final = (models.Model, models.Manager, QuerySet, Atomic, Collector, CursorWrapper)
SIGNALS: Final[dict[str, Signal]] = {
    name: found
    for module in (
        django.contrib.auth.signals,
        django.core.signals,
        django.db.backends.signals,
        django.test.signals,
        signals,
    )
    for name, found in vars(module).items()
    if isinstance(found, Signal)
}
# Of models that are there now: those that a test makes are nobody else's.
SENDERS: Final = {id(None): "anybody"} | {id(model): model._meta.label for model in apps.get_models()}
# Connected once they are wanted, and heedless when they no longer are.
KEPT: Final = (
    "oxicache.django.execution.",
    "oxicache.django.fragments.",  # loaded with the first template
    "oxicache.django.signals.",
)
# What `migrate` fills, and a TransactionTestCase empties and fills again; and sessions, which nobody counts.
FILLED: Final = ("auth_permission", "django_content_type", "django_migrations", "django_session")
# What Django's test environment changes, for as long as the first test that needs it and all after it run.
OF_ENVIRONMENT: Final = ("ALLOWED_HOSTS", "EMAIL_BACKEND", "DEBUG")


def django_state(found: State) -> None:
    """Say how things are that tests change."""
    wrapped = settings._wrapped
    found["settings"] = {key: value for key, value in vars(wrapped).items() if key not in OF_ENVIRONMENT}
    found["how settings are overridden"] = type(wrapped).__name__
    found["language"] = translation.get_language()
    found["time zone"] = timezone.get_current_timezone_name()
    found["where URLs are looked up"] = (get_urlconf(), get_script_prefix())
    found["who carries out effects"] = [getattr(one, "__qualname__", one) for one in marks._executors]
    for one in CLASSES:
        found[one.__qualname__] = dict(vars(one))
    _receivers(found)
    for alias in connections.settings:
        # One that was never used in this thread has nothing, and to ask for it would make it.
        if (connection := getattr(connections._connections, alias, None)) is not None:  # type: ignore[attr-defined]
            _connection(found, alias, connection)
    found["databases"] = sorted(connections.settings)


def forget_stores() -> None:
    """Let go of the memory of each LOCATION that was used.

    Tests use a thousand of them, and what looks at all caches that there are would take seconds at the end of the run.
    """
    for location in list(stores._stores):
        store = stores._stores.pop(location)
        cache_manager.remove(store.name or "", store.cache)
    loads._loaders.clear()
    shelves._shelves.clear()
    shelves._found.clear()


_own_models: set[type[models.Model]] = (
    set()
)  # the project's, and those that test files define when they are loaded


def remember_models() -> None:
    """Keep the models that are there now; to be called once all tests are collected."""
    _own_models.update(watching._known)
    watching._is_watching_all = False


def forget_models() -> None:
    """Let go of the models that tests have made: some are wrong, and who looks at all there are would say so."""
    for model in set(watching._known) - _own_models:
        watching._known.discard(model)
        watching._watched.discard(model)
    watching._relations[:] = [one for one in watching._relations if one.through in _own_models]


def unwatch() -> None:
    """Have nobody hear of Django's own models any more: what a test caches of them is watched for ever.

    The project's stay watched: who depends on them is found once. Who loads anew what he caches watches again.
    """
    watching._is_watching_all = False
    unwatch_models(model for model in apps.get_models(include_auto_created=True) if _is_of_django(model))


def unwatch_models(those: Iterable[type[models.Model]]) -> None:
    """Have nobody hear of these: the first cached queryset of the run has all models watched."""
    for model in those:
        watching._watched.discard(model)
        watching._referred.discard(model)
        for end in ("", ".referred", ".through"):
            for signal in (signals.post_save, signals.post_delete, signals.m2m_changed):
                signal.disconnect(sender=model, dispatch_uid=f"{watching.DISPATCH_UID}{end}")


def _is_of_django(model: type[models.Model]) -> bool:
    return model.__module__.startswith("django.contrib.")


def remove_rows() -> None:
    """Empty the databases, but for what `migrate` fills."""
    for alias in connections.settings:
        connection: Any = getattr(connections._connections, alias, None)  # type: ignore[attr-defined]
        if connection is not None and connection.vendor == "sqlite" and connection.connection is not None:
            with connection.constraint_checks_disabled():
                for name in _rows(connection.connection):
                    connection.connection.execute(f'DELETE FROM "{name}"')  # noqa: S608


def _receivers(found: State) -> None:
    """Count receivers by name. Those of what no longer exists, or of a test's own models, are called by nobody."""
    for name, one in SIGNALS.items():
        count: dict[str, int] = {}
        for (_, sender), receiver, *_ in one.receivers:
            function = receiver() if isinstance(receiver, weakref.ReferenceType) else receiver
            if function is None or sender not in SENDERS or isinstance(receiver, weakref.WeakMethod):
                continue
            title = f"{_title(function)} of {SENDERS[sender]}"
            if title.startswith(KEPT):
                continue
            count[title] = count.get(title, 0) + 1
        found[f"receivers of {name}"] = count


def _title(function: Any) -> str:
    if isinstance(function, functools.partial):
        function = function.func
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _connection(found: State, alias: str, connection: Any) -> None:
    found[f"connection {alias}"] = {
        "wrappers of statements": [one for one in connection.execute_wrappers if not _is_kept(one)],
        "is in a transaction": connection.in_atomic_block,
        "blocks": len(connection.atomic_blocks),
        "what waits for the commit": len(connection.run_on_commit),
        "must roll back": connection.needs_rollback,
        "collects its queries": connection.force_debug_cursor,
    }
    if connection.vendor == "sqlite" and connection.connection is not None:
        found[f"rows in {alias}"] = _rows(connection.connection)


def _is_kept(wrapper: Any) -> bool:
    """Whether it is one of the package's, which stay on their connection and look whether they are wanted."""
    module: str = getattr(wrapper, "__module__", "")
    return module in {"oxicache.django.execution", "oxicache.django.marks"}


def _rows(database: Any) -> dict[str, int]:
    """Count the rows of each table that has some. Asked below Django, where nobody counts or watches queries."""
    tables = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    )
    counts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\"" for (name,) in tables)  # noqa: S608
    return {
        name: count
        for name, count in database.execute(counts or "SELECT '', 0")
        if count and name not in FILLED
    }
