"""Edits a country through one worker of the running site and reads it through the other, at its next request.

Over HTTP and through the site's own form, as a browser would. What comes back is compared with what was saved; the
worker of each answer is the process id that the site puts into `X-Worker`.
"""

import http.client
import json
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from .connections import Form, answer, connected, open_form, rounds, worker
from .console import Console
from .server import ServerError

EDITS = 20
COUNTRY = "FR"  # many neighbours and cities: its page reads a lot from the cache
PAGE = f"/api/countries/{COUNTRY}/"
FORM = f"/country/{COUNTRY}/edit/"
EDITED = "population"


@dataclass(frozen=True)
class Figures:
    """How many people the country has, and its continent, whose figure is computed from its countries'."""

    people: int
    continent_people: int

    def __str__(self) -> str:
        return f"{self.people:,} people ({self.continent_people:,} on the continent)"

    def with_people(self, people: int) -> "Figures":
        """What both are once the country is saved with so many."""
        return Figures(people, self.continent_people + people - self.people)


@dataclass(frozen=True)
class Reading:
    """What one worker answered for the country."""

    worker: int
    hit: bool
    figures: Figures


@dataclass
class Edits:
    """What was found."""

    country: str = ""
    saved_by: Counter[int] = field(default_factory=Counter)  # edits by worker
    reads: int = 0  # answers that came after an edit, of either worker
    stale: list[str] = field(default_factory=list)
    example: str = ""

    @property
    def made(self) -> int:
        """How many edits were made."""
        return self.saved_by.total()

    def judge(self, reading: Reading, wanted: Figures) -> None:
        """Count an answer that came after a save, and note it if it is older than that."""
        self.reads += 1
        if reading.figures != wanted:
            self.stale.append(
                f"worker {reading.worker} answered with {reading.figures} after a save that makes it {wanted}"
            )


def _read(connection: http.client.HTTPConnection) -> Reading:
    with answer(connection, "GET", PAGE) as response:
        if response.status != HTTPStatus.OK:
            raise ServerError(f"{PAGE} was answered with {response.status}")
        page = json.loads(response.read())
        return Reading(
            worker=worker(response),
            hit=response.headers["X-Cache"] == "HIT",
            figures=Figures(page["figures"]["population"], page["continent"]["population"]),
        )


def check_edits(port: int, console: Console) -> Edits:
    """Edit the country EDITS times, each read back by the worker that did not save it; put the old figure back."""
    form = open_form(port, FORM, EDITED)
    found = Edits(country=form.values["name"])
    before = int(form.values[EDITED])
    figures = _hit_in_both(port, found, None)
    try:
        with console.progress("edits", EDITS) as steps:
            for number in range(1, EDITS + 1):
                # The last edit puts the old figure back.
                figures = _edit(port, form, found, figures.with_people(before + number % EDITS))
                steps.update(1)
    finally:
        if found.made % EDITS:  # interrupted half-way
            with connected(port, 1) as (connection,):
                form.send(connection, **{EDITED: str(before)})
    return found


def _edit(port: int, form: Form, found: Edits, wanted: Figures) -> Figures:
    """Save through one worker, ask the other next; then have both answer from their caches again."""
    with connected(port, 2) as (writer, reader):
        saver = form.send(writer, **{EDITED: str(wanted.people)})
        found.saved_by[saver] += 1
        reading = _read(reader)
    found.judge(reading, wanted)
    for _ in rounds():
        if reading.worker != saver:
            break
        with connected(port, 2) as (first, _other):
            reading = _read(first)
        found.judge(reading, wanted)
    else:
        raise ServerError(f"only worker {saver} answers")
    if not found.example:
        new = "the new value" if reading.figures == wanted else "an OLD value"
        found.example = (
            f"worker {saver} saved {wanted.people:,} people for {found.country}, "
            f"worker {reading.worker} answered with {new} at its next request"
        )
    return _hit_in_both(port, found, wanted)


def _hit_in_both(port: int, found: Edits, wanted: Figures | None) -> Figures:
    """Ask until both workers answer from their caches; return the figures."""
    hits: set[int] = set()
    for _ in rounds():
        with connected(port, 2) as connections:
            for connection in connections:
                reading = _read(connection)
                if wanted is not None:
                    found.judge(reading, wanted)
                (hits.add if reading.hit else hits.discard)(reading.worker)
        if len(hits) > 1:
            return wanted or reading.figures
    raise ServerError(f"the two workers did not both answer {PAGE} from their caches")
