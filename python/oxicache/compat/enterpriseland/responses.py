"""What the EnterpriseLand document has for views and APIs, and its two decorators of views and functions alike.

What is said of functions with a request among their arguments, views, is done by oxicache/django/responses; of others,
by oxicache/decorators.py.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.core.cache import DEFAULT_CACHE_ALIAS

from oxicache import decorators
from oxicache.django import conf, responses
from oxicache.django.responses import arguments
from oxicache.django.responses.apis import ANY_STATUS, cached_api
from oxicache.django.responses.asking import Tags
from oxicache.django.responses.decorating import DEFAULT_TTL, Decorator, is_asked
from oxicache.django.responses.fitting import fitted

__all__ = ["cache_on_success", "cached_api", "cached_view", "conditional_cache"]

_F = TypeVar("_F", bound=Callable[..., Any])

Ttl = float | timedelta | str | None
Judge = Callable[..., Any]


def cached_view(
    timeout: Ttl = DEFAULT_TTL,
    key_prefix: str | None = None,
    vary_on: Iterable[str] | None = None,
    tags: Tags | None = None,
    cache_strategy: str | None = None,
    *,
    per_user: bool | None = None,
    **options: Any,
) -> Decorator:
    """`oxicache.django.responses.cached_view`, whose tags are those that `cache_manager.invalidate("tag")` reaches.

    `cache_strategy` names an alias of CACHES: a response lies in a cache, which has its own way of making room, and
    not in a strategy. TypeError for anything else.
    """
    if cache_strategy is not None and not isinstance(cache_strategy, str):
        raise TypeError(f"cache_strategy must be an alias of CACHES, not {cache_strategy!r}")
    alias = cache_strategy or DEFAULT_CACHE_ALIAS
    with arguments.spelt_as("cached_view", alias="cache_strategy"):
        return responses.cached_view(
            timeout, key_prefix, vary_on, tags, per_user=per_user, alias=alias, **options
        )


def conditional_cache(
    condition_func: Judge, timeout: Ttl = DEFAULT_TTL, **options: Any
) -> Callable[[_F], _F]:
    """Cache what a view or a function returns where `condition_func`, given its arguments, returns something true.

    A view's entries are its visitors' own, as those of `cached_view`, which takes the other options. A function's are
    kept by its arguments in this process, as those of `cached_function`; a method's by its instance too.
    """
    decorate = responses.cached_view(timeout, condition_func=condition_func, **options)
    fits = cast("Judge", fitted(condition_func))

    def decorated(function: _F) -> _F:
        given: Any = _either(decorate, function, timeout, lambda args, kwargs: fits(*args, **kwargs), _any)
        return cast("_F", given)

    return decorated


def cache_on_success(
    timeout: Ttl = DEFAULT_TTL, success_func: Judge | None = None, **options: Any
) -> Callable[[_F], _F]:
    """Cache what a view or a function returns where `success_func`, given that, returns something true.

    Omitted: a view's responses with status 200, and all that a function returns but None. A response with another
    status is kept for 60 s at most. Where entries are kept: `conditional_cache`.
    """
    arguments.called("cache_on_success", timeout)
    statuses = (200,) if success_func is None else ANY_STATUS
    arguments.called("cache_on_success", timeout)
    decorate = responses.cached_view(timeout, success_func=success_func, statuses=statuses, **options)

    def decorated(function: _F) -> _F:
        given: Any = _either(decorate, function, timeout, lambda *_: True, success_func or _is_some)
        return cast("_F", given)

    return decorated


def _any(_: Any) -> bool:
    return True


def _is_some(result: Any) -> bool:
    return result is not None


class _Unkept(Exception):  # noqa: N818 -- no error: what a function returned, on its way past the cache
    def __init__(self, result: Any) -> None:
        self.result = result


_METHOD: Final = "self"  # the first parameter of what is called with an instance


def _either(
    decorate: Decorator,
    function: Any,
    timeout: Ttl,
    condition: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    success: Judge,
) -> Any:
    """Return a callable that is a view where it is given a request, and a function where it is not."""
    view = decorate(function)
    if isinstance(function, type):
        return view

    # Of a function alone, and then once: method_decorator decorates a view for each request.
    kept = functools.cache(functools.partial(_memo, function, success, timeout))

    @functools.wraps(view)
    def either(*args: Any, **kwargs: Any) -> Any:
        if is_asked(args):
            return view(*args, **kwargs)
        if not condition(args, kwargs):
            return function(*args, **kwargs)
        try:
            return kept()(*args, **kwargs)
        except _Unkept as found:
            return found.result

    @functools.wraps(view)
    async def aeither(*args: Any, **kwargs: Any) -> Any:
        if is_asked(args):
            return await view(*args, **kwargs)
        if not condition(args, kwargs):
            return await function(*args, **kwargs)
        try:
            return await kept()(*args, **kwargs)
        except _Unkept as found:
            return found.result

    return aeither if iscoroutinefunction(function) else either


def _memo(function: Any, success: Judge, timeout: Ttl) -> Any:
    first = next(iter(inspect.signature(function).parameters), None)
    as_kept = decorators.cached_method if first == _METHOD else decorators.cached_function
    return as_kept(ttl=conf.ttl_of("timeout", timeout))(_judging(function, success))


def _judging(function: Any, success: Judge) -> Any:
    def checked(result: Any) -> Any:
        if not success(result):
            raise _Unkept(result)
        return result

    @functools.wraps(function)
    def judged(*args: Any, **kwargs: Any) -> Any:
        return checked(function(*args, **kwargs))

    @functools.wraps(function)
    async def ajudged(*args: Any, **kwargs: Any) -> Any:
        return checked(await function(*args, **kwargs))

    return ajudged if iscoroutinefunction(function) else judged
