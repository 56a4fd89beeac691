"""Changes Django's cache through one worker of the running site and reads it through the other, at its next request.

What is cached is a search, kept by `cache.get_or_set`. Every answer carries a number that was given to the search when
it was made, so an answer that is older than a change tells itself.
"""

import http.client
import json
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from .connections import Form, answer, connected, open_form, rounds, worker
from .console import Console
from .server import ServerError

CHANGES = 20
WORDS = "san"  # many cities are named so
QUERY = urllib.parse.urlencode({"q": WORDS})
PAGE = f"/api/search/?{QUERY}"
FORM = f"/search/?{QUERY}"

# What a worker is told to do, by the name of its button, and the call that it makes.
ACTS = {
    "forget": "cache.delete",
    "renew": "cache.set",
    "forget-all": "cache.delete_by_tag",
    "clear": "cache.clear",
}


@dataclass(frozen=True)
class Reading:
    """What one worker answered: the number of its search, and whether it had it already."""

    worker: int
    hit: bool
    number: str


@dataclass
class Changes:
    """What was found."""

    made_by: Counter[int] = field(default_factory=Counter)  # changes by worker
    calls: Counter[str] = field(default_factory=Counter)
    reads: int = 0  # answers that came after a change, of either worker
    stale: list[str] = field(default_factory=list)
    example: str = ""
    _numbers: set[str] = field(default_factory=set)  # of every search that was answered
    _outdated: set[str] = field(default_factory=set)  # of those, the ones from before the last change
    _last: str = ""

    @property
    def made(self) -> int:
        """How many changes were made."""
        return self.made_by.total()

    def begin(self, changed_by: int, call: str) -> None:
        """Count a change: whatever was answered until now is old from here on."""
        self.made_by[changed_by] += 1
        self.calls[call] += 1
        self._outdated = set(self._numbers)
        self._last = f"{call} by worker {changed_by}"

    def judge(self, reading: Reading) -> bool:
        """Look at an answer, count it if it came after a change, and say whether it is not older than that."""
        self._numbers.add(reading.number)
        if not self.made:
            return True
        self.reads += 1
        good = reading.number not in self._outdated
        if not good:
            self.stale.append(f"worker {reading.worker} answered with an old search after {self._last}")
        return good


def _read(connection: http.client.HTTPConnection) -> Reading:
    with answer(connection, "GET", PAGE) as response:
        if response.status != HTTPStatus.OK:
            raise ServerError(f"{PAGE} was answered with {response.status}")
        return Reading(
            worker=worker(response),
            hit=response.headers["X-Cache"] == "HIT",
            number=json.loads(response.read())["number"],
        )


def check_changes(port: int, console: Console) -> Changes:
    """Change the cached search CHANGES times, each time read next by the worker that did not change it."""
    found = Changes()
    form = open_form(port, FORM, "q")
    _hit_in_both(port, found)
    acts = list(ACTS)
    with console.progress("changes", CHANGES) as steps:
        for number in range(CHANGES):
            _change(port, form, found, acts[number % len(acts)])
            steps.update(1)
    return found


def _change(port: int, form: Form, found: Changes, act: str) -> None:
    """Change through one worker, ask the other next; then have both answer from their caches again."""
    with connected(port, 2) as (writer, reader):
        changed_by = form.send(writer, act=act)
        found.begin(changed_by, ACTS[act])
        reading = _read(reader)
    good = found.judge(reading)
    for _ in rounds():
        if reading.worker != changed_by:
            break
        with connected(port, 2) as (first, _other):
            reading = _read(first)
        good = found.judge(reading)
    else:
        raise ServerError(f"only worker {changed_by} answers")
    if not found.example:
        found.example = (
            f"worker {changed_by} called {ACTS[act]} for a search, worker {reading.worker} answered with "
            f"{'a new' if good else 'an OLD'} one at its next request"
        )
    _hit_in_both(port, found)


def _hit_in_both(port: int, found: Changes) -> None:
    """Ask until both workers answer from their caches: what one stores after a miss must not outdate the other's."""
    hits: set[int] = set()
    for _ in rounds():
        with connected(port, 2) as connections:
            for connection in connections:
                reading = _read(connection)
                found.judge(reading)
                (hits.add if reading.hit else hits.discard)(reading.worker)
        if len(hits) > 1:
            return
    raise ServerError(f"the two workers did not both answer {PAGE} from their caches")
