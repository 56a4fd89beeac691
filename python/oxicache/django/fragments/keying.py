"""The key of a fragment: its scope, its kind, name and version, where it is shown, what it varies by, its source."""

import hashlib
from typing import Any, Final

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.signals import setting_changed
from django.utils.functional import Promise

from oxicache import keys
from oxicache.django.responses.places import places
from oxicache.options import KEY_MAX_CHARS

__all__ = ["CONDITIONAL", "FRAGMENT", "WIDGET", "Fragment", "default_alias", "digest_of", "spelt"]

# Source: document 004, and SETTLED section 4: patterns begin with these.
FRAGMENT: Final = "template:fragment"
CONDITIONAL: Final = "template:conditional"
WIDGET: Final = "widget"
RAW: Final = f"{keys.MARK}raw"  # not escaped
MAX_STARTS: Final = 256  # of one fragment's keys: a few languages, or many users
NAMED: Final = "template_fragments"  # the alias that Django's own tag takes, if CACHES has it


def digest_of(*parts: str) -> str:
    """Return what tells a source from all others."""
    text = "\0".join([str(len(parts)), *parts])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Fragment:
    """One fragment as its tag has it, everything resolved. Immutable; `digest` is of its source and place."""

    __slots__ = (
        "_end",
        "_start",
        "_starts",
        "alias",
        "depends_on",
        "digest",
        "kind",
        "name",
        "names_tenant",
        "per_tenant",
        "per_user",
        "tags",
        "ttl",
    )

    def __init__(
        self,
        *,
        name: str,
        digest: str,
        ttl: float | None,
        varies: frozenset[str],
        version: Any = 1,
        tags: tuple[str, ...] = (),
        depends_on: Any = (),
        alias: str | None = None,
        kind: str = FRAGMENT,
        names_tenant: bool = False,
    ) -> None:
        """`depends_on` as the tag has it: it is looked up when the fragment is rendered.

        `names_tenant`: it is said of this very fragment that it varies by the tenant.
        """
        self.names_tenant = names_tenant
        self.name = name
        self.digest = digest
        self.ttl = ttl
        self.per_tenant = "tenant" in varies
        self.per_user = "user" in varies
        self.tags = tags
        self.depends_on = depends_on
        self.alias = alias
        self.kind = kind
        self._start = f"{kind}:{keys.escape(name)}:v{keys.spell(version, 'version')}"
        self._end = (f":{digest}", f":{digest}:{RAW}")
        self._starts: dict[tuple[str, tuple[str, ...]], str] = {}  # where it was shown, and for whom

    def key(self, prefix: str, given: tuple[Any, ...], looked_at: tuple[str, ...], *, is_raw: bool) -> str:
        """Return its key below the prefix of a scope. TypeError names what has no spelling."""
        where = prefix, places()
        start = self._starts.get(where) or self._started(where)
        end = self._end[is_raw]
        if not looked_at and len(given) == 1:  # as most have it
            found = f"{start}:{spelt(given[0], self.name)}{end}"
            return found if len(found) <= KEY_MAX_CHARS else keys.bounded(found)
        segments = [start, *looked_at, *(spelt(value, self.name) for value in given)]
        return keys.bounded(":".join(segments) + end)

    def _started(self, where: tuple[str, tuple[str, ...]]) -> str:
        prefix, shown = where
        found = ":".join([*([prefix] if prefix else ()), self._start, *shown])
        if len(self._starts) >= MAX_STARTS:
            self._starts.clear()
        self._starts[where] = found
        return found


def spelt(value: Any, name: str) -> str:
    """Return the segment of something that a fragment varies by."""
    if type(value) is int:
        return int.__repr__(value) if value.bit_length() < 64 else keys.spell(value)  # noqa: PLR2004 -- plain ones
    if isinstance(value, Promise):  # a text that is translated when it is shown
        value = str(value)
    return keys.spell(value, f"what {name!r} varies by")


_alias: list[str] = []  # at most one: of the settings as they are


def default_alias() -> str:
    """Return the alias that fragments are held in where none is named: Django's own for them, if CACHES has it."""
    if not _alias:
        _alias[:] = [NAMED if NAMED in caches.settings else DEFAULT_CACHE_ALIAS]
    return _alias[0]


def _reset(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        _alias.clear()


setting_changed.connect(_reset, dispatch_uid="oxicache.django.fragments.keying")
