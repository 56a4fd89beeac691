"""Lists as long as they are, one JSON text a line: written while they are read, and never held.

Which rows come next: chunking.py. The same for Django REST framework: viewsets.py.
"""

import functools
import itertools
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Manager, QuerySet
from django.db.models.query import ModelIterable
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.cache import patch_vary_headers

from oxicache.django.chunking import chunk_size, iter_chunks, queryset_of

__all__ = [
    "JSON",
    "JSON_LINES",
    "astream_json_lines",
    "lines_response",
    "representation",
    "should_stream_response",
    "stream_json_lines",
    "stream_response",
]

logger = logging.getLogger("oxicache.django.streaming")

JSON = "application/json"  # what document 000 calls its lines
JSON_LINES = "application/x-ndjson"
STREAM_LIMIT = 10_000  # rows. Source: document 000, "Stream for large datasets"
BLOCK_BYTES = 16 * 1024  # a write to the client each; a row alone would be a packet of its own

Represent = Callable[[list[Any]], Iterable[Any]]
Render = Callable[[Any], bytes]


def should_stream_response(source: Any, limit: int = STREAM_LIMIT) -> bool:
    """Whether there are more rows than `limit`. One query, which counts no further than that.

    `source`: a queryset, a manager, or anything with a length. Source: document 000, "Memory-Efficient API Views".
    """
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be a whole number of rows, not {limit!r}")
    if limit < 0:
        raise ValueError(f"limit must be at least 0 rows, not {limit!r}")
    if not isinstance(source, QuerySet | Manager):
        return len(source) > limit
    queryset = queryset_of(source)
    if queryset._result_cache is not None:
        return len(queryset._result_cache) > limit
    query = queryset.query
    if not query.is_sliced and not query.distinct_fields:
        queryset = queryset.order_by()
    return queryset[: limit + 1].count() > limit


def stream_json_lines(
    source: Any,
    serialize: Any = None,
    *,
    size: int | None = None,
    encoder: type[json.JSONEncoder] = DjangoJSONEncoder,
    context: dict[str, Any] | None = None,
) -> Generator[bytes]:
    """Write each row of `source` as one line of JSON, reading `size` rows at a time.

    `source`: a queryset or a manager, see `iter_chunks`, or any iterable. `serialize`: a function of one row, or a
    serializer class of Django REST framework, which gets `context`; None for rows that are JSON already, as those of
    `values()`. When a row fails, what came before stands; the last line is then `{"error": ..., "rows": ...}` with the
    number of rows before it, and the exception is logged. TypeError and ValueError for wrong use, at the call.
    """
    represent = representation(serialize, context, source)
    return _lines(_chunks_of(source, size), represent, _rendering(encoder))


async def astream_json_lines(
    source: Any,
    serialize: Any = None,
    *,
    size: int | None = None,
    encoder: type[json.JSONEncoder] = DjangoJSONEncoder,
    context: dict[str, Any] | None = None,
) -> AsyncIterator[bytes]:
    """As `stream_json_lines`, for `async for`: reading and serializing are done in the thread for synchronous code."""
    lines = stream_json_lines(source, serialize, size=size, encoder=encoder, context=context)
    try:
        async for line in _InThread(lines):
            yield line
    finally:
        await sync_to_async(lines.close)()


def stream_response(
    request: HttpRequest,
    source: Any,
    serialize: Any = None,
    *,
    size: int | None = None,
    encoder: type[json.JSONEncoder] = DjangoJSONEncoder,
    context: dict[str, Any] | None = None,
    render: Render | None = None,
) -> StreamingHttpResponse:
    """Answer with one line of JSON for each row, written while they are read. For the rest see `stream_json_lines`.

    The content type is `application/json`, as document 000 has it, or `application/x-ndjson` for a client that prefers
    it. `render` writes one row in the place of `encoder`. Rows are read after the view has returned, outside of
    its transaction; under ASGI in the thread for synchronous code. Source: document 000, "Memory-Efficient API Views".
    """
    represent = representation(serialize, context, source)
    write = render or _rendering(encoder)
    plain = getattr(request, "_request", request)  # of Django REST framework's
    preferred = plain.get_preferred_type([JSON, JSON_LINES]) or JSON
    return lines_response(request, _chunks_of(source, size), represent, write, content_type=preferred)


def lines_response(
    request: Any,
    chunks: Generator[list[Any]],
    represent: Represent,
    render: Render,
    *,
    content_type: str,
) -> StreamingHttpResponse:
    """Answer with lines made of `chunks`: `represent` makes plain data of one, `render` a line, without its end."""
    blocks = _blocks(_lines(chunks, represent, render))
    is_async = isinstance(getattr(request, "_request", request), ASGIRequest)
    response = StreamingHttpResponse(_InThread(blocks) if is_async else blocks, content_type=content_type)
    patch_vary_headers(response, ["Accept"])
    return response


def representation(serialize: Any, context: dict[str, Any] | None = None, source: Any = None) -> Represent:
    """Return what turns a list of rows into plain data. TypeError for what cannot."""
    if hasattr(
        serialize, "many_init"
    ):  # a serializer class of Django REST framework, which need not be there
        return lambda rows: serialize(rows, many=True, context=context or {}).data
    if callable(serialize):
        return functools.partial(map, serialize)
    if serialize is not None:
        raise TypeError(f"serialize must be a function of one row or a serializer class, not {serialize!r}")
    rows_as = getattr(source, "_iterable_class", ModelIterable if isinstance(source, Manager) else None)
    if rows_as is not None and issubclass(rows_as, ModelIterable):
        raise TypeError("rows that are model instances need serialize=, or take values() of the queryset")
    return lambda rows: rows


def _chunks_of(source: Any, size: int | None) -> Generator[list[Any]]:
    if isinstance(source, QuerySet | Manager):
        return iter_chunks(source, size)
    return _batches(iter(source), chunk_size(size))


def _batches(rows: Iterator[Any], size: int) -> Generator[list[Any]]:
    try:
        while batch := list(itertools.islice(rows, size)):
            yield batch
    finally:
        if hasattr(rows, "close"):  # a generator, whose own `finally` is due when nobody reads on
            rows.close()


def _rendering(encoder: type[json.JSONEncoder]) -> Render:
    encode = encoder(ensure_ascii=False, separators=(",", ":")).encode
    return lambda data: encode(data).encode()


def _lines(chunks: Generator[list[Any]], represent: Represent, render: Render) -> Generator[bytes]:
    written = 0
    try:
        for chunk in chunks:
            for data in represent(chunk):
                line = render(data)
                yield line + b"\n"
                written += 1
    except Exception as error:  # the caller's own, of a response whose status has been sent
        logger.exception("A stream of JSON lines has ended early, after %d rows", written)
        message = repr(error) if settings.DEBUG else "The stream has ended early."
        yield json.dumps({"error": message, "rows": written}).encode() + b"\n"
    finally:
        chunks.close()


def _blocks(lines: Generator[bytes]) -> Generator[bytes]:
    """Lines put together, but for the first one, which a client waits for."""
    held: list[bytes] = []
    length = BLOCK_BYTES
    try:
        for line in lines:
            held.append(line)
            length += len(line)
            if length >= BLOCK_BYTES:
                yield b"".join(held)
                held.clear()
                length = 0
        if held:
            yield b"".join(held)
    finally:
        lines.close()


class _InThread:
    """Steps that are taken in the thread for synchronous code, and closed there with the response."""

    def __init__(self, steps: Generator[bytes]) -> None:
        self._steps = steps
        self._following: Callable[[], Awaitable[bytes | None]] = sync_to_async(
            functools.partial(next, steps, None)
        )

    def __aiter__(self) -> "_InThread":
        return self

    async def __anext__(self) -> bytes:
        step = await self._following()
        if step is None:
            raise StopAsyncIteration
        return step

    def close(self) -> None:
        """End the reading. Django calls it in that thread, so never while a step is taken."""
        self._steps.close()
