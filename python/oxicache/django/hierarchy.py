"""Hierarchies walked within limits: down to the descendants of a row, and up along its ancestors.

Down: level by level, a bounded number of rows, a chunk in memory at a time. Up: one computation a level, each in a
savepoint of its own. Neither recurses, and neither follows a circle twice. The limits are the RSR_* settings, read for
each walk.
"""

import functools
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Manager, Model, QuerySet
from django.db.models.fields.related import ForeignKey, ManyToManyField
from django.db.models.fields.reverse_related import ForeignObjectRel, ManyToManyRel
from django.db.models.query import ModelIterable
from django.http import JsonResponse

from oxicache.django import conf
from oxicache.django.chunking import chunk_size, iter_chunks, queryset_of
from oxicache.django.streaming import representation

__all__ = [
    "MAX_AGGREGATION_DEPTH",
    "Aggregation",
    "Descendants",
    "aggregate_upwards",
    "descendants",
    "descendants_response",
]

logger = logging.getLogger("oxicache.django.hierarchy")

# Levels that `aggregate_upwards` climbs, read at each call; None for the setting RSR_MAX_AGGREGATION_DEPTH.
MAX_AGGREGATION_DEPTH: int | None = None

PARENTS_PER_QUERY = 500  # SQLite took no more than 999 parameters for a long time

_M = TypeVar("_M", bound=Model)
Find: TypeAlias = Callable[[list[Any]], QuerySet[Any, Any]]


# ---------------------------------------------------------------- down


class Descendants(Generic[_M]):
    """The rows below some nodes, level by level. Each iteration is a new walk; the figures are those of the last one.

    `count`: rows that came out. `total_processed`: rows that were read, also those past the limit. `depth`: levels
    that were found. `is_truncated`: rows were left out for `max_rows`. `is_chunked`: more were met than
    RSR_MAX_DESCENDANTS_PER_REQUEST.
    """

    def __init__(
        self,
        nodes: _M | Iterable[_M],
        children: str | Find,
        queryset: "QuerySet[_M] | Manager[_M] | None",
        limits: dict[str, int | None],
    ) -> None:
        self._nodes = [nodes] if isinstance(nodes, Model) else list(nodes)
        self._find = _finder(self._nodes, children, queryset)
        self._limits = limits
        self._forget()

    def __iter__(self) -> Iterator[_M]:
        return itertools.chain.from_iterable(self.chunks())

    def chunks(self) -> Iterator[list[_M]]:
        """Walk, handing out lists of at most RSR_DESCENDANTS_CHUNK_SIZE rows."""
        self._forget()
        limit = conf.current().max_descendants_per_request
        max_rows = limit if self._limits["max_rows"] is None else self._limits["max_rows"]
        seen = {node.pk for node in self._nodes}
        level = list(seen)
        while level and self.depth != self._limits["max_depth"]:
            found: list[Any] = []
            for rows in self._read(level, max_rows):
                new = [row for row in rows if row.pk not in seen]
                seen.update(row.pk for row in new)
                self.total_processed += len(new)
                self.is_chunked = self.total_processed > limit
                self.is_truncated = self.total_processed > max_rows
                new = new[: max_rows - self.count]
                self.count += len(new)
                found.extend(row.pk for row in new)
                if new:
                    yield new
                if self.is_truncated:
                    break
            self.depth += bool(found)
            level = [] if self.is_truncated else found

    async def __aiter__(self) -> AsyncIterator[_M]:
        async for rows in self.achunks():
            for row in rows:
                yield row

    async def achunks(self) -> AsyncIterator[list[_M]]:
        """As `chunks`, for `async for`: read in the thread for synchronous code."""
        following = sync_to_async(functools.partial(next, self.chunks(), None))
        while (rows := await following()) is not None:
            yield rows

    def headers(self) -> dict[str, str]:
        """What a response tells about the walk. Source: the children view of document 000's system."""
        headers = {
            "X-Children-Count": str(self.count),
            "X-Memory-Protection": "chunked" if self.is_chunked else "standard",
        }
        if self.is_chunked:
            headers["X-Total-Processed"] = str(self.total_processed)
            headers["X-Truncated"] = "true" if self.is_truncated else "false"
        return headers

    def _forget(self) -> None:
        self.count = 0
        self.total_processed = 0
        self.depth = 0
        self.is_truncated = False
        self.is_chunked = False

    def _read(self, level: list[Any], max_rows: int) -> Iterator[list[_M]]:
        size = chunk_size(self._limits["size"])
        for start in range(0, len(level), PARENTS_PER_QUERY):
            found = self._find(level[start : start + PARENTS_PER_QUERY])
            # One row past the limit tells that it was one.
            yield from iter_chunks(found, min(size, max_rows - self.count + 1))


def descendants(
    nodes: _M | Iterable[_M],
    children: str | Find = "children",
    *,
    queryset: "QuerySet[_M] | Manager[_M] | None" = None,
    max_rows: int | None = None,
    max_depth: int | None = None,
    size: int | None = None,
) -> Descendants[_M]:
    """Return what iterates over the rows below `nodes`, level by level, none of them twice, `nodes` themselves never.

    `children`: the accessor of the rows below one, or the field behind it: a foreign key or a many-to-many field of the
    model to itself; or a function that gets a list of primary keys and returns the queryset of the rows right below
    them. `queryset`: which rows count, with their select_related and the like; what is below a row that does not
    count is not found. `max_rows`: None for RSR_MAX_DESCENDANTS_PER_REQUEST. `max_depth`: levels, None for all.
    `size`: rows read at a time, None for RSR_DESCENDANTS_CHUNK_SIZE. One query for each chunk of a level, one more
    where a level was the last. ValueError names a relation that leads nowhere.
    """
    if size is not None:
        chunk_size(size)
    limits = {
        "max_rows": _limit("max_rows", max_rows, "row"),
        "max_depth": _limit("max_depth", max_depth, "level"),
        "size": size,
    }
    return Descendants(nodes, children, queryset, limits)


def descendants_response(
    nodes: _M | Iterable[_M],
    serialize: Any,
    children: str | Find = "children",
    *,
    queryset: "QuerySet[_M] | Manager[_M] | None" = None,
    max_rows: int | None = None,
    max_depth: int | None = None,
    size: int | None = None,
    context: dict[str, Any] | None = None,
) -> JsonResponse:
    """Answer with the rows below `nodes`: always a plain list, with headers that tell whether all are in it.

    X-Children-Count: rows in the body. X-Memory-Protection: `standard`, or `chunked` where there are more than
    RSR_MAX_DESCENDANTS_PER_REQUEST; then also X-Total-Processed, rows that were read, and X-Truncated, `true` where
    rows are missing. `serialize`: as `stream_json_lines` has it. For the rest see `descendants`.
    """
    walk = descendants(nodes, children, queryset=queryset, max_rows=max_rows, max_depth=max_depth, size=size)
    if serialize is None:
        raise TypeError(
            "rows that are model instances need serialize=, a function of one or a serializer class"
        )
    represent = representation(serialize, context)
    body: list[Any] = []
    for rows in walk.chunks():
        body.extend(represent(rows))
    return JsonResponse(body, encoder=DjangoJSONEncoder, safe=False, headers=walk.headers())


def _limit(name: str, value: int | None, unit: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number of {unit}s or None, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1 {unit}, not {value!r}")
    return value


def _finder(nodes: list[Any], children: str | Find, queryset: "QuerySet[Any] | Manager[Any] | None") -> Find:
    """Return a function from primary keys to the rows right below them."""
    if not isinstance(children, str):
        return children
    if queryset is None:
        if not nodes:
            return lambda _: QuerySet()  # never asked, without a node
        queryset = type(nodes[0])._default_manager.using(nodes[0]._state.db)
    queryset = queryset_of(queryset)
    if not issubclass(queryset._iterable_class, ModelIterable):
        raise TypeError("a hierarchy is walked by model instances, not by values()")
    model: type[Model] = queryset.model
    relation = _relation(model, children)
    if isinstance(relation, ForeignKey):
        return lambda parents: queryset.filter(**{f"{relation.name}__pk__in": parents})
    link, above, below = relation

    def find(parents: list[Any]) -> QuerySet[Any]:
        # Over the table between, so that a row below several of them is found once.
        links = link._base_manager.using(queryset.db).filter(**{f"{above}__in": parents})
        return queryset.filter(pk__in=links.values(below))

    return find


def _relation(model: type[Model], name: str) -> Any:
    """The foreign key that leads up, or the model between two rows with the names of its upper and lower end."""
    known = []
    for found in model._meta.get_fields(include_hidden=True):
        if getattr(found, "related_model", None) is None or not _is_same(found.related_model, model):
            continue
        relation: Any = found.field if isinstance(found, ForeignObjectRel) else found
        accessor = found.get_accessor_name() if isinstance(found, ForeignObjectRel) else found.name
        if not isinstance(relation, ForeignKey | ManyToManyField) or not _is_same(relation.model, model):
            continue
        known += [accessor] if accessor else []
        if accessor != name:
            continue
        if isinstance(relation, ForeignKey):
            return relation
        ends = relation.m2m_field_name(), relation.m2m_reverse_field_name()
        return (
            relation.remote_field.through,
            *(reversed(ends) if isinstance(found, ManyToManyRel) else ends),
        )
    raise ValueError(
        f"{model.__name__} has no relation {name!r} to itself; it has {', '.join(sorted(set(known))) or 'none'}"
    )


def _is_same(one: Any, other: type[Model]) -> bool:
    return (
        isinstance(one, type)
        and issubclass(one, Model)
        and one._meta.concrete_model is other._meta.concrete_model
    )


# ---------------------------------------------------------------- up


@dataclass(slots=True)
class Aggregation:
    """What `aggregate_upwards` did.

    `computed`: the primary keys of the nodes whose computation went well, in their order; `errors`: the exceptions of
    the others, by primary key. `is_circular`: a node is its own ancestor; `is_truncated`: ancestors were left out for
    `max_depth`.
    """

    computed: list[Hashable] = field(default_factory=list)
    errors: dict[Hashable, Exception] = field(default_factory=dict)
    is_circular: bool = False
    is_truncated: bool = False


def aggregate_upwards(
    node: Any,
    compute: Callable[[Any], object],
    parent: str | Callable[[Any], Any] = "parent",
    max_depth: int | None = None,
) -> Aggregation:
    """Call `compute` for a node, then for its parent, and so on to the top, at most `max_depth` levels.

    `parent`: the attribute that holds the next node, or several of them, or None at the top; or a function that returns
    that. A parent is looked up when its child has been computed. `max_depth`: None for MAX_AGGREGATION_DEPTH of this
    module, where that is set, else the setting RSR_MAX_AGGREGATION_DEPTH. Each computation has a transaction or
    savepoint of its own: what one raises is logged and reported, its writes are undone, and the next ones go on. A
    node is computed once, however many ways lead to it. Source: `_aggregate_period_value` of document 000's system.
    """
    limit = _limit("max_depth", max_depth if max_depth is not None else MAX_AGGREGATION_DEPTH, "level")
    if limit is None:
        limit = conf.current().max_aggregation_depth
    done = Aggregation()
    processed = {_identity(node)}
    level: list[tuple[Any, tuple[Hashable, ...]]] = [(node, ())]  # with the nodes that led there
    for _ in range(limit):
        above = []
        for current, path in level:
            _compute(current, compute, done)
            way = (*path, _identity(current))
            for following in _parents(current, parent, done):
                identity = _identity(following)
                if identity not in processed:
                    processed.add(identity)
                    above.append((following, way))
                elif identity in way:
                    done.is_circular = True
                    logger.warning("Circular reference detected: %r is above itself", following)
        if not above:
            return done
        level = above
    done.is_truncated = True
    logger.warning("Maximum aggregation depth (%d) reached below %r", limit, level[0][0])
    return done


def _compute(node: Any, compute: Callable[[Any], object], done: Aggregation) -> None:
    try:
        with _savepoint(node):
            compute(node)
    except Exception as error:  # noqa: BLE001 -- the caller's own; the nodes above are computed all the same
        _report(node, error, "computed", done)
    else:
        done.computed.append(_key(node))


def _parents(node: Any, parent: str | Callable[[Any], Any], done: Aggregation) -> list[Any]:
    try:
        found = getattr(node, parent) if isinstance(parent, str) else parent(node)
        if found is None:
            return []
        if isinstance(found, Manager):
            found = found.all()
        return list(found) if isinstance(found, Iterable) and not isinstance(found, Model) else [found]
    except Exception as error:  # noqa: BLE001 -- a node whose parent is gone; those beside it have theirs
        _report(node, error, "followed upwards", done)
        return []


def _report(node: Any, error: Exception, what: str, done: Aggregation) -> None:
    logger.error("%r could not be %s: %r", node, what, error, exc_info=error)
    done.errors.setdefault(_key(node), error)


def _savepoint(node: Any) -> AbstractContextManager[object]:
    state = getattr(node, "_state", None)
    return nullcontext() if state is None else transaction.atomic(using=state.db)


def _key(node: Any) -> Hashable:
    """What a report calls a node: its primary key, or what stands for one."""
    for name in ("pk", "id"):
        if (key := getattr(node, name, None)) is not None:
            return key  # type: ignore[no-any-return]
    return repr(node)


def _identity(node: Any) -> Hashable:
    if isinstance(node, Model) and node.pk is not None:
        return node._meta.concrete_model, node.pk
    key = getattr(node, "pk", getattr(node, "id", None))
    # Of a node without a key none but itself is the same; the walk holds it, so its address stays its own.
    return (type(node), key) if key is not None else (object, id(node))
