"""A query that takes its rows from a cache: everything that Django makes of the rows it makes as ever.

What is held is what the database gave, not instances: each hit builds its own, so that nobody changes another's. The
query's class is derived from its own, and so is the compiler's, which looks into the cache where it would execute; so
`filter`, slices, `values`, `count`, `exists`, `first` and paginators of a cached queryset are cached too.
"""

import functools
import pickle
from itertools import chain
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Model
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.constants import MULTI, SINGLE
from django.utils import timezone

from oxicache.django.queries import rows
from oxicache.django.queries.fetching import Caching, Statement, fetch

__all__ = ["CachedQuery", "cached", "check", "derived", "uncached"]


class CachedQuery(Query):
    """Stands before the class of a query."""

    model: type[Model]
    caching: Caching | None = None  # of those that Django makes of the class: what an exclude asks

    def get_compiler(
        self, using: str | None = None, connection: Any = None, elide_empty: bool = True
    ) -> SQLCompiler:
        """As Django does; what the compiler executes is looked for in the cache first."""
        compiler: Any = super().get_compiler(using, connection, elide_empty)
        if self.caching is not None and not self.subquery:
            compiler.__class__ = derived(_CachedCompiler, type(compiler))
        return compiler  # type: ignore[no-any-return]

    def get_aggregation(self, using: str, aggregate_exprs: dict[str, Any]) -> dict[str, Any]:
        """As Django does, which may execute another query than this one: it is the values that are held."""
        caching, self.caching = self.caching, None  # of a copy that was made for this
        run = functools.partial(super().get_aggregation, using, aggregate_exprs)
        if caching is None or not aggregate_exprs:
            return run()
        try:
            sql, params = self.clone().get_compiler(using).as_sql()
            # Of what is aggregated, unlike of the query, the text is not made yet: a day is one of the active zone.
            asked = pickle.dumps((timezone.get_current_timezone_name(), *aggregate_exprs.items()))
        except Exception:  # noqa: BLE001 -- nothing to ask for, or the project's own expression: Django says what is wrong
            return run()
        statement = Statement(using, "aggregate", self.model, sql, (*params, asked), is_all=False)
        return dict(fetch(caching, statement, lambda: tuple(run().items())))

    def __reduce__(self) -> Any:
        return _restored, (type(self).__mro__[2], vars(self))


def _restored(plain: type[Query], state: dict[str, Any]) -> Query:
    query: Query = object.__new__(derived(CachedQuery, plain))
    vars(query).update(state)
    return query


_derived: dict[tuple[type[Any], type[Any]], type[Any]] = {}


def derived(front: type[Any], plain: type[Any], **members: Any) -> type[Any]:
    """Return the one class that has `front` before `plain`: `plain` itself where it has."""
    if issubclass(plain, front):
        return plain
    found = _derived.get((front, plain))
    if found is None:
        made = type(f"Cached{plain.__name__}", (front, plain), {"__module__": __name__, **members})
        found = _derived.setdefault((front, plain), made)
    return found


def cached(query: Any, caching: Caching) -> None:
    """Have a query, a queryset's own copy, take its rows from a cache."""
    query.__class__ = derived(CachedQuery, type(query))
    query.caching = caching


def uncached(query: Query) -> Query:
    """Return a query as it is without a cache: itself, or a copy."""
    if getattr(query, "caching", None) is None:
        return query
    copied: Any = query.clone()
    copied.caching = None
    return copied  # type: ignore[no-any-return]


def check(query: Query) -> None:
    """Raise TypeError for a query that must ask the database."""
    if query.select_for_update:
        raise TypeError(
            "select_for_update() locks rows in the database, which a cached queryset may not ask: leave one of the "
            "two out"
        )


class _CachedCompiler(SQLCompiler):
    """Stands before the class of a compiler."""

    def execute_sql(self, result_type: Any = MULTI, *args: Any, **kwargs: Any) -> Any:
        """Return what is held of this query, or what the database says."""
        query: Any = self.query
        caching = query.caching
        run: Any = functools.partial(super().execute_sql, result_type, *args, **kwargs)
        if caching is None or result_type not in {MULTI, SINGLE} or query.explain_info:
            return run()
        check(query)
        if kwargs.get("chunked_fetch") or args[:1] == (True,):
            raise TypeError(
                "iterator() holds no rows, and a cached queryset does: iterate over the queryset itself, or call "
                "iterator() on one without cached()"
            )
        try:
            sql, params = self.as_sql()
        except EmptyResultSet:
            return run()
        statement = Statement(str(self.using), result_type, query.model, sql, tuple(params), is_all=True)
        if result_type == SINGLE:
            found = rows.thaw(fetch(caching, statement, lambda: rows.freeze([row] if (row := run()) else [])))
            return found[0] if found else None
        return [rows.thaw(fetch(caching, statement, lambda: rows.freeze(chain.from_iterable(run()))))]
