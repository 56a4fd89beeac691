"""What happens when places go: the figures kept of them are dropped, but not for a country that is going itself.

Deleting a country takes its cities with it, and each sends its own post_delete. Dropping and recomputing the figures
of a country that will be gone in a moment is work for nothing, and in a larger system reads rows that are half gone.
`Country.delete` tracks itself in DELETION_SET, so the handler can tell.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models.signals import post_delete

from oxicache import DELETION_SET

from .atlas import kept_atlas
from .models import City, Country


@dataclass
class Seen:
    """How often the handler of deleted cities did something, and how often it had nothing to do."""

    refreshed: int = 0
    skipped: int = 0


seen = Seen()


def city_deleted(instance: City, **_kwargs: Any) -> None:
    """Drop the figures of the city's country and continent, unless the country is being deleted."""
    if instance.country_id in DELETION_SET:
        seen.skipped += 1
        return
    seen.refreshed += 1
    atlas = kept_atlas()
    atlas.forget(atlas.by_id[instance.country_id])


def country_deleted(**_kwargs: Any) -> None:
    """Have the graph of instances loaded anew; what was cached of the old one goes with it."""
    kept_atlas.cache_clear()


def connect() -> None:
    """Connect both handlers; called once, when the app is ready."""
    post_delete.connect(city_deleted, sender=City, dispatch_uid="atlas.city_deleted")
    post_delete.connect(country_deleted, sender=Country, dispatch_uid="atlas.country_deleted")
