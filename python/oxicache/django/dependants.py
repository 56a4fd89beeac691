"""Which key patterns depend on which models, and which rules there are: what commands show of the rules' registry.

Who registers: rules.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from oxicache.django.labels import model_named
from oxicache.django.rulebook import effect_of_rows
from oxicache.django.rules import model_dependencies, rules_stats
from oxicache.invalidation import NOTHING, Effect

__all__ = ["effect", "label", "models", "patterns", "patterns_of", "rules"]

OF_THE_MAP: Final = "dependencies of "  # how rules are called that stand for the map; `models` has these
OPERATIONS: Final = ("create", "update", "delete", "m2m", "bulk")


def label(name: str) -> str:
    """Return the label of a model that is named in any case, or by its bare name. ValueError as `model_named`."""
    return str(model_named(name)._meta.label)


def patterns_of(model: str) -> tuple[str, ...]:
    """Return the key patterns that depend on a model. ValueError where there is no such model."""
    return models().get(label(model), ())


def models() -> Mapping[str, tuple[str, ...]]:
    """Return each model that key patterns depend on, by its label, with these."""
    found: dict[str, set[str]] = {}
    for name, patterns_ in model_dependencies.items():
        found.setdefault(label(name), set()).update(patterns_)
    return {name: tuple(sorted(found[name])) for name in sorted(found)}


def patterns() -> Mapping[str, tuple[str, ...]]:
    """Return each key pattern that depends on models, with these."""
    found: dict[str, list[str]] = {}
    for name, patterns_ in models().items():
        for pattern in patterns_:
            found.setdefault(pattern, []).append(name)
    return {pattern: tuple(found[pattern]) for pattern in sorted(found)}


def rules() -> Mapping[str, tuple[str, ...]]:
    """Return each model that rules were registered for, by its label, with what these are called."""
    found: dict[str, list[str]] = {}
    for name, stats in rules_stats().items():
        if name.startswith(OF_THE_MAP):
            continue
        found.setdefault(stats["model"], []).append(name)
    return {name: tuple(sorted(found[name])) for name in sorted(found)}


def effect(models: Iterable[str], rows: Iterable[tuple[str, Any]]) -> Effect:
    """Return what the rules ask for when any row of these models, or one of these rows, changes in whatever way.

    In all aliases, whichever a rule names. Rows are asked of the database where a rule wants more than their keys.
    """
    found = NOTHING
    for name in models:
        for operation in OPERATIONS:
            found |= _everywhere(effect_of_rows(model_named(name), None, operation))
    for name, pk in rows:
        for operation in OPERATIONS:
            if operation != "delete":  # of a row that is gone nothing but its key is known
                found |= _everywhere(effect_of_rows(model_named(name), [pk], operation))
    return found


def _everywhere(one: Effect) -> Effect:
    """Return an effect without the aliases that it is for: an operator says where."""
    found = replace(one, aliases=None, also=frozenset())
    for names in one.also:
        found |= Effect(
            tags=frozenset(names.tags),
            keys=frozenset(names.keys),
            globs=frozenset(names.globs),
            every_tag=names.every_tag,
        )
    return found
