"""How a response of Django REST framework is held: its data, pickled, and the bytes of it that depend on nothing else.

It is rendered for each request anew, by the renderer negotiated for it, when the framework has finalized it. What a
plain JSONRenderer makes of plain data is the same each time, and is remembered: nothing is unpickled for it then.
Imported once the framework is. What is known of its requests: rest.py.
"""

import collections
import io
import pickle
import types
import uuid
import zoneinfo
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from django.db.models import Manager, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import Promise
from django.views import View
from rest_framework.fields import Field
from rest_framework.relations import Hyperlink
from rest_framework.renderers import (
    AdminRenderer,
    BrowsableAPIRenderer,
    HTMLFormRenderer,
    JSONRenderer,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.utils.serializer_helpers import ReturnDict, ReturnList

from oxicache._native import MISSING
from oxicache.django.responses import rest, stored
from oxicache.django.responses.remarks import give
from oxicache.django.responses.stored import Stored

__all__ = ["Data", "HeldResponse", "answer", "data_of", "finish"]

Mode = tuple[bool, bool, bool]  # of a JSONRenderer: ensure_ascii, compact, strict


class Data(NamedTuple):
    """What is held in place of content. `rendered` is what a JSONRenderer of that mode makes of the data."""

    pickled: bytes
    mode: Mode | None
    rendered: bytes
    etag: str  # of `rendered`
    template_name: str | None
    content_type: str | None
    is_exception: bool
    shows_view: (
        bool  # pages for people show the form of the object, or other pages, of which the data says nothing
    )


class HeldResponse(Response):  # type: ignore[misc]  # the framework has no types
    """A response made of what is held. Its data is unpickled when it is asked for, a copy for each response."""

    def __init__(self, held: Data, found: Stored) -> None:
        super().__init__(
            status=found.status,
            template_name=held.template_name,
            exception=held.is_exception,
            content_type=held.content_type,
        )
        self._held: Data | None = held
        self.reason_phrase = found.reason
        self.headers._store.update(found.headers)  # they were checked when the view set them
        give(self, found.remarks)

    @property
    def data(self) -> Any:
        """The data; from now on it may have been changed."""
        if self._held is not None:
            self._data, self._held = pickle.loads(self._held.pickled), None  # noqa: S301 -- pickled by this module
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._data, self._held = value, None

    @property
    def rendered_content(self) -> bytes:
        """The bytes that are remembered, or those that the framework makes."""
        held = self._held
        renderer: Any = getattr(self, "accepted_renderer", None)
        media_type, context = (
            getattr(self, "accepted_media_type", None),
            getattr(self, "renderer_context", None),
        )
        if (
            held is not None
            and held.mode is not None
            and media_type
            and context is not None
            and _mode(renderer) == held.mode
            and renderer.get_indent(media_type, context) is None
        ):
            context["response"] = self
            self["Content-Type"] = self.content_type or _content_type(renderer)
            return held.rendered
        content: bytes = super().rendered_content
        return content

    def remembered_etag(self) -> str:
        """Return the ETag of its content, if that is what is remembered."""
        held = self._held
        is_remembered = held is not None and held.mode is not None and self.content == held.rendered
        return held.etag if held is not None and is_remembered else ""


def _content_type(renderer: Any) -> str:
    return (
        renderer.media_type
        if renderer.charset is None
        else f"{renderer.media_type}; charset={renderer.charset}"
    )


# ---------------------------------------------------------------- to be held


class _CannotBeHeldError(Exception):
    """Says why."""


# What is no plain container, and is the same after pickling.
_KEPT: Final = frozenset(
    {
        bytearray,
        collections.OrderedDict,
        date,
        datetime,
        Decimal,
        ReturnDict,  # they pickle as dict and list, without their serializer
        ReturnList,
        time,
        timedelta,
        timezone,
        types.BuiltinFunctionType,
        types.FunctionType,
        uuid.UUID,
        zoneinfo.ZoneInfo,
    }
)
_VIEWS: Final[tuple[type[Any], ...]] = (type({}.keys()), type({}.values()), type({}.items()))
_NEVER: Final = (Field, HttpRequest, HttpResponseBase, Iterator, Manager, QuerySet, Request, View)


class _Pickler(pickle.Pickler):
    """Pickles data, and notes whether it is of types whose JSON is always the same."""

    is_plain = True

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind in _KEPT or isinstance(value, type):
            return NotImplemented
        if isinstance(
            value, Promise | Hyperlink
        ):  # the language is in the key; a link holds the object it leads to
            return str, (str(value),)
        if isinstance(value, str | int | float):
            return NotImplemented
        if isinstance(value, collections.defaultdict):  # what makes its values is often a lambda
            return dict, (dict(value),)
        if isinstance(value, _VIEWS):
            return tuple, (tuple(value),)
        if isinstance(value, _NEVER):
            raise _CannotBeHeldError(kind.__name__)
        self.is_plain = False
        return NotImplemented


def data_of(  # noqa: PLR0911 -- one for each reason
    request: Any, response: Any
) -> tuple[tuple[Any, ...] | None, str | None]:
    """Return what is to be held of a response, as a plain tuple; or None, and why it cannot be."""
    if not _is_plain_response(response):
        return None, f"{type(response).__name__} renders itself in a way of its own"
    if any(getattr(one, "func", None) is not _tagged for one in response._post_render_callbacks):
        return None, "something is to be done when it is rendered"  # which a hit would not do
    if not isinstance(response.template_name, str | types.NoneType):
        return None, "its template is no name"
    pickled = io.BytesIO()
    try:
        pickler = _Pickler(pickled, 5)
        pickler.dump(response.data)
    except _CannotBeHeldError as error:
        return None, f"its data holds a {error}: let the view return lists, dicts and what they are made of"
    except Exception as error:  # noqa: BLE001 -- of the data's own classes: the view must not fail for them
        return None, f"its data cannot be pickled: {error!r}"
    renderer: Any = None
    attributes = vars(request)  # not asked for: it would be noted
    accepted = attributes.get("accepted_renderer")
    view = (attributes.get("parser_context") or {}).get("view")
    _take_headers(view, response)
    renderer = _json_renderer(accepted, view) if pickler.is_plain else None
    mode, rendered = _mode(renderer), b""
    if mode is not None:
        try:
            rendered = renderer.render(response.data, renderer.media_type, {})
        except Exception as error:  # noqa: BLE001 -- as above, where the response is rendered
            if renderer is accepted:
                return None, f"its data cannot be rendered: {error!r}"
    held = Data(
        pickled.getvalue(),
        mode if rendered else None,
        rendered,
        _etag(rendered) if rendered else "",
        response.template_name,
        response.content_type,
        bool(response.exception),
        _shows_view(response.data, view),
    )
    return tuple(held), None


def _take_headers(view: Any, response: Any) -> None:
    """Give a response what its view has left for it on itself: the framework adds `view.headers` to each response."""
    left = getattr(view, "__dict__", {}).get("headers")
    if not isinstance(left, dict):
        return
    usual = view.default_response_headers
    for name, value in left.items():
        if usual.get(name) == value:
            continue
        if name.lower() == "vary":
            patch_vary_headers(response, _names(value) - _names(usual.get(name, "")))
        else:
            response[name] = value


def _names(vary: str) -> set[str]:
    return {part.strip() for part in vary.split(",")}


def _is_plain_response(response: Any) -> bool:
    kind = type(response)
    if issubclass(kind, HeldResponse):
        return True
    return kind.rendered_content is Response.rendered_content and kind.render is Response.render


def _json_renderer(accepted: Any, view: Any) -> Any:
    """Return the renderer to remember the bytes of: the request's, or the first of the view's that is plain JSON."""
    if _mode(accepted) is not None:
        return accepted
    kinds = getattr(view, "renderer_classes", ())
    return next((made for kind in kinds if issubclass(kind, JSONRenderer) and _mode(made := kind())), None)


def _mode(renderer: Any) -> Mode | None:
    """Return what the bytes depend on besides the data; None of a renderer that may look at something else."""
    kind = type(renderer)
    if (
        not isinstance(renderer, JSONRenderer)
        or kind.render is not JSONRenderer.render
        or kind.get_indent is not JSONRenderer.get_indent
        or renderer.encoder_class is not JSONEncoder
    ):
        return None
    return bool(renderer.ensure_ascii), bool(renderer.compact), bool(renderer.strict)


def _shows_view(data: Any, view: Any) -> bool:
    serializer = getattr(data, "serializer", None)
    if serializer is not None and not getattr(serializer, "many", False):
        return True
    paginator = getattr(view, "__dict__", {}).get("_paginator")
    return bool(getattr(paginator, "display_page_controls", False))


def _etag(content: bytes) -> str:
    response = HttpResponse(content)
    stored.with_etag(response)
    return response["ETag"]


# ---------------------------------------------------------------- to a request


def answer(found: Stored, request: Any, now: float, status: str, header: str) -> Any:
    """Return what is held as a response yet to be rendered; MISSING where this request takes the view itself."""
    held = Data(*found.body)
    renderer = vars(request).get("accepted_renderer")
    if isinstance(renderer, AdminRenderer | HTMLFormRenderer) or (
        held.shows_view and isinstance(renderer, BrowsableAPIRenderer)
    ):
        return MISSING
    response = HeldResponse(held, found)
    if held.mode is None or _mode(renderer) != held.mode:
        try:
            _ = response.data
        except Exception:  # noqa: BLE001 -- a class that is gone, of another release that has pickled it: a miss
            return MISSING
    response[header] = status
    response[stored.AGE] = str(max(0, int(now - found.created)))
    return finish(request, response, header)


def finish(request: Any, response: Any, header: str) -> Any:
    """Give a response an ETag when it is rendered, and have it answer the conditions of its request."""
    response.add_post_render_callback(partial(_tagged, rest.plain(request), header))
    return response


def _tagged(request: HttpRequest, header: str, response: Any) -> None:
    etag = response.remembered_etag() if isinstance(response, HeldResponse) else ""
    if etag and not response.has_header("ETag"):
        response["ETag"] = etag
    else:
        stored.with_etag(response)
    # After all others: a cache around this one keeps the whole response, and no 304.
    response._post_render_callbacks.append(partial(_conditional, request, header))


def _conditional(request: HttpRequest, header: str, response: Any) -> Any:
    found = stored.conditional(request, response)
    if found is not response:
        for name in (header, stored.AGE):
            if response.has_header(name):
                found[name] = response[name]
    return found
