"""Serving what is held while its source is out of reach: which errors say so, and how long the source is left alone."""

import logging
import sys
from collections.abc import Iterable
from typing import Any, TypeAlias

from oxicache._native import TTLCache
from oxicache.options import GRACE_NEVER, RESTING_MAX_KEYS
from oxicache.store import LoadStore, attempt

__all__ = [
    "ErrorNames",
    "GivenErrors",
    "forget_resting",
    "is_graced",
    "is_resting",
    "rest",
    "validated_errors",
]

logger = logging.getLogger("oxicache.grace")

ErrorNames: TypeAlias = tuple[type[BaseException] | str, ...]
GivenErrors: TypeAlias = type[BaseException] | str | Iterable[type[BaseException] | str]

# Sources that failed, by cache and key, until they are tried again. A cache of its own: bounded, on the engine's clock.
_resting: TTLCache[tuple[int, Any], bool] = TTLCache(RESTING_MAX_KEYS, None)


def validated_errors(errors: Any) -> ErrorNames:
    """Return `grace_errors` as a tuple of exception classes and dotted paths to such; TypeError for anything else."""
    given = (errors,) if isinstance(errors, str | type) else errors
    if not isinstance(given, Iterable):
        raise TypeError(f"grace_errors must be exception classes or dotted paths to them, not {errors!r}")
    found = tuple(given)
    for one in found:
        is_path = isinstance(one, str) and "." in one.strip(".")
        if not is_path and not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"grace_errors must be exception classes or dotted paths to them, not {one!r}")
    return found


def is_graced(error: Exception, errors: ErrorNames) -> bool:
    """Whether `error` says that the source is out of reach. Errors that are answers never do."""
    return isinstance(error, _classes(errors)) and not isinstance(error, _classes(GRACE_NEVER))


def is_resting(cache: LoadStore, key: Any) -> bool:
    """Whether the source of this key failed a moment ago and is left alone."""
    return attempt(cache, _resting.peek, False, (id(cache), key), False)


def rest(cache: LoadStore, key: Any, error: Exception, throttle: float, served: str) -> None:
    """Leave the source of this key alone for `throttle` seconds, and say so once; each time where that is 0."""
    # Without a throttle there is nothing to remember, and every value served is news.
    if not throttle or attempt(cache, _resting.add, False, (id(cache), key), True, throttle):
        logger.warning(
            "Cache '%s' serves %s for %r, because loading it failed; next try in %g s: %r",
            cache.name, served, key, throttle, error,
        )  # fmt: skip


def forget_resting() -> None:
    """Try every source again."""
    _resting.clear()


def _classes(errors: ErrorNames) -> tuple[type[BaseException], ...]:
    # An error can only be of a class whose module has been imported, so nothing is imported for the question.
    named = [_class_at(error) if isinstance(error, str) else error for error in errors]
    return tuple(error for error in named if isinstance(error, type))


def _class_at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)
