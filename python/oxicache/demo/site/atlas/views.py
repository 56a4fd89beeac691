"""Pages and JSON endpoints: find the place, take its page's data, render. All of it is read-only."""

import os
import platform
from importlib.metadata import version
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import counters, pages
from .atlas import Atlas, kept_atlas

TITLES = {
    "population": "By people",
    "density": "By people per km²",
    "cities": "By cities",
    "median_city": "By median city",
}


def _cache_state() -> dict[str, Any]:
    """What /api/cache/ answers and every page shows beside its content."""
    total = counters.totals()
    return {
        "worker": os.getpid(),
        "hits": total.hits,
        "misses": total.misses,
        "hit_ratio": round(total.ratio, 4),
        "caches": counters.table(),
    }


def _page(request: HttpRequest, template: str, data: pages.Page, **more: Any) -> HttpResponse:
    about = {"version": version("oxicache"), "python": platform.python_version()}
    # Made after the data: the statistics shown count what the page itself read.
    cache = _cache_state()
    shown = {"page": data, "cache": cache, "hit_percent": cache["hit_ratio"] * 100, "about": about}
    return render(request, template, shown | more)


def _continent(atlas: Atlas, code: str) -> str:
    if code.upper() not in atlas.by_code:
        raise Http404(f"There is no continent {code!r}; there are {', '.join(sorted(atlas.by_code))}.")
    return code.upper()


def _country(atlas: Atlas, iso: str) -> str:
    if iso.upper() not in atlas.by_iso:
        raise Http404(f"There is no country with the ISO code {iso!r}.")
    return iso.upper()


@never_cache
@require_safe
def world(request: HttpRequest) -> HttpResponse:
    """The start page."""
    return _page(request, "atlas/world.html", pages.world(kept_atlas()))


@never_cache
@require_safe
def continent(request: HttpRequest, code: str) -> HttpResponse:
    """A continent's page."""
    atlas = kept_atlas()
    data = pages.continent(atlas, _continent(atlas, code))
    rankings = [{"title": TITLES[by], "rows": rows} for by, rows in data["rankings"].items()]
    return _page(request, "atlas/continent.html", data, rankings=rankings)


@never_cache
@require_safe
def country(request: HttpRequest, iso: str) -> HttpResponse:
    """A country's page."""
    atlas = kept_atlas()
    return _page(request, "atlas/country.html", pages.country(atlas, _country(atlas, iso)))


@never_cache
@require_safe
def api_index(_request: HttpRequest) -> JsonResponse:
    """The endpoints there are, by example."""
    return JsonResponse(
        {
            "world": reverse("api-world"),
            "continent": reverse("api-continent", args=["EU"]),
            "country": reverse("api-country", args=["FR"]),
            "route": reverse("api-route", args=["PT", "VN"]),
            "cache": reverse("api-cache"),
        }
    )


@never_cache
@require_safe
def api_world(_request: HttpRequest) -> JsonResponse:
    """The start page's data."""
    return JsonResponse(pages.world(kept_atlas()))


@never_cache
@require_safe
def api_continent(_request: HttpRequest, code: str) -> JsonResponse:
    """A continent's data."""
    atlas = kept_atlas()
    return JsonResponse(pages.continent(atlas, _continent(atlas, code)))


@never_cache
@require_safe
def api_country(_request: HttpRequest, iso: str) -> JsonResponse:
    """A country's data."""
    atlas = kept_atlas()
    return JsonResponse(pages.country(atlas, _country(atlas, iso)))


@never_cache
@require_safe
def api_route(_request: HttpRequest, start: str, end: str) -> JsonResponse:
    """The countries on a way over land between two, by their ISO codes; empty when the sea is between them."""
    atlas = kept_atlas()
    way = atlas.route(_country(atlas, start), _country(atlas, end))
    return JsonResponse({"route": [{"iso": iso, "name": atlas.by_iso[iso].name} for iso in way]})


@never_cache
@require_safe
def api_cache(_request: HttpRequest) -> JsonResponse:
    """The statistics of the caches in the worker that answers. Reading them counts as no hit."""
    return JsonResponse(_cache_state())


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A 404 as JSON under /api/, as a page elsewhere. Only messages written here are shown."""
    said = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    message = said or f"There is nothing at {request.path}."
    if request.path.startswith("/api/"):
        return JsonResponse({"error": message}, status=404)
    return render(request, "atlas/not_found.html", {"message": message}, status=404)
