"""A cache that fails is a miss, one log line and one count; the caller's own exceptions pass."""

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import child_process
import pytest
from loads import Load

from oxicache import TTLCache, store
from oxicache._native import MISSING
from oxicache.loader import Loader
from oxicache.store import LoadStore, attempt


@pytest.fixture(autouse=True)
def _from_zero() -> Iterator[None]:
    store.forget_failures()
    yield
    store.forget_failures()


class FailingCache:
    """A cache whose every operation raises."""

    name = "broken"
    grace = 60.0
    early_refresh = 1.0

    def __init__(self, error: Exception) -> None:
        self.error = error

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise self.error

    get = peek = set = delete = delete_by_tag = clear = _fail
    _token = _is_current = _fill = _loaded = _stale = _early = _fail


@pytest.mark.parametrize("error", [MemoryError(), OSError("gone"), RuntimeError("poisoned")], ids=repr)
def test_a_failing_cache_costs_a_load_and_nothing_else(error: Exception) -> None:
    """Every operation may fail, and the caller gets its value, in threads and tasks."""
    broken: LoadStore = FailingCache(error)
    load = Load()
    assert [Loader(broken).load("a", load) for _ in range(2)] == ["loaded"] * 2
    assert asyncio.run(Loader(broken).aload("a", load.awaited)) == "loaded"
    assert load.calls == 3
    assert store.failure_counts()["broken"] >= 3


def test_the_callers_own_exception_passes() -> None:
    """What the load raises is raised even where the cache fails too."""
    with pytest.raises(ZeroDivisionError):
        Loader(FailingCache(OSError())).load("a", lambda: 1 / 0)


def test_a_failure_is_logged_once_and_counted_each_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that fails all day does not fill the log: one line per operation and kind, until the interval is over."""
    at = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: at)
    broken = FailingCache(OSError("gone"))
    for _ in range(5):
        assert attempt(broken, broken.get, MISSING, "a", MISSING) is MISSING
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "'broken'" in caplog.records[0].getMessage()
    assert "gone" in caplog.records[0].getMessage()
    broken.error = MemoryError()
    attempt(broken, broken.get, MISSING, "a", MISSING)
    assert len(caplog.records) == 2, "another kind of failure is news"
    at += 30
    attempt(broken, broken.get, MISSING, "a", MISSING)
    assert len(caplog.records) == 3
    assert store.failure_counts() == {"broken": 7}


def test_a_cache_without_a_name_is_called_by_its_class() -> None:
    """A failure is counted in any case."""
    cache: TTLCache[Any, Any] = TTLCache(1, 1)
    attempt(cache, cache.get, None, [], None)
    assert store.failure_counts() == {"TTLCache": 1}


def test_the_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches that come and go leave only so many names behind."""
    monkeypatch.setattr(store, "MAX_KINDS", 3)
    for number in range(10):
        broken = FailingCache(OSError())
        broken.name = f"broken {number}"
        attempt(broken, broken.get, None, "a", None)
    assert len(store.failure_counts()) == 3


def test_a_failure_may_meet_another_anywhere() -> None:
    """A signal handler or a finaliser may run between any two lines of the bookkeeping and meet a failing cache too."""
    child_process.check(
        """
        import sys

        from oxicache import store

        class Broken:
            name = "broken"

        def fail():
            raise OSError("gone")

        def interrupt(frame, event, argument):
            frame.f_trace_opcodes = True
            if event == "opcode" and frame.f_code.co_filename == store.__file__:
                sys.settrace(None)
                store.attempt(Broken(), fail, None)
                store.failure_counts()
                sys.settrace(interrupt)
            return interrupt

        store.logger.disabled = True
        sys.settrace(interrupt)
        store.attempt(Broken(), fail, None)
        sys.settrace(None)
        assert store.failure_counts()["broken"] > 50
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_amid_failures_leaves_no_lock_behind() -> None:
    """A child whose parent's threads were noting failures notes its own."""
    child_process.check(
        """
        import os
        import signal
        import sys
        import threading

        from oxicache import store

        class Broken:
            name = "broken"

        def fail():
            raise OSError("gone")

        def go_on():
            while True:
                store.attempt(Broken(), fail, None)

        store.logger.disabled = True
        sys.setswitchinterval(1e-5)
        for _ in range(3):
            threading.Thread(target=go_on, daemon=True).start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(10)  # ends a child that hangs
                store.attempt(Broken(), fail, None)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        """
    )


def test_a_native_cache_is_a_store() -> None:
    """TTLCache has what the protocol asks for."""
    cache: LoadStore = TTLCache(1, 1)
    members = {name for kind in (store.Store, LoadStore) for name in vars(kind) if not name.startswith("__")}
    members |= set(LoadStore.__annotations__) | set(store.Store.__annotations__)
    wanted = {name for name in members if not name.startswith(("_abc", "_is_"))}
    assert {name for name in wanted if not hasattr(cache, name)} == set()
    assert "_fill" in wanted
