"""What a response says to caches outside of this site: Cache-Control, Vary, ETag. What is said when: middleware.py."""

from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase
from django.utils.http import parse_etags

from oxicache import options

__all__ = ["PRIVATE", "PUBLIC", "REVALIDATED", "VARY", "get_cache_headers", "weakened"]

# Source: document 002, `get_cache_headers` and `CacheMiddleware`
VARY: Final = ("Accept", "Accept-Encoding", "Authorization")
PUBLIC: Final = "public, max-age={:.0f}"
PRIVATE: Final = "private, max-age={:.0f}"
REVALIDATED: Final = "private, no-cache"  # a browser may keep it, and asks each time whether it still holds


def get_cache_headers(ttl: float | timedelta = 300, is_private: bool = False) -> dict[str, str | None]:
    """Return the headers that let others cache a response: `Cache-Control`, `ETag` and `Vary`.

    `ttl` is in seconds, without their fraction; private is for the browser alone. `ETag` is None: it is a matter of the
    body, and CacheMiddleware adds it. TypeError and ValueError name a wrong argument.

    Source: document 002, "Cache Headers".
    """
    if not isinstance(is_private, bool):
        raise TypeError(f"is_private must be True or False, not {is_private!r}")
    seconds = options.seconds("ttl", ttl)
    if seconds == float("inf"):
        raise ValueError("ttl must be a finite number of seconds: max-age has no word for ever")
    said = (PRIVATE if is_private else PUBLIC).format(seconds // 1)
    return {"Cache-Control": said, "ETag": None, "Vary": ", ".join(VARY)}


def weakened(request: HttpRequest, response: HttpResponseBase) -> None:
    """Give a 304 the weak ETag by which its client knows the response, where it is known by that alone.

    GZipMiddleware makes the ETag of what it compresses weak, and leaves that of a 304, which has no body, as it is. A
    client whose tag is weak finds nothing that it could freshen by a strong one (RFC 9111, section 4.3.4).
    """
    tag: Any = response.get("ETag")
    if response.status_code != 304 or not tag or tag.startswith("W/"):  # noqa: PLR2004 -- a status
        return
    known = parse_etags(request.META.get("HTTP_IF_NONE_MATCH", ""))
    if tag not in known and f"W/{tag}" in known:
        response["ETag"] = f"W/{tag}"
