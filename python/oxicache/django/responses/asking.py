"""One request on its way to a response, and what is known of the view that it asks."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from django.http import HttpRequest

from oxicache.django import scope
from oxicache.django.responses.keying import Parts
from oxicache.django.responses.records import Record
from oxicache.django.responses.shelves import Shelf, Wanted

__all__ = ["Arguments", "Ask", "Further", "Tags", "View"]

logger = logging.getLogger("oxicache.responses")

Tags: TypeAlias = Iterable[str] | Callable[..., Iterable[str]]
Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]

MAX_SAID: Final = 1024  # reasons that are logged of one view


@dataclass(slots=True)
class View:
    """What is known of one view in this process."""

    name: str
    headers: tuple[str, ...] = ()  # whose values are in its keys, by their names in a record
    said: set[str] = field(default_factory=set)  # each reason not to cache is logged once

    def refuse(self, reason: str) -> None:
        """Log why a response of it is not cached."""
        kind = reason.partition("(")[0]  # an error may say something else of each request
        if kind not in self.said and len(self.said) < MAX_SAID:
            self.said.add(kind)
            logger.warning("A response of %s is not cached: %s.", self.name, reason)


@dataclass(frozen=True, slots=True)
class Further:
    """What a view adds to how its responses are cached, for one request."""

    permit: Callable[[], object] | None = None  # raises where this request may not have what is held
    words: Callable[[], list[str]] | None = None  # of what this response depends on
    tags: Tags | None = None  # in place of those of its cache


class Ask:
    """One request on its way."""

    __slots__ = (
        "arguments",
        "further",
        "has_begun",
        "headers",
        "key",
        "keyed",
        "parts",
        "problem",
        "request",
        "scope",
        "shelf",
        "tags",
        "view",
        "wanted",
        "words",
    )

    wanted: Wanted  # from here on where nothing was found
    tags: tuple[str, ...]

    def __init__(  # noqa: PLR0917 -- what there is to know of a request
        self,
        request: HttpRequest,
        arguments: Arguments,
        view: View,
        shelf: Shelf,
        scope: scope.Scope,
        headers: tuple[str, ...],
        parts: Parts,
        key: str,
        keyed: Record,
        further: Further | None,
    ) -> None:
        self.request = request
        self.arguments = arguments
        self.view = view
        self.shelf = shelf
        self.scope = scope
        self.headers = headers  # whose values are in the key
        self.parts = parts
        self.key = key
        self.keyed = keyed  # what functions that are part of the key have looked at
        self.further = further
        self.has_begun = False  # to ask its view
        self.words: list[str] = []  # of models that it depends on
        self.problem: str | None = None  # why nothing can be kept, known before its view is asked
