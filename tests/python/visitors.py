"""Visitors of visited_site.py, and what its pages ought to say to them: a model that knows nothing of caches."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from asgiref.sync import async_to_sync
from django.conf import settings
from django.test import AsyncClient
from visited_site import LOOKS, SOURCE, Page

__all__ = ["STAFF", "TOKEN", "History", "Right", "Visitor", "may_be_seen", "right"]

STAFF: Final = "cyd"
TOKEN: Final = "T" * 64  # in place of a CSRF token, which is never the same
RESTS: Final = 30.0  # seconds for which a source that failed is left alone
DEFAULT_TTL: Final = 300.0  # seconds
ERRORS_LIVE: Final = 60.0  # seconds, at most, for what is no 200


@dataclass
class Visitor:
    """Somebody with a client. `user` has logged in with it; `token` and `remote` come with each request."""

    client: Any
    number: int
    user: str = ""
    token: str = ""
    remote: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    host: str = "a.example"
    pending: list[str] = field(default_factory=list)  # messages

    def __repr__(self) -> str:
        who = self.token or self.remote or self.user or ("guest" if self.has_session else "anonymous")
        cookies = {name: one.value for name, one in self.client.cookies.items()}
        return f"Visitor({self.number}, {who}, {self.sent()}, {cookies})"

    @property
    def has_session(self) -> bool:
        return bool(self.cookie(settings.SESSION_COOKIE_NAME))

    @property
    def name(self) -> str:
        """Who he is to a view."""
        return self.token or self.remote or self.user

    @property
    def kind(self) -> str:
        if self.token:
            return "token"
        if self.remote:
            return "remote"
        return "user" if self.user else "guest" if self.has_session else "anonymous"

    def cookie(self, name: str) -> str:
        found = self.client.cookies.get(name)
        return "" if found is None else str(found.value)

    def sent(self) -> dict[str, str]:
        """The headers of each request."""
        given = dict(self.headers, Host=self.host)
        if self.token:
            given["Authorization"] = f"Token {self.token}"
        if self.remote:
            given["X-Remote"] = self.remote
        return given

    def send(self, method: str, address: str, extra: Mapping[str, str]) -> Any:
        if isinstance(self.client, AsyncClient):
            return async_to_sync(self.asend)(method, address, extra)
        return getattr(self.client, method)(address, headers={**self.sent(), **extra})

    async def asend(self, method: str, address: str, extra: Mapping[str, str]) -> Any:
        return await getattr(self.client, method)(address, headers={**self.sent(), **extra})

    @property
    def language(self) -> str:
        """What LocaleMiddleware chooses."""
        for said in (self.cookie(settings.LANGUAGE_COOKIE_NAME), self.headers.get("Accept-Language", "")):
            if said in dict(settings.LANGUAGES):
                return said
        return "en"

    def sees(self, look: str, query: str, state: "State") -> Any:
        """What a view sees of him."""
        said: dict[str, Any] = {
            "user": self.name,
            "cart": self.client.session.get("cart", "") if look == "cart" and self.has_session else "",
            "theme": self.cookie("theme"),
            "unit": self.headers.get("X-Unit", ""),
            "region": self.headers.get("X-Region", ""),
            "accepts": self.headers.get("Accept", "*/*") in {"application/json", "*/*"},
            "credentials": self.sent().get("Authorization", ""),
            "language": self.language,
            "host": self.host,
            "tenant": self.headers.get("X-Tenant"),
            "plan": self.headers.get("X-Plan", ""),
            "params": _params(query),
            "token": TOKEN,
            "fact": state.fact,
            "row": state.row,
        }
        assert said.keys() == LOOKS.keys()
        return said[look]


def _params(query: str) -> list[list[Any]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return [[name, values] for name, values in sorted(found.items())]


# ---------------------------------------------------------------- what there was to show, and when


@dataclass
class State:
    """What the source held from one change to the next; `ended` None is now."""

    fact: int
    row: str
    ended: float | None = None


class History:
    """All states since a machine began, and from which on a page may show one."""

    def __init__(self, row: str) -> None:
        self.states = [State(SOURCE.fact, row)]
        self.first: dict[str, int] = {}  # by the name of the page: what was before has been invalidated
        self.down_at: float | None = None  # when it was last out of reach

    @property
    def now(self) -> State:
        return self.states[-1]

    def changed(self, at: float, row: str) -> None:
        self.now.ended = at
        self.states.append(State(SOURCE.fact, row))

    def invalidated(self, page: Page) -> None:
        self.first[page.name] = len(self.states) - 1

    def shown(self, page: Page, at: float, *, is_reload: bool) -> list[State]:
        """The states that a page may show."""
        is_out = SOURCE.is_down or (self.down_at is not None and at - self.down_at < RESTS)
        grace = page.options.get("grace", 0) if is_out else 0
        if is_reload and not grace:
            return [self.now]
        limit = _lifetime(page)
        found = self.states[self.first.get(page.name, 0) :]
        return [one for one in found if one.ended is None or limit is None or at - one.ended < limit + grace]


def _lifetime(page: Page) -> float | None:
    ttl = page.options.get("timeout", DEFAULT_TTL)
    limits = [] if ttl is None else [ttl]
    if page.status != 200:
        limits.append(ERRORS_LIVE)
    if page.deed == "max-age=30":
        limits.append(30)
    return min(limits, default=None)


def may_be_seen(page: Page, visitor: Visitor, query: str) -> bool:
    """Whether a hit may be served to him at all."""
    if (
        page.deed in {"ticket", "session", "no-store", "private", "Vary: *", "activate"}
        or "token" in page.looks
    ):
        return False
    if page.status not in page.options.get("statuses", (200,)):
        return False
    if visitor.token and "scope" not in page.options:
        return False
    return not ("condition_func" in page.options and "draft" in query)


# ---------------------------------------------------------------- what is right


@dataclass(frozen=True)
class Right:
    """A response as it should be."""

    status: int
    body: bytes
    kind: str  # its Content-Type
    varies: frozenset[str]
    language: str
    cookies: frozenset[str]  # that it sets
    location: str = ""
    shows_messages: bool = False


def right(page: Page, visitor: Visitor, query: str, state: State) -> Right:
    """What a call for this request gives that nobody has cached."""
    said = {look: visitor.sees(look, query, state) for look in page.looks}
    language = "fr" if page.deed == "activate" else visitor.language
    if "language" in said:
        said["language"] = language
    looks = set(page.looks)
    if page.inner is not None:
        inner = {look: visitor.sees(look, query, state) for look in page.inner.looks}
        said["inner"] = json.dumps(inner, sort_keys=True)
        looks |= page.inner.looks
    text = json.dumps(said, sort_keys=True)
    status, body, kind, location = page.status, text, "text/html; charset=utf-8", ""
    is_raised = True
    if page.raises == "missing" and "missing" in dict(parse_qsl(query, keep_blank_values=True)):
        status = 404
    elif page.raises == "denied" and visitor.name != STAFF:
        status = 403
    else:
        is_raised = False
        if status == 302:
            body, location = "", f"/elsewhere/?{urlencode({'said': text})}"
        elif page.kind == "plain":
            kind = "application/json" if said.get("accepts") else "text/plain"
        else:
            shown = "".join(f"{message}," for message in visitor.pending)
            body = f"{text}|{visitor.name}|{shown}|{language}"
    is_rendered = not is_raised and status != 302 and page.kind != "plain"
    varies, cookies = {"accept-language"}, set()
    asks = "user" in looks or is_rendered or (page.raises == "denied" and status != 404)
    # Who comes with a token is not looked for in the session; nor does a redirect render anything.
    if looks & {"cart", "token"} or (asks and not (visitor.token or visitor.remote)):
        varies.add("cookie")
    if "token" in looks:
        cookies.add(settings.CSRF_COOKIE_NAME)
    if not is_raised:
        varies |= (
            {page.deed.removeprefix("Vary: ").lower()} if (page.deed or "").startswith("Vary: ") else set()
        )
        cookies |= {"ticket"} if page.deed == "ticket" else set()
        if page.deed == "session":
            cookies.add(settings.SESSION_COOKIE_NAME)
            varies.add("cookie")
    return Right(
        status, body.encode(), kind, frozenset(varies), language, frozenset(cookies), location, is_rendered
    )
