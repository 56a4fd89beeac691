"""Where results of queries are held: a store of a NativeCache, as the loader asks for it, and what a load brings.

The versions of everything that a query reads are captured before it runs. What it turns out to read besides is noted
for the next time, and what it read this time is not stored.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from oxicache._native import MISSING, NativeStore, Stamps
from oxicache.django.backends import NativeCache
from oxicache.loader import Loader
from oxicache.store import LoadStore, attempt

__all__ = ["Found", "Holder", "holder_at"]

MAX_TURNS: Final = 3  # as many as loads of others that are for them alone are waited for


class Found:
    """What a query gave: to who ran it and to those who waited. `stamps` None: for who ran it alone."""

    __slots__ = ("stamps", "value")

    def __init__(self, value: Any, stamps: Stamps | None) -> None:
        self.value = value
        self.stamps = stamps


class Holder:
    """The results of queries in one store."""

    grace = 0.0
    early_refresh = 0.0

    def __init__(self, cache: NativeCache, store: NativeStore) -> None:
        """Hold results in the memory of this cache."""
        self.name = store.name
        self._cache = cache
        self._store = store
        self.loader = Loader(cast("LoadStore", self))

    def key(self, key: str) -> Any:
        """Return a key as the store has it."""
        return self._cache._key(key)

    def find(self, key: Any) -> Any:
        """Return what is held, or MISSING. A store that fails holds nothing."""
        return attempt(self._store, self._store.get, MISSING, key, MISSING)

    def load(
        self, key: Any, run: Callable[[], Found], ttl: float | None, tags: tuple[str, ...], *, alone: bool
    ) -> Any:
        """Return what `run()` gives, called by one caller at a time; `alone`: by this one, whoever else asks."""
        if alone:
            token = attempt(self._store, self._store._token, None, key)
            found = run()
            if token is not None:
                attempt(self._store, self._fill, False, key, found, token, ttl, tags)
            return found.value
        own: Found | None = None

        def once() -> Found:
            nonlocal own
            own = run()
            return own

        for _ in range(MAX_TURNS):
            found = self.loader.load_missed(key, once, ttl=ttl, tags=tags)
            if not isinstance(found, Found):  # somebody has stored it meanwhile
                return found
            if found is own or (found.stamps is not None and found.stamps.is_current()):
                return found.value
        return run().value

    # ------------------------------------------------------------ what a loader asks for

    def peek(self, key: Any, default: Any) -> Any:
        """Return what is held, counting nothing."""
        return self._store.peek(key, default)

    get = peek

    def _token(self, key: Any) -> int:
        return self._store._token(key)

    def _is_current(self, key: Any, token: int, tags: Iterable[str] = ()) -> bool:
        return self._store._is_current(key, token, tags)

    def _stale(self, key: Any) -> Any:  # noqa: ARG002 -- as the loader calls it
        return MISSING

    def _early(self, key: Any) -> bool:  # noqa: ARG002 -- as above
        return False

    def _fill(  # noqa: PLR0917 -- as the loader calls it
        self,
        key: Any,
        found: Found,
        token: int,
        ttl: Any = None,
        tags: Iterable[str] = (),
        cost: float = 0.0,
        stamps: Stamps | None = None,  # noqa: ARG002 -- captured where the query was run
    ) -> bool:
        if found.stamps is None:
            return False
        return self._store._fill(key, found.value, token, ttl, tags, cost, found.stamps)

    def _loaded(self, key: Any, seconds: float, has_failed: bool) -> None:
        self._store._loaded(key, seconds, has_failed)


@functools.cache
def holder_at(alias: str) -> Holder:
    """Return where an alias of CACHES holds results. ImproperlyConfigured for one that knows no versions."""
    cache = caches[alias]
    if not isinstance(cache, NativeCache):
        raise ImproperlyConfigured(
            f"CACHES[{alias!r}] is a {type(cache).__name__}; results of querysets are held in a NativeCache, "
            "which knows what has changed: name one with alias="
        )
    return Holder(cache, cache._memory)


def _reset(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        holder_at.cache_clear()


setting_changed.connect(_reset, dispatch_uid="oxicache.django.queries.holding")
