"""A query that takes its rows from a cache: everything that Django makes of the rows it makes as ever.

What is held is what the database gave, not instances: each hit has its own, so that nobody changes another's. The
query's class is derived from its own, and so is the compiler's, which looks into the cache where it would execute; so
`filter`, slices, `values`, `count`, `exists`, `first` and paginators of a cached queryset are cached too.
"""

import functools
import operator
import pickle
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldError
from django.db import NotSupportedError
from django.db.models import Model
from django.db.models.query import ModelIterable
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE, MULTI, SINGLE
from django.utils import timezone

from oxicache.django import transactions
from oxicache.django.queries import plans, rows
from oxicache.django.queries.fetching import Caching, Statement, fetch
from oxicache.django.queries.instances import own_copy

__all__ = ["NO_ITERATOR", "CachedQuery", "cached", "check", "derived", "instances", "tie", "uncached"]

PLAINLY = {"count": "get_count", "exists": "has_results"}  # what asks the database
NO_ITERATOR = (
    "iterator() holds no rows, and a cached queryset does: iterate over the queryset itself, or call iterator() on one "
    "without cached()"
)


class CachedQuery(Query):
    """Stands before the class of a query."""

    model: type[Model]
    _filtered_relations: dict[str, Any]  # which the stubs of Django leave out
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
            asking = self.clone()
            asking.select_related = False  # as Django does: nobody asks for the rows
            sql, params = asking.get_compiler(using).as_sql()
            # Of what is aggregated, unlike of the query, the text is not made yet: a day is one of the active zone, and
            # names may be those of relations that the query does not join so far, under conditions.
            zone, relations = timezone.get_current_timezone_name(), self._filtered_relations
            asked = pickle.dumps((zone, relations, *aggregate_exprs.items()))
        except Exception:  # noqa: BLE001 -- nothing to ask for, or the project's own expression: Django says what is wrong
            return run()
        statement = Statement(using, "aggregate", self.model, sql, (*params, asked), is_all=False)
        return dict(fetch(caching, statement, lambda: tuple(run().items())))

    def get_count(self, using: str) -> int:
        """As Django does; a number is held."""
        return int(self._told("count", using, super().get_count))

    def has_results(self, using: str) -> bool:
        """As Django does; whether there are any is held."""
        return bool(self._told("exists", using, super().has_results))

    def _told(self, kind: str, using: str, plainly: Callable[[str], Any]) -> Any:
        caching = self.caching
        if caching is None or self.explain_info:
            return plainly(using)
        compiler = self.clone().get_compiler(using)
        try:
            question = plans.asked_of_tables(compiler, kind)
        except (EmptyResultSet, FieldError, NotSupportedError):
            question = None  # nothing, or what is wrong of its rows alone: Django counts those, and may do so
        if question is None:
            return plainly(using)
        return fetch(caching, question, lambda: getattr(uncached(self), PLAINLY[kind])(using))

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

    _compiled: Any = None

    def as_sql(self, with_limits: bool = True, with_col_aliases: bool = False) -> Any:
        """As Django does; what a key was made of is what is executed then."""
        if not with_limits or with_col_aliases:
            return super().as_sql(with_limits, with_col_aliases)
        if self._compiled is None:
            self.query = (
                self.query.clone()
            )  # to compile leaves joins in it, and what is derived from it had another key
            self._compiled = super().as_sql()
        return self._compiled

    def execute_sql(self, result_type: Any = MULTI, *args: Any, **kwargs: Any) -> Any:
        """Return what is held of this query, or what the database says."""
        query: Any = self.query
        caching = query.caching
        run: Any = functools.partial(super().execute_sql, result_type, *args, **kwargs)
        if caching is None or result_type not in {MULTI, SINGLE} or query.explain_info:
            return run()
        check(query)
        if kwargs.get("chunked_fetch") or args[:1] == (True,):
            raise TypeError(NO_ITERATOR)
        try:
            sql, params = self.as_sql()
        except EmptyResultSet:
            return run()
        statement = Statement(str(self.using), result_type, query.model, sql, tuple(params), is_all=True)
        if result_type == SINGLE:
            found = rows.thaw(fetch(caching, statement, lambda: rows.freeze([row] if (row := run()) else [])))
            return found[0] if found else None
        return [rows.thaw(fetch(caching, statement, lambda: rows.freeze(chain.from_iterable(run()))))]

    def results_iter(
        self,
        results: Any = None,
        tuple_expected: bool = False,
        chunked_fetch: bool = False,
        chunk_size: int = GET_ITERATOR_CHUNK_SIZE,
    ) -> Any:
        """Return rows as their fields have them: held so where Django's own converters make them."""
        query: Any = self.query
        plainly: Any = functools.partial(
            super().results_iter, results, tuple_expected, chunked_fetch, chunk_size
        )
        if results is not None or chunked_fetch or query.caching is None or query.explain_info:
            return plainly()
        check(query)
        try:
            question, plan = plans.asked(self, "values")
        except EmptyResultSet:
            return plainly()
        if not plan.is_converted:
            return plainly()
        return iter(rows.thaw(fetch(query.caching, question, lambda: rows.freeze(self._converted()))))

    def instances(self, state: dict[str, Any]) -> list[Any] | None:
        """Return the query's instances, put together from what is held; None where that is for Django."""
        query: Any = self.query
        check(query)
        try:
            question, plan = plans.asked(self, "instances")
        except EmptyResultSet:
            return None
        layout = plan.layout
        if layout is None or not layout.is_unheard():
            return None
        held = fetch(query.caching, question, lambda: layout.held(self._converted()), own_copy)
        return layout.build(held, str(self.using), state)

    def _converted(self) -> Iterable[Any]:
        found: Any = super().execute_sql(MULTI)
        fields = [expression for expression, *_ in self.select[: self.col_count]]
        converters = self.get_converters(fields)
        every = chain.from_iterable(found)
        return self.apply_converters(every, converters) if converters else every


def instances(queryset: Any) -> list[Any] | None:
    """Return what a cached queryset finds, as Django would make it; None where Django is to make it."""
    mode = getattr(queryset, "_fetch_mode", None)  # from Django 6.1 on
    if queryset._iterable_class is not ModelIterable or getattr(mode, "track_peers", False):
        return None
    if transactions.is_written(queryset.db):
        return None
    compiler = queryset.query.get_compiler(queryset.db)
    found: list[Any] | None = compiler.instances({} if mode is None else {"fetch_mode": mode})
    if found and queryset._known_related_objects:
        tie(queryset, found)
    return found


def tie(queryset: Any, found: Iterable[Any]) -> None:
    """Set on instances what their queryset knows them to be related to: `author` on those of `author.books`."""
    for field, known in queryset._known_related_objects.items():
        names = [
            field.attname if name == "self" else queryset.model._meta.get_field(name).attname
            for name in field.from_fields
        ]
        value = operator.attrgetter(*names)
        for one in found:
            if field.is_cached(one) or not vars(one).keys() >= set(names):
                continue
            related = known.get(value(one))
            if related is not None:
                setattr(one, field.name, related)
