"""How a key is spelt: parts, parameters, types, namespace, versions, and what becomes of a long one.

Whose data it is stands in the `prefix`: oxicache.django.scope. Which keys an operation acts on: selection.py. The keys
of decorated calls are no text at all (src/bindings/memo_key.rs).
"""

import datetime as dt
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from oxicache.options import KEY_MAX_CHARS

__all__ = [
    "MARK",
    "SplitKey",
    "bounded",
    "escape",
    "glob_literal",
    "has_wildcards",
    "make_key",
    "match_segments",
    "namespaced",
    "normal_pattern",
    "shortened",
    "spell",
    "spell_params",
    "split_key",
    "unescape",
]

Params: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]

MARK: Final = "~"  # begins what would read as something else; no text is spelt with it alone
DIGEST_BYTES: Final = 16  # two keys with one digest: not to be found by trying
MAX_DEPTH: Final = 64  # as arguments of decorated calls have it; past it, what refers to itself
MAX_BITS: Final = 4096  # past it str() of an int takes quadratic time, and soon refuses

# What separates (`:`, `=`), what this escapes with, what globs are made of, what neither a line of a log nor memcached
# can hold; lone surrogates, because no server takes them.
_SPECIAL = r"%:=*?\[\]\\\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff"
_in_segment = re.compile(f"[{_SPECIAL}]")
_in_brackets = re.compile(f"[{_SPECIAL}(),]")
_escaped = re.compile("(?:%[0-9A-F]{2})+")
_wildcard = re.compile(r"[*?\[\\]")
# What str() makes of another type than str.
_reads_as_another = re.compile(
    r"[Nn]one|True|False|-?(?:inf|nan|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
).fullmatch


def make_key(*parts: Any, params: Params | None = None, prefix: str = "", limit: int = KEY_MAX_CHARS) -> str:
    """Return `prefix`, the parts and the sorted `name=value` of the params, joined by colons.

    `prefix` is taken as it is: a scope's, or a key's that was made before. What parts and values become: `spell`. A key
    over `limit` characters is cut: `bounded`. TypeError names what has no spelling.
    """
    segments = [spell(part, f"part {number}") for number, part in enumerate(parts, 1)]
    if params is not None:
        segments += spell_params(params)
    if not segments:
        raise ValueError("a key needs a part or a parameter, and none was given")
    return bounded(":".join([prefix, *segments] if prefix else segments), limit)


def spell(value: Any, name: str = "the value") -> str:
    """Return the segment that stands for a value, and for no other value of this or another type.

    None, bool, int, float and str as str() has them (None is `none`), what separates or matches escaped; a str that
    reads as one of the others, or begins with the mark, after a mark. Anything else as `~type(content)`. Subclasses of
    str, int and float count as these. TypeError says that `name` has no spelling.
    """
    return _spelt(value, name, 0)


def spell_params(params: Params) -> list[str]:
    """Return the segments `name=value` in the order of their names; those of one name stay in theirs.

    A mapping, pairs, or a QueryDict, of which every value counts.
    """
    return [
        f"{_escape_inner(name)}={spell(value, f'params[{name!r}]')}"
        for name, value in sorted(_pairs(params), key=lambda pair: pair[0])
    ]


def escape(text: str) -> str:
    """Return `text` as a part of a key: without separators, wildcards, spaces, and what is no visible character."""
    return _in_segment.sub(_percent, text)


def unescape(text: str) -> str:
    """Return what was escaped. What `escape` would not have written is left as it is."""
    return _escaped.sub(_character, text)


def bounded(key: str, limit: int = KEY_MAX_CHARS) -> str:
    """Return a key of at most `limit` characters: this one, or its start up to a colon, `:~:`, and its digest.

    So patterns that match the start of a long key match what is left of it.
    """
    if len(key) <= limit:
        return key
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return shortened(key, limit, f"{MARK}:{digest}")


def shortened(key: str, limit: int, ending: str) -> str:
    """Return as many whole segments of a key as fit into `limit` characters with `ending` behind them.

    Whole ones only: a cut `tenant:12` must not read as `tenant:1`.
    """
    room = limit - len(ending) - 1
    if room < 0:
        raise ValueError(f"limit must be at least {len(ending) + 1} characters, not {limit}")
    start = key[: max(key.rfind(":", 0, room + 1), 0)]
    return f"{start}:{ending}" if start else ending


def namespaced(
    key: str, namespace: str = "", *, version: Any = None, deploy: Any = None, limit: int = KEY_MAX_CHARS
) -> str:
    """Return the key within a namespace, a version of its data, and a version of the code that wrote it.

    `shop:~v2:~d2026.11:products`; what is None or empty is left out.
    """
    segments = [spell(namespace)] if namespace else []
    for name, value in (("version", version), ("deploy", deploy)):
        if value is not None:
            segments.append(f"{MARK}{name[0]}{_spelt(value, name, 1)}")
    return bounded(":".join([*segments, key]), limit)


# ---------------------------------------------------------------- read again


class SplitKey(NamedTuple):
    """A key taken apart: its segments as they are spelt, and the digest of a key that was cut."""

    segments: tuple[str, ...]
    digest: str | None


def split_key(key: str) -> SplitKey:
    """Take a key apart. `unescape` gives a segment's text back."""
    *segments, mark, digest = ["", "", *key.split(":")]
    if mark == MARK and re.fullmatch(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}", digest):
        return SplitKey(tuple(segments[2:]), digest)
    return SplitKey(tuple(key.split(":")), None)


def match_segments(pattern: str, key: str) -> bool:
    """Whether the pattern, which has no wildcards, is one or several whole segments of the key, one after another."""
    return f":{pattern}:" in f":{key}:"


def normal_pattern(pattern: str, prefix: str = "") -> tuple[str, ...]:
    """Return the globs that a `--pattern` stands for, below the prefix of a scope where one is given.

    Without wildcards it means whole segments: `asset` is neither `assets` nor `asset_status`. With them it is a glob of
    the whole key, or of what follows the prefix.
    """
    if not pattern:
        raise ValueError("pattern must not be empty: it would match every key")
    below = f"{prefix}:" if prefix else ""
    if has_wildcards(pattern):
        return (glob_literal(below) + pattern,)
    start = glob_literal(below)
    globs = [f"{start}{pattern}", f"{start}{pattern}:*", f"{start}*:{pattern}", f"{start}*:{pattern}:*"]
    whole = below + pattern
    return (*globs, bounded(whole)) if len(whole) > KEY_MAX_CHARS else tuple(globs)


def has_wildcards(pattern: str) -> bool:
    """Whether a pattern is a glob of the whole key, and no segments of it."""
    return _wildcard.search(pattern) is not None


def glob_literal(text: str) -> str:
    """Return the glob that matches this text alone."""
    return _wildcard.sub(r"\\\g<0>", text)


# ---------------------------------------------------------------- types


def _spelt(value: Any, name: str, depth: int) -> str:
    if value is None:
        return "none"
    # By type, not isinstance: a lazy object claims the class of what it wraps, and is not one.
    kind = type(value)
    if issubclass(kind, Enum):
        return _enum(value, name, depth)
    if issubclass(kind, str):
        return _text(str.__str__(value), depth)
    if issubclass(kind, _CONTAINERS):
        return _container(value, name, depth)
    for base, spelling in _SPELLINGS:
        if issubclass(kind, base):
            spelt = spelling(value)
            return spelt if base in _PLAIN else f"{MARK}{_label(kind, base)}({spelt})"
    return _instance(value, name, depth)


def _text(text: str, depth: int) -> str:
    if depth == 0:
        spelt = escape(text)
        return MARK + spelt if text.startswith(MARK) or _reads_as_another(text) else spelt
    spelt = _escape_inner(text)
    return MARK + spelt if not text or text.startswith(MARK) or _reads_as_another(text) else spelt


def _enum(value: Enum, name: str, depth: int) -> str:
    member = value.name  # None of a Flag without a name of its own
    label = _class_name(type(value))
    inner = _escape_inner(member) if member else _spelt((value.value,), name, depth)
    return f"{MARK}enum({label},{inner})"


def _int(value: int) -> str:
    return int.__repr__(value) if value.bit_length() <= MAX_BITS else f"{MARK}int({hex(value)})"


def _datetime(value: dt.datetime | dt.time) -> str:
    # What the offset does not tell: which rules a time zone has, and which of an hour that comes twice.
    zone = getattr(value.tzinfo, "key", None) or getattr(value.tzinfo, "zone", None)
    parts = [value.isoformat(), str(zone or ""), "fold" if value.fold else ""]
    return ",".join(map(_escape_inner, parts)).rstrip(",")


def _timedelta(value: dt.timedelta) -> str:
    return f"{value.days},{value.seconds},{value.microseconds}"


_CONTAINERS: Final = (list, tuple, set, frozenset, dict)
_PLAIN: Final = (bool, int, float)
# A datetime is a date, a bool an int: the first that fits counts.
_SPELLINGS: Final[tuple[tuple[type, Callable[[Any], str]], ...]] = (
    (bool, bool.__repr__),
    (int, _int),
    (float, float.__repr__),
    (dt.datetime, _datetime),
    (dt.date, dt.date.isoformat),
    (dt.time, _datetime),
    (dt.timedelta, _timedelta),
    (Decimal, Decimal.__str__),
    (UUID, UUID.__str__),
    (bytes, bytes.hex),
)


def _container(value: Any, name: str, depth: int) -> str:
    if depth >= MAX_DEPTH:
        raise RecursionError(
            f"{name} is nested deeper than {MAX_DEPTH} levels (or contains itself), which cannot be part of a key"
        )
    kind = type(value)
    if issubclass(kind, dict):
        # Not value.items(): of a name that a QueryDict has several values of, it gives the last.
        items = [
            f"{_spelt(key, name, depth + 1)}={_spelt(item, name, depth + 1)}"
            for key, item in dict.items(value)
        ]
    else:
        items = [_spelt(item, name, depth + 1) for item in tuple(value)]
    if not issubclass(kind, list | tuple | OrderedDict):
        items.sort()
    base = next(base for base in _CONTAINERS if issubclass(kind, base))
    return f"{MARK}{_label(kind, base)}({','.join(items)})"


def _instance(value: Any, name: str, depth: int) -> str:
    """A model instance by its label and primary key. What it is asked for is what Django's models have."""
    kind = value.__class__  # of a lazy object, that of what it wraps
    label = getattr(getattr(kind, "_meta", None), "label", None)
    if not isinstance(label, str) or not hasattr(value, "pk"):
        raise TypeError(
            f"{name} is a {type(value).__name__}, which cannot be part of a key; pass its id, its text, or a list or a "
            "dict of such"
        )
    if value.pk is None:
        raise TypeError(f"{name} is an unsaved {label}, which has no primary key and cannot be part of a key")
    return f"{MARK}row({_escape_inner(label)},{_spelt(value.pk, name, depth + 1)})"


def _label(kind: type, base: type) -> str:
    """A built-in type's name; behind it a subclass's own, which may mean another equality."""
    return base.__name__.lower() if kind is base else f"{base.__name__.lower()}@{_class_name(kind)}"


def _class_name(kind: type) -> str:
    return _escape_inner(f"{kind.__module__}.{kind.__qualname__}")


# ---------------------------------------------------------------- characters


def _escape_inner(text: str) -> str:
    return _in_brackets.sub(_percent, text)


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def _character(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return match[0]


def _pairs(params: Params) -> list[tuple[str, Any]]:
    lists = getattr(params, "lists", None)  # a QueryDict's: its items() gives the last value of each name
    pairs: list[Any]  # as far as is known of what a caller gave
    if callable(lists):
        pairs = [(name, value) for name, values in lists() for value in values]
    else:
        pairs = list(params.items() if isinstance(params, Mapping) else params)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004 -- a pair
            raise TypeError(f"params must be a mapping, or pairs of a name and a value, not {params!r}")
        if not isinstance(pair[0], str):
            raise TypeError(f"the names of params must be str, not {pair[0]!r}")
    return pairs
