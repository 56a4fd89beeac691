"""What a change of many rows invalidates that sent no signal: for querysets.py and execution.py, which notice one.

Where the primary keys are known it is those rows, else all rows of the model, and always what depends on the model. Of
a table between a many-to-many relation it is the rows at both ends too, as `m2m_changed` would have it. Rules with the
event "bulk" are applied to the same rows, and rules with "m2m" to those at the ends.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Model

from oxicache.django import transactions, words
from oxicache.django.evaluation import CompiledRule
from oxicache.django.receivers import changed_rows
from oxicache.django.rulebook import rules_of
from oxicache.store import Store, attempt

__all__ = [
    "MAX_ROWS",
    "changed",
    "deleted_by_signals",
    "exact_pks",
    "models_changed",
    "names_of",
    "relation_ends",
]

# More rows than this are all rows of their model: their words would be a percent of all that the host shares.
MAX_ROWS: Final = 10_000

Rows: TypeAlias = Collection[Any]  # instances or primary keys
KeysOnly: TypeAlias = Callable[[CompiledRule], bool]
# By the attname of a foreign key, what it refers to; None is unknown.
Ends: TypeAlias = Mapping[str, Collection[Any] | None]


class _Bulk:
    """Whose failures `store.attempt` counts and logs here: none of them may reach the code that writes."""

    name = "bulk changes"


_STORE = cast("Store", _Bulk())


def changed(
    model: type[Model],
    rows: Rows | None,
    using: str,
    *,
    ends: Ends | None = None,
    is_new: bool = False,
    is_gone: bool = False,
) -> None:
    """Invalidate what the change of these rows of `model` made old: instances or primary keys, None for any of them.

    Inside a transaction at its commit. `is_new` rows were not there before, `is_gone` ones are not any more. `ends`
    tells, of a table between a relation, which rows its rows relate; what it does not name counts as unknown. Never
    raises.
    """

    def has_keys_only(rule: CompiledRule) -> bool:
        """Whether a rule wants to know what the rows were before: nobody does."""
        return not is_new and (is_gone or rule.rule.previous)

    attempt(_STORE, _invalidate_words, None, model, () if is_new and rows is None else rows, using, ends)
    attempt(_STORE, _apply_rules, None, model, rows, using, ends, has_keys_only)


def deleted_by_signals(model: type[Model], using: str) -> None:
    """Do what the deletion of rows asks for besides what `post_delete` told of each: rules of bulk changes alone."""
    if any("delete" not in rule.rule.operations for rule in rules_of(model, "bulk")):
        attempt(_STORE, changed_rows, None, model, None, using)


def models_changed(models: Iterable[type[Model]], using: str) -> None:
    """Invalidate whatever depends on any row of these models, as `changed` does for one."""
    attempt(_STORE, _models_changed, None, models, using)


def _invalidate_words(model: type[Model], rows: Rows | None, using: str, ends: Ends | None) -> None:
    transactions.invalidate_words(names_of(model, rows, ends), using, kind="bulk")


def _apply_rules(
    model: type[Model], rows: Rows | None, using: str, ends: Ends | None, has_keys_only: KeysOnly
) -> None:
    changed_rows(model, rows, using, has_keys_only=has_keys_only)
    for field in relation_ends(model):
        changed_rows(field.related_model, _known_end(field, ends), using, "m2m")


def _pk(row: Any) -> Any:
    return row.pk if isinstance(row, Model) else row


def _models_changed(models: Iterable[type[Model]], using: str) -> None:
    found = list(models)
    names = {name for model in found for name in names_of(model, None)}
    transactions.invalidate_words(names, using, kind="bulk")
    for model in found:
        changed_rows(model, None, using)


def names_of(model: type[Model], rows: Rows | None, ends: Ends | None = None) -> set[str]:
    """Return the words of these rows, or of all rows, and of what depends on the model."""
    names = {*words.model_words(model), *_row_names(model, rows)}
    for field in relation_ends(model):
        target = field.related_model
        names.update((*words.model_words(target), *_row_names(target, _known_end(field, ends))))
    return names


def _known_end(field: Any, ends: Ends | None) -> Collection[Any] | None:
    return ends.get(field.attname) if ends is not None and field.target_field.primary_key else None


def _row_names(model: type[Model], rows: Rows | None) -> set[str]:
    try:
        if rows is not None and len(rows) <= MAX_ROWS:
            pks = [_pk(row) for row in rows]
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
        if not isinstance(key, int | UUID):
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
