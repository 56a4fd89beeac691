"""Fresh, stale or load: single flight, early refresh and grace, for threads and tasks.

One `Loader` decides what a caller gets whose value is missing or about to expire; `TTLCache.get_or_set`, the decorators
and `get_or_compute` all ask it. Who leads and who may wait: flights.py. When a stale value is served: grace.py.
"""

import asyncio
import functools
import inspect
import operator
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from oxicache import _native, flights, grace, options, scheduling
from oxicache._native import MISSING, TTLCache
from oxicache.errors import ScheduleFullError, ScheduleThreadError
from oxicache.flights import Flight, forbid_waiting
from oxicache.loads import Load, Tags, Timed
from oxicache.results import checked
from oxicache.rows import RowCall
from oxicache.store import LoadStore, attempt

__all__ = [
    "Loader",
    "configure",
    "forbid_waiting",
    "forget_flights",
    "lock_timeout_seconds",
]

_T = TypeVar("_T")
Seconds: TypeAlias = float | timedelta


@dataclass(frozen=True, slots=True)
class _Defaults:
    lock_timeout: float = options.LOCK_TIMEOUT
    grace_errors: grace.ErrorNames = options.GRACE_ERRORS
    grace_throttle: float = options.GRACE_THROTTLE


_defaults = _Defaults()


def configure(
    *,
    lock_timeout: Seconds | None = None,
    grace_errors: grace.GivenErrors | None = None,
    grace_throttle: Seconds | None = None,
) -> None:
    """Set what holds for every loader that was not told otherwise; None restores the default of options.py."""
    global _defaults  # noqa: PLW0603 - replaced whole, so that no reader sees half of a change
    changed = _Defaults()
    if lock_timeout is not None:
        changed = replace(changed, lock_timeout=lock_timeout_seconds(lock_timeout))
    if grace_errors is not None:
        changed = replace(changed, grace_errors=grace.validated_errors(grace_errors))
    if grace_throttle is not None:
        changed = replace(changed, grace_throttle=options.seconds("grace_throttle", grace_throttle))
    _defaults = changed


def lock_timeout_seconds(value: object) -> float:
    """Return a lock_timeout in seconds, 0 for not waiting at all. TypeError and ValueError name the value."""
    return min(options.seconds("lock_timeout", value), threading.TIMEOUT_MAX)


class Loader:
    """How the missing values of one cache are loaded."""

    __slots__ = ("_grace_errors", "_lock_timeout", "background", "cache", "cache_none")

    def __init__(
        self,
        cache: LoadStore,
        *,
        lock_timeout: Seconds | None = None,
        grace_errors: grace.GivenErrors | None = None,
        cache_none: bool = True,
        background: bool = False,
    ) -> None:
        """Load into `cache`.

        `lock_timeout`: seconds to wait for another's load; `grace_errors`: which errors let a stale value be served;
        None for the process's default. `cache_none=False`: None is returned, not stored. `background`: an early
        refresh runs in the background thread, or in a task of its own, and nobody waits for it.
        """
        self.cache = cache
        self.cache_none = cache_none
        self.background = background
        self._lock_timeout = None if lock_timeout is None else lock_timeout_seconds(lock_timeout)
        self._grace_errors = None if grace_errors is None else grace.validated_errors(grace_errors)

    @property
    def lock_timeout(self) -> float:
        """How long a caller waits for another's load, in seconds."""
        return _defaults.lock_timeout if self._lock_timeout is None else self._lock_timeout

    @property
    def grace_errors(self) -> grace.ErrorNames:
        """The errors that say that a source is out of reach."""
        return _defaults.grace_errors if self._grace_errors is None else self._grace_errors

    def load(self, key: Any, compute: Callable[[], _T], *, ttl: Any = MISSING, tags: Tags = ()) -> _T:
        """Return the value of `key`: the one held, or what `compute()` returns, called by one caller at a time.

        `ttl` in seconds counts from the end of the load; omitted, it is the cache's. What `compute` raises is raised in
        all who waited for it, and is not stored. RecursionError when `compute` asks for `key` itself.
        """
        value, is_fresh = self._read(key, ttl)
        if is_fresh:
            return value  # type: ignore[no-any-return]
        return self.load_missed(key, compute, ttl=ttl, tags=tags, current=value)  # type: ignore[no-any-return]

    async def aload(
        self, key: Any, compute: Callable[[], Awaitable[_T]], *, ttl: Any = MISSING, tags: Tags = ()
    ) -> _T:
        """As `load`, for a `compute` that returns an awaitable. Threads and event loops share loads."""
        value, is_fresh = self._read(key, ttl)
        if is_fresh:
            return value  # type: ignore[no-any-return]
        return await self.aload_missed(key, compute, ttl=ttl, tags=tags, current=value)  # type: ignore[no-any-return]

    def load_missed(
        self,
        key: Any,
        compute: Callable[[], Any],
        *,
        ttl: Any = MISSING,
        tags: Tags = (),
        current: Any = MISSING,
        row_call: RowCall | None = None,
    ) -> Any:
        """Continue a `load` whose read missed. `current`: the read hit, and its caller was elected to refresh early.

        `row_call`: the value is a row's, and `compute` is this call's.
        """
        request = Load.of(self.cache, key, compute, ttl, tags, current, row_call)
        if (held := self._rested(key, current)) is not MISSING:
            return held
        if current is not MISSING and self.background:
            self._refresh_later(request)
            return current
        past = None
        while True:
            flight, leads = self._board(request, past, blocks=True)
            if flight is None:
                return current
            if leads:
                return self._fly(flight, request)
            if flight.wait(self.lock_timeout):
                return flight.result()
            past = flight

    async def aload_missed(
        self,
        key: Any,
        compute: Callable[[], Any],
        *,
        ttl: Any = MISSING,
        tags: Tags = (),
        current: Any = MISSING,
        row_call: RowCall | None = None,
    ) -> Any:
        """As `load_missed`, for tasks."""
        request = Load.of(self.cache, key, compute, ttl, tags, current, row_call)
        if (held := self._rested(key, current)) is not MISSING:
            return held
        if current is not MISSING and self.background:
            self._arefresh_later(request)
            return current
        past = None
        while True:
            flight, leads = self._board(request, past, blocks=False)
            if flight is None:
                return current
            if leads:
                return await self._afly(flight, request)
            if await flight.await_end(self.lock_timeout):
                return flight.result()
            past = flight

    # ------------------------------------------------------------ before the load

    def _read(self, key: Any, ttl: Any) -> tuple[Any, bool]:
        hash(key)  # wrong use is the caller's to hear of; from here on a TypeError is the cache's failure
        if ttl is not MISSING and ttl is not None:
            options.seconds("ttl", ttl)
        value = attempt(self.cache, self.cache.get, MISSING, key, MISSING)
        if value is MISSING:
            return MISSING, False
        return value, not (self.cache.early_refresh and attempt(self.cache, self.cache._early, False, key))

    def _rested(self, key: Any, current: Any) -> Any:
        """Return what is served because the source failed a moment ago, or MISSING."""
        if (current is MISSING and not self.cache.grace) or not grace.is_resting(self.cache, key):
            return MISSING
        return current if current is not MISSING else attempt(self.cache, self.cache._stale, MISSING, key)

    def _board(self, request: Load, past: Flight | None, *, blocks: bool) -> tuple[Flight | None, bool]:
        """Return the flight to lead (True) or to wait for (False); None where `current` will do."""
        key, current = request.key, request.current
        own = [
            flight for flight in flights.led_by_caller() if flight.cache is self.cache and _same(flight, key)
        ]
        if own and current is not MISSING:
            return None, False
        if own and (own[-1].is_led_by_caller() or len(own) > 1):
            # Work that the leader gave to another task or thread may load the key once by itself: it may be detached,
            # and nobody's recursion. The second time it is one.
            raise RecursionError(f"loading {key!r} into cache '{self.cache.name}' asks for that key itself")
        # A transaction may see what is not committed, or not any more what is: of a row that is for its caller alone.
        if own or (request.row_call is not None and flights.waiting_is_forbidden()):
            return flights.begin(self.cache, key, request.capture), True
        flight, leads = flights.flights.board(self.cache, key, past, request.capture)
        if leads:
            return flight, True
        if current is not MISSING:
            return None, False
        if not flights.may_wait(flight, blocks=blocks):
            return Flight(self.cache, key, flight.token, flight.stamps), True
        return flight, False

    # ------------------------------------------------------------ the load

    def _fly(self, flight: Flight, request: Load) -> Any:
        with flights.leading(flight, on_stack=True):
            value = self._found(request)
            if value is MISSING:
                try:
                    with Timed(self.cache, request.key) as timed:
                        if request.row_call is not None:
                            request.row_call.load_instance(self.cache, flight.stamps)
                        self._tag(flight, request)
                        value = checked(request.compute, request.compute())
                except Exception as error:  # the caller's own, raised again unless something is held
                    held = self._failed(flight, request, error)
                    if held is MISSING:
                        raise
                    return held
                if self._is_private(flight, request):
                    return value  # the flight ends without a result: one of those who wait takes over
                self._keep(flight, request, value, timed.seconds)
            flight.land(value)
            return value

    async def _afly(self, flight: Flight, request: Load) -> Any:
        with flights.leading(flight, on_stack=False):
            value = self._found(request)
            if value is MISSING:
                try:
                    with Timed(self.cache, request.key) as timed:
                        if request.row_call is not None:
                            await request.row_call.aload_instance(self.cache, flight.stamps)
                        self._tag(flight, request)
                        value = request.compute()
                        if inspect.isawaitable(value):
                            value = await value
                        checked(request.compute, value)
                except Exception as error:  # as in `_fly`; a cancellation is none and hands the flight over
                    held = self._failed(flight, request, error)
                    if held is MISSING:
                        raise
                    return held
                if self._is_private(flight, request):
                    return value  # the flight ends without a result: one of those who wait takes over
                self._keep(flight, request, value, timed.seconds)
            flight.land(value)
            return value

    def _tag(self, flight: Flight, request: Load) -> None:
        """Note the tags of what is about to be computed, and their versions."""
        flight.tags = request.tag_names()
        stamps: Any = attempt(self.cache, request.later_stamps, MISSING, flight.stamps, flight.tags)
        if stamps is MISSING:
            flight.token = None  # a value that its tags would not reach is not stored
        else:
            flight.stamps = stamps

    def _is_private(self, flight: Flight, request: Load) -> bool:
        if request.row_call is not None:
            return request.row_call.is_private(self.cache, flight.stamps)
        return bool(flight.tags) and request.is_own_work(self.cache)

    def _found(self, request: Load) -> Any:
        """Return what somebody else stored between this caller's read and its lead, or MISSING."""
        value = attempt(self.cache, self.cache.peek, MISSING, request.key, MISSING)
        return MISSING if value is request.current else value

    def _failed(self, flight: Flight, request: Load, error: Exception) -> Any:
        """Tell those who wait; return what is served to the leader although its load failed, or MISSING."""
        if self._is_private(flight, request):
            return request.current  # an error of this caller's transaction is nobody else's
        stale = MISSING
        if self.cache.grace and grace.is_graced(error, self.grace_errors):
            stale = attempt(self.cache, self.cache._stale, MISSING, request.key)
        if stale is MISSING:
            flight.fail(error)
        else:
            flight.land(stale)
        # A failing refresh is no reason to give its caller less than the hit that elected it. Those who wait came
        # after that value had expired: it is not for them.
        held = stale if request.current is MISSING else request.current
        if held is not MISSING:
            served = "an expired value" if request.current is MISSING else "the value it still holds"
            grace.rest(self.cache, request.key, error, _defaults.grace_throttle, served)
        return held

    def _keep(self, flight: Flight, request: Load, value: Any, cost: float) -> None:
        if flight.token is None or flight.is_overtaken or (value is None and not self.cache_none):
            return
        if request.row_call is not None and not request.row_call.keeps:
            return
        extra: dict[str, Any] = {"tags": flight.tags, "cost": cost}
        if flight.stamps is not None:
            extra["stamps"] = flight.stamps
        if request.ttl is not MISSING:
            extra["ttl"] = request.ttl
        attempt(self.cache, self.cache._fill, False, request.key, value, flight.token, **extra)

    # ------------------------------------------------------------ refreshing in the background

    def _refresh_later(self, request: Load) -> None:
        mark = (id(self.cache), request.key)

        def refresh() -> None:
            try:
                flight, leads = self._board(request, None, blocks=True)
                if flight is not None and leads:
                    self._fly(flight, request)
            finally:
                _refreshing.delete(mark)

        if attempt(self.cache, _refreshing.add, False, mark, True):
            is_coming = False
            try:
                is_coming = not scheduling.submit(refresh).is_cancelled
            except (ScheduleFullError, ScheduleThreadError):
                pass  # the caller has its hit
            finally:
                if not is_coming:
                    _refreshing.delete(mark)  # a later hit is elected again

    def _arefresh_later(self, request: Load) -> None:
        mark = (id(self.cache), request.key)

        async def refresh() -> None:
            flight, leads = self._board(request, None, blocks=False)
            if flight is not None and leads:
                await self._afly(flight, request)

        if attempt(self.cache, _refreshing.add, False, mark, True):
            task = asyncio.get_running_loop().create_task(refresh())
            _tasks.add(task)
            task.add_done_callback(functools.partial(_refreshed, mark))


# Keys that are being refreshed in the background. A mark whose refresh never ran, in a loop that stopped or in the
# parent of a fork, expires by itself.
_refreshing: TTLCache[tuple[int, Any], bool] = TTLCache(options.RESTING_MAX_KEYS, options.REFRESH_MARK_TTL)
_tasks: set[asyncio.Task[None]] = set()  # an event loop holds its tasks weakly


def _refreshed(mark: tuple[int, Any], task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    _refreshing.delete(mark)
    if not task.cancelled():
        task.exception()  # logged by `grace.rest` where the load failed; here only marked as seen


def _same(flight: Flight, key: Any) -> bool:
    return flight.key is key or bool(attempt(flight.cache, operator.eq, False, flight.key, key))


def forget_flights() -> None:
    """Forget the loads under way and the sources that are left alone, for tests. Those who lead go on."""
    flights.flights.forget()
    grace.forget_resting()
    _refreshing.clear()


def _get_or_set(  # noqa: PLR0917 - the native half passes what it was given, in order
    cache: TTLCache[Any, Any], key: Any, compute: Callable[[], Any], ttl: Any, tags: Any, current: Any
) -> Any:
    return Loader(cache).load_missed(key, compute, ttl=ttl, tags=tags, current=current)


# From here on `TTLCache.get_or_set` loads as everything else does.
_native.set_loader(_get_or_set)
