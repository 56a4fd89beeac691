"""Querysets with prefetches: their instances are held together with what was prefetched, pickled."""

import functools
import io
import pickle
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db.models import Model, Prefetch
from django.db.models.manager import BaseManager
from django.db.models.query import ModelIterable

from oxicache.django.queries import fetching
from oxicache.django.queries.compiling import tie
from oxicache.django.queries.fetching import Caching, Statement, fetch

__all__ = ["fetch_all", "is_wanted"]

PICKLING: Final = ("__getstate__", "__new__", "__reduce__", "__reduce_ex__", "__setstate__")


def is_wanted(queryset: Any) -> bool:
    """Whether a queryset prefetches: without that its rows are held, not its instances."""
    return bool(queryset._prefetch_related_lookups) and queryset._iterable_class is ModelIterable


def fetch_all(queryset: Any, caching: Caching, plain: Any) -> list[Any]:
    """Return the instances of a queryset; `plain` is the same without a cache."""
    try:
        statement = _statement(queryset)
    except EmptyResultSet:
        return list(plain)
    plain._known_related_objects = {}  # the caller's own, and nobody else's
    try:
        frozen = fetch(caching, statement, lambda: _frozen(plain))
    except _UnpicklableError as error:
        fetching._say(queryset.model, f"its instances cannot be pickled: {error}")
        found: list[Any] = list(plain)  # which has been asked
    else:
        found = pickle.loads(frozen)  # noqa: S301 -- made here, in this process
    tie(queryset, found)
    return found


class _UnpicklableError(Exception):
    """Instances that have been loaded and cannot be held."""


def _frozen(plain: Any) -> bytes:
    content, found = io.BytesIO(), list(plain)
    try:
        _Pickler(content, pickle.HIGHEST_PROTOCOL).dump(found)
    except (pickle.PicklingError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise _UnpicklableError(str(error)) from error
    return content.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles instances as they are: Django's own way leaves a mark on them, of the version that pickled them."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how an instance is pickled whose model leaves that to Django."""
        kind = type(obj)
        if not issubclass(kind, Model) or any(
            getattr(kind, name) is not getattr(Model, name) for name in PICKLING
        ):
            return NotImplemented
        return _new, (kind,), obj.__getstate__(), None, None, _set


def _new(kind: type[Model]) -> Any:
    return object.__new__(kind)


def _set(one: Any, state: dict[str, Any]) -> None:
    for name, content in state.pop("_memoryview_attrs", ()):
        state[name] = memoryview(content)
    one.__dict__ = state


def _statement(queryset: Any) -> Statement:
    # How an instance fetches what is missing is told it when it is made (Django 6.1).
    parts: list[Any] = [type(getattr(queryset, "_fetch_mode", None)).__qualname__]
    sql, params = _compiled(queryset)
    for lookup in queryset._prefetch_related_lookups:
        parts += _spelt(lookup)
        for manager in _managers(queryset.model, *_path(lookup)):
            parts += _seen(manager.using(queryset.db))
    return Statement(queryset.db, "prefetch", queryset.model, sql, (*params, *parts), is_all=False)


def _spelt(lookup: Any) -> list[Any]:
    if not isinstance(lookup, Prefetch):
        return [lookup]
    parts: list[Any] = [lookup.prefetch_through, lookup.prefetch_to, lookup.to_attr]
    for queryset in lookup.get_current_querysets(lookup.prefetch_to.count("__")) or ():
        parts += _seen(queryset)
    return parts


def _seen(queryset: Any) -> list[Any]:
    """Return what tells apart what is prefetched from a queryset."""
    try:
        sql, params = _compiled(queryset)
    except EmptyResultSet:
        return ["empty"]
    inner = [_spelt(one) for one in queryset._prefetch_related_lookups]
    below = [
        _seen(manager.using(queryset.db))
        for one in queryset._prefetch_related_lookups
        for manager in _managers(queryset.model, *_path(one))
    ]
    return [sql, *params, queryset.db, inner, below]


def _path(lookup: Any) -> tuple[str, ...]:
    """Return the relations of a lookup whose rows come from their models' own managers."""
    if not isinstance(lookup, Prefetch):
        return tuple(lookup.split("__"))
    names = tuple(lookup.prefetch_through.split("__"))
    return names if lookup.get_current_querysets(len(names) - 1) is None else names[:-1]


@functools.lru_cache(maxsize=1024)
def _managers(model: type[Model], *names: str) -> tuple[Any, ...]:
    """Return the managers along relations that choose rows themselves: whose, the active tenant's say, nobody knows."""
    found: dict[Any, None] = {}
    for name in names:
        related = _related(model, name)
        if related is None:
            break
        model = related
        for manager in (model._default_manager, model._base_manager):
            if type(manager).get_queryset is not BaseManager.get_queryset:
                found[manager] = None
    return tuple(found)


def _related(model: type[Model], name: str) -> type[Model] | None:
    for field in model._meta.get_fields():
        accessor = getattr(field, "get_accessor_name", None)
        if name == (field.name if accessor is None else accessor()):
            related = field.related_model
            return related if isinstance(related, type) else None  # a generic relation leads to any model
    return None


def _compiled(queryset: Any) -> tuple[str, tuple[Any, ...]]:
    sql, params = queryset.query.clone().get_compiler(queryset.db).as_sql()
    return sql, tuple(params)
