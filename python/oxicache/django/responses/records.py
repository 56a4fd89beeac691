"""What the leak guard notes of a request: roots, headers, cookies, attributes. Who notes it: guard.py, attributes.py.

A header, a cookie that is absent, and an attribute have a name each by which the key holds them.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.utils.functional import LazyObject, empty

from oxicache import keys
from oxicache._native import MISSING
from oxicache.django.responses import instances, rest
from oxicache.django.responses.instances import VIEW

__all__ = [
    "ATTRIBUTE",
    "COOKIE",
    "CSRF_NOTE",
    "UNSPELT",
    "Originals",
    "Record",
    "attribute_text",
    "is_loaded",
    "looked_up",
    "meta_name",
    "resolved",
    "take",
]

# In every key, or the same for all who can share one: no news.
_KEYED_META: Final = frozenset(
    {
        "CONTENT_LENGTH",
        "HTTP_AUTHORIZATION",  # a request that has it is cached only where a resolver has told whose it is
        "HTTP_CACHE_CONTROL",
        "HTTP_IF_MATCH",  # what answers a condition is no 200, and a 200 is whole
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_UNMODIFIED_SINCE",
        "PATH_INFO",
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "SERVER_NAME",
        "SERVER_PORT",
    }
)
_COOKIES: Final = frozenset({"HTTP_COOKIE", "CSRF_COOKIE"})
_AUTHORIZATION: Final = "HTTP_AUTHORIZATION"
_QUERY: Final = "QUERY_STRING"  # in the key, but where all parameters are left out
_BY_COOKIE: Final = frozenset({"COOKIES", "session", "user"})
COOKIE: Final = "cookie:"  # begins, among the names of headers, that of a single cookie
CSRF_NOTE: Final = "CSRF_COOKIE_NEEDS_UPDATE"
ATTRIBUTE: Final = "attribute:"  # and that of what a middleware has set on the request
UNSPELT: Final = "\0unspelt"  # of an attribute that cannot be part of a key; no text is spelt so


class Originals(NamedTuple):
    """A request as it was before its view."""

    meta: Mapping[str, Any]
    cookies: Mapping[str, Any]
    attributes: Mapping[str, Any]


class Record:
    """What was looked at: roots (`user`, `session`, `COOKIES`, ...), headers by their name in META, attributes."""

    __slots__ = (
        "attributes",
        "has_session",
        "headers",
        "is_taken",
        "originals",
        "outer",
        "roots",
        "sees_authorization",
        "session",
        "set_user",
        "user",
        "view",
    )

    def __init__(self, outer: "Record | None" = None) -> None:
        """Begin with nothing. What this one notes an outer one notes too: a cached view may call another."""
        self.headers: set[str] = set()
        self.roots: set[str] = set()
        self.attributes: dict[
            str, Any
        ] = {}  # by name: the text of each, as it was when it was first looked at
        self.session: set[Any] = set()  # the names in it that were looked at
        self.has_session = False  # something of it was looked at, for whatever
        self.originals = Originals({}, {}, {})
        self.user: Any = None  # as the view got it
        # By the view itself: Django REST framework has an authentication of its own.
        self.set_user: Any = None
        self.sees_authorization = False  # a request with `Authorization` came this far without a resolver
        self.outer = outer
        self.is_taken = False  # by a view inside that answers for itself
        self.view: Mapping[str, Any] = {}  # what the view had on itself, before it was asked

    @property
    def has_cookies(self) -> bool:
        """Whether what was looked at may have told visitors apart by a cookie: one that is not there does so too."""
        is_read = bool(self.session) or not self.roots.isdisjoint(_BY_COOKIE)
        return is_read or any(name.startswith(COOKIE) for name in self.headers)

    @property
    def has_attributes(self) -> bool:
        """Whether what somebody has set on the request, or its view, was looked at. Vary names the language."""
        texts = self.read_attributes()
        is_set = any(text is not None for name, text in texts.items() if name != "LANGUAGE_CODE")
        return is_set or any(name.startswith((rest.ATTRIBUTE, VIEW)) for name in self.headers)

    def note(self, root: str) -> None:
        """Note a root."""
        self.roots.add(root)
        if self.outer is not None:
            self.outer.note(root)

    def note_sent(self) -> None:
        """Note that what the visitor has sent was looked at. Of a view it is seen otherwise: guard.py."""

    def note_name(self, name: str) -> None:
        """Note what `looked_up` finds the value of."""
        self.headers.add(name)
        if self.outer is not None:
            self.outer.note_name(name)

    def take(self) -> None:
        """Note that a view inside says itself what may be cached of it."""
        self.is_taken = True
        if self.outer is not None:
            self.outer.take()

    def note_cookie(self, name: str) -> None:  # noqa: ARG002 -- for a record to which some say nothing
        """Note that a cookie was read that is there."""
        self.note("COOKIES")

    def note_meta(self, name: Any) -> None:
        """Note what was read of META."""
        if name in _COOKIES:
            self.note("COOKIES")
        elif name == CSRF_NOTE:
            self.note("csrf")
        elif name == _QUERY:
            self.note("GET")
        elif name == _AUTHORIZATION:
            if self.sees_authorization:
                self.headers.add(name)
            if self.outer is not None:
                self.outer.note_meta(name)
        elif isinstance(name, str) and not _is_keyed(name):
            self.headers.add(name)
            if self.outer is not None:
                self.outer.note_meta(name)

    def note_session(self, name: Any) -> None:
        """Note a name in the session."""
        self.session.add(name)
        if self.outer is not None:
            self.outer.note_session(name)

    def note_view(self, name: str) -> None:
        """Note what a view has found on itself. An outer view has seen where it came from."""
        if _text_or_none(name, self.view[name]) == UNSPELT:
            self.roots.add(f"view.{name}")
        else:
            self.headers.add(f"{VIEW}{name}")

    def note_attribute(self, name: str) -> None:
        """Note an attribute that somebody has set on the request, or has not."""
        if name not in self.attributes:
            value = self.originals.attributes.get(name, MISSING)
            if value is MISSING:
                self.attributes[name] = None
            else:
                # One that is lazy says later what it is, if the view has wanted to know.
                self.attributes[name] = value if isinstance(value, LazyObject) else _text_or_none(name, value)
        if self.outer is not None:
            self.outer.note_attribute(name)

    def read_attributes(self) -> dict[str, str | None]:
        """Return the texts of the attributes that were looked at: UNSPELT of one without, None of an absent one."""
        found = {}
        for name, value in self.attributes.items():
            if value is None or type(value) is str:
                found[name] = value
            elif is_loaded(value):  # else the view has passed it on, and not looked
                found[name] = _text_or_none(name, value)
        return found

    def looked_up(self, request: Any, name: str) -> str | None:
        """As `looked_up`, of the request as it was before the view."""
        if name.startswith(rest.ATTRIBUTE):
            return rest.looked_up(request, name)
        if name.startswith(VIEW):
            return _view_text(name, self.view.get(name[len(VIEW) :], MISSING))
        if name.startswith(ATTRIBUTE):
            text = self.attributes.get(name[len(ATTRIBUTE) :])
            if type(text) is str:  # a lazy object claims to be one
                return text
        return _value_in(self.originals, name)


def looked_up(request: HttpRequest, name: str) -> str | None:
    """Return the value of what a record names: a header, a cookie, an attribute. TypeError names one without a text."""
    if name.startswith(rest.ATTRIBUTE):
        return rest.looked_up(request, name)
    if name.startswith(VIEW):
        return _view_text(name, instances.value_of(request, name[len(VIEW) :]))
    request = rest.plain(request)
    if name.startswith(ATTRIBUTE):
        attribute = name[len(ATTRIBUTE) :]
        # Asked for, and not looked up alone: an outer view that is watched depends on it too.
        value = getattr(request, attribute, None)
        return attribute_text(attribute, value) if attribute in vars(request) else None
    if name.startswith(COOKIE):
        return request.COOKIES.get(name[len(COOKIE) :])
    return _header_text(name, request.META.get(name))


def _value_in(originals: Originals, name: str) -> str | None:
    meta, cookies, attributes = originals
    if name.startswith(ATTRIBUTE):
        attribute = name[len(ATTRIBUTE) :]
        return attribute_text(attribute, attributes[attribute]) if attribute in attributes else None
    if name.startswith(COOKIE):
        return cookies.get(name[len(COOKIE) :])
    return _header_text(name, meta.get(name))


def _header_text(name: str, value: Any) -> str | None:
    if name == _AUTHORIZATION:
        return rest.GIVEN if value else None
    return None if value is None else str(value)


def attribute_text(name: str, value: Any) -> str:
    """Return the text that stands for an attribute. TypeError where there is none."""
    return keys.spell(resolved(value), f"request.{name}")


def _view_text(name: str, value: Any) -> str | None:
    return None if value is MISSING else attribute_text(name, value)


def _text_or_none(name: str, value: Any) -> str:
    try:
        return attribute_text(name, value)
    except Exception:  # noqa: BLE001 -- what an object of the project makes of being asked for its key
        return UNSPELT


def resolved(value: Any) -> Any:
    """Return what a lazy object stands for, which is loaded if need be; anything else as it is."""
    if isinstance(value, LazyObject):
        if not is_loaded(value):
            value._setup()
        return vars(value)["_wrapped"]
    return value


def is_loaded(value: Any) -> bool:
    """Whether somebody has asked a lazy object for what it stands for."""
    return vars(value).get("_wrapped", empty) is not empty


def meta_name(header: str) -> str:
    """Return the name in META of a header."""
    return HttpHeaders.to_wsgi_name(header)


def take(request: Any) -> None:
    """Tell who watches this request that a view says itself what may be cached of it."""
    record = getattr(request.META, "record", None)
    if record is not None:
        record.take()


def _is_keyed(name: str) -> bool:
    if name in _KEYED_META or name.startswith(("wsgi.", "asgi.")):
        return True
    if name in {"HTTP_HOST", "HTTP_X_FORWARDED_HOST"}:  # the one that the host of the key is taken from
        return bool(settings.USE_X_FORWARDED_HOST) is (name == "HTTP_X_FORWARDED_HOST")
    secure = settings.SECURE_PROXY_SSL_HEADER
    return bool(secure) and name == secure[0]
