"""Loads under way: who leads one, who may wait for it, who takes over.

A flight is one load of one key. Whoever finds none leads; others wait, unless waiting could hang (`may_wait`). Nothing
here holds a lock: keys are compared by their own `__eq__`, which may run any code, so each step is one atomic operation
on a dict or a deque. That is also why a fork finds nothing locked.
"""

import asyncio
import contextvars
import enum
import os
import sys
import threading
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TypeAlias

from oxicache._native import MISSING, Stamps
from oxicache.store import LoadStore, attempt

__all__ = [
    "Flight",
    "Flights",
    "begin",
    "flights",
    "forbid_waiting",
    "led_by_caller",
    "may_wait",
    "running_loop",
    "waiting_is_forbidden",
]

Owner = tuple[int, int]
Capture: TypeAlias = Callable[[], Stamps]


class State(enum.Enum):
    """How a flight stands."""

    FLYING = "flying"
    LANDED = "landed"  # with a value
    FAILED = "failed"  # with the loader's exception
    ABANDONED = "abandoned"  # its leader was cancelled or killed; somebody else has to load


class Flight:
    """One load of one key, and those who wait for it."""

    __slots__ = (
        "_successors",
        "_traceback",
        "_waiters",
        "cache",
        "error",
        "key",
        "owner",
        "stamps",
        "state",
        "tags",
        "token",
        "value",
    )

    def __init__(self, cache: LoadStore, key: Any, token: int | None, stamps: Stamps | None = None) -> None:
        """Begin a load that the caller leads. `token` is None where the cache could not give one."""
        self.cache = cache
        self.key = key
        self.token = token
        self.stamps = stamps  # the versions of what it is about to read, for those loads that have some
        self.tags: tuple[str, ...] = ()  # of the value; its leader knows them before it begins to compute
        self.owner = _caller()
        self.state = State.FLYING
        self.value: Any = MISSING
        self.error: Exception | None = None
        self._traceback: TracebackType | None = None
        self._successors: dict[str, Flight] = {}
        self._waiters: deque[Callable[[], object]] = deque()

    @property
    def is_flying(self) -> bool:
        """Whether the leader is still at it."""
        return self.state is State.FLYING

    @property
    def is_current(self) -> bool:
        """Whether nothing that it may have read was invalidated since it began."""
        # Where the tags are not known yet, the value has not been asked for yet, and will be as new as it can be.
        if self.token is None or (self.stamps is not None and not self.stamps.is_current()):
            return False
        return attempt(self.cache, self.cache._is_current, False, self.key, self.token, self.tags)

    @property
    def is_overtaken(self) -> bool:
        """Whether a load that took over from this one has brought a value already."""
        successor = self._successors.get("next")
        while successor is not None:
            if successor.state is State.LANDED:
                return True
            successor = successor._successors.get("next")
        return False

    def is_led_by_caller(self) -> bool:
        """Whether this very task, or this very thread outside of tasks, leads it."""
        return self.owner == _caller()

    @property
    def is_led_by_task(self) -> bool:
        """Whether its leader is a task of an event loop."""
        return self.owner[1] != 0

    def succeed(self, other: "Flight") -> "Flight":
        """Let `other` take over, unless one has already; return the one that has."""
        return self._successors.setdefault("next", other)

    def land(self, value: Any) -> None:
        """Note the value for those who wait; `release` tells them."""
        self.value = value
        self.state = State.LANDED

    def fail(self, error: Exception) -> None:
        """Note the exception for those who wait; `release` tells them."""
        self.error = error
        self._traceback = error.__traceback__
        self.state = State.FAILED

    def release(self) -> None:
        """Let go of those who wait. Without a result, one of them takes over."""
        if self.is_flying:
            self.state = State.ABANDONED
        while self._waiters:
            wake = self._waiters.popleft()
            try:
                wake()
            except RuntimeError:
                continue  # this waiter's event loop was closed meanwhile

    def result(self) -> Any:
        """Return the value that was landed, or raise the loader's exception."""
        if self.error is None:
            return self.value
        # With the loader's frames, and without those of others who raised it before.
        raise self.error.with_traceback(self._traceback)

    def wait(self, timeout: float) -> bool:
        """Block this thread until the load has ended, `timeout` seconds at most; whether it has a result."""
        # A bare lock: releasing it can't block, not even in a forked child whose waiters are gone.
        turn = allocate_lock()
        turn.acquire()
        self._waiters.append(turn.release)
        # The state is set first and the waiters are woken then, so one of the two is seen.
        if self.is_flying:
            turn.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        return self._has_result()

    async def await_end(self, timeout: float) -> bool:  # noqa: ASYNC109 - the waiters' timeout, as in `wait`
        """Suspend this task until the load has ended, `timeout` seconds at most; whether it has a result."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()

        def wake() -> None:
            # The leader may be a thread, or a task of another loop.
            loop.call_soon_threadsafe(_settle, turn)

        self._waiters.append(wake)
        if self.is_flying:
            await asyncio.wait((turn,), timeout=timeout)
        return self._has_result()

    def forget_waiters(self) -> None:
        """In a forked child: they exist in the parent only."""
        self._waiters.clear()

    def _has_result(self) -> bool:
        return self.state in (State.LANDED, State.FAILED)


def _settle(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)


def begin(cache: LoadStore, key: Any, capture: Capture | None) -> Flight:
    """Begin a load that the caller leads, without telling anybody. `capture` captures the versions of what it reads."""
    return Flight(cache, key, *_begun(cache, key, capture))


def _begun(cache: LoadStore, key: Any, capture: Capture | None) -> tuple[int | None, Stamps | None]:
    if capture is None:
        return attempt(cache, cache._token, None, key), None
    stamps = attempt(cache, capture, None)
    # Without its versions a value could not be seen to be outdated: nobody may join the load, nothing is stored.
    return None if stamps is None else attempt(cache, cache._token, None, key), stamps


class Flights:
    """The loads under way in this process, by cache and key."""

    def __init__(self) -> None:
        """Begin with none."""
        self._table: dict[tuple[int, Any], Flight] = {}

    def __len__(self) -> int:
        return len(self._table)

    def board(
        self, cache: LoadStore, key: Any, past: Flight | None = None, capture: Capture | None = None
    ) -> tuple[Flight, bool]:
        """Return a flight to wait for, or one that the caller leads, and whether it is the latter.

        `past` is a flight that the caller gave up on: of all who did, one leads the next. A flight that began before
        the key, one of its tags or one of its versions was invalidated is not joined; a new one takes over from it.
        """
        mine = begin(cache, key, capture)
        if mine.token is None:
            return mine, True  # nobody else sees it: whether it is outdated could not be told
        name = (id(cache), key)
        flight = attempt(cache, self._table.setdefault, mine, name, mine)
        if flight is mine:
            return mine, True
        while flight is not mine:
            if flight is not past and flight.is_flying and flight.is_current:
                return flight, False
            # Asked again: what has outdated that flight may have come after this caller's token.
            mine.token, mine.stamps = _begun(cache, key, capture)
            flight = flight.succeed(mine)
        attempt(cache, self._table.__setitem__, None, name, mine)
        return mine, True

    def close(self, flight: Flight) -> None:
        """Take a flight that has ended out of the table."""
        name = (id(flight.cache), flight.key)
        taken = attempt(flight.cache, self._table.pop, None, name, None)
        if taken is not None and taken is not flight:
            # Another has taken over. Whoever looks in this instant leads one load too many, never a wrong one.
            self._table.setdefault(name, taken)

    def forget(self) -> None:
        """Forget what is under way. The leaders go on, and hand their values to those who wait already."""
        self._table.clear()

    def forget_in_child(self) -> None:
        """After a fork: leaders and waiters stayed in the parent, but for the one that forked, which goes on."""
        for flight in list(self._table.values()):
            flight.forget_waiters()
        self._table.clear()


flights = Flights()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=flights.forget_in_child)


# ---------------------------------------------------------------- who leads

# Tasks and threads that a leader starts inherit this, if they run in a copy of its context: their work may be part of
# the load, and the leader may wait for them.
_inherited: contextvars.ContextVar[tuple[Flight, ...]] = contextvars.ContextVar(
    "oxicache_flights", default=()
)

# What runs in a thread while a synchronous load is on its stack is part of that load, in whatever context it runs.
_on_stack = threading.local()


def led_by_caller() -> list[Flight]:
    """The flights that the caller leads or works for, outermost first."""
    found = [flight for flight in _inherited.get() if flight.is_flying]
    found += [flight for flight in getattr(_on_stack, "flights", ()) if flight not in found]
    return found


@contextmanager
def leading(flight: Flight, *, on_stack: bool) -> Iterator[None]:
    """Lead `flight` inside the block. A block left without a result hands it over to one of those who wait.

    `on_stack`: the block runs from end to end without giving the thread to others, as no coroutine does.
    """
    stack: list[Flight] = _on_stack.__dict__.setdefault("flights", []) if on_stack else []
    outer = _inherited.set((*(each for each in _inherited.get() if each.is_flying), flight))
    stack.append(flight)
    try:
        yield
    finally:
        # Out of the table first: who comes now finds the stored value, or leads, and those released join that one.
        flights.close(flight)
        flight.release()
        stack.remove(flight)
        # A coroutine that the garbage collector closes ends in another context than it began in.
        with suppress(ValueError):
            _inherited.reset(outer)


def _caller() -> Owner:
    loop = running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    # Both stay unique for as long as the flight flies, because its leader lives.
    return threading.get_ident(), 0 if task is None else id(task)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread."""
    return (
        asyncio._get_running_loop()
    )  # `get_running_loop` raises, which costs more than the rest of a miss's checks


# ---------------------------------------------------------------- who may wait

_forbidding: list[Callable[[], bool]] = []


def forbid_waiting(check: Callable[[], bool]) -> None:
    """Where `check()` is true, a caller computes rather than wait for another's load. The same check counts once."""
    if check not in _forbidding:
        _forbidding.append(check)


def may_wait(flight: Flight, *, blocks: bool) -> bool:
    """Whether the caller may wait for `flight`, which somebody else leads. `blocks`: it would stop its whole thread."""
    if blocks == (running_loop() is not None):
        return False  # a thread must not stop its loop; and a coroutine that no asyncio loop drives cannot be woken
    if blocks and (_serves_event_loop() or (flight.is_led_by_task and _works_for_executor())):
        return False
    if led_by_caller():
        return False
    return not waiting_is_forbidden()


def waiting_is_forbidden() -> bool:
    """Whether somebody forbids this caller to wait for anybody: see `forbid_waiting`."""
    return any(check() for check in _forbidding)


def _serves_event_loop() -> bool:
    # asgiref lends a thread to an event loop for sync code, and the load may be waiting for that very thread. The loop
    # stays noted in the thread, hence the question whether it runs.
    sync = sys.modules.get("asgiref.sync")
    if sync is None:
        return False
    loop = getattr(sync.SyncToAsync.threadlocal, "main_event_loop", None)
    return loop is not None and loop.is_running()


def _works_for_executor() -> bool:
    # A task may need a thread of its executor to end its load, and all of them may be waiting for that load. The
    # executor's own list of threads gets a new one only after it has begun to work; its target is known before.
    pools = sys.modules.get("concurrent.futures.thread")
    worker = getattr(pools, "_worker", None)
    return worker is not None and getattr(threading.current_thread(), "_target", None) is worker
