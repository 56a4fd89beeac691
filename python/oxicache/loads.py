"""One load, as its caller asks for it. How it is done: loader.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self, TypeAlias

from oxicache._native import Stamps
from oxicache.rows import RowCall
from oxicache.store import LoadStore, attempt

__all__ = ["Load", "Tags", "Timed", "tag_names"]

Tags: TypeAlias = Iterable[str] | Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Load:
    """What one caller wants. `current` is MISSING, or a fresh value that this caller was elected to refresh."""

    key: Any
    compute: Callable[[], Any]
    ttl: Any
    tags: Tags
    current: Any
    row_call: RowCall | None = None  # where the value is a row's

    @property
    def capture(self) -> Callable[[], Stamps] | None:
        """How to capture the versions of what is about to be read; None where there are none."""
        return None if self.row_call is None else self.row_call.capture

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
    """Return tags as a tuple; TypeError for a bare string and for what is no string."""
    names = (tags,) if isinstance(tags, str) else tuple(tags)
    if isinstance(tags, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"tags must be an iterable of strings, not {tags!r}")
    return names
