"""What all backends have beyond Django's BaseCache: django-redis's names and signatures, and async twins.

A backend says what it can tell about its keys (`time_left`, `_select`, `_lock_name`); the rest follows from that here.
Patterns are Redis's: `*`, `?`, `[abc]`, `[a-z]`, `[^abc]`, and a backslash before a character that means itself. They
are matched against keys without prefix and version.
"""

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from oxicache._native import KeyPattern
from oxicache.django.backends.locks import ProcessLock

__all__ = ["Backend"]


class Backend(BaseCache):
    """The face of every backend. Nothing in it waits for a disk or a network, so the async twins run in the loop."""

    # ------------------------------------------------------------ what a backend tells about its keys

    def time_left(self, key: Any, version: Any = None) -> float | None:
        """Seconds until the entry expires, inf for never; None without a live entry."""
        raise NotImplementedError

    def _select(self, pattern: KeyPattern, version: Any = None, prefix: str | None = None) -> list[str]:
        """Return the caller's keys of this version and prefix that match, in no order."""
        raise NotImplementedError

    def _lock_name(self, key: Any, version: Any = None) -> tuple[str, str]:
        """Return what parts a lock from others: a place, and the key as it is made."""
        raise NotImplementedError

    def persist(self, key: Any, version: Any = None) -> bool:
        """Let an entry live for ever; whether there was one. Source: django-redis."""
        return self.expire(key, None, version)

    # ------------------------------------------------------------ keys by pattern

    def keys(self, pattern: str = "*", version: Any = None) -> list[str]:
        """Return the keys that match, as they were given to `set`. O(entries). Source: django-redis."""
        return self._select(KeyPattern(pattern), version)

    def iter_keys(
        self,
        pattern: str = "*",
        itersize: int | None = None,  # noqa: ARG002 -- one signature for all
        version: Any = None,
    ) -> Iterator[str]:
        """As `keys`, one by one. `itersize` is for backends that ask a server. Source: django-redis."""
        return iter(self._select(KeyPattern(pattern), version))

    def delete_pattern(
        self,
        pattern: str,
        version: Any = None,
        prefix: str | None = None,
        itersize: int | None = None,  # noqa: ARG002 -- one signature for all
    ) -> int:
        """Delete the keys that match; how many there were. O(entries). Source: django-redis."""
        return sum(self.delete(key, version) for key in self._select(KeyPattern(pattern), version, prefix))

    # ------------------------------------------------------------ time to live

    def ttl(self, key: Any, version: Any = None) -> int | None:
        """Whole seconds until the entry expires, None for never, 0 without an entry. Source: django-redis."""
        left = self.time_left(key, version)
        return _rounded(left, 1)

    def pttl(self, key: Any, version: Any = None) -> int | None:
        """As `ttl`, in milliseconds. Source: django-redis."""
        return _rounded(self.time_left(key, version), 1000)

    def expire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Let an entry expire in `timeout` seconds; whether there was one. Source: django-redis."""
        return bool(self.touch(key, timeout, version))

    def pexpire(self, key: Any, timeout: Any, version: Any = None) -> bool:
        """As `expire`, in milliseconds. Source: django-redis."""
        if timeout is None or timeout is DEFAULT_TIMEOUT:
            return self.expire(key, timeout, version)
        return self.expire(key, timeout / 1000, version)

    def expire_at(self, key: Any, when: float | datetime, version: Any = None) -> bool:
        """Let an entry expire at a datetime or Unix time; whether there was one. Source: django-redis."""
        at = when.timestamp() if isinstance(when, datetime) else when
        # Below a second a difference of clocks is rounded away, and what has passed is over.
        return self.expire(key, max(at - time.time(), 0), version)

    def pexpire_at(self, key: Any, when: float | datetime, version: Any = None) -> bool:
        """As `expire_at`, where a number is in milliseconds. Source: django-redis."""
        return self.expire_at(key, when if isinstance(when, datetime) else when / 1000, version)

    # ------------------------------------------------------------ locks

    def lock(  # noqa: PLR0917 -- django-redis's own order
        self,
        key: Any,
        version: Any = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        client: Any = None,  # noqa: ARG002 -- django-redis has a client here
        thread_local: bool = True,
    ) -> ProcessLock:
        """Return a lock that parts the threads and tasks of this process, and no others. Source: django-redis."""
        return ProcessLock(
            self._lock_name(key, version),
            timeout=timeout,
            sleep=sleep,
            blocking=blocking,
            blocking_timeout=blocking_timeout,
            thread_local=thread_local,
        )

    # ------------------------------------------------------------ async twins of BaseCache

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """See get()."""
        return self.get(key, default, version)

    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **options: Any
    ) -> Any:
        """See set()."""
        return self.set(key, value, timeout, version, **options)

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **options: Any
    ) -> bool:
        """See add()."""
        return self.add(key, value, timeout, version, **options)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """See touch()."""
        return self.touch(key, timeout, version)

    async def adelete(self, key: Any, version: Any = None) -> bool:
        """See delete()."""
        return self.delete(key, version)

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """See get_many()."""
        return self.get_many(keys, version)

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **options: Any
    ) -> list[Any]:
        """See set_many()."""
        return self.set_many(dict(data), timeout, version, **options)

    async def adelete_many(self, keys: Iterable[Any], version: Any = None) -> None:
        """See delete_many()."""
        self.delete_many(keys, version)

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """See has_key()."""
        return self.has_key(key, version)

    async def aincr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """See incr()."""
        return self.incr(key, delta, version)

    async def adecr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """See decr()."""
        return self.decr(key, delta, version)

    async def aincr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """See incr_version()."""
        return self.incr_version(key, delta, version)

    async def adecr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """See decr_version()."""
        return self.decr_version(key, delta, version)

    async def aclear(self) -> None:
        """See clear()."""
        self.clear()

    async def aclose(self, **kwargs: Any) -> None:
        """See close()."""
        self.close(**kwargs)

    # ------------------------------------------------------------ async twins of the rest

    async def akeys(self, pattern: str = "*", version: Any = None) -> list[str]:
        """See keys()."""
        return self.keys(pattern, version)

    async def aiter_keys(
        self, pattern: str = "*", itersize: int | None = None, version: Any = None
    ) -> AsyncIterator[str]:
        """See iter_keys()."""
        for key in self.iter_keys(pattern, itersize, version):
            yield key

    async def adelete_pattern(
        self, pattern: str, version: Any = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """See delete_pattern()."""
        return self.delete_pattern(pattern, version, prefix, itersize)

    async def attl(self, key: Any, version: Any = None) -> int | None:
        """See ttl()."""
        return self.ttl(key, version)

    async def apttl(self, key: Any, version: Any = None) -> int | None:
        """See pttl()."""
        return self.pttl(key, version)

    async def apersist(self, key: Any, version: Any = None) -> bool:
        """See persist()."""
        return self.persist(key, version)

    async def aexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """See expire()."""
        return self.expire(key, timeout, version)

    async def apexpire(self, key: Any, timeout: Any, version: Any = None) -> bool:
        """See pexpire()."""
        return self.pexpire(key, timeout, version)

    async def aexpire_at(self, key: Any, when: float | datetime, version: Any = None) -> bool:
        """See expire_at()."""
        return self.expire_at(key, when, version)

    async def apexpire_at(self, key: Any, when: float | datetime, version: Any = None) -> bool:
        """See pexpire_at()."""
        return self.pexpire_at(key, when, version)


def _rounded(left: float | None, units: int) -> int | None:
    """Return a time left as Redis gives it: to the nearest unit, and None for ever."""
    if left is None:
        return 0
    return None if left == float("inf") else round(left * units)
