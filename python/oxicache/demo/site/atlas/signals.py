"""What happens when a city changes: its country's figures are dropped, but not of a country that is going itself.

`depends_on="cities"` would do without this file, and would drop the figures of every country whenever any city of the
world is saved. Here the city says whose figures they are.

Deleting a country takes its cities with it, and each sends its own post_delete. Naming a country that will be gone in
a moment is work for nothing, and in a larger system reads rows that are half gone. Countries that are being deleted
are in DELETION_SET, so the handler can tell. It holds ids, not models: geonames ids are unique across both.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save

from oxicache import DELETION_SET
from oxicache.django import invalidate, track_deletions

from . import searches
from .models import City, Country


@dataclass
class Seen:
    """How often the handler did something, and how often it had nothing to do."""

    refreshed: int = 0
    skipped: int = 0


seen = Seen()


def city_changed(instance: City, **_kwargs: Any) -> None:
    """Drop what was computed of the city's country, and what depends on countries, after the transaction commits."""
    if instance.country_id in DELETION_SET:
        seen.skipped += 1
        return
    seen.refreshed += 1
    invalidate(Country, [instance.country_id])
    transaction.on_commit(searches.forget_all)


def country_changed(**_kwargs: Any) -> None:
    """Forget the searches, which show names and people, after the transaction commits."""
    transaction.on_commit(searches.forget_all)


def connect() -> None:
    """Connect the handler and have deletions tracked; called once, when the app is ready."""
    post_save.connect(city_changed, sender=City, dispatch_uid="atlas.city_saved")
    post_delete.connect(city_changed, sender=City, dispatch_uid="atlas.city_deleted")
    post_save.connect(country_changed, sender=Country, dispatch_uid="atlas.country_saved")
    post_delete.connect(country_changed, sender=Country, dispatch_uid="atlas.country_deleted")
    track_deletions(Country)
