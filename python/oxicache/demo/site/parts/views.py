"""Three pages with a cached part each, and the act that outdates all of them. How many statements a part executed is
in `X-Queries` of the answer, and on the page.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from oxicache.demo.site.atlas.models import City, Country, least_people

from .forms import TripForm

HOUR = 3600.0  # seconds
ROWS = 10
CHANGED = "FR"
PARTS = frozenset({"form", "fragment", "queryset"})


@dataclass
class Counted:
    """How many statements were executed."""

    queries: int = 0


@contextmanager
def counted() -> Iterator[Counted]:
    """Count the statements of the block."""
    found = Counted()

    def count(execute: Any, *args: Any) -> Any:
        found.queries += 1
        return execute(*args)

    with connection.execute_wrapper(count):
        yield found


def _page(request: HttpRequest, name: str, title: str, part: str, made: Counted) -> HttpResponse:
    shown = {"name": name, "title": title, "part": part, "made": made, "worker": os.getpid()}
    saved_by = request.GET.get("saved_by", "")
    shown["saved_by"] = saved_by if saved_by.isascii() and saved_by.isdecimal() else ""
    response = render(request, "parts/page.html", {**shown, "least": least_people(request.GET)})
    response["X-Queries"] = str(made.queries)
    return response


@never_cache
@require_safe
def form(request: HttpRequest) -> HttpResponse:
    """A form with two dropdowns: countries, and the cities of at least so many people."""
    trip = TripForm(request.GET if "city" in request.GET else None, request=request)
    with counted() as made:
        part = render_to_string("parts/form.html", {"form": trip})
    if trip.is_bound and trip.is_valid():
        chosen = trip.cleaned_data
        part += render_to_string("parts/chosen.html", {"country": chosen["country"], "city": chosen["city"]})
    return _page(request, "form", "A form with cached dropdowns", part, made)


@never_cache
@require_safe
def fragment(request: HttpRequest) -> HttpResponse:
    """A table of countries in a template; the queryset in its context is asked for when the fragment is made."""
    countries = Country.objects.order_by("-population")[:ROWS]
    shown = {
        "countries": countries,
        "changed": Country.objects.filter(iso=CHANGED),
        "least": least_people(request.GET),
    }
    with counted() as made:
        part = render_to_string("parts/fragment.html", shown, request)
    return _page(request, "fragment", "A cached fragment", part, made)


@never_cache
@require_safe
def queryset(request: HttpRequest) -> HttpResponse:
    """Cities with their country, through a join, and how many there are of that size."""
    cities = City.objects.asked_for(request).cached(HOUR)
    with counted() as made:
        biggest = cities.filter(country__iso=CHANGED).order_by("-population")[:ROWS]
        part = render_to_string("parts/queryset.html", {"cities": biggest, "count": cities.count()})
    return _page(request, "queryset", "A cached queryset", part, made)


@never_cache
@require_POST
def grow(request: HttpRequest) -> HttpResponse:
    """Let one more person live in a country: every part that shows it is outdated, in all workers."""
    after = request.POST.get("after", "")
    if after not in PARTS:
        return HttpResponseBadRequest(
            f"There is no part {after!r}.", content_type="text/plain; charset=utf-8"
        )
    country = Country.objects.get(iso=CHANGED)
    country.population += 1
    country.save()
    least = least_people(request.POST)
    return redirect(f"{reverse(f'parts-{after}')}?least={least}&saved_by={os.getpid()}")
