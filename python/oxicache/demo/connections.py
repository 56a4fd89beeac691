"""Both workers of the running site at once, over HTTP as a browser would: who answered is what `X-Worker` says."""

import http.client
import itertools
import json
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from http import HTTPStatus

from .server import ANSWER_TIMEOUT, HOST, ServerError

AT_ONCE = 20  # rounds; from then on a worker that is late gets time to start
PAUSE = 0.02  # seconds


def rounds() -> Iterator[None]:
    """Count the rounds of asking until both workers answer as wanted: one or two as a rule, and for a minute at most.

    A worker may start seconds after the other one, which answers hundreds of requests in that time.
    """
    until = time.monotonic() + ANSWER_TIMEOUT
    for number in itertools.count(1):
        yield
        if time.monotonic() > until:
            return
        if number > AT_ONCE:
            time.sleep(PAUSE)


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
class Form:
    """A form of the site, with the cookie that its token belongs to."""

    path: str
    values: dict[str, str]
    cookie: str

    def send(self, connection: http.client.HTTPConnection, **changed: str) -> int:
        """Send it with some values changed; return the process that took it."""
        body = urllib.parse.urlencode(self.values | changed)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self.cookie}
        with answer(connection, "POST", self.path, body, headers) as response:
            if response.status != HTTPStatus.FOUND:
                raise ServerError(f"a form sent to {self.path} was answered with {response.status}")
            return worker(response)


@contextmanager
def connected(port: int, count: int) -> Iterator[list[http.client.HTTPConnection]]:
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
def answer(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Ask, for the length of the block."""
    connection.request(method, path, body, headers or {})
    with closing(connection.getresponse()) as response:
        yield response


def worker(response: http.client.HTTPResponse) -> int:
    """Which process answered."""
    return int(response.headers["X-Worker"])


def open_form(port: int, path: str, wanted: str) -> Form:
    """Fetch the page with the form at `path`, which must have an input named `wanted`."""
    with connected(port, 1) as (connection,), answer(connection, "GET", path) as response:
        inputs = _Inputs()
        inputs.feed(response.read().decode())
        cookie = response.headers.get("Set-Cookie", "").partition(";")[0]
    if wanted not in inputs.values or not cookie:
        raise ServerError(f"{path} has no form to send")
    return Form(path.partition("?")[0], inputs.values, cookie)


def private_because(port: int) -> str:
    """Ask both workers whether they share the version words; return why not, empty when they do."""
    paths: dict[int, str] = {}
    for _ in rounds():
        with connected(port, 2) as connections:
            for connection in connections:
                with answer(connection, "GET", "/api/cache/") as response:
                    state = json.loads(response.read())
                if not state["shared"]:
                    return str(state["private_because"])
                paths[state["worker"]] = state["shared_path"]
        if len(paths) > 1:
            same = len(set(paths.values())) == 1
            return "" if same else f"the workers opened different files: {', '.join(sorted(paths.values()))}"
    raise ServerError("only one of the two workers answers")
