"""Which entries an operation acts on. Every verb that clears, sweeps, invalidates or explains takes a Selection.

How the entries are found is for others: operations.py asks the workers, oxicache.django.invalidation all aliases.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from oxicache._native import KeyPattern
from oxicache.keys import glob_literal
from oxicache.options import SELECTION_MAX_NAMES

__all__ = ["EVERYTHING", "Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries that have one of the keys, or one of the tags, or match one of the patterns, or show one of the models.

    `caches` are names as `manage_cache` prints them (`django:ALIAS` for one of CACHES), `aliases` those of CACHES,
    whatever their backend; none of either stands for all. `globs` are matched against whole keys, and `regex`, in
    linear time, from a key's start on, both without Django's prefix and version; `prefix` is how keys begin. `models`
    are names as `app.Model`, `rows` such a name and a primary key. `tenant` narrows globs to the keys of one tenant,
    `version` to those of one of Django's versions. Nothing given stands for everything. TypeError and ValueError name
    what is no name.
    """

    caches: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    prefix: str | None = None
    globs: tuple[str, ...] = ()
    regex: str | None = None
    models: tuple[str, ...] = ()
    rows: tuple[tuple[str, Any], ...] = ()
    tenant: Any = None
    version: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no cache, key, tag or model can be called."""
        for field in ("caches", "aliases", "keys", "tags", "globs", "models"):
            given = getattr(self, field)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise TypeError(f"{field} must be a sequence of str, not {given!r}")
            object.__setattr__(self, field, _names(field, given))
        for model in (*self.models, *(model for model, _ in self.rows)):
            if not re.fullmatch(r"\w+\.\w+", model):
                raise ValueError(f'{model!r} is no model; write it as "app.Model"')
        for field in ("prefix", "regex"):
            text = getattr(self, field)
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{field} must be a str or None, not {text!r}")
            if text == "":
                raise ValueError(f"{field} must not be empty: it would match every key")

    @classmethod
    def of(cls, cache: str | None = None, **rest: Iterable[str]) -> Self:
        """Return the selection of one cache, or of all where it is None."""
        return cls(caches=() if cache is None else (cache,), **rest)  # type: ignore[arg-type]

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it."""
        return self == EVERYTHING

    def whole_globs(self, below: str = "") -> tuple[str, ...]:
        """Return the globs of whole keys that `globs` and `prefix` stand for, below the prefix of the tenant's scope.

        A tenant alone stands for all of its keys. What is below the prefix already stays as it is, and wildcards in the
        prefix are none. ValueError where a tenant is selected and no prefix given, and for a tenant with a `regex`.
        """
        if (self.tenant is None) != (not below):
            raise ValueError(
                f"the tenant {self.tenant!r} and the prefix {below!r} of its keys belong together: "
                "oxicache.django.enumeration.patterns_of has both"
            )
        if below and self.regex is not None:
            raise ValueError(
                "tenant narrows globs and prefixes; in a regular expression write the tenant itself"
            )
        start = glob_literal(f"{below}:") if below else ""
        globs = [glob if glob.startswith(start) else start + glob for glob in self.globs]
        if self.prefix is not None:
            globs.append(f"{start}{glob_literal(self.prefix)}*")
        is_alone = not (self.keys or self.tags or self.models or self.rows)
        if below and not globs and is_alone:
            globs.append(f"{start}*")
        return tuple(dict.fromkeys(globs))

    def patterns(self, below: str = "") -> tuple[KeyPattern, ...]:
        """Return `whole_globs` and `regex`, compiled. ValueError says what is wrong with one."""
        globs = tuple(KeyPattern(glob) for glob in self.whole_globs(below))
        return globs if self.regex is None else (*globs, KeyPattern(self.regex, kind="regex"))

    def __str__(self) -> str:
        """Say what is selected, for a message."""
        parts = [
            f"{name} {', '.join(map(repr, values))}"
            for name, values in (
                ("cache", self.caches),
                ("alias", self.aliases),
                ("key", self.keys),
                ("tag", self.tags),
                ("pattern", self.globs),
                ("model", self.models),
                ("row", [f"{model}:{pk}" for model, pk in self.rows]),
            )
            if values
        ]
        parts += [f"prefix {self.prefix!r}"] if self.prefix is not None else []
        parts += [f"regular expression {self.regex!r}"] if self.regex is not None else []
        parts += [f"tenant {self.tenant!r}"] if self.tenant is not None else []
        parts += [f"version {self.version!r}"] if self.version is not None else []
        return ", ".join(parts) or "everything"


def _names(field: str, given: Iterable[str]) -> tuple[str, ...]:
    names = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{field} must hold str, not {name!r}")
        if not name:
            raise ValueError(f"{field} must hold no empty name")
    if len(names) > SELECTION_MAX_NAMES:
        raise ValueError(
            f"{field} holds {len(names)} names; at most {SELECTION_MAX_NAMES} fit into one request"
        )
    return tuple(dict.fromkeys(names))


EVERYTHING = Selection()
