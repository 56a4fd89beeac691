"""What tells two queries apart, taken from their parts: to compile a query's SQL costs more than to find its rows.

A shape is what two queries share that differ in the values of their filters and in their limits only: `filter(pk=1)`
and `filter(pk=2)`. Only parts of Django's own are looked at whose SQL is known to depend on nothing else; of any query
that has another part nothing is told, and its SQL is its key.
"""

import datetime as dt
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import WhereNode

__all__ = ["Shape", "shape_of"]

# What a query has of its own: whoever gives it more has a meaning for it.
KNOWN: Final = frozenset(
    {
        *vars(Query(None)),
        "_annotation_select_cache",
        "_extra_select_cache",
        "_lookup_joins",
        "annotation_select_mask",
        "base_table",
        "caching",
        "default_cols",
        "default_ordering",
        "deferred_loading",
        "distinct",
        "distinct_fields",
        "extra_order_by",
        "extra_select_mask",
        "extra_tables",
        "filter_is_sticky",
        "group_by",
        "high_mark",
        "low_mark",
        "max_depth",
        "order_by",
        "select",
        "select_related",
        "selected",
        "standard_ordering",
        "values_select",
    }
)
# `repr` tells these apart, by type and by value.
VALUES: Final = frozenset({bool, bytes, dt.date, dt.timedelta, Decimal, float, int, str, type(None), UUID})
TIMES: Final = frozenset({dt.datetime, dt.time})
LOOKUP_MODULES: Final = frozenset({"django.db.models.lookups", "django.db.models.fields.related_lookups"})
FIELD_MODULES: Final = "django.db.models.fields"  # and those below it


class Shape(NamedTuple):
    """A query in two halves. The first can be hashed, the second is made of what `repr` tells apart."""

    structure: tuple[Any, ...]
    values: list[Any]


class _UnknownError(Exception):
    """A part whose SQL may depend on more than is seen here; it ends a walk and reaches nobody."""


def shape_of(query: Any) -> Shape | None:
    """Return what a cached query is, None where that is not known but by its SQL. Changes nothing."""
    if (
        type(query).__mro__[2] is not Query  # after the class that was derived from it, and CachedQuery
        or not KNOWN.issuperset(vars(query))
        or query.annotations
        or query.extra
        or query.extra_order_by
        or query.extra_tables
        or query._filtered_relations
        or query.external_aliases
        or query.group_by is not None
        or not query.alias_cols
    ):
        return None
    values: list[Any] = [query.low_mark, query.high_mark]
    try:
        structure = (
            query.model,
            query.model._meta.db_table,  # there may be two models of one name
            tuple(_table(one, query.alias_refcount) for one in query.alias_map.values()),
            _where(query.where, values),
            tuple(map(_column, query.select)),
            query.values_select,
            None if query.selected is None else tuple(query.selected.items()),
            tuple(map(_text, query.order_by)),
            (query.default_cols, query.default_ordering, query.standard_ordering),
            (query.distinct, query.distinct_fields),
            repr(query.select_related),  # dicts of names in dicts of names
            query.max_depth,
            (frozenset(query.deferred_loading[0]), query.deferred_loading[1]),
        )
    except _UnknownError:
        return None
    return Shape(structure, values)


def _table(found: Any, counts: dict[Any, int]) -> tuple[Any, ...]:
    if type(found) is BaseTable:
        return found.table_name, found.table_alias  # read however often it is referred to
    field = found.join_field
    if type(found) is not Join or found.filtered_relation is not None or not _is_of_django(type(field)):
        raise _UnknownError
    return (
        found.table_name,
        found.table_alias,
        bool(counts[found.table_alias]),  # otherwise it is not joined, but to sort by it will join it so
        found.parent_alias,
        found.join_type,
        found.nullable,
        field.model,
        field.name,
        type(field),
    )


def _column(found: Any) -> tuple[Any, ...]:
    if (
        type(found) is not Col
        or found.output_field is not found.target
        or not _is_of_django(type(found.target))
    ):
        raise _UnknownError
    return found.alias, found.target.model, found.target.attname


def _where(node: Any, values: list[Any]) -> tuple[Any, ...]:
    parts: list[Any] = [node.connector, node.negated]
    for child in node.children:
        kind = type(child)
        if kind is WhereNode:
            parts.append(_where(child, values))
        elif (
            isinstance(child, Lookup) and kind.__module__ in LOOKUP_MODULES and not child.bilateral_transforms
        ):
            parts += (kind, _column(child.lhs))
            values.append(_value(child.rhs))
        else:
            raise _UnknownError
    return tuple(parts)


def _value(found: Any) -> Any:
    kind = type(found)
    if kind in VALUES:
        return found
    if kind is list or kind is tuple:
        return [_value(one) for one in found]
    if kind in TIMES:
        return kind.__name__, found.isoformat()  # tells the zone by its offset: `repr` of a zone need not
    raise _UnknownError


def _text(found: Any) -> str:
    if type(found) is not str:
        raise _UnknownError
    return found


def _is_of_django(kind: type[Any]) -> bool:
    return kind.__module__.startswith(FIELD_MODULES)
