"""Mixins for the viewsets of Django REST framework (extra `drf`). What they stream with: streaming.py."""

from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from oxicache.django import streaming
from oxicache.django.chunking import iter_chunks

__all__ = ["JSONLinesRenderer", "StreamedListMixin"]


class JSONLinesRenderer(JSONRenderer):  # type: ignore[misc]  # the framework has no types
    """A list as one line of JSON for each of its items, anything else as one line."""

    media_type = streaming.JSON_LINES
    format = "ndjson"

    def render(self, data: Any, *_: Any, **__: Any) -> bytes:
        """Return the lines, whatever indentation is asked for."""
        items = data if isinstance(data, list) else [data]
        return b"".join(super(JSONLinesRenderer, self).render(item) + b"\n" for item in items)


class StreamedListMixin:
    """`list` streams one line of JSON for each row where there are more than `stream_limit`.

    It stands before the viewset class in the bases. Permissions, filters, the serializer and the renderer are those of
    the viewset. A list that is paginated is never streamed, and neither is what another renderer than JSON's is asked
    for. A client that asks for `application/x-ndjson` gets lines however few rows there are. Source: document 000,
    "Memory-Efficient API Views".
    """

    stream_limit: int = streaming.STREAM_LIMIT  # rows
    stream_chunk_size: int | None = None  # rows read at a time; None for RSR_DESCENDANTS_CHUNK_SIZE

    def get_renderers(self) -> list[Any]:
        """The viewset's renderers, and lines of JSON for who asks for them."""
        renderers = list(super().get_renderers())  # type: ignore[misc]  # of the viewset that this is mixed into
        if not any(isinstance(renderer, JSONLinesRenderer) for renderer in renderers):
            renderers.append(JSONLinesRenderer())
        return renderers

    def list(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Stream, or answer as the viewset does."""
        if self.should_stream_response(request):
            return self.stream_response(request)
        return super().list(request, *args, **kwargs)  # type: ignore[misc,no-any-return]  # as above

    def should_stream_response(self, request: Request) -> bool:
        """Whether the list is long, is not paginated and is wanted as JSON. One query, which stops at the limit."""
        renderer = request.accepted_renderer
        if not isinstance(renderer, JSONRenderer) or self._is_paginated(request):
            return False
        if isinstance(renderer, JSONLinesRenderer):
            return True
        return streaming.should_stream_response(self._rows(), self.stream_limit)

    def stream_response(self, request: Request) -> StreamingHttpResponse:
        """Stream the filtered rows, a chunk at a time through the viewset's serializer. See `streaming`."""
        view: Any = self
        renderer, context = request.accepted_renderer, view.get_renderer_context()
        return streaming.lines_response(
            request,
            iter_chunks(self._rows(), self.stream_chunk_size),
            lambda rows: view.get_serializer(rows, many=True).data,
            # Its plain media type: indented, a row would be several lines.
            lambda data: renderer.render(data, renderer.media_type, context).rstrip(b"\n"),
            content_type=renderer.media_type,
        )

    def _rows(self) -> Any:
        view: Any = self
        return view.filter_queryset(view.get_queryset())

    def _is_paginated(self, request: Request) -> bool:
        paginator = getattr(self, "paginator", None)
        if paginator is None:
            return False
        for name in (
            "get_page_size",
            "get_limit",
        ):  # what the framework's own say None in where they do nothing
            if hasattr(paginator, name):
                return getattr(paginator, name)(request) is not None
        return True
