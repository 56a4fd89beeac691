"""Querysets read chunk by chunk: each chunk is one query that begins after the last row of the chunk before it.

Nothing is skipped or repeated when rows are inserted or deleted meanwhile, no chunk costs more than the first, and no
more than a chunk is held at a time; OFFSET has none of the three. What a queryset is ordered by: keysets.py. Lines of
JSON out of chunks: streaming.py.
"""

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, TypeVar

from django.db.models import Manager, Model, QuerySet

from oxicache.django import conf
from oxicache.django.keysets import Keyset

__all__ = ["aiter_chunks", "aiter_rows", "chunk_size", "iter_chunks", "iter_rows", "queryset_of"]

_M = TypeVar("_M", bound=Model)
_R = TypeVar("_R")


def iter_chunks(queryset: QuerySet[_M, _R] | Manager[_M], size: int | None = None) -> Generator[list[_R]]:
    """Read the rows of a queryset in lists of `size`, one query each; the last list may be shorter, none is empty.

    `size`: rows, RSR_DESCENDANTS_CHUNK_SIZE where it is None. The order is the queryset's, ended by the primary key,
    or the primary key alone where it has none. A row that is there from beginning to end comes out once, whatever else
    is inserted or deleted; one whose ordering column is updated meanwhile may move across the place that is read.
    Filters, select_related, prefetch_related, only, defer, annotate, values and values_list are as in the queryset.

    TypeError for what is no queryset; ValueError, at the call, for a queryset whose rows nothing tells apart: sliced,
    combined with union, in random order, grouped, distinct over values that are not ordered by, or repeated by a join.
    """
    keyset = Keyset.of(queryset_of(queryset), chunk_size(size))
    return _chunks(keyset)


def iter_rows(queryset: QuerySet[_M, _R] | Manager[_M], size: int | None = None) -> Iterator[_R]:
    """Read the rows of a queryset one by one, `size` of them with each query. See `iter_chunks`."""
    chunks = iter_chunks(queryset, size)
    return (row for chunk in chunks for row in chunk)


def aiter_chunks(
    queryset: QuerySet[_M, _R] | Manager[_M], size: int | None = None
) -> AsyncIterator[list[_R]]:
    """As `iter_chunks`, for `async for`."""
    keyset = Keyset.of(queryset_of(queryset), chunk_size(size))
    return _achunks(keyset)


def aiter_rows(queryset: QuerySet[_M, _R] | Manager[_M], size: int | None = None) -> AsyncIterator[_R]:
    """As `iter_rows`, for `async for`."""
    chunks = aiter_chunks(queryset, size)
    return (row async for chunk in chunks for row in chunk)


def chunk_size(size: int | None) -> int:
    """Return how many rows are read at a time. TypeError and ValueError name what is no such number."""
    if size is None:
        return conf.current().descendants_chunk_size
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"size must be a whole number of rows, not {size!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1 row, not {size!r}")
    return size


def queryset_of(source: object) -> QuerySet[Any, Any]:
    """Return a queryset, or that of a manager. TypeError for anything else."""
    if isinstance(source, Manager):
        return source.all()
    if not isinstance(source, QuerySet):
        raise TypeError(f"a queryset or a manager is read in chunks, not a {type(source).__name__}")
    return source


def _chunks(keyset: Keyset) -> Generator[list[Any]]:
    place: tuple[Any, ...] | None = None
    while True:
        rows = list(keyset.page(place))
        is_last = len(rows) < keyset.size
        if not is_last:  # before the caller has the rows, who may change them
            place = keyset.place_after(rows[-1], place)
        if rows:
            yield keyset.cleaned(rows)
        if is_last:
            return
        rows = []  # so that the query does not find two chunks in memory


async def _achunks(keyset: Keyset) -> AsyncIterator[list[Any]]:
    place: tuple[Any, ...] | None = None
    while True:
        rows = [row async for row in keyset.page(place)]
        is_last = len(rows) < keyset.size
        if not is_last:  # as in `_chunks`
            place = keyset.place_after(rows[-1], place)
        if rows:
            yield keyset.cleaned(rows)
        if is_last:
            return
        rows = []
