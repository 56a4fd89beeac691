"""Edits a country through one worker of the running site and reads it through the other, at its next request.

Over HTTP and through the site's own form, as a browser would. What comes back is compared with what was saved; the
worker of each answer is the process id that the site puts into `X-Worker`.
"""

import http.client
import json
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus

from .console import Console
from .server import ANSWER_TIMEOUT, HOST, ServerError

EDITS = 20
COUNTRY = "FR"  # many neighbours and cities: its page reads a lot from the cache
PAGE = f"/api/countries/{COUNTRY}/"
FORM = f"/country/{COUNTRY}/edit/"
EDITED = "population"
ROUNDS = 100  # of asking both workers until they answer as wanted; one or two are usual


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
    """What was found. `private_because` says why nothing could be checked; empty when it was."""

    country: str = ""
    private_because: str = ""
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


class _Inputs(HTMLParser):
    """The names and values of a page's form, as a browser would send them back."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag == "input" and name:
            self.values[name] = given.get("value") or ""


@dataclass(frozen=True)
class _Form:
    """The site's form for the country, with the cookie that its token belongs to."""

    values: dict[str, str]
    cookie: str

    def send(self, connection: http.client.HTTPConnection, people: int) -> int:
        """Save the country with so many people; return the process that did."""
        body = urllib.parse.urlencode(self.values | {EDITED: str(people)})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self.cookie}
        with _answer(connection, "POST", FORM, body, headers) as answer:
            if answer.status != HTTPStatus.FOUND:
                raise ServerError(f"saving {COUNTRY} was answered with {answer.status}")
            return _worker(answer)


@contextmanager
def _connected(port: int, count: int) -> Iterator[list[http.client.HTTPConnection]]:
    """Open connections without asking anything yet.

    A worker that has accepted one waits for its request and accepts no other, so two at once are usually held by the
    two workers. Who answered is looked at all the same.
    """
    connections = [http.client.HTTPConnection(HOST, port, timeout=ANSWER_TIMEOUT) for _ in range(count)]
    try:
        for connection in connections:
            connection.connect()
        yield connections
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"the site does not answer: {str(error) or type(error).__name__}") from error
    finally:
        for connection in connections:
            connection.close()


@contextmanager
def _answer(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    connection.request(method, path, body, headers or {})
    with closing(connection.getresponse()) as answer:
        yield answer


def _worker(answer: http.client.HTTPResponse) -> int:
    return int(answer.headers["X-Worker"])


def _read(connection: http.client.HTTPConnection) -> Reading:
    with _answer(connection, "GET", PAGE) as answer:
        if answer.status != HTTPStatus.OK:
            raise ServerError(f"{PAGE} was answered with {answer.status}")
        page = json.loads(answer.read())
        return Reading(
            worker=_worker(answer),
            hit=answer.headers["X-Cache"] == "HIT",
            figures=Figures(page["figures"]["population"], page["continent"]["population"]),
        )


def _open_form(port: int) -> _Form:
    with _connected(port, 1) as (connection,), _answer(connection, "GET", FORM) as answer:
        inputs = _Inputs()
        inputs.feed(answer.read().decode())
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
    if EDITED not in inputs.values or not cookie:
        raise ServerError(f"{FORM} has no form to send")
    return _Form(inputs.values, cookie)


def _private_because(port: int) -> str:
    """Ask both workers whether they share the version words; return why not, empty when they do."""
    paths: dict[int, str] = {}
    for _ in range(ROUNDS):
        with _connected(port, 2) as connections:
            for connection in connections:
                with _answer(connection, "GET", "/api/cache/") as answer:
                    state = json.loads(answer.read())
                if not state["shared"]:
                    return str(state["private_because"])
                paths[state["worker"]] = state["shared_path"]
        if len(paths) > 1:
            same = len(set(paths.values())) == 1
            return "" if same else f"the workers opened different files: {', '.join(sorted(paths.values()))}"
    raise ServerError("only one of the two workers answers")


def check_edits(port: int, console: Console) -> Edits:
    """Edit the country EDITS times, each read back by the worker that did not save it; put the old figure back."""
    found = Edits(private_because=_private_because(port))
    if found.private_because:
        return found
    form = _open_form(port)
    found.country = form.values["name"]
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
            with _connected(port, 1) as (connection,):
                form.send(connection, before)
    return found


def _edit(port: int, form: _Form, found: Edits, wanted: Figures) -> Figures:
    """Save through one worker, ask the other next; then have both answer from their caches again."""
    with _connected(port, 2) as (writer, reader):
        saver = form.send(writer, wanted.people)
        found.saved_by[saver] += 1
        reading = _read(reader)
    found.judge(reading, wanted)
    for _ in range(ROUNDS):
        if reading.worker != saver:
            break
        with _connected(port, 2) as (first, _other):
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
    for _ in range(ROUNDS):
        with _connected(port, 2) as connections:
            for connection in connections:
                reading = _read(connection)
                if wanted is not None:
                    found.judge(reading, wanted)
                (hits.add if reading.hit else hits.discard)(reading.worker)
        if len(hits) > 1:
            return wanted or reading.figures
    raise ServerError(f"the two workers did not both answer {PAGE} from their caches")
