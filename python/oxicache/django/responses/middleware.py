"""`CacheMiddleware`: tells browsers and proxies what they may keep, and answers those who have it already.

It caches nothing here: that is cached_view's (decorating.py) and SiteCacheMiddleware's (site.py).
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

from oxicache.django import conf
from oxicache.django.responses import rendering, stored
from oxicache.django.responses.guard import message_marks, watch_cookies
from oxicache.django.responses.headers import LOCAL, PRIVATE, PUBLIC, REVALIDATED, VARY
from oxicache.django.responses.policy import directives, vary_names
from oxicache.django.responses.records import COOKIE, CSRF_NOTE, Record
from oxicache.django.scope import is_anonymous, is_resolved, scope_of

__all__ = ["CacheMiddleware"]

logger = logging.getLogger("oxicache.responses")

_STATUSES: Final = frozenset({200, 304})  # a 304 says what the 200 would say that it stands for
_METHODS: Final = frozenset({"GET", "HEAD"})


class CacheMiddleware:
    """Adds Cache-Control, Vary and ETag to what GET is answered with, and answers conditional requests.

    A view's own Cache-Control or Expires stays. Otherwise a response says `private` with OXICACHE["PRIVATE_MAX_AGE"]
    to a visitor who may be somebody, or where it may depend on a cookie; `private, no-cache` where it sets a cookie, or
    holds a form's token or a message; and `public` with OXICACHE["PUBLIC_MAX_AGE"] in all other cases. Responses that
    are streamed, and others than 200, are left alone.

    Source: document 002, "Cache Headers".
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Serve as sync or as async, as what is inside of it is."""
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return what is inside says, with headers; of an async one an awaitable."""
        if self.is_async:
            return self._acall(request)
        if request.method not in _METHODS:
            return self.get_response(request)
        record = _watched(request)
        response = self.get_response(request)
        if not _is_ours(response):
            return response
        is_known = _is_named(request) if conf.resolver("user") is not None else False
        return _completed(request, response, record, is_known=is_known)

    async def _acall(self, request: HttpRequest) -> Any:
        if request.method not in _METHODS:
            return await self.get_response(request)
        record = _watched(request)
        response = await self.get_response(request)
        if not _is_ours(response):
            return response
        is_known = await sync_to_async(_is_named)(request) if conf.resolver("user") is not None else False
        return _completed(request, response, record, is_known=is_known)


class _CookieRecord(Record):
    """Which cookies were read, but for those whose effect is seen by itself: of sessions, forms and languages."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        super().__init__()
        self.known = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.LANGUAGE_COOKIE_NAME}

    def note_cookie(self, name: str) -> None:
        if name not in self.known:
            super().note_cookie(name)
        elif self.outer is not None:
            self.outer.note_cookie(name)

    def note_meta(self, name: Any) -> None:
        if not isinstance(name, str) or name.removeprefix(COOKIE) not in self.known:
            super().note_meta(name)
        elif self.outer is not None:
            self.outer.note_meta(name)


def _watched(request: HttpRequest) -> _CookieRecord:
    record = _CookieRecord()
    watch_cookies(request, record)
    return record


def _is_ours(response: Any) -> bool:
    if not isinstance(response, HttpResponseBase) or response.status_code not in _STATUSES:
        return False
    return not response.streaming and not rendering.is_unrendered(response)


def _completed(
    request: HttpRequest, response: HttpResponseBase, record: _CookieRecord, *, is_known: bool
) -> HttpResponseBase:
    if not response.has_header("Cache-Control") and not response.has_header("Expires"):
        config = conf.current()
        is_somebody = is_known or _is_somebody(request)
        by_cookie = _is_by_cookie(request, record)
        if _is_once(request, response) or stored.is_stale(response):
            said = REVALIDATED
        elif is_somebody or by_cookie or "cookie" in vary_names(response) or hasattr(response, LOCAL):
            said = PRIVATE.format(config.private_max_age // 1)
        else:
            said = PUBLIC.format(config.public_max_age // 1)
        response["Cache-Control"] = said
        if by_cookie or (is_somebody and settings.SESSION_COOKIE_NAME in request.COOKIES):
            # Else a browser would show the pages of who has logged out to who logs in next.
            patch_vary_headers(response, ("Cookie",))
    patch_vary_headers(response, VARY)
    if _takes_etag(response):
        stored.with_etag(response)
    return stored.conditional(request, response)


def _is_somebody(request: HttpRequest) -> bool:
    """Whether the visitor may be somebody. A user or a session that nobody has asked for is not asked for here."""
    if not is_anonymous(request) or (is_resolved(request) and bool(request.user.is_authenticated)):
        return True
    return (
        vars(request).get("auth") is not None
    )  # as Django REST framework has it, of a key that is no user's


def _is_named(request: HttpRequest) -> bool:
    """Whether the setting USER says that the visitor is somebody."""
    session = getattr(request, "session", None)
    was_accessed = getattr(session, "accessed", False)
    try:
        return scope_of(request, per_tenant=False).user is not None
    except Exception:  # the project's own function: no response fails for it, and none is public
        logger.exception("OXICACHE['USER'] failed, so a response is private.")
        return True
    finally:
        if session is not None:
            session.accessed = was_accessed  # the response does not depend on what is asked after it


def _is_by_cookie(request: HttpRequest, record: _CookieRecord) -> bool:
    """Whether the response may depend on a cookie: of the session, of the language, or another that was read."""
    if getattr(getattr(request, "session", None), "accessed", False) or record.has_cookies:
        return True
    # LocaleMiddleware reads it, and names Accept-Language alone in Vary.
    return hasattr(request, "LANGUAGE_CODE") and settings.LANGUAGE_COOKIE_NAME in request.COOKIES


def _is_once(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether it is an answer to this one request: it sets a cookie, or holds a form's token or a message."""
    if response.cookies or response.has_header("Set-Cookie"):
        return True
    return (
        dict.__contains__(request.META, CSRF_NOTE)  # a guard around this middleware is not to see it asked
        or bool(getattr(vars(request).get("session"), "modified", False))
        or any(message_marks(request))
    )


def _takes_etag(response: HttpResponseBase) -> bool:
    """Whether an ETag of the body would say whether it has changed."""
    # GZipMiddleware compresses nothing to the same bytes twice.
    if response.status_code != 200 or response.has_header("Content-Encoding"):  # noqa: PLR2004 -- a status
        return False
    if "no-store" in directives(response.get("Cache-Control", "")):
        return False
    return bool(response.content)  # type: ignore[attr-defined]  # that of HEAD may be gone already
