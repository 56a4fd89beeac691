"""`SiteCacheMiddleware`: the whole site through `ResponseCache`. What others may keep of it: middleware.py."""

import functools
from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, resolve

from oxicache._native import KeyPattern
from oxicache.django import conf, transactions
from oxicache.django.responses.decorating import MAX_BYTES, view_name
from oxicache.django.responses.keying import Keying
from oxicache.django.responses.leaving import has_answer
from oxicache.django.responses.serving import ResponseCache
from oxicache.django.scope import is_anonymous

__all__ = ["SiteCacheMiddleware"]

KIND: Final = "site"  # what its keys begin with after the scope, before the prefix of the settings


class SiteCacheMiddleware:
    """Caches what the views of a site answer to GET, for OXICACHE["SITE_TTL"] seconds. Stands last in MIDDLEWARE.

    Visitors without a session cookie and without `Authorization` share entries; with OXICACHE["SITE_USERS"] users have
    entries of their own. What is not cached is what `cached_view` would not cache, for the same reasons, and nobody is
    warned of it. Left alone are views marked `uncached`, views that are cached by themselves, and what
    OXICACHE["SITE_EXEMPT"] names. On a hit no view is called, nor is what other middleware would do right before it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Serve as sync or as async, as what is inside of it is."""
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        transactions.watch_connections()  # what a request shows that has not committed is nobody else's

    def __call__(self, request: HttpRequest) -> Any:
        """Return what is held, or what is inside says; of an async one an awaitable."""
        if self.is_async:
            return self._acall(request)
        name = _wanted(request)
        if name is None:
            return self.get_response(request)
        return _current().serve(request, functools.partial(self.get_response, request), name)

    async def _acall(self, request: HttpRequest) -> Any:
        name = _wanted(request)
        if name is None:
            return await self.get_response(request)
        return await _current().aserve(request, functools.partial(self.get_response, request), name)


def _wanted(request: HttpRequest) -> str | None:
    """Return the name of the view that answers, None where its answer is not to be cached."""
    config = conf.current()
    if request.method not in {"GET", "HEAD"} or not (config.site_users or is_anonymous(request)):
        return None
    try:
        match = resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None
    request.resolver_match = match  # as a view's request has it, for middleware that looks at it later
    if has_answer(match.func) or _is_exempt(config.site_exempt, request.path_info, match):
        return None
    return str(view_name(match.func))


def _is_exempt(patterns: tuple[str, ...], path: str, match: ResolverMatch) -> bool:
    if not patterns:
        return False
    names = (match.view_name or "", match._func_path)
    return any(
        one.matches(path) if one.pattern.startswith("/") else any(map(one.matches, names))
        for one in _globs(patterns)
    )


@functools.lru_cache(maxsize=16)
def _globs(patterns: tuple[str, ...]) -> tuple[KeyPattern, ...]:
    return tuple(map(KeyPattern, patterns))


def _current() -> ResponseCache:
    config = conf.current()
    return _cache_of(config.site_ttl, config.site_alias, config.site_key_prefix, config.site_users)


@functools.lru_cache(maxsize=16)
def _cache_of(ttl: float, alias: str, key_prefix: str | None, has_users: bool) -> ResponseCache:
    return ResponseCache(
        ttl=ttl,
        keying=Keying(key_prefix=f"{KIND}.{key_prefix}" if key_prefix else KIND),
        alias=alias,
        max_bytes=MAX_BYTES,
        cache_users=has_users,
        is_of_site=True,
    )
