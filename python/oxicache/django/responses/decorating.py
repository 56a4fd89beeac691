"""`cached_view`: on functions, methods and classes, sync and async. What it does: serving.py."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.db.models import Model
from django.http import HttpRequest
from django.views.generic import View

from oxicache import options
from oxicache.django import conf, transactions
from oxicache.django.responses import arguments, rest
from oxicache.django.responses.asking import Tags
from oxicache.django.responses.fitting import fitted
from oxicache.django.responses.instances import asked_of
from oxicache.django.responses.keying import Keying
from oxicache.django.responses.leaving import answers_itself
from oxicache.django.responses.outdating import words_of
from oxicache.django.responses.records import meta_name
from oxicache.django.responses.serving import ResponseCache
from oxicache.tags import checked_tags

__all__ = ["DEFAULT_TTL", "MAX_BYTES", "Decorator", "cached_view", "is_asked", "view_name"]

_V = TypeVar("_V", bound=Callable[..., Any])

DEFAULT_TTL = options.DEFAULT_TIMEOUT
MAX_BYTES = 1 << 20  # of one response; 64 such fill the memory that a NativeCache has by default


def cached_view(
    timeout: float | timedelta | str | None = DEFAULT_TTL,
    key_prefix: str | None = None,
    vary_on: Iterable[str] | None = None,
    tags: Tags | None = None,
    *,
    per_user: bool | None = None,
    per_tenant: bool = True,
    cache_anonymous: bool = True,
    key_func: Callable[..., Any] | None = None,
    ignored_params: Iterable[str] | None = (),
    condition_func: Callable[..., Any] | None = None,
    success_func: Callable[[Any], Any] | None = None,
    scope: Callable[[HttpRequest], Any] | None = None,
    statuses: Iterable[int] = (200,),
    max_bytes: int | None = MAX_BYTES,
    grace: float | timedelta = 0,
    invalidate_on: Iterable[type[Model] | str] = (),
    alias: str = DEFAULT_CACHE_ALIAS,
) -> "Decorator":
    """Cache what a view returns to GET. Each user has his own entries, and those who are none share theirs.

    `timeout` is in seconds, None for ever, or a name of CACHE_TIMEOUTS. Each user has entries of his own but with
    `per_user=False`, when all share them. `vary_on` names headers that count beyond those the view is seen to read.
    `key_func` returns what else is in the key, and where `condition_func` returns something false nothing is cached:
    both are given the request, and as much of the view's arguments as they take. A response is kept where
    `success_func(response)` is true. `ignored_params` names parameters of the query that are in no key, None all.
    `scope(request)` says whose a response is, in place of the user, and lets requests with `Authorization` be cached;
    None caches nothing. `statuses` other than 200 are kept for 60 s at most. `grace`: for how long after its time a
    response is served when the view fails with a database or a connection out of reach, or answers with a 5xx.
    `invalidate_on` names models whose changes outdate everything of this view; `tags` are strings, or a callable of
    the view's arguments. `alias` names the cache in CACHES.

    A view that looks at what its key does not hold is not cached, and a warning says so. TypeError and ValueError name
    a wrong argument.
    """
    arguments.called("cached_view", timeout)
    models = arguments.models(invalidate_on)
    cache = ResponseCache(
        ttl=_ttl(timeout),
        keying=Keying(
            key_prefix=arguments.text("key_prefix", key_prefix) or None,
            per_user=arguments.switch("per_user", per_user, or_none=True),
            per_tenant=arguments.switch("per_tenant", per_tenant),
            scope=arguments.function("scope", scope),
            key_func=fitted(arguments.function("key_func", key_func)),
            ignored_params=arguments.params(ignored_params),
        ),
        alias=arguments.alias(alias),
        vary_on=frozenset(map(meta_name, arguments.names("vary_on", vary_on or ()))),
        tags=tags if callable(tags) else checked_tags(tags or ()),
        words=words_of(models),
        condition_func=fitted(arguments.function("condition_func", condition_func)),
        success_func=arguments.function("success_func", success_func),
        cache_anonymous=arguments.switch("cache_anonymous", cache_anonymous),
        statuses=arguments.statuses(statuses),
        max_bytes=arguments.max_bytes(max_bytes),
        grace=options.seconds("grace", grace),
    )
    return Decorator(cache)


def _ttl(timeout: Any) -> Any:
    conf.check_ttl("timeout", timeout)
    if isinstance(timeout, str):
        return functools.partial(
            conf.ttl_of, "timeout", timeout
        )  # at each response: settings are not read at import
    return conf.ttl_of("timeout", timeout)


@dataclass(frozen=True, slots=True)
class Decorator:
    """Caches what views and view classes return, each under its own name, in one place."""

    cache: ResponseCache

    def __post_init__(self) -> None:
        """Hear of transactions from now on."""
        transactions.watch_connections()  # a response that shows what is not committed is nobody else's

    def __call__(self, view: _V) -> _V:
        """Return the view, cached. TypeError names what is none."""
        kept: Any = view
        return cast(
            "_V",
            _decorated_class(self.cache, kept) if isinstance(kept, type) else _decorated(self.cache, kept),
        )


def _decorated_class(cache: ResponseCache, kind: type[Any]) -> type[Any]:
    """Cache what `dispatch` of a view class returns, before anything of it runs."""
    if not issubclass(kind, View):
        raise TypeError(f"cached_view decorates views, functions, methods and View classes, not {kind!r}")
    if rest.is_view(kind):
        kind.dispatch = _with_handlers(cache, kind.dispatch)  # type: ignore[method-assign]
        return kind
    is_async = bool(getattr(kind, "view_is_async", False))
    name = f"{kind.__module__}.{kind.__qualname__}.dispatch"
    kind.dispatch = _decorated(cache, kind.dispatch, name=name, is_async=is_async)  # type: ignore[method-assign]
    return kind


def _with_handlers(cache: ResponseCache, dispatch: Callable[..., Any]) -> Callable[..., Any]:
    """Cache what the handlers of a view of Django REST framework return, when it has let a request in."""

    @functools.wraps(dispatch)
    def dispatched(view: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        for method in ("get", "head"):
            handler = getattr(view, method, None)
            if handler is not None and not hasattr(handler, "oxicache_handler"):
                setattr(view, method, _handler(cache, handler))
        return dispatch(view, request, *args, **kwargs)

    return dispatched


def _handler(cache: ResponseCache, handler: Callable[..., Any]) -> Callable[..., Any]:
    name = view_name(handler)

    @functools.wraps(handler)
    def cached(request: Any, *args: Any, **kwargs: Any) -> Any:
        return cache.serve(
            request, functools.partial(handler, request, *args, **kwargs), name, (args, kwargs)
        )

    cached.oxicache_handler = handler  # type: ignore[attr-defined]  # a class whose base is decorated too does it once
    return cached


def _decorated(
    cache: ResponseCache, view: Callable[..., Any], *, name: str | None = None, is_async: bool | None = None
) -> Any:
    if not callable(view):
        raise TypeError(f"cached_view decorates views, functions, methods and View classes, not {view!r}")
    # A method is decorated for each request anew, and its class tells it from others.
    method = _method_of(view)
    own = _numbered(name or view_name(view)) if method is None else view_name(view)

    @functools.wraps(view)
    def cached(*args: Any, **kwargs: Any) -> Any:
        request, name, rest = _taken(own, args, cached)
        if request is None:
            return view(*args, **kwargs)
        asked_of(args[0] if method is None else method.__self__, request)
        return cache.serve(request, functools.partial(view, *args, **kwargs), name, (rest, kwargs))

    @functools.wraps(view)
    async def acached(*args: Any, **kwargs: Any) -> Any:
        request, name, rest = _taken(own, args, acached)
        if request is None:
            return await view(*args, **kwargs)
        asked_of(args[0] if method is None else method.__self__, request)
        return await cache.aserve(request, functools.partial(view, *args, **kwargs), name, (rest, kwargs))

    answers_itself(cached)
    answers_itself(acached)
    if iscoroutinefunction(view) or is_async:
        return acached if inspect.iscoroutinefunction(acached) else markcoroutinefunction(acached)
    return cached


def _taken(
    own: str, args: tuple[Any, ...], wrapper: Any = None
) -> tuple[HttpRequest | None, str, tuple[Any, ...]]:
    """Find the request among the arguments: a function's first one, a method's second. None where there is none."""
    if args and (isinstance(args[0], HttpRequest) or rest.is_request(args[0])):
        return args[0], own, args[1:]
    if len(args) > 1 and (isinstance(args[1], HttpRequest) or rest.is_request(args[1])):
        kind = type(args[0])
        # Classes that inherit one method are several views; and so is a method that was overridden, asked by `super()`.
        name = f"{kind.__module__}.{kind.__qualname__}.{own.rpartition('.')[2]}"
        if name != own and getattr(kind, getattr(wrapper, "__name__", ""), None) is not wrapper:
            name = f"{name}({own})"
        return args[1], name, args[2:]
    return None, own, args


def is_asked(args: tuple[Any, ...]) -> bool:
    """Whether there is a request among the arguments of a call, where a view has it."""
    return _taken("", args)[0] is not None


def view_name(view: Callable[..., Any]) -> str:
    """Return the name of a view: where it is defined, of `as_view()` that of its class."""
    method = _method_of(view)
    if method is not None:
        kind = method.__self__ if isinstance(method.__self__, type) else type(method.__self__)
        return f"{kind.__module__}.{kind.__qualname__}.{method.__name__}{_layer(kind, method)}"
    function: Any = view
    while isinstance(function, functools.partial):
        function = function.func
    owner = getattr(function, "view_class", None)  # of as_view()
    named = function if owner is None else owner
    if not hasattr(named, "__qualname__"):
        named = type(named)
    own = named.__qualname__
    # The class that Django REST framework's api_view makes is named as the function is, but for this.
    name = f"{named.__module__}.{named.__name__ if own == 'WrappedAPIView' else own}"
    return f"{name}:{named.__code__.co_firstlineno}" if name.endswith("<lambda>") else name


def _method_of(view: Any) -> Any:
    """Return the method that method_decorator has bound, for each request anew; other decorators may lie over that."""
    while view is not None:
        found = view.func if isinstance(view, functools.partial) else view
        if inspect.ismethod(found):
            return found
        view = getattr(view, "__wrapped__", None)
    return None


def _layer(kind: type[Any], method: Any) -> str:
    """Tell a method that method_decorator has bound from others of its name, further up or down: a class and its base
    may both be decorated.
    """
    function, steps = getattr(kind, method.__name__, None), 0
    while function is not None and function is not method.__func__:
        function, steps = getattr(function, "__wrapped__", None), steps + 1
    if function is None:
        return f"({method.__func__.__module__}.{method.__func__.__qualname__})"
    return f"({steps})" if steps > 1 else ""


_counts: dict[str, int] = {}


def _numbered(name: str) -> str:
    """Return a name of its own for a function that has variables of another: many may be called the same.

    The first keeps the name. All processes count alike as long as views are decorated when modules are imported.
    """
    _counts[name] = count = _counts.get(name, 0) + 1
    return name if count == 1 else f"{name}#{count}"
