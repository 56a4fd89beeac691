"""Every exception of oxicache's own, a sentence each.

Wrong use raises Python's TypeError and ValueError instead, and a load that asks for its own key a RecursionError.
"""

from collections.abc import Sequence

__all__ = [
    "CannotEnumerateError",
    "CannotTagError",
    "LeakError",
    "LockError",
    "LockNotOwnedError",
    "MissingScopeError",
    "NotConfiguredError",
    "OxicacheError",
    "RequestTooLongError",
    "ScheduleFullError",
    "ScheduleThreadError",
    "UnknownCacheError",
    "UnknownProcessError",
    "UnsafeFolderError",
]


class OxicacheError(Exception):
    """The base of what oxicache raises by itself."""


class ScheduleFullError(OxicacheError):
    """More jobs wait for the background thread than `SCHEDULE_MAX_JOBS`."""


class ScheduleThreadError(OxicacheError):
    """The background thread could not be started; the next job tries again."""


class LockError(OxicacheError, ValueError):
    """A lock of `cache.lock` could not be acquired in time, or is not held by who releases it."""


class LockNotOwnedError(LockError):
    """A lock of `cache.lock` is released after its timeout has passed."""


class RequestTooLongError(OxicacheError, ValueError):
    """A request to the live workers is longer than they read: 64 KiB."""


class UnsafeFolderError(OxicacheError):
    """The folder of the workers' sockets is a symbolic link, another user's, or open to others."""


class NotConfiguredError(OxicacheError):
    """An operation needs what the settings of this project do not have."""


class MissingScopeError(OxicacheError, LookupError):
    """Data is to be told apart by something that nobody could say, such as the tenant of a request without session."""

    def __init__(self, missing: Sequence[str]) -> None:
        """Name what is missing."""
        wanted = " and ".join(missing)
        super().__init__(
            f"the {wanted} of this data is not known, and nobody else's is taken in its place; pass it, or set it for "
            "a block with oxicache.django.scope.use_scope"
        )
        self.missing = tuple(missing)


class CannotEnumerateError(OxicacheError):
    """A backend cannot say which entries it has, so nothing can be found there by pattern."""

    def __init__(self, alias: str, reason: str, remedy: str) -> None:
        """Name the alias of CACHES, why not, and what to do instead."""
        super().__init__(f"the entries of CACHES[{alias!r}] cannot be listed: {reason}; {remedy}")
        self.alias = alias
        self.reason = reason
        self.remedy = remedy


class CannotTagError(OxicacheError):
    """A backend cannot say which entries carry a tag."""

    def __init__(self, alias: str, reason: str, remedy: str) -> None:
        """Name the alias of CACHES, why not, and what to do instead."""
        super().__init__(f"the entries of CACHES[{alias!r}] cannot be tagged: {reason}; {remedy}")
        self.alias = alias
        self.reason = reason
        self.remedy = remedy


class UnknownCacheError(OxicacheError, LookupError):
    """No process that answered has a cache of this name."""

    def __init__(self, name: str, existing: Sequence[str]) -> None:
        """Name the cache, and those that exist."""
        exist = ", ".join(existing) if existing else "none is registered yet"
        super().__init__(f"Cache '{name}' not found; these exist: {exist}")
        self.name = name
        self.existing = tuple(existing)


class UnknownProcessError(OxicacheError, LookupError):
    """No live worker has this pid."""

    def __init__(self, pid: int, existing: Sequence[int], place: str) -> None:
        """Name the pid, those of the live workers, and where they were looked for."""
        alive = ", ".join(map(str, existing)) if existing else "none"
        super().__init__(f"no live worker has the pid {pid}; alive in {place}: {alive}")
        self.pid = pid
        self.existing = tuple(existing)


class LeakError(OxicacheError):
    """A cached view looks at what its key does not hold. Raised inside `oxicache.testing.strict()` alone."""

    def __init__(self, view: str, root: str, remedy: str) -> None:
        """Name the view, what it looks at, and what to do."""
        super().__init__(f"{view} looks at {root}, which its key does not hold: {remedy}")
        self.view = view
        self.root = root
