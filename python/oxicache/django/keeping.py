"""One result in an alias of CACHES: found there, or computed by one caller and kept.

Under a key that its caller spells, where patterns find it. Where results lie: holding.py. What a function's calls are
called: functions.py.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from asgiref.sync import sync_to_async
from django.core.cache import caches

from oxicache._native import MISSING, Stamps
from oxicache.django import host, signals, transactions
from oxicache.django.enumeration import enumerator_of
from oxicache.django.holding import Found, Holder, NativeHolder, holder_at
from oxicache.errors import CannotEnumerateError
from oxicache.results import checked
from oxicache.rows import RowCall
from oxicache.store import LoadStore, attempt
from oxicache.tags import captured_words, checked_tags
from oxicache.versions import MAX_WORDS

__all__ = ["Keeping", "akept", "kept"]

logger = logging.getLogger("oxicache.functions")

MAX_TURNS: Final = 3  # as many as loads of others that are for them alone are waited for
MAX_SAID: Final = 1024

Tags = Iterable[str] | Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Where results are kept, and which."""

    alias: str
    cache_none: bool = True
    keeps: Callable[[Any], Any] | None = None  # whether a result is to be kept; None is all of them


def kept(  # noqa: PLR0917 -- the first four always
    keeping: Keeping,
    key: str,
    compute: Callable[[], Any],
    ttl: float | None,
    tags: Tags = (),
    row: RowCall | None = None,
) -> Any:
    """Return what the alias holds under `key`, or what `compute()` returns, called by one caller at a time.

    `ttl` in seconds, None for ever. Who has written in a transaction passes the cache by, and stores nothing. A cache
    that fails is a miss. What carries `tags` is invalidated with them; where an alias cannot say what carries a tag,
    nothing that has one is kept there. `row`: the result is a row's, and `compute` calls this; in a NativeCache it goes
    when the row changes.
    """
    if transactions.is_any_written():
        return checked(compute, compute())
    holder = holder_at(keeping.alias)
    held = holder.key(key)
    found = holder.find(held)
    if found is not MISSING:
        return found
    result = _Result(keeping, holder, key, ttl, tags, row)

    def run() -> Found:
        result.begin()
        if row is not None:
            row.load_instance(_store(holder), result.stamps)
        return result.found(checked(compute, compute()))

    value = holder.load(held, run, ttl, alone=transactions.in_transaction())
    result.tag()
    return value


async def akept(  # noqa: PLR0917 -- as above
    keeping: Keeping,
    key: str,
    compute: Callable[[], Awaitable[Any]],
    ttl: float | None,
    tags: Tags = (),
    row: RowCall | None = None,
) -> Any:
    """As `kept`, for a task. Another cache than a NativeCache is asked in a thread, and each task computes there."""
    if transactions.is_any_written():
        return checked(compute, await compute())
    holder = holder_at(keeping.alias)
    held = holder.key(key)
    is_native = isinstance(holder, NativeHolder)
    found = holder.find(held) if is_native else await sync_to_async(holder.find)(held)
    if found is not MISSING:
        return found
    result = _Result(keeping, holder, key, ttl, tags, row)

    async def run() -> Found:
        result.begin()
        if row is not None:
            await row.aload_instance(_store(holder), result.stamps)
        return result.found(checked(compute, await compute()))

    if not is_native:
        loaded = await run()
        await sync_to_async(result.store)(held, loaded)
        return loaded.value
    own: Any = None

    async def once() -> Found:
        nonlocal own
        own = await run()
        return own  # type: ignore[no-any-return]

    for _ in range(MAX_TURNS):
        loaded = await holder.loader.aload_missed(held, once, ttl=ttl)
        if not isinstance(loaded, Found):  # somebody has stored it meanwhile
            return loaded
        if loaded is own or loaded.is_current():
            return loaded.value
    return (await run()).value


class _Result:
    """What one caller loads: what it depends on, and how other caches than oxicache's learn of its tags."""

    def __init__(  # noqa: PLR0917 -- made in two places, from what stands there under these names
        self,
        keeping: Keeping,
        holder: Holder,
        key: str,
        ttl: float | None,
        tags: Tags,
        row: RowCall | None,
    ) -> None:
        self._keeping = keeping
        self._holder = holder
        self._is_native = isinstance(holder, NativeHolder)
        self._key = key
        self._ttl = ttl
        self._given = tags
        self._row = row
        self._tags: tuple[str, ...] = ()
        self.stamps: Stamps | None = None
        self._is_to_tag = False

    def begin(self) -> None:
        """Note the tags and their versions, before anything is read that they stand for."""
        self._tags = checked_tags(self._given() if callable(self._given) else self._given)
        if self._row is not None:
            signals.watch(self._row.row[0])
            self.stamps = self._row.capture(self._tags)
        elif self._tags:
            self.stamps = host.capture(captured_words(self._tags, MAX_WORDS))

    def found(self, value: Any) -> Found:
        """Judge what was computed."""
        shared = (
            (value is not None or self._keeping.cache_none)
            and (self._keeping.keeps is None or bool(self._keeping.keeps(value)))
            and transactions.allows_storing_anywhere(self.stamps)
            and self._allows_row()
        )
        if self._is_native:
            return Found(value, shared=shared, stamps=self.stamps, tags=self._tags)
        if shared and self.stamps is not None:
            shared = self.stamps.is_current() and (not self._tags or _can_tag(self._keeping.alias))
            self._is_to_tag = shared and bool(self._tags)
        return Found(value, shared=shared)

    def _allows_row(self) -> bool:
        row = self._row
        return row is None or (row.keeps and not row.is_private(_store(self._holder), self.stamps))

    def store(self, held: Any, loaded: Found) -> None:
        """Store what no loader does."""
        store = _store(self._holder)
        attempt(store, store._fill, False, held, loaded, 0, self._ttl)
        self.tag()

    def tag(self) -> None:
        """Have what was just stored carry its tags. What was invalidated meanwhile goes."""
        if self._is_to_tag:
            attempt(_store(self._holder), self._tag, None)

    def _tag(self) -> None:
        cache = caches[self._keeping.alias]
        try:
            enumerator_of(self._keeping.alias).tag(self._key, self._tags, self._ttl)
        except BaseException:
            cache.delete(self._key)  # rather than an entry that its tags do not reach
            raise
        if self.stamps is not None and not self.stamps.is_current():
            cache.delete(self._key)


def _store(holder: Holder) -> LoadStore:
    return cast("LoadStore", holder)


_said: set[str] = set()  # aliases


def _can_tag(alias: str) -> bool:
    try:
        enumerator_of(alias)
    except CannotEnumerateError as error:
        if alias not in _said and len(_said) < MAX_SAID:
            _said.add(alias)
            logger.warning("Results with tags are not kept in CACHES[%r]: %s", alias, error)
        return False
    return True
