"""`oxicache.django.backends.NativeCache`: in the memory of each process, invalidated for all processes of the host.

`get`, `set` and their like are native (`_native.BackendBase`); what is written here is what Django and django-redis
have besides. Where the memory is and whose it is: stores.py. What OPTIONS may hold: options.py.
"""

import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from django.core.cache.backends import base as django_base
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.signals import request_finished, request_started
from django.utils.safestring import SafeString

from oxicache import _native
from oxicache._native import MISSING, BackendBase, KeyPattern, NativeStore
from oxicache.django.backends import patches
from oxicache.django.backends.base import Backend
from oxicache.django.backends.loads import Request, loader_of, own_value
from oxicache.django.backends.options import deploy_version
from oxicache.django.backends.stores import store_at
from oxicache.django.backends.words import store_word, tag_word
from oxicache.trail import trail
from oxicache.versions import version_words

__all__ = ["NativeCache"]

_PROBE = "oxicache.key"  # what a key function is asked to make a key of, to see what it adds
_UNREMARKABLE = frozenset({"_is_made", "_max_entries"})  # may be set without changing what a handler does
# What BaseCache makes of which methods. A subclass that has its own of these expects to be asked, as with LocMemCache.
_MADE_OF = {
    "get_many": ("get",),
    "set_many": ("set",),
    "delete_many": ("delete",),
    "get_or_set": ("get", "add"),
    "aget_or_set": ("get", "add", "aget", "aadd"),
}
# What BaseCache keeps in the instance's dict, and this class elsewhere: `mock.patch.object` deletes it when it ends.
_SETTINGS = ("key_prefix", "version", "key_func", "default_timeout", "_max_entries")


class NativeCache(BackendBase, Backend):
    """A cache in the memory of this process: what a drop-in for LocMemCache can be, and shared in its invalidations.

    Handlers hold nothing but their settings: any thread and task may use the same one.
    """

    def __init__(self, location: str, params: Mapping[str, Any]) -> None:
        """Reach the memory of `location`. ImproperlyConfigured names a wrong or unknown option."""
        self._location = location
        self._params = dict(params)
        store, options = store_at(location, self._params, NativeCache)
        self._attach(store)
        given = dict(params)
        self._deploy_version = deploy_version(options)
        given["KEY_PREFIX"] = self._deployed(params.get("KEY_PREFIX", ""))
        BaseCache.__init__(self, given)
        self._first = {name: getattr(self, name) for name in _SETTINGS}
        self._is_made = True

    def _deployed(self, prefix: Any) -> Any:
        # Another release neither reads nor invalidates what this one stores.
        return f"{prefix}@{self._deploy_version}" if self._deploy_version else prefix

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, parts in _MADE_OF.items():
            is_own = getattr(cls, name) is not getattr(NativeCache, name)
            if not is_own and any(getattr(cls, part) is not getattr(NativeCache, part) for part in parts):
                setattr(cls, name, getattr(BaseCache, name))

    @property
    def _memory(self) -> NativeStore:
        store = self._store
        assert store is not None, "attached when the handler was made"
        return store

    # ------------------------------------------------------------ what may be set on a handler

    @property
    def _max_entries(self) -> int:
        """How many entries the store holds; LocMemCache's users set it."""
        return self._memory.cache.max_size

    @_max_entries.setter
    def _max_entries(self, most: int) -> None:
        if self._made:  # BaseCache sets what it read from OPTIONS, or 300
            self._memory.cache.max_size = max(int(most), 1)  # LocMemCache always has room for the newest

    @property
    def _made(self) -> bool:
        return "_is_made" in self.__dict__

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in _UNREMARKABLE and self._made:
            patches.changed(self, name)

    def __delattr__(self, name: str) -> None:
        if name in _SETTINGS:
            super().__setattr__(name, self._first[name])
        else:
            super().__delattr__(name)
        patches.restored(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        # The memory stays where it is: a copy reaches the same, a pickle that of the process that loads it.
        return type(self), (self._location, self._params)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at LOCATION {self._location!r}>"

    # ------------------------------------------------------------ loading

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: Any = None,
        tags: Iterable[str] = (),
    ) -> Any:
        """Return the value, or store and return `default`, or what it returns when it is callable.

        One caller of this process computes, the others wait for it. None is a value. What was computed is stored,
        unless the key was invalidated meanwhile.
        """
        store = self._memory
        held = self._key(key, version)
        value = store.get(held, MISSING)
        if value is not MISSING and not (store.early_refresh and store._early(held)):
            return value
        request = Request(held, default, is_refresh=value is not MISSING)
        ttl = self._seconds(timeout)
        found = loader_of(store).load_missed(request, request.compute, ttl=ttl, tags=tags, current=value)
        return own_value(store, request, found)

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: Any = None,
        tags: Iterable[str] = (),
    ) -> Any:
        """See get_or_set(). `default` may be an async function too."""
        store = self._memory
        held = self._key(key, version)
        value = store.get(held, MISSING)
        if value is not MISSING and not (store.early_refresh and store._early(held)):
            return value
        request = Request(held, default, is_refresh=value is not MISSING)
        ttl = self._seconds(timeout)
        found = await loader_of(store).aload_missed(
            request, request.compute, ttl=ttl, tags=tags, current=value
        )
        return own_value(store, request, found)

    # ------------------------------------------------------------ keys

    def _select(self, pattern: KeyPattern, version: Any = None, prefix: str | None = None) -> list[str]:
        return self._memory.select(pattern, *self._around(version, prefix))

    def _around(self, version: Any, prefix: str | None) -> tuple[str, str]:
        """Return what stands before and behind the caller's key in a key as it is made."""
        made = self._other(prefix).make_key(_PROBE, version)
        before, found, behind = made.partition(_PROBE)
        if not found:
            raise NotImplementedError(
                f"The KEY_FUNCTION of {self!r} makes {made!r} of {_PROBE!r}: patterns cannot be matched against keys "
                "that do not contain what they were made of."
            )
        return before, behind

    def _other(self, prefix: str | None) -> "NativeCache":
        """Return a handler of the same store with another KEY_PREFIX."""
        if prefix is None or self.key_prefix in {prefix, self._deployed(prefix)}:
            return self
        other = type(self)(self._location, self._params)
        BackendBase.key_prefix.__set__(other, self._deployed(prefix))
        BackendBase.key_func.__set__(other, self.key_func)
        BackendBase.version.__set__(other, self.version)
        return other

    def delete_pattern(
        self,
        pattern: str,
        version: Any = None,
        prefix: str | None = None,
        itersize: int | None = None,  # noqa: ARG002 -- one signature for all
    ) -> int:
        """Delete the keys that match; how many there were in this process. O(entries). Source: django-redis.

        With coherence "host" every other process of the host removes what matches at its next use of the store.
        """
        count = self._memory.remove_matching(KeyPattern(pattern), *self._around(version, prefix))
        self._noted("pattern", [store_word(self._location)], pattern)
        return count

    def invalidate_patterns(
        self,
        patterns: Iterable[str],
        *,
        kind: Literal["glob", "regex"] = "glob",
        version: Any = None,
        prefix: str | None = None,
        any_version: bool = False,
    ) -> None:
        """Outdate the keys that match any of these patterns, in all processes of the host. O(patterns).

        Each process removes what matches at its next use of the store. `kind` is "glob", or "regex" for regular
        expressions that match from a key's start. `any_version` stands for all versions of the prefix; where a
        KEY_FUNCTION makes the keys, versions can't be told from the rest, and everything goes.
        """
        if isinstance(patterns, str):
            raise TypeError(f"patterns must be an iterable of strings, not the single string {patterns!r}")
        named = list(patterns)
        self._outdate_patterns(named, kind, version, prefix, any_version=any_version)
        for pattern in named:
            self._noted("pattern", [store_word(self._location)], pattern)

    def _outdate_patterns(
        self,
        patterns: Iterable[str],
        kind: Literal["glob", "regex"] = "glob",
        version: Any = None,
        prefix: str | None = None,
        *,
        any_version: bool = False,
    ) -> None:
        """As `invalidate_patterns`, for who notes in the trail what else this is part of."""
        if not any_version:
            before, behind = self._around(version, prefix)
            self._memory.outdate_patterns(patterns, kind, before=before, behind=behind)
            return
        other = self._other(prefix)
        is_djangos = other.key_func is django_base.default_key_func
        if (
            is_djangos and other.make_key(_PROBE, 1) == f"{other.key_prefix}:1:{_PROBE}"
        ):  # nor does a subclass make them
            self._memory.outdate_patterns(patterns, kind, prefix=str(other.key_prefix))
        else:
            self._memory.clear()

    def clear(self) -> None:
        """Delete everything, in all processes of the host."""
        super().clear()
        self._noted("clear", [store_word(self._location)], None)

    def delete_by_tag(self, tag: str) -> int:
        """Delete the entries that carry this tag, in all processes of the host; how many there were in this one."""
        count = super().delete_by_tag(tag)
        self._noted("tag", [tag_word(self._location, tag)], tag)
        return count

    def _noted(self, kind: str, names: list[str], detail: str | None) -> None:
        store = self._memory
        said = store.name if detail is None else f"{detail!r} in {store.name}"
        trail.record(kind, names if store.coherence == "host" else (), said)

    def _lock_name(self, key: Any, version: Any = None) -> tuple[str, str]:
        return self._location, self.make_and_validate_key(key, version=version)

    # ------------------------------------------------------------ the rest

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes of the store, as `TTLCache.stats` has them."""
        return self._memory.stats()

    async def aget_with_ttl(
        self, key: Any, default: Any = None, version: Any = None
    ) -> tuple[Any, float | None]:
        """See get_with_ttl()."""
        return self.get_with_ttl(key, default, version)

    async def ainvalidate_patterns(
        self,
        patterns: Iterable[str],
        *,
        kind: Literal["glob", "regex"] = "glob",
        version: Any = None,
        prefix: str | None = None,
        any_version: bool = False,
    ) -> None:
        """See invalidate_patterns()."""
        self.invalidate_patterns(patterns, kind=kind, version=version, prefix=prefix, any_version=any_version)

    async def adelete_by_tag(self, tag: str) -> int:
        """See delete_by_tag()."""
        return self.delete_by_tag(tag)


def tell_greenlets_apart() -> None:
    """Have each greenlet store what it missed itself, where a worker runs many in one thread."""
    if {"gevent", "eventlet"} & sys.modules.keys():
        _native.set_task_of(importlib.import_module("greenlet").getcurrent)


def _forget_tokens(**_: Any) -> None:
    # What a request missed says nothing about what another one stores.
    _native.tokens_forget()
    version_words.open()  # a changed setting may have closed them


_native.set_backend_module(django_base)
_native.set_text_type(SafeString)
tell_greenlets_apart()
for _signal in (request_started, request_finished):
    _signal.connect(_forget_tokens, dispatch_uid="oxicache.django.backends.native")
if (
    _celery := sys.modules.get("celery.signals")
) is not None:  # a worker has loaded it before it sets Django up
    for _signal in (_celery.task_prerun, _celery.task_postrun):
        _signal.connect(_forget_tokens, weak=False, dispatch_uid="oxicache.django.backends.native")
