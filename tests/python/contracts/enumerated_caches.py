"""Caches for the contract of enumerators: keys and patterns that are easily mistaken, aliases of one place."""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

from django.core.management import call_command
from django.db import connections
from django.test import override_settings

ODD_KEYS = (
    "a",
    "b:1",
    "b:2",
    "bü",
    "1:b",
    "%",
    "_",
    "x_y",
    "xzy",
    "50%25",
    "a*b",
    "a?",
    "[a]",
    "a\\b",
    "tag:x",
    "it's",
    '"',
    "~tag:x",
)
GLOBS = (
    "*",
    "b:*",
    "b?",
    "b:[12]",
    "a\\*b",
    "*b",
    "?",
    "%",
    "x_y",
    "_",
    "[[]a]",
    "*\\\\*",
    "b:1",
    "[a-b]*",
    "~*",
    "*[",
    "[a-]]*",
)
MANY = 1100  # more than a batch holds


def reversed_order(key: Any, prefix: str, version: Any) -> str:
    """Like Django's, the other way round."""
    return f"{key}:v{version}:{prefix}"


def digested(key: Any, prefix: str, version: Any) -> str:
    """As projects do it for memcached."""
    return hashlib.sha256(f"{prefix}:{version}:{key}".encode()).hexdigest()


def digested_if_long(key: Any, prefix: str, version: Any) -> str:
    """As document 004 does it: what is long is found by no pattern."""
    made = f"{prefix}:{version}:{key}"
    return made if len(made) <= 200 else digested(key, prefix, version)


class Unreadable:
    """Raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise AssertionError("an entry was unpickled")


ALIASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "glob prefix": {"KEY_PREFIX": "t*"},
    "near prefix": {"KEY_PREFIX": "tx"},
    "percent": {"KEY_PREFIX": "t%"},
    "class": {"KEY_PREFIX": "t[x]"},
    "longer": {"KEY_PREFIX": "tx:1"},
    "versioned": {"KEY_PREFIX": "v", "VERSION": 2},
    "longer than versioned": {"KEY_PREFIX": "v:22"},
    "function": {"KEY_PREFIX": "p", "KEY_FUNCTION": reversed_order},
}


@contextlib.contextmanager
def cache_table(database: str = "default") -> Iterator[dict[str, Any]]:
    """Make the table of a DatabaseCache, and say what CACHES has for it."""
    place = {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "enumerated cache",  # a name to be quoted
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
    with override_settings(CACHES={"default": place}):
        call_command("createcachetable", database=database, verbosity=0)
    yield place
    connection = connections[database]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {connection.ops.quote_name(place['LOCATION'])}")
