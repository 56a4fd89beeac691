"""The figures of a place, as plain values: what the models compute, the pages show and the jobs compare."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figures:
    """One continent's or country's figures. Frozen, because a cached value is shared by all who read it."""

    population: int
    area_km2: float
    regions: int
    cities: int
    city_population: int
    median_city: float
    largest_city: str
    time_zones: int

    @property
    def density(self) -> float:
        """People for each square kilometre; 0 where the area is unknown."""
        return round(self.population / self.area_km2, 2) if self.area_km2 else 0.0

    @property
    def urban_share(self) -> float:
        """The part of the people who live in the cities listed, 0 to 1; the two counts are of different years."""
        return round(min(self.city_population / self.population, 1.0), 4) if self.population else 0.0


def figures_of(
    cities: Iterable[tuple[str, int, str]], *, population: int, area_km2: float, regions: int
) -> Figures:
    """Compute the figures from (name, population, time zone) of each city and what is known of the place itself."""
    listed = list(cities)
    sizes = [size for _, size, _ in listed]
    largest = max(listed, key=lambda city: (city[1], city[0]), default=("", 0, ""))
    return Figures(
        population=population,
        area_km2=area_km2,
        regions=regions,
        cities=len(sizes),
        city_population=sum(sizes),
        median_city=float(median(sizes)) if sizes else 0.0,
        largest_city=largest[0],
        time_zones=len({zone for _, _, zone in listed}),
    )
