"""Which entries an operation acts on. Every verb that clears, sweeps, invalidates or explains takes a Selection.

How the entries are found is the workers' matter (operations.py asks them).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from oxicache.options import SELECTION_MAX_NAMES

__all__ = ["EVERYTHING", "Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries of these caches (of all where none is named) that have one of the keys, or one of the tags.

    `pattern` is a regular expression over keys, matched in linear time; `models` are names as `app.Model`. Nothing
    given stands for everything. TypeError and ValueError name what is no name.
    """

    caches: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    pattern: str | None = None
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no cache, key, tag or model can be called."""
        for field in ("caches", "keys", "tags", "models"):
            given = getattr(self, field)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise TypeError(f"{field} must be a sequence of str, not {given!r}")
            object.__setattr__(self, field, _names(field, given))
        for model in self.models:
            if not re.fullmatch(r"\w+\.\w+", model):
                raise ValueError(f'{model!r} is no model; write it as "app.Model"')
        if self.pattern is not None and not isinstance(self.pattern, str):
            raise TypeError(f"pattern must be a str or None, not {self.pattern!r}")
        if self.pattern == "":
            raise ValueError("pattern must not be empty: it would match every key")

    @classmethod
    def of(cls, cache: str | None = None, **rest: Iterable[str]) -> Self:
        """Return the selection of one cache, or of all where it is None."""
        return cls(caches=() if cache is None else (cache,), **rest)  # type: ignore[arg-type]

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it."""
        return self == EVERYTHING

    def __str__(self) -> str:
        """Say what is selected, for a message."""
        parts = [
            f"{name} {', '.join(map(repr, values))}"
            for name, values in (
                ("cache", self.caches),
                ("key", self.keys),
                ("tag", self.tags),
                ("model", self.models),
            )
            if values
        ]
        parts += [f"pattern {self.pattern!r}"] if self.pattern is not None else []
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
