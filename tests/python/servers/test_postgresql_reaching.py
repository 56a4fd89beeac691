"""Invalidations of a transaction that reach a table of the very database that has just committed."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

django = pytest.importorskip("django")

from django.core.cache import caches  # noqa: E402 -- needs Django, as the rest
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.test import override_settings  # noqa: E402
from project.catalogue.models import Item  # noqa: E402
from sessions import ALIAS, catalogue_database  # noqa: E402

from oxicache.django import invalidate  # noqa: E402
from oxicache.store import failure_counts, forget_failures  # noqa: E402

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "reaching_entries"}
}


class Router:
    """Where the table of cache entries is."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return ALIAS if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return db == ALIAS if app_label == "django_cache" else None


@pytest.fixture(scope="module", autouse=True)
def _database(postgresql_settings: dict[str, Any], django_databases: None) -> Iterator[None]:
    """The tables in a database of this module's own."""
    with (
        catalogue_database(dict(postgresql_settings)),
        override_settings(CACHES=CACHES, DATABASE_ROUTERS=[f"{__name__}.Router"]),
    ):
        call_command("createcachetable", verbosity=0, database=ALIAS)
        yield


@pytest.fixture(autouse=True)
def _connection() -> Iterator[Any]:
    forget_failures()
    yield
    connections[ALIAS].close()


def is_idle() -> bool:
    """Whether the connection is in no transaction, as Django and as the driver have it."""
    connection = connections[ALIAS]
    return connection.get_autocommit() and connection.connection.info.transaction_status.name == "IDLE"


def test_after_the_commit() -> None:
    """Entries go from the table once the transaction is committed, in one that is committed too."""
    cache = caches["default"]
    cache.set_many({"a": 1, "b:1": 1, "c": 1})
    with transaction.atomic(using=ALIAS):
        Item.objects.using(ALIAS).create(title="x", price=1)
        invalidate(keys=["a"], globs=["b:*"])
        assert cache.get("a") == 1
    assert is_idle()
    connections[ALIAS].close()
    assert [cache.get(key) for key in ("a", "b:1", "c")] == [None, None, 1]
    assert failure_counts() == {}


def test_managed_by_hand() -> None:
    """The same where a project switches autocommit off and commits by itself."""
    cache, connection = caches["default"], connections[ALIAS]
    cache.set("a", 1)
    connection.set_autocommit(False)
    try:
        Item.objects.using(ALIAS).create(title="x", price=1)
        invalidate(keys=["a"])
        connection.commit()
        assert connection.connection.info.transaction_status.name == "IDLE"
    finally:
        connection.set_autocommit(True)
    assert is_idle()
    assert cache.get("a") is None


def test_a_table_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """A cache that fails then is logged; what was committed is, and the connection goes on."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("ALTER TABLE reaching_entries RENAME TO elsewhere")
    try:
        with transaction.atomic(using=ALIAS):
            item = Item.objects.using(ALIAS).create(title="y", price=1)
            invalidate(keys=["a"])
        assert is_idle()
        assert Item.objects.using(ALIAS).filter(pk=item.pk).exists()
        assert failure_counts() == {"default": 1}
    finally:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO reaching_entries")
        # The error that was logged holds the frames that it went through, and they the transaction.
        caplog.clear()
        gc.collect()
