"""`cache_response`, `cache_page_conditional` and `cache_etag_condition` of document 002. What they do: responses/."""

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.views.decorators.http import condition

from oxicache.django.responses import arguments, cached_view
from oxicache.django.responses.decorating import DEFAULT_TTL, Decorator, is_asked

__all__ = ["cache_etag_condition", "cache_page_conditional", "cache_response"]

_V = TypeVar("_V", bound=Callable[..., Any])


def cache_response(
    ttl: float | timedelta | str | None = None,
    key_func: Callable[..., Any] | None = None,
    cache_name: str = DEFAULT_CACHE_ALIAS,
    **options: Any,
) -> Decorator:
    """Cache what a view returns to GET with status 200 to who is logged in. `ttl` is in seconds; None and 0 are 300.

    Each user has entries of his own. What `key_func` returns, given the request and as much of the view's arguments as
    it takes, stands in the key in his place: users for whom it is the same share. The other options are those of
    `cached_view`.
    """
    arguments.called("cache_response", ttl)
    with arguments.spelt_as("cache_response", timeout="ttl", alias="cache_name"):
        return _cached(
            ttl or DEFAULT_TTL, key_func, {"alias": cache_name, "cache_anonymous": False, **options}
        )


def cache_page_conditional(
    ttl: float | timedelta | str | None = DEFAULT_TTL,
    key_builder: Callable[..., Any] | None = None,
    **options: Any,
) -> Decorator:
    """As `cache_response`, and for visitors who are not logged in too; `ttl` None is for ever, and 0 nothing."""
    arguments.called("cache_page_conditional", ttl)
    with arguments.spelt_as("cache_page_conditional", timeout="ttl", key_func="key_builder"):
        return _cached(ttl, key_builder, options)


def _cached(
    ttl: float | timedelta | str | None, key_func: Callable[..., Any] | None, options: dict[str, Any]
) -> Decorator:
    # Whom the key tells apart is what the project's own function is there to say.
    per_user = None if key_func is None else False
    return cached_view(ttl, **{"per_user": per_user, "key_func": key_func, **options})


def cache_etag_condition(
    etag_func: Callable[..., Any], last_modified_func: Callable[..., Any] | None = None
) -> Callable[[_V], _V]:
    """Django's `condition`, on functions and methods, sync and async: 304 where the client has what `etag_func` names.

    Both functions are given the request and the view's arguments. Of an async view they are asked in a thread, for
    they read rows; an async one is awaited. TypeError names one that is no function.
    """
    arguments.function("etag_func", etag_func, may_be_async=True)
    arguments.function("last_modified_func", last_modified_func, may_be_async=True)

    def decorate(view: _V) -> _V:
        @functools.wraps(view)
        def conditional(*args: Any, **kwargs: Any) -> Any:
            bound, asked = _bound(view, args)
            return condition(etag_func, last_modified_func)(bound)(*asked, **kwargs)

        @functools.wraps(view)
        async def aconditional(*args: Any, **kwargs: Any) -> Any:
            bound, asked = _bound(view, args)
            known = [await _answer(function, asked, kwargs) for function in (etag_func, last_modified_func)]
            etag, modified = (lambda *_, answer=answer, **__: answer for answer in known)
            return await condition(etag, modified)(bound)(*asked, **kwargs)

        return cast("_V", aconditional if iscoroutinefunction(view) else conditional)

    return decorate


def _bound(view: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return a method as a function of a request, and its arguments from the request on."""
    start = 0 if is_asked(args[:1]) else 1
    return functools.partial(view, *args[:start]), args[start:]


async def _answer(function: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if function is None or iscoroutinefunction(function):
        return None if function is None else await function(*args, **kwargs)
    return await sync_to_async(function)(*args, **kwargs)
