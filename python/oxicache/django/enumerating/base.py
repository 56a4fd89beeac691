"""What the enumerators of all backends share: pages of keys that are read and matched, tags checked, async twins."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from oxicache.django.enumerating.role import BATCH, Patterns, Version
from oxicache.django.enumerating.spelling import Entry, Matcher, Spelling
from oxicache.keys import MARK
from oxicache.tags import checked_tags

__all__ = ["INDEX", "Enumerating", "checked_batch", "each_tag", "pages"]

INDEX: Final = f"{MARK}oxitag:"  # begins, or ends, what is no entry but says which entries carry a tag

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Enumerating(ABC):
    """An Enumerator of one alias; a subclass says how its backend lists, deletes and tags."""

    in_memory: ClassVar[bool] = False  # nothing in it waits, so its async twins run in the loop
    repeats: ClassVar[bool] = False  # a key may be listed again

    def __init__(self, alias: str, cache_of: Callable[[], Any]) -> None:
        """`cache_of` gives the handler of the calling thread or task."""
        self.alias = alias
        self._cache_of = cache_of

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.alias!r}>"

    # ------------------------------------------------------------ what a backend says

    @abstractmethod
    def _made(self, cache: Any, spelling: Spelling, matcher: Matcher, batch: int) -> Iterator[list[str]]:
        """Yield live keys as they are made: at least all that match, in pages."""

    @abstractmethod
    def _remove(self, cache: Any, entries: Sequence[Entry]) -> int:
        """Delete entries; how many live ones there were."""

    @abstractmethod
    def tag(self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Have an entry that was stored for `ttl` seconds carry tags, beside those that it has."""

    @abstractmethod
    def keys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """Return the keys of live entries that carry one of the tags."""

    @abstractmethod
    def delete_by_tag(self, tags: Iterable[str]) -> int:
        """Delete what carries one of the tags, of all versions; how many there were."""

    # ------------------------------------------------------------ what follows from it

    def check(self) -> None:
        """Raise CannotEnumerateError where the settings of the alias leave no way."""
        self._spelling(self._cache_of(), None)

    def _spelling(self, cache: Any, version: Version) -> Spelling:
        return Spelling.of(self.alias, self._maker(cache), version)

    def _maker(self, cache: Any) -> Any:
        """Return whose `make_key` and `version` count."""
        return cache

    def _index_name(self, cache: Any, tag: str) -> str:
        """Return what a tag is called where the backend keeps it: no key, and not parted by version."""
        return f"{INDEX}{self._maker(cache).make_key(tag, version=0)}"

    def _seconds(self, cache: Any, ttl: Any) -> float | None:
        found: float | None = cache.default_timeout if ttl is DEFAULT_TIMEOUT else ttl
        return found

    def _found(self, cache: Any, patterns: Patterns, version: Version, batch: int) -> Iterator[list[Entry]]:
        # Not in the generator below: what is wrong is said at the call.
        matcher, spelling = Matcher(patterns), self._spelling(cache, version)
        made = self._made(cache, spelling, matcher, checked_batch(batch))
        return (spelling.choose(page, matcher.patterns) for page in made)

    def _pages_of_keys(self, patterns: Patterns, version: Version, batch: int) -> Iterator[Collection[str]]:
        found = self._found(self._cache_of(), patterns, version, batch)
        return (
            [entry.key for entry in page] for page in (_without_repeats(found) if self.repeats else found)
        )

    def keys(self, patterns: Patterns = None, version: Version = None, batch: int = BATCH) -> Iterator[str]:
        """Yield the keys of live entries that match, each once for each version, in no order; `batch` at a time."""
        return (key for page in self._pages_of_keys(patterns, version, batch) for key in page)

    def count(self, patterns: Patterns = None, version: Version = None) -> int:
        """Return how many live entries match."""
        return sum(map(len, self._pages_of_keys(patterns, version, BATCH)))

    def delete(self, keys: Iterable[Any], version: Any = None) -> int:
        """Delete entries; how many there were."""
        cache = self._cache_of()
        entries = (self._entry(cache, key, version) for key in _checked_keys(keys))
        return sum(self._remove(cache, page) for page in pages(entries, BATCH))

    def _entry(self, cache: Any, key: Any, version: Any) -> Entry:
        return Entry(str(self._maker(cache).make_key(key, version=version)), key, version)

    def delete_matching(self, patterns: Patterns, version: Version = None) -> int:
        """Delete what matches; how many there were."""
        cache = self._cache_of()
        found = self._found(cache, patterns, version, BATCH)
        return sum(self._remove(cache, page) for page in found if page)

    def set_tagged(
        self,
        key: Any,
        value: Any,
        tags: Iterable[str],
        ttl: Any = DEFAULT_TIMEOUT,
        version: Any = None,
    ) -> None:
        """Store a value that carries tags. One that could not be tagged does not stay."""
        names = each_tag(tags)
        cache = self._cache_of()
        cache.set(key, value, ttl, version=version)
        # Not before `set`: what is invalidated in between would carry no tag, and outlive the next invalidation too.
        try:
            self.tag(key, names, ttl, version)
        except BaseException:
            cache.delete(key, version=version)
            raise

    # ------------------------------------------------------------ async twins

    async def _twin(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self.in_memory:
            return method(*args, **kwargs)
        # In the thread that Django keeps for this: its database connections and cache handlers belong to it.
        return await sync_to_async(method, thread_sensitive=True)(*args, **kwargs)

    async def akeys(
        self, patterns: Patterns = None, version: Version = None, batch: int = BATCH
    ) -> AsyncIterator[str]:
        """See keys()."""
        found = await self._twin(self._pages_of_keys, patterns, version, batch)
        while (page := await self._twin(next, found, None)) is not None:
            for key in page:
                yield key

    async def acount(self, patterns: Patterns = None, version: Version = None) -> int:
        """See count()."""
        return await self._twin(self.count, patterns, version)

    async def adelete(self, keys: Iterable[Any], version: Any = None) -> int:
        """See delete()."""
        return await self._twin(self.delete, keys, version)

    async def adelete_matching(self, patterns: Patterns, version: Version = None) -> int:
        """See delete_matching()."""
        return await self._twin(self.delete_matching, patterns, version)

    async def aset_tagged(
        self,
        key: Any,
        value: Any,
        tags: Iterable[str],
        ttl: Any = DEFAULT_TIMEOUT,
        version: Any = None,
    ) -> None:
        """See set_tagged()."""
        await self._twin(self.set_tagged, key, value, tags, ttl, version)

    async def atag(
        self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> None:
        """See tag()."""
        await self._twin(self.tag, key, tags, ttl, version)

    async def akeys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """See keys_of()."""
        return await self._twin(self.keys_of, tags, version)

    async def adelete_by_tag(self, tags: Iterable[str]) -> int:
        """See delete_by_tag()."""
        return await self._twin(self.delete_by_tag, tags)


def each_tag(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags, each once. TypeError and ValueError name what is no tag."""
    return tuple(dict.fromkeys(checked_tags(tags)))


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    rest = iter(items)
    while page := list(islice(rest, size)):
        yield page


def _without_repeats(found: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
    seen: set[str] = set()
    for page in found:
        fresh = {entry.made: entry for entry in page if entry.made not in seen}
        seen.update(fresh)
        yield list(fresh.values())


def _checked_keys(keys: Iterable[Any]) -> Iterable[Any]:
    if isinstance(keys, str | bytes):
        raise TypeError(f"keys must be an iterable of keys such as ['news'], not the single {keys!r}")
    return keys


def checked_batch(batch: int) -> int:
    """Return the number of keys of a page. TypeError and ValueError say what is none."""
    if isinstance(batch, bool) or not isinstance(batch, int):
        raise TypeError(f"batch must be an int, not {batch!r}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    return batch
