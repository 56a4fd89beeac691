"""`Enumerator`: what can be asked of a cache whose entries can be listed. What a caller may pass to it."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from oxicache._native import KeyPattern

__all__ = ["ALL_VERSIONS", "BATCH", "AllVersions", "Enumerator", "Patterns", "Version"]

BATCH: Final = (
    1000  # keys that are asked for, or deleted, at a time: a server is busy for about a millisecond
)


class AllVersions:
    """What stands for every one of Django's versions."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ALL_VERSIONS"


ALL_VERSIONS: Final = AllVersions()

Version: TypeAlias = Any  # one of Django's versions, None for the cache's own, or ALL_VERSIONS
Patterns: TypeAlias = (
    KeyPattern | str | Iterable[KeyPattern | str] | None
)  # a str is a glob; None matches all


@runtime_checkable
class Enumerator(Protocol):
    """The entries of one alias of CACHES, whatever its backend.

    Keys are the caller's, without prefix and version; several patterns select what one of them matches. Any thread may
    use one. It raises what the backend raises when its server is not there, and CannotEnumerateError or CannotTagError
    where there is no way.
    """

    alias: str

    def keys(self, patterns: Patterns = None, version: Version = None, batch: int = BATCH) -> Iterator[str]:
        """Yield the keys of live entries that match, each once for each version, in no order; `batch` at a time."""

    def count(self, patterns: Patterns = None, version: Version = None) -> int:
        """Return how many live entries match."""

    def delete(self, keys: Iterable[Any], version: Any = None) -> int:
        """Delete entries; how many there were."""

    def delete_matching(self, patterns: Patterns, version: Version = None) -> int:
        """Delete what matches; how many there were."""

    def set_tagged(
        self,
        key: Any,
        value: Any,
        tags: Iterable[str],
        ttl: Any = DEFAULT_TIMEOUT,
        version: Any = None,
    ) -> None:
        """Store a value that carries tags."""

    def tag(self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Have an entry that was stored for `ttl` seconds carry tags, beside those that it has."""

    def keys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """Return the keys of live entries that carry one of the tags."""

    def delete_by_tag(self, tags: Iterable[str]) -> int:
        """Delete what carries one of the tags, of all versions; how many there were."""

    def akeys(
        self, patterns: Patterns = None, version: Version = None, batch: int = BATCH
    ) -> AsyncIterator[str]:
        """See keys()."""

    async def acount(self, patterns: Patterns = None, version: Version = None) -> int:
        """See count()."""

    async def adelete(self, keys: Iterable[Any], version: Any = None) -> int:
        """See delete()."""

    async def adelete_matching(self, patterns: Patterns, version: Version = None) -> int:
        """See delete_matching()."""

    async def aset_tagged(
        self,
        key: Any,
        value: Any,
        tags: Iterable[str],
        ttl: Any = DEFAULT_TIMEOUT,
        version: Any = None,
    ) -> None:
        """See set_tagged()."""

    async def atag(
        self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> None:
        """See tag()."""

    async def akeys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """See keys_of()."""

    async def adelete_by_tag(self, tags: Iterable[str]) -> int:
        """See delete_by_tag()."""
