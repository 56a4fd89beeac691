"""From a key as it is made to the caller's and back: what KEY_PREFIX, VERSION and KEY_FUNCTION add is found by asking.

And which keys are meant: `Matcher`.
"""

import re
from collections.abc import Iterable
from os.path import commonprefix
from typing import Any, Final, NamedTuple, Self

from oxicache._native import KeyPattern
from oxicache.django.enumerating.role import AllVersions, Patterns, Version
from oxicache.errors import CannotEnumerateError

__all__ = ["Entry", "Matcher", "Spelling"]

# What a cache is asked to make keys of, to see what it adds; a long one too, since some functions digest what is long.
_PROBES: Final = ("oxicache.key", "oxicache." * 30)
_PROBE_VERSION: Final = 9_017_364_582


class Entry(NamedTuple):
    """A key as it is made, the caller's, and the version."""

    made: str
    key: str
    version: Any


class Spelling:
    """How one cache spells the keys of one version, or of all."""

    def __init__(
        self, before: str, behind: str, version: Any, pattern: "re.Pattern[str] | None" = None
    ) -> None:
        """Keys of one version lie between two texts; those of all match a regular expression."""
        self.before = before
        self.behind = behind
        self._version = version
        self._pattern = pattern

    @classmethod
    def of(cls, alias: str, cache: Any, version: Version = None) -> Self:
        """Return that of a cache. CannotEnumerateError names a KEY_FUNCTION whose keys do not contain the caller's."""
        if isinstance(version, AllVersions):
            return cls._of_all(alias, cache)
        number = cache.version if version is None else version
        for probe in _PROBES:
            made = str(cache.make_key(probe, number))
            before, found, behind = made.partition(probe)
            if not found:
                raise CannotEnumerateError(
                    alias,
                    f"its KEY_FUNCTION makes {made!r} of {probe!r}, which does not contain what it was made of",
                    "use one that keeps the key, or invalidate by key or tag",
                )
        return cls(before, behind, number)

    @classmethod
    def _of_all(cls, alias: str, cache: Any) -> Self:
        one = cls.of(alias, cache, _PROBE_VERSION)
        probe, digits = _PROBES[0], str(_PROBE_VERSION)
        head, found, rest = str(cache.make_key(probe, _PROBE_VERSION)).partition(digits)
        if not found:  # every version has the same keys
            return cls(one.before, one.behind, cache.version)
        if not isinstance(cache.version, int) or digits in rest:
            raise CannotEnumerateError(
                alias,
                f"its versions cannot be told from the rest of a key ({cache.version!r})",
                "name a version",
            )
        text = re.escape(head) + r"(?P<version>-?[0-9]+)" + re.escape(rest)
        text = text.replace(re.escape(probe), "(?P<key>.*)")
        return cls(head.partition(probe)[0], "", None, re.compile(text, re.DOTALL))

    def read(self, made: str) -> Entry | None:
        """Return the entry of a made key; None for one of another cache or version."""
        return next(iter(self.choose((made,))), None)

    def choose(self, made: Iterable[str], patterns: "tuple[KeyPattern, ...] | None" = None) -> list[Entry]:
        """Return the entries of the made keys that are the cache's, and match a pattern where there are some."""
        if self._pattern is not None:
            return self._choose_of_all(self._pattern, made, patterns)
        before, behind = self.before, self.behind
        start, end, least = len(before), -len(behind) or None, len(before) + len(behind)
        keys = [
            one[start:end]
            for one in made
            if one.startswith(before) and one.endswith(behind) and len(one) >= least
        ]
        # Of one version no two made keys have one key, so entries are made of what matches alone.
        return [Entry(f"{before}{key}{behind}", key, self._version) for key in _matching(keys, patterns)]

    @staticmethod
    def _choose_of_all(
        pattern: "re.Pattern[str]", made: Iterable[str], patterns: "tuple[KeyPattern, ...] | None"
    ) -> list[Entry]:
        matches = filter(None, map(pattern.fullmatch, made))
        entries = [Entry(match[0], match["key"], int(match["version"])) for match in matches]
        chosen = set(_matching([entry.key for entry in entries], patterns))
        return [entry for entry in entries if entry.key in chosen]

    def around(self, pieces: tuple[str, ...]) -> tuple[str, ...]:
        """Return the pieces of keys as they are made, of the pieces of the caller's."""
        if self._pattern is not None:
            return (self.before, "")
        *most, last = (self.before + pieces[0], *pieces[1:])
        return (*most, last + self.behind)


class Matcher:
    """One pattern or several, of which a key has to match one; None matches every key."""

    def __init__(self, patterns: Patterns) -> None:
        """A str is a glob. TypeError and ValueError name what is no pattern."""
        given: Iterable[Any] | None = (patterns,) if isinstance(patterns, str | KeyPattern) else patterns
        self.patterns: tuple[KeyPattern, ...] | None = None  # compiled
        self.globs: tuple[str | None, ...] = ()  # their texts, None where one is no glob
        if given is not None:
            each = tuple(given)
            self.patterns = tuple(one if isinstance(one, KeyPattern) else KeyPattern(one) for one in each)
            self.globs = tuple(one.pattern if one.kind == "glob" else None for one in self.patterns)

    def coarse(self) -> tuple[str, ...]:
        """Return pieces of text that every matching key consists of, with anything in between.

        For a server that looks for them first: what it understands by `?` and `[...]` may be another thing, so these
        are anything here.
        """
        texts = [glob for glob in self.globs if glob is not None]
        if not texts or len(texts) < len(self.globs):
            return ("", "")
        each = [_pieces(text) for text in texts]
        return each[0] if len(each) == 1 else (commonprefix([pieces[0] for pieces in each]), "")  # noqa: RUF071 -- characters are meant


def _matching(keys: list[str], patterns: tuple[KeyPattern, ...] | None) -> Iterable[str]:
    if patterns is None:
        return keys
    if len(patterns) == 1:
        return patterns[0].select(keys)
    chosen = {key for pattern in patterns for key in pattern.select(keys)}
    return [key for key in keys if key in chosen]


_TOKEN = re.compile(r"\\(.)|([*?])|(.)", re.DOTALL)
_LONE = re.compile("[\ud800-\udfff]")  # no server takes them


def _pieces(glob: str) -> tuple[str, ...]:
    pieces = [""]
    plain, bracket, _ = _LONE.sub("?", glob).partition("[")  # where a class ends is for the engine to say
    for literal, wildcard, other in _TOKEN.findall(plain):
        if not wildcard:
            pieces[-1] += literal or other
        elif pieces[-1] or len(pieces) == 1:
            pieces.append("")
    if bracket:
        pieces = pieces if not pieces[-1] and len(pieces) > 1 else [*pieces, ""]
    return tuple(pieces)
