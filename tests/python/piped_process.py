"""A program that is told through a pipe what to do, a line of JSON each, and answers in the same way."""

import json
import os
import subprocess
import sys
from typing import Any, Self


class PipedProcess:
    """One process of `program`; leaving the `with` block ends it."""

    program: str

    def __init__(self, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, name: str, *arguments: object) -> None:
        """Tell it to do something, without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """What it answered to what it was told first."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the worker ended with {self.process.wait(60)}"
        return json.loads(line)

    def tell(self, name: str, *arguments: object) -> Any:
        """Have it do something and answer."""
        self.say(name, *arguments)
        return self.answer()
