"""Where the demo writes: colour and progress bars on a terminal, plain lines everywhere else.

What is written is decided elsewhere (report.py, data.py, server.py).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from oxicache.tables import Style, is_terminal

PLAIN_STEPS = 5  # lines that a load writes where a bar would be noise: a log wants to see it move, no more


class Steps(Protocol):
    """What a load reports to: so many more are done."""

    def update(self, n: int, /) -> object:
        """Count n more as done."""


class PlainSteps:
    """Progress as a few whole lines, for files and pipes."""

    def __init__(self, console: "Console", what: str, total: int) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._done = 0
        self._said = 0

    def update(self, n: int, /) -> None:
        """Count n more; say so at each fifth of the total."""
        self._done += n
        step = self._done * PLAIN_STEPS // max(self._total, 1)
        if step > self._said:
            self._said = step
            self._console.say(f"  {self._done:,} of {self._total:,} {self._what}")


class Console:
    """One stream, and whether it is a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.terminal = is_terminal(self.stream)
        self._style = Style.of(self.stream)

    def say(self, text: str = "") -> None:
        """Write one line, at once: a pipe should see it while the demo goes on."""
        print(text, file=self.stream, flush=True)

    def transient(self, text: str) -> None:
        """Show on a terminal what goes on, until the next line, which must not be shorter, is written over it."""
        if self.terminal:
            print(text, end="\r", file=self.stream, flush=True)

    def heading(self, text: str) -> None:
        """Write the title of a part of the run."""
        self.say()
        self.say(self.paint(text, "bold"))

    def paint(self, text: str, style: str) -> str:
        """Colour the text if this is a terminal; pad it first, as the codes have a length of their own."""
        return self._style.paint(text, style)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Steps]:
        """Show that work goes on: a bar on a terminal, a few lines elsewhere."""
        if not self.terminal:
            yield PlainSteps(self, what, total)
            return
        from tqdm import tqdm

        with tqdm(total=total, unit=" " + what, unit_scale=False, file=self.stream, leave=False) as bar:
            yield bar
