"""Caches in the memory of this process: NativeCache, LocMemCache, and DummyCache, which has nothing."""

import os
import threading
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from oxicache import _native
from oxicache._native import MISSING, KeyPattern
from oxicache.django.enumerating.base import Enumerating, checked_batch, each_tag
from oxicache.django.enumerating.role import AllVersions, Patterns, Version
from oxicache.django.enumerating.spelling import Entry, Matcher, Spelling

__all__ = ["LocMemEnumerator", "NativeEnumerator", "NothingEnumerator"]

BITE: Final = 1000  # entries of a store that are looked at without letting others have the GIL
ATTEMPTS: Final = 5  # to tag an entry that others keep writing
SPARE: Final = 1000  # members of a tag index that may be over before it is looked through


class NativeEnumerator(Enumerating):
    """A NativeCache. What it lists and counts is in this process; what it deletes is gone for all of the host."""

    in_memory = True

    def _pages_of_keys(self, patterns: Patterns, version: Version, batch: int) -> Iterator[Collection[str]]:
        checked_batch(batch)
        each, cache = _each(patterns), self._cache_of()
        if not isinstance(version, AllVersions):
            return iter([self._keys_of(cache, each, version)])
        self._spelling(cache, version)
        held = cache._memory.keys()
        if any(prefix is None for prefix, _, _ in held):  # a KEY_FUNCTION's: versions are read from the keys
            return super()._pages_of_keys(each, version, batch)
        return iter([self._keys_of(cache, each, number) for number in {number for _, number, _ in held}])

    def _keys_of(self, cache: Any, patterns: tuple[KeyPattern, ...], version: Any) -> Collection[str]:
        spelling, select = self._spelling(cache, version), cache._memory.select
        pages = [select(pattern, spelling.before, spelling.behind) for pattern in patterns]
        return pages[0] if len(pages) == 1 else set().union(*pages)

    def _made(
        self,
        cache: Any,
        spelling: Spelling,  # noqa: ARG002 -- one signature for all
        matcher: Matcher,  # noqa: ARG002
        batch: int,  # noqa: ARG002
    ) -> Iterator[list[str]]:
        yield [
            key if prefix is None else f"{prefix}:{version}:{key}"
            for prefix, version, key in cache._memory.keys()  # noqa: SIM118 -- a store is no dict
        ]

    def _remove(self, cache: Any, entries: Sequence[Entry]) -> int:
        return sum(cache.delete(entry.key, entry.version) for entry in entries)

    def delete_matching(self, patterns: Patterns, version: Version = None) -> int:
        """Delete what matches; how many there were in this process."""
        each, cache = _each(patterns), self._cache_of()
        store = cache._memory
        if isinstance(version, AllVersions):
            count = super().delete_matching(each, version)
        else:
            spelling = self._spelling(cache, version)
            count = sum(store.remove_matching(pattern, spelling.before, spelling.behind) for pattern in each)
        for kind in ("glob", "regex"):
            texts = [pattern.pattern for pattern in each if pattern.kind == kind]
            if texts:
                cache.invalidate_patterns(
                    texts,
                    kind=kind,
                    version=None if isinstance(version, AllVersions) else version,
                    any_version=isinstance(version, AllVersions),
                )
        return count

    def set_tagged(
        self,
        key: Any,
        value: Any,
        tags: Iterable[str],
        ttl: Any = DEFAULT_TIMEOUT,
        version: Any = None,
    ) -> None:
        """Store a value that carries tags, at once."""
        self._cache_of().set(key, value, ttl, version, tags=each_tag(tags))

    def tag(
        self,
        key: Any,
        tags: Iterable[str],
        ttl: Any = DEFAULT_TIMEOUT,  # noqa: ARG002 -- the entry knows its own
        version: Any = None,
    ) -> None:
        """Have an entry of this process carry tags, beside those that it has. Without the entry there is nothing to do.

        It is stored again with them, as what was loaded and not written, so that other processes keep theirs. What is
        invalidated meanwhile stays invalidated.
        """
        names, cache = each_tag(tags), self._cache_of()
        store, held = cache._memory, cache._key(key, version)
        with _tagging:
            for _ in range(ATTEMPTS):
                token = store._token(held)
                value, left = cache.get_with_ttl(key, MISSING, version)
                if value is MISSING:
                    return
                if store._fill(held, value, token, left, {*store.cache.tags(held), *names}):
                    return
        cache.delete(key, version)  # rather than an entry that its tags do not reach

    def keys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """Return the keys of entries of this process that carry one of the tags. O(entries)."""
        wanted, cache = frozenset(each_tag(tags)), self._cache_of()
        spelling = self._spelling(cache, version)
        found: list[str] = []
        cursor: int | None = 0
        while cursor is not None:
            cursor, entries = _native.entries(cache._memory.cache, cursor, BITE)
            for held, _left, _weight, carried, is_outdated in entries:
                if not is_outdated and not wanted.isdisjoint(carried):
                    found.append(_text(held))
        return frozenset(entry.key for made in found if (entry := spelling.read(made)) is not None)

    def delete_by_tag(self, tags: Iterable[str]) -> int:
        """Delete what carries one of the tags, of all versions; how many there were in this process. O(these)."""
        cache = self._cache_of()
        return sum(cache.delete_by_tag(tag) for tag in each_tag(tags))


def _each(patterns: Patterns) -> tuple[KeyPattern, ...]:
    found = Matcher(patterns).patterns
    return (KeyPattern("*"),) if found is None else found


# The tags that an entry has are read, and written with it. Re-entrant: what is pickled may tag.
_tagging = threading.RLock()


def _renew_lock() -> None:
    global _tagging  # noqa: PLW0603 -- one that another thread held at the fork is held for ever
    _tagging = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _text(held: Any) -> str:
    """Return a key of a store as it is made."""
    if isinstance(held, str):
        return f":1:{held}"
    return str(held.key) if held.prefix is None else f"{held.prefix}:{held.version}:{held.key}"


class LocMemEnumerator(Enumerating):
    """A LocMemCache, of this process alone. Nothing is unpickled."""

    in_memory = True

    def _made(
        self,
        cache: Any,
        spelling: Spelling,  # noqa: ARG002 -- one signature for all
        matcher: Matcher,  # noqa: ARG002
        batch: int,  # noqa: ARG002
    ) -> Iterator[list[str]]:
        with cache._lock:
            held = list(cache._expire_info.items())
        now = time.time()
        yield [made for made, deadline in held if deadline is None or deadline > now]

    def _remove(self, cache: Any, entries: Sequence[Entry]) -> int:
        with cache._lock:
            return sum(_drop(cache, entry.made) for entry in entries)

    def tag(self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:  # noqa: ARG002
        """Have an entry carry tags, beside those that it has. In this process, as the entry itself."""
        cache, names = self._named(tags)
        made = self._entry(cache, key, version).made
        with cache._lock:
            index = _index(cache)
            for name in names:
                index.add(name, made)
            index.tidy(cache._cache)

    def keys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """Return the keys of live entries that carry one of the tags."""
        cache, names = self._named(tags)
        spelling = self._spelling(cache, version)
        with cache._lock:
            members = _index(cache).members
            made = {one for name in names for one in members.get(name, ())}
            live = [one for one in made if not cache._has_expired(one)]
        return frozenset(entry.key for one in live if (entry := spelling.read(one)) is not None)

    def delete_by_tag(self, tags: Iterable[str]) -> int:
        """Delete what carries one of the tags, of all versions; how many there were. O(these)."""
        cache, names = self._named(tags)
        with cache._lock:
            made = {one for name in names for one in _index(cache).take(name)}
            return sum(_drop(cache, one) for one in made)

    def _named(self, tags: Iterable[str]) -> tuple[Any, list[str]]:
        # Before the lock is taken: a KEY_FUNCTION may use the cache.
        cache = self._cache_of()
        return cache, [self._index_name(cache, tag) for tag in each_tag(tags)]


def _drop(cache: Any, made: str) -> bool:
    """Delete a key under the cache's lock; whether it was live."""
    was_live = not cache._has_expired(made)
    cache._delete(made)
    return was_live


class _Index:
    """Which made keys carry which tag. Guarded by the lock of the cache."""

    def __init__(self) -> None:
        self.members: dict[str, dict[str, None]] = {}
        self._count = 0

    def add(self, tag: str, made: str) -> None:
        held = self.members.setdefault(tag, {})
        self._count += made not in held
        held[made] = None

    def take(self, tag: str) -> dict[str, None]:
        taken = self.members.pop(tag, {})
        self._count -= len(taken)
        return taken

    def tidy(self, entries: Any) -> None:
        """Forget what has been deleted or evicted, once there is more of it than there are entries."""
        if self._count <= 2 * len(entries) + SPARE:
            return
        kept = {tag: {one: None for one in held if one in entries} for tag, held in self.members.items()}
        self.members = {tag: held for tag, held in kept.items() if held}
        self._count = sum(map(len, self.members.values()))


# By the lock, which all handlers of one LOCATION share.
_indexes: weakref.WeakKeyDictionary[Any, _Index] = weakref.WeakKeyDictionary()


def _index(cache: Any) -> _Index:
    index = _indexes.get(cache._lock)
    if index is None:
        index = _indexes[cache._lock] = _Index()
    return index


class NothingEnumerator(Enumerating):
    """A DummyCache: it has no entries, and knows that."""

    in_memory = True

    def _made(
        self,
        cache: Any,  # noqa: ARG002 -- one signature for all
        spelling: Spelling,  # noqa: ARG002
        matcher: Matcher,  # noqa: ARG002
        batch: int,  # noqa: ARG002
    ) -> Iterator[list[str]]:
        return iter(())

    def _remove(self, cache: Any, entries: Sequence[Entry]) -> int:  # noqa: ARG002
        return 0

    def tag(self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:  # noqa: ARG002
        """Do nothing: the entry is not there."""
        each_tag(tags)

    def keys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:  # noqa: ARG002
        """Return none."""
        each_tag(tags)
        return frozenset()

    def delete_by_tag(self, tags: Iterable[str]) -> int:
        """Delete nothing."""
        each_tag(tags)
        return 0
