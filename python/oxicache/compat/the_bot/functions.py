"""`cache_query_result` and `get_or_compute` of document 002. What they do: oxicache/django/keeping.py."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

from django.core.cache import DEFAULT_CACHE_ALIAS

from oxicache import keys, options
from oxicache.compat.the_bot.keys import CacheKeyBuilder
from oxicache.django import conf
from oxicache.django.functions import Calls, check_ttl
from oxicache.django.keeping import Keeping, kept
from oxicache.django.responses import arguments

__all__ = ["cache_query_result", "get_or_compute"]

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")
Ttl = float | timedelta | str | None

# As there: None is computed anew each time.
KEEPING: Final = Keeping(alias=DEFAULT_CACHE_ALIAS, cache_none=False)


def cache_query_result(namespace: str, ttl: Ttl = options.DEFAULT_TIMEOUT) -> Callable[[_F], _F]:
    """Cache what a function returns, but None, under `CacheKeyBuilder.make_key(namespace, *args, **kwargs)`.

    As there the function is no part of the key: two of them in one namespace share what they return for the same
    arguments. `ttl` in seconds, a name of CACHE_TIMEOUTS, or None for ever. `invalidate_cache(namespace, ...)` forgets
    one result, `function.cache_clear()` all of the namespace.
    """
    _check_text("namespace", namespace)
    arguments.called("cache_query_result", ttl)
    check_ttl(ttl)

    def spelt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return CacheKeyBuilder.make_key(namespace, *args, **kwargs)

    def globs() -> Iterable[str]:
        return keys.glob_literal(CacheKeyBuilder.make_key(namespace)), CacheKeyBuilder.pattern_key(namespace)

    def decorate(function: _F) -> _F:
        return cast("_F", Calls(function, ttl, spelt, KEEPING, globs=globs).face())

    return decorate


def get_or_compute(cache_key: str, compute_func: Callable[[], _T], ttl: Ttl = options.DEFAULT_TIMEOUT) -> _T:
    """Return what CACHES["default"] holds under a key, taken as it is, or compute and keep it; None is not kept.

    One caller computes, the others wait for it.
    """
    _check_text("cache_key", cache_key)
    if not callable(compute_func):
        raise TypeError(f"compute_func must be callable, not {compute_func!r}")
    return cast("_T", kept(KEEPING, cache_key, compute_func, conf.ttl_of("ttl", ttl)))


def _check_text(name: str, given: Any) -> None:
    if not isinstance(given, str) or not given:
        raise TypeError(f"{name} must be a str that is not empty, not {given!r}")
