"""What is cached inside of what is cached: tags, version words and remaining time that a whole takes from its parts.

A fragment of a template tells here what it depends on, whether it was rendered or found. Whoever renders what is to be
held itself, an outer fragment or a view, gathers that and holds the whole no longer than its parts.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from oxicache import _native
from oxicache._native import Stamps
from oxicache.django import host
from oxicache.versions import MAX_WORDS

__all__ = ["ROOM", "Gathered", "Needs", "captured", "current", "gathering"]

ROOM: Final = MAX_WORDS - 2  # for words of what is held: one is that of its own key, one that of its store


class Needs:
    """What a piece of content depends on: tags, version words, and the stores (by LOCATION) whose tags they are."""

    __slots__ = ("locations", "tags", "words")

    def __init__(
        self, tags: Iterable[str] = (), words: Iterable[str] = (), locations: Iterable[str] = ()
    ) -> None:
        self.tags = frozenset(tags)
        self.words = frozenset(words)
        self.locations = frozenset(locations)

    def __bool__(self) -> bool:
        return bool(self.tags or self.words)

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.tags | other.tags, self.words | other.words, self.locations | other.locations)

    def names(self) -> frozenset[str]:
        """Return the words to capture before it is made: those of its tags are moved where a tag is invalidated."""
        return self.words | {f"tag:{place}:{tag}" for place in self.locations for tag in self.tags}

    def fitted(self) -> tuple[tuple[str, ...], frozenset[str]] | None:
        """Return the tags and words that there is room for in an entry; None where there is not.

        Of more tags than fit it is the word that any tag of their stores moves: it goes too early, and never too late.
        """
        names = self.names()
        if len(self.tags) + len(names) <= ROOM:
            return tuple(sorted(self.tags)), names
        names = self.words | {f"tags:{place}" for place in self.locations}
        return ((), names) if len(names) <= ROOM else None


class Gathered:
    """What the parts of one whole have told so far."""

    __slots__ = ("_stamps", "deadline", "is_spoilt", "needs")

    def __init__(self) -> None:
        self.needs = Needs()
        self.deadline: float | None = None  # engine time at which the first part expires
        self.is_spoilt = False  # by a part that may be outdated already, or be somebody's own
        self._stamps: list[Stamps] = []

    def add(self, needs: Needs, seconds: float | None, stamps: Iterable[Stamps] = ()) -> None:
        """Take a part that lives for `seconds` more, None for ever; `stamps` of its words were good with it."""
        self.needs |= needs
        self._stamps += stamps
        if seconds is not None:
            at = _native.now() + seconds
            self.deadline = at if self.deadline is None else min(self.deadline, at)

    def spoil(self) -> None:
        """Have the whole be for who asked alone."""
        self.is_spoilt = True

    def limited(self, ttl: float | None) -> float | None:
        """Return how long the whole may live, which would live for `ttl`."""
        if self.deadline is None:
            return ttl
        left = max(0.0, self.deadline - _native.now())
        return left if ttl is None else min(ttl, left)

    def captured(self, names: Iterable[str], first: Iterable[Stamps] = ()) -> Stamps | None:
        """Return all these words as the parts knew them; None where one has moved since.

        `first` were captured before the whole was begun.
        """
        found = host.capture(names)
        return found if all(one.is_current() for one in [*first, *self._stamps]) else None


def captured(needs: Needs) -> list[Stamps]:
    """Return what all words of these needs are now."""
    return [host.capture(names) for names in _batched(sorted(needs.names()), MAX_WORDS)]


def _batched(names: list[str], size: int) -> Iterator[list[str]]:
    """Yield the names in lists of at most so many."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


_current: ContextVar[Gathered | None] = ContextVar("oxicache_gathered", default=None)
current = _current.get


@contextmanager
def gathering() -> Iterator[Gathered]:
    """Gather what parts tell while the block makes a whole. What the whole tells an outer one is its own to say."""
    gathered = Gathered()
    token = _current.set(gathered)
    try:
        yield gathered
    finally:
        _current.reset(token)
