"""Asks the running site for its cached responses, as browsers of several visitors would, and checks what comes back.

Over HTTP, of both workers; who answered is what `X-Worker` says. What the pages are: site/features.
"""

import http.client
import json
import os
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .connections import answer, connected, rounds, worker
from .console import Console
from .deletions import Check
from .server import ServerError

INDEX = "/features/"
HELD = (
    "/features/shared/",
    "/features/own/",
    "/features/api/?country=FR",
    "/features/rest/",
    "/features/rest/FR/",
)
CONDITIONAL = "/features/conditional/"
LEAKING = "/features/leaking/"
SAVED = "/features/saved/"
VISITORS = {"ada": "Ada", "grace": "Grace"}


@dataclass(frozen=True)
class Reply:
    """One answer."""

    worker: int
    status: int
    verdict: str  # what X-Cache says, or nothing
    etag: str
    queries: int  # that a cached part took; -1 where there is none
    body: str

    @property
    def is_hit(self) -> bool:
        """Whether nobody had to make it."""
        return self.verdict == "HIT"


@dataclass
class Browser:
    """The cookies of one visitor."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Reply:
        """Ask whichever worker comes first."""
        with connected(self.port, 1) as (connection,):
            return self.ask(connection, "GET", path, headers=headers)

    def of_both(self, path: str) -> Iterator[Reply]:
        """Ask two at once again and again, which are usually both workers."""
        for _ in rounds():
            with connected(self.port, 2) as connections:
                for connection in connections:
                    yield self.ask(connection, "GET", path)

    def post(self, path: str, **fields: str) -> Reply:
        """Send a form with the token that the site has given. ServerError where it is refused."""
        if "csrftoken" not in self.cookies:
            self.get(INDEX)
        token = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", "")}
        with connected(self.port, 1) as (connection,):
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            reply = self.ask(connection, "POST", path, urllib.parse.urlencode(token | fields), kind)
        if reply.status not in {HTTPStatus.OK, HTTPStatus.FOUND}:
            raise ServerError(f"a form sent to {path} was answered with {reply.status}")
        return reply

    def ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask, and keep the cookies."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**({"Cookie": cookie} if cookie else {}), **(headers or {})}
        with answer(connection, method, path, body, sent) as response:
            for given in response.headers.get_all("Set-Cookie", ()):
                name, _, value = given.partition(";")[0].partition("=")
                self.cookies[name] = value
            return Reply(
                worker=worker(response),
                status=response.status,
                verdict=response.headers.get("X-Cache", ""),
                etag=response.headers.get("ETag", ""),
                queries=int(response.headers.get("X-Queries", -1)),
                body=response.read().decode(),
            )


def check_responses(port: int, console: Console, *, is_shared: bool, is_reachable: bool) -> list[Check]:
    """Check every feature. What one worker does to the other only where they share words, and can ask each other."""
    nobody = Browser(port)
    visitors = {who: _be(port, who) for who in VISITORS}
    found = [*_shown(nobody), *_held(nobody), *_own(visitors), *_conditional(nobody), *_leaking(visitors)]
    if is_shared:
        found += _saved(nobody)
    if is_shared and is_reachable:
        found += _endpoints(nobody, visitors)
    if not is_shared:
        console.say("What one worker does to the other is not checked: they share no memory here.")
    return found


def _be(port: int, who: str) -> Browser:
    browser = Browser(port)
    browser.post("/features/become/", who=who)
    return browser


def _fresh(path: str) -> str:
    """Return an address that nobody has asked for before."""
    return f"{path}{'&' if '?' in path else '?'}check={os.urandom(4).hex()}"


def both(replies: Iterator[Reply], is_done: Callable[[Reply], bool]) -> list[Reply]:
    """Return what both workers answered, up to where both have answered as wanted."""
    seen: list[Reply] = []
    done: set[int] = set()
    for reply in replies:
        seen.append(reply)
        if is_done(reply):
            done.add(reply.worker)
        if len(done) > 1:
            return seen
    said = ", ".join(f"{reply.worker} {reply.status} {reply.verdict}" for reply in seen[-4:])
    raise ServerError(f"the two workers did not both answer as they should; at last: {said}")


# ---------------------------------------------------------------- what is checked


def _shown(nobody: Browser) -> Iterator[Check]:
    """Each worker sends itself two requests a feature, and tells what came back."""
    told: dict[int, list[dict[str, Any]]] = {}
    for reply in both(nobody.of_both("/api/features/"), lambda reply: reply.status == HTTPStatus.OK):
        told[reply.worker] = json.loads(reply.body)["features"]
    first = next(iter(told.values()))
    for number, feature in enumerate(first):
        seen = [found[number] for found in told.values()]
        answers = [f"{one['status']} {one.get('X-Cache', 'not held')}" for one in feature["answers"]]
        said = f"{feature['feature']}: {answers[0]}, then {answers[1]}, in each worker"
        yield Check(said, holds=all(one["as_wanted"] for one in seen))


def _held(nobody: Browser) -> Iterator[Check]:
    """Each worker makes a page once, and answers what it holds from then on."""
    for path in HELD:
        address = _fresh(path)
        if nobody.get(address).status == HTTPStatus.NOT_FOUND and "rest" in path:
            continue  # Django REST framework is not installed
        address = _fresh(path)
        replies = both(nobody.of_both(address), lambda reply: reply.is_hit)
        by_worker: dict[int, list[Reply]] = {}
        for reply in replies:
            by_worker.setdefault(reply.worker, []).append(reply)
        good = all(
            one[0].verdict == "MISS" and all(later.is_hit and later.body == one[0].body for later in one[1:])
            for one in by_worker.values()
        )
        yield Check(f"{path} is made once by each worker, and then answered as it was", good)


def _own(visitors: dict[str, Browser]) -> Iterator[Check]:
    """Hits of each visitor's own page, in both workers, are about that visitor."""
    address = _fresh("/features/own/")
    good = True
    for who, browser in visitors.items():
        replies = both(browser.of_both(address), lambda reply: reply.is_hit)
        good = good and all(f"Cities for {VISITORS[who]}" in reply.body for reply in replies)
    yield Check("of one address each visitor is shown his own page, hit or miss", good)


def _conditional(nobody: Browser) -> Iterator[Check]:
    etag = nobody.get(CONDITIONAL).etag
    replies = [nobody.get(CONDITIONAL, **{"If-None-Match": etag}) for _ in range(4)]
    good = bool(etag) and all(
        (reply.status, reply.body) == (HTTPStatus.NOT_MODIFIED, "") for reply in replies
    )
    yield Check(f"who has {CONDITIONAL} already is told 304, without a body", good)


def _leaking(visitors: dict[str, Browser]) -> Iterator[Check]:
    good = True
    for who, browser in visitors.items():
        replies = both(browser.of_both(LEAKING), lambda reply: reply.status == HTTPStatus.OK)
        good = good and all(not one.verdict and f"Welcome, {VISITORS[who]}" in one.body for one in replies)
    yield Check(f"{LEAKING}, which would leak, is cached for nobody", good)


def _saved(nobody: Browser) -> Iterator[Check]:
    """Both hold the page; one saves; neither answers what it held."""
    held = both(nobody.of_both(SAVED), lambda reply: reply.is_hit)
    saver = nobody.post("/features/save/").worker
    old = {reply.body for reply in held}
    new = both(nobody.of_both(SAVED), lambda reply: reply.status == HTTPStatus.OK)
    first = {reply.worker: reply for reply in reversed(new)}
    good = all(reply.verdict == "MISS" and reply.body not in old for reply in first.values())
    yield Check(f"after a save by worker {saver} each worker makes {SAVED} anew", good)


def _endpoints(nobody: Browser, visitors: dict[str, Browser]) -> Iterator[Check]:
    """Only staff may clear, and what it clears is gone from both workers."""
    asked = [
        browser.get("/api/core/cache-health/").status
        for browser in (nobody, visitors["grace"], visitors["ada"])
    ]
    wanted = [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.OK]
    yield Check("cache-health/ is for staff: 401 for nobody, 403 for Grace, 200 for Ada", asked == wanted)
    stats = json.loads(visitors["grace"].get("/api/core/cache-stats/").body)
    yield Check("cache-stats/ sums the figures of all workers", stats["workers"] == stats["answered"] > 1)
    address = _fresh("/features/shared/")
    both(nobody.of_both(address), lambda reply: reply.is_hit)
    cleared = visitors["ada"].post("/api/core/cache-clear/", pattern="response:*")
    first = {reply.worker: reply for reply in reversed(both(nobody.of_both(address), lambda _: True))}
    good = all(reply.verdict == "MISS" for reply in first.values())
    yield Check(f"cache-clear/ through worker {cleared.worker} clears both", good)
