"""`CacheInvalidator`, `invalidate_cache` and `check_cache_freshness` of document 002."""

import re
from typing import Any, ClassVar, Final, cast

from django.core.cache import DEFAULT_CACHE_ALIAS

from oxicache import keys
from oxicache.compat.the_bot.keys import CacheKeyBuilder, prefix
from oxicache.django import invalidate
from oxicache.django.enumeration import enumerator_of
from oxicache.django.reaching import carry_out
from oxicache.django.scope import Scope
from oxicache.django.selecting import effect_of
from oxicache.django.transactions import put_off
from oxicache.selection import Selection
from oxicache.store import Store, attempt
from oxicache.trail import trail

__all__ = ["CacheInvalidator", "check_cache_freshness", "invalidate_cache"]

_DEFAULT: Final = (DEFAULT_CACHE_ALIAS,)  # the only cache that there was


class CacheInvalidator:
    """What is kept of a material, a user, an assignment in CACHES["default"]: these keys, and all that lies below them.

    There a few keys were deleted which no layer wrote. Here the lists of users go with the shared one, and what views
    keep under their basename, `material`, with `materials`; and responses whose tags are such keys without the prefix,
    `materials:list`, as ListCacheMixin and DetailCacheMixin give them. A cache that fails, or that cannot list its
    keys, raises nothing: it is logged, and the keys that are known go all the same. Inside a transaction it is done at
    the commit.
    """

    name: ClassVar = "CacheInvalidator"  # in the log, and in the count of failures

    @staticmethod
    def invalidate_material(material_id: Any) -> None:
        """Invalidate lists of materials, and the details and progress of one."""
        _forget(("materials", "material"), {"detail", "progress"}, material_id)

    @staticmethod
    def invalidate_assignments(assignment_id: Any) -> None:
        """Invalidate lists of assignments, and the details and submissions of one."""
        _forget(("assignments", "assignment"), {"detail", "submissions"}, assignment_id)

    @staticmethod
    def invalidate_user_data(user_id: Any) -> None:
        """Invalidate all that `CacheKeyBuilder.user_key` keeps of a user, and the responses that are his own."""
        starts = [f"{prefix()}:user_{spelt}:" for spelt in _spellings(user_id, "user_id")]
        globs = [f"{keys.glob_literal(start)}*" for start in starts]
        responses = f"{Scope(user=user_id).prefix()}:response:*"
        globs += [responses, f"*:{responses}"]
        known = [start + name for start in starts for name in USER_NAMESPACES]
        _forget_entries(known, globs=globs)

    @staticmethod
    def clear_dashboard_cache(user_id: Any) -> None:
        """Invalidate the dashboard of a user."""
        starts = [f"{prefix()}:user_{spelt}:dashboard" for spelt in _spellings(user_id, "user_id")]
        globs = [f"{keys.glob_literal(start)}:*" for start in starts]
        _forget_entries(starts, globs=globs)


def invalidate_cache(namespace: str, *args: Any, **kwargs: Any) -> int:
    """Invalidate the one key that `CacheKeyBuilder.make_key` makes of these; how many entries had it."""
    key = CacheKeyBuilder.make_key(namespace, *args, **kwargs)
    return invalidate(keys=[key], aliases=_DEFAULT).total


def check_cache_freshness(namespace: str) -> bool:
    """Whether a namespace has a live entry. CannotEnumerateError where CACHES["default"] cannot list its keys."""
    whole = keys.glob_literal(CacheKeyBuilder.make_key(namespace))
    found = enumerator_of(DEFAULT_CACHE_ALIAS).keys([whole, CacheKeyBuilder.pattern_key(namespace)])
    return next(iter(found), None) is not None


# Source: document 002, "Manual Invalidation", and the system it describes.
USER_NAMESPACES = ("profile", "dashboard", "notifications", "progress", "assignments")


def _forget(namespaces: tuple[str, ...], parts: set[str], pk: Any) -> None:
    """Forget the lists of these namespaces, and these parts of one object: anybody's."""
    spellings = _spellings(pk, "the id")
    rests = ["list", *(f"{part}:{spelt}" for part in sorted(parts) for spelt in spellings)]
    known = [f"{prefix()}:{name}:{rest}" for name in namespaces for rest in rests]
    tags = tuple(f"{name}:{rest}" for name in namespaces for rest in rests)  # as viewsets.py has them
    attempt(cast("Store", CacheInvalidator), _forget_selected, None, Selection(tags=tags))
    # One expression, because a server would be searched once for each glob.
    start, names = re.escape(f"{prefix()}:"), "|".join(map(re.escape, namespaces))
    regex = f"{start}(?:user_[^:]+:)?(?:{names}):(?:{'|'.join(map(re.escape, rests))})(?::|$)"
    _forget_entries(known, regex=regex)


def _forget_entries(known: list[str], **below: Any) -> None:
    """Forget keys, and what can be found below them. Nobody is told how many, so nobody counts."""
    for selection in (Selection(aliases=_DEFAULT, keys=tuple(known)), Selection(aliases=_DEFAULT, **below)):
        attempt(cast("Store", CacheInvalidator), _forget_selected, None, selection)


def _forget_selected(selection: Selection) -> None:
    effect = effect_of(selection)  # CannotEnumerateError where keys cannot be listed
    note = trail.note("invalidate", effect.names(), str(selection))
    if not put_off(effect, None, note):
        carry_out(effect, note=note)


def _spellings(pk: Any, name: str) -> list[str]:
    """An id is 7 in code and "7" in a URL; as parts of a key they differ."""
    if pk is None:
        raise TypeError(f"{name} is None: whoever has no id would share what is one's")
    return list(dict.fromkeys((keys.spell(pk, name), keys.spell(str(pk), name))))
