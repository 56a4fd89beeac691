"""`ListCacheMixin` and `DetailCacheMixin`: viewsets and generic views of Django REST framework whose reads are cached.

Both are faces of serving.py that know what `cached_view` has to be told: on which models a response depends, and that
the permissions for an object are checked on hits too. How its responses are held: rest_data.py.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model, Prefetch, QuerySet
from django.db.models.sql.query import Query
from django.db.models.sql.where import WhereNode
from rest_framework import generics, permissions, views
from rest_framework.request import Request

from oxicache.django import signals, words
from oxicache.django.responses import rest
from oxicache.django.responses.asking import Further
from oxicache.django.responses.decorating import cached_view
from oxicache.django.responses.instances import is_stand_in
from oxicache.django.responses.serving import ResponseCache

__all__ = ["DetailCacheMixin", "ListCacheMixin"]

# Of the attributes that begin with `cache_`, those that `cached_view` knows without.
_OPTIONS: Final = ("timeout", "per_user", "vary_on", "tags", "invalidate_on", "alias")
_MAX_CACHES: Final = 64  # of views with options of their own, as `as_view(cache_timeout=60)` gives them


class _Options:
    """What both mixins are told by attributes of the class, or of `as_view()`."""

    cache_timeout: float | timedelta | None = None
    cache_per_user: bool | None = None
    cache_vary_on: Iterable[str] = ()
    cache_tags: Any = ()
    cache_invalidate_on: Iterable[type[Model] | str] | None = ()
    cache_alias: str = "default"
    _oxicache_caches: ClassVar[dict[Any, tuple[ResponseCache, Any]]] = {}  # by mixin, of each class its own

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the options. TypeError and ValueError name a wrong one."""
        super().__init_subclass__(**kwargs)
        if cls.__module__ == __name__ or is_stand_in(cls):
            return
        cls._oxicache_caches = {}
        for mixin, action in ((ListCacheMixin, "list"), (DetailCacheMixin, "retrieve")):
            if issubclass(cls, mixin):
                _check_order(cls, mixin, action)
                _cache_of(cls, mixin, {})
        queryset = getattr(cls, "queryset", None)
        # Before all models are there, relations do not say where they lead: then the first request sees to it.
        if apps.models_ready and isinstance(queryset, QuerySet) and cls.cache_invalidate_on is not None:
            _watch(_models_of(queryset))  # also in a process that changes rows before it is asked for any


class ListCacheMixin(_Options):
    """Caches `list`. It stands before the viewset in the bases.

    `cache_timeout` is in seconds or a timedelta, None for ever; `cache_per_user`, `cache_vary_on`, `cache_tags` (which
    may be a method) and `cache_alias` are what `cached_view` knows without `cache_`. A change of the queryset's model,
    or of one that it selects or prefetches with it, outdates what is held, and so do those that `cache_invalidate_on`
    names; None: time alone does. Source: document 002, "Cache ViewSet Responses".
    """

    cache_timeout: float | timedelta | None = 300

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Answer from the cache, or as the viewset does."""
        listed: Any = super().list  # type: ignore[misc]  # of the viewset that this is mixed into
        further = _further(self, functools.partial(_words, self))
        return _served(self, ListCacheMixin, request, listed, args, kwargs, further)


class DetailCacheMixin(_Options):
    """Caches `retrieve`. It stands before the viewset in the bases.

    Its attributes are those of ListCacheMixin. Where the view has permissions for single objects, or a `get_object`
    or filters of its own, `get_object` runs on hits too; else a hit takes no query. What is held depends on the row,
    where it is looked up by its primary key, else on the model. Source: as for ListCacheMixin.
    """

    cache_timeout: float | timedelta | None = 3600
    _is_permitted_on_hits = False

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Answer from the cache, or as the viewset does."""
        retrieved: Any = super().retrieve  # type: ignore[misc]  # as above
        permit = None
        if _checks_objects(self):
            permit = getattr(self, "get_object", None)
            if permit is None:  # nobody knows which object a hit would show
                return retrieved(request, *args, **kwargs)
        further = _further(self, functools.partial(_words, self, is_one=True), permit)

        def load(*given: Any, **named: Any) -> Any:
            self._is_permitted_on_hits = permit is not None
            try:
                return retrieved(*given, **named)
            finally:
                self._is_permitted_on_hits = False

        return _served(self, DetailCacheMixin, request, load, args, kwargs, further)

    def check_object_permissions(self, request: Request, obj: Any) -> None:
        """Check as the viewset does. Who is asking may decide, as it is asked again on hits."""
        with rest.unwatched(request) if self._is_permitted_on_hits else nullcontext():
            super().check_object_permissions(request, obj)  # type: ignore[misc]  # as above


def _served(  # noqa: PLR0917 -- a call, and what is to be known of it
    view: Any,
    mixin: type[_Options],
    request: Request,
    call: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    further: Further,
) -> Any:
    kind = type(view)
    cache = _cache_of(kind, mixin, {name: vars(view)[name] for name in _NAMES if name in vars(view)})
    name = f"{kind.__module__}.{kind.__qualname__}.{_ACTIONS[mixin]}"
    loaded = functools.partial(call, request, *args, **kwargs)
    return cache.serve(request, loaded, name, (args, kwargs), further)


_NAMES: Final = tuple(f"cache_{name}" for name in _OPTIONS)
_ACTIONS: Final[dict[type[_Options], str]] = {ListCacheMixin: "list", DetailCacheMixin: "retrieve"}


# ---------------------------------------------------------------- options


def _cache_of(kind: type[_Options], mixin: type[_Options], own: dict[str, Any]) -> ResponseCache:
    """Return the cache of a class, or of views of it that `as_view()` gave options of their own."""
    mark = (mixin, *((name, id(value)) for name, value in own.items()))
    caches = kind._oxicache_caches
    found = caches.get(mark)
    if found is None:
        if len(caches) > _MAX_CACHES:
            caches.clear()
        found = caches.setdefault(mark, (_made(kind, mixin, own), own))  # holds them: an id is theirs as long
    return found[0]


def _made(kind: type[Any], mixin: type[_Options], own: dict[str, Any]) -> ResponseCache:
    said = {name: own.get(f"cache_{name}", getattr(kind, f"cache_{name}")) for name in _OPTIONS}
    said["timeout"] = own["cache_timeout"] if "cache_timeout" in own else _timeout(kind, mixin)
    said["invalidate_on"] = said["invalidate_on"] or ()
    try:
        decorator: Any = cached_view(**said)
    except (TypeError, ValueError) as error:
        first = str(error).split(" ", 1)[0]
        option = first if first in _OPTIONS else "tags"  # of which a message names the tag
        raise type(error)(f"{kind.__qualname__}.cache_{option}: {error}") from error
    cache: ResponseCache = decorator.cache
    return cache


def _timeout(kind: type[Any], mixin: type[_Options]) -> Any:
    """Return what a class says of both mixins, or else what this one has by itself."""
    for one in kind.__mro__:
        if "cache_timeout" in vars(one) and one.__module__ != __name__:
            return vars(one)["cache_timeout"]
    return mixin.cache_timeout


def _check_order(kind: type[Any], mixin: type[_Options], action: str) -> None:
    """Refuse a class that never gets here: the framework's own actions ask nobody else."""
    for one in kind.__mro__:
        if one is mixin:
            return
        if action in vars(one) and one.__module__.startswith("rest_framework."):
            raise TypeError(
                f"{mixin.__name__} must stand before {one.__name__} in the bases of {kind.__qualname__}"
            )


# ---------------------------------------------------------------- permissions of single objects


def _checks_objects(view: Any) -> bool:
    """Whether it may depend on the object whether somebody may see it."""
    kind = type(view)
    if (
        getattr(kind, "get_object", generics.GenericAPIView.get_object)
        is not generics.GenericAPIView.get_object
    ):
        return True
    checking = (one for one in kind.__mro__ if "check_object_permissions" in vars(one))
    if next(one for one in checking if one is not DetailCacheMixin) is not views.APIView:
        return True
    return _hides_rows(view) or any(map(_checks_an_object, view.get_permissions()))


# Filters that go by parameters alone, which are in the key.
_BY_PARAMETERS: Final = frozenset(
    {
        "django_filters.rest_framework.backends.DjangoFilterBackend",
        "rest_framework.filters.OrderingFilter",
        "rest_framework.filters.SearchFilter",
    }
)


def _hides_rows(view: Any) -> bool:
    """Whether filters of the project's may say, for each user and at any time, which rows there are."""
    own = getattr(type(view), "filter_queryset", generics.GenericAPIView.filter_queryset)
    backends = getattr(view, "filter_backends", ())
    return own is not generics.GenericAPIView.filter_queryset or any(
        f"{kind.__module__}.{kind.__qualname__}" not in _BY_PARAMETERS for kind in backends
    )


def _checks_an_object(permission: Any) -> bool:
    if isinstance(permission, permissions.AND | permissions.OR):
        return _checks_an_object(permission.op1) or _checks_an_object(permission.op2)
    own = getattr(type(permission), "has_object_permission", None)
    return own is not permissions.BasePermission.has_object_permission


# ---------------------------------------------------------------- what a response depends on


def _further(view: Any, models: Callable[[], list[str]], permit: Callable[[], Any] | None = None) -> Further:
    tags = view.cache_tags
    return Further(
        permit,
        models if view.cache_invalidate_on is not None and hasattr(view, "get_queryset") else None,
        tags if callable(tags) else None,
    )


def _words(view: Any, *, is_one: bool = False) -> list[str]:
    """Return the words of all that a queryset shows; of one row, those of the row and of what comes with it."""
    queryset = view.get_queryset()
    if not isinstance(queryset, QuerySet):
        return []
    first, *others = _models_of(queryset)
    _watch((first, *others))
    own = _row_words(view, first) if is_one else None
    found = words.model_words(first) if own is None else own
    return list(dict.fromkeys([*found, *(word for model in others for word in words.model_words(model))]))


def _row_words(view: Any, model: type[Model]) -> list[str] | None:
    """Return the words of the row that is looked up; None where it is not looked up by its primary key."""
    if view.lookup_field not in {"pk", model._meta.pk.name}:
        return None
    try:
        own = words.row_words(model, view.kwargs[view.lookup_url_kwarg or view.lookup_field])
    except (KeyError, TypeError, ValueError, ValidationError):  # there is no such row, as the view will say
        return None
    apart = [words.model_word(label) for label in words.lineage(model).apart]
    return [*own, *words.rows_words(model), *apart]


def _watch(models: Iterable[type[Model]]) -> None:
    for model in models:
        signals.watch(model)


def _models_of(queryset: QuerySet[Any]) -> tuple[type[Model], ...]:
    """Return the model of a queryset and those that it selects, prefetches, joins or asks in queries within it."""
    return tuple(dict.fromkeys(_named(queryset)))


def _named(queryset: QuerySet[Any]) -> Iterator[type[Model]]:
    model = queryset.model
    yield model
    selected: Any = queryset.query.select_related
    if selected is True:
        yield from (
            field.related_model for field in model._meta.fields if isinstance(field.related_model, type)
        )
    elif selected:
        yield from _selected(model, selected)
    for lookup in queryset._prefetch_related_lookups:  # type: ignore[attr-defined]
        path = lookup.prefetch_through if isinstance(lookup, Prefetch) else lookup
        yield from _followed(model, path.split("__"))
        if isinstance(lookup, Prefetch) and lookup.queryset is not None:
            yield from _named(lookup.queryset)
    for query in _queries(queryset.query):
        if isinstance(query.model, type):
            yield query.model
        for join in query.alias_map.values():
            field = getattr(join, "join_field", None)
            if field is not None and isinstance(field.related_model, type):
                yield field.related_model


def _queries(query: Query) -> Iterator[Query]:
    """Return a query and all that are within it: in its conditions, its annotations, and combined with it."""
    yield query
    asked: list[Any] = [*query.annotations.values(), query.where, *query.combined_queries]
    while asked:
        one = asked.pop()
        inner = one if isinstance(one, Query) else getattr(one, "query", None)
        if isinstance(inner, Query):
            yield from _queries(inner)
        elif isinstance(one, WhereNode):
            asked += one.children
        elif hasattr(one, "get_source_expressions"):
            asked += one.get_source_expressions()


def _selected(model: type[Model], names: dict[str, Any]) -> Iterator[type[Model]]:
    for name, further in names.items():
        for related in _followed(model, [name]):
            yield related
            yield from _selected(related, further)


def _followed(model: type[Model], names: list[str]) -> Iterator[type[Model]]:
    """Return the models along a path of relations, as far as it can be told where it leads."""
    for name in names:
        related = _related(model, name)
        if related is None:
            return
        yield related
        model = related


def _related(model: type[Model], name: str) -> type[Model] | None:
    fields: Any = model._meta.get_fields()
    for field in fields:
        is_reverse = field.auto_created and not field.concrete
        if name in {field.name, field.get_accessor_name() if is_reverse else field.name}:
            found = field.related_model
            return found if isinstance(found, type) else None
    return None
