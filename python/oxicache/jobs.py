"""Work that an operator handed to this process to be done later: taken on, told of, cancelled.

What is done when it is due is for others to say: `perform_with`. When that is: scheduling.py, which logs jobs that are
lost when the process ends. Who hands it over: operations.schedule, through the control socket.
"""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from oxicache import scheduling
from oxicache.selection import EVERYTHING, Selection

__all__ = ["answer", "perform_with", "spelt"]

logger = logging.getLogger("oxicache.jobs")

Perform: TypeAlias = Callable[
    [Selection, bool, bool], str
]  # with cascade and foreign; what came of it, for the log

MAX_DELAY: Final = 30 * 86_400.0  # seconds; no worker lives as long, so that more is a slip of the keyboard


class _Performer:
    """What this process does when a job is due; nothing until somebody said so."""

    def __init__(self) -> None:
        self.invalidate: Perform | None = None


@dataclass(eq=False)
class _Work:
    """One job, called when it is due. Its name in logs is how it reads."""

    id: str
    selection: Selection
    cascade: bool
    foreign: bool
    due: float  # seconds since 1970

    def __call__(self) -> None:
        with _lock:
            _waiting.pop(self.id, None)
        assert _performer.invalidate is not None, "taken on only where there is one"
        done = _performer.invalidate(self.selection, self.cascade, self.foreign)
        logger.info("Job %s, %s: %s", self.id, self, done)

    def __repr__(self) -> str:
        """What the log of lost and failed jobs calls it."""
        return f"invalidation of {self.selection} (job {self.id})"


_lock = threading.Lock()
_performer = _Performer()
_waiting: dict[str, tuple[_Work, scheduling.Job]] = {}


def perform_with(invalidate: Perform | None) -> None:
    """Say what invalidates a selection in this process. None: no job is taken on."""
    _performer.invalidate = invalidate


def spelt(selection: Selection) -> dict[str, Any]:
    """Return a selection as JSON has it, without what it leaves open. Ids that JSON does not know become text."""
    given = {one.name: getattr(selection, one.name) for one in fields(selection)}
    return {name: _plain(value) for name, value in given.items() if value != getattr(EVERYTHING, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def answer(given: Mapping[str, Any]) -> dict[str, Any]:
    """Answer the control verb `schedule`: take a job on, cancel one, or list those that wait.

    ValueError for arguments that mean nothing, NotImplementedError where nothing can be done in this process.
    """
    operation = given.get("operation")
    if operation == "invalidate":
        return _taken_on(given)
    if operation == "cancel":
        return {"cancelled": _cancel(str(given.get("job")))}
    if operation == "list":
        return {"jobs": _listed()}
    raise ValueError(f"operation is {operation!r}; it must be invalidate, cancel or list")


def _taken_on(given: Mapping[str, Any]) -> dict[str, Any]:
    if _performer.invalidate is None:
        raise NotImplementedError("schedule: not configured")
    delay = given.get("delay")
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not math.isfinite(delay):
        raise ValueError(f"delay is {delay!r}; it must be a number of seconds")
    if not 0 <= delay <= MAX_DELAY:
        raise ValueError(f"delay is {delay!r} seconds; it must be from 0 to {MAX_DELAY:g}")
    selection = _selection(given.get("selection"))
    work = _Work(
        str(uuid.uuid4()),
        selection,
        given.get("cascade") is True,
        given.get("foreign") is not False,
        time.time() + delay,
    )
    with _lock:  # so that it does not run before it is known
        _waiting[work.id] = (work, scheduling.after(delay, work))
    return {"job": work.id, "due": work.due, "what": str(selection)}


def _selection(given: Any) -> Selection:
    if not isinstance(given, Mapping):
        raise ValueError(f"selection is {given!r}; it must be an object")  # noqa: TRY004 -- what the socket answers with
    known = {one.name for one in fields(Selection)}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"selection has {', '.join(unknown)}, which is none of {', '.join(sorted(known))}")
    try:
        rows = tuple((model, pk) for model, pk in given.get("rows", ()))
        selection = Selection(**{**given, "rows": rows})
    except TypeError as error:
        raise ValueError(f"selection: {error}") from error
    if selection.is_everything:
        raise ValueError("selection names nothing; everything is not removed by a job")
    return selection


def _cancel(job: str) -> bool:
    with _lock:
        found = _waiting.pop(job, None)
    if found is None:
        return False
    found[1].cancel()
    return True


def _listed() -> list[dict[str, Any]]:
    with _lock:
        waiting = [work for work, _ in _waiting.values()]
    return [{"job": work.id, "what": str(work.selection), "due": work.due} for work in waiting]
