"""The engine's clock, driven by hand for the tests of the native half.

`oxicache.testing` has the one for users; it stands on the same two calls and is tested by its own file.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from oxicache._native import clock_drive, clock_system

START = 1_000.0


class Clock:
    """Engine time that moves only when told, in seconds."""

    def __init__(self, at: float = START) -> None:
        self.at = at
        clock_drive(at)

    def advance(self, seconds: float) -> float:
        """Let `seconds` pass; what time it is then."""
        self.at += seconds
        clock_drive(self.at)
        return self.at


@contextmanager
def driven(at: float = START) -> Iterator[Clock]:
    """Freeze engine time at `at`, and give it back to the system's clock at the end."""
    clock = Clock(at)
    try:
        yield clock
    finally:
        clock_system()
