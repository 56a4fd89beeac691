"""What Django's tests find under the name LocMemCache: the backend under test, and the private parts they look into.

The tests of LocMemCache read three of its private attributes, and some of BaseCache the `__func__` of a bound method.
The stand-in answers from the backend's public methods: what these tests are about is tested, not left out for how they
ask.
"""

import math
import threading
import time
import types
from collections.abc import Mapping
from importlib import import_module
from typing import Any

# Django asks these for `__func__`, to see whether a backend with a method of its own has an async twin of its own.
WITH_FUNC = ("get_many", "set_many", "delete_many", "has_key", "incr")
LOCKED_SECONDS = 2  # what waits longer for a lookup in memory waits for a lock
DEADLINE_SECONDS = (
    10  # a deadline is now and what is left, so two readings of one deadline differ by a little
)


def backend_class(path: str) -> type[Any]:
    """The class at a dotted path."""
    module, _, name = path.rpartition(".")
    found: type[Any] = getattr(import_module(module), name)
    return found


def put_in_place_of_locmem(backend: type[Any], options: Mapping[str, Any]) -> type[Any]:
    """Let every import and dotted path of LocMemCache lead to `backend`, so that no test of Django is changed."""
    from django.core.cache.backends import locmem

    if backend is not locmem.LocMemCache:
        backend = _stand_in(backend, options)
        locmem.LocMemCache = backend  # type: ignore[misc]
    return backend


class Deadlines:
    """LocMemCache's `_expire_info`: when each entry expires, by the key as it is made; None for never."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getitem__(self, made: str) -> float | None:
        prefix, version, key = made.split(":", 2)
        if prefix != self._cache.key_prefix:
            raise KeyError(made)
        left = self._cache.time_left(key, version=int(version))
        if left is None:
            raise KeyError(made)
        return None if left == math.inf else (time.time() + left) // DEADLINE_SECONDS


class Lock:
    """LocMemCache's `_lock`, which is only asked whether it is held: here, whether another thread has to wait."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def locked(self) -> bool:
        other = threading.Thread(target=self._cache.get, args=("locked",), daemon=True)
        other.start()
        other.join(LOCKED_SECONDS)
        return other.is_alive()


class Bound:
    """A native method, bound as Python binds its own functions: with `__func__`."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self._method if instance is None else types.MethodType(self._method, instance)


def _stand_in(backend: type[Any], options: Mapping[str, Any]) -> type[Any]:
    class StandIn(backend):  # type: ignore[misc]
        """The backend, with the options of this run beside those of the test."""

        def __init__(self, name: str, params: dict[str, Any]) -> None:
            self.location = name
            super().__init__(name, {**params, "OPTIONS": {**options, **params.get("OPTIONS", {})}})

        @property
        def _cache(self) -> str:
            """What the entries are in: tests hand it from one handler to another, "to share a data store"."""
            return self.location

        @_cache.setter
        def _cache(self, other: str) -> None:
            if other != self.location:
                raise AssertionError(f"{self!r} was to share the entries of {other!r}")

        @property
        def _expire_info(self) -> Deadlines:
            return Deadlines(self)

        @_expire_info.setter
        def _expire_info(self, other: Deadlines) -> None:
            self._cache = other._cache.location

        @property
        def _lock(self) -> Lock:
            return Lock(self)

    for name in WITH_FUNC:
        setattr(StandIn, name, Bound(getattr(backend, name)))
    return StandIn
