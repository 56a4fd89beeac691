"""A process that takes samples when it is told to, for what cannot be compared within one process."""

import subprocess
import sys


class Child:
    """One process that runs `script`: it answers each line with a line, and says one number before the first."""

    def __init__(self, script: str, *arguments: str) -> None:
        command = [sys.executable, script, *arguments]
        self.process = subprocess.Popen(  # noqa: S603 (a script of this folder)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._read()

    def answer(self, line: int | str) -> int:
        """What it answers to a number, or to a line of its own kind."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._read()

    def end(self) -> None:
        """Let it end, and wait for that."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def _read(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())
