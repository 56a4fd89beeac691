"""The atlas: one graph of instances, kept for a whole run or worker, and what is asked across countries.

Nothing of this is needed by the cache itself. It is here because the entries of a model's cached properties belong to
instances: reading through the same ones is what makes them hit.
"""

from collections import deque

from django.db.models import Prefetch

from oxicache import cached_function, cached_method

from . import geodesy
from .models import City, Continent, Country

LEAST_GAIN_KM = 1e-6  # a millimetre: less is rounding, and could be won back and forth for ever


class Atlas:
    """Continents with their countries and capitals, loaded by three queries, each row once."""

    def __init__(self) -> None:
        countries = Prefetch("countries", Country.objects.select_related("capital"))
        self.continents = list(Continent.objects.prefetch_related(countries))
        self.by_code = {continent.code: continent for continent in self.continents}
        self.by_iso = {
            country.iso: country for continent in self.continents for country in continent.countries.all()
        }
        self.by_id = {country.id: country for country in self.by_iso.values()}

    def neighbours(self, country: Country) -> list[Country]:
        """Return the kept instances of the countries across a land border."""
        return [self.by_iso[iso] for iso in country.neighbour_codes]

    @cached_method(ttl=3600, max_size=4096)
    def route(self, start: str, end: str) -> tuple[str, ...]:
        """Return the ISO codes along a way over land that crosses fewest borders; empty when there is none."""
        came_from = {start: ""}
        queue = deque([start])
        while queue and end not in came_from:
            here = queue.popleft()
            for there in self.by_iso[here].neighbour_codes:
                if there not in came_from:
                    came_from[there] = here
                    queue.append(there)
        if end not in came_from:
            return ()
        way = [end]
        while came_from[way[-1]]:
            way.append(came_from[way[-1]])
        return tuple(reversed(way))

    @cached_method(ttl=3600, max_size=16)
    def round_trip(self, code: str) -> tuple[int, tuple[str, ...]]:
        """Plan a short round trip through a continent's capitals: the nearest next, then 2-opt; (km, ISO codes)."""
        stops = {c.iso: c.capital for c in self.by_code[code].countries.all() if c.capital is not None}

        def km(one: str, other: str) -> float:
            # In one order, so that there and back is one entry.
            a, b = (stops[iso] for iso in sorted((one, other)))
            return geodesy.geodesic_km(a.latitude, a.longitude, b.latitude, b.longitude)

        left = sorted(stops)
        tour = left[:1]
        left = left[1:]
        while left:
            nearest = min(left, key=lambda iso: km(tour[-1], iso))
            left.remove(nearest)
            tour.append(nearest)
        improved = True
        while improved:
            improved = False
            for i in range(1, len(tour) - 1):
                for j in range(i + 1, len(tour)):
                    before, first, last, after = tour[i - 1], tour[i], tour[j], tour[(j + 1) % len(tour)]
                    gain = km(before, first) + km(last, after) - km(before, last) - km(first, after)
                    if gain > LEAST_GAIN_KM:
                        tour[i : j + 1] = reversed(tour[i : j + 1])
                        improved = True
        return round(sum(km(tour[i - 1], tour[i]) for i in range(len(tour)))), tuple(tour)

    def forget(self, country: Country) -> None:
        """Drop what was computed of a country and its continent, because a place in it changed.

        A property is dropped for the one instance; a method with open arguments, which could have been called with
        any limit, for every instance.
        """
        continent = self.by_code[country.continent.code]
        del country.figures
        del country.time_zones
        del continent.figures
        for method in (
            Country.biggest_cities,
            Country.biggest_regions,
            Continent.descendants,
            Continent.ranking,
            Continent.awake,
            City.nearest,
            Atlas.round_trip,
        ):
            method.cache_clear()


@cached_function(ttl=None, max_size=1)
def kept_atlas() -> Atlas:
    """Return this process's atlas, loaded by whoever asks first; `kept_atlas.cache_clear()` has it loaded anew."""
    return Atlas()
