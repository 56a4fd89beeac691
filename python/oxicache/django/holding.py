"""Where results are held that are neither responses nor a model's members: an alias of CACHES, as the loader has it.

In a NativeCache each result knows what it depends on: version words, and tags, told once it is there. Another cache
holds it for its time.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.signals import setting_changed

from oxicache import _native
from oxicache._native import MISSING, NativeStore, Stamps
from oxicache.django import transactions
from oxicache.django.backends import NativeCache
from oxicache.loader import Loader
from oxicache.store import LoadStore, attempt

__all__ = ["CacheHolder", "Found", "Holder", "NativeHolder", "holder_at"]

MAX_TURNS: Final = 3  # as many as loads of others that are for them alone are waited for


class Found:
    """What a load gave: to who ran it and, if it is `shared`, to those who waited and those to come.

    `stamps` and `tags` are what it depends on; `ttl`, where the load has found out, how long it lives. Of a value that
    can be changed, `give` makes each caller's own.
    """

    __slots__ = ("give", "shared", "stamps", "tags", "ttl", "value")

    def __init__(
        self,
        value: Any,
        *,
        shared: bool = True,
        stamps: Stamps | None = None,
        tags: tuple[str, ...] = (),
        give: Callable[[Any], Any] | None = None,
        ttl: Any = MISSING,
    ) -> None:
        self.value = value
        self.ttl = ttl
        self.shared = shared
        self.stamps = stamps
        self.tags = tags
        self.give = give

    def given(self) -> Any:
        """Return the value for one caller."""
        return self.value if self.give is None else self.give(self.value)

    def is_current(self) -> bool:
        """Whether it may be given to another who waited for it."""
        return self.shared and (self.stamps is None or self.stamps.is_current())


class Holder:
    """Results in one cache."""

    shares = False  # whether it gives all callers the very object that it holds
    grace = 0.0
    early_refresh = 0.0
    name: str | None

    def __init__(self) -> None:
        """Load as the rest of the package does: once for all who wait."""
        self.loader = Loader(cast("LoadStore", self))

    def key(self, key: str) -> Any:
        """Return a key as the cache has it."""
        raise NotImplementedError

    def now(self) -> float:
        """Return the time that all who read this cache count by, in seconds."""
        raise NotImplementedError

    def find(self, key: Any) -> Any:
        """Return what is held, or MISSING. A cache that fails holds nothing."""
        return attempt(cast("LoadStore", self), self._read, MISSING, key)

    def load(self, key: Any, run: Callable[[], Found], ttl: float | None, *, alone: bool = False) -> Any:
        """Return what `run()` gives, called by one caller at a time; `alone`: by this one, whoever else asks."""
        if alone:
            return self._load_alone(key, run, ttl)
        own: Found | None = None

        def once() -> Found:
            nonlocal own
            own = run()
            return own

        for _ in range(MAX_TURNS):
            found = self.loader.load_missed(key, once, ttl=ttl)
            if not isinstance(found, Found):  # somebody has stored it meanwhile
                return found
            if found is own or found.is_current():
                return found.given()
        return run().given()

    def _load_alone(self, key: Any, run: Callable[[], Found], ttl: float | None) -> Any:
        store = cast("LoadStore", self)
        token = attempt(store, store._token, None, key)
        found = run()
        if token is not None:
            attempt(store, store._fill, False, key, found, token, ttl)
        return found.given()

    # ------------------------------------------------------------ what a loader asks for

    def _read(self, key: Any) -> Any:
        raise NotImplementedError

    def peek(self, key: Any, default: Any) -> Any:
        """Return what is held, counting nothing where that is to be had."""
        raise NotImplementedError

    def _stale(self, key: Any) -> Any:  # noqa: ARG002 -- as the loader calls it
        return MISSING

    def _early(self, key: Any) -> bool:  # noqa: ARG002 -- as above
        return False


class NativeHolder(Holder):
    """Results in a store of a NativeCache."""

    def __init__(self, cache: NativeCache, store: NativeStore) -> None:
        """Hold results in the memory of this cache."""
        super().__init__()
        self.name = store.name
        self.shares = store.isolation == "none"
        self._cache = cache
        self._store = store

    def key(self, key: str) -> Any:
        """Return a key as the memory has it: with the cache's prefix and version."""
        return self._cache._key(key)

    @property
    def location(self) -> str:
        """The LOCATION of its memory, by which the words of its tags are spelt."""
        return self._store.location

    def now(self) -> float:
        """Return the time of its clock, in seconds."""
        return _native.now()

    def find(self, key: Any) -> Any:
        """As every holder's, with one step less."""
        return attempt(cast("LoadStore", self), self._store.get, MISSING, key, MISSING)

    def peek(self, key: Any, default: Any) -> Any:
        """Return what is held, counting nothing."""
        return self._store.peek(key, default)

    get = peek

    def _token(self, key: Any) -> int:
        return self._store._token(key)

    def _is_current(self, key: Any, token: int, tags: Iterable[str] = ()) -> bool:
        return self._store._is_current(key, token, tags)

    def _fill(  # noqa: PLR0917 -- as the loader calls it
        self,
        key: Any,
        found: Found,
        token: int,
        ttl: Any = None,
        tags: Iterable[str] = (),  # noqa: ARG002 -- those that are found
        cost: float = 0.0,
        stamps: Stamps | None = None,  # noqa: ARG002 -- captured where it was run
    ) -> bool:
        if not found.shared:
            return False
        seconds = ttl if found.ttl is MISSING else found.ttl
        return self._store._fill(key, found.value, token, seconds, found.tags, cost, found.stamps)

    def _loaded(self, key: Any, seconds: float, has_failed: bool) -> None:
        self._store._loaded(key, seconds, has_failed)


class CacheHolder(Holder):
    """Results in any other cache of Django's. What depends on words or tags is not to be held here."""

    def __init__(self, alias: str) -> None:
        """Hold results in the cache that this thread or task has of an alias."""
        super().__init__()
        self.name = f"django:{alias}"
        self._alias = alias

    @property
    def _cache(self) -> BaseCache:
        return caches[self._alias]

    def key(self, key: str) -> Any:
        """Return the key: this cache makes its own of it."""
        return key

    def now(self) -> float:
        """Return the wall clock's time, in seconds."""
        return time.time()  # another process reads it, of another host perhaps

    def _read(self, key: Any) -> Any:
        return self._cache.get(key, MISSING)

    def find(self, key: Any) -> Any:
        """As every holder's, with a few steps less."""
        return attempt(cast("LoadStore", self), caches[self._alias].get, MISSING, key, MISSING)

    def peek(self, key: Any, default: Any) -> Any:
        """Return what is held; whether that counts is the cache's to say."""
        return self._cache.get(key, default)

    get = peek

    def _token(self, key: Any) -> int:  # noqa: ARG002 -- as the loader calls it
        return 0

    def _is_current(self, key: Any, token: int, tags: Iterable[str] = ()) -> bool:  # noqa: ARG002 -- as above
        return True

    def _fill(self, key: Any, found: Found, token: int, ttl: Any = None, **_: Any) -> bool:  # noqa: ARG002 -- as above
        if not found.shared or found.tags or found.stamps is not None:
            return False
        self._cache.set(key, found.value, ttl if found.ttl is MISSING else found.ttl)
        return True

    def _loaded(self, key: Any, seconds: float, has_failed: bool) -> None:
        """Count nothing: such a cache has no figures."""


_holders: dict[str, Holder] = {}


def holder_at(alias: str) -> Holder:
    """Return where an alias of CACHES holds results. All threads share one: it knows whose load is under way."""
    found = _holders.get(alias)
    return _holders.setdefault(alias, _holder_at(alias)) if found is None else found


def _holder_at(alias: str) -> Holder:
    cache = caches[alias]
    return NativeHolder(cache, cache._memory) if isinstance(cache, NativeCache) else CacheHolder(alias)


def _reset(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        _holders.clear()


setting_changed.connect(_reset, dispatch_uid="oxicache.django.holding")
# Before anything is held, because what was written before anybody listened would be held for all.
transactions.watch_connections()
