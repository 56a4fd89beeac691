"""Pages and JSON endpoints: find the place, take its page's data, render. One page edits a country."""

import os
import platform
import urllib.parse
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from oxicache.django import control, host

from . import counters, pages, searches
from .forms import CountryForm
from .models import Continent, Country

TITLES = {
    "population": "By people",
    "density": "By people per km²",
    "cities": "By cities",
    "median_city": "By median city",
}


def _cache_state() -> dict[str, Any]:
    """What /api/cache/ answers and every page shows beside its content."""
    total = counters.totals()
    words = host.state()
    return {
        "worker": os.getpid(),
        "shared": words["shared"],  # whether an edit in another worker is seen by this one
        "shared_path": words["path"],
        "private_because": words["reason"] if not words["shared"] else None,
        "unreachable_because": control.failure(),  # why `manage_cache` cannot ask this one
        "hits": total.hits,
        "misses": total.misses,
        "hit_ratio": round(total.ratio, 4),
        "caches": counters.table(),
    }


def _page(request: HttpRequest, template: str, build: Callable[[], pages.Page], **more: Any) -> HttpResponse:
    before = counters.totals()
    data = build()
    spent = counters.totals().since(before)
    # Made after the data: the statistics shown count what the page itself read.
    cache = _cache_state()
    shown = {
        "page": data,
        "spent": spent,
        "cache": cache,
        "hit_percent": cache["hit_ratio"] * 100,
        "about": {"version": version("oxicache"), "python": platform.python_version()},
    }
    return render(request, template, shown | more)


def _continent(code: str) -> pages.Page:
    try:
        return pages.continent(code.upper())
    except Continent.DoesNotExist:
        codes = ", ".join(Continent.objects.order_by("code").values_list("code", flat=True))
        raise Http404(f"There is no continent {code!r}; there are {codes}.") from None


def _country(iso: str) -> pages.Page:
    try:
        return pages.country(iso.upper())
    except Country.DoesNotExist:
        raise _no_country(iso) from None


def _country_row(iso: str) -> Country:
    try:
        return Country.objects.get(iso=iso.upper())
    except Country.DoesNotExist:
        raise _no_country(iso) from None


def _no_country(iso: str) -> Http404:
    return Http404(f"There is no country with the ISO code {iso!r}.")


@never_cache
@require_safe
def world(request: HttpRequest) -> HttpResponse:
    """The start page."""
    return _page(request, "atlas/world.html", pages.world)


@never_cache
@require_safe
def continent(request: HttpRequest, code: str) -> HttpResponse:
    """A continent's page."""

    def build() -> pages.Page:
        data = _continent(code)
        return data | {"rankings": [(TITLES[by], rows) for by, rows in data["rankings"].items()]}

    return _page(request, "atlas/continent.html", build)


@never_cache
@require_safe
def country(request: HttpRequest, iso: str) -> HttpResponse:
    """A country's page; after an edit, with the process that saved it."""
    saved_by = request.GET.get("saved_by", "")
    shown = {"saved_by": saved_by} if saved_by.isascii() and saved_by.isdecimal() else {}
    return _page(request, "atlas/country.html", lambda: _country(iso), **shown)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, iso: str) -> HttpResponse:
    """A form for a country's own figures. Saving is all it does: the save drops what was computed of the old row."""
    place = _country_row(iso)
    form = CountryForm(request.POST or None, instance=place)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect(f"{reverse('country', args=[place.iso])}?saved_by={os.getpid()}")
    # A form that was refused has written what it was given into `place`; the title is the stored one.
    title = _country_row(iso).name
    return _page(request, "atlas/edit.html", lambda: {"iso": place.iso, "name": title}, form=form)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def search(request: HttpRequest) -> HttpResponse:
    """Places by a part of their name, from Django's cache, with a button for each way to change what is cached."""
    if request.method == "POST":
        words = searches.words_of(request.POST.get("q", ""))
        act = request.POST.get("act", "")
        if act not in searches.ACTS:
            return HttpResponseBadRequest(
                f"There is no act {act!r}.", content_type="text/plain; charset=utf-8"
            )
        searches.ACTS[act].change(words)
        query = urllib.parse.urlencode({"q": words, "act": act, "by": os.getpid()})
        return redirect(f"{reverse('search')}?{query}")
    words = searches.words_of(request.GET.get("q", ""))
    by, done = request.GET.get("by", ""), searches.ACTS.get(request.GET.get("act", ""))
    shown = {"changed_by": by, "act": done} if done and by.isascii() and by.isdecimal() else {}
    return _page(request, "atlas/search.html", lambda: searches.search(words), acts=searches.ACTS, **shown)


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
            "search": f"{reverse('api-search')}?q=san",
            "cache": reverse("api-cache"),
        }
    )


@never_cache
@require_safe
def api_world(_request: HttpRequest) -> JsonResponse:
    """The start page's data."""
    return JsonResponse(pages.world())


@never_cache
@require_safe
def api_continent(_request: HttpRequest, code: str) -> JsonResponse:
    """A continent's data."""
    return JsonResponse(_continent(code))


@never_cache
@require_safe
def api_country(_request: HttpRequest, iso: str) -> JsonResponse:
    """A country's data."""
    return JsonResponse(_country(iso))


@never_cache
@require_safe
def api_route(_request: HttpRequest, start: str, end: str) -> JsonResponse:
    """The countries on a way over land between two, by their ISO codes; empty when the sea is between them."""
    way = _country_row(start).route(_country_row(end).iso)
    names = dict(Country.objects.filter(iso__in=way).values_list("iso", "name"))
    return JsonResponse({"route": [{"iso": iso, "name": names[iso]} for iso in way]})


@never_cache
@require_safe
def api_search(request: HttpRequest) -> JsonResponse:
    """What a search found, whose it is and of when. `number` is another for each search that was made."""
    return JsonResponse(searches.search(searches.words_of(request.GET.get("q", ""))))


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
