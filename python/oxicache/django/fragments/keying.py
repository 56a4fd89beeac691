"""The key of a fragment: its scope, its kind, name and version, where it is shown, what it varies by, its source."""

import hashlib
from typing import Any, Final

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.signals import setting_changed
from django.utils.functional import Promise
from django.utils.html import escape

from oxicache import keys
from oxicache.django.responses.places import places

__all__ = ["CONDITIONAL", "FRAGMENT", "WIDGET", "Fragment", "default_alias", "digest_of", "spelt"]

# Source: document 004, and SETTLED section 4: patterns begin with these.
FRAGMENT: Final = "template:fragment"
CONDITIONAL: Final = "template:conditional"
WIDGET: Final = "widget"
RAW: Final = f"{keys.MARK}raw"  # not escaped
MAX_KEYS: Final = 512  # of one fragment, that are not spelt again
_PLAIN: Final = frozenset({int, str})  # equal ones of these are spelt alike; True and 1 are not
NAMED: Final = "template_fragments"  # the alias that Django's own tag takes, if CACHES has it


def digest_of(*parts: str) -> str:
    """Return what tells a source from all others."""
    text = "\0".join([str(len(parts)), *parts])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Fragment:
    """One fragment as its tag has it, everything resolved. Immutable; `digest` is of its source and place."""

    __slots__ = (
        "_end",
        "_keys",
        "_start",
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
        self._keys: dict[tuple[str, tuple[str, ...], tuple[Any, ...], bool], str] = {}

    def key(self, prefix: str, given: tuple[Any, ...], looked_at: tuple[str, ...], *, is_raw: bool) -> str:
        """Return its key below the prefix of a scope. TypeError names what has no spelling."""
        if looked_at or not _PLAIN.issuperset(map(type, given)):
            return self._spelt(prefix, (*places(), *looked_at), given, is_raw=is_raw)
        mark = prefix, places(), given, is_raw
        return self._keys.get(mark) or self._remembered(mark)

    def _remembered(self, mark: tuple[str, tuple[str, ...], tuple[Any, ...], bool]) -> str:
        prefix, shown, given, is_raw = mark
        found = self._spelt(prefix, shown, given, is_raw=is_raw)
        if len(self._keys) >= MAX_KEYS:
            self._keys.clear()
        self._keys[mark] = found
        return found

    def _spelt(self, prefix: str, where: tuple[str, ...], given: tuple[Any, ...], *, is_raw: bool) -> str:
        start = f"{prefix}:{self._start}" if prefix else self._start
        segments = [start, *where, *(spelt(value, self.name) for value in given)]
        return keys.bounded(":".join(segments) + self._end[is_raw])


def spelt(value: Any, name: str) -> str:
    """Return the segment of something that a fragment varies by."""
    if type(value) is str:
        return keys.spell(value)
    if type(value) is int:
        return int.__repr__(value) if value.bit_length() < 64 else keys.spell(value)  # noqa: PLR2004 -- plain ones
    if isinstance(value, Promise):  # a text that is translated when it is shown
        value = str(value)
    elif getattr(value, "is_anonymous", False) is True and getattr(value, "pk", value) is None:
        return f"{keys.MARK}anonymous"
    if isinstance(value, str) and hasattr(value, "__html__") and escape(plain := str.__str__(value)) != plain:
        return f"{keys.MARK}safe={keys.spell(plain)}"  # shown as it is, where another text of that content is escaped
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
