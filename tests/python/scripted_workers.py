"""Workers that do as a test tells them: sockets in a short folder, each served by a thread of the test's own."""

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeAlias

Script: TypeAlias = Callable[[socket.socket, bytes], None]

LIMIT_SECONDS = 60  # only a hang reaches it
_NONCES = count(0xA0)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder of mode 0700 whose path leaves room for a socket's name: pytest's do not."""
    folder = Path(tempfile.mkdtemp(prefix="ox"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answer(result: dict[str, Any], *, pid: int = 1) -> bytes:
    """The line of a worker that did as it was told."""
    return json.dumps({"v": 1, "ok": True, "pid": pid, "started": 1.5, "result": result}).encode() + b"\n"


def says(line: bytes) -> Script:
    """Send `line`, whatever was asked."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(line)

    return script


class ScriptedWorker:
    """One socket, and a thread that runs `script(connection, request)` for each connection that asks something."""

    def __init__(self, folder: Path, pid: int, script: Script) -> None:
        self.path = folder / f"{pid}-77-{next(_NONCES):x}.sock"
        self.asked: list[Any] = []
        self.released = threading.Event()  # set at the end: what a slow script waits for
        self._script = script
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        # Ends the `accept` that the thread is in; closing alone would leave it there.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT_SECONDS)
        self._listener.close()

    def wait(self) -> None:
        """What a worker does that answers too late."""
        assert self.released.wait(LIMIT_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):  # who asked may have heard enough
                line = connection.makefile("rb").readline()
                if line:  # who only looks whether somebody is there says nothing
                    self.asked.append(json.loads(line))
                    self._script(connection, line)


@contextlib.contextmanager
def scripted(folder: Path, *scripts: Script) -> Iterator[list[ScriptedWorker]]:
    """A worker for each script, with pids from 1 on."""
    with contextlib.ExitStack() as stack:
        workers = [ScriptedWorker(folder, pid, script) for pid, script in enumerate(scripts, 1)]
        yield [stack.enter_context(worker) for worker in workers]


def dead_socket(folder: Path, pid: int) -> Path:
    """What a worker leaves behind that was killed: a socket at which nobody listens."""
    path = folder / f"{pid}-77-{next(_NONCES):x}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
    assert os.path.lexists(path)
    return path
