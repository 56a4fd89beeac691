"""`CacheKeyBuilder` of document 002. How values are spelt: oxicache/keys.py."""

import hashlib
import os
import sys
from typing import Any

from django.conf import settings

from oxicache import keys
from oxicache.django.endpoints.namespaces import register_spelling

__all__ = ["CacheKeyBuilder", "prefix"]

MAX_KEY_CHARS = 250  # memcached's limit, and what Django warns past


class CacheKeyBuilder:
    """`thebot:production::materials:list`: a prefix that ends with a colon, a namespace, parts, sorted parameters.

    Values are spelt as in oxicache/keys.py. A key of more than 250 characters is the prefix and an MD5 digest: as
    there, no pattern finds it any more, so what is to be found by pattern wants fewer or shorter parts.
    """

    @staticmethod
    def make_key(namespace: str, *args: Any, **kwargs: Any) -> str:
        """Return the key of a namespace, parts and parameters."""
        return _key(prefix(), namespace, args, kwargs)

    @staticmethod
    def user_key(namespace: str, user_id: Any, *args: Any, **kwargs: Any) -> str:
        """As `make_key`, of one user: `thebot:production::user_42:notifications`. TypeError where he has no id."""
        if user_id is None:
            raise TypeError("user_id is None: whoever has no id would share what is one user's")
        return _key(f"{prefix()}:user_{keys.spell(user_id, 'user_id')}", namespace, args, kwargs)

    @staticmethod
    def pattern_key(namespace: str, pattern: str = "*") -> str:
        """Return the glob of a namespace's keys, for `cache.delete_pattern`. As a key it finds nothing."""
        return keys.glob_literal(f"{prefix()}:{keys.spell(namespace, 'namespace')}:") + pattern


register_spelling(CacheKeyBuilder.pattern_key)  # for `cache-clear/`


def prefix() -> str:
    """Return CACHE_KEY_PREFIX of the settings, or what ENVIRONMENT makes of it."""
    given = getattr(settings, "CACHE_KEY_PREFIX", None)
    return given if given is not None else f"thebot:{os.environ.get('ENVIRONMENT', 'production').lower()}:"


def _key(start: str, namespace: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    key = f"{start}:{keys.make_key(namespace, *args, params=kwargs, limit=sys.maxsize)}"
    if len(key) <= MAX_KEY_CHARS:
        return key
    digest = hashlib.md5(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return prefix() + digest
