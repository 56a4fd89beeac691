"""For tests, ours and users': a clock driven by hand, empty caches before each test, time that follows `time.time`.

pytest users get it through the plugin in pytest_plugin.py, Django's test runner through oxicache.django; anybody else
calls `isolate_unittest()` once, or `isolated()` around a test.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from oxicache import _native, loader, scheduling
from oxicache.registry import DELETION_SET, cache_manager
from oxicache.versions import version_words

__all__ = [
    "Clock",
    "clock",
    "follow_time",
    "is_strict",
    "isolate_unittest",
    "isolated",
    "keep_words_private",
    "real_clock",
    "release_words",
    "reset",
    "run_background",
    "stop_following",
    "strict",
]

FREEZEGUN_DEPTH = 5  # freezegun's `call_stack_inspection_limit`

_Apply = Callable[[], None]

# Where the engine takes its time from, innermost last. The engine cannot be asked, so what comes back when a
# driven clock is left has to be remembered here.
_sources: list[_Apply] = [_native.clock_system]


def reset() -> None:
    """Empty every registered cache, `DELETION_SET` and the table of running loads; counters start from zero.

    Registered are those of CACHES, too, that are a NativeCache; what this thread missed in them is forgotten. A load
    that is still running goes on, and what it brings is not stored. Caches not registered stay as they are.
    """
    for name in cache_manager.names():
        cache = cache_manager._caches.get(name)
        if cache is not None:  # another thread may have removed it since
            cache.clear()
            cache.reset_stats()
    DELETION_SET.clear_all()
    loader.forget_flights()
    _native.tokens_forget()


class Clock:
    """Engine time driven by hand. It stands still until `advance` moves it.

    `time.time` is not touched, so `DELETION_SET`, which reads that, is not driven.
    """

    def __init__(self, start: float | None = None) -> None:
        """Begin at `start` seconds of engine time; None is wherever engine time is when the clock is entered."""
        self._start = start
        self._at: float | None = None

    @property
    def now(self) -> float:
        """Engine time in seconds."""
        return _native.now() if self._at is None else self._at

    def advance(self, seconds: float | timedelta) -> float:
        """Move time on, and return where it is now. ValueError for a step back: deadlines are not made for it."""
        if self._at is None:
            raise RuntimeError("The clock drives time only inside its `with` block.")
        step = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if not step >= 0:
            raise ValueError(f"Engine time cannot go back: advance({seconds!r}).")
        self._at += step
        _sources[-1]()
        return self._at

    def _apply(self) -> None:
        assert self._at is not None, "an entered clock has a time"
        _native.clock_drive(self._at)

    def __enter__(self) -> Self:
        if self._at is not None:
            raise RuntimeError("The clock drives time already; a clock within it is another clock().")
        self._at = _native.now() if self._start is None else float(self._start)
        _push(self._apply)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _pop(self._apply)
        self._at = None
        # Deadlines set in driven time mean nothing in any other.
        cache_manager.clear_all()


def clock(start: float | None = None) -> Clock:
    """Give a clock that drives engine time in its `with` block, by `advance(61)` and the like.

    Leaving the block empties the registered caches.
    """
    return Clock(start)


def follow_time() -> None:
    """Let the engine ask `time.time` for the time, as it is patched at that moment, until `stop_following`."""
    if _follow not in _sources:
        _sources.insert(1, _follow)
    _sources[-1]()  # also when it is not new: somebody may have set the engine's clock without this module


def stop_following() -> None:
    """Undo `follow_time`."""
    if _follow in _sources:
        _pop(_follow)


def real_clock() -> AbstractContextManager[None]:
    """Inside the block the engine counts by its own monotonic clock, whatever is patched."""
    return _source(_native.clock_system)


@contextmanager
def _source(apply: _Apply) -> Iterator[None]:
    _push(apply)
    try:
        yield
    finally:
        _pop(apply)


def _push(apply: _Apply) -> None:
    _sources.append(apply)
    apply()


def _pop(apply: _Apply) -> None:
    last = max(index for index, source in enumerate(_sources) if source == apply)
    del _sources[last]
    _sources[-1]()


def _follow() -> None:
    _native.clock_follow(_wall)


def _wall() -> float:
    return _wall_from(FREEZEGUN_DEPTH) if "freezegun" in sys.modules else time.time()


def _wall_from(depth: int) -> float:
    # freezegun gives the real time to a caller near whom it sees `threading` or `queue`. A cache that a thread's
    # target asks directly would then live in another year than the test that filled it; frames of our own in
    # between keep every caller in frozen time.
    return _wall_from(depth - 1) if depth else time.time()


def keep_words_private() -> None:
    """Let this process share its invalidations with no other until `release_words`: a site may run on this host."""
    version_words.keep_private("tests run in this process")


def release_words() -> None:
    """Undo `keep_words_private`."""
    version_words.release()


_is_strict: ContextVar[bool] = ContextVar("oxicache_strict", default=False)


@contextmanager
def strict() -> Iterator[None]:
    """Inside the block what is a warning about a cached view's responses is an error: `LeakError`."""
    token = _is_strict.set(True)
    try:
        yield
    finally:
        _is_strict.reset(token)


def is_strict() -> bool:
    """Whether the caller is inside a `strict` block."""
    return _is_strict.get()


_running: list[bool] = []  # not empty while a test runs: a test that runs tests is isolated once


@contextmanager
def isolated(*, engine_clock: bool = False, background: bool = True) -> Iterator[None]:
    """Run one test: `reset()` before it, engine time from `time.time` and private version words from then on.

    `engine_clock`: this test counts by the engine's own clock. `background=False`: no background thread runs during
    it; `run_background()` does what is due. A block inside another does nothing.
    """
    if _running:
        yield
        return
    _running.append(True)
    try:
        follow_time()
        keep_words_private()
        with real_clock() if engine_clock else nullcontext(), nullcontext() if background else _no_thread():
            reset()
            yield
    finally:
        _running.clear()


def run_background() -> int:
    """Run in this thread what waits for the background thread and is due; return how many jobs ran."""
    return scheduling.scheduler.run_due()


@contextmanager
def _no_thread() -> Iterator[None]:
    # A thread would see another database than a test whose transaction is rolled back, and would outlive the test.
    scheduler = scheduling.scheduler
    threaded, scheduler._is_threaded = scheduler._is_threaded, False
    try:
        yield
    finally:
        for _, _, job in list(scheduler._queue):
            if job.interval is None:  # what runs again and again was asked for when the project was set up
                job.cancel()
        scheduler._is_threaded = threaded


def isolate_unittest(
    active: Callable[[], bool] | None = None, *, background: bool = True
) -> Callable[[], None]:
    """Have `unittest.TestCase` run each test `isolated()`; return the function that undoes it.

    `active` is asked before each test whether to; None is always. A test case with `oxicache_real_clock = True` keeps
    the engine's own clock. `background` as for `isolated`. Covers Django's test cases, and parallel runs.
    """
    import unittest  # here: pytest users without a unittest.TestCase need not load it

    original = unittest.TestCase.run
    undone: list[bool] = []

    @functools.wraps(original)
    def run(self: unittest.TestCase, result: Any = None) -> Any:
        if undone or (active is not None and not active()):
            return original(self, result)
        engine_clock = getattr(self, "oxicache_real_clock", False)
        with isolated(engine_clock=engine_clock, background=background):
            return original(self, result)

    def undo() -> None:
        undone.append(True)  # for when somebody else has wrapped `run` since and calls this one
        if unittest.TestCase.run is run:
            unittest.TestCase.run = original  # type: ignore[method-assign]

    unittest.TestCase.run = run  # type: ignore[method-assign]
    return undo
