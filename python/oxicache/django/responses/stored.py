"""How a response is held: a tuple of immutables, which a store in memory hands out without copying it.

No cookies, no type of its own: what comes back is a plain `HttpResponse`.
"""

import hashlib
from typing import Any, Final, NamedTuple

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import parse_http_date_safe

__all__ = ["AGE", "CACHE_STATUS", "Stored", "answer", "conditional", "freeze", "thaw", "with_etag"]

CACHE_STATUS: Final = "X-Cache"  # HIT, MISS or STALE. Source: document 003, `cached_view`
AGE: Final = "Age"
FORM: Final = (
    "oxicache.response.1"  # another release may hold them in another form, in a store that outlives it
)

# Of one delivery, and not of what is delivered.
_OF_A_DELIVERY = frozenset(
    {"age", "connection", "content-length", "date", "keep-alive", "x-cache", "x-cache-status"}
)

_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE")


class Stored(NamedTuple):
    """One response. Times are seconds on the clock of its store; `fresh_until` None is for ever."""

    form: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    created: float
    fresh_until: float | None

    def is_fresh(self, now: float) -> bool:
        """Whether its time has not passed."""
        return self.fresh_until is None or now < self.fresh_until


def freeze(response: HttpResponse, now: float, ttl: float | None) -> tuple[Any, ...]:
    """Take from a response what is to be held, as a plain tuple: a store copies no such."""
    headers = tuple(
        (str(name), str(value)) for name, value in response.items() if name.lower() not in _OF_A_DELIVERY
    )
    fresh_until = None if ttl is None else now + ttl
    reason = str(response.reason_phrase)
    return (FORM, response.status_code, reason, headers, bytes(response.content), now, fresh_until)


def thaw(value: Any) -> Stored | None:
    """Return what was held, None where it is something else."""
    if type(value) is tuple and len(value) == len(Stored._fields) and value[0] == FORM:
        return Stored(*value)
    return None


def with_etag(response: HttpResponseBase) -> None:
    """Give a response that is about to be held an ETag, unless it has one."""
    if not response.has_header("ETag"):
        body: bytes = response.content  # type: ignore[attr-defined]  # it is not streamed
        response["ETag"] = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def answer(
    stored: Stored, request: HttpRequest, now: float, status: str, header: str = CACHE_STATUS
) -> HttpResponseBase:
    """Return what is held as a response to this request: 304 where its client has it, no body for HEAD."""
    is_head = request.method == "HEAD"
    response = HttpResponse(b"" if is_head else stored.body, status=stored.status, reason=stored.reason)
    del response["Content-Type"]  # a response that was stored without one gets none
    kept = response.headers._store  # they were checked when the view set them
    kept.update({name.lower(): (name, value) for name, value in stored.headers})
    if is_head:
        response["Content-Length"] = str(len(stored.body))
    found = conditional(request, response)
    found[header] = status
    found[AGE] = str(max(0, int(now - stored.created)))
    return found


def conditional(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the response, or in its place what the conditions of the request make of it."""
    if not any(name in request.META for name in _CONDITIONS):
        return response
    modified = response.get("Last-Modified")
    found = get_conditional_response(
        request,
        etag=response.get("ETag"),
        last_modified=parse_http_date_safe(modified) if modified else None,
        response=response,  # type: ignore[arg-type]  # it is not streamed
    )
    return response if found is None else found
