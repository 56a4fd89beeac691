"""What the contracts of the source documents share: a `time.time` moved by hand, as their callers patch it."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest


class Wall:
    """The wall clock: stands still until it is advanced. Under the pytest plugin the caches follow it."""

    def __init__(self) -> None:
        self.now = float(round(time.time()))

    def advance(self, seconds: float | timedelta) -> None:
        """Move on, or back."""
        self.now += seconds.total_seconds() if isinstance(seconds, timedelta) else seconds


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """`time.time`, moved by hand."""
    wall = Wall()
    monkeypatch.setattr(time, "time", lambda: wall.now)
    return wall


@pytest.fixture(autouse=True)
def _shown_was_used(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have a test fail that takes a block of a document and does not run it."""
    callspec = getattr(request.node, "callspec", None)
    shown = callspec.params.get("shown") if callspec else None
    if shown is None:
        yield
        return
    shown.was_used = False
    yield
    assert shown.was_used, f"{shown.key} was not run"
