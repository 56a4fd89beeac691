"""`cached_method` and `smart_cache` of document 003. What they do: oxicache/django/functions.py, decorators.py."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast

from django.core.cache import DEFAULT_CACHE_ALIAS, caches

from oxicache import decorators, options
from oxicache.adaptive import AdaptiveTtl
from oxicache.compat.enterpriseland.monitoring import cache_monitor
from oxicache.django import conf
from oxicache.django.backends import NativeCache
from oxicache.django.codes import name_of
from oxicache.django.functions import Calls, by_arguments, cached_in, globs_of, scoped
from oxicache.django.keeping import Keeping
from oxicache.django.responses import arguments

__all__ = ["cached_method", "smart_cache"]

_F = TypeVar("_F", bound=Callable[..., Any])


def cached_method(
    timeout: float | timedelta | str | None = options.DEFAULT_TIMEOUT,
    key_func: Callable[..., Any] | None = None,
    tags_func: Callable[..., Iterable[str]] | None = None,
    cache_none: bool = False,
) -> Callable[[_F], _F]:
    """Cache what a method returns, for each instance and its arguments; None only with `cache_none`.

    That is `oxicache.cached_method`: the entries are the instance's own, or its row's, in the memory of this process.
    With `key_func`, which is given the instance and the arguments, they lie in CACHES["default"] under what it returns
    and the method's name behind it, so that patterns find them: whose they are it alone says. `tags_func`, given the
    same, returns the tags that invalidate them.
    """
    arguments.called("cached_method", timeout)
    arguments.function("key_func", key_func)
    arguments.function("tags_func", tags_func)
    tags = tags_func or ()
    made: Any
    if key_func is None:
        made = decorators.cached_method(ttl=conf.ttl_of("timeout", timeout), tags=tags, cache_none=cache_none)
    else:
        made = cached_in(ttl=timeout, key=key_func, tags=tags, cache_none=cache_none)
    return cast("Callable[[_F], _F]", made)


def smart_cache(
    base_timeout: float | timedelta = 300,
    min_timeout: float | timedelta = 60,
    max_timeout: float | timedelta = 3600,
    monitor: bool = True,
) -> Callable[[_F], _F]:
    """Cache what a function returns in CACHES["default"], the longer the more often it is asked for: `AdaptiveTtl`.

    Below 1 ask in an hour for `min_timeout` seconds, above 10 for `max_timeout`, at first for `base_timeout`.
    `function.invalidate(*args)` forgets the result of a call, without arguments all results; how many there were.
    `function.get_stats(*args)` tells the count, last_access and frequency (in an hour) of a call, {} if it was never
    made; without arguments those of all calls together. With `monitor`, `cache_monitor` shows hits and misses of
    caches that do not count them themselves.
    """
    arguments.called("smart_cache", base_timeout)
    arguments.switch("monitor", monitor)
    with arguments.spelt_as("smart_cache", base="base_timeout", low="min_timeout", high="max_timeout"):
        adaptive = AdaptiveTtl(base_timeout, min_timeout, max_timeout)

    def decorate(function: _F) -> _F:
        _, dot, mark = name_of(function).rpartition("@")
        start = f"smart:{function.__module__}:{function.__qualname__}" + (f"@{mark}" if dot else "")
        calls = Calls(
            function,
            adaptive,
            scoped(by_arguments(start, function)),
            Keeping(alias=DEFAULT_CACHE_ALIAS),
            globs=lambda: globs_of(start),
            asked=_record if monitor else None,
        )
        made = calls.face()
        made.invalidate = lambda *args, **kwargs: (
            calls.invalidate(*args, **kwargs) if args or kwargs else calls.cache_clear()
        )
        made.get_stats = lambda *args, **kwargs: _stats(calls, args, kwargs)
        return cast("_F", made)

    return decorate


def _record(key: str, outcome: Literal["hit", "miss"]) -> None:
    if isinstance(caches[DEFAULT_CACHE_ALIAS], NativeCache):
        return  # it counts them itself
    metrics = cache_monitor.metrics
    (metrics.record_hit if outcome == "hit" else metrics.record_miss)(key)


def _stats(calls: Calls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    meter = calls.meter
    assert meter is not None, "smart_cache counts"
    if args or kwargs:
        key = calls.key(*args, **kwargs)
        known = [(key, asks)] if key is not None and (asks := meter.asks(key)) is not None else []
    else:
        known = meter.all()
    if not known:
        return {}
    return {
        "count": sum(asks.count for _, asks in known),
        "last_access": max(asks.last for _, asks in known),
        "frequency": sum(meter.per_hour(key) for key, _ in known),
    }
