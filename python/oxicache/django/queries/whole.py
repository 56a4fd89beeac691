"""Querysets with prefetches: their instances are held together with what was prefetched, pickled."""

import io
import pickle
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db.models import Model, Prefetch
from django.db.models.query import ModelIterable

from oxicache.django.queries.compiling import tie
from oxicache.django.queries.fetching import Caching, Statement, fetch

__all__ = ["fetch_all", "is_wanted"]

PICKLING: Final = ("__getstate__", "__new__", "__reduce__", "__reduce_ex__", "__setstate__")


def is_wanted(queryset: Any) -> bool:
    """Whether a queryset prefetches: without that its rows are held, not its instances."""
    return bool(queryset._prefetch_related_lookups) and issubclass(queryset._iterable_class, ModelIterable)


def fetch_all(queryset: Any, caching: Caching, plain: Any) -> list[Any]:
    """Return the instances of a queryset; `plain` is the same without a cache."""
    try:
        statement = _statement(queryset)
    except EmptyResultSet:
        return list(plain)
    found: list[Any] = pickle.loads(fetch(caching, statement, lambda: _frozen(plain)))  # noqa: S301 -- made here, in this process
    tie(queryset, found)
    return found


def _frozen(plain: Any) -> bytes:
    content = io.BytesIO()
    _Pickler(content, pickle.HIGHEST_PROTOCOL).dump(list(plain))
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
    parts: list[Any] = []
    sql, params = _compiled(queryset)
    for lookup in queryset._prefetch_related_lookups:
        parts += _spelt(lookup)
    return Statement(queryset.db, "prefetch", queryset.model, sql, (*params, *parts), is_all=False)


def _spelt(lookup: Any) -> list[Any]:
    if not isinstance(lookup, Prefetch):
        return [lookup]
    parts: list[Any] = [lookup.prefetch_through, lookup.prefetch_to, lookup.to_attr]
    for queryset in lookup.get_current_querysets(lookup.prefetch_to.count("__")) or ():
        try:
            sql, params = _compiled(queryset)
        except EmptyResultSet:
            parts.append("empty")
            continue
        parts += [sql, *params, queryset.db, [_spelt(one) for one in queryset._prefetch_related_lookups]]
    return parts


def _compiled(queryset: Any) -> tuple[str, tuple[Any, ...]]:
    sql, params = queryset.query.clone().get_compiler(queryset.db).as_sql()
    return sql, tuple(params)
