"""Where a queryset goes on after a row: its order as conditions on columns, instead of an OFFSET.

For an order by (a, b) the rows behind (1, 2) are those with `a > 1 or a = 1 and b > 2`. Each key knows its direction
and where its NULLs stand. Who reads with it: chunking.py.
"""

import functools
from collections import namedtuple
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from django.db import connections
from django.db.models import F, Field, Model, OrderBy, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.functions import Random
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)

__all__ = ["Keyset"]

Place: TypeAlias = tuple[Any, ...]
Rows: TypeAlias = QuerySet[Any, Any]

# A column that is selected to know where a chunk ends, and taken out of its rows.
SELECTED = "oxicache_key_{}"


@dataclass(frozen=True, slots=True)
class Key:
    """One of the things that a queryset is ordered by."""

    name: str  # what conditions name
    descending: bool
    nulls_first: bool | None  # where NULLs stand; None where there are none
    expression: Any = None  # what is selected under that name; None for what an instance holds by itself
    is_unique: bool = False
    modifiers: tuple[tuple[str, bool], ...] = ()  # nulls_first or nulls_last, where the queryset says so

    def order(self) -> OrderBy:
        """What the queryset is ordered by."""
        return OrderBy(F(self.name), descending=self.descending, **dict(self.modifiers))

    def equal(self, value: Any) -> Q:
        """Rows with this very value."""
        return Q((f"{self.name}__isnull", True)) if value is None else Q((self.name, value))

    def behind(self, value: Any) -> Q | None:
        """Rows behind this value; None where there cannot be any."""
        if value is None:
            return Q((f"{self.name}__isnull", False)) if self.nulls_first else None
        return self._with_nulls(Q((f"{self.name}__{'lt' if self.descending else 'gt'}", value)))

    def at_or_behind(self, value: Any) -> Q:
        """Rows with this value and behind it: what a database can look up in an index on this key alone."""
        if value is None:
            return Q() if self.nulls_first else self.equal(None)
        return self._with_nulls(Q((f"{self.name}__{'lte' if self.descending else 'gte'}", value)))

    def _with_nulls(self, found: Q) -> Q:
        return found | self.equal(None) if self.nulls_first is False else found


@dataclass(frozen=True, slots=True)
class Keyset:
    """A queryset in its order, read `size` rows at a time."""

    queryset: Rows
    keys: tuple[Key, ...]
    size: int
    rows_as: type  # the iterable class that the caller's queryset has

    @classmethod
    def of(cls, queryset: Rows, size: int) -> "Keyset":
        """Prepare a queryset. ValueError where its rows could be skipped or repeated."""
        _check(queryset)
        # A router that spreads reads would otherwise be asked for each chunk, and name another replica.
        queryset = queryset.using(queryset.db)
        rows_as = queryset._iterable_class
        holds_fields = issubclass(rows_as, ModelIterable)
        keys = []
        for position, found in enumerate(_with_tie_breaker(queryset, list(_keys(queryset)))):
            key = found
            if not holds_fields or key.expression is not None or _is_deferred(queryset, key.name):
                name = SELECTED.format(position)
                queryset = queryset.annotate(**{name: key.expression or F(key.name)})
                key = replace(key, name=name, expression=key.expression or F(key.name))
            keys.append(key)
        if not queryset.query.standard_ordering:
            queryset = queryset.reverse()  # the keys have it in them
        queryset = queryset.order_by(*(key.order() for key in keys))
        if not holds_fields and not issubclass(rows_as, ValuesIterable):
            queryset._iterable_class = ValuesListIterable
        return cls(queryset, tuple(keys), size, rows_as)

    def page(self, place: Place | None) -> Rows:
        """The query for the rows behind `place`, for the first ones where it is None."""
        queryset = self.queryset
        if place is not None:
            behind = Q()
            equal = Q()
            for key, value in zip(self.keys, place, strict=True):
                found = key.behind(value)
                if found is not None:
                    behind |= equal & found
                equal &= key.equal(value)
            # The first part follows from the rest, but databases do not see that and would scan from the beginning.
            if not behind:
                return queryset.none()  # the last of distinct values, NULL in each
            queryset = queryset.filter(self.keys[0].at_or_behind(place[0]), behind)
        return queryset[: self.size]

    def place_after(self, row: Any, before: Place | None) -> Place:
        """Where the next chunk begins. RuntimeError where it would begin where this one did."""
        place = tuple(self._value(position, key, row) for position, key in enumerate(self.keys))
        if place == before:
            names = ", ".join(str(key.expression or key.name) for key in self.keys)
            raise RuntimeError(
                f"{self.queryset.model.__name__} rows do not compare as they are read: those behind {place!r} begin "
                f"with {place!r} again (ordered by {names}); order_by('pk') instead"
            )
        return place

    def cleaned(self, rows: list[Any]) -> list[Any]:
        """Rows as the caller's queryset has them, without what was selected besides."""
        extra = [key.name for key in self.keys if key.expression is not None]
        if not extra:
            return rows
        if issubclass(self.rows_as, ModelIterable):
            for row in rows:
                for name in extra:
                    del row.__dict__[name]
            return rows
        if issubclass(self.rows_as, ValuesIterable):
            for row in rows:
                for name in extra:
                    del row[name]
            return rows
        if issubclass(self.rows_as, FlatValuesListIterable):
            return [row[0] for row in rows]
        if issubclass(self.rows_as, NamedValuesListIterable):
            make = _named_row(_names(self.queryset)[: -len(extra)])
            return [make(*row[: -len(extra)]) for row in rows]
        return [row[: -len(extra)] for row in rows]

    def _value(self, position: int, key: Key, row: Any) -> Any:
        if issubclass(self.rows_as, ModelIterable):
            return getattr(row, key.name)
        if issubclass(self.rows_as, ValuesIterable):
            return row[key.name]
        return row[position - len(self.keys)]


# ---------------------------------------------------------------- what a queryset is ordered by


def _keys(queryset: Rows) -> Iterator[Key]:
    query = queryset.query
    ordering: Sequence[Any] = query.order_by
    if not ordering and query.default_ordering:
        ordering = query.get_meta().ordering or ()
    for item in ordering:
        order = _order_of(item)
        if not query.standard_ordering:
            order.reverse_ordering()
        expression: Any = order.expression
        is_name = type(expression) is F  # which mypy's F has none of
        if is_name:
            yield from _named_keys(queryset, expression.name, order)
        elif any(isinstance(part, Random) for part in expression.flatten()):
            raise ValueError("a queryset in random order has no place to go on from; order_by('pk') instead")
        else:
            yield _key(queryset, str(expression), order, expression=expression)


def _order_of(item: Any) -> OrderBy:
    if not isinstance(item, str):
        order = item if isinstance(item, OrderBy) else item.asc()
        return order.copy()
    name = item.lstrip("+-")
    return OrderBy(Random() if name == "?" else F(name), descending=item.startswith("-"))


def _named_keys(queryset: Rows, name: str, order: OrderBy) -> Iterator[Key]:
    """The key or, of a primary key with several parts, keys that `order_by(name)` means."""
    query, options = queryset.query, queryset.query.get_meta()
    if name in query.annotations:
        is_on_rows = name in query.annotation_select
        yield _key(queryset, name, order, expression=None if is_on_rows else F(name))
        return
    if name in query.extra:
        raise ValueError(f"order_by({name!r}) is a column of extra(select=...); make it annotate({name}=...)")
    if name == "pk":
        for field in _pk_fields(queryset.model):
            yield _key(queryset, field.attname, order, field=field)
        return
    path, field, _, transforms = query.names_to_path(name.split(LOOKUP_SEP), options)
    if any(step.m2m for step in path):
        raise ValueError(
            f"order_by({name!r}) follows a relation to many rows, so that a row has several places; annotate one value "
            "of them and order by that"
        )
    last = name.rpartition(LOOKUP_SEP)[2]
    if field.is_relation and not transforms and last != getattr(field, "attname", None):
        if last != "pk" and field.related_model._meta.ordering:
            raise ValueError(
                f"order_by({name!r}) means the order of {field.related_model.__name__}, which may be several columns; "
                f"name the column: {name}_id, or {name}{LOOKUP_SEP}<field>"
            )
        if LOOKUP_SEP not in name:
            name = field.attname
    if LOOKUP_SEP in name:
        yield _key(queryset, name, order, expression=F(name))
    else:
        yield _key(queryset, name, order, field=field)


def _key(
    queryset: Rows,
    name: str,
    order: OrderBy,
    *,
    expression: Any = None,
    field: "Field[Any, Any] | None" = None,
) -> Key:
    nulls_first: bool | None = None
    if field is None or field.null:
        largest = not connections[queryset.db].features.order_by_nulls_first
        nulls_first = bool(order.nulls_first) or (not order.nulls_last and largest == order.descending)
    modifiers = {"nulls_first": order.nulls_first, "nulls_last": order.nulls_last}
    return Key(
        name,
        order.descending,
        nulls_first,
        expression,
        is_unique=field is not None and field.unique and not field.null,
        modifiers=tuple((modifier, True) for modifier, is_said in modifiers.items() if is_said),
    )


def _with_tie_breaker(queryset: Rows, keys: list[Key]) -> list[Key]:
    """End the keys where they tell every row from every other, with the primary key where nothing else does."""
    for position, key in enumerate(keys):
        if key.is_unique and key.expression is None:
            return keys[: position + 1]
    if queryset.query.distinct and not issubclass(queryset._iterable_class, ModelIterable):
        names = _names(queryset)
        if not {key.name for key in keys} >= set(names):
            pk_names = {name for field in _pk_fields(queryset.model) for name in (field.name, field.attname)}
            if not {"pk", *pk_names} & set(names):
                raise ValueError(
                    f"distinct() over the values {', '.join(names)} needs an order_by() of all of them: nothing else "
                    "tells its rows apart"
                )
        else:
            return keys
    # The direction of the last key: an index on both then serves, read forwards or backwards.
    descending = keys[-1].descending if keys else not queryset.query.standard_ordering
    held = {key.name for key in keys}
    order = OrderBy(F("pk"), descending=descending)
    return keys + [
        _key(queryset, field.attname, order, field=field)
        for field in _pk_fields(queryset.model)
        if field.attname not in held
    ]


def _pk_fields(model: type[Model]) -> list[Any]:
    options = model._meta
    return list(getattr(options, "pk_fields", None) or [options.pk])  # Django 5.2 knows keys of several parts


def _is_deferred(queryset: Rows, attname: str) -> bool:
    names, defers = queryset.query.deferred_loading
    if not names or attname in queryset.query.annotations:
        return False
    field = queryset.model._meta.get_field(attname)
    is_named = field.name in names or attname in names
    return is_named if defers else not (is_named or field.primary_key)


def _names(queryset: Rows) -> tuple[str, ...]:
    """The names of the columns of a row that is no instance, in their order."""
    query = queryset.query
    return (
        tuple(query.selected)
        if query.selected
        else (*query.extra_select, *query.values_select, *query.annotation_select)
    )


@functools.lru_cache
def _named_row(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names)  # noqa: PYI024 -- as Django makes it, of names that are known now


# ---------------------------------------------------------------- what cannot be read so


def _check(queryset: Rows) -> None:
    """ValueError for a queryset whose rows have no place of their own."""
    query = queryset.query
    if query.is_sliced:
        raise ValueError(
            "a slice of a queryset cannot be continued after a row; slice what comes out instead"
        )
    if query.combinator:
        raise ValueError(
            f"a {query.combinator}() takes no conditions, which is how a chunk begins; read its parts one after "
            "another, or filter with Q(...) | Q(...)"
        )
    if query.extra_order_by:
        raise ValueError("extra(order_by=...) is text that conditions cannot be made from; use order_by()")
    if query.distinct_fields:
        raise ValueError(
            "distinct() with names keeps one row of each group, and each chunk might find another; read what "
            "filter(pk__in=...) of it finds"
        )
    if any(getattr(found, "contains_over_clause", False) for found in query.annotations.values()):
        raise ValueError(
            "a window function would be computed anew for the rows that are left in each chunk; read it with iterator()"
        )
    if isinstance(query.group_by, tuple) and not _groups_are_rows(queryset, query.group_by):
        raise ValueError("values(...) grouped by annotate() have no primary key; read them with iterator()")
    if not issubclass(queryset._iterable_class, _KNOWN):
        raise TypeError(f"rows made by {queryset._iterable_class.__name__} cannot be read in chunks")
    _check_joins(queryset)


_KNOWN = (
    ModelIterable,
    ValuesIterable,
    ValuesListIterable,  # and the named ones
    FlatValuesListIterable,
)


def _groups_are_rows(queryset: Rows, groups: tuple[Any, ...]) -> bool:
    columns = {(found.alias, found.target) for found in groups if isinstance(found, Col)}
    base = queryset.query.get_initial_alias()
    return columns >= {(base, field) for field in _pk_fields(queryset.model)}


def _check_joins(queryset: Rows) -> None:
    """ValueError where a join repeats rows: those on both sides of a chunk's end have the same place."""
    query = queryset.query
    if query.group_by:
        return
    many: set[str] = set()
    for alias, table in query.alias_map.items():
        field = getattr(table, "join_field", None)
        if query.alias_refcount.get(alias) and (
            table.parent_alias in many or (isinstance(field, ForeignObjectRel) and field.multiple)
        ):
            many.add(alias)
    if not many:
        return
    if not query.distinct:
        raise ValueError(
            "a filter over a relation to many rows repeats rows, and a chunk may end between them; add distinct(), "
            "or filter with Exists(...)"
        )
    shown = [
        *query.select,
        *(found for found in query.annotation_select.values() if not found.contains_aggregate),
    ]
    if any(isinstance(part, Col) and part.alias in many for found in shown for part in found.flatten()):
        raise ValueError(
            "values of a relation to many rows repeat their row, and a chunk may end between them; "
            "use prefetch_related()"
        )
