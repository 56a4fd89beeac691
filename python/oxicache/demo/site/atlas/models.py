# mypy: disable-error-code="var-annotated, no-any-return"
# The types of fields need django-stubs' plugin, which imports the settings, which need a data directory.
"""Continent, Country, Region, City: a hierarchy of places, with figures that cost something to compute.

The entries belong to the row: the instance that the next request loads hits what this one computed. A row that is
saved or deleted drops its own. What is computed from other rows says so: `depends_on` names the models of which any
change counts, and signals.py drops a country's figures when one of its many cities changes.
"""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.db import models
from django.http import HttpRequest

from oxicache import cached_method, ttl_cached_property
from oxicache.django.queries import CachedQuerySet

from .figures import Figures, figures_of
from .geodesy import geodesic_km, haversine_km

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

HOUR = 3600  # seconds; the figures change only when somebody loads or deletes places
COUNTRIES = 512  # more than there are, so that none is evicted to make room for another
DEGREE_KM = 111.2  # a degree of latitude
CHUNK = 500  # parents asked for in one query: SQLite took at most 999 parameters for most of its life
AWAKE = range(7, 23)  # local hours
DAY = datetime(2026, 3, 20, tzinfo=UTC)  # a fixed day, so that two runs agree; near an equinox
MILLION, BILLION = 10**6, 10**9  # people; no city has more than the second
LEAST_GAIN_KM = 1e-6  # a millimetre: less is rounding, and could be won back and forth for ever

RANKINGS: dict[str, Callable[[Figures], float]] = {
    "population": lambda figures: figures.population,
    "density": lambda figures: figures.density,
    "cities": lambda figures: figures.cities,
    "median_city": lambda figures: figures.median_city,
}


class Continent(models.Model):
    """A continent, by its geonames id."""

    countries: "RelatedManager[Country]"

    id = models.IntegerField(primary_key=True)
    code = models.CharField(max_length=2, unique=True)
    name = models.CharField(max_length=40)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @ttl_cached_property(ttl=HOUR, max_size=16, depends_on=("countries", "atlas.Region"))
    def figures(self) -> Figures:
        """Total the countries' own figures; the median needs every city of the continent once more."""
        countries = [country.figures for country in self.countries.all()]
        return figures_of(
            City.objects.filter(country__continent=self).values_list("name", "population", "time_zone"),
            population=sum(figures.population for figures in countries),
            area_km2=sum(figures.area_km2 for figures in countries),
            regions=len(self.descendants("regions")),
        )

    @cached_method(ttl=HOUR, max_size=64, depends_on=("countries", "atlas.Region"))
    def descendants(self, level: str) -> tuple[int, ...]:
        """Walk down to `countries`, `regions` or `cities`; return the ids found there, in chunks of parents."""
        found = list(self.countries.values_list("id", flat=True))
        if level == "countries":
            return tuple(found)
        below: type[Region | City] = Region if level == "regions" else City
        ids: list[int] = []
        for start in range(0, len(found), CHUNK):
            parents = found[start : start + CHUNK]
            ids += below.objects.filter(country_id__in=parents).order_by("id").values_list("id", flat=True)
        return tuple(ids)

    @cached_method(ttl=HOUR, max_size=256, depends_on=("countries", "atlas.Region"))
    def ranking(self, by: str, limit: int = 10) -> tuple[tuple[str, float], ...]:
        """Return the first countries by a criterion of RANKINGS, as (ISO code, value); ties by code."""
        measure = RANKINGS[by]
        values = [(country.iso, measure(country.figures)) for country in self.countries.all()]
        return tuple(sorted(values, key=lambda pair: (-pair[1], pair[0]))[:limit])

    @cached_method(ttl=HOUR, max_size=24 * 16, depends_on="countries")
    def awake(self, hour_utc: int) -> int:
        """Count the people in cities where it is day by the clock, at a full hour UTC of a fixed date."""
        moment = DAY + timedelta(hours=hour_utc)
        return sum(
            people
            for country in self.countries.all()
            for zone, people in country.time_zones
            if moment.astimezone(ZoneInfo(zone)).hour in AWAKE
        )

    @ttl_cached_property(ttl=HOUR, max_size=16, depends_on=("countries", "atlas.City"))
    def round_trip(self) -> tuple[int, tuple[str, ...]]:
        """Plan a short round trip through the capitals: the nearest next, then 2-opt; (km, ISO codes)."""
        capitals = self.countries.filter(capital__isnull=False).select_related("capital")
        return _round_trip(
            {country.iso: (country.capital.latitude, country.capital.longitude) for country in capitals}
        )


def _round_trip(stops: dict[str, tuple[float, float]]) -> tuple[int, tuple[str, ...]]:
    """Order the stops into a short round trip; (km, names of the stops)."""

    def km(one: str, other: str) -> float:
        # In one order, so that there and back is one entry.
        first, last = sorted((one, other))
        return geodesic_km(*stops[first], *stops[last])

    left = sorted(stops)
    tour = left[:1]
    left = left[1:]
    while left:
        nearest = min(left, key=lambda stop: km(tour[-1], stop))
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


class Country(models.Model):
    """A country, by its geonames id."""

    regions: "RelatedManager[Region]"
    cities: "RelatedManager[City]"

    id = models.IntegerField(primary_key=True)
    continent = models.ForeignKey(Continent, models.CASCADE, related_name="countries")
    iso = models.CharField(max_length=2, unique=True)
    name = models.CharField(max_length=80)
    capital = models.ForeignKey("City", models.SET_NULL, null=True, related_name="capital_of")
    population = models.BigIntegerField()
    area_km2 = models.FloatField()
    currency = models.CharField(max_length=40)
    neighbours = models.ManyToManyField("self")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @ttl_cached_property(ttl=HOUR, max_size=COUNTRIES, depends_on="regions")
    def figures(self) -> Figures:
        """Read every city of the country and compute totals and median; SQLite has no median of its own."""
        return figures_of(
            self.cities.values_list("name", "population", "time_zone"),
            population=self.population,
            area_km2=self.area_km2,
            regions=self.regions.count(),
        )

    @ttl_cached_property(ttl=HOUR, max_size=COUNTRIES)
    def time_zones(self) -> tuple[tuple[str, int], ...]:
        """Return each time zone and how many live in its cities, the fullest first."""
        rows = self.cities.values_list("time_zone").annotate(people=models.Sum("population"))
        return tuple(rows.order_by("-people", "time_zone"))

    @ttl_cached_property(ttl=HOUR, max_size=COUNTRIES, depends_on="neighbours")
    def neighbour_codes(self) -> tuple[str, ...]:
        """Return the ISO codes of the countries across a land border."""
        return tuple(self.neighbours.order_by("iso").values_list("iso", flat=True))

    @cached_method(ttl=HOUR, max_size=8 * COUNTRIES, depends_on="neighbours")
    def route(self, end: str) -> tuple[str, ...]:
        """Return the ISO codes along a way over land that crosses fewest borders; empty when there is none."""
        by_iso = {country.iso: country for country in Country.objects.all()}
        came_from = {self.iso: ""}
        queue = deque([self.iso])
        while queue and end not in came_from:
            here = queue.popleft()
            for there in by_iso[here].neighbour_codes:
                if there not in came_from:
                    came_from[there] = here
                    queue.append(there)
        if end not in came_from:
            return ()
        way = [end]
        while came_from[way[-1]]:
            way.append(came_from[way[-1]])
        return tuple(reversed(way))

    @cached_method(ttl=HOUR, max_size=4 * COUNTRIES)
    def biggest_cities(self, limit: int = 5) -> tuple[tuple[str, int], ...]:
        """Return the most populated cities, as (name, population)."""
        return tuple(self.cities.order_by("-population", "id").values_list("name", "population")[:limit])

    @cached_method(ttl=HOUR, max_size=4 * COUNTRIES, depends_on="regions")
    def biggest_regions(self, limit: int = 5) -> tuple[tuple[str, int, int], ...]:
        """Return the regions with most people in cities, as (name, cities, people)."""
        rows = self.regions.annotate(count=models.Count("cities"), people=models.Sum("cities__population"))
        return tuple(rows.order_by("-people", "id").values_list("name", "count", "people")[:limit])


class Region(models.Model):
    """A first-level division of a country. The data has names only for those of the United States."""

    country = models.ForeignKey(Country, models.CASCADE, related_name="regions")
    code = models.CharField(max_length=10)
    name = models.CharField(max_length=100)

    class Meta:
        ordering = ("code",)
        constraints = (models.UniqueConstraint(fields=("country", "code"), name="region_code_in_country"),)

    def __str__(self) -> str:
        return self.name


def least_people(asked: Mapping[str, str]) -> int:
    """Return how many people a city is to have at least: what a form says under `least`, or a million."""
    given = asked.get("least", "")
    return min(int(given), BILLION) if given.isascii() and given.isdecimal() else MILLION


class CityQuerySet(CachedQuerySet["City"]):
    """Cities, whose querysets can be cached."""

    def asked_for(self, request: HttpRequest) -> "CityQuerySet":
        """Return the cities of the size that a request asks for."""
        return self.filter(population__gte=least_people(request.GET)).select_related("country")


class City(models.Model):
    """A city of at least 15,000 people, or a seat of government, by its geonames id."""

    country_id: int

    id = models.IntegerField(primary_key=True)
    country = models.ForeignKey(Country, models.CASCADE, related_name="cities")
    region = models.ForeignKey(Region, models.CASCADE, null=True, related_name="cities")
    name = models.CharField(max_length=120)
    latitude = models.FloatField(db_index=True)
    longitude = models.FloatField()
    population = models.IntegerField(db_index=True)
    time_zone = models.CharField(max_length=40)

    objects = CityQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "cities"

    def __str__(self) -> str:
        return self.name

    @cached_method(ttl=HOUR, max_size=4 * COUNTRIES, depends_on="self")
    def nearest(self, limit: int = 5, min_population: int = 100_000) -> tuple[tuple[str, float], ...]:
        """Return the nearest other cities of at least that size, as (name, km): a search in widening bands.

        A band of latitude holds every city within its half height, so a distance below that height is final.
        """
        for degrees in (2.5, 10, 40, 180):
            band = City.objects.filter(
                population__gte=min_population,
                latitude__range=(self.latitude - degrees, self.latitude + degrees),
            ).exclude(pk=self.pk)
            found = sorted(
                (haversine_km(self.latitude, self.longitude, latitude, longitude), name)
                for name, latitude, longitude in band.values_list("name", "latitude", "longitude")
            )[:limit]
            if len(found) == limit and found[-1][0] <= degrees * DEGREE_KM:
                break
        return tuple((name, round(km, 1)) for km, name in found)


class Load(models.Model):
    """The record of a finished load: written last, in the load's own transaction. data.py compares it on each start."""

    source = models.CharField(max_length=200)
    finished_at = models.DateTimeField(auto_now_add=True)
    continents = models.IntegerField()
    countries = models.IntegerField()
    regions = models.IntegerField()
    cities = models.IntegerField()

    def __str__(self) -> str:
        return self.source
