"""What the tests of loading share: loads that can be held, callers in threads, engine time moved by hand."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oxicache import TTLCache, loader
from oxicache._native import clock_drive, clock_system
from oxicache.flights import Flight, flights

PATIENCE = 20.0  # seconds after which a test that would hang fails instead


class EngineTime:
    """Engine time in seconds; it stands still until `advance`."""

    def __init__(self) -> None:
        self.at = 1_000.0
        clock_drive(self.at)

    def advance(self, seconds: float) -> None:
        self.at += seconds
        clock_drive(self.at)


@contextmanager
def driven_time() -> Iterator[EngineTime]:
    """Drive engine time, and give it back to the system at the end."""
    try:
        yield EngineTime()
    finally:
        clock_system()
        loader.forget_flights()


class Load:
    """A function to compute a value with. It counts its calls; with `holds`, each stays until `go`."""

    def __init__(self, value: Any = "loaded", *, holds: bool = False) -> None:
        self.value = value
        self.calls = 0
        self.begun = threading.Event()
        self._gone = threading.Event()
        if not holds:
            self.go()

    def go(self) -> None:
        self._gone.set()

    def __call__(self) -> Any:
        self.calls += 1
        self.begun.set()
        assert self._gone.wait(PATIENCE), "nobody let this load go"
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    async def awaited(self) -> Any:
        """As a call, for event loops."""
        self.calls += 1
        self.begun.set()
        while not self._gone.is_set():  # noqa: ASYNC110 - a threading.Event, set from outside the loop
            await asyncio.sleep(0)
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Caller(threading.Thread):
    """A thread that makes one call; `outcome()` is what came of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.error: BaseException | None = None
        self.value: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self._call()
        except BaseException as error:  # noqa: BLE001 - the test asks for it
            self.error = error

    def outcome(self) -> Any:
        """Wait for the call; return its value or raise its error."""
        self.join(PATIENCE)
        assert not self.is_alive(), "this call hangs"
        if self.error is not None:
            raise self.error
        return self.value


def together(count: int, call: Callable[[int], Any]) -> list[Caller]:
    """Make `count` calls in threads that begin at the same time."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        barrier.wait(PATIENCE)
        return call(number)

    return [Caller(lambda number=number: one(number)) for number in range(count)]


def until(condition: Callable[[], Any]) -> None:
    """Wait until something holds that another thread brings about and no event tells of."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    raise AssertionError("that did not come about")


async def auntil(condition: Callable[[], Any]) -> None:
    """As `until`, letting the event loop run."""
    for _ in range(int(PATIENCE / 0.002)):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("that did not come about")


def flight_of(cache: TTLCache[Any, Any], key: Any) -> Flight:
    """The load of this key that is under way."""
    return flights._table[id(cache), key]


def waiters_of(cache: TTLCache[Any, Any], key: Any) -> int:
    """How many wait for it."""
    return len(flight_of(cache, key)._waiters)
