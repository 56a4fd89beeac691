"""One background thread for everything that runs later or again.

A job runs with the context variables of the one who asked for it. The thread starts with the first job, ends when
idle and before a fork, unless a job runs then, and starts again afterwards, in the child too. Jobs run one after the
other; a slow one delays the rest. What a job raises is logged. Time is `time.monotonic`: neither the wall clock nor the
engine's driven clock moves it.
"""

import atexit
import contextlib
import contextvars
import functools
import heapq
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from oxicache.errors import ScheduleFullError, ScheduleThreadError
from oxicache.options import SCHEDULE_IDLE, SCHEDULE_MAX_JOBS, seconds

__all__ = ["Job", "Scheduler", "after", "every", "run_around", "scheduler", "submit"]

logger = logging.getLogger("oxicache.scheduling")

# A fork waits so long for an idle thread to be gone. CPython 3.12 and later warn of a fork beside any thread.
FORK_PATIENCE = 1.0  # seconds; it takes 100 microseconds
LOCK_PATIENCE = 0.1  # seconds; nobody needs the lock for longer than a few microseconds
KERNEL_PATIENCE = 0.05  # seconds; a thread that has ended is counted for a moment more

_Hook = Callable[[], object]


class Job:
    """Something that runs later; `cancel()` while it has not."""

    __slots__ = ("_call", "_has_failed", "due", "interval", "is_cancelled", "name")

    def __init__(self, call: Callable[[], object], name: str, due: float, interval: float | None) -> None:
        """Take `call` to run at `due`, then every `interval` seconds unless that is None."""
        self._call: Callable[[], object] | None = call
        self.name = name
        self.due = due
        self.interval = interval
        self.is_cancelled = False
        self._has_failed = False

    def cancel(self) -> None:
        """Do not run it (again). A run that has begun goes on."""
        self.is_cancelled = True
        self._call = None

    def run(self) -> None:
        """Run it now. A job that fails time after time is logged once, until it succeeds again."""
        call = self._call
        if call is None:
            return
        try:
            call()
        except BaseException:  # not even SystemExit has a caller here; the other jobs need the thread
            if not self._has_failed:
                logger.exception("The background job %s failed", self.name)
            self._has_failed = True
        else:
            self._has_failed = False


class Scheduler:
    """A queue of jobs and the thread that runs them. `is_threaded=False`: `run_due` alone runs them."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_jobs: int = SCHEDULE_MAX_JOBS,
        idle: float = SCHEDULE_IDLE,
        is_threaded: bool = True,
    ) -> None:
        """Hold at most `max_jobs` jobs; let the thread go after `idle` seconds without any."""
        self._clock = clock
        self._max_jobs = max_jobs
        self._idle = idle
        self._is_threaded = is_threaded
        self._hooks: list[tuple[_Hook | None, _Hook | None]] = []
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Job]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_busy = False  # the thread is running a job
        self._is_paused = False  # a fork is under way
        _alive.add(self)

    def submit(self, call: Callable[..., object], *args: Any) -> Job:
        """Run `call(*args)` as soon as possible. ScheduleFullError and ScheduleThreadError when it cannot."""
        return self._add(call, args, 0.0, None)

    def after(self, delay: float | timedelta, call: Callable[..., object], *args: Any) -> Job:
        """Run `call(*args)` once, `delay` seconds from now."""
        return self._add(call, args, seconds("delay", delay), None)

    def every(self, interval: float | timedelta, call: Callable[..., object], *args: Any) -> Job:
        """Run `call(*args)` each `interval` seconds, first after one interval. Missed runs are not made up."""
        pause = seconds("interval", interval)
        if pause == 0:
            raise ValueError("interval must be more than 0 seconds")
        return self._add(call, args, pause, pause)

    def run_around(self, before: _Hook | None = None, after: _Hook | None = None) -> None:
        """Call `before` and `after` around each job, in the thread that runs it. The same pair counts once."""
        if (before, after) not in self._hooks:
            self._hooks.append((before, after))

    def run_due(self) -> int:
        """Run in this thread what is due by now; return how many jobs ran."""
        count = 0
        now = self._clock()
        while (job := self._take(now)) is not None:
            self._run(job)
            count += 1
        return count

    def pending(self) -> int:
        """How many jobs wait."""
        with self._changed:
            return sum(not job.is_cancelled for _, _, job in self._queue)

    def close(self) -> None:
        """Run nothing more; log the jobs that are lost. At interpreter exit this is called by itself."""
        with self._changed:
            self._is_closed = True
            lost = [job.name for _, _, job in self._queue if not job.is_cancelled and job.interval is None]
            self._queue.clear()
            self._changed.notify_all()
        if lost:
            logger.info("%d background jobs were lost at exit: %s", len(lost), ", ".join(sorted(set(lost))))

    def _add(
        self, call: Callable[..., object], args: tuple[Any, ...], delay: float, interval: float | None
    ) -> Job:
        context = contextvars.copy_context()
        name = getattr(call, "__qualname__", None) or repr(call)
        job = Job(functools.partial(context.run, call, *args), name, self._clock() + delay, interval)
        with self._changed:
            if self._is_closed:
                job.cancel()
                return job
            if len(self._queue) >= self._max_jobs:
                self._drop_cancelled()
            if len(self._queue) >= self._max_jobs:
                raise ScheduleFullError(
                    f"{len(self._queue)} jobs wait already, the limit is {self._max_jobs}: {name}"
                )
            # The thread first: a job that nobody can run is not taken on. Until the lock is free it sees no queue.
            self._start(name)
            heapq.heappush(self._queue, (job.due, next(self._order), job))
            self._changed.notify_all()
        return job

    def _drop_cancelled(self) -> None:
        self._queue = [item for item in self._queue if not item[2].is_cancelled]
        heapq.heapify(self._queue)

    def _take(self, now: float) -> Job | None:
        with self._changed:
            while self._queue and (self._queue[0][2].is_cancelled or self._queue[0][0] <= now):
                job = heapq.heappop(self._queue)[2]
                if not job.is_cancelled:
                    return job
        return None

    def _run(self, job: Job) -> None:
        self._is_busy = threading.current_thread() is self._thread
        # Leaving hooks run in reverse, as context managers do.
        for before, _ in self._hooks:
            _call_hook(before)
        try:
            job.run()
        finally:
            for _, after in reversed(self._hooks):
                _call_hook(after)
            self._is_busy = False
        if job.interval is not None and not job.is_cancelled:
            late = max(0.0, self._clock() - job.due)
            job.due += job.interval * (late // job.interval + 1)
            with self._changed:
                if not self._is_closed:
                    heapq.heappush(self._queue, (job.due, next(self._order), job))

    def _start(self, name: str) -> None:
        if not self._is_threaded or self._thread is not None or self._is_paused:
            return
        thread = threading.Thread(target=self._serve, name="oxicache", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # no more threads for this process, or none at its exit
            raise ScheduleThreadError(
                f"the background thread cannot be started for {name}: {error}"
            ) from error
        self._thread = thread

    def _serve(self) -> None:
        with self._changed:
            if self._thread is not threading.current_thread():
                return  # its starter was interrupted and does not know of it
        while True:
            self.run_due()
            with self._changed:
                if self._is_closed:
                    return
                if self._is_paused:
                    self._thread = None
                    return
                if not self._queue:
                    self._changed.wait(self._idle)
                    if not self._queue:
                        self._thread = None
                        return
                else:
                    pause = self._queue[0][0] - self._clock()
                    if pause > 0:
                        self._changed.wait(min(pause, threading.TIMEOUT_MAX))

    def _before_fork(self) -> None:
        if not self._changed.acquire(timeout=LOCK_PATIENCE):
            return
        try:
            self._is_paused = True
            thread = self._thread
            # Nothing can stop a job; and one that forks is in that very thread.
            if thread is None or self._is_busy:
                return
            self._changed.notify_all()
        finally:
            self._changed.release()
        thread.join(FORK_PATIENCE)
        until = time.monotonic() + KERNEL_PATIENCE
        while Path(f"/proc/self/task/{thread.native_id}").exists() and time.monotonic() < until:
            time.sleep(KERNEL_PATIENCE / 1000)

    def _after_fork(self) -> None:
        if not self._is_paused:
            return
        with self._changed, contextlib.suppress(ScheduleThreadError):  # the next job tries again
            self._is_paused = False
            if self._queue and not self._is_closed:
                self._start("what waited for a fork")

    def _in_child(self) -> None:
        # The lock may have been held by a thread that this process does not have. Jobs to run at once are the
        # parent's, which runs them; what is due later concerns caches of which the child now has its own copies.
        self._changed = threading.Condition()
        self._thread = None
        self._is_busy = self._is_paused = False
        now = self._clock()
        self._queue = [item for item in self._queue if item[0] > now or item[2].interval is not None]
        heapq.heapify(self._queue)
        if self._queue and not self._is_closed:
            with self._changed, contextlib.suppress(ScheduleThreadError):  # the next job tries again
                self._start("what is due later")


def _call_hook(hook: _Hook | None) -> None:
    if hook is None:
        return
    try:
        hook()
    except Exception:  # as with jobs: nobody to tell but the log
        logger.exception("A hook around background jobs failed")


_alive: weakref.WeakSet[Scheduler] = weakref.WeakSet()

scheduler = Scheduler()
submit = scheduler.submit
after = scheduler.after
every = scheduler.every
run_around = scheduler.run_around


def _each(do: Callable[[Scheduler], None]) -> Callable[[], None]:
    def do_each() -> None:
        for one in list(_alive):
            do(one)

    return do_each


atexit.register(scheduler.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each(Scheduler._before_fork),
        after_in_parent=_each(Scheduler._after_fork),
        after_in_child=_each(Scheduler._in_child),
    )
