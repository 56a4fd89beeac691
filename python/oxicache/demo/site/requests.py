"""Requests that a worker sends itself, through all of its middleware, in the name of the visitor who asks."""

import functools
import io
from collections.abc import Mapping

from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase

__all__ = ["ask"]


@functools.cache
def _site() -> BaseHandler:
    handler = BaseHandler()
    handler.load_middleware()
    return handler


def ask(
    request: HttpRequest, path: str, query: str, headers: Mapping[str, str] | None = None
) -> HttpResponseBase:
    """Send a GET of this visitor's, with META's spelling of more headers; the answer is closed."""
    kept = {name: value for name, value in request.META.items() if not name.startswith("HTTP_IF_")}
    own = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": ""}
    for name in ("HTTP_CACHE_CONTROL", "HTTP_PRAGMA"):  # a reload of this page is none of those
        kept.pop(name, None)
    asked = WSGIRequest({**kept, **own, "wsgi.input": io.BytesIO(), **(headers or {})})
    response = _site().get_response(asked)
    response.close()
    return response
