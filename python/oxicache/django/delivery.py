"""Telling the other workers what their named caches are to forget: values that no process shares.

What lies in version words they see by themselves. What is asked for within a few milliseconds is one request, sent by
a background thread; whoever wants to know what came of it waits for the `Round`. Nobody is told while tests run, and
where CONTROL is off.
"""

import atexit
import json
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from oxicache import workers
from oxicache.django import conf, control
from oxicache.errors import OxicacheError
from oxicache.scheduling import Scheduler
from oxicache.store import Store, attempt
from oxicache.wire import REQUEST_MAX_BYTES, Answers, Worker

__all__ = ["Round", "announce", "flush", "tell_all"]

PAUSE: Final = 0.005  # seconds that requests are gathered for
BUSY_PAUSE: Final = 0.05  # and as many between two rounds: of n workers each is asked by all others
LATE: Final = 1.0  # seconds after which a round is not left to a thread that does not come to run
MOST_NAMES: Final = 1000  # of one request: a worker carries them out between two operations of others
MOST_BYTES: Final = REQUEST_MAX_BYTES // 2  # of the names of one request; they are escaped once more
KINDS: Final = ("tags", "keys", "globs", "regexes")


class _Delivery:
    """Whose failures `store.attempt` counts and logs here."""

    name = "invalidation of other workers"


_STORE = cast("Store", _Delivery())


class NotDeliveredError(OxicacheError):
    """Workers that live did not confirm that they have forgotten what they were told to."""


class Round:
    """What is told in one go, and what came of it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.wanted: dict[tuple[str | None, str], dict[str, None]] = {}  # names, by cache and kind
        self._told: list[tuple[Iterable[str] | None, Mapping[str, Iterable[str]]]] = []  # not among them yet
        self.missing: dict[int, str] = {}  # pids of workers that did not confirm, and why
        self.removed = 0  # entries that the others had
        self.is_scheduled = self.is_taken = self.is_confirmed = False
        self.since = time.monotonic()
        self._ended = threading.Event()

    @property
    def is_done(self) -> bool:
        """Whether every worker was asked."""
        return self._ended.is_set()

    def add(self, caches: Iterable[str] | None, names: Mapping[str, Iterable[str]]) -> None:
        """Tell these too: names by kind, to the caches of these names or to all. They are joined by who sends."""
        self._told.append((caches, names))

    def _join(self) -> None:
        for caches, names in self._told:
            for kind, given in names.items():
                for cache in [None] if caches is None else caches:
                    self.wanted.setdefault((cache, kind), {}).update(dict.fromkeys(given))
        self._told.clear()

    def wait(self, timeout: float) -> bool:
        """Wait until the workers have confirmed, `timeout` seconds at most; whether all of them have.

        Where the round has not begun, this thread sends it.
        """
        _send(self, min(timeout, workers.DEADLINE))
        return self._ended.wait(timeout) and self.is_confirmed

    def send(self, deadline: float) -> bool:
        """Ask the others; True once they have confirmed. NotDeliveredError names those that did not."""
        others = _others()
        self._join()
        for cache, request in self._requests() if others else ():
            answers = workers.ask(others, request, deadline)
            self._hear(answers, cache)
            others = [
                one for one in others if one.pid not in self.missing
            ]  # one that hangs is waited for once
        if self.missing:
            told = "; ".join(f"{pid}: {why}" for pid, why in sorted(self.missing.items()))
            raise NotDeliveredError(f"{len(self.missing)} workers have not confirmed: {told}")
        return True

    def end(self) -> None:
        """Let go of those who wait."""
        self._ended.set()

    def _requests(self) -> Iterator[tuple[str | None, dict[str, Any]]]:
        for (cache, kind), names in self.wanted.items():
            for some in _parted(list(names)):
                request: dict[str, Any] = {"verb": "invalidate"}
                if kind in {"tags", "keys"}:
                    request[kind] = some
                else:
                    request |= {"patterns": some, "kind": "glob" if kind == "globs" else "regex"}
                # The stores of the Django backend have heard of it already.
                request |= {"stores": False} if cache is None else {"caches": [cache]}
                yield cache, request

    def _hear(self, answers: Answers, cache: str | None) -> None:
        for answer in answers.answers:
            self.removed += sum(number or 0 for number in answer.result.get("invalidated", {}).values())
            if not answer.result.get("done", True):
                self.missing[answer.pid] = "has the order, and has not carried it out yet"
        for worker in answers.silent:
            self.missing[worker.pid] = "did not answer in time"
        for failure in answers.failures:
            if (
                cache is None or failure.error != "unknown_cache"
            ):  # who has no such cache has nothing to forget
                self.missing[failure.worker.pid] = failure.message or failure.error


def _parted(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the names in parts that fit into a request. One that is too long by itself is left to fail there."""
    part: list[str] = []
    size = 0
    for name in names:
        length = len(json.dumps(name)) + 1
        if part and (size + length > MOST_BYTES or len(part) >= MOST_NAMES):
            yield part
            part, size = [], 0
        part.append(name)
        size += length
    if part:
        yield part


def _others() -> list[Worker]:
    own = os.getpid()
    folder = workers.folder_of(conf.runtime_directory(), conf.namespace())
    return [worker for worker in workers.discover(folder) if worker.pid != own]


# ---------------------------------------------------------------- the round that gathers

_scheduler = Scheduler()  # of its own: no slow job is to keep others from being told
_lock = threading.RLock()
_gathering: list[Round] = []  # at most one
_sent_at = [0.0]  # when the last round began, in seconds of the monotonic clock


def announce(caches: Iterable[str] | None, names: Mapping[str, Iterable[str]]) -> Round | None:
    """Have the other workers forget these names, by kind of KINDS, in the named caches or in all of theirs.

    Returns the round that tells them; None where nobody is to be told.
    """
    named = {kind: given for kind in KINDS if (given := tuple(names.get(kind, ())))}
    if not named or _is_off():
        return None
    return _gather(caches, named)


def tell_all(tags: Collection[str], keys: Collection[str], globs: Collection[str]) -> None:
    """Announce names to all caches of the other workers, for who does not ask what becomes of it."""
    if (tags or keys or globs) and not _is_off():
        _gather(None, {"tags": tags, "keys": keys, "globs": globs})


def _gather(caches: Iterable[str] | None, named: Mapping[str, Iterable[str]]) -> Round:
    with _lock:
        if not _gathering:
            _gathering.append(Round())
        current = _gathering[0]
        current.add(caches, named)
        is_first, current.is_scheduled = not current.is_scheduled, True
    if is_first:
        pause = max(PAUSE, _sent_at[0] + BUSY_PAUSE - time.monotonic())
        if attempt(_STORE, _scheduler.after, None, pause, _send_later, current) is None:
            current.is_scheduled = False  # the next one tries again, and the end of the process sends it
    elif time.monotonic() - current.since > LATE:  # uWSGI without threads runs none
        _send(current, workers.DEADLINE)
    return current


def flush() -> None:
    """Send now what was gathered."""
    for current in _gathering.copy():
        _send(current, workers.DEADLINE)


def _is_off() -> bool:
    settings = conf.current()
    return not settings.control or (settings.test_isolation and control.is_testing())


def _send_later(current: Round) -> None:
    _send(current, workers.DEADLINE)


def _send(current: Round, deadline: float) -> None:
    with _lock:
        if current in _gathering:
            _gathering.remove(current)
        if current.is_taken:
            return
        current.is_taken = True
    _sent_at[0] = time.monotonic()
    try:
        current.is_confirmed = attempt(_STORE, current.send, False, deadline)
    finally:
        current.end()


def _forget_parents_rounds() -> None:
    global _lock  # noqa: PLW0603 -- one that another thread held at the fork is held for ever
    _lock = threading.RLock()
    for current in _gathering:
        current.is_taken = True  # by the parent
    _gathering.clear()


# Registered after the scheduler's own, and so called before it: what a command asked for last is not lost.
atexit.register(flush)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_parents_rounds)
