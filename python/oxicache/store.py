"""What the rest may ask of any cache, and what happens when a cache fails.

A cache that raises is a miss, one log line and one count, here and nowhere else. Only calls into the cache go through
`attempt`: what the caller's own functions raise is never seen by it.

Nothing here holds a lock: a fork would leave it locked in the child, and a signal handler or a finaliser that meets a
failing cache would wait for itself. Each step is one atomic operation on a dict; of failures in several threads at the
same instant one may go uncounted, or be logged twice.
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar

from oxicache._native import Stamps
from oxicache.options import STORE_LOG_INTERVAL

__all__ = ["LoadStore", "Store", "aattempt", "attempt", "failure_counts", "forget_failures"]

logger = logging.getLogger("oxicache.store")

_P = ParamSpec("_P")
_T = TypeVar("_T")
_D = TypeVar("_D")


class Store(Protocol):
    """What any cache can do. `default` is what a miss gives; ttl in seconds, None for ever."""

    name: str | None

    def get(self, key: Any, default: Any, /) -> Any:
        """Read, counting a hit or a miss."""
        ...

    def peek(self, key: Any, default: Any, /) -> Any:
        """Read without counting and without keeping the entry any longer."""
        ...

    def set(self, key: Any, value: Any, ttl: float | None = ..., tags: Iterable[str] = ()) -> None:
        """Write: what is being loaded for the key is outdated from now on."""
        ...

    def delete(self, key: Any, /) -> bool:
        """Remove one entry; whether there was a live one."""
        ...

    def delete_by_tag(self, tag: str, /) -> int:
        """Remove the entries with this tag; how many."""
        ...

    def clear(self) -> None:
        """Remove everything."""
        ...


class LoadStore(Store, Protocol):
    """What a loader asks for besides: which loads are outdated, what has expired but is kept."""

    grace: float
    early_refresh: float

    def _token(self, key: Any, /) -> int:
        """What to show when the load ends: it tells when the load began."""
        ...

    def _is_current(self, key: Any, token: int, tags: Iterable[str] = ()) -> bool:
        """Whether neither the key was written or invalidated nor one of these tags since the token was given."""
        ...

    def _fill(  # noqa: PLR0917 - the native method's own signature
        self,
        key: Any,
        value: Any,
        token: int,
        ttl: Any = ...,
        tags: Iterable[str] = (),
        cost: float = 0.0,
        stamps: Stamps | None = None,
    ) -> bool:
        """Store a load's result if its token and its versions still hold; whether it was stored."""
        ...

    def _loaded(self, key: Any, seconds: float, has_failed: bool, /) -> None:
        """Count a load, stored or not."""
        ...

    def _stale(self, key: Any, /) -> Any:
        """Return a value that has expired but was not invalidated, or MISSING."""
        ...

    def _early(self, key: Any, /) -> bool:
        """Whether this reader is elected to refresh the entry before it expires."""
        ...


MAX_KINDS = 1024  # names of caches that came and went must not pile up

_failures: dict[str, int] = {}
_logged: dict[tuple[str, str, str], float] = {}


def attempt(
    cache: Store, call: Callable[_P, _T], otherwise: _D, *args: _P.args, **kwargs: _P.kwargs
) -> _T | _D:
    """Call into `cache`; if that fails, count it, say so and return `otherwise`."""
    try:
        return call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the one place where a failing cache becomes a miss
        _failed(cache, call, error)
        return otherwise


async def aattempt(
    cache: Store, call: Callable[_P, Awaitable[_T]], otherwise: _D, *args: _P.args, **kwargs: _P.kwargs
) -> _T | _D:
    """As `attempt`, of a call that a task waits for."""
    try:
        return await call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - as above
        _failed(cache, call, error)
        return otherwise


def failure_counts() -> dict[str, int]:
    """How many calls failed in this process, by cache name."""
    return _failures.copy()


def forget_failures() -> None:
    """Count from zero, and log the next failure of each kind again."""
    _failures.clear()
    _logged.clear()


def _failed(cache: Store, call: Callable[..., object], error: Exception) -> None:
    name = getattr(cache, "name", None) or type(cache).__name__
    operation = getattr(call, "__name__", "call").lstrip("_")
    kind = (name, operation, type(error).__name__)
    now = time.monotonic()
    count = _failures.get(name, 0) + 1
    _failures[name] = count
    _bound(_failures)
    if now - _logged.get(kind, -math.inf) >= STORE_LOG_INTERVAL:
        _logged[kind] = now
        _bound(_logged)
        logger.warning(
            "Cache '%s' failed in %s and is treated as a miss (%d failures so far): %r",
            name,
            operation,
            count,
            error,
        )


def _bound(table: dict[Any, Any]) -> None:
    # Over a copy, because others may change the table meanwhile.
    if len(table) > MAX_KINDS:
        table.pop(next(iter(table.copy()), None), None)
