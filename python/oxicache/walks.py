"""Looking through the caches of this process for an operator: entry by entry in bites, with keys as people read them.

Whoever walks holds the GIL for less than half a millisecond at a time and never shows a value; nothing here runs code
of keys or values. What a framework knows of its caches' entries it tells through a `Lens`. The answers that are made of
what is found here: live.py.
"""

import time
from collections.abc import Collection, Hashable, Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from oxicache import _native
from oxicache._native import KeyPattern, MemoKey, TTLCache
from oxicache.registry import cache_manager

__all__ = [
    "Entry",
    "Lens",
    "Pace",
    "cache_of",
    "caches",
    "conceal",
    "has_sensitive",
    "is_plain",
    "is_sensitive",
    "lenses",
    "look_through",
    "shown_key",
    "walk",
]

BITE: Final = (
    100  # entries between two looks at the clock: some 100 us of work, 300 us where each is inspected
)
WORK_SECONDS: Final = (
    0.0002  # of work, and a bite, until others get the GIL; half a millisecond is the promise
)
REST_SECONDS: Final = (
    0.0001  # any sleep lets the GIL go to who waits for it; `sleep(0)` may take it back at once
)
ARGUMENT_CHARS: Final = 40  # of one argument of a decorated call, as shown
ARGUMENTS: Final = 8  # of one decorated call, as shown


class Entry(NamedTuple):
    """One live entry, as a walk finds it."""

    key: Any
    seconds_left: float  # inf for ever
    weight: int | None  # bytes, where the cache counts them
    tags: tuple[str, ...]
    is_outdated: bool  # whether the next read will find it invalidated


class Lens(Protocol):
    """What a framework knows of caches that are registered by name. Called by the thread that answers operators."""

    def alias(self, cache: str) -> str | None:
        """Return the framework's own name of a cache."""
        ...

    def keys(
        self, cache: str, text: str, version: int | None, prefix: str | None
    ) -> Iterable[Hashable] | None:
        """Return the keys that `text` may be stored under; None where this lens does not know the cache."""
        ...

    def shown(self, cache: str, key: Any) -> str | None:
        """Return a key as its user wrote it; None for a key of no kind that it knows."""
        ...

    def shown_row(self, model: type, database: str, pk: Any) -> str | None:
        """Return a row as `app.Model:pk`; None for what is no row that it knows."""
        ...

    def words(self, cache: str, key: Any, tags: Collection[str]) -> list[str]:
        """Return the names of the version words that an entry may depend on."""
        ...

    def words_of(self, cache: str, text: str) -> list[str]:
        """As `words`, of an entry that is not there: by what its key would be shown as."""
        ...

    def cache_of_word(self, name: str) -> str | None:
        """Return which cache's keys or tags the name of a word tells, None where it tells none."""
        ...


lenses: list[Lens] = []
_sensitive: list[KeyPattern] = []


def look_through(lens: Lens) -> None:
    """Ask this lens too, from now on."""
    if lens not in lenses:
        lenses.append(lens)


def conceal(patterns: Iterable[str]) -> None:
    """Show no keys of caches whose name matches one of these globs, nor keys that match, or whose pattern does."""
    _sensitive[:] = [KeyPattern(pattern) for pattern in patterns]


def is_sensitive(*texts: str) -> bool:
    """Whether one of these names of caches, keys or key patterns is marked sensitive."""
    return any(pattern.matches(text) for pattern in _sensitive for text in texts)


def caches(names: Collection[str] | None = None) -> dict[str, TTLCache[Any, Any]]:
    """Return the registered caches by name, all or those named. LookupError names one that there is not."""
    known = dict(cache_manager._caches)
    if names is None:
        return known
    for name in names:
        if name not in known:
            raise LookupError(
                f"there is no cache {name!r} in this process, but {', '.join(sorted(known)) or 'none'}"
            )
    return {name: known[name] for name in names}


def cache_of(name: str) -> TTLCache[Any, Any]:
    """Return the cache of a name. LookupError as above."""
    return caches([name])[name]


def has_sensitive() -> bool:
    """Whether anything is marked sensitive."""
    return bool(_sensitive)


class Pace:
    """How long somebody may go on before others get their turn."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def step(self) -> None:
        """Let others have the GIL, if it was held long enough."""
        if time.perf_counter() - self._since >= WORK_SECONDS:
            time.sleep(REST_SECONDS)
            self._since = time.perf_counter()


def walk(cache: TTLCache[Any, Any], pace: Pace, *, is_whole: bool = False) -> Iterator[Entry]:
    """Yield the live entries of a cache in no order, and with `is_whole` the expired ones that are still held.

    What is stored meanwhile may be missed.
    """
    cursor: int | None = 0
    while cursor is not None:
        cursor, found = _native.entries(cache, cursor, BITE, is_whole)
        yield from map(Entry._make, found)
        pace.step()


# ---------------------------------------------------------------- keys, as people read them


def is_plain(cache: str) -> bool:
    """Whether a cache's keys that are str are shown as they are."""
    return all(lens.shown(cache, "") is None for lens in lenses)


def shown_key(cache: str, key: Any) -> str:
    """Return a key as one would write it. Runs no code of the key's."""
    for lens in lenses:
        if (text := lens.shown(cache, key)) is not None:
            return text
    if isinstance(key, MemoKey):
        owner, args = _owner(key), key.args
        return owner if owner and not args else f"{owner}{_arguments(args)}"
    return _printable(key) if type(key) is str else _shown(key)


def _owner(key: MemoKey) -> str:
    if key.row is not None:
        known = (lens.shown_row(*key.row) for lens in lenses)
        return next(
            (text for text in known if text is not None), f"{key.row[0].__qualname__}:{_shown(key.row[2])}"
        )
    owner = key.owner
    if owner is None:
        return ""
    return owner.__qualname__ if isinstance(owner, type) else f"<{type(owner).__qualname__}>"


def _arguments(args: tuple[Any, ...], *, is_inner: bool = False) -> str:
    """Spell the arguments of a call: those by position, then those by name, which stand behind a mark."""
    at = next((index for index, one in enumerate(args) if isinstance(one, _native.Missing)), len(args))
    named = args[at + 1 :]
    spelt = chain(
        (_shown(one, is_inner=is_inner) for one in args[:at]),
        (
            f"{name}={_shown(value, is_inner=is_inner)}"
            for name, value in zip(named[::2], named[1::2], strict=False)
        ),
    )
    shown = [text for text, _ in zip(spelt, range(ARGUMENTS), strict=False)]
    more = ", ..." if len(args) - (at < len(args)) - len(named) // 2 > len(shown) else ""
    return f"({', '.join(shown)}{more})"


# Whose `repr` is the interpreter's own, takes a moment and asks nobody: a model's may run a query.
_HARMLESS = (float, bool, type(None), Decimal, datetime, date, timedelta, UUID)
LONG_INT_BITS: Final = 256  # beyond it an int is only named: to spell a long one takes long, or is refused


def _shown(value: Any, *, is_inner: bool = False) -> str:
    kind = type(value)
    if kind in {str, bytes}:
        text = _printable(repr(value[:ARGUMENT_CHARS]))
    elif kind in _HARMLESS or (kind is int and value.bit_length() <= LONG_INT_BITS):
        text = repr(value)
    elif isinstance(value, Enum):
        text = f"{kind.__qualname__}.{value._name_}"
    elif kind is tuple:
        text = "(...)" if is_inner else _arguments(value, is_inner=True)
    elif isinstance(value, type):
        text = value.__qualname__
    else:
        text = "[...]" if kind.__module__ == _native.__name__ else f"<{kind.__qualname__}>"
    return text if len(text) <= ARGUMENT_CHARS else f"{text[: ARGUMENT_CHARS - 3]}..."


def _printable(text: str) -> str:
    # JSON has no place for half of a character.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
