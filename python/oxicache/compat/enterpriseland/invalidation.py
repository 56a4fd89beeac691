"""What the EnterpriseLand document has for invalidation: by tag, by pattern, by model, and all of these together.

Tags are those that everything carries, not a store of their own. Keys that depend on a model carry tags too, which a
rule invalidates when rows change. Counts are of entries that could be counted when the call returned: in a NativeCache
those of this process; inside a transaction none, for they go at the commit.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.exceptions import ValidationError

from oxicache.django import invalidate
from oxicache.django.enumeration import enumerator_of
from oxicache.django.labels import model_named
from oxicache.django.rules import Rule, changed_rows, register_rule
from oxicache.django.selecting import words_of
from oxicache.django.transactions import invalidate_words
from oxicache.invalidation import operations_of
from oxicache.selection import Selection
from oxicache.store import Store, attempt

__all__ = ["DependencyInvalidator", "PatternInvalidator", "SmartInvalidator", "TagInvalidator"]

REMEMBERED: Final = 24 * 60 * 60  # seconds a tag of a key is known where an index holds it; as there

# Source: document 003, "Cascade Invalidation".
RELATED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "user": ("profile", "permissions", "groups"),
        "assessment": ("partners", "lists"),
        "deal": ("milestones", "activities", "team"),
    }
)


class TagInvalidator:
    """Entries by their tags, wherever they are: what is stored with `tags=`, and keys that are registered."""

    def __init__(self, cache_alias: str = DEFAULT_CACHE_ALIAS) -> None:
        self.cache_alias = cache_alias

    def invalidate(self, tags: Iterable[str]) -> int:
        """Invalidate what carries one of the tags; how many entries. TypeError and ValueError name what is no tag."""
        return invalidate(tags=tags).total

    def register_dependency(self, key: str, tags: Iterable[str], timeout: float | None = REMEMBERED) -> None:
        """Have an entry that was stored, for `timeout` seconds at most, carry tags. Better: `set(..., tags=)`."""
        enumerator_of(self.cache_alias).tag(key, tags, timeout)


class PatternInvalidator:
    """Entries of one alias by a regular expression, from the start of their keys on. No key need be registered."""

    def __init__(self, cache_alias: str = DEFAULT_CACHE_ALIAS) -> None:
        self.cache_alias = cache_alias

    def invalidate(self, pattern: str) -> int:
        """Invalidate the keys that match; how many entries.

        ValueError says what is wrong with the pattern, CannotEnumerateError why the alias cannot list its keys.
        """
        return invalidate(regex=pattern, aliases=(self.cache_alias,)).total

    def invalidate_prefix(self, prefix: str) -> int:
        """Invalidate the keys that begin so; how many entries. CannotEnumerateError as above."""
        return invalidate(prefix=prefix, aliases=(self.cache_alias,)).total

    def register_dependency(self, key: str, **_: Any) -> None:
        """Do nothing: keys are found where they are."""


class DependencyInvalidator:
    """Entries of one alias by the models, or the rows of models, that they depend on."""

    def __init__(self, cache_alias: str = DEFAULT_CACHE_ALIAS) -> None:
        self.cache_alias = cache_alias

    def invalidate(self, model: Any, instance_id: Any = None, operation: str = "save") -> int:
        """Invalidate what depends on a row, and on all rows; without a row what depends on any. How many entries.

        What decorated members hold for these rows, and what rules name, goes too and is not counted. ValueError names
        what is no model, no primary key and no operation.
        """
        found, operations = model_named(model), operations_of(operation)
        rows: list[Any] | None = None
        if instance_id is None:
            selection, operations = Selection(models=(found._meta.label,)), ("bulk",)
            tags = [_tag(found), _tag(found, ANY)]
        else:
            selection, rows = Selection(rows=((found._meta.label, instance_id),)), [instance_id]
            tags = [_tag(found), _row_tag(found, instance_id)]
        words = list(words_of(selection))  # not `invalidate(found, rows)`: that is a change in bulk to rules
        count = invalidate(tags=tags).total
        invalidate_words(words)
        for each in operations:
            changed_rows(found, rows, operation=each)
        return count

    def register_dependency(
        self, key: str, model: Any, instance_id: Any = None, timeout: float | None = REMEMBERED
    ) -> None:
        """Have an entry that was stored, for `timeout` seconds at most, go when the row (any row) changes.

        This process hears of the model's changes from then on. What all processes are to hear of from their start on
        is named in CACHE_STRATEGIES, whose tags these are: `auth.user:7` for a row, `auth.user` for all.
        """
        found = model_named(model)
        _watch(found._meta.label)
        row = _tag(found) if instance_id is None else _row_tag(found, instance_id)
        enumerator_of(self.cache_alias).tag(key, [row, _tag(found, ANY)], timeout)


ANY: Final = "_any"  # the part of what depends on any row, and is invalidated with the model alone
_watched: dict[str, list[Callable[[], None]]] = {}  # what ends the rules, by label


def _watch(label: str) -> None:
    if label in _watched:
        return
    start, title = label.lower(), f"DependencyInvalidator of {label}"
    known = Rule(label, ("save", "delete", "m2m"), [start, f"{start}:{{pk}}"], name=title)
    unknown = Rule(
        label, "bulk", [start, f"{start}:{ANY}"], name=f"{title}, bulk"
    )  # which rows need not be known
    _watched[label] = [register_rule(rule) for rule in (known, unknown)]


def _tag(model: Any, *parts: str) -> str:
    return ":".join((model._meta.label_lower, *parts))


def _row_tag(model: Any, pk: Any) -> str:
    try:
        return _tag(model, str(model._meta.pk.to_python(pk)))
    except (ValidationError, TypeError, ValueError) as error:
        raise ValueError(f"{pk!r} is no primary key of {model._meta.label}") from error


class SmartInvalidator:
    """The three together, and rules of the caller's own."""

    def __init__(self) -> None:
        self.tag_invalidator = TagInvalidator()
        self.pattern_invalidator = PatternInvalidator()
        self.dependency_invalidator = DependencyInvalidator()
        self._rules: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {}

    def add_rule(self, name: str, condition: Callable[[Any], Any], action: Callable[[Any], Any]) -> None:
        """Have `action(context)` called where `condition(context)` holds; it returns how many entries it removed.

        A second rule of this name takes the place of the first. What one raises is logged, and stops nothing.
        """
        self._rules[name] = (condition, action)

    def invalidate_smart(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Invalidate by `tags`, `pattern`, and `model` with `instance_id` and `operation`, as far as these are given.

        Returns `total` and, `by_strategy`, how many entries each has removed: `tags`, `pattern`, `dependency`, and
        rules by their names.
        """
        found: dict[str, int] = {}
        for name, rule in list(self._rules.items()):
            count = attempt(cast("Store", _Rule(name)), _applied, None, rule, context)
            if count is not None:
                found[name] = count
        if "model" in context:
            model_named(context["model"])  # before anything is gone
        if "tags" in context:
            found["tags"] = self.tag_invalidator.invalidate(context["tags"])
        if "pattern" in context:
            found["pattern"] = self.pattern_invalidator.invalidate(context["pattern"])
        if "model" in context:
            found["dependency"] = self.dependency_invalidator.invalidate(
                context["model"], context.get("instance_id"), context.get("operation", "save")
            )
        return {"total": sum(found.values()), "by_strategy": found}

    def cascade_invalidation(self, keys: Iterable[str]) -> int:
        """Invalidate keys, and of `user:7` its `profile:7`, `permissions:7`, `groups:7`. How many entries.

        Likewise of assessments and deals. More of the kind: `Rule(related=...)` and `oxicache.tags.tag_parent`.
        """
        given = list(keys)
        related = [f"{kind}:{rest}" for key in given for kind, rest in _related(key)]
        return invalidate(keys=[*given, *related], aliases=(DEFAULT_CACHE_ALIAS,)).total


class _Rule:
    """Whose failures `store.attempt` counts and logs."""

    def __init__(self, name: str) -> None:
        self.name = f"invalidation rule {name}"


def _applied(
    rule: tuple[Callable[[Any], Any], Callable[[Any], Any]], context: Mapping[str, Any]
) -> int | None:
    condition, action = rule
    return int(action(context) or 0) if condition(context) else None


def _related(key: str) -> list[tuple[str, str]]:
    kind, _, rest = key.partition(":")
    return [(other, rest.partition(":")[0]) for other in RELATED.get(kind, ())] if rest else []
