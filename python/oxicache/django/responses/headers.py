"""What a response says to caches outside of this site: Cache-Control, Vary, ETag. What is said when: middleware.py."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase
from django.http.request import HttpHeaders
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags

from oxicache import options

__all__ = [
    "LOCAL",
    "PRIVATE",
    "PUBLIC",
    "REVALIDATED",
    "VARY",
    "get_cache_headers",
    "vary_on_seen",
    "weakened",
]

# Source: document 002, `get_cache_headers` and `CacheMiddleware`
VARY: Final = ("Accept", "Accept-Encoding", "Authorization")
PUBLIC: Final = "public, max-age={:.0f}"
PRIVATE: Final = "private, max-age={:.0f}"
LOCAL: Final = "_oxicache_local"  # marks a response that depends on what no Vary can name
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


def vary_on_seen(
    response: HttpResponseBase, headers: Iterable[str], *, has_cookies: bool, is_local: bool
) -> None:
    """Say in `Vary` what a view was seen to look at: headers, by their names in META, and cookies.

    Of cookies the middleware of sessions says it too, but of a miss alone. Whatever else a view has looked at, as where
    a request comes from, marks the response: no proxy could tell to whom it may hand it.
    """
    names = ["Cookie"] if has_cookies else []
    for name in sorted(headers):
        header = HttpHeaders.parse_header_name(name)
        if header is not None:
            names.append(header)
        elif ":" not in name:
            is_local = True
    if names:
        patch_vary_headers(response, names)
    if is_local:
        setattr(response, LOCAL, True)


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
