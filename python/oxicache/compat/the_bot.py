"""The names of the THE_BOT document that are about keys and invalidation, for `config.cache` and `core.cache_utils`.

CACHE_KEY_PREFIX, too, is a name of this module. There it was read when the module was imported, and written into the
settings; here it is read whenever a key is made, and the settings are left alone.
"""

import hashlib
import os
import re
import sys
from typing import Any, ClassVar, Final, cast

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS

from oxicache import keys
from oxicache.django import invalidate
from oxicache.django.endpoints.namespaces import register_spelling
from oxicache.django.enumeration import enumerator_of
from oxicache.django.reaching import carry_out
from oxicache.django.selecting import effect_of
from oxicache.django.transactions import put_off
from oxicache.selection import Selection
from oxicache.store import Store, attempt
from oxicache.trail import trail

__all__ = ["CacheInvalidator", "CacheKeyBuilder", "check_cache_freshness", "invalidate_cache"]

MAX_KEY_CHARS = 250  # memcached's limit, and what Django warns past
_DEFAULT: Final = (DEFAULT_CACHE_ALIAS,)  # the only cache that there was


class CacheKeyBuilder:
    """`thebot:production::materials:list`: a prefix that ends with a colon, a namespace, parts, sorted parameters.

    Values are spelt as in oxicache/keys.py. A key of more than 250 characters is the prefix and an MD5 digest: as
    there, no pattern finds it any more, so what is to be found by pattern wants fewer or shorter parts.
    """

    @staticmethod
    def make_key(namespace: str, *args: Any, **kwargs: Any) -> str:
        """Return the key of a namespace, parts and parameters."""
        return _key(_prefix(), namespace, args, kwargs)

    @staticmethod
    def user_key(namespace: str, user_id: Any, *args: Any, **kwargs: Any) -> str:
        """As `make_key`, of one user: `thebot:production::user_42:notifications`. TypeError where he has no id."""
        if user_id is None:
            raise TypeError("user_id is None: whoever has no id would share what is one user's")
        return _key(f"{_prefix()}:user_{keys.spell(user_id, 'user_id')}", namespace, args, kwargs)

    @staticmethod
    def pattern_key(namespace: str, pattern: str = "*") -> str:
        """Return the glob of a namespace's keys, for `cache.delete_pattern`. As a key it finds nothing."""
        return keys.glob_literal(f"{_prefix()}:{keys.spell(namespace, 'namespace')}:") + pattern


register_spelling(CacheKeyBuilder.pattern_key)  # for `cache-clear/`


class CacheInvalidator:
    """What is kept of a material, a user, an assignment in CACHES["default"]: these keys, and all that lies below them.

    There a few keys were deleted which no layer wrote. Here the lists of users go with the shared one, and what views
    keep under their basename, `material`, with `materials`. A cache that fails, or that cannot list its keys, raises
    nothing: it is logged, and the keys that are known go all the same. Inside a transaction it is done at the commit.
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
        """Invalidate all that `CacheKeyBuilder.user_key` keeps of a user."""
        starts = [f"{_prefix()}:user_{spelt}:" for spelt in _spellings(user_id, "user_id")]
        globs = [f"{keys.glob_literal(start)}*" for start in starts]
        known = [start + name for start in starts for name in USER_NAMESPACES]
        _forget_entries(known, globs=globs)

    @staticmethod
    def clear_dashboard_cache(user_id: Any) -> None:
        """Invalidate the dashboard of a user."""
        starts = [f"{_prefix()}:user_{spelt}:dashboard" for spelt in _spellings(user_id, "user_id")]
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
    known = [f"{_prefix()}:{name}:{rest}" for name in namespaces for rest in rests]
    # One expression, because a server would be searched once for each glob.
    start, names = re.escape(f"{_prefix()}:"), "|".join(map(re.escape, namespaces))
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


def _prefix() -> str:
    given = getattr(settings, "CACHE_KEY_PREFIX", None)
    return given if given is not None else f"thebot:{os.environ.get('ENVIRONMENT', 'production').lower()}:"


def _key(start: str, namespace: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    key = f"{start}:{keys.make_key(namespace, *args, params=kwargs, limit=sys.maxsize)}"
    if len(key) <= MAX_KEY_CHARS:
        return key
    digest = hashlib.md5(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return _prefix() + digest


def __getattr__(name: str) -> Any:
    if name == "CACHE_KEY_PREFIX":
        return _prefix()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
