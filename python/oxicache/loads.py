"""One load, as its caller asks for it. How it is done: loader.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Self, TypeAlias

from oxicache import rows
from oxicache._native import Stamps, TTLCache
from oxicache.rows import RowCall
from oxicache.store import LoadStore, attempt
from oxicache.tags import captured_words, checked_tags
from oxicache.versions import MAX_WORDS, version_words

__all__ = ["Load", "Tags", "Timed", "tag_names"]

Tags: TypeAlias = Iterable[str] | Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Load:
    """What one caller wants. `current` is MISSING, or a fresh value that this caller was elected to refresh."""

    key: Any
    compute: Callable[[], Any]
    ttl: Any
    tags: tuple[str, ...] | Callable[[], Iterable[str]]
    current: Any
    row_call: RowCall | None = None  # where the value is a row's
    shares_tags: bool = False  # whether its tags reach it by version words

    @classmethod
    def of(  # noqa: PLR0917 -- as the fields stand
        cls,
        cache: LoadStore,
        key: Any,
        compute: Callable[[], Any],
        ttl: Any,
        tags: Tags,
        current: Any,
        row_call: RowCall | None,
    ) -> Self:
        """Take what the caller of a load into `cache` gave. TypeError and ValueError for what is no tag."""
        known = tags if callable(tags) or tags == () else tag_names(tags)
        # A NativeStore has words of its own for tags.
        return cls(key, compute, ttl, known, current, row_call, isinstance(cache, TTLCache))

    @property
    def capture(self) -> Callable[[], Stamps] | None:
        """How to capture the versions of what is about to be read; None where there are none."""
        if self.shares_tags and self.tags and not callable(self.tags):
            return partial(self.capture_tags, self.tags)
        return None if self.row_call is None else self.row_call.capture

    def capture_tags(self, tags: Iterable[str]) -> Stamps:
        """Capture the versions of these tags, and of the row that the value is of."""
        if self.row_call is not None:
            return self.row_call.capture(tags)
        return version_words.capture(captured_words(tags, MAX_WORDS))

    def later_stamps(self, first: Stamps | None, tags: tuple[str, ...]) -> Stamps | None:
        """Return `first`, captured when the load began, with the versions of tags that were not known then.

        None where there was nothing to capture. To be called before what the tags stand for is read.
        """
        if not (tags and self.shares_tags and callable(self.tags)):
            return first
        stamps = self.capture_tags(tags)
        # Where the row's words have not moved until now they are the same in both. Where they have, `first` says so.
        return stamps if first is None or first.is_current() else first

    def is_own_work(self, cache: LoadStore) -> bool:
        """Whether a value with tags may show what the caller's transaction has written, and nobody else can see."""
        known = rows.source()
        return known is not None and attempt(cache, known.is_writing, True)

    def tag_names(self) -> tuple[str, ...]:
        """Return the tags of the value. To be asked when its load has begun."""
        return tag_names(self.tags() if callable(self.tags) else self.tags)


class Timed:
    """A load: measured, and counted once however it ends. One that is cancelled has failed."""

    __slots__ = ("_cache", "_key", "_started", "seconds")

    def __init__(self, cache: LoadStore, key: Any) -> None:
        """Measure a load of `key` into `cache`, begun where the block begins."""
        self._cache = cache
        self._key = key
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._started = perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.seconds = perf_counter() - self._started
        attempt(self._cache, self._cache._loaded, None, self._key, self.seconds, kind is not None)


def tag_names(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags as a tuple; TypeError and ValueError for what is no tag."""
    return checked_tags(tags)
