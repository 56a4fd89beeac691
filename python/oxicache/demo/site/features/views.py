"""The pages that are cached, each in its own way, and the two acts that change what they show."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from oxicache.demo.site.atlas.models import City, Country
from oxicache.django.responses import CacheMiddleware, cached_api, cached_view

from .visitors import KNOWN, SESSION_KEY

MINUTE = 60.0  # seconds
MOMENT = 0.05  # seconds: what is held is old before the next request comes
HOUR = 3600.0  # seconds
ROWS = 10
SAVED = "FR"

is_source_away: ContextVar[bool] = ContextVar("is_source_away", default=False)
_numbers = itertools.count(1)


@contextmanager
def _made() -> Iterator[dict[str, Any]]:
    """Give what tells a page from one that was made at another time, and how many queries it took."""
    made: dict[str, Any] = {
        "worker": os.getpid(),
        "number": next(_numbers),
        "at": datetime.now(UTC),
        "queries": 0,
    }

    def count(execute: Any, *args: Any) -> Any:
        made["queries"] += 1
        return execute(*args)

    with connection.execute_wrapper(count):
        yield made


def _page(
    request: HttpRequest, title: str, rows: Any, headings: tuple[str, str], **more: Any
) -> HttpResponse:
    with _made() as made:
        shown = {"title": title, "rows": list(rows), "headings": headings, **more}
    return render(request, "features/page.html", {**shown, "made": made})


def _of(iso: str) -> Country:
    try:
        return Country.objects.get(iso=iso.upper())
    except Country.DoesNotExist:
        raise Http404(f"There is no country with the ISO code {iso!r}.") from None


# ---------------------------------------------------------------- cached


def _densest() -> Iterator[tuple[str, float]]:
    countries = [country for country in Country.objects.all() if country.area_km2]
    countries.sort(key=lambda country: -country.population / country.area_km2)
    for country in countries[:ROWS]:  # a generator: its query is counted where the page is made
        yield country.name, round(country.population / country.area_km2, 1)


@cached_view(timeout=MINUTE, per_user=False)
def shared(request: HttpRequest) -> HttpResponse:
    """The densest countries, for everybody the same."""
    return _page(request, "The densest countries", _densest(), ("Country", "People per km²"))


@cached_view(timeout=MINUTE)
def own(request: HttpRequest) -> HttpResponse:
    """The cities of the visitor's country: each visitor has an entry of his own."""
    user: Any = request.user
    cities = City.objects.filter(country__iso=user.home) if user.home else City.objects.all()
    rows = cities.order_by("-population").values_list("name", "population")[:ROWS]
    return _page(request, f"Cities for {user.name}", rows, ("City", "People"))


@cached_api(timeout=MINUTE, vary_on_auth=False)
def api(request: HttpRequest) -> JsonResponse:
    """The biggest cities of a country, as JSON; `?country=` is part of the key."""
    iso = request.GET.get("country", SAVED)
    with _made() as made:
        cities = [{"name": name, "people": people} for name, people in _of(iso).biggest_cities()]
    return JsonResponse({"country": iso.upper(), "cities": cities, "made": made})


@cached_view(timeout=MINUTE, per_user=False)
def conditional(request: HttpRequest) -> HttpResponse:
    """A page that is the same whenever it is made, so that a browser which has it is told so."""
    france = _of(SAVED)
    rows = france.cities.order_by("-population").values_list("name", "population")[:ROWS]
    shown = {"title": f"Cities of {france.name}", "rows": list(rows), "headings": ("City", "People")}
    return render(request, "features/page.html", shown)


@cached_view(timeout=MOMENT, per_user=False, grace=HOUR)
def stale(request: HttpRequest) -> HttpResponse:
    """What was shown last, while the source is away."""
    if is_source_away.get():
        raise ConnectionError("the source is away")
    rows = City.objects.order_by("-population").values_list("name", "population")[:ROWS]
    return _page(request, "The biggest cities", rows, ("City", "People"))


@cached_view(timeout=MINUTE, per_user=False)
def leaking(request: HttpRequest) -> HttpResponse:
    """A mistake: it is to be shared by all, and greets its visitor. It is never cached."""
    user: Any = request.user
    return _page(request, f"Welcome, {user.name}", _densest(), ("Country", "People per km²"))


@cached_view(timeout=HOUR, per_user=False, invalidate_on=["atlas.Country"])
def saved(request: HttpRequest) -> HttpResponse:
    """The countries with most people; a country that is saved outdates it in every worker."""
    rows = Country.objects.order_by("-population").values_list("name", "population")[:ROWS]
    return _page(request, "The most populous countries", rows, ("Country", "People"))


def _told(request: HttpRequest) -> HttpResponse:
    """The countries with most land; nothing is kept here, and others are told what they may keep."""
    rows = Country.objects.order_by("-area_km2").values_list("name", "area_km2")[:ROWS]
    shown = {"title": "The largest countries", "rows": list(rows), "headings": ("Country", "Area, km²")}
    return render(request, "features/page.html", shown)


told = CacheMiddleware(_told)  # a site has it in MIDDLEWARE; here it is around one view


# ---------------------------------------------------------------- acts


@never_cache
@require_POST
def save(_request: HttpRequest) -> HttpResponse:
    """Save a country as it is, which outdates what was made of countries."""
    _of(SAVED).save()
    return redirect(f"{reverse('features')}?saved_by={os.getpid()}#saved")


@never_cache
@require_POST
def become(request: HttpRequest) -> HttpResponse:
    """Be another visitor from now on."""
    who = request.POST.get("who", "")
    if who and who not in KNOWN:
        return HttpResponseBadRequest(
            f"There is no visitor {who!r}.", content_type="text/plain; charset=utf-8"
        )
    request.session.flush()
    if who:
        request.session[SESSION_KEY] = who
    return redirect(f"{reverse('features')}#own")
