"""The trail: what this process invalidated last, when, from which line of the project's code, and on whose behalf.

A ring of the newest invalidations: as many as the setting TRAIL_SIZE says, 0 for none. Written where Python code moves
version words; `delete` and `set` of one key of the Django backend are not in it, as they are native and take less time
than a note of them would. Read by the operator's `explain` (live.py). Which files are the project's own code and how a
request's user is found is the framework's to say (`Trail.configure`).

Nothing here holds a lock: every step is one atomic operation, so a fork or a signal handler finds nothing half done.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias, cast

from oxicache import _native
from oxicache.options import TRAIL_SIZE
from oxicache.store import Store, attempt

__all__ = ["Note", "Place", "Told", "Trail", "trail"]

# An invalidation as it is noted: when, kind, names of words, file, line, actor, detail. A plain tuple, because one is
# made at each save of a watched row.
Note: TypeAlias = tuple[float, str, Collection[str], str | None, int, str | None, str | None]

MAX_FRAMES: Final = 100  # how far up the stack the caller is looked for
ACTOR_FRAMES: Final = 12  # how far above the caller the request is looked for: each frame costs some 70 ns
MAX_FILES: Final = (
    4096  # names of files that are remembered; code that is generated may have a new one each time
)
MAX_NAMES: Final = 64  # names that one note keeps: an invalidation of a million rows must not hold them all
WORDS_AT_ONCE: Final = 32  # the native half captures no more


class Place(IntEnum):
    """What a file is to somebody who wants to know where an invalidation came from."""

    INSIDE = 0  # of a library that only passes the call on
    FALLBACK = 1  # of a framework, but what people know it by: its admin, its commands
    OUTSIDE = 2  # the answer
    BOUNDARY = (
        3  # of the framework's own loop: what is above has called for other reasons. It knows the actor
    )


OUTSIDE, BOUNDARY = int(Place.OUTSIDE), int(Place.BOUNDARY)  # an enum's members are slow to look up


_called_from: ContextVar[tuple[str | None, int, str | None] | None] = ContextVar(
    "oxicache_called_from", default=None
)


class _Failing:
    """Whose failures `store.attempt` counts and logs here."""

    name = "trail"


_STORE = cast("Store", _Failing())


class Told(Collection[str]):
    """Names that are put together when somebody reads the trail: each save makes a note, and few are ever read."""

    __slots__ = ("_more", "_names", "_size")

    def __init__(self, names: Callable[[], Iterable[str]], size: int) -> None:
        """Tell what `names` returns, about `size` of them."""
        self._names = names
        self._size = size
        self._more: Callable[[], Iterable[str]] | None = None

    def add(self, more: Callable[[], Iterable[str]]) -> None:
        """Tell those too that `more` returns."""
        self._more = more

    def __len__(self) -> int:
        """How many there were at first."""
        return self._size

    def __iter__(self) -> Iterator[str]:
        """Put them together, each once."""
        return iter({*self._names(), *(() if self._more is None else self._more())})

    def __contains__(self, name: object) -> bool:
        """O(names)."""
        return any(name == known for known in self)


class Trail:
    """The newest invalidations of this process."""

    def __init__(self, size: int = TRAIL_SIZE) -> None:
        """Keep `size` of them."""
        self._notes: deque[Note] = deque(maxlen=size)
        self._places: dict[str, int] = {}
        self._rules = _own_rules()
        self._actor: Callable[[FrameType], str | None] = lambda _: None

    def configure(
        self,
        *,
        size: int | None = None,
        places: Mapping[str, Place] | None = None,
        actor: Callable[[FrameType], str | None] | None = None,
    ) -> None:
        """Change how many notes are kept, what the files below some paths are, and who says on whose behalf.

        `actor` is given the frame of a BOUNDARY. What is left out stays as it is. Notes beyond the size are dropped.
        """
        if size is not None and size != self._notes.maxlen:
            self._notes = deque(_copied(self._notes), maxlen=size)
        if places is not None:
            self._rules = {**self._rules, **places}
            self._places.clear()
        if actor is not None:
            self._actor = actor

    @property
    def size(self) -> int:
        """How many notes are kept; 0 when the trail is off."""
        return self._notes.maxlen or 0

    def note(self, kind: str, names: Collection[str] = (), detail: str | None = None) -> Note | None:
        """Return a note of what this caller invalidates, not yet in the trail. None when the trail is off."""
        if not self._notes.maxlen:
            return None
        if len(names) > MAX_NAMES:
            more = f"and {len(names) - MAX_NAMES} more words"
            detail = more if detail is None else f"{detail} ({more})"
            # What stands for many first: those are few, and any stale entry of them depends on one.
            names = sorted(names, key=_reach)[:MAX_NAMES]
        file, line, actor = self._caller()
        return time.time(), kind, names, file, line, actor, detail

    def record(self, kind: str, names: Collection[str] = (), detail: str | None = None) -> None:
        """Enter what this caller has just invalidated."""
        if (note := self.note(kind, names, detail)) is not None:
            self._notes.append(note)

    def enter(self, notes: Iterable[Note]) -> None:
        """Enter notes that were made before, as of now: of a transaction that is committed."""
        now = time.time()
        for note in notes:
            self._notes.append((now, *note[1:]))

    def clear(self) -> None:
        """Forget all."""
        self._notes.clear()

    def events(self, words: Collection[int] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the trail, newest first; with `words` only what moved one of these version words.

        O(notes). An event is {"at" (Unix time), "pid", "kind", "names", "words", "where", "actor", "detail"}.
        """
        wanted = None if words is None else frozenset(words)
        pid = os.getpid()
        found: list[dict[str, Any]] = []
        for at, kind, names, file, line, actor, detail in reversed(_copied(self._notes)):
            if limit is not None and len(found) >= limit:
                break
            numbers = word_numbers(names)
            if wanted is not None and wanted.isdisjoint(numbers.values()):
                continue
            found.append(
                {
                    "at": at,
                    "pid": pid,
                    "kind": kind,
                    "names": list(numbers),
                    "words": list(numbers.values()),
                    "where": None if file is None else f"{shown_path(file)}:{line}",
                    "actor": actor,
                    "detail": detail,
                }
            )
        return found

    @contextmanager
    def called_from(self, place: Note | None) -> Iterator[None]:
        """Have what is noted inside come from where that note was made: another thread does what its caller asked for.

        Threads and jobs that run in a copy of this context inherit it.
        """
        token = _called_from.set(None if place is None else place[3:6])
        try:
            yield
        finally:
            _called_from.reset(token)

    def _caller(self) -> tuple[str | None, int, str | None]:
        """Return file and line of the innermost frame of the project's own code, and the actor."""
        if (known := _called_from.get()) is not None:
            return known
        frame: FrameType | None = sys._getframe(2)
        get, place_of = self._places.get, self._place_of
        file: str | None = None
        line, best, left = 0, 0, MAX_FRAMES
        while frame is not None and left:
            left -= 1
            name = frame.f_code.co_filename
            place = get(name)
            if place is None:
                place = place_of(name)
            if place > best:
                if place == BOUNDARY:
                    # What goes wrong in there must not stand in the way of an invalidation.
                    return file, line, attempt(_STORE, self._actor, None, frame)
                if place == OUTSIDE:
                    left = min(left, ACTOR_FRAMES)
                file, line, best = name, frame.f_lineno, place
            frame = frame.f_back
        return file, line, None

    def _place_of(self, file: str) -> int:
        """Say what a file is: by the longest path of the rules that it lies below."""
        below = [path for path in self._rules if file.startswith(path)]
        place = self._rules[max(below, key=len)] if below else Place.OUTSIDE
        if len(self._places) >= MAX_FILES:
            self._places.clear()
        self._places[file] = int(place)
        return int(place)

    def _forget_parent(self) -> None:
        # What the parent did is not this process's, and a number of a process is not kept with each note.
        self._notes = deque(maxlen=self._notes.maxlen)


def _own_rules() -> dict[str, Place]:
    library = Path(os.__file__).parent
    package = Path(__file__).parent
    return {
        f"{library}{os.sep}": Place.INSIDE,
        f"{library / 'site-packages'}{os.sep}": Place.OUTSIDE,  # of an interpreter that has packages of its own
        f"{library / 'dist-packages'}{os.sep}": Place.OUTSIDE,
        f"{package}{os.sep}": Place.INSIDE,
        f"{package / 'demo'}{os.sep}": Place.OUTSIDE,  # a user of the package, as others are
        "<frozen ": Place.INSIDE,
    }


def _copied(notes: deque[Note]) -> list[Note]:
    while True:
        try:
            return list(notes)
        except RuntimeError:  # another thread has entered one meanwhile
            continue


def _reach(name: str) -> bool:
    return name.startswith(("row:", "member:", "key:"))


def word_numbers(names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of the version words of these names."""
    found: dict[str, int] = {}
    rest = sorted(names)
    while rest:
        some, rest = rest[:WORDS_AT_ONCE], rest[WORDS_AT_ONCE:]
        found.update(zip(some, _native.capture(some).words, strict=True))
    return found


def shown_path(file: str) -> str:
    """Return a file's path below the directory that it is imported from, or else as it is."""
    above = [f"{Path(path).absolute()}{os.sep}" for path in sys.path]
    start = max((path for path in above if file.startswith(path) and path != os.sep), key=len, default="")
    return file[len(start) :]


trail = Trail()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=trail._forget_parent)
