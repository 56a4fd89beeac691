"""What is known of queries of one shape once one of them was compiled: how its rows become what callers get.

A plan spares those that come after it the compiler: their key is made of the shape and their values.
"""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Field, Model

from oxicache.django.queries.fetching import DIGEST_BYTES, Statement, key_of, scope_of
from oxicache.django.queries.instances import Layout, are_djangos, layout_of
from oxicache.django.queries.shapes import Shape, shape_of
from oxicache.django.queries.tables import models_read

__all__ = ["Known", "Plan", "asked", "asked_of_tables", "forget"]

MAX_PLANS: Final = 1024  # shapes of queries; a project's code has some hundreds


class Plan:
    """What is the same for all queries of a shape."""

    __slots__ = ("is_converted", "is_told", "layout", "models")

    def __init__(self, compiler: Any) -> None:
        """Look at a query that was compiled."""
        text, _ = compiler.as_sql()
        expressions = [expression for expression, *_ in compiler.select[: compiler.col_count]]
        self.models = models_read([text])
        self.is_told = _is_told(expressions, self.models)
        # Which of the values, converted, are held.
        has_composite = compiler.has_composite_fields(expressions)
        self.is_converted = not has_composite and are_djangos(compiler.get_converters(expressions))
        self.layout: Layout | None = layout_of(compiler) if self.is_converted else None


@dataclass(frozen=True, slots=True)
class Known:
    """A query of a shape that has a plan: `fetching.Asked`."""

    using: str
    kind: str
    model: type[Model]
    is_all: bool
    models: frozenset[type[Model]]
    shape: Shape

    def key(self) -> str:
        """Return the key of its result. TypeError where the tenant has no spelling."""
        digest = _begun(self.shape.structure).copy()
        digest.update(f"{scope_of(self.using)}\0{self.shape.values!r}".encode("utf-8", "surrogatepass"))
        return key_of(self.model, self.kind, digest.hexdigest())

    def reads(self) -> frozenset[type[Model]]:
        """Return the models that it names."""
        return self.models


_plans: dict[tuple[str, tuple[Any, ...]], Plan] = {}


def forget() -> None:
    """Have every plan made anew."""
    _plans.clear()
    _begun.cache_clear()


def asked(compiler: Any, kind: str) -> tuple[Known | Statement, Plan]:
    """Return what a compiler's query asks for. EmptyResultSet where that is nothing; TypeError for no key."""
    query, using = compiler.query, str(compiler.using)
    shape = shape_of(query)
    plan = None if shape is None else _plan(compiler, using, shape)
    if shape is None or plan is None or not plan.is_told:
        sql, params = compiler.as_sql()
        return Statement(using, kind, query.model, sql, tuple(params), is_all=True), plan or Plan(compiler)
    models = plan.models | {query.model}
    return Known(using, kind, query.model, is_all=True, models=models, shape=shape), plan


def asked_of_tables(compiler: Any, kind: str) -> Known | None:
    """Return what is asked where not the rows are wanted, but whether there are any, or how many. None as `shape_of`.

    Reads what filters join; what `select_related` and the order join as well is another statement's.
    """
    query, using = compiler.query, str(compiler.using)
    shape = shape_of(query)
    if shape is None:
        return None
    if (query.is_sliced or query.distinct) and not _plan(compiler, using, shape).is_told:
        return None  # what is counted depends on how the order and the columns are spelt
    tables = [table.table_name for table in query.alias_map.values()]
    models = models_read(tables) | {query.model}
    return Known(using, kind, query.model, is_all=False, models=models, shape=shape)


@functools.lru_cache(maxsize=MAX_PLANS)
def _begun(structure: tuple[Any, ...]) -> Any:
    """Return the digest of a structure, to be copied and continued."""
    return hashlib.blake2b(repr(structure).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES)


def _plan(compiler: Any, using: str, shape: Shape) -> Plan:
    plan = _plans.get((using, shape.structure))
    if plan is None:
        plan = Plan(compiler)
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[using, shape.structure] = plan
    return plan


def _is_told(expressions: list[Any], models: frozenset[type[Model]]) -> bool:
    """Whether the shape tells all that the SQL depends on.

    A field may select another column for each language, and an order by an expression may hold the time zone.
    """
    for expression in expressions:
        field = getattr(expression, "target", None)
        if field is not None and type(field).select_format is not Field.select_format:
            return False
    return all(isinstance(one, str) for model in models for one in model._meta.ordering or ())
