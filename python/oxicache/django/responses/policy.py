"""What may be cached: which requests ask for it, which responses allow it, and for how long. Whose it is: keying.py."""

import re
import time
from enum import Enum
from typing import Final

from django.http import HttpRequest, HttpResponseBase
from django.utils.http import parse_http_date_safe

__all__ = ["ERROR_TTL", "OF_ONE_CLIENT", "Wish", "directives", "lifetime", "refusal", "vary_names", "wish_of"]

ERROR_TTL: Final = (
    60.0  # seconds; what is no 200 is seldom right for long. Source: document 003, `cache_errors`
)

# Of one client or one connection, so that no cache may store them: a part of what is there, the answer to a condition,
# and 421, 428, 429, 431 and 511. Source: RFC 9110 and RFC 6585.
OF_ONE_CLIENT: Final = frozenset({206, 304, 421, 428, 429, 431, 511})

_directive = re.compile(r'([^\s,=;]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,]*))?')


class Wish(Enum):
    """What a request wants of a cache."""

    CACHED = "cached"  # what is held will do
    RELOAD = "reload"  # nothing that is held, but the answer may be kept for others
    NEITHER = "neither"


def directives(header: str) -> dict[str, str]:
    """Take a `Cache-Control` apart: its directives in lower case, and what each is equal to, or nothing."""
    return {match[1].lower(): (match[2] or "").strip('"') for match in _directive.finditer(header)}


def wish_of(request: HttpRequest, *, has_scope: bool) -> Wish:  # noqa: PLR0911 -- one for each reason
    """Return what this request wants. `has_scope`: a resolver says whose a request with `Authorization` is."""
    if request.method not in {"GET", "HEAD"}:
        return Wish.NEITHER
    # Past the stand-in of an outer view, whose response does not depend on what is wanted of a cache.
    meta, get = request.META, dict.get
    if not has_scope and get(meta, "HTTP_AUTHORIZATION"):
        return Wish.NEITHER
    if get(meta, "CONTENT_LENGTH") not in {None, "", "0", 0} or get(meta, "HTTP_TRANSFER_ENCODING"):
        return Wish.NEITHER  # a body may say what is wanted, and is in no key
    asked = get(meta, "HTTP_CACHE_CONTROL")
    if asked:
        said = directives(asked)
        if "no-store" in said:
            return Wish.NEITHER
        if "no-cache" in said or said.get("max-age") == "0":
            return Wish.RELOAD
    elif get(meta, "HTTP_PRAGMA", "").lower() == "no-cache":
        return Wish.RELOAD
    return Wish.CACHED


def refusal(  # noqa: PLR0911 -- one for each reason
    response: HttpResponseBase, statuses: frozenset[int], max_bytes: int | None, size: int | None = None
) -> str | None:
    """Say why a response is not cached; None where it may be. `size`: bytes of what is held of one not yet rendered."""
    if getattr(response, "streaming", True):  # the base of all has no content either
        return "it is streamed"
    if response.status_code not in statuses:
        return f"its status is {response.status_code}"
    if response.cookies or response.has_header("Set-Cookie"):
        return "it sets a cookie"
    said = directives(response.get("Cache-Control", ""))
    for name in ("no-store", "private", "no-cache"):
        if name in said:
            return f"its Cache-Control says {name}"
    if "*" in vary_names(response):
        return "it says Vary: *"
    if size is None:
        size = len(response.content)  # type: ignore[attr-defined]  # of all that is not streamed
    if max_bytes is not None and size > max_bytes:
        return f"its {size} bytes are more than max_bytes, {max_bytes}"
    return None


def lifetime(response: HttpResponseBase, ttl: float | None) -> float | None:
    """Return for how long a response is fresh, in seconds: `ttl`, and no longer than it says itself."""
    said = directives(response.get("Cache-Control", ""))
    limits = [] if ttl is None else [ttl]
    if response.status_code != 200:  # noqa: PLR2004 -- a status
        limits.append(ERROR_TTL)
    own = said.get("s-maxage", said.get("max-age", ""))
    if own.isdecimal():
        limits.append(float(own))
    elif response.has_header("Expires"):
        # What is no date is past, says RFC 9111, section 5.3.
        date = parse_http_date_safe(response["Expires"])
        limits.append(0.0 if date is None else max(0.0, date - time.time()))
    return min(limits, default=None)


def vary_names(response: HttpResponseBase) -> list[str]:
    """Return the names of its `Vary` header, in lower case."""
    return [name for part in response.get("Vary", "").split(",") if (name := part.strip().lower())]
