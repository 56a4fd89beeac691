"""What middleware sets on a request (`tenant`, `htmx`, `organisation`, `site`), noted when a view looks at it.

While a view runs its request has a class derived from its own, which notes what it is asked for. An attribute that is
not there is noted too: the next request may have it. `vars(request)` is not noted: Django itself reads it all the time.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import LazyObject

from oxicache.django.responses.records import ATTRIBUTE, Record, is_loaded

__all__ = ["foreign", "is_waiting", "is_watched_elsewhere", "noting"]

_RECORD: Final = "_oxicache_record"
_inmost: ContextVar[Record | None] = ContextVar("oxicache_record", default=None)  # what this task notes in

# Django's own: in the key, guarded otherwise, or of no meaning for what is rendered.
_DJANGOS: Final = frozenset(
    {
        "COOKIES",
        "FILES",
        "GET",
        "META",
        "POST",
        "_acached_user",
        "_body",
        "_cache_update_cache",
        "_cached_user",
        "_current_scheme_host",
        "_dont_enforce_csrf_checks",
        "_encoding",
        "_files",
        "_messages",
        "_post",
        "_post_parse_error",
        "_read_started",
        "_stream",
        "_upload_handlers",
        "accepted_types",
        "accepted_types_by_precedence",
        "auser",
        "body",
        "content_params",
        "content_type",
        "encoding",
        "csrf_cookie_needs_update",
        "csrf_processing_done",
        "environ",
        "exception_reporter_class",
        "exception_reporter_filter",
        "headers",
        "method",
        "path",
        "path_info",
        "resolver_match",
        "scheme",
        "scope",
        "script_name",
        "sensitive_post_parameters",
        "session",
        "user",
        _RECORD,
    }
)
# Of Django's, where nothing stands in for them, and what of META they come from. A GET may have a type of content too.
# The address and the method are in the key of every response, and not in that of a fragment of a template.
_NOTED: Final = {
    "GET": "QUERY_STRING",
    "FILES": "REQUEST_METHOD",
    "POST": "REQUEST_METHOD",
    "body": "REQUEST_METHOD",
    "content_params": "CONTENT_TYPE",
    "content_type": "CONTENT_TYPE",
    "encoding": "CONTENT_TYPE",
    "method": "REQUEST_METHOD",
    "path": "PATH_INFO",
    "path_info": "PATH_INFO",
    "scheme": "wsgi.url_scheme",
}
_SENT: Final = frozenset({"FILES", "POST", "body"})  # by the visitor, if there is anything in it


def foreign(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a request's attributes that somebody else than Django has set."""
    return {name: value for name, value in attributes.items() if name not in _DJANGOS}


def is_waiting(request: HttpRequest, names: Iterable[str]) -> bool:
    """Whether one of these names, as a record has them, is of a lazy object that nobody has asked yet."""
    attributes = vars(request)
    for name in names:
        if name.startswith(ATTRIBUTE):
            value = attributes.get(name[len(ATTRIBUTE) :])
            if isinstance(value, LazyObject) and not is_loaded(value):
                return True
    return False


def is_watched_elsewhere(request: HttpRequest) -> bool:
    """Whether another task, or another thread, has the request watched, and does so no longer when it is done."""
    record = vars(request).get(_RECORD)
    return record is not None and record is not _inmost.get()


@contextmanager
def noting(request: HttpRequest, record: Record) -> Iterator[None]:
    """Note in `record` which attributes of the request the block looks at."""
    attributes = vars(request)
    record.originals = record.originals._replace(attributes=foreign(attributes))
    kind: Any = type(request)
    outer = attributes.get(_RECORD)
    around = _inmost.get()
    attributes[_RECORD] = record
    if outer is None:
        request.__class__ = _watched(kind)
    _inmost.set(record)
    try:
        yield
    finally:
        _inmost.set(around)
        if outer is None:
            attributes.pop(_RECORD, None)
            request.__class__ = kind
        else:
            attributes[_RECORD] = outer


@functools.lru_cache(maxsize=64)
def _watched(kind: Any) -> type[HttpRequest]:
    """Derive a class of requests that note what they are asked for."""
    plain = kind.__getattribute__

    def asked(self: HttpRequest, name: str) -> Any:
        if name == "__class__":
            return kind
        if name in _DJANGOS or name.startswith("__"):
            if name in _NOTED and (record := plain(self, "__dict__").get(_RECORD)) is not None:
                record.note_meta(_NOTED[name])
                if name in _SENT and plain(self, name):
                    record.note_sent()
            return plain(self, name)
        attributes = plain(self, "__dict__")
        record = attributes.get(_RECORD)
        try:
            value = plain(self, name)
        except AttributeError:
            if record is not None:
                record.note_attribute(name)
            raise
        if record is not None and name in record.originals.attributes:
            record.note_attribute(name)
        return value

    # Without slots of its own it has the layout of the class that it is derived from, and can take its place.
    return type(
        kind.__name__, (kind,), {"__slots__": (), "__getattribute__": asked, "__module__": kind.__module__}
    )
