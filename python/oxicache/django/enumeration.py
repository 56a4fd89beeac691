"""`enumerator_of`: who lists, deletes and tags the entries of an alias of CACHES. A backend that cannot is an error.

What each of them can do: enumerating/role.py. Which entries an operation acts on: oxicache/selection.py.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured

from oxicache._native import KeyPattern
from oxicache.django.enumerating.base import Enumerating
from oxicache.django.enumerating.role import ALL_VERSIONS, BATCH, Enumerator, Patterns, Version
from oxicache.django.scope import Scope
from oxicache.errors import CannotEnumerateError
from oxicache.selection import Selection

__all__ = [
    "ALL_VERSIONS",
    "BATCH",
    "Enumerator",
    "Patterns",
    "Version",
    "enumerator_of",
    "enumerators",
    "patterns_of",
    "register_enumerator",
]

# By the dotted path of a backend's class, which counts for its subclasses too: nothing is imported that nobody uses.
_KINDS: Final[dict[str, str]] = {
    "oxicache.django.backends.native.NativeCache": "memory.NativeEnumerator",
    "django.core.cache.backends.locmem.LocMemCache": "memory.LocMemEnumerator",
    "django.core.cache.backends.dummy.DummyCache": "memory.NothingEnumerator",
    "django.core.cache.backends.db.DatabaseCache": "database.DatabaseEnumerator",
    "django.core.cache.backends.redis.RedisCache": "redis.RedisEnumerator",
    "django_redis.cache.RedisCache": "redis.DjangoRedisEnumerator",
}
# Why others cannot, where it is known.
_REASONS: Final[dict[str, str]] = {
    "django.core.cache.backends.filebased.FileBasedCache": "its files are named by a digest of the key",
    "django.core.cache.backends.memcached.BaseMemcachedCache": "memcached has no command that lists all keys",
}
_REMEDY: Final = (
    "invalidate it by key, clear it, or use a backend that can: NativeCache, LocMemCache, Django's RedisCache or "
    "DatabaseCache, django-redis"
)
_registered: dict[type[BaseCache], Callable[[str, Callable[[], Any]], Enumerator]] = {}


def enumerator_of(alias: str) -> Enumerator:
    """Return who lists the entries of an alias. Makes no connection; any thread may use it.

    CannotEnumerateError says why its backend, or its KEY_FUNCTION, leaves no way; Django's InvalidCacheBackendError
    that there is no such alias.
    """
    cache = caches[alias]
    found = _maker(alias, cache)(alias, lambda: caches[alias])
    if isinstance(found, Enumerating):
        found.check()
    return found


def enumerators() -> dict[str, Enumerator | CannotEnumerateError]:
    """Return, for each alias of CACHES, who lists its entries, or why nobody can."""
    found: dict[str, Enumerator | CannotEnumerateError] = {}
    for alias in list(caches.settings):
        try:
            found[alias] = enumerator_of(alias)
        except CannotEnumerateError as error:
            found[alias] = error
        except (InvalidCacheBackendError, ImproperlyConfigured, ImportError) as error:
            found[alias] = CannotEnumerateError(alias, str(error), "correct CACHES")
    return found


def patterns_of(selection: Selection) -> tuple[KeyPattern, ...]:
    """Return the patterns of a selection, for keys below its tenant's prefix where it has a tenant."""
    below = "" if selection.tenant is None else Scope(tenant=selection.tenant).prefix()
    return selection.patterns(below)


def register_enumerator(backend: Any, make: Callable[[str, Callable[[], Any]], Enumerator]) -> None:
    """Have `make` answer for a backend's class and its subclasses, before what is built in.

    It is called with the alias, and with what gives the handler of the calling thread.
    """
    if not isinstance(backend, type) or not issubclass(backend, BaseCache):
        raise TypeError(f"backend must be a subclass of BaseCache, not {backend!r}")
    _registered[backend] = make


def _maker(alias: str, cache: Any) -> Callable[[str, Callable[[], Any]], Enumerator]:
    reason = "nothing is known of this backend"
    for kind in type(cache).__mro__:
        if kind in _registered:
            return _registered[kind]
        path = f"{kind.__module__}.{kind.__qualname__}"
        if path in _KINDS:
            module, _, name = _KINDS[path].partition(".")
            found: Callable[[str, Callable[[], Any]], Enumerator] = getattr(
                import_module(f"oxicache.django.enumerating.{module}"), name
            )
            return found
        if path in _REASONS:
            reason = _REASONS[path]
            break
    raise CannotEnumerateError(alias, f"{type(cache).__name__}: {reason}", _REMEDY)
