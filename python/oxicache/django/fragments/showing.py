"""What tags show beside fragments: keys, addresses that pass browsers' caches by, figures for staff."""

import functools
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.cache import caches
from django.core.signals import setting_changed
from django.http import HttpRequest

from oxicache import keys
from oxicache.django.backends import NativeCache
from oxicache.django.fragments.keying import default_alias
from oxicache.django.fragments.options import varies_of
from oxicache.django.scope import scope_of

__all__ = ["CacheStats", "busted", "cache_key", "figures"]

BUST: Final = "_cb"  # Source: SETTLED, document 004
DIGEST_CHARS: Final = 12


def cache_key(
    request: HttpRequest | None,
    key_type: Any,
    identifier: Any = None,
    *,
    vary_on: Any = "tenant",
    version: Any = None,
    **params: Any,
) -> str:
    """Return `tenant:1:client:2:bu:3:<key_type>:<identifier>:v<version>` of whom `vary_on` says.

    Colons part the segments of `key_type`; in `identifier` they are escaped, and None is none. `params` are sorted by
    name. ValueError for a `vary_on` of something else and an empty `identifier`, TypeError for what has no spelling,
    MissingScopeError where nobody knows the tenant.
    """
    varies = varies_of(vary_on)
    whose = scope_of(request, per_tenant="tenant" in varies, per_user="user" in varies)
    if not isinstance(key_type, str) or not key_type:
        raise TypeError(f"the type of a key must be text that is not empty, not {key_type!r}")
    parts = [keys.escape(part) for part in key_type.split(":")]
    if isinstance(identifier, str) and not identifier:
        raise ValueError(
            "the identifier is empty, as a variable is that the template does not have, and all would share one key; "
            "for a key without one leave it out"
        )
    parts += [keys.spell(identifier, "the identifier")] if identifier is not None else []
    parts += keys.spell_params(params)
    parts += [f"v{keys.spell(version, 'version')}"] if version is not None else []
    prefix = whose.prefix()
    return keys.bounded(":".join([prefix, *parts] if prefix else parts))


# ---------------------------------------------------------------- addresses


def busted(url: Any, version: Any = None) -> str:
    """Return an address with `_cb=` and a version, so that browsers ask anew where it has another.

    Without one it is a digest of the static file that the address is of; where there is no such file, when the module
    of the project's settings was changed last. Either is the same in all workers, however often it is asked for.
    """
    text = str(url)
    found = _version_of(text) if version is None or version == "" else str(version)
    start, mark, end = text.partition("#")
    joint = "&" if "?" in start else "?"
    if start.endswith(("?", "&")):
        joint = ""
    return f"{start}{joint}{BUST}={keys.escape(found)}{mark}{end}"


def _version_of(url: str) -> str:
    path = _file_of(url)
    if path is None:
        return _deployed()
    try:
        known = os.stat(path)  # noqa: PTH116 -- of what a storage or a finder has named
        return _digest(path, known.st_mtime_ns, known.st_size)
    except OSError:
        return _deployed()


@functools.lru_cache(maxsize=4096)
def _digest(path: str, mtime: int, size: int) -> str:  # noqa: ARG001 -- another time or size is another content
    return hashlib.blake2b(Path(path).read_bytes()).hexdigest()[:DIGEST_CHARS]


def _file_of(url: str) -> str | None:
    """Return where the static file of an address lies, None where it is none of this project's."""
    base = getattr(settings, "STATIC_URL", None)
    if not base:
        return None
    asked, own = urlsplit(url), urlsplit(base)
    if asked.netloc != own.netloc or not asked.path.startswith(own.path):
        return None
    name = unquote(asked.path.removeprefix(own.path))
    return _found_anew(name) if settings.DEBUG else _found(name)


def _found_anew(name: str) -> str | None:
    from django.contrib.staticfiles import finders
    from django.contrib.staticfiles.storage import staticfiles_storage
    from django.core.exceptions import SuspiciousFileOperation

    try:
        collected = staticfiles_storage.path(name)
        if os.path.isfile(collected):  # noqa: PTH113 -- as a storage names it
            return str(collected)
    except (NotImplementedError, ValueError, OSError, SuspiciousFileOperation):
        pass  # a storage that has no files here, or a name that is none
    except Exception as error:
        if type(error).__name__ != "ImproperlyConfigured":  # no STATIC_ROOT: nothing is collected
            raise
    try:
        found = finders.find(name)
    except SuspiciousFileOperation:
        return None
    return str(found) if isinstance(found, str) and os.path.isfile(found) else None  # noqa: PTH113 -- as above


_found = functools.lru_cache(maxsize=4096)(_found_anew)


@functools.cache
def _deployed() -> str:
    module = sys.modules.get(str(getattr(settings, "SETTINGS_MODULE", None)))
    path = getattr(module, "__file__", None)
    return str(int(Path(path).stat().st_mtime)) if path and Path(path).exists() else "0"


def _reset(*, setting: str, **_: Any) -> None:
    if setting.startswith("STATIC") or setting == "STORAGES":
        _found.cache_clear()


setting_changed.connect(_reset, dispatch_uid="oxicache.django.fragments.showing")


# ---------------------------------------------------------------- figures


class CacheStats(dict[str, Any]):
    """The figures of one cache; empty for who may not see them. As text one line."""

    def __str__(self) -> str:
        if not self:
            return ""
        ratio = self["hit_ratio"]
        shown = "no reads yet" if ratio is None else f"{ratio} % hits"
        return f"{self['alias']}: {self['entries']} entries, {shown}"


def figures(request: HttpRequest | None, alias: str | None = None) -> CacheStats:
    """Return what this process has counted of an alias, for staff alone: anybody else is given nothing.

    alias, cache_backend, entries, max_entries, hits, misses, and hit_ratio in percent, None before the first read. Of a
    cache that counts nothing the figures are None.
    """
    user: Any = getattr(request, "user", None)
    if not (getattr(user, "is_active", False) and getattr(user, "is_staff", False)):
        return CacheStats()
    name = default_alias() if alias is None else alias
    if name not in caches.settings:
        raise ValueError(f"CACHES has no {name!r}; it has {', '.join(sorted(caches.settings))}")
    cache: Any = caches[name]
    kind = type(cache)
    found: Mapping[str, Any] = cache._memory.stats() if isinstance(cache, NativeCache) else {}
    hits, misses = found.get("hits"), found.get("misses")
    reads = (hits or 0) + (misses or 0)
    return CacheStats(
        alias=name,
        cache_backend=f"{kind.__module__}.{kind.__qualname__}",
        entries=found.get("size"),
        max_entries=found.get("max_size"),
        hits=hits,
        misses=misses,
        hit_ratio=round(100 * (hits or 0) / reads, 1) if reads else None,
    )
