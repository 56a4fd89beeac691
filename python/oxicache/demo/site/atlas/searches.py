"""Places by a part of their name. No row owns a search, so Django's cache keeps it: `CACHES["default"]`, a NativeCache.

Each worker keeps what it found itself. What one deletes or sets anew, no other answers with any more.
"""

import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oxicache.django import cache

from .models import City

Search = dict[str, Any]

TAG = "searches"
TTL = 300  # seconds; names rarely change, and when one does the searches are forgotten
LIMIT = 25  # places; the most populated
MAX_CHARS = 50  # of what is searched for; few names are longer

_numbers = itertools.count(1)


def words_of(given: str) -> str:
    """Return what is searched for as it is keyed: of usual length, without needless spaces, in lower case."""
    return " ".join(given.split())[:MAX_CHARS].lower()


def key_of(words: str) -> str:
    """Return the key of a search. A digest, because the words may hold what no memcached takes in a key."""
    return f"search:{hashlib.sha256(words.encode('utf-8', 'replace')).hexdigest()[:32]}"


def search(words: str) -> Search:
    """Find places, or take what was found before. Of many who ask at once, one looks."""
    found: Search = cache.get_or_set(key_of(words), lambda: _find(words), timeout=TTL, tags=[TAG])
    return found


def _find(words: str) -> Search:
    matches = (
        City.objects.filter(name__icontains=words).select_related("country").order_by("-population", "id")
    )
    cities = matches[:LIMIT] if words else ()
    return {
        "words": words,
        "places": [
            {
                "name": city.name,
                "iso": city.country.iso,
                "country": city.country.name,
                "population": city.population,
            }
            for city in cities
        ],
        # So that an answer tells which search it is of, and whose.
        "number": f"{os.getpid()}-{next(_numbers)}",
        "found_by": os.getpid(),
        "found_at": datetime.now(UTC),
    }


def forget(words: str) -> None:
    """Forget one search, in all workers."""
    cache.delete(key_of(words))


def renew(words: str) -> None:
    """Search anew and keep that; the other workers drop what they had found."""
    cache.set(key_of(words), _find(words), timeout=TTL, tags=[TAG])


def forget_all(_words: str = "") -> None:
    """Forget all searches, in all workers."""
    cache.delete_by_tag(TAG)


def clear(_words: str = "") -> None:
    """Empty the whole of Django's cache, in all workers."""
    cache.clear()


@dataclass(frozen=True)
class Act:
    """A button of the page: what it says, the call that it makes, and the function that does."""

    label: str
    call: str
    change: Callable[[str], None]


ACTS = {
    "forget": Act("Forget this search", "cache.delete", forget),
    "renew": Act("Search anew", "cache.set", renew),
    "forget-all": Act("Forget all searches", "cache.delete_by_tag", forget_all),
    "clear": Act("Empty the cache", "cache.clear", clear),
}
