"""Where responses are held: a store of a NativeCache, or any other cache of `CACHES`, as the loader asks for them.

A store in memory hands out what it holds without copying it. Another cache knows no versions: what was invalidated
while a response was made is stored there all the same, and tags and models reach nothing, so a view with such is not
cached there.
"""

import time
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import setting_changed

from oxicache import _native
from oxicache._native import MISSING, NativeStore, Stamps
from oxicache.django.backends import NativeCache
from oxicache.django.responses.stored import Stored, thaw
from oxicache.grace import ErrorNames
from oxicache.loader import Loader
from oxicache.store import LoadStore, aattempt, attempt

__all__ = ["Loaded", "ServerError", "Shelf", "Wanted", "shelf_at"]


class Wanted:
    """One request's wish for the response of one key. Equal to that of another request for the same key."""

    __slots__ = ("held", "is_reload", "key", "past")

    def __init__(self, key: str, held: Any, *, is_reload: bool, past: Any = MISSING) -> None:
        self.key = key
        self.held = held  # as the shelf's cache has it
        self.is_reload = is_reload  # what is held now will not do
        # Of a task that has asked a cache which it would block the loop to ask again: what has expired there, or None.
        self.past = past

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wanted) and self.key == other.key

    def __repr__(self) -> str:
        return repr(self.key)


class Loaded:
    """What a view returned: to who asked it, the response itself; to those who waited, what may be kept of it."""

    __slots__ = ("asked", "is_kept", "key", "response", "stamps", "stored", "tags", "ttl")

    def __init__(self, asked: Wanted, response: Any) -> None:
        self.asked = asked
        self.response = response
        self.stored: tuple[Any, ...] | None = None  # None: for who asked alone
        self.key = asked.key  # another one where the view looked at a header for the first time
        self.ttl: float | None = None
        self.stamps: Stamps | None = None
        self.tags: tuple[str, ...] = ()  # of fragments in it
        self.is_kept = False  # already


class ServerError(Exception):
    """A view answered that its server failed, and something is held that may be served in place of that."""

    def __init__(self, response: Any) -> None:
        """Keep the response for who caused it, should nothing be held after all."""
        super().__init__(f"it answered with status {response.status_code}")
        self.response = response


class _Loader(Loader):
    __slots__ = ()

    @property
    def grace_errors(self) -> ErrorNames:
        return (*super().grace_errors, ServerError)


class Shelf(Protocol):
    """A place of responses."""

    grace: float
    name: str | None
    has_tags: bool
    is_far: bool
    loader: Loader
    locations: tuple[str, ...]

    def now(self) -> float:
        """Return the time that `Stored` counts by."""
        ...

    def held(self, key: str) -> Any:
        """Return the key as the cache has it."""
        ...

    def find(self, key: str) -> Stored | None:
        """Return what is held, fresh or not."""
        ...

    async def afind(self, key: str) -> Stored | None:
        """As `find`, of one that is far: a task must not wait for its cache in its loop."""
        ...

    async def akeep(self, loaded: Loaded) -> None:
        """Store what was loaded, in one that is far."""
        ...

    def stale(self, wanted: Wanted) -> Any:
        """Return what is held, fresh or not, if it may be served when the view fails; else MISSING."""
        ...


class _Shelf:
    early_refresh = 0.0
    has_tags = False
    is_far = False  # to ask it takes a wait
    locations: tuple[str, ...] = ()  # whose tags reach it

    def __init__(self, name: str | None, grace: float) -> None:
        self.name = name
        self.grace = grace
        self.loader = _Loader(cast("LoadStore", self))

    def now(self) -> float:
        raise NotImplementedError

    def held(self, key: str) -> Any:
        raise NotImplementedError

    def _read(self, held: Any) -> Any:
        raise NotImplementedError

    def _peek(self, held: Any) -> Any:
        return self._read(held)

    def find(self, key: str) -> Stored | None:
        return thaw(attempt(cast("LoadStore", self), self._found, None, key))

    def _found(self, key: str) -> Any:
        return self._read(self.held(key))

    async def afind(self, key: str) -> Stored | None:
        raise NotImplementedError

    async def akeep(self, loaded: Loaded) -> None:
        raise NotImplementedError

    def stale(self, wanted: Wanted) -> Any:
        return attempt(cast("LoadStore", self), self._stale, MISSING, wanted) if self.grace else MISSING

    def peek(self, wanted: Wanted, default: Any) -> Any:
        if wanted.is_reload or wanted.past is not MISSING:
            return default
        stored = thaw(self._peek(wanted.held))
        return stored if stored is not None and stored.is_fresh(self.now()) else default

    get = peek

    def _stale(self, wanted: Wanted) -> Any:
        stored = thaw(self._peek(wanted.held)) if wanted.past is MISSING else wanted.past
        return MISSING if stored is None else stored

    def _early(self, wanted: Wanted) -> bool:  # noqa: ARG002 -- as the loader calls it
        return False

    def _kept(self, ttl: float | None) -> float | None:
        return None if ttl is None else ttl + self.grace


class NativeShelf(_Shelf):
    """A store of a NativeCache."""

    has_tags = True

    def __init__(self, cache: NativeCache, store: NativeStore, grace: float) -> None:
        super().__init__(store.name, grace)
        self._cache = cache
        self.store = store
        self.locations = (store.location,)

    def now(self) -> float:
        return _native.now()

    def held(self, key: str) -> Any:
        return self._cache._key(key)

    def _read(self, held: Any) -> Any:
        return self.store.get(held, None)

    def _peek(self, held: Any) -> Any:
        return self.store.peek(held, None)

    def _token(self, wanted: Wanted) -> int:
        return self.store._token(wanted.held)

    def _is_current(self, wanted: Wanted, token: int, tags: Iterable[str] = ()) -> bool:
        return self.store._is_current(wanted.held, token, tags)

    def _fill(  # noqa: PLR0917 -- as the loader calls it
        self,
        wanted: Wanted,
        loaded: Loaded,
        token: int,
        ttl: Any = None,  # noqa: ARG002 -- a response may say itself
        tags: Iterable[str] = (),
        cost: float = 0.0,
        stamps: Stamps | None = None,  # noqa: ARG002 -- captured where the view was called
    ) -> bool:
        if loaded.stored is None:
            return False
        tags = (*tags, *loaded.tags)
        held = wanted.held
        if loaded.key != wanted.key:
            # Its own token, asked for now; what was invalidated until now has outdated the first one too.
            held, first = self.held(loaded.key), token
            token = self.store._token(held)
            if not self.store._is_current(wanted.held, first, tags):
                return False
        return self.store._fill(held, loaded.stored, token, self._kept(loaded.ttl), tags, cost, loaded.stamps)

    def _loaded(self, wanted: Wanted, seconds: float, has_failed: bool) -> None:
        self.store._loaded(wanted.held, seconds, has_failed)


class CacheShelf(_Shelf):
    """Any other cache of Django's."""

    def __init__(self, alias: str, grace: float, *, is_far: bool) -> None:
        super().__init__(f"django:{alias}", grace)
        self._alias = alias
        self.is_far = is_far

    @property
    def _cache(self) -> BaseCache:
        return caches[self._alias]  # of this thread or task

    def now(self) -> float:
        return time.time()  # another process reads it, of another host perhaps

    def held(self, key: str) -> Any:
        return key

    def _read(self, held: Any) -> Any:
        return self._cache.get(held)

    async def afind(self, key: str) -> Stored | None:
        return thaw(await aattempt(cast("LoadStore", self), self._cache.aget, None, key))

    async def akeep(self, loaded: Loaded) -> None:
        ttl = self._kept(loaded.ttl)
        await aattempt(cast("LoadStore", self), self._cache.aset, None, loaded.key, loaded.stored, ttl)
        loaded.is_kept = True

    def _token(self, wanted: Wanted) -> int:  # noqa: ARG002 -- as the loader calls it
        return 0

    def _is_current(self, wanted: Wanted, token: int, tags: Iterable[str] = ()) -> bool:  # noqa: ARG002 -- as above
        return True

    def _fill(self, wanted: Wanted, loaded: Loaded, token: int, **_: Any) -> bool:  # noqa: ARG002 -- as above
        if loaded.stored is None or loaded.is_kept:
            return loaded.is_kept
        self._cache.set(loaded.key, loaded.stored, self._kept(loaded.ttl))
        return True

    def _loaded(self, wanted: Wanted, seconds: float, has_failed: bool) -> None:
        """Count nothing: such a cache has no figures."""


# Nothing waits for these, and their own `aget` goes to another thread. A class derived from them may do anything.
_NEAR: Final = frozenset({LocMemCache, DummyCache})

# By what reaches the memory, and for how long what has expired is kept. Stores live as long as the process.
_shelves: dict[tuple[Any, ...], Any] = {}


_found: dict[tuple[str, float], Shelf] = {}  # of the settings as they are


def shelf_at(alias: str, grace: float) -> Shelf:
    """Return where the responses of an alias are held. All threads share one: it knows whose load is under way."""
    shelf = _found.get((alias, grace))
    return _found.setdefault((alias, grace), _shelf_at(alias, grace)) if shelf is None else shelf


def _reset(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        _found.clear()


setting_changed.connect(_reset, dispatch_uid="oxicache.django.responses.shelves")


def _shelf_at(alias: str, grace: float) -> Shelf:
    cache = caches[alias]
    if not isinstance(cache, NativeCache):
        mark: tuple[Any, ...] = (alias, type(cache), grace)
        is_far = type(cache) not in _NEAR
        found = _shelves.get(mark) or _shelves.setdefault(mark, CacheShelf(alias, grace, is_far=is_far))
        return cast("Shelf", found)
    store = cache._memory
    mark = (store, cache.key_prefix, cache.version, cache.key_func, grace)
    found = _shelves.get(mark) or _shelves.setdefault(mark, NativeShelf(cache, store, grace))
    return cast("Shelf", found)
