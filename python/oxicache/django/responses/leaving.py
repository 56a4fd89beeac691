"""`uncached`: views that SiteCacheMiddleware leaves alone, and how it knows them. Those of cached_view are among them.

A view is known by a mark before it runs, wherever a decorator around it has kept its attributes, and by what it says
while it runs where not.
"""

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.views.generic import View

from oxicache.django.responses.records import take

__all__ = ["answers_itself", "has_answer", "uncached"]

_V = TypeVar("_V", bound=Callable[..., Any])

_MARK: Final = "_oxicache_answers_itself"


def uncached(view: _V) -> _V:
    """Keep a view out of SiteCacheMiddleware: a function, a method or a View class, sync or async.

    Not out of `cached_view`, nor of caches beyond this site: those are told by Django's `never_cache`. TypeError names
    what is no view.
    """
    kept: Any = view
    if isinstance(kept, type):
        if not issubclass(kept, View):
            raise TypeError(f"uncached decorates views, functions, methods and View classes, not {kept!r}")
        kept.dispatch = _uncached(kept.dispatch)  # type: ignore[method-assign]
        return cast("_V", kept)
    if not callable(kept):
        raise TypeError(f"uncached decorates views, functions, methods and View classes, not {kept!r}")
    return cast("_V", _uncached(kept))


def _uncached(view: Callable[..., Any]) -> Any:
    @functools.wraps(view)
    def left(*args: Any, **kwargs: Any) -> Any:
        _leave(args)
        return view(*args, **kwargs)

    @functools.wraps(view)
    async def aleft(*args: Any, **kwargs: Any) -> Any:
        _leave(args)
        return await view(*args, **kwargs)

    found = aleft if iscoroutinefunction(view) else left
    answers_itself(found)
    return found


def _leave(args: tuple[Any, ...]) -> None:
    # A function's first argument, a method's second; one of Django REST framework is no HttpRequest.
    for one in args[:2]:
        if hasattr(one, "META"):
            take(one)
            return


def answers_itself(view: Any) -> None:
    """Mark a view that says itself what may be cached of it."""
    setattr(view, _MARK, True)


def has_answer(view: Any) -> bool:
    """Whether a view is marked: itself, or the class that as_view() was called on, before or after it was decorated."""
    while isinstance(view, functools.partial):
        view = view.func
    kind = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return hasattr(view, _MARK) or hasattr(getattr(kind, "dispatch", None), _MARK)
