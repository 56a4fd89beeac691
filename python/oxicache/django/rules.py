"""Rules: what is invalidated when rows of a model change. Registered in code, by settings, or as a map of dependencies.

A rule may be registered at any time; one whose models are not loaded yet waits. Register rules at import or in
`AppConfig.ready`, so that every process has them: web workers, commands and task workers alike.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSet
from functools import partial
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import router
from django.db.models import Model
from django.utils.module_loading import import_string

from oxicache.django import conf, receivers, rulebook
from oxicache.django.receivers import changed_rows
from oxicache.invalidation import Effect, Rule

__all__ = [
    "DependencyMap",
    "Rule",
    "begin",
    "changed_rows",
    "complete",
    "effects_of",
    "mistakes",
    "model_dependencies",
    "register_dependency",
    "register_rule",
    "rules_stats",
]

STRATEGIES = "CACHE_STRATEGIES"
_STRATEGY_KEYS: Final = frozenset({"model", "invalidate_on", "related", "cascade"})
# What the warmer of queries keeps of a model besides its rows. Source: document 003 and the system it describes.
_LISTS: Final = ("list", "count", "exists", "first", "last")


def register_rule(rule: Rule) -> Callable[[], None]:
    """Apply a rule from now on; return what ends that. ValueError and TypeError name what is wrong with it.

    While models are being loaded that is said once they all are.
    """
    if not isinstance(rule, Rule):
        raise TypeError(f"register_rule() takes a Rule, not {rule!r}")
    entry = rulebook.add(rule)
    _connect(entry)

    def unregister() -> None:
        rulebook.remove(entry)
        _connect(entry)

    return unregister


def _connect(entry: rulebook.Entry) -> None:
    if entry.compiled is not None:
        receivers.connect([entry.compiled.model])


def effects_of(instance: Model, operation: str) -> Effect:
    """Return what the rules ask for when this row changes by create, update, save, delete, m2m (m2m_change) or bulk.

    ValueError names any other operation. For who invalidates by hand; nothing is carried out.
    """
    if not isinstance(instance, Model):
        raise TypeError(f"effects_of() takes an instance of a model, not {instance!r}")
    using = instance._state.db or router.db_for_write(type(instance), instance=instance)
    return rulebook.effect_of_instance(instance, operation, using)


def rules_stats() -> dict[str, dict[str, Any]]:
    """Return what each rule did in this process, by name.

    {"model", "on", "runs": rows it was applied to, "effects": names it gave, "failures", "last_error", "cycles":
    cascades cut short}. Rules of one name get numbers; those whose models are not loaded yet are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for rule in rulebook.compiled_rules():
        title, number = rule.title, 1
        while title in found:
            number += 1
            title = f"{rule.title} ({number})"
        found[title] = {
            "model": rule.model._meta.label,
            "on": sorted(rule.rule.operations),
            "runs": rule.runs,
            "effects": rule.effects,
            "failures": rule.failures,
            "last_error": rule.last_error,
            "cycles": rule.cycles,
        }
    return found


# ---------------------------------------------------------------- the map of dependencies


class _Patterns(MutableSet[str]):
    """The patterns of one model. What is added is applied from now on."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._patterns: dict[str, None] = {}
        self.end: Callable[[], None] = _nothing

    def add(self, value: str) -> None:
        self._change({**self._patterns, value: None})

    def discard(self, value: str) -> None:
        self._change({each: None for each in self._patterns if each != value})

    def replace(self, patterns: Iterable[str]) -> None:
        if isinstance(patterns, str):
            raise TypeError(f"the patterns of {self._label} must be several str, not {patterns!r}")
        self._change(dict.fromkeys(patterns))

    def _change(self, patterns: dict[str, None]) -> None:
        end = _nothing
        if patterns:
            name = f"dependencies of {self._label}"
            end = register_rule(Rule(self._label, globs=[*patterns], per_tenant=True, name=name))
        self.end()
        self.end, self._patterns = end, patterns

    def __contains__(self, value: object) -> bool:
        return value in self._patterns

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._patterns))

    def __len__(self) -> int:
        return len(self._patterns)

    def __repr__(self) -> str:
        return repr(set(self._patterns))


def _nothing() -> None:
    """Stand for a rule that there is not."""


class DependencyMap(MutableMapping[str, MutableSet[str]]):
    """Which key patterns are invalidated when a row of which model changes: labels or unique bare names, in any case.

    A pattern without wildcards means whole segments of keys; patterns stay below the tenant of the row, where it has
    one (`tenant_id`), and reach keys that say nothing of a tenant. Values are sets, and may be changed in place.
    Source: document 004, "Intelligent Cache Invalidation".
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._by_label: dict[str, tuple[str, _Patterns]] = {}

    def __getitem__(self, label: str) -> MutableSet[str]:
        """Return the patterns of a model; KeyError where it has none."""
        return self._by_label[_normal(label)][1]

    def __setitem__(self, label: str, patterns: Iterable[str]) -> None:
        """Replace the patterns of a model. ValueError for a model that does not exist."""
        known = self._by_label.get(_normal(label))
        found = _Patterns(label) if known is None else known[1]
        found.replace(patterns)
        self._by_label[_normal(label)] = (label if known is None else known[0], found)

    def __delitem__(self, label: str) -> None:
        """Forget a model's patterns."""
        _, patterns = self._by_label.pop(_normal(label))
        patterns.end()

    def __contains__(self, label: object) -> bool:
        """Whether a model has patterns."""
        return _normal(label) in self._by_label

    def __iter__(self) -> Iterator[str]:
        """Iterate over the labels, as they were written first."""
        return iter([label for label, _ in self._by_label.values()])

    def __len__(self) -> int:
        """How many models have patterns."""
        return len(self._by_label)

    def __repr__(self) -> str:
        """Show it as the dict it stands for."""
        return repr({label: set(patterns) for label, patterns in self.items()})

    def assign(self, mapping: Mapping[str, Iterable[str]]) -> None:
        """Have this mapping instead of what there is, or change nothing if something is wrong with it."""
        new = DependencyMap()
        try:
            for label, patterns in mapping.items():
                new[label] = patterns if label not in new else {*new[label], *patterns}
        except BaseException:
            new.clear()
            raise
        self.clear()
        self._by_label = new._by_label


def _normal(label: Any) -> str:
    label = getattr(getattr(label, "_meta", None), "label", label)
    if not isinstance(label, str):
        raise TypeError(f'{label!r} is no model; write it as "app.Model"')
    return label.lower()


model_dependencies = DependencyMap()


def register_dependency(model: type[Model] | str, patterns: Iterable[str] | str) -> None:
    """Add key patterns that are invalidated when a row of this model changes. Source: document 004."""
    label = _label(model)
    added = [patterns] if isinstance(patterns, str) else list(patterns)
    model_dependencies[label] = {*model_dependencies.get(label, ()), *added}


def _label(model: Any) -> str:
    return model if isinstance(model, str) else str(getattr(getattr(model, "_meta", None), "label", model))


# ---------------------------------------------------------------- settings

_from_settings: list[Callable[[], None]] = []  # what ends the rules that settings asked for


def begin() -> None:
    """Hear of models that are made later. Idempotent."""
    receivers.begin()
    setting_changed.connect(_renew, dispatch_uid="oxicache.django.rules")


def complete() -> None:
    """Find the models of rules that waited, and register those of the settings: all models are loaded.

    ValueError names a rule in code that is wrong, ImproperlyConfigured one in settings.
    """
    rulebook.complete()
    receivers.connect()
    _load_settings()


def _load_settings() -> None:
    for end in _from_settings:
        end()
    _from_settings.clear()
    for where, make in _rules_of_settings():
        try:
            _from_settings.extend([register_rule(rule) for rule in make()])
        except (TypeError, ValueError, ImportError) as error:
            raise ImproperlyConfigured(_wrong(where, error)) from error


def mistakes() -> Iterator[str]:
    """Say what is wrong with the rules of the settings."""
    for where, make in _rules_of_settings():
        try:
            for rule in make():
                rulebook.Entry(rule).compile()
        except (TypeError, ValueError, ImportError) as error:
            yield _wrong(where, error)


def _wrong(where: str, error: Exception) -> str:
    return f"{where} is wrong: {str(error).removeprefix(f'{where}: ')}"  # a rule of a strategy is called that


def _renew(*, setting: str, **_: Any) -> None:
    if setting in {STRATEGIES, conf.DICT} and apps.models_ready:
        _load_settings()


def _rules_of_settings() -> Iterator[tuple[str, Callable[[], list[Rule]]]]:
    current = conf.current()
    for number, given in enumerate(current.rules):
        yield f"{conf.DICT}['RULES'][{number}]", partial(_several, given)
    strategies = current.strategies or {}
    models = strategies.get("models", ())
    if isinstance(models, str) or not isinstance(models, Iterable):
        yield f"{STRATEGIES}['models']", partial(_refuse, f"it must be a list of dicts, not {models!r}")
        return
    for number, given in enumerate(models):
        where = f"{STRATEGIES}['models'][{number}]"
        yield where, partial(_of_strategy, given, where)


def _refuse(why: str) -> list[Rule]:
    raise ValueError(why)


def _several(given: Any) -> list[Rule]:
    found = import_string(given) if isinstance(given, str) else given
    rules = [found] if isinstance(found, Rule) else list(found() if callable(found) else found)
    for rule in rules:
        if not isinstance(rule, Rule):
            raise TypeError(f"{given!r} leads to {rule!r}, which is no Rule")
    return rules


def _of_strategy(given: Any, where: str) -> list[Rule]:
    """A rule of an entry of CACHE_STRATEGIES: what is kept of a row and of lists of its model, and what is `related`.

    Source: document 003, "Model-Based Invalidation".
    """
    if not isinstance(given, Mapping) or not isinstance(given.get("model"), str):
        raise TypeError(f'it must be a dict with the "model", as "app.Model", not {given!r}')
    unknown = sorted(str(key) for key in given if key not in _STRATEGY_KEYS)
    if unknown:
        raise ValueError(
            f"it has no key {', '.join(unknown)}; its keys are {', '.join(sorted(_STRATEGY_KEYS))}"
        )
    label = given["model"].lower()
    rule = Rule(
        given["model"],
        on=given.get("invalidate_on", ("save", "delete", "m2m", "bulk")),
        tags=(label, f"{label}:{{pk}}"),
        keys=(f"{label}:{{pk}}", *(f"{label}:{kind}" for kind in _LISTS)),
        globs=(f"{label}:{{pk}}:*", *(f"{label}:{kind}:*" for kind in _LISTS)),
        related=given.get("related", ()),
        cascade=given.get("cascade", False),
        name=where,
    )
    return [rule]
