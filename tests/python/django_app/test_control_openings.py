"""A fork beside a thread that is just opening the control socket."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_worker import short_folder

from oxicache import _native
from oxicache.django import control

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control sockets are served on Linux")


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found
        _native.control_stop()


def test_a_fork_waits_for_a_socket_that_is_being_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the thread of the socket would start between the look for it and the fork."""
    process = control._Process()
    process.pid = os.getpid()
    monkeypatch.setattr(control, "_process", process)
    monkeypatch.setattr(control, "OPENING_SECONDS", 60.0)
    process.lock.acquire()  # as `serve` does
    forking = threading.Thread(target=control._before_fork)
    forking.start()
    forking.join(0.05)
    assert forking.is_alive()
    assert _native.control_start(str(folder), "opened")["serving"]
    process.lock.release()
    forking.join()
    assert not _native.control_state()["serving"]
    assert process.was_serving


def test_a_fork_by_whoever_opens_it_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler of the log that forks, say: it is let pass after a moment."""
    process = control._Process()
    process.pid = os.getpid()
    monkeypatch.setattr(control, "_process", process)
    monkeypatch.setattr(control, "OPENING_SECONDS", 0.01)
    with process.lock:
        assert _native.control_start(str(folder), "opened")["serving"]
        control._before_fork()
        assert process.lock.locked()
    assert not _native.control_state()["serving"]
