"""Forks of a process with a control socket, and its end: nothing hangs or aborts, and each process has its own."""

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from child_process import CHILD_SECONDS, LIMIT_SECONDS, check, check_call, in_child
from control_worker import Client, ask, result, short_folder, sockets

from oxicache import _native

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control sockets are served on Linux")

NOTHING = {"serving": False, "path": None, "reason": None, "answered": 0, "refused": 0}


def serve(folder: str) -> str:
    state = _native.control_start(folder, "shop")
    assert state["serving"], state
    return str(state["path"])


def with_hooks(folder: str) -> None:
    """Fork again and again while a client asks, with hooks as the Django app has them."""
    warnings.simplefilter("error")
    os.register_at_fork(before=_native.control_stop, after_in_parent=lambda: serve(folder))
    _native.control_answer(lambda verb, arguments: "{}")

    def child() -> None:
        assert _native.control_state() == NOTHING
        assert sockets() == 0
        path = serve(folder)
        assert result(ask(path, "trail")) == {}
        # A fork of the fork.
        in_child(lambda: result(ask(serve(folder), "health")))
        result(ask(_native.control_state()["path"], "health"))
        _native.control_stop()
        assert not Path(path).exists()

    path = serve(folder)
    for _ in range(30):
        result(ask(path, "trail"))  # so that there is a clerk
        in_child(child)
        assert not Path(path).exists()
        path = _native.control_state()["path"]
        result(ask(path, "health"))
    assert _native.control_state()["answered"] == 60


def test_forks_with_hooks() -> None:
    """Threads are gone before the fork, so nothing warns; child and parent serve sockets of their own afterwards."""
    with short_folder() as folder:
        check_call_strictly(with_hooks, str(folder))


def check_call_strictly(function: Callable[..., None], *arguments: str) -> None:
    """As `check_call`, with the warning of forks beside threads that CPython 3.12 and later give."""
    source = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from {Path(__file__).stem} import {function.__name__}
{function.__name__}(*{arguments!r})
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def without_hooks(folder: str) -> None:
    """Fork while both threads live: no hook of this process's is registered that would stop them."""
    _native.control_answer(lambda verb, arguments: "{}")
    path = serve(folder)
    result(ask(path, "trail"))
    name = Path(path).name

    def child() -> None:
        before = sockets()
        assert _native.control_state() == NOTHING
        assert sockets() == before - 1, "the listener of the parent is closed"
        own = serve(folder)
        assert {found.name for found in Path(own).parent.iterdir()} == {name, Path(own).name}
        assert result(ask(own, "trail")) == {}
        assert _native.control_state()["answered"] == 1
        assert result(ask(path, "trail")) == {}
        _native.control_stop()

    for _ in range(20):
        in_child(child)
        result(ask(path, "trail"))
    _native.control_stop()


def test_forks_without_hooks() -> None:
    """A child of a fork that nobody prepared begins anew, and leaves the parent's socket alone."""
    with short_folder() as folder:
        check_call(without_hooks, str(folder))


def hammer(path: str) -> None:
    """Ask without pause, until nobody answers."""
    with contextlib.suppress(OSError):
        while True:
            with Client(path) as client:
                for verb in ("trail", "stats", "clear", "health"):
                    client.ask(verb)


def while_forking(folder: str) -> None:
    """Fork without hooks while clients of another process ask without pause: a lock may be held at any instant."""
    _native.control_answer(lambda verb, arguments: "{}")
    path = serve(folder)
    here = str(Path(__file__).parent)
    source = f"import sys; sys.path[:0] = [{here!r}]; import test_control_forks as t; t.hammer({path!r})"
    clients = [subprocess.Popen([sys.executable, "-c", source]) for _ in range(2)]
    while _native.control_state()["answered"] < 10:
        pass
    for _ in range(60):
        in_child(lambda: result(ask(serve(folder), "config")))
    _native.control_stop()
    for client in clients:
        client.wait(CHILD_SECONDS)


def test_forks_without_hooks_under_load() -> None:
    """However busy the threads are, the child of such a fork serves or says why not, and does not hang."""
    with short_folder() as folder:
        check_call(while_forking, str(folder))


# ---------------------------------------------------------------- the end

PRELUDE = """
import atexit, ctypes, itertools, os, sys, threading, time
from control_worker import Client, ask, result
from oxicache import _native

path = _native.control_start(FOLDER, "shop")["path"]
never, inside = threading.Event(), threading.Semaphore(0)

def answer(verb, arguments):
    if "wait" in arguments:
        inside.release()
        never.wait()
    return "{}"

def send(**arguments):
    client = Client(path)
    client.send("warm", **arguments)
    return client

_native.control_answer(answer)
result(ask(path, "warm"))
"""

ENDS = {
    "idle": "",
    "inside-python": "kept = send(wait=1)\ninside.acquire()",
    "waiting-for-the-gil": "kept = send()\nctypes.PyDLL(None).usleep(50_000)",
    "asked-at-once": "kept = [send() for _ in range(8)]",
    "orders": "kept = Client(path)\nkept.send('clear')",
    "asked-all-the-time": """
def work():
    try:
        while True:
            with Client(path) as client:
                for _ in range(10):
                    client.send("warm")
                    client.send("stats")
                    client.answer(), client.answer()
    except OSError:  # it was stopped
        never.wait()

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(next_seconds())
""",
    "stopping-in-a-daemon-thread": """
def work():
    while True:
        _native.control_start(FOLDER, "shop")
        _native.control_stop()

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(next_seconds())
""",
}
LEAVE = {
    "plain": "",
    "stopped": "atexit.register(_native.control_stop, for_good=True)\n",
}


@pytest.mark.parametrize("ending", ENDS)
@pytest.mark.parametrize("leave", LEAVE)
def test_the_end_of_the_interpreter(leave: str, ending: str, folder: Path) -> None:
    """Whatever the threads are at, the process ends with exit code 0 and says nothing."""
    for number in range(4):
        begin = f"FOLDER, next_seconds = {str(folder)!r}, lambda: {number} / 100\n"
        check(begin + PRELUDE + LEAVE[leave] + ENDS[ending])


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found


def test_stopped_for_good(folder: Path) -> None:
    """After the last stop nothing starts any more, and no socket is left."""
    check(
        f"FOLDER = {str(folder)!r}\n"
        + PRELUDE
        + """
_native.control_stop(for_good=True)
assert not os.path.exists(path)
state = _native.control_start(FOLDER, "shop")
assert (state["serving"], state["reason"]) == (False, "the process is about to end")
assert _native.control_state() == state
"""
    )
    assert [found for found in folder.rglob("*") if not found.is_dir()] == []
