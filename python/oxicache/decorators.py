"""`cached_function`, `cached_method`, `ttl_cached_property`, and `get_or_compute` for what is no function of its own.

`get_data_with_fallback` is `get_or_compute` as document 000 spells it.

Each decorator is written bare or with parameters; the parameters are described in `memos.Options`. What a decorated
callable is made of: memos.py; how it looks to a type checker: decorated.py.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from oxicache import memos, options
from oxicache._native import MISSING, TTLCache
from oxicache.adaptive import AdaptiveTtl
from oxicache.decorated import (
    CachedFunction,
    CachedMethod,
    CachedProperty,
    DecoratesFunction,
    DecoratesMethod,
    DecoratesProperty,
    FunctionOptions,
    MethodOptions,
    PropertyOptions,
    Seconds,
)
from oxicache.loader import Loader
from oxicache.registry import cache_manager

__all__ = [
    "aget_data_with_fallback",
    "aget_or_compute",
    "cached_function",
    "cached_method",
    "get_data_with_fallback",
    "get_or_compute",
    "ttl_cached_property",
]

_P = ParamSpec("_P")
_S = TypeVar("_S")
_R = TypeVar("_R")
_T = TypeVar("_T")


@overload
def cached_function(function: Callable[_P, _R], /) -> CachedFunction[_P, _R]: ...
@overload
def cached_function(
    ttl: Seconds | AdaptiveTtl | None = ..., max_size: int = ..., **given: Unpack[FunctionOptions]
) -> DecoratesFunction: ...
def cached_function(ttl: Any = MISSING, max_size: Any = MISSING, **given: Any) -> Any:
    """Cache what a function, sync or async, returns for each set of arguments.

    One caller computes, the others wait for it. Arguments are keyed by type and content; None is a result like any
    other; an exception is not kept. Results are handed out by reference unless `copy=True`. `key(*args)` says what
    stands for the arguments, `vary` ("scope", "language", "timezone", a callable of nothing, or several) what else a
    result depends on; where `condition(*args)` is false the call passes the cache by. An `AdaptiveTtl` as `ttl` lets
    live longer what is asked for often.
    `function.invalidate(*args)`, `.cache_clear()`, `.cache_info()` and `.cache` are there afterwards.
    """
    return _decorate("cached_function", memos.memo_function, ttl, max_size, given)


@overload
def cached_method(function: Callable[Concatenate[_S, _P], _R], /) -> CachedMethod[_S, _P, _R]: ...
@overload
def cached_method(function: Callable[..., _R], /) -> CachedMethod[Any, ..., _R]: ...
@overload
def cached_method(
    ttl: Seconds | AdaptiveTtl | None = ..., max_size: int = ..., **given: Unpack[MethodOptions]
) -> DecoratesMethod: ...
def cached_method(ttl: Any = MISSING, max_size: Any = MISSING, **given: Any) -> Any:
    """Cache what a method, sync or async, returns for each instance and set of arguments.

    `identity` says who shares an entry: "row", all instances of one row of a database; "instance", nobody, and the
    entries go when the object goes; "class", all instances of a class; a callable, those for whom it returns the same.
    "auto", the default, is "row" for a saved model instance and "instance" for everything else.

    A row's result is computed on a copy loaded for it, one query, because the instance may carry unsaved edits;
    `fresh=False` computes on the instance as it is. Saving or deleting the row invalidates it, in every worker of the
    host; `depends_on` names other models, relations of this one, or "self", whose changes do too. `update()`, bulk
    operations and raw SQL tell nobody. `vary` ("language", "timezone", a callable of the instance, or several) names
    what else a result depends on.

    For the rest see `cached_function`; `method.invalidate(obj, *args)` names the instance, and forgets all that this
    method holds for a row. Source: API reference (akvo), "@cached_method".
    """
    return _decorate("cached_method", memos.memo_method, ttl, max_size, given)


@overload
def ttl_cached_property(function: Callable[[Any], _R], /) -> CachedProperty[_R]: ...
@overload
def ttl_cached_property(
    ttl: Seconds | None = ..., max_size: int = ..., **given: Unpack[PropertyOptions]
) -> DecoratesProperty: ...
def ttl_cached_property(ttl: Any = MISSING, max_size: Any = MISSING, **given: Any) -> Any:
    """Make a property whose value is computed once per instance, or row, and `ttl`; `del obj.prop` forgets it.

    Over an `async def` it is `await obj.prop`. For `identity`, `fresh`, `vary` and `depends_on` see `cached_method`.
    Source: API reference (akvo), "@ttl_cached_property".
    """
    return _decorate("ttl_cached_property", memos.memo_property, ttl, max_size, given)


def _decorate(
    decorator: str,
    make: Callable[[Callable[..., Any], memos.Options], Any],
    ttl: Any,
    max_size: Any,
    given: dict[str, Any],
) -> Any:
    # Bare, the function stands where the ttl would.
    if callable(ttl) or isinstance(ttl, staticmethod | classmethod | property):
        return make(ttl, memos.Options.of(decorator, {"max_size": max_size, **given}))
    chosen = memos.Options.of(decorator, {"ttl": ttl, "max_size": max_size, **given})
    chosen.cache()  # wrong values are said where the parameters stand, not where the function is

    def decorate(function: Callable[..., Any], /) -> Any:
        return make(function, chosen)

    return decorate


def get_or_compute(
    key: Any,
    compute: Callable[[], _T],
    ttl: Any = MISSING,
    *,
    tags: Iterable[str] = (),
    cache: TTLCache[Any, Any] | str = options.DEFAULT_CACHE_NAME,
) -> _T:
    """Return the value held under `key`, or compute and keep it. See `Loader.load`.

    `cache` is a TTLCache or the name of one; a name that is new makes one with the default size and ttl.
    """
    return Loader(_cache(cache)).load(key, compute, ttl=ttl, tags=tags)


async def aget_or_compute(
    key: Any,
    compute: Callable[[], Awaitable[_T]],
    ttl: Any = MISSING,
    *,
    tags: Iterable[str] = (),
    cache: TTLCache[Any, Any] | str = options.DEFAULT_CACHE_NAME,
) -> _T:
    """As `get_or_compute`, for a `compute` that returns an awaitable."""
    return await Loader(_cache(cache)).aload(key, compute, ttl=ttl, tags=tags)


def get_data_with_fallback(
    key: Any, compute_func: Callable[[], _T], cache_name: str = options.DEFAULT_CACHE_NAME
) -> _T:
    """Return what the cache `cache_name` holds under `key`, or compute and keep it, None too; one caller computes.

    A cache that fails is a miss and one log line; what `compute_func` raises is raised. Source: document 000,
    "Graceful Degradation".
    """
    return get_or_compute(key, compute_func, cache=cache_name)


async def aget_data_with_fallback(
    key: Any, compute_func: Callable[[], Awaitable[_T]], cache_name: str = options.DEFAULT_CACHE_NAME
) -> _T:
    """As `get_data_with_fallback`, for a `compute_func` that returns an awaitable."""
    return await aget_or_compute(key, compute_func, cache=cache_name)


def _cache(cache: TTLCache[Any, Any] | str) -> TTLCache[Any, Any]:
    return cache_manager.get_cache(cache) if isinstance(cache, str) else cache
