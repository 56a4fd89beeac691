"""What a change of many rows invalidates that sent no signal: for querysets.py and execution.py, which notice one.

Where the primary keys are known it is those rows, else all rows of the model, and always what depends on the model. Of
a table between a many-to-many relation it is the rows at both ends too, as `m2m_changed` would have it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, cast
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Model

from oxicache.django import transactions, words
from oxicache.store import Store, attempt

__all__ = ["MAX_ROWS", "changed", "exact_pks", "models_changed", "names_of", "relation_ends"]

# More rows than this are all rows of their model: their words would be a percent of all that the host shares.
MAX_ROWS: Final = 10_000

Ends = Mapping[
    str, Collection[Any] | None
]  # by the attname of a foreign key, what it refers to; None is unknown


class _Bulk:
    """Whose failures `store.attempt` counts and logs here: none of them may reach the code that writes."""

    name = "bulk changes"


_STORE = cast("Store", _Bulk())


def changed(
    model: type[Model],
    pks: Collection[Any] | None,
    using: str,
    *,
    ends: Ends | None = None,
) -> None:
    """Invalidate what the change of these rows of `model` made old; of all its rows where `pks` is None.

    Inside a transaction at its commit. `ends` tells, of a table between a relation, which rows its rows relate; what it
    does not name counts as unknown. Never raises.
    """
    attempt(_STORE, _changed, None, model, pks, using, ends)


def models_changed(models: Iterable[type[Model]], using: str) -> None:
    """Invalidate whatever depends on any row of these models, as `changed` does for one."""
    attempt(_STORE, _models_changed, None, models, using)


def _changed(model: type[Model], pks: Collection[Any] | None, using: str, ends: Ends | None) -> None:
    transactions.invalidate_words(names_of(model, pks, ends), using, kind="bulk")


def _models_changed(models: Iterable[type[Model]], using: str) -> None:
    names = {name for model in models for name in names_of(model, None)}
    transactions.invalidate_words(names, using, kind="bulk")


def names_of(model: type[Model], pks: Collection[Any] | None, ends: Ends | None = None) -> set[str]:
    """Return the words of these rows, or of all rows, and of what depends on the model."""
    names = {*words.model_words(model), *_row_names(model, pks)}
    for field in relation_ends(model):
        target = field.related_model
        values = None if ends is None or not field.target_field.primary_key else ends.get(field.attname)
        names.update((*words.model_words(target), *_row_names(target, values)))
    return names


def _row_names(model: type[Model], pks: Collection[Any] | None) -> set[str]:
    try:
        if pks is not None and len(pks) <= MAX_ROWS:
            names = {word for pk in pks if pk is not None for word in words.row_words(model, pk)}
            if names:
                # Which of their rows belong to these is not known by the primary key.
                names.update(f"rows:{label}" for label in words.lineage(model).apart)
            return names
    except (ValidationError, TypeError, ValueError, ArithmeticError):
        pass  # something else than a key: an expression, or what the database alone can convert
    return {*words.rows_words(model), *(f"rows:{label}" for label in words.lineage(model).apart)}


def exact_pks(model: type[Model], values: Iterable[Any]) -> list[Any] | None:
    """Return the keys that a statement compares a primary key with; None if it may find rows of other keys too.

    Only whole numbers and UUIDs are sure to be: of a text the database may find another spelling, as its collation
    says.
    """
    found = []
    field: Any = model._meta.pk
    for value in values:
        try:
            key = field.to_python(value)
        except (ValidationError, TypeError, ValueError):
            return None
        is_whole = isinstance(key, int) and not isinstance(value, bool | float)
        if not is_whole and not isinstance(key, UUID):
            return None
        found.append(key)
        if len(found) > MAX_ROWS:
            return None
    return found


def relation_ends(model: type[Model]) -> list[Any]:
    """Return the foreign keys of a table between a many-to-many relation; none of any other model."""
    keys = [field for field in model._meta.concrete_fields if isinstance(field.related_model, type)]
    if model._meta.auto_created or any(_relates_through(field.related_model, model) for field in keys):
        return keys
    return []


def _relates_through(target: Any, between: type[Model]) -> bool:
    return any(
        getattr(field, "through", None) is between
        or getattr(getattr(field, "remote_field", None), "through", None) is between
        for field in target._meta.get_fields(include_hidden=True)
        if field.many_to_many
    )
