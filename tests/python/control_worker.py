"""A process with a control socket, told through a pipe what to do; and a client of such sockets.

Run as a program this is the process; imported by tests, `Worker` talks to it.
"""

import contextlib
import ctypes
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from piped_process import PipedProcess

from oxicache import _native

NOBODY = 65534
LIMIT_SECONDS = 30  # far beyond what any answer takes: only a hang reaches it


class Client:
    """One connection to a control socket."""

    def __init__(self, path: str | Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_SECONDS)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.lines = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()

    def send(self, verb: str, **arguments: object) -> None:
        self.socket.sendall(json.dumps({"v": 1, "verb": verb, **arguments}).encode() + b"\n")

    def answer(self) -> Any:
        """The next answer; None at the end."""
        line = self.lines.readline()
        return json.loads(line) if line else None

    def ask(self, verb: str, **arguments: object) -> Any:
        self.send(verb, **arguments)
        return self.answer()


def ask(path: str | Path, verb: str, **arguments: object) -> Any:
    """What one request on a connection of its own is answered."""
    with Client(path) as client:
        return client.ask(verb, **arguments)


def result(answer: Any) -> Any:
    """The result of an answer that has one."""
    assert answer is not None, "no answer"
    assert answer["ok"], answer
    return answer["result"]


def error(answer: Any) -> tuple[str, str]:
    """Which error an answer is, and what it says."""
    assert answer is not None, "no answer"
    assert not answer["ok"], answer
    return answer["error"], answer["message"]


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name, and that a user without rights may enter."""
    folder = Path(tempfile.mkdtemp(prefix="ox"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Worker(PipedProcess):
    """One process; leaving the `with` block kills it."""

    program = __file__

    def __init__(self, directory: Path | str) -> None:
        super().__init__()
        self.directory = str(directory)

    def start(self) -> str:
        """Have it serve its socket; where that is."""
        state = self.tell("start", self.directory)
        assert state["serving"], state
        return str(state["path"])


_held = threading.Event()


def start(directory: str) -> dict[str, Any]:
    _native.control_answer(_answer)
    return _native.control_start(directory, "shop")


def _answer(verb: str, arguments: str) -> str:
    asked = json.loads(arguments)
    match asked.get("do"):
        case "wait":
            _held.wait()
        case "text":
            return str(asked["text"])
        case "surrogate":
            return "\ud800"
        case "number":
            return 5  # type: ignore[return-value]
        case "raise":
            raise getattr(__import__("builtins"), asked["kind"])(asked["message"])
        case "silent":
            raise _SilentError
    return json.dumps({"verb": verb, "asked": asked}, indent=1)


class _SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def release() -> None:
    _held.set()


def hold(seconds: float) -> None:
    """Keep the GIL in a C call, as a stuck extension does."""
    print(json.dumps("holding"), flush=True)
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


_cache: _native.TTLCache[str, Any] = _native.TTLCache(100_000, 60)
_native.cache_manager.register("books", _cache)


def fill(count: int) -> int:
    for number in range(count):
        _cache.set(str(number), number, tags=["even" if number % 2 == 0 else "odd"])
    return len(_cache)


def get(key: str) -> Any:
    return _cache.get(key)


def blocked_signals() -> dict[str, str]:
    """The mask of blocked signals of each thread of this process, by the thread's name."""
    masks = {}
    for task in Path("/proc/self/task").iterdir():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
        masks[status["Name"]] = status["SigBlk"]
    return masks


def sockets() -> int:
    """How many descriptors of this process are sockets."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            count += os.readlink(descriptor).startswith("socket:")  # noqa: PTH115 -- the name is no path
    return count


def become(user: int) -> None:
    os.setgid(user)
    os.setuid(user)


COMMANDS = {
    function.__name__: function
    for function in (start, release, hold, fill, get, blocked_signals, sockets, become)
} | {
    "stop": _native.control_stop,
    "state": _native.control_state,
    "metrics": _native.metrics,
    "is_enabled": _native.is_enabled,
    "describe": _native.control_describe,
    "ask": _native.control_ask,
}


def _main() -> None:
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[name](*arguments)), flush=True)


if __name__ == "__main__":
    _main()
