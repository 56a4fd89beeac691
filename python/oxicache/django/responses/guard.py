"""The leak guard: what a view looks at while it makes a response, by root attribute of the request.

A view that looks at what its key does not hold makes one visitor's response another's. While it runs, `request.user`,
`session`, `COOKIES`, `META` and `headers` are stand-ins (standins.py) that note that they were asked, and so does the
request itself where somebody has set other attributes on it (attributes.py); what the view sets on them stays set.
What has no stand-in is compared before and after: the language, the messages, the CSRF cookie, the nonce of a content
security policy. What follows from the notes: serving.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils import translation
from django.utils.functional import SimpleLazyObject

from oxicache.django.responses import rest
from oxicache.django.responses.attributes import noting
from oxicache.django.responses.instances import left_on, noting_view
from oxicache.django.responses.records import Originals, Record, resolved
from oxicache.django.responses.sessions import naming, quiet
from oxicache.django.responses.standins import AsgiScope, Cookies, Headers, Meta, carry_over, copied, stand_in
from oxicache.django.scope import STANDS_FOR

__all__ = ["message_marks", "watch_cookies", "watching", "watching_names"]

# What Django remembers of headers that it has read.
_REMEMBERED: Final = ("headers", "accepted_types", "accepted_types_by_precedence")


@contextmanager
def watching(request: HttpRequest, record: Record) -> Iterator[None]:
    """Note in `record` what the block looks at."""
    if not rest.is_plain(request):
        record.view = left_on(request)
        beneath, view = rest.plain(request), record.view
        with watching(beneath, record), rest.watching(request, record), noting_view(request, view, record):
            yield
        return
    record.view = record.view or left_on(request)
    before = _Before(request)
    attributes = vars(request)
    record.outer = getattr(before.cookies, "record", None) or getattr(before.meta, "record", None)
    record.originals = Originals(copied(before.meta), copied(before.cookies), {})
    meta = stand_in(Meta, before.meta, record)
    cookies = stand_in(Cookies, before.cookies, record)
    replaced = {"META": meta, "headers": Headers(before.meta, record), "COOKIES": cookies}
    replaced |= {"environ": meta} if attributes.get("environ") is before.meta else {}
    asgi = attributes.get("scope")
    replaced |= {"scope": stand_in(AsgiScope, asgi, record)} if isinstance(asgi, dict) else {}
    replaced |= _people(request, record, before)
    kept = {name: attributes[name] for name in (*replaced, *_REMEMBERED) if name in attributes}
    for name in _REMEMBERED:
        attributes.pop(name, None)
    attributes.update(replaced)
    try:
        with (
            noting(request, record),
            naming(before.session, record),
            noting_view(request, record.view, record),
        ):
            yield
    finally:
        for name, made in replaced.items():
            if attributes.get(name) is made:  # else the view has set another, which is to stay
                del attributes[name]
                attributes |= {name: kept[name]} if name in kept else {}
        for name in _REMEMBERED[1:]:
            attributes.pop(name, None)
        carry_over(meta, before.meta)
        carry_over(cookies, before.cookies)
        if isinstance(asgi, dict):
            carry_over(replaced["scope"], asgi)
        before.compare(record)


@contextmanager
def watching_names(request: HttpRequest, record: Record) -> Iterator[None]:
    """Note in `record` which attributes and which names of its session the block looks at, and nothing else."""
    session: Any = vars(request).get("session")
    with noting(request, record), naming(session, record):
        yield
    if record.has_session:
        session.accessed = True


def watch_cookies(request: HttpRequest, record: Record) -> None:
    """Note in `record` which cookies are read, from now on. Nothing else is, and nothing is put back."""
    record.outer = getattr(request.COOKIES, "record", None)
    request.COOKIES = stand_in(Cookies, request.COOKIES, record)


def message_marks(request: HttpRequest) -> tuple[bool, bool]:
    """Return whether messages were shown to the visitor of a request, and whether some were added."""
    storage = vars(request).get("_messages")
    # Who goes through none has shown none; a template asks first how many there are, and Jinja does not.
    shown = getattr(storage, "used", False) and storage
    return bool(shown), bool(getattr(storage, "added_new", False))


def _people(request: HttpRequest, record: Record, before: "_Before") -> dict[str, Any]:
    """Return stand-ins of who the visitor is, sync and async, as far as the request knows."""
    attributes = vars(request)
    found: dict[str, Any] = {}
    if (user := attributes.get("user")) is not None:

        def asked() -> Any:
            record.note("user")
            with before.session_apart():
                record.user = resolved(user)
            return record.user

        found["user"] = made = SimpleLazyObject(asked)
        vars(made)[STANDS_FOR] = user  # a view inside is to know of one that a middleware has set
    if (auser := attributes.get("auser")) is not None:

        async def aasked() -> Any:
            record.note("user")
            with before.session_apart():
                record.user = await auser()
            return record.user

        found["auser"] = aasked
    return found


class _Before:
    """How a request was before its view ran, as far as nothing can stand in for it."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.meta: Any = request.META
        self.cookies: Any = request.COOKIES
        self.user = vars(request).get("user")
        self.language = translation.get_language()
        found = vars(request).get("session")
        self.session = session = found if isinstance(found, SessionBase) else None
        self.is_strange = session is not found  # as tests may have one: nothing can be noted of it
        self.was_accessed = bool(getattr(session, "accessed", False))
        self.was_modified = bool(getattr(session, "modified", False))
        if session is not None:
            session.accessed = session.modified = False
        self.messages = message_marks(request)
        storage = vars(self.request).get("_messages")
        # Some of a middleware's, or that somebody has fetched: a view that counts them does not use them up.
        self.has_messages = any(getattr(storage, name, ()) for name in ("_queued_messages", "_loaded_data"))

    @contextmanager
    def session_apart(self) -> Iterator[None]:
        """Who the user is stands in the session: to ask for him is not to read what else is there."""
        session = self.session
        if session is None:
            yield
            return
        with quiet(session):
            yield

    def compare(self, record: Record) -> None:
        """Note what has changed, and leave the session's marks as its middleware wants them."""
        user = vars(self.request).get("user")
        if user is not self.user:
            record.set_user = user
        session = vars(self.request).get("session")
        if self.is_strange or session is not self.session:
            record.note("session")
        elif session is not None:
            if session.accessed:
                record.note("session")
            if session.modified:
                record.note("session written")
            session.modified = session.modified or self.was_modified
            session.accessed = session.accessed or self.was_accessed or record.has_session
        if translation.get_language() != self.language:
            record.note("language")
        if vars(self.request).get("_body"):  # which HTTP/2 may send unannounced
            record.note("body")
        if self.has_messages or message_marks(self.request) != self.messages:
            record.note("messages")
        if vars(self.request).get("_csp_nonce"):  # made, by Django's own middleware or django-csp
            record.note("nonce")
