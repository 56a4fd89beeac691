"""Every exception of oxicache's own, a sentence each.

Wrong use raises Python's TypeError and ValueError instead, and a load that asks for its own key a RecursionError.
"""

__all__ = [
    "LockError",
    "LockNotOwnedError",
    "OxicacheError",
    "RequestTooLongError",
    "ScheduleFullError",
    "ScheduleThreadError",
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
