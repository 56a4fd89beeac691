"""Deletes a city and a whole country in a transaction that is rolled back, and checks what the caches made of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .site.atlas.figures import Figures


@dataclass(frozen=True)
class Check:
    """One thing that should hold, and whether it did."""

    claim: str
    holds: bool


def _cached_figures(code: str) -> "tuple[Figures, bool]":
    """Return a continent's figures as any request would read them, and whether nothing had to be computed for it."""
    from .site.atlas.counters import totals
    from .site.atlas.models import Continent

    before = totals()
    figures = Continent.objects.get(code=code).figures
    spent = totals().since(before)
    return figures, spent.hits > 0 and not spent.misses


def _true_figures(code: str) -> "Figures":
    from .comparison import undecorated
    from .site.atlas.models import Continent

    with undecorated():
        return Continent.objects.get(code=code).figures


def check_deletions() -> list[Check]:
    """Delete the smallest city, then the whole, of the country with most cities but one; return what was found.

    Not the country with most: the check should take a second, not the demo's patience.
    """
    from django.db import transaction
    from django.db.models import Count

    from oxicache import DELETION_SET, cache_manager

    from .site.atlas import signals
    from .site.atlas.models import Country

    checks = []
    cache_manager.clear_all()
    ordered = Country.objects.annotate(count=Count("cities")).order_by("-count", "id")
    chosen = Country.objects.select_related("continent").get(pk=ordered[min(1, len(ordered) - 1)].pk)
    code, name = chosen.continent.code, chosen.name
    before, _ = _cached_figures(code)
    checks.append(Check("before, the cached figures are the true ones", before == _true_figures(code)))
    with transaction.atomic():
        signals.seen = signals.Seen()
        city = chosen.cities.order_by("population", "id")[0]
        said = f"who deletes {city.name} ({name}) in a transaction reads figures without it, past the cache"
        city.delete()
        read, _ = _cached_figures(code)
        checks.append(Check(said, signals.seen.refreshed == 1 and read == _true_figures(code) != before))

        signals.seen = signals.Seen()
        cities = chosen.cities.count()
        chosen.delete()
        quiet = signals.seen.refreshed == 0 and signals.seen.skipped == cities
        checks.append(Check(f"deleting {name} skips the handler for each of its {cities:,} cities", quiet))
        read, _ = _cached_figures(code)
        checks.append(
            Check("its continent's figures are true without it", read == _true_figures(code) != before)
        )
        transaction.set_rollback(True)
    with DELETION_SET._lock:
        left = len(DELETION_SET._deletion_set)
    checks.append(Check("nothing is left in DELETION_SET", left == 0))
    read, hit = _cached_figures(code)
    said = "the rollback dropped nothing: the cache still answers, and truly"
    checks.append(Check(said, hit and read == before == _true_figures(code)))
    return checks
