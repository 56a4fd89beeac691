"""Which key patterns depend on which models, and which rules there are: what commands show of the rules' registry.

Who registers: rules.py.
"""

from collections.abc import Mapping

from oxicache.django.labels import model_named
from oxicache.django.rules import model_dependencies, rules_of

__all__ = ["label", "models", "patterns", "patterns_of", "rules"]


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
    return {}
