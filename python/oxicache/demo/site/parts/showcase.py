"""Each part with two requests that this worker sends itself, and how many queries each of them took."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from oxicache.demo.site.atlas.models import MILLION
from oxicache.demo.site.requests import ask

_looks = itertools.count(1)


@dataclass(frozen=True)
class Part:
    """What is cached, and where it is."""

    name: str  # of its URL
    title: str
    about: str
    code: str

    @property
    def path(self) -> str:
        """Where it is."""
        return reverse(f"parts-{self.name}")


PARTS = (
    Part(
        "form",
        "A form with cached dropdowns",
        "Countries, and cities with the names of their countries. Neither the rows nor the options are made "
        "again; what is submitted is looked for in the database.",
        "class TripForm(OptimizedDropdownForm): cached_dropdown_fields = {...}",
    ),
    Part(
        "fragment",
        "A cached fragment",
        "The view hands over querysets, which are lazy: a fragment that is held asks for none of their rows.",
        '{% cache_fragment "countries" least timeout=3600 depends_on="atlas.Country" %}',
    ),
    Part(
        "queryset",
        "A cached queryset",
        "A join and a count. A change of any row that they read, of cities or of countries, outdates them.",
        'City.objects.filter(...).select_related("country").cached(3600)',
    ),
)


@dataclass(frozen=True)
class Look:
    """A part, where it was asked for, and how many queries it took."""

    part: Part
    url: str
    statuses: tuple[int, int]
    queries: tuple[int, int]

    @property
    def is_as_wanted(self) -> bool:
        """Whether the database was asked once, and not again."""
        return self.statuses == (200, 200) and self.queries[0] > 0 and self.queries[1] == 0


def _looks_of(request: HttpRequest) -> Iterator[Look]:
    # A size that nobody has asked for before: each worker counts from elsewhere.
    least = MILLION + next(_looks) * 100 + os.getpid() % 100
    for part in PARTS:
        replies = [ask(request, part.path, f"least={least}") for _ in range(2)]
        first, second = ((reply.status_code, int(reply.get("X-Queries", "-1"))) for reply in replies)
        yield Look(part, f"{part.path}?least={least}", (first[0], second[0]), (first[1], second[1]))


@never_cache
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All parts, each with the queries of two requests."""
    return render(request, "parts/index.html", {"looks": list(_looks_of(request)), "worker": os.getpid()})


@never_cache
@require_safe
def api_index(request: HttpRequest) -> JsonResponse:
    """The same as JSON, for who checks it."""
    found = [
        {"part": look.part.name, "path": look.url, "queries": look.queries, "as_wanted": look.is_as_wanted}
        for look in _looks_of(request)
    ]
    return JsonResponse({"worker": os.getpid(), "parts": found})
