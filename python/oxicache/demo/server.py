"""gunicorn around the demo's site: a free port, start, a first look at the answers, stop."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path

HOST = "127.0.0.1"
LAST_PORT = 65535
PORTS_TRIED = 50  # after the one asked for
ANSWER_TIMEOUT = 60  # seconds; the first answer waits for a worker to start and compute the whole world
STOP_TIMEOUT = 8  # seconds; more than serving.graceful_timeout
STOPPERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what ends the demo
LOOKS = 12  # at the same page at most, until a worker answers that has built it before


class ServerError(Exception):
    """The site could not be served; the message says why."""


TAG = re.compile(r"<[^>]*>")
EXCERPT_CHARS = 100


def _shortened(text: str) -> str:
    return text if len(text) <= EXCERPT_CHARS else text[: EXCERPT_CHARS - 3] + "..."


@dataclass(frozen=True)
class Answer:
    """One answer of the running site."""

    path: str
    status: int
    headers: Message
    body: bytes

    @property
    def good(self) -> bool:
        """Whether the site had what was asked for."""
        return self.status == HTTPStatus.OK

    def excerpt(self) -> str:
        """Return a line's worth of what came: a page's first words, the beginning of JSON, or the size of the rest."""
        kind = self.headers.get_content_type()
        if kind == "application/json":
            return _shortened(json.dumps(json.loads(self.body), ensure_ascii=False))
        if kind == "text/html":
            content = self.body.decode().partition("<main")[2].partition(">")[2]
            return _shortened(" ".join(TAG.sub(" ", content).split()))
        return f"{kind}, {len(self.body):,} bytes"


def listen(port: int) -> socket.socket:
    """Return a socket listening on that port or the next free one; 0 lets the system choose. Raises ServerError."""
    for candidate in range(port, min(port + PORTS_TRIED, LAST_PORT) + 1):
        listener = socket.socket()
        try:
            # Else a port used a minute ago would count as busy.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, candidate))
            listener.listen()
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise ServerError(
                f"cannot listen on port {candidate}: {error.strerror}; choose another with --port"
            ) from error
        return listener
    raise ServerError(f"ports {port} to {candidate} are all busy; choose another with --port")


@contextmanager
def served(listener: socket.socket, directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run gunicorn on the socket for the length of the block. Nothing is left running after it."""
    command = (sys.executable, "-m", "gunicorn", "--config", "python:oxicache.demo.serving")
    listens = ("--bind", f"fd://{listener.fileno()}", "oxicache.demo.site.wsgi:application")
    process = subprocess.Popen(  # noqa: S603 - this interpreter and words of this file
        command + listens,
        pass_fds=(listener.fileno(),),
        env=os.environ | {"OXICACHE_DEMO_DATA": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        # A session of its own: Ctrl-C reaches the demo alone, which then stops gunicorn in good order.
        start_new_session=True,
    )
    # gunicorn has its copy. With this one closed, connections to a gunicorn that dies are refused and do not hang.
    listener.close()
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # A second Ctrl-C while stopping would leave gunicorn behind.
    earlier = {number: signal.signal(number, signal.SIG_IGN) for number in STOPPERS}
    try:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # Its own session, hence its own group: gunicorn and its workers, nobody else.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def fetch(url: str, path: str) -> Answer:
    """Ask the site for a path. An answer of any status is an answer; none at all raises ServerError."""
    # Without proxies: an http_proxy in the environment is not meant for this machine itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url + path, timeout=ANSWER_TIMEOUT) as response:
            return Answer(path, response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(path, error.code, error.headers, error.read())
    except OSError as error:
        raise ServerError(f"{url}{path} does not answer: {error}") from error


def look_around(url: str) -> Iterator[Answer]:
    """Fetch the start page and a search until a worker answers from its cache, and one of each other kind."""
    yield from _until_hit(url, "/")
    for path in ("/api/world/", "/api/countries/FR/", "/api/countries/FR/"):
        yield fetch(url, path)
    yield from _until_hit(url, "/api/search/?q=san")
    for path in ("/api/cache/", "/static/atlas/atlas.css"):
        yield fetch(url, path)


def _until_hit(url: str, path: str) -> Iterator[Answer]:
    for _ in range(LOOKS):
        answer = fetch(url, path)
        yield answer
        if not answer.good or answer.headers["X-Cache"] == "HIT":
            break
