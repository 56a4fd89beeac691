"""Invalidations that this process is to do later: taken on, told of, cancelled.

Asked for by code of this process (oxicache.django.invalidation), or handed over by an operator through the control
socket (operations.schedule), and then done by who was named to `perform_with`. When that is: scheduling.py, which logs
jobs that are lost when the process ends.

Nothing here holds a lock: each step is one atomic operation on a dict, so that a fork finds nothing half done.
"""

import logging
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from oxicache import options, scheduling
from oxicache.selection import EVERYTHING, Selection

__all__ = [
    "MAX_DELAY",
    "Waiting",
    "answer",
    "cancel",
    "checked_delay",
    "perform_with",
    "spelt",
    "take_on",
    "waiting",
]

logger = logging.getLogger("oxicache.jobs")

# With cascade and foreign; returns what came of it, for the log.
Perform: TypeAlias = Callable[[Selection, bool, bool], str]
# In these aliases, or only counted; returns by alias what an operator is told.
PerformHere: TypeAlias = Callable[[Sequence[str], Selection, bool], dict[str, Any]]
# Has a job begin to wait later: `begin_when(begin)` is to call `begin` once, or to drop it.
BeginWhen: TypeAlias = Callable[[Callable[[], None]], object]

MAX_DELAY: Final = 30 * 86_400.0  # seconds; no worker lives as long, so that more is a slip of the keyboard


class _Performer:
    """What this process does when an operator's job is due; nothing until somebody said so."""

    def __init__(self) -> None:
        self.invalidate: Perform | None = None
        self.here: PerformHere | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits: what it is to invalidate, and when it is due, in seconds since 1970; None before a commit."""

    id: str
    what: str
    due: float | None


class _Work:
    """One job, called when it is due. Its name in logs is how it reads."""

    def __init__(self, what: str, call: Callable[[], str | None]) -> None:
        self.id = str(uuid.uuid4())
        self.what = what
        self.due: float | None = None
        self._call = call
        self._job: scheduling.Job | None = None
        self._is_cancelled = False

    def begin(self, delay: float) -> None:
        """Begin to wait."""
        if not self._is_cancelled:
            self.due = time.time() + delay
            self._job = scheduling.after(delay, self)

    def cancel(self) -> None:
        """Do not do it. One that has begun goes on."""
        self._is_cancelled = True
        if self._job is not None:
            self._job.cancel()

    def __call__(self) -> None:
        # In a process that was forked off one that waits nobody may have asked for it here; done twice is no harm.
        _waiting.pop(self.id, None)
        if not self._is_cancelled:
            done = self._call()
            logger.info("Job %s, %s: %s", self.id, self, done or "done")

    def __repr__(self) -> str:
        """What the log of lost and failed jobs calls it."""
        return f"invalidation of {self.what} (job {self.id})"


_performer = _Performer()
_waiting: dict[str, _Work] = {}


def take_on(
    what: str,
    delay: float | timedelta,
    call: Callable[[], str | None],
    *,
    begin_when: BeginWhen | None = None,
) -> str:
    """Have `call` called by the background thread `delay` seconds from now, or from what `begin_when` waits for.

    Returns the id that `cancel` takes. What `call` returns is logged. ValueError and TypeError for a wrong delay.
    """
    seconds = checked_delay(delay)
    work = _Work(what, call)
    _waiting[work.id] = work  # before it can run
    try:
        if begin_when is None:
            work.begin(seconds)
        else:
            begin_when(_Beginning(work, seconds))
    except BaseException:
        _waiting.pop(work.id, None)
        raise
    return work.id


class _Beginning:
    """What begins a job, or ends it where nobody calls it: a transaction that is rolled back drops it."""

    def __init__(self, work: _Work, delay: float) -> None:
        self._work: _Work | None = work
        self._delay = delay

    def __call__(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.begin(self._delay)

    def __del__(self) -> None:
        if self._work is not None:
            _waiting.pop(self._work.id, None)


def checked_delay(delay: Any) -> float:
    """Return a delay in seconds. TypeError and ValueError name one that is none, or longer than MAX_DELAY."""
    seconds = options.seconds("delay", delay)
    if not math.isfinite(seconds) or seconds > MAX_DELAY:
        raise ValueError(f"delay is {delay!r} seconds; it must be from 0 to {MAX_DELAY:g}")
    return seconds


def cancel(job: str) -> bool:
    """Take a job back; whether it was still waiting."""
    work = _waiting.pop(job, None)
    if work is None:
        return False
    work.cancel()
    return True


def waiting() -> list[Waiting]:
    """Return the jobs of this process that wait, those that are due first at the front."""
    found = [Waiting(work.id, work.what, work.due) for work in list(_waiting.values())]
    return sorted(found, key=lambda one: math.inf if one.due is None else one.due)


def perform_with(invalidate: Perform | None, here: PerformHere | None = None) -> None:
    """Say what invalidates a selection everywhere, and what in this process alone. None: nothing is taken on."""
    _performer.invalidate = invalidate
    _performer.here = here


def spelt(selection: Selection) -> dict[str, Any]:
    """Return a selection as JSON has it, without what it leaves open. Ids that JSON does not know become text."""
    given = {one.name: getattr(selection, one.name) for one in fields(selection)}
    return {name: _plain(value) for name, value in given.items() if value != getattr(EVERYTHING, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def answer(given: Mapping[str, Any]) -> dict[str, Any]:
    """Answer the control verb `schedule`: take a job on, cancel one, list those that wait, or act here and now.

    The last is for aliases of CACHES under which each process has entries of its own: nobody else can.

    ValueError for arguments that mean nothing, NotImplementedError where nothing can be done in this process.
    """
    operation = given.get("operation")
    if operation == "invalidate":
        return _taken_on(given)
    if operation == "cancel":
        return {"cancelled": cancel(str(given.get("job")))}
    if operation == "list":
        return {"jobs": [{"job": one.id, "what": one.what, "due": one.due} for one in waiting()]}
    if operation == "here":
        return {"here": _done_here(given)}
    raise ValueError(f"operation is {operation!r}; it must be invalidate, cancel, list or here")


def _taken_on(given: Mapping[str, Any]) -> dict[str, Any]:
    perform = _performer.invalidate
    if perform is None:
        raise NotImplementedError("schedule: not configured")
    selection = _selection(given.get("selection"))
    call = partial(perform, selection, given.get("cascade") is True, given.get("foreign") is not False)
    try:
        delay = checked_delay(given.get("delay"))
    except TypeError as error:
        raise ValueError(str(error)) from error
    job = take_on(str(selection), delay, call)
    return {"job": job, "due": time.time() + delay, "what": str(selection)}


def _done_here(given: Mapping[str, Any]) -> dict[str, Any]:
    if _performer.here is None:
        raise NotImplementedError("schedule: not configured")
    aliases = given.get("aliases")
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise ValueError(f"aliases is {aliases!r}; it must be a list of str")
    selection = _selection(given.get("selection"), or_everything=True)
    return _performer.here(aliases, selection, given.get("dry_run") is True)


def _selection(given: Any, *, or_everything: bool = False) -> Selection:
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
    if selection.is_everything and not or_everything:
        raise ValueError("selection names nothing; everything is not removed by a job")
    return selection
