"""Requests of Django REST framework: told apart, keyed and watched, without importing the framework.

Authentication, permissions and throttles have run before a view is handed such a request, on hits too. So its user is
whose the response is, also with `Authorization`. Everything else that its authentication found out is no part of a
key: a view that reads it is seen to. How its responses are held: rest_data.py. Mixins: rest_mixins.py.
"""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast
from uuid import UUID

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest

from oxicache import keys

__all__ = [
    "ATTRIBUTE",
    "GIVEN",
    "is_data",
    "is_plain",
    "is_request",
    "is_response",
    "is_view",
    "looked_up",
    "plain",
    "segments",
    "size_of",
    "unwatched",
    "user_kind",
    "watching",
]

ATTRIBUTE: Final = "rest:"  # begins, among the names of headers, that of an attribute of the request
GIVEN: Final = "given"  # in place of what is secret: only the response to who came without is kept
_RECORD: Final = "_oxicache_record"

# Attributes that a request has from its beginning, or that `segments` holds. Of all others it is noted that they were
# asked for: an authentication class or a permission has set them.
_KNOWN: Final = frozenset(
    {
        "_content_type",
        "_data",
        "_files",
        "_full_data",
        "_parsed_accept_list",
        "_request",
        "_stream",
        "authenticators",
        "method",
        "negotiator",
        "parser_context",
        "parsers",
        "version",
        "versioning_scheme",
        _RECORD,
    }
)
_WHO: Final = frozenset({"_user", "user"})
_HOW: Final = {
    "_auth": "auth",
    "_authenticator": "successful_authenticator",
    "auth": "auth",
    "successful_authenticator": "successful_authenticator",
}
_AUTHORIZATION: Final = "HTTP_AUTHORIZATION"
_SPELT: Final = (str, int, bool, float, UUID)


def _class(module: str, name: str) -> Any:
    """Return a class of the framework, if somebody has imported it: else nobody has made one of its objects."""
    return getattr(sys.modules.get(f"rest_framework.{module}"), name, None)


def is_plain(request: Any) -> bool:
    """Whether it is a request of Django's own."""
    return isinstance(request, HttpRequest)


def is_request(value: Any) -> bool:
    """Whether it is a request of the framework's."""
    kind = _class("request", "Request")
    return kind is not None and isinstance(value, kind)


def is_response(value: Any) -> bool:
    """Whether it is a response of the framework's, which is rendered when everything else is done."""
    kind = _class("response", "Response")
    return kind is not None and isinstance(value, kind)


def is_view(kind: type[Any]) -> bool:
    """Whether it is a class of the framework's views."""
    base = _class("views", "APIView")
    return base is not None and issubclass(kind, base)


def is_data(request: Any, response: Any) -> bool:
    """Whether a view returned data whose renderer is not known yet, or is not the last word."""
    if not is_response(response) or response.is_rendered:
        return False
    return getattr(response, "accepted_renderer", None) is None or not isinstance(request, HttpRequest)


def size_of(data: tuple[Any, ...] | None) -> int | None:
    """Return the size of what is held of a response, in bytes: as JSON, or else of its pickled data."""
    if data is None:
        return None
    pickled, _, rendered, *_ = data  # of `rest_data.Data`
    return len(rendered) or len(pickled)


def plain(request: Any) -> HttpRequest:
    """Return the request of Django's, which one of the framework's holds."""
    return request if isinstance(request, HttpRequest) else cast("HttpRequest", request._request)


def segments(request: Any) -> tuple[str, ...]:
    """Return what a request of the framework's adds to its key: the version that was asked for, however it was."""
    attributes = vars(request)
    version = attributes.get("version")
    if version is None:
        return ()
    return (f"{keys.MARK}version={keys.escape(str(version))}",)


def user_kind(user: Any) -> str | None:
    """Return of which model a user is, if it is not the project's own: each model numbers its rows for itself."""
    return _user_kind(user.__class__, settings.AUTH_USER_MODEL)  # of what a lazy object holds


@functools.lru_cache(maxsize=64)
def _user_kind(kind: Any, usual: str) -> str | None:
    if not issubclass(kind, Model):
        return f"{kind.__module__}.{kind.__qualname__}"
    concrete: Any = kind._meta.concrete_model
    label: str = concrete._meta.label
    return None if label.lower() == usual.lower() else label


# ---------------------------------------------------------------- what a view looks at


@contextmanager
def watching(request: Any, record: Any) -> Iterator[None]:
    """Note in `record` what the block asks of a request of the framework's. What lies beneath: guard.py."""
    record.sees_authorization = True
    with _recorded(request, record):
        yield
    if _AUTHORIZATION in record.headers and plain(request).META.get(_AUTHORIZATION):
        record.note("auth")


@contextmanager
def unwatched(request: Any) -> Iterator[None]:
    """Note nothing of what the block asks: it is asked on hits too."""
    with _recorded(request, None):
        yield


@contextmanager
def _recorded(request: Any, record: Any) -> Iterator[None]:
    attributes = vars(request)
    before = attributes.get(_RECORD)
    kind: Any = type(request)
    if _RECORD not in attributes:
        request.__class__ = _watched(kind)
    attributes[_RECORD] = record
    try:
        yield
    finally:
        if type(request) is kind:
            attributes[_RECORD] = before
        else:
            del attributes[_RECORD]
            request.__class__ = kind


@functools.cache
def _watched(kind: type[Any]) -> type[Any]:
    """Return a class like the request's own, whose instances note what is asked of them.

    A user can have a stand-in, of which nothing is known until it is used. What came with the user may be None, and is
    compared with it.
    """
    attribute_of: Any = kind.__getattribute__

    def asked(self: Any, name: str) -> Any:
        if name == "__class__":
            return kind
        value = attribute_of(self, name)
        attributes = object.__getattribute__(self, "__dict__")
        record = attributes.get(_RECORD)
        if record is not None:
            if name in _WHO:
                record.note("user")
                record.user = value
            elif name in _HOW:
                _note_how(record, _HOW[name], value)
            elif name in attributes and name not in _KNOWN:
                _note_attribute(record, name, value)
        return value

    names = {"__getattribute__": asked, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), names)


def _note_how(record: Any, name: str, value: Any) -> None:
    """What all who came without have in common goes into the key; a token, a claim is somebody's own."""
    if value is None:
        record.note_name(f"{ATTRIBUTE}{name}")
    else:
        record.note("auth")


def _note_attribute(record: Any, name: str, value: Any) -> None:
    if _spelt(name, value) is None and value is not None:
        record.note("attributes")
    else:
        record.note_name(f"{ATTRIBUTE}{name}")


def looked_up(request: Any, name: str) -> str | None:
    """Return the value of an attribute that a record names, None where the request has none."""
    if isinstance(request, HttpRequest):
        return None
    name = name.removeprefix(ATTRIBUTE)
    if name in _HOW:
        return None if getattr(request, name) is None else GIVEN
    value = vars(request).get(name)
    if value is None:
        return None
    return _spelt(name, value) or f"{type(value).__module__}.{type(value).__qualname__}"


def _spelt(name: str, value: Any) -> str | None:
    """Spell the value of an attribute; None where that cannot be done so that no other is spelt alike."""
    if name == "accepted_renderer":
        return f"{type(value).__module__}.{type(value).__qualname__} {value.media_type} {value.format}"
    if type(value) in _SPELT:
        return f"{type(value).__name__} {value}"
    if isinstance(value, Model) and value.pk is not None:
        return f"{value._meta.label} {value.pk!r}"
    return None
