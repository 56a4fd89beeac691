"""`cache.lock(...)`: a lock among the threads and tasks of one process, with the face of redis-py's `Lock`.

It parts no two processes: what has to be done once per host or per cluster needs Redis, or a database. Locks are kept
beside the entries, not among them, so neither `clear` nor an eviction releases one. A forked child begins with none.
"""

import asyncio
import math
import os
import threading
import time
from types import TracebackType
from typing import Any, Self

from oxicache.errors import LockError, LockNotOwnedError

__all__ = ["ProcessLock"]

SWEEP_FROM = 256  # few enough to be looked through at once


class _Held:
    """Who holds one name, and until when."""

    __slots__ = ("deadline", "token")

    def __init__(self, token: object, deadline: float) -> None:
        self.token = token
        self.deadline = deadline


class _Table:
    """All locks that are held. One condition for all: a release wakes who waits for any, and that is rare."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], _Held] = {}
        self.most = SWEEP_FROM  # how many may be held before those that ran out are looked for
        self.changed = threading.Condition(threading.Lock())

    def holder(self, name: tuple[str, str]) -> _Held | None:
        """Return who holds `name`. To be asked inside the condition."""
        held = self.held.get(name)
        if held is not None and held.deadline <= time.monotonic():
            del self.held[name]
            return None
        return held

    def hold(self, name: tuple[str, str], held: _Held) -> None:
        """Note who holds `name`. To be called inside the condition."""
        if len(self.held) >= self.most:
            # What ran out under a name that nobody asks for again would stay for ever.
            now = time.monotonic()
            self.held = {known: other for known, other in self.held.items() if other.deadline > now}
            self.most = max(2 * len(self.held), SWEEP_FROM)
        self.held[name] = held


_table = _Table()


class ProcessLock:
    """A named lock, usable as a context manager, also in `async with`. Not reentrant, as in Redis.

    `timeout`: seconds after which a lock that was not released is free again, None for never. `blocking_timeout`:
    seconds that `acquire` waits at most. `sleep`: seconds between two tries of `acquire_async`. `thread_local`: only
    the thread that acquired it through this object may release it; False for handing the object on.
    """

    def __init__(  # noqa: PLR0917 -- redis-py's own order
        self,
        name: tuple[str, str],
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, or None for no limit, not {timeout!r}")
        self._name = name
        self.name = name[1]
        self.timeout = timeout
        self.sleep = sleep
        self.blocking = blocking
        self.blocking_timeout = blocking_timeout
        self.thread_local = bool(thread_local)
        self.local: Any = threading.local() if thread_local else _Tokens()
        self.local.token = None

    # ------------------------------------------------------------ acquiring and releasing

    def acquire(
        self,
        sleep: float | None = None,  # noqa: ARG002 -- redis-py asks again and again; here a release wakes who waits
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: object = None,
    ) -> bool:
        """Wait until the lock is free, and hold it; whether that came in time. Blocks its thread: not for tasks."""
        give_up = self._give_up(blocking, blocking_timeout)
        token = object() if token is None else token
        with _table.changed:
            while not self._take(token):
                now = time.monotonic()
                if now >= give_up:
                    return False
                held = _table.holder(self._name)
                if held is None:
                    continue  # its time ran out just now, and nobody would tell
                until = min(give_up, held.deadline)
                _table.changed.wait(min(max(until - now, 0.0), threading.TIMEOUT_MAX))
        return True

    async def acquire_async(
        self, blocking: bool | None = None, blocking_timeout: float | None = None, token: object = None
    ) -> bool:
        """As `acquire`, for tasks: tries every `sleep` seconds, and blocks nobody meanwhile."""
        give_up = self._give_up(blocking, blocking_timeout)
        token = object() if token is None else token
        while True:
            with _table.changed:
                if self._take(token):
                    return True
            left = give_up - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(self.sleep, left))

    def release(self) -> None:
        """Let go of the lock. LockError when it is not held, LockNotOwnedError when its time ran out meanwhile."""
        token = self._token()
        if token is None:
            raise LockError(f"The lock {self.name!r} is not held, and cannot be released.")
        self.local.token = None
        with _table.changed:
            held = _table.holder(self._name)
            if held is None or held.token is not token:
                raise LockNotOwnedError(
                    f"The lock {self.name!r} is not held any more: its timeout has passed."
                )
            del _table.held[self._name]
            _table.changed.notify_all()

    def _give_up(self, blocking: bool | None, blocking_timeout: float | None) -> float:
        if not (self.blocking if blocking is None else blocking):
            return -math.inf
        patience = self.blocking_timeout if blocking_timeout is None else blocking_timeout
        return math.inf if patience is None else time.monotonic() + patience

    def _take(self, token: object) -> bool:
        if _table.holder(self._name) is not None:
            return False
        _table.hold(self._name, _Held(token, self._deadline(self.timeout)))
        self.local.token = token
        return True

    @staticmethod
    def _deadline(timeout: float | None) -> float:
        return math.inf if timeout is None else time.monotonic() + timeout

    def _token(self) -> object:
        return getattr(self.local, "token", None)  # another thread has no token of its own

    # ------------------------------------------------------------ what redis-py's lock has besides

    def locked(self) -> bool:
        """Whether anybody holds it."""
        with _table.changed:
            return _table.holder(self._name) is not None

    def owned(self) -> bool:
        """Whether this object holds it."""
        with _table.changed:
            held = _table.holder(self._name)
            return held is not None and held.token is self._token()

    def extend(self, additional_time: float, replace_ttl: bool = False) -> bool:
        """Add seconds to the time that is left, or replace it. LockError when it is not held or has no timeout."""
        if self.timeout is None:
            raise LockError(f"The lock {self.name!r} has no timeout that could be extended.")
        with _table.changed:
            held = self._own()
            held.deadline = (
                self._deadline(additional_time) if replace_ttl else held.deadline + additional_time
            )
            _table.changed.notify_all()  # it may end sooner than those who wait believe
        return True

    def reacquire(self) -> bool:
        """Let its timeout begin anew. LockError when it is not held or has no timeout."""
        if self.timeout is None:
            raise LockError(f"The lock {self.name!r} has no timeout that could begin anew.")
        with _table.changed:
            self._own().deadline = self._deadline(self.timeout)
        return True

    def _own(self) -> _Held:
        token = self._token()
        if token is None:
            raise LockError(f"The lock {self.name!r} is not held.")
        held = _table.holder(self._name)
        if held is None or held.token is not token:
            raise LockNotOwnedError(f"The lock {self.name!r} is not held any more: its timeout has passed.")
        return held

    def __enter__(self) -> Self:
        if self.acquire():
            return self
        raise LockError(f"The lock {self.name!r} could not be acquired in the time given.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    async def __aenter__(self) -> Self:
        if await self.acquire_async():
            return self
        raise LockError(f"The lock {self.name!r} could not be acquired in the time given.")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<ProcessLock {self.name!r} of this process, {'held' if self.locked() else 'free'}>"


class _Tokens:
    """In place of a `threading.local`, for a lock that is handed on."""

    token: object = None


def _forget() -> None:
    # Those who held locks are threads of the parent.
    _table.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
