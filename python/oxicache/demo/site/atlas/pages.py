"""What each page and its JSON endpoint show, as plain data. The views only render it; the jobs compare it.

Each call loads its own instances, as any view does; what hits are the rows' entries.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from .figures import Figures
from .models import RANKINGS, Continent, Country

Page = dict[str, Any]


def _figures(figures: Figures) -> Page:
    return asdict(figures) | {"density": figures.density, "urban_share": figures.urban_share}


def _country_row(country: Country) -> Page:
    return {"iso": country.iso, "name": country.name, "figures": _figures(country.figures)}


def _names(countries: Iterable[Country]) -> dict[str, str]:
    return {country.iso: country.name for country in countries}


def _ranked(continent: Continent, names: dict[str, str], by: str, limit: int) -> list[Page]:
    return [{"iso": iso, "name": names[iso], "value": value} for iso, value in continent.ranking(by, limit)]


def _continent_row(continent: Continent) -> Page:
    countries = continent.countries.all()
    names = _names(countries)
    return {
        "code": continent.code,
        "name": continent.name,
        "figures": _figures(continent.figures),
        "most_populated": _ranked(continent, names, "population", 3),
        "densest": _ranked(continent, names, "density", 3),
        "countries": [_country_row(country) for country in countries],
    }


def world() -> Page:
    """The start page: every continent with its figures, first countries, and all its countries beneath."""
    continents = [_continent_row(place) for place in Continent.objects.prefetch_related("countries")]
    keys = ("population", "regions", "cities", "city_population")
    totals = {key: sum(row["figures"][key] for row in continents) for key in keys}
    count = sum(len(row["countries"]) for row in continents)
    return {"totals": totals | {"countries": count}, "continents": continents}


def continent(code: str) -> Page:
    """One continent: its rankings by every criterion, and how many of its people are up at each hour UTC.

    Raises Continent.DoesNotExist.
    """
    place = Continent.objects.prefetch_related("countries").get(code=code)
    countries = place.countries.all()
    names = _names(countries)
    trip_km, trip = place.round_trip
    return {
        "code": place.code,
        "name": place.name,
        "figures": _figures(place.figures),
        "rankings": {by: _ranked(place, names, by, 10) for by in RANKINGS},
        "awake": [{"hour": hour, "people": place.awake(hour)} for hour in range(24)],
        "round_trip": {"km": trip_km, "countries": [{"iso": iso, "name": names[iso]} for iso in trip]},
        "countries": [_country_row(country) for country in countries],
    }


def country(iso: str) -> Page:
    """One country: its figures beside its neighbours', its place in the continent, its cities and regions.

    Raises Country.DoesNotExist.
    """
    place = Country.objects.select_related("continent", "capital").get(iso=iso)
    order = {by: [code for code, _ in place.continent.ranking(by, 300)].index(iso) + 1 for by in RANKINGS}
    neighbours = Country.objects.filter(iso__in=place.neighbour_codes)
    return {
        "iso": place.iso,
        "name": place.name,
        "currency": place.currency,
        "continent": {
            "code": place.continent.code,
            "name": place.continent.name,
            "population": place.continent.figures.population,
        },
        "figures": _figures(place.figures),
        "rank": order,
        "neighbours": [_country_row(neighbour) for neighbour in neighbours],
        "biggest_cities": [{"name": name, "population": size} for name, size in place.biggest_cities(10)],
        "biggest_regions": [
            {"name": name, "cities": cities, "people": people}
            for name, cities, people in place.biggest_regions(10)
        ],
        "time_zones": [{"name": zone, "people": people} for zone, people in place.time_zones],
        "capital": capital(place),
    }


def capital(place: Country) -> Page | None:
    """The capital and the large cities nearest to it; None where the data has no such city."""
    if place.capital is None:
        return None
    nearest = [{"name": name, "km": km} for name, km in place.capital.nearest(5)]
    return {"name": place.capital.name, "population": place.capital.population, "nearest": nearest}
