"""How a response is held: a tuple of immutables, which a store in memory hands out without copying it.

No cookies, no type of its own: what comes back is a plain `HttpResponse`.
"""

import functools
from http.cookies import SimpleCookie
from typing import Any, Final, NamedTuple, TypeAlias

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import ResponseHeaders
from django.utils.cache import get_conditional_response, set_response_etag
from django.utils.http import parse_http_date_safe

from oxicache.django.responses.headers import LOCAL, weakened
from oxicache.django.responses.remarks import Remarks, give, told

__all__ = [
    "AGE",
    "CACHE_STATUS",
    "Data",
    "Stored",
    "answer",
    "conditional",
    "freeze",
    "is_stale",
    "thaw",
    "with_etag",
]

CACHE_STATUS: Final = "X-Cache"  # HIT, MISS or STALE. Source: document 003, `cached_view`
AGE: Final = "Age"
STALE: Final = "STALE"
_STATUSES: Final = (CACHE_STATUS, "X-Cache-Status")  # the second is that of document 004
FORM: Final = (
    "oxicache.response.3"  # another release may hold them in another form, in a store that outlives it
)

# Of one delivery, and not of what is delivered.
_OF_A_DELIVERY = frozenset(
    {"age", "connection", "content-length", "date", "keep-alive", "x-cache", "x-cache-status"}
)


Data: TypeAlias = tuple[Any, ...]  # of a response of Django REST framework. See rest_data.py


class Stored(NamedTuple):
    """One response. Times are seconds on the clock of its store; `fresh_until` None is for ever."""

    form: str
    status: int
    reason: str
    headers: tuple[tuple[str, tuple[str, str]], ...]  # by their names in lower case, as a response holds them
    body: Any  # bytes, or Data
    created: float
    fresh_until: float | None
    remarks: Remarks  # that middleware around the view reads

    def is_fresh(self, now: float) -> bool:
        """Whether its time has not passed."""
        return self.fresh_until is None or now < self.fresh_until


def freeze(
    response: HttpResponse, now: float, ttl: float | None, data: Data | None = None
) -> tuple[Any, ...]:
    """Take from a response what is to be held, as a plain tuple: a store copies no such.

    `data`: in place of its content, of one that is rendered anew each time.
    """
    headers = tuple(
        (name.lower(), (str(name), str(value)))
        for name, value in response.items()
        if name.lower() not in _OF_A_DELIVERY
    )
    fresh_until = None if ttl is None else now + ttl
    reason = str(response.reason_phrase)
    body = bytes(response.content) if data is None else data
    return (FORM, response.status_code, reason, headers, body, now, fresh_until, told(response))


def thaw(value: Any) -> Stored | None:
    """Return what was held, None where it is something else."""
    if type(value) is tuple and len(value) == len(Stored._fields) and value[0] == FORM:
        return Stored(*value)
    return None


def with_etag(response: HttpResponseBase) -> None:
    """Give a response that is about to be held an ETag, as ConditionalGetMiddleware does, unless it has one."""
    if not response.has_header("ETag"):
        set_response_etag(response)


def answer(
    stored: Stored, request: HttpRequest, now: float, status: str, header: str = CACHE_STATUS
) -> HttpResponseBase:
    """Return what is held as a response to this request: 304 where its client has it.

    To HEAD too it has a body, as a view's has: it may be for another view, and servers leave it out.
    """
    response = _response(stored.body, stored.status, stored.reason)
    kept = response.headers._store
    kept.update(stored.headers)  # they were checked when the view set them
    if request.method == "HEAD":
        response["Content-Length"] = str(len(stored.body))
    found = conditional(request, response)
    kept = found.headers._store  # of a 304 its own
    if stored.remarks:
        give(found, stored.remarks)
    kept[header.lower()] = (header, status)
    kept["age"] = (AGE, str(max(0, int(now - stored.created))))
    return found


def _response(body: bytes, status: int, reason: str) -> HttpResponse:
    """Return a response without headers: as its constructor makes it, which takes longer than all the rest of a hit."""
    blank = _blank()
    if blank is None:
        response = HttpResponse(body, status=status, reason=reason)
        del response["Content-Type"]
        return response
    response = HttpResponse.__new__(HttpResponse)
    attributes = vars(response)
    attributes.update(blank)
    headers = ResponseHeaders.__new__(ResponseHeaders)
    headers._store = {}
    attributes["headers"] = headers
    attributes["cookies"] = SimpleCookie()
    attributes["_resource_closers"] = []
    attributes["_container"] = [body]
    attributes["_reason_phrase"] = reason
    attributes["status_code"] = status
    return response


_OWN: Final = frozenset(
    {"headers", "cookies", "_resource_closers", "_container", "_reason_phrase", "status_code"}
)
_SHARED: Final = (type(None), bool, int, str)


@functools.cache
def _blank() -> dict[str, Any] | None:
    """Return what all responses have alike; None for a Django that gives them more than is known here."""
    made = vars(HttpResponse(b"", status=200, reason="OK"))
    others = {name: value for name, value in made.items() if name not in _OWN}
    is_known = made.keys() >= _OWN and vars(made["headers"]).keys() == {"_store"}
    return others if is_known and all(isinstance(value, _SHARED) for value in others.values()) else None


def is_stale(response: HttpResponseBase) -> bool:
    """Whether a response is one past its time, given because the view failed: the next one may be right again."""
    return any(response.get(name) == STALE for name in _STATUSES)


def conditional(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the response, or in its place what the conditions of the request make of it.

    One that another cached view asks for is whole: the client's conditions are about that one's.
    """
    meta = request.META
    if hasattr(meta, "record") or not (
        "HTTP_IF_NONE_MATCH" in meta
        or "HTTP_IF_MODIFIED_SINCE" in meta
        or "HTTP_IF_MATCH" in meta
        or "HTTP_IF_UNMODIFIED_SINCE" in meta
    ):
        return response
    modified = response.get("Last-Modified")
    found = get_conditional_response(
        request,
        etag=response.get("ETag"),
        last_modified=parse_http_date_safe(modified) if modified else None,
        response=response,  # type: ignore[arg-type]  # it is not streamed
    )
    if found is None:
        return response
    if getattr(response, LOCAL, False):
        setattr(found, LOCAL, True)
    weakened(request, found)
    return found
