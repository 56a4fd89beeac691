"""What the contract tests of several dialects store in a cache, and look for again."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import transaction
from django.test import override_settings

__all__ = ["BACKENDS", "BROKEN", "FILES", "BrokenCache", "filled", "left", "own_default", "roll_back"]

# Backends that can list their keys: oxicache's own, and one of Django's.
BACKENDS: Final = {
    "native": "oxicache.django.backends.NativeCache",
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
}
BROKEN: Final = f"{__name__}.BrokenCache"
FILES: Final = "django.core.cache.backends.filebased.FileBasedCache"  # which cannot

_numbers = itertools.count()


class BrokenCache(LocMemCache):
    """A backend that can list its keys, and is out of reach."""

    @property
    def _expire_info(self) -> Any:
        raise ConnectionError("out of reach")

    @_expire_info.setter
    def _expire_info(self, value: Any) -> None:
        """Take what LocMemCache keeps."""


@contextmanager
def own_default(backend: str, **params: Any) -> Iterator[Any]:
    """Have CACHES["default"] be an empty cache of this backend, with a prefix that patterns must not trip over."""
    location = f"dialect-{next(_numbers)}"
    default = {"BACKEND": backend, "LOCATION": location, "KEY_PREFIX": "site", **params}
    with override_settings(CACHES={"default": default}):
        cache = caches["default"]
        yield cache
        cache.clear()


def filled(cache: Any, *keys: str) -> list[str]:
    """Store something under these keys."""
    for key in keys:
        cache.set(key, "value")
    return list(keys)


def left(cache: Any, keys: list[str]) -> list[str]:
    """Which of these are still there."""
    return [key for key in keys if cache.get(key) is not None]


def roll_back(work: Any) -> None:
    """Do something in a transaction that is rolled back."""
    with transaction.atomic():
        work()
        transaction.set_rollback(True)
