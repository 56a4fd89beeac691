"""The machine of test_responses_machine.py: requests of visitors to pages, and what happens between them.

Every response must be what the model (visitors.py) says, whether by chance or in a history of visitor_histories.py.
"""

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Final

import visited_site as site
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.cache import caches
from django.middleware.csrf import _does_token_match
from django.test import AsyncClient, Client
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from visited_site import SOURCE, Gate, Page
from visitor_choices import HEADERS, LANGUAGES, NAMES, PLAIN, QUERIES, VALUES, WISHES, often, pages, visitors
from visitors import TOKEN, History, Right, Visitor, may_be_seen, right

from oxicache.django import invalidate
from oxicache.flights import flights

__all__ = ["AsyncVisits", "SiteVisits", "Visits"]

_numbers: Final = itertools.count(1)
_token: Final = re.compile(rb"(?:(?<=\")|(?<=%22))[A-Za-z0-9]{64}")


@dataclass(frozen=True)
class Asked:
    """A request."""

    visitor: Visitor
    page: Page
    method: str = "get"
    query: str = ""
    extra: Mapping[str, str] = field(
        default_factory=dict
    )  # headers, beside those that this visitor always sends

    def __str__(self) -> str:
        return f"{self.method} {self.query} {self.extra}\n{self.page}\n{self.visitor}"

    @property
    def address(self) -> str:
        folder, argument = "a" if self.page.is_async else "v", "1/" if "b=1" in self.query else ""
        return f"/{folder}/{self.page.name}/{argument}{'?' if self.query else ''}{self.query}"

    def send(self) -> Any:
        return self.visitor.send(self.method, self.address, self.extra)

    async def asend(self) -> Any:
        return await self.visitor.asend(self.method, self.address, self.extra)


class Visits(RuleBasedStateMachine):
    """Requests, and what happens between them."""

    pages: ClassVar[Any] = pages()
    clock: ClassVar[Any]  # with `now`
    threads: ClassVar[ThreadPoolExecutor]
    row: ClassVar[Group]
    hits: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.tickets: set[str] = set()
        self.bodies: dict[str, bytes] = {}  # by ETag

    # ------------------------------------------------------------ the beginning

    @initialize(data=st.data(), who=st.lists(visitors, min_size=2, max_size=4))
    def begin(self, data: st.DataObject, who: list[dict[str, str]]) -> None:
        self.start([data.draw(self.pages) for _ in range(data.draw(st.integers(1, 3)))], who)

    def start(self, shown: list[Page], who: Sequence[dict[str, str]]) -> None:
        """Begin with these pages and these visitors; what is not said of one is as of most."""
        for cache in caches.all(initialized_only=True):
            cache.clear()
        site.unpublish()
        SOURCE.is_down, SOURCE.fact, SOURCE.gate = False, 0, None
        self.history = History(self.row.name)
        self.shown = shown
        for page in shown:
            site.publish(page)
        self.visitors = [self.visitor(number, {**PLAIN, **one}) for number, one in enumerate(who)]

    def visitor(self, number: int, given: dict[str, str]) -> Visitor:
        made = Visitor(self.client(), number, host=given["host"])
        for name in HEADERS:
            self.set_header(made, name, given[name])
        if given["theme"]:
            made.client.cookies["theme"] = given["theme"]
        if given["kind"] == "user":
            self.log_in(made, given["name"])
        elif given["kind"] in {"token", "remote"}:
            setattr(made, given["kind"], given["name"])
        if given["kind"] in {"user", "guest"}:
            self.fill_cart(made, given["cart"])
        return made

    def client(self) -> Any:
        return Client(raise_request_exception=False)

    @staticmethod
    def set_header(visitor: Visitor, name: str, value: str) -> None:
        if value:
            visitor.headers[name] = value
        else:
            visitor.headers.pop(name, None)

    @staticmethod
    def log_in(visitor: Visitor, name: str) -> None:
        visitor.client.force_login(User.objects.get(username=name))
        visitor.user = name

    @staticmethod
    def fill_cart(visitor: Visitor, value: str) -> None:
        session = visitor.client.session
        session["cart"] = value
        session.save()
        visitor.client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key

    # ------------------------------------------------------------ what happens between requests

    # One rule, because of several hypothesis leaves out some in each history, and most are of no use alone.
    @rule(
        data=st.data(),
        step=st.sampled_from([*["ask"] * 12, *["together"] * 2, *["visitor"] * 3, *["source"] * 3]),
    )
    def go(self, data: st.DataObject, step: str) -> None:
        getattr(self, f"{step}_changes" if step in {"visitor", "source"} else step)(data)

    def visitor_changes(self, data: st.DataObject) -> None:
        visitor = data.draw(st.sampled_from(self.visitors))
        what = data.draw(
            st.sampled_from(
                [
                    "log in",
                    "log out",
                    "token",
                    "remote",
                    "cart",
                    "theme",
                    "language cookie",
                    "header",
                    "told",
                    "host",
                ]
            )
        )
        value = data.draw(st.sampled_from(VALUES))
        if what == "log in":
            self.log_in(visitor, data.draw(st.sampled_from(NAMES)))
        elif what == "log out":
            visitor.client.logout()  # takes every cookie with it
            visitor.user, visitor.pending = "", []
        elif what in {"token", "remote"}:
            setattr(visitor, what, data.draw(st.sampled_from(["", *NAMES])))
        elif what == "cart":
            self.fill_cart(visitor, value)
        elif what in {"theme", "language cookie"}:
            name = "theme" if what == "theme" else settings.LANGUAGE_COOKIE_NAME
            visitor.client.cookies[name] = value if what == "theme" else data.draw(st.sampled_from(LANGUAGES))
            if not visitor.client.cookies[name].value:
                del visitor.client.cookies[name]
        elif what == "header":
            name = data.draw(st.sampled_from(sorted(HEADERS)))
            self.set_header(visitor, name, data.draw(st.sampled_from(HEADERS[name])))
        elif what == "told":
            self.tell(visitor, value)
        else:
            visitor.host = data.draw(st.sampled_from(["a.example", "b.example"]))

    def source_changes(self, data: st.DataObject) -> None:
        what = data.draw(st.sampled_from(["fact", "fact", "tag", "row", "down", "time", "time"]))
        if what in {"fact", "tag"}:
            self.new_fact(is_told=what == "tag")
        elif what == "row":
            self.save_row()
        elif what == "down":
            SOURCE.is_down = not SOURCE.is_down
        else:
            self.clock.now += data.draw(st.sampled_from([10.0, 31.0, 61.0, 301.0, 1000.0]))

    def tell(self, visitor: Visitor, text: str) -> None:
        visitor.pending.append(f"message {text}")
        assert visitor.send("post", f"/tell/?text=message+{text}", {}).status_code == 200

    def new_fact(self, *, is_told: bool = False) -> None:
        SOURCE.fact += 1
        self.history.changed(self.clock.now, self.row.name)
        if is_told:
            invalidate(tags=["facts"])
            self.invalidated(lambda page: "facts" in page.options.get("tags", ()))

    def save_row(self) -> None:
        self.row.name = f"{site.ROW} {next(_numbers)}"
        self.row.save()
        self.history.changed(self.clock.now, self.row.name)
        self.invalidated(lambda page: bool(page.options.get("invalidate_on")))

    def invalidated(self, is_reached: Callable[[Page], bool]) -> None:
        for page in self.shown:
            if is_reached(page):
                self.history.invalidated(page)

    # ------------------------------------------------------------ requests

    def ask(self, data: st.DataObject) -> None:
        visitor, page = data.draw(st.sampled_from(self.visitors)), data.draw(st.sampled_from(self.shown))
        method = data.draw(st.sampled_from([*["get"] * 7, *["head"] * 2, "post"]))
        query, wish = data.draw(often("", *QUERIES)), data.draw(often("", "", *WISHES))
        extra = {"Cache-Control": wish} if wish else {}
        # A view that is not cached, and shows what a cached one answers, shows what that one answers to a condition.
        if self.bodies and page.inner is None and data.draw(often(False, True)):
            extra["If-None-Match"] = data.draw(st.sampled_from(sorted(self.bodies)))
        self.request(visitor, page, method, query, extra)

    def request(
        self,
        visitor: Visitor,
        page: Page,
        method: str = "get",
        query: str = "",
        extra: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """Ask, and check what is answered."""
        asked = Asked(visitor, page, method, query, extra)
        allowed = self.allowed(asked)
        response = asked.send()
        self.check(asked, response, allowed)
        return response

    def together(self, data: st.DataObject) -> None:
        one, other = data.draw(st.permutations(self.visitors))[:2]
        page, query = data.draw(st.sampled_from(self.shown)), data.draw(often("", "missing=1"))
        self.at_once(page, query, one, other)

    def at_once(self, page: Page, query: str, *two: Visitor) -> None:
        """Two requests at once: the second comes while the first is in its view."""
        asked = [Asked(visitor, page, query=query) for visitor in two]
        allowed = [self.allowed(one) for one in asked]
        SOURCE.gate = gate = Gate()
        try:
            found = self.both(gate, *asked)
        finally:
            gate.go_on.set()
            SOURCE.gate = None
        for one, response, rights in zip(asked, found, allowed, strict=True):
            self.check(one, response, rights)

    def both(self, gate: Gate, one: Asked, other: Asked) -> list[Any]:
        first = self.threads.submit(one.send)
        while not gate.is_in.wait(0.001) and not first.done():
            pass
        SOURCE.gate = None  # where the first was a hit, nobody stops
        second = self.threads.submit(other.send)
        while not _is_anybody_waiting() and not wait([second], timeout=0.001).done:
            pass
        gate.go_on.set()
        return [sent.result(60) for sent in (first, second)]

    # ------------------------------------------------------------ what is right

    def allowed(self, asked: Asked) -> list[Right]:
        """What may be answered; the last one is what a view would say."""
        if SOURCE.is_down:
            self.history.down_at = self.clock.now
        wish = asked.extra.get("Cache-Control", "")
        states = [self.history.now]
        if asked.method != "post" and wish != "no-store" and self.may_be_hit(asked):
            states = self.history.shown(asked.page, self.clock.now, is_reload=bool(wish))
        return [right(asked.page, asked.visitor, asked.query, state) for state in states]

    @staticmethod
    def may_be_hit(asked: Asked) -> bool:
        return asked.method != "post" and may_be_seen(asked.page, asked.visitor, asked.query)

    def check(self, asked: Asked, got: Any, allowed: list[Right]) -> None:
        """Fail unless it is one of what is allowed, with its headers and cookies."""
        source = (self.history.states[-3:], SOURCE.is_down, self.clock.now)
        told = "\n".join(
            map(str, ["", got.status_code, dict(got.items()), got.content, asked, *source, *allowed])
        )
        status = got.get("X-Cache")
        self.hits[f"{status} {asked.visitor.kind}"] += 1
        assert status is None or self.may_be_hit(asked), told
        assert status != "STALE" or asked.page.options.get("grace"), told
        if SOURCE.is_down and got.status_code == 500:
            return
        self.check_cookies(asked, got, allowed[-1].cookies, told)
        found = [one for one in allowed if self.is_alike(one, asked, got)]
        assert found, told
        if asked.method != "head" and got.status_code == 200 and got.has_header("ETag"):
            self.bodies[got["ETag"]] = got.content
        if found[-1].shows_messages and got.status_code != 304 and status in {None, "MISS"}:
            asked.visitor.pending.clear()

    def is_alike(self, one: Right, asked: Asked, got: Any) -> bool:
        if got.status_code == 304:
            is_his = asked.extra.get("If-None-Match") == got["ETag"]
            return is_his and one.status == 200 and self.bodies.get(got["ETag"]) == one.body
        body = b"" if asked.method == "head" else one.body
        varies = {name.strip().lower() for name in got.get("Vary", "").split(",")}
        return (
            got.status_code == one.status
            and _without_token(got.content) == body
            and int(got["Content-Length"]) == len(one.body)
            and got["Content-Type"] == one.kind
            and (one.varies <= varies or "*" in varies)
            and got.get("Content-Language") == one.language
            and _without_token(got.get("Location", "").encode()) == one.location.encode()
        )

    def check_cookies(self, asked: Asked, got: Any, names: frozenset[str], told: str) -> None:
        """Those that it sets are what the view sets, and nobody else's."""
        visitor, page = asked.visitor, asked.page
        own = {"messages", settings.SESSION_COOKIE_NAME} if visitor.pending else set()
        given = {name: one.value for name, one in got.cookies.items()}
        assert given.keys() <= names | own, (given, told)
        if "ticket" in names:
            assert given.get("ticket") not in self.tickets | {None}, (given, told)
            self.tickets.add(given["ticket"])
        for name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME):
            others = {one.cookie(name) for one in self.visitors if one is not visitor}
            assert name not in given or given[name] not in others, (given, told)
        if "token" in page.looks and got.status_code == 200 and got.content and page.status == 200:
            token = json.loads(got.content.decode().partition("|")[0])["token"]
            assert _does_token_match(token, visitor.cookie(settings.CSRF_COOKIE_NAME)), told


class _Client(AsyncClient):
    """Django's names its own host beside the one that is given."""

    def _base_scope(self, **request: Any) -> Any:
        found = request.get("headers", [])
        hosts = [one for one in found if one[0] == b"host"]
        request["headers"] = [one for one in found if one[0] != b"host"] + hosts[-1:]
        return super()._base_scope(**request)


class AsyncVisits(Visits):
    """The same through ASGI, to views that are coroutines."""

    pages: ClassVar[Any] = pages(is_async=True)

    def client(self) -> Any:
        return _Client(raise_request_exception=False)

    def both(self, gate: Gate, one: Asked, other: Asked) -> list[Any]:
        async def run() -> list[Any]:
            # A loop that went round and round here would hold the interpreter, which sync middleware waits for.
            first, stopped = (asyncio.ensure_future(each) for each in (one.asend(), gate.ais_in.wait()))
            await asyncio.wait((first, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            SOURCE.gate = None
            second = asyncio.ensure_future(other.asend())
            while not _is_anybody_waiting() and not (await asyncio.wait((second,), timeout=0.001))[0]:
                pass
            gate.ago_on.set()
            return [await first, await second]

        return async_to_sync(run)()


class SiteVisits(Visits):
    """The same to a site that is cached whole, by a middleware, and not by its views."""

    pages: ClassVar[Any] = pages(is_bare=True)


def _is_anybody_waiting() -> bool:
    return any(flight._waiters for flight in list(flights._table.values()))


def _without_token(text: bytes) -> bytes:
    return _token.sub(TOKEN.encode(), text)
