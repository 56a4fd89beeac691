"""What a decorated call does in Python, hit or miss: it is keyed by its user's own function, judged, or counted.

A decorated callable without `key`, `condition`, an adaptive ttl or a function's `vary` has nothing of this: its hits
never leave the native half. Which options there are: memos.py.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from oxicache import rows
from oxicache._native import Memo, MemoKey
from oxicache.adaptive import Meter

__all__ = ["Way", "way_of", "wrapped"]

ATTRIBUTES = ("cache", "cache_clear", "cache_info")


class _Call(NamedTuple):
    """One call as a single argument: what its key is, its user's function says."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Way(NamedTuple):
    """How calls reach the native half, which knows a function, the identity of its first argument, and the rest."""

    function: Callable[..., Any]
    identity: Any
    tags: Any
    given: Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    is_natural: bool  # whether that is the call as it is


def way_of(function: Callable[..., Any], decorator: str, name: str, options: Any) -> Way:
    """Return how calls of a function with these options reach the native half."""
    if options.key is not None:
        return _by_key(function, options.key, options.tags)
    if options.identity == "none" and (vary := rows.vary_reader(name, decorator, _of_nothing(options.vary))):
        return _varied(function, vary, options.tags)
    return Way(function, options.identity, options.tags, _as_given, is_natural=True)


def _as_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def _by_key(function: Callable[..., Any], key: Callable[..., Any], tags: Any) -> Way:
    def called(call: _Call) -> Any:
        return function(*call.args, **call.kwargs)

    async def acalled(call: _Call) -> Any:
        return await function(*call.args, **call.kwargs)

    def keyed(call: _Call) -> Any:
        return key(*call.args, **call.kwargs)

    def tagged(call: _Call) -> Any:
        return tags(*call.args, **call.kwargs)

    return Way(
        _like(function, acalled if inspect.iscoroutinefunction(function) else called),
        keyed,
        tagged if callable(tags) else tags,
        lambda args, kwargs: ((_Call(args, kwargs),), {}),
        is_natural=False,
    )


def _varied(function: Callable[..., Any], vary: Callable[[Any], tuple[Any, ...]], tags: Any) -> Way:
    def called(_: Any, /, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    async def acalled(_: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    def tagged(_: Any, /, *args: Any, **kwargs: Any) -> Any:
        return tags(*args, **kwargs)

    return Way(
        _like(function, acalled if inspect.iscoroutinefunction(function) else called),
        _itself,
        tagged if callable(tags) else tags,
        lambda args, kwargs: ((vary(None), *args), kwargs),
        is_natural=False,
    )


def _itself(found: Any) -> Any:
    return found


def _of_nothing(vary: Any) -> Any:
    """Have the callables among these be given an instance, of which they know nothing."""
    if callable(vary):
        return lambda _: vary()
    if isinstance(vary, str) or not isinstance(vary, Iterable):
        return vary
    return tuple(_of_nothing(one) for one in vary)


def _like(function: Callable[..., Any], inner: Callable[..., Any]) -> Callable[..., Any]:
    return functools.update_wrapper(inner, function)


class _Plan(Protocol):
    """What memos.py knows of a decorated callable."""

    called: Callable[..., Any]
    way: Way
    meter: Meter | None
    options: Any

    def call(self, memo: Memo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    async def acall(self, memo: Memo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


def wrapped(plan: _Plan, memo: Memo) -> Any:
    """Return what callers call. A function, so that a class binds it."""
    function, given, condition = plan.called, plan.way.given, plan.options.condition

    def called(*args: Any, **kwargs: Any) -> Any:
        if condition is not None and not condition(*args, **kwargs):
            return function(*args, **kwargs)
        return plan.call(memo, *given(args, kwargs))

    async def acalled(*args: Any, **kwargs: Any) -> Any:
        if condition is not None and not condition(*args, **kwargs):
            return await function(*args, **kwargs)
        return await plan.acall(memo, *given(args, kwargs))

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        positional, named = given(args, kwargs)
        return memo.invalidate(*positional, **named)

    def key(*args: Any, **kwargs: Any) -> MemoKey:
        positional, named = given(args, kwargs)
        return memo.key(*positional, **named)

    decorated: Any = acalled if inspect.iscoroutinefunction(function) else called
    for name in ATTRIBUTES:
        setattr(decorated, name, getattr(memo, name))
    decorated.invalidate, decorated.key, decorated.meter = invalidate, key, plan.meter
    return decorated
