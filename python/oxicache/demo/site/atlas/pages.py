"""What each page and its JSON endpoint show, as plain data. The views only render it; the jobs compare it."""

from dataclasses import asdict
from typing import Any

from .atlas import Atlas
from .figures import Figures
from .models import RANKINGS, Continent, Country

Page = dict[str, Any]


def _figures(figures: Figures) -> Page:
    return asdict(figures) | {"density": figures.density, "urban_share": figures.urban_share}


def _country_row(country: Country) -> Page:
    return {"iso": country.iso, "name": country.name, "figures": _figures(country.figures)}


def _ranked(atlas: Atlas, continent: Continent, by: str, limit: int) -> list[Page]:
    return [
        {"iso": iso, "name": atlas.by_iso[iso].name, "value": value}
        for iso, value in continent.ranking(by, limit)
    ]


def world(atlas: Atlas) -> Page:
    """The start page: every continent with its figures, first countries, and all its countries beneath."""
    continents = [
        {
            "code": continent.code,
            "name": continent.name,
            "figures": _figures(continent.figures),
            "most_populated": _ranked(atlas, continent, "population", 3),
            "densest": _ranked(atlas, continent, "density", 3),
            "countries": [_country_row(country) for country in continent.countries.all()],
        }
        for continent in atlas.continents
    ]
    keys = ("population", "regions", "cities", "city_population")
    totals = {key: sum(row["figures"][key] for row in continents) for key in keys}
    return {"totals": totals | {"countries": len(atlas.by_iso)}, "continents": continents}


def continent(atlas: Atlas, code: str) -> Page:
    """One continent: its rankings by every criterion, and how many of its people are up at each hour UTC."""
    place = atlas.by_code[code]
    trip_km, trip = atlas.round_trip(code)
    return {
        "code": place.code,
        "name": place.name,
        "figures": _figures(place.figures),
        "rankings": {by: _ranked(atlas, place, by, 10) for by in RANKINGS},
        "awake": [{"hour": hour, "people": place.awake(hour)} for hour in range(24)],
        "round_trip": {"km": trip_km, "countries": [{"iso": i, "name": atlas.by_iso[i].name} for i in trip]},
        "countries": [_country_row(country) for country in place.countries.all()],
    }


def country(atlas: Atlas, iso: str) -> Page:
    """One country: its figures beside its neighbours', its place in the continent, its cities and regions."""
    place = atlas.by_iso[iso]
    order = {by: [code for code, _ in place.continent.ranking(by, 300)].index(iso) + 1 for by in RANKINGS}
    return {
        "iso": place.iso,
        "name": place.name,
        "currency": place.currency,
        "continent": {"code": place.continent.code, "name": place.continent.name},
        "figures": _figures(place.figures),
        "rank": order,
        "neighbours": [_country_row(neighbour) for neighbour in atlas.neighbours(place)],
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
