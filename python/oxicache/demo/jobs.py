"""The work that is timed: what a site on this data does in earnest, as functions that return plain results.

The jobs know nothing of caching, and each loads its own instances, as requests do. comparison.py runs each with the
decorators in place and with them taken off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

VISITS = 3  # of one page: what a worker answers in a moment of a site's day
PAGES_PER_CONTINENT = 4  # the most populated countries of each, the ones most looked at

# Far ends of three land masses, so that most ways are long; Iceland for a way that does not exist.
TRAVELLERS = ("PT", "NO", "VN", "OM", "ZA", "SN", "KR", "CA", "AR", "CL", "NP", "IS")


@dataclass(frozen=True)
class Job:
    """A piece of work with a name and a sentence on what it does."""

    name: str
    about: str
    run: Callable[[], Any]


def start_page() -> Any:
    """Build the start page for each of several visits."""
    from .site.atlas import pages

    return [pages.world() for _ in range(VISITS)]


def country_pages() -> Any:
    """Build the pages of each continent's most populated countries, with neighbours and ranks."""
    from .site.atlas import pages
    from .site.atlas.models import Continent

    places = Continent.objects.all()
    most = [iso for place in places for iso, _ in place.ranking("population", PAGES_PER_CONTINENT)]
    return [pages.country(iso) for iso in most]


def rankings() -> Any:
    """Rank each continent's countries by every criterion."""
    from .site.atlas.models import RANKINGS, Continent

    return {place.code: {by: place.ranking(by) for by in RANKINGS} for place in Continent.objects.all()}


def land_routes() -> Any:
    """Find the way over land with fewest borders between every two of a dozen countries, there and back."""
    from .site.atlas.models import Country

    place = {country.iso: country for country in Country.objects.filter(iso__in=TRAVELLERS)}
    return {
        (start, end): (place[start].route(end), place[end].route(start))
        for start, end in combinations(TRAVELLERS, 2)
    }


def round_trips() -> Any:
    """Plan a round trip through the capitals of each continent, on the ellipsoid, for each of several visits."""
    from .site.atlas.models import Continent

    return [{place.code: place.round_trip for place in Continent.objects.all()} for _ in range(VISITS)]


def awake_by_hour() -> Any:
    """Count who is up in each continent at each hour of the day."""
    from .site.atlas.models import Continent

    return {place.code: [place.awake(hour) for hour in range(24)] for place in Continent.objects.all()}


def cities_near_capitals() -> Any:
    """For each country, the large cities nearest to its capital and to each neighbour's."""
    from .site.atlas import pages
    from .site.atlas.models import Country

    by_iso = {country.iso: country for country in Country.objects.select_related("capital")}
    return {
        iso: [
            pages.capital(place) for place in (country, *(by_iso[code] for code in country.neighbour_codes))
        ]
        for iso, country in by_iso.items()
    }


JOBS = (
    Job("start page", f"the world's figures, for {VISITS} visits", start_page),
    Job("country pages", "figures beside the neighbours', ranks in the continent", country_pages),
    Job("rankings", "countries of each continent by four criteria", rankings),
    Job("land routes", "fewest borders between every two of twelve countries", land_routes),
    Job("round trips", f"through the capitals of each continent, for {VISITS} visits", round_trips),
    Job("awake by hour", "people in cities where it is day, hour by hour", awake_by_hour),
    Job("near capitals", "large cities near each capital and its neighbours'", cities_near_capitals),
)
