"""The work that is timed: what a site on this data does in earnest, as functions from an atlas to plain results.

The jobs know nothing of caching. comparison.py runs each with the decorators in place and with them taken off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .site.atlas.atlas import Atlas

VISITS = 5  # of the start page: what a worker answers in a moment of a site's day
PAGES_PER_CONTINENT = 4  # the most populated countries of each, the ones most looked at

# Far ends of three land masses, so that most ways are long; Iceland for a way that does not exist.
TRAVELLERS = ("PT", "NO", "VN", "OM", "ZA", "SN", "KR", "CA", "AR", "CL", "NP", "IS")


@dataclass(frozen=True)
class Job:
    """A piece of work with a name and a sentence on what it does."""

    name: str
    about: str
    run: Callable[["Atlas"], Any]


def start_page(atlas: "Atlas") -> Any:
    """Build the start page for each of several visits."""
    from .site.atlas import pages

    return [pages.world(atlas) for _ in range(VISITS)]


def country_pages(atlas: "Atlas") -> Any:
    """Build the pages of each continent's most populated countries, with neighbours and ranks."""
    from .site.atlas import pages

    most = [iso for place in atlas.continents for iso, _ in place.ranking("population", PAGES_PER_CONTINENT)]
    return [pages.country(atlas, iso) for iso in most]


def rankings(atlas: "Atlas") -> Any:
    """Rank each continent's countries by every criterion."""
    from .site.atlas.models import RANKINGS

    return {place.code: {by: place.ranking(by) for by in RANKINGS} for place in atlas.continents}


def land_routes(atlas: "Atlas") -> Any:
    """Find the way over land with fewest borders between every two of a dozen countries, there and back."""
    return {
        (start, end): (atlas.route(start, end), atlas.route(end, start))
        for start, end in combinations(TRAVELLERS, 2)
    }


def round_trips(atlas: "Atlas") -> Any:
    """Plan a round trip through the capitals of each continent, on the ellipsoid."""
    return {place.code: atlas.round_trip(place.code) for place in atlas.continents}


def awake_by_hour(atlas: "Atlas") -> Any:
    """Count who is up in each continent at each hour of the day."""
    return {place.code: [place.awake(hour) for hour in range(24)] for place in atlas.continents}


def cities_near_capitals(atlas: "Atlas") -> Any:
    """For each country, the large cities nearest to its capital and to each neighbour's."""
    from .site.atlas import pages

    return {
        iso: [pages.capital(place) for place in (country, *atlas.neighbours(country))]
        for iso, country in atlas.by_iso.items()
    }


JOBS = (
    Job("start page", f"the world's figures, for {VISITS} visits", start_page),
    Job("country pages", "figures beside the neighbours', ranks in the continent", country_pages),
    Job("rankings", "countries of each continent by four criteria", rankings),
    Job("land routes", "fewest borders between every two of twelve countries", land_routes),
    Job("round trips", "through the capitals of each continent", round_trips),
    Job("awake by hour", "people in cities where it is day, hour by hour", awake_by_hour),
    Job("near capitals", "large cities near each capital and its neighbours'", cities_near_capitals),
)
