"""A program on a terminal of its own, read and typed to by a test."""

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from child_process import interruptible

LIMIT_SECONDS = 60  # only a hang reaches it


@dataclass
class Terminal:
    """What the program has written so far, and a keyboard."""

    process: subprocess.Popen[bytes]
    handle: int
    written: str = field(default="")

    def read_until(self, text: str, times: int = 1) -> str:
        """Wait until it has written `text` so often; what it has written by then."""
        until = time.monotonic() + LIMIT_SECONDS
        while self.written.count(text) < times:
            left = until - time.monotonic()
            ready, _, _ = select.select([self.handle], [], [], max(left, 0))
            assert ready, f"{text!r} was not written:\n{self.written}"
            assert self._read(), f"it ended without writing {text!r}:\n{self.written}"
        return self.written

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self.handle, text.encode())

    def end(self) -> int:
        """Wait for its end; the exit code."""
        while self._read():
            pass
        return self.process.wait(LIMIT_SECONDS)

    def _read(self) -> bool:
        try:
            part = os.read(self.handle, 65_536)
        except OSError:  # the other end is closed: EIO on Linux
            return False
        self.written += part.decode(errors="replace")
        return bool(part)


@contextlib.contextmanager
def on_terminal(command: Sequence[str], env: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a program whose input and output are a terminal."""
    own, theirs = pty.openpty()
    try:
        with interruptible():
            process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(env))
    finally:
        os.close(theirs)
    try:
        yield Terminal(process, own)
    finally:
        process.kill()
        process.wait(LIMIT_SECONDS)
        os.close(own)
