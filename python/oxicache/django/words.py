"""How the version words of models and rows are spelt, and which of them belong to a row.

A word omits the database alias and the tenant: an invalidation reaches too far rather than not far enough. Who captures
them: rows.py. Who bumps them: signals.py, invalidation.py, transactions.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from weakref import WeakKeyDictionary

from django.db.models import Model

from oxicache.versions import MAX_WORDS

__all__ = [
    "MAX_WORDS",
    "Lineage",
    "MemberWords",
    "every_row_words",
    "lineage",
    "member_row_words",
    "member_word",
    "model_word",
    "model_words",
    "pk_name",
    "row_words",
    "rows_words",
]


@dataclass(frozen=True, slots=True)
class Lineage:
    """A concrete model and its parents with tables of their own."""

    labels: tuple[str, ...]  # of those whose row has the same primary key, the model itself first
    apart: tuple[str, ...]  # of parents whose row is reached by another column


_lineages: WeakKeyDictionary[type[Model], Lineage] = WeakKeyDictionary()


def lineage(model: type[Model]) -> Lineage:
    """Return the labels under which a row of `model` is known, a proxy's being its concrete model's."""
    found = _lineages.get(model)
    if found is None:
        concrete = model._meta.concrete_model
        assert concrete is not None, f"{model!r} is abstract and has no rows"
        same, apart = _parents(concrete)
        found = _lineages.setdefault(model, Lineage(tuple(same), tuple(apart)))
    return found


def _parents(concrete: type[Model]) -> tuple[dict[str, None], dict[str, None]]:
    same: dict[str, None] = {concrete._meta.label_lower: None}
    apart: dict[str, None] = {}
    for parent, link in concrete._meta.parents.items():
        if link is None or link.model is not concrete:
            continue  # a parent's parent, found through the parent
        their_same, their_apart = _parents(parent)
        (same if link.primary_key else apart).update(their_same)
        apart.update(their_apart)
    return same, {label: None for label in apart if label not in same}


def pk_name(model: type[Model], pk: Any) -> str:
    """Return a primary key as words spell it: `1`, `"1"` and an object that stands for it are one row."""
    field: Any = model._meta.pk
    parts = getattr(
        field, "fields", None
    )  # of a composite key, whose own to_python leaves the parts as they are
    if parts is None:
        return _spelt(field, pk)
    return str(tuple([_spelt(part, value) for part, value in zip(parts, field.to_python(pk), strict=True)]))


def _spelt(field: Any, given: Any) -> str:
    """Spell a key in one way, however many ways there are to write it and a database gives it back in another."""
    value = field.to_python(given)
    if isinstance(value, str):
        return str.__str__(value)  # an enum's own gives the member's name
    if isinstance(value, Decimal):
        return str(value.normalize())  # 1.5 is stored as 1.50
    if isinstance(value, datetime) and value.tzinfo is not None:
        return str(value.astimezone(UTC))
    return str(bytes(value) if isinstance(value, memoryview) else value)


def row_words(model: type[Model], pk: Any) -> list[str]:
    """Return the words of one row: its own, and those of its parents' rows that have the same primary key."""
    name = pk_name(model, pk)
    return [f"row:{label}:{name}" for label in lineage(model).labels]


def rows_words(model: type[Model]) -> list[str]:
    """Return the words of all rows of a model, its parents' included."""
    return [f"rows:{label}" for label in lineage(model).labels]


def every_row_words(model: type[Model]) -> list[str]:
    """Return the words of all rows of a model, and of what was computed from any."""
    apart = [f"rows:{label}" for label in lineage(model).apart]
    return [*rows_words(model), *model_words(model), *apart]


def model_word(label: str) -> str:
    """Return the word that any change of any row of a model moves."""
    return f"model:{label}"


def model_words(model: type[Model]) -> list[str]:
    """Return the words that a change of anything moves which an instance of `model` shows: its parents' rows too."""
    of = lineage(model)
    return [model_word(label) for label in (*of.labels, *of.apart)]


def member_word(member: str) -> str:
    """Return the word of all values of one decorated callable, whatever they belong to."""
    return f"member:{member}"


def member_row_words(member: str, model: type[Model], pk: Any) -> list[str]:
    """Return the words of what one decorated callable holds for one row."""
    name = pk_name(model, pk)
    return [f"{member_word(member)}:{label}:{name}" for label in lineage(model).labels]


class MemberWords:
    """The words of one decorated callable on one model: those that are the same for all rows, and how others begin."""

    __slots__ = ("_fixed", "_model", "_prefixes")

    def __init__(self, member: str, model: type[Model], dependencies: Iterable[type[Model]]) -> None:
        """Spell what a value of `member` depends on; `dependencies` are the models besides its own."""
        of = lineage(model)
        # A parent whose row has a key of its own is known by its model's word: the child's key says nothing about it.
        apart = [model_word(label) for label in of.apart]
        depended = [word for one in dependencies for word in model_words(one)]
        self._model = model
        self._fixed = tuple(dict.fromkeys([*rows_words(model), member_word(member), *apart, *depended]))
        self._prefixes = tuple(
            prefix for label in of.labels for prefix in (f"row:{label}:", f"{member_word(member)}:{label}:")
        )

    def __len__(self) -> int:
        return len(self._fixed) + len(self._prefixes)

    def of(self, pk: Any) -> list[str]:
        """Return the words of one row."""
        name = pk_name(self._model, pk)
        return [*self._fixed, *[prefix + name for prefix in self._prefixes]]
