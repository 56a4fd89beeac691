"""What a fragment looks at while it is rendered, and what of that its key does not hold.

The request is watched as that of a cached view is (responses/guard.py); what of a visitor stands in a context beside it
has stand-ins. Of a visitor himself nothing may be shown in a fragment that does not vary by him. What else was looked
at, the address, a header, what a middleware has set on the request, joins the fragment's key from then on.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Final

from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils.functional import LazyObject, SimpleLazyObject

from oxicache import keys
from oxicache.django.fragments.keying import Fragment
from oxicache.django.responses.findings import set_on
from oxicache.django.responses.guard import message_marks, watching
from oxicache.django.responses.records import ATTRIBUTE, UNSPELT, Record, is_loaded, looked_up, resolved
from oxicache.django.responses.sessions import quiet
from oxicache.errors import LeakError
from oxicache.testing import is_strict

__all__ = [
    "Looks",
    "NoRequest",
    "forget",
    "known",
    "leaks",
    "learns",
    "outer",
    "report",
    "say",
    "segments",
    "stand_ins",
    "watched",
]

logger = logging.getLogger("oxicache.fragments")

MAX_SAID: Final = 1024
# In a context beside the request, each with what it says of who is looking.
_VISITORS: Final[Mapping[str, str]] = {
    "csp_nonce": "nonce",
    "csrf_input": "csrf",
    "csrf_token": "csrf",
    "messages": "messages",
    "perms": "user",
    "user": "user",
}
_ANOTHER: Final = "another user"  # whom a view has put into its context
_REQUEST: Final = "request"  # and there is none
_REMEDIES: Final[Mapping[str, str]] = {
    "user": "add user to vary_on, or show it outside of the fragment",
    "perms": "add user to vary_on",
    _REQUEST: "render its template with one",
    "tenant": "add tenant to vary_on: what is inside of it varies by the tenant",
    _ANOTHER: "name him among what the fragment varies by: the user in its key is who asks",
    "csrf": "leave the form out of it",
    "messages": "show messages outside of it",
    "nonce": "a nonce is of one response: leave it out",
    "session": "name what it takes from the session among what the fragment varies by",
    "COOKIES": "name the cookie among what the fragment varies by",
    "META": "read the headers that matter by their names",
    "language": "activate the language outside of it",
}
_REMEDY: Final = "name what it takes from it among what the fragment varies by"
_AUTHORIZATION: Final = "HTTP_AUTHORIZATION"
_PATH: Final = "PATH_INFO"
_NAMESPACE: Final = "resolver_match.namespace"  # which `{% url %}` asks for
_OF_NAMESPACE: Final = frozenset({"app_name", "app_names", "namespace", "namespaces"})
_COOKIE_NOTES: Final = frozenset({"csrf", "messages"})  # Django reads them from a cookie
_OF_RESPONSE: Final = frozenset({"body", "session written"})  # what else a view is watched for
# In the keys of all responses, and not in those of fragments.
_NAMED: Final = frozenset(
    {
        "HTTP_HOST",
        "HTTP_X_FORWARDED_HOST",
        "QUERY_STRING",
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "SERVER_NAME",
        "SERVER_PORT",
        "wsgi.url_scheme",
        _NAMESPACE,
        _PATH,
    }
)


class Looks(Record):
    """What one fragment looks at."""

    __slots__ = ("has_seen_messages",)

    def __init__(self) -> None:
        super().__init__(outer())
        self.has_seen_messages = False

    def note(self, root: str) -> None:
        """Note a root. Which tenant's it is concerns fragments: a view has that in its key."""
        self.roots.add(root)
        if self.outer is not None and (root != "tenant" or isinstance(self.outer, Looks)):
            self.outer.note(root)

    def note_sent(self) -> None:
        """Note that it looks at a form's values or a body: no view is cached that was sent such, and a fragment is."""
        self.roots.add("POST")
        if self.outer is not None:
            self.outer.note_sent()

    def note_meta(self, name: Any) -> None:
        """Note what was read of META: by name also what the key of a response holds."""
        if name in _NAMED:
            self.headers.add(name)
            if self.outer is not None:
                self.outer.note_meta(name)
        elif name == _AUTHORIZATION:
            self.note("authentication")
        else:
            super().note_meta(name)


class _Match:
    """Stands for `request.resolver_match`."""

    __slots__ = ("_match", "_record")

    def __init__(self, match: Any, record: Record) -> None:
        self._match = match
        self._record = record

    def __getattr__(self, name: str) -> Any:
        self._record.note_meta(_NAMESPACE if name in _OF_NAMESPACE else _PATH)
        return getattr(self._match, name)

    def __getitem__(self, index: int) -> Any:
        self._record.note_meta(_PATH)
        return self._match[index]


class NoRequest:
    """Stands for a request where there is none: what is made of that is not for those who have one."""

    __slots__ = ("_record",)

    def __init__(self, record: Record) -> None:
        self._record = record

    def __getattr__(self, name: str) -> Any:
        self._record.note(_REQUEST)
        raise AttributeError(name)

    def __getitem__(self, name: Any) -> Any:
        self._record.note(_REQUEST)
        raise KeyError(name)

    def __bool__(self) -> bool:
        self._record.note(_REQUEST)
        return False

    def __str__(self) -> str:
        self._record.note(_REQUEST)
        return ""


_inmost: ContextVar[Looks | None] = ContextVar("oxicache_fragment_looks", default=None)
outer = _inmost.get  # the fragment that is being rendered here


@contextmanager
def watched(request: HttpRequest | None, looks: Looks) -> Iterator[None]:
    """Note in `looks` what the block asks of the request."""
    token = _inmost.set(looks)
    try:
        if request is None:
            yield
            return
        attributes = vars(request)
        match, marks = attributes.get("resolver_match"), message_marks(request)
        with _session_named(request, looks), watching(request, looks):
            if match is not None:
                attributes["resolver_match"] = _Match(match, looks)
            try:
                yield
            finally:
                if match is not None:
                    attributes["resolver_match"] = match
        if not looks.has_seen_messages and message_marks(request) == marks:
            looks.roots.discard(
                "messages"
            )  # somebody else's: there are some for this visitor, and it shows none
    finally:
        _inmost.reset(token)


@contextmanager
def _session_named(request: HttpRequest, looks: Looks) -> Iterator[None]:
    """Tell an outer view or fragment that names of the session were looked at, and not all of it."""
    around = getattr(request.COOKIES, "record", None)
    session: Any = vars(request).get("session")
    was_accessed = getattr(session, "accessed", True)
    yield
    if around is not None and not was_accessed and "session" not in looks.roots:
        around.has_session = around.has_session or looks.has_session
        session.accessed = False


def stand_ins(
    context: Iterable[tuple[str, Any]], request: HttpRequest | None, looks: Looks
) -> dict[str, Any]:
    """Return stand-ins of what a context says of the visitor, by whatever name."""
    own, visitor = ({}, None) if request is None else (_of_request(request), vars(request).get("user"))
    session = None if request is None else vars(request).get("session")
    found: dict[str, Any] = {} if request is not None else {"request": NoRequest(looks)}
    for name, value in context:
        root = _VISITORS.get(name) or own.get(id(value))
        if root is not None and value is not None:
            found[name] = _stand_in(root, value, looks, visitor, session)
        elif request is None and name == "request":
            del found[name]  # of another kind than Django's
    return found


def _of_request(request: HttpRequest) -> dict[int, str]:
    """Return what says who asks, by identity: views pass it on under names of their own."""
    found: dict[int, str] = {}
    for name in ("user", "session"):
        value = vars(request).get(name)
        if value is not None:
            found[id(value)] = name
            if issubclass(type(value), LazyObject) and is_loaded(value):
                found[id(resolved(value))] = name
    return found


def _stand_in(root: str, value: Any, looks: Looks, visitor: Any, session: Any) -> Any:
    def asked() -> Any:
        if root == "messages":
            looks.has_seen_messages = True
        looks.note(root)
        # Who the user is stands in the session: to ask for him is not to read what else is there.
        with quiet(session) if root == "user" and isinstance(session, SessionBase) else nullcontext():
            found = resolved(value)
        if root == "user" and looks.user is None and hasattr(found, "is_authenticated"):
            looks.user = found
            if visitor is not None and getattr(found, "pk", None) != getattr(resolved(visitor), "pk", None):
                looks.note(_ANOTHER)
        return found

    return SimpleLazyObject(asked)


def leaks(fragment: Fragment, keyed: Looks, looks: Looks) -> list[str]:
    """Return what a fragment looked at of its visitor, or without a spelling, that its key does not hold."""
    held = {*keyed.roots, *_OF_RESPONSE}
    if fragment.per_user:
        held.add("user")
    if fragment.per_tenant:
        held.add("tenant")
    if not _COOKIE_NOTES.isdisjoint(looks.roots):
        held.add("COOKIES")  # a token, a message is said to be one, and no cookie
    found = looks.roots - held
    if looks.session - keyed.session:
        found.add("session")
    attributes = looks.read_attributes()
    unspelt = {name for name, text in attributes.items() if text == UNSPELT} - keyed.attributes.keys()
    found |= {f"request.{name}" for name in unspelt}
    if fragment.per_user and "user" in looks.roots and "user" not in keyed.roots:
        found |= {f"user.{name}" for name in set_on(looks.user)}
    return sorted(found)


def report(fragment: Fragment, root: str) -> None:
    """Say once that a fragment looks at what its key does not hold; LeakError inside `oxicache.testing.strict()`."""
    name = f"the {fragment.kind.rpartition(':')[2]} {fragment.name!r}"
    remedy = _REMEDIES.get(root, _REMEDY)
    if is_strict():
        raise LeakError(name, root, remedy)
    say(fragment, f"it looks at {root}, which its key does not hold; {remedy}")


_said: set[tuple[str, str, str]] = set()


def say(fragment: Fragment, reason: str) -> None:
    """Say once why a fragment is not kept."""
    mark = (fragment.kind.rpartition(":")[2], fragment.name, reason)
    if mark not in _said and len(_said) < MAX_SAID:
        _said.add(mark)
        logger.warning("The %s %r is not cached: %s.", *mark)


def forget() -> None:
    """Forget what was said and what fragments were seen to look at, for tests."""
    _said.clear()
    known.clear()


# ---------------------------------------------------------------- what joins the key

MAX_NAMES: Final = 16  # of one fragment; past that its renderings are nearly each their own
MAX_KNOWN: Final = 4096  # fragments that look at something of the request

known: dict[str, tuple[str, ...]] = {}  # what each looks at, by its digest


def segments(request: HttpRequest, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a fragment is known to look at, as segments of its key. TypeError names what has no spelling."""
    return tuple([_segment(request, name) for name in names])


def _segment(request: HttpRequest, name: str) -> str:
    if name == _PATH:
        found: str | None = request.path
    elif name == _NAMESPACE:
        match = request.resolver_match
        found = None if match is None else match.namespace
    elif name == "wsgi.url_scheme":
        found = request.scheme
    else:
        found = looked_up(request, name)
    spelt = f"{keys.MARK}none" if found is None else keys.spell(found, name)
    return f"{keys.MARK}{keys.escape(name)}={spelt}"


def learns(fragment: Fragment, names: tuple[str, ...], keyed: Looks, looks: Looks) -> bool:
    """Note what the fragment looked at; whether its key, which has these names, does not hold something of that."""
    attributes = [name for name, text in looks.read_attributes().items() if text != UNSPELT]
    seen = {*looks.headers, *(ATTRIBUTE + name for name in attributes)}
    seen -= {*keyed.headers, *(ATTRIBUTE + name for name in keyed.attributes)}
    if seen.issubset(names):
        return False
    found = seen.union(names, known.get(fragment.digest, ()))
    if len(found) > MAX_NAMES:
        say(fragment, f"it looks at more than {MAX_NAMES} headers and attributes of the request")
    elif len(known) < MAX_KNOWN or fragment.digest in known:
        known[fragment.digest] = tuple(sorted(found))
    return True
