"""Which rules there are, which of them a model's rows concern, and what they ask for when some change.

Rules wait here until their models are loaded. Who hears of changes: receivers.py; what one rule means for one row:
evaluation.py; how rules are registered: rules.py.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from itertools import chain
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from django.apps import apps
from django.db import router
from django.db.models import CASCADE, SET_NULL, Model

from oxicache.django import words
from oxicache.django.asked_rows import at_most, some_rows
from oxicache.django.changes import Row
from oxicache.django.evaluation import CompiledRule, UsualRules
from oxicache.django.labels import model_named
from oxicache.django.signals import KEEPING_VALUES, ancestors, references_to
from oxicache.invalidation import NOTHING, Effect, Gathered, Rule, operations_of

__all__ = [
    "Entry",
    "add",
    "compiled_rules",
    "complete",
    "effect_of_instance",
    "effect_of_rows",
    "entries",
    "forget_models",
    "looks_back",
    "operations_of_rules",
    "referring_quietly",
    "remove",
    "row_before",
    "rows_referring",
    "rules_of",
    "titles_of",
]

Path: TypeAlias = tuple[type[Model], ...]  # the models whose rules have cascaded to where one is


class Entry:
    """A rule that is registered; `compiled` once its models are loaded."""

    __slots__ = ("compiled", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.compiled: CompiledRule | None = None

    def compile(self) -> None:
        """Find its models. ValueError and TypeError name the rule and what is wrong."""
        title = self.rule.title
        try:
            model = model_named(self.rule.model)
            others = [model_named(other) for other in self.rule.models]
        except (TypeError, ValueError) as error:
            raise type(error)(f"{title}: {error}") from None
        self.compiled = CompiledRule(self.rule, model, others)


_entries: list[Entry] = []
_applying: WeakKeyDictionary[type[Model], dict[str, tuple[CompiledRule, ...]]] = WeakKeyDictionary()
# What is known of them together: how their usual changes are evaluated, None where that takes more; and their names.
_plans: WeakKeyDictionary[type[Model], dict[str, tuple[UsualRules | None, str]]] = WeakKeyDictionary()


def add(rule: Rule) -> Entry:
    """Register a rule, and find its models if they are loaded."""
    entry = Entry(rule)
    if apps.models_ready:
        entry.compile()
    _entries.append(entry)
    forget_models()
    return entry


def remove(entry: Entry) -> None:
    """Forget a rule. Idempotent."""
    if entry in _entries:
        _entries.remove(entry)
        forget_models()


def complete() -> None:
    """Find the models of the rules that waited: all are loaded now."""
    for entry in _entries:
        if entry.compiled is None:
            entry.compile()
    forget_models()


def entries() -> list[Entry]:
    """Return the rules in the order they were registered in."""
    return list(_entries)


def compiled_rules() -> list[CompiledRule]:
    """Return those whose models are loaded."""
    return [entry.compiled for entry in list(_entries) if entry.compiled is not None]


def rules_of(sender: type[Model], operation: str) -> tuple[CompiledRule, ...]:
    """Return the rules of this operation of whose rows a row of `sender` is a part."""
    by_operation = _applying.get(sender)
    if by_operation is None:
        by_operation = _applying.setdefault(sender, {})
    found = by_operation.get(operation)
    if found is None:
        tables, wanted = ancestors(sender), operations_of(operation)
        found = by_operation[operation] = tuple(
            rule
            for rule in compiled_rules()
            if not (rule.rule.operations.isdisjoint(wanted) or tables.isdisjoint(ancestors(rule.model)))
        )
    return found


def operations_of_rules(sender: type[Model]) -> set[str]:
    """Return what may happen to a row of `sender` that concerns a rule."""
    tables = ancestors(sender)
    rules = [rule for rule in compiled_rules() if not tables.isdisjoint(ancestors(rule.model))]
    return {operation for rule in rules for operation in rule.rule.operations}


def looks_back(sender: type[Model]) -> list[CompiledRule]:
    """Return the rules for which it matters what a row of `sender` was before it was saved."""
    rules = rules_of(sender, "update")
    return [rule for rule in rules if rule.looks_back]


def row_before(instance: Model, using: str) -> Model | None:
    """Return the row as the database has it, before the instance is saved; None if there is none."""
    model = type(instance)
    return model._base_manager.using(using).filter(pk=instance.pk).first()


def titles_of(sender: type[Model], operation: str) -> str:
    """Name the rules of an operation, for the trail."""
    return _plan_of(sender, operation)[1]


def _plan_of(sender: type[Model], operation: str) -> tuple[UsualRules | None, str]:
    try:
        return _plans[sender][operation]
    except KeyError:
        rules = rules_of(sender, operation)
        same = words.lineage(sender).labels  # whose rows have the key that the sender's have
        is_usual = len({rule.rule.aliases for rule in rules}) == 1 and all(
            rule.is_usual and _is_part(sender, rule.model) and words.lineage(rule.model).labels[0] in same
            for rule in rules
        )
        found = UsualRules(rules) if is_usual else None, "; ".join([rule.title for rule in rules])
        _plans.setdefault(sender, {})[operation] = found
        return found


def forget_models() -> None:
    """Look anew which rules concern which models: one was made."""
    _applying.clear()
    _plans.clear()


# ---------------------------------------------------------------- what they ask for


class _Gathering:
    """What the rules of one change ask for, by the aliases they name."""

    def __init__(self, using: str, operation: str) -> None:
        self.using = using
        self.operation = operation
        self._by_aliases: dict[Any, Gathered] = {}
        self._followed: set[CompiledRule] = set()

    def effect(self) -> Effect:
        found = NOTHING
        for aliases, into in self._by_aliases.items():
            found = into.effect(aliases) if found is NOTHING else found | into.effect(aliases)
        return found

    def gather(self, rule: CompiledRule, rows: Iterable[Row], path: Path = ()) -> None:
        """Add what a rule asks for when these rows change. What fails is counted, and the other rules go on."""
        aliases = rule.rule.aliases
        into = self._by_aliases.get(aliases)
        if into is None:
            into = self._by_aliases[aliases] = Gathered()
        try:
            for row in rows:
                rule.gather(row, into)
                if rule.rule.cascade and (not path or path[-1] is not rule.model):
                    self._cascade(rule, row, into, path)
        except Exception as error:  # noqa: BLE001 - it may have asked the database, and must not stop the save
            rule.failed("entries", None, error)

    # ------------------------------------------------------------ cascades

    def _cascade(self, rule: CompiledRule, row: Row, into: Gathered, path: Path) -> None:
        """Add what applies to the rows that refer to this one when they change. Rules of theirs may cascade further."""
        if path:
            if rule in self._followed:
                return  # at this distance nobody asks which rows: it was all said at the first
            self._followed.add(rule)
        path = (*path, rule.model)
        for relation in _references_to(rule.model):
            target = relation.related_model
            into.words.update(words.every_row_words(target))
            if self.operation == "delete" and relation.on_delete is CASCADE:
                continue  # these are deleted too, and send signals of their own
            theirs = rules_of(target, "update")
            if target is not rule.model and target in path:
                if any(one.rule.cascade for one in theirs):
                    rule.cut([model._meta.label for model in (*path, target)])
                continue
            referring = self._referring(relation, row, theirs, path)
            for one in theirs:
                self.gather(one, self._rows_of(one, referring), path)

    def _referring(
        self, relation: Any, row: Row, rules: Iterable[CompiledRule], path: Path
    ) -> list[Model] | None:
        """Ask for the rows that refer to this one, if it makes a difference; None where nobody knows which they are."""
        if row.instance is None or len(path) > 1 or not any(rule.differs_by_row for rule in rules):
            return None
        if self.operation == "delete":
            return None  # after a deletion nothing refers to it any more
        value = vars(row.instance).get(relation.field.target_field.attname)
        condition = {relation.field.name: value}
        return [] if value is None else some_rows(relation.related_model, condition, self.using)

    def _rows_of(self, rule: CompiledRule, instances: list[Model] | None) -> Iterable[Row]:
        if instances is None or not rule.differs_by_row:
            return [Row(rule.model)]
        return chain.from_iterable(_rows_for(rule, one, "update", self.using) for one in instances)


def _references_to(model: type[Model]) -> list[Any]:
    return [
        relation
        for relation in references_to(model)
        if not relation.related_model._meta.auto_created and not getattr(relation, "parent_link", False)
    ]


def referring_quietly(model: type[Model]) -> list[Any]:
    """Return the relations of models with rules whose rows a deletion here changes without a signal."""
    quiet = [one for one in _references_to(model) if one.on_delete not in KEEPING_VALUES]
    return [one for one in quiet if rules_of(one.related_model, "bulk")]


def rows_referring(relation: Any, instance: Model, using: str) -> list[Model] | None:
    """Return the rows that refer to this one, each as it is and as it will be once this one is deleted.

    None where nobody knows which they are, or no rule asks.
    """
    model, field = relation.related_model, relation.field
    value = vars(instance).get(field.target_field.attname)
    if value is None or not any(rule.differs_by_row for rule in rules_of(model, "bulk")):
        return None
    rows = some_rows(model, {field.name: value}, using)
    return None if rows is None else [each for one in rows for each in (one, _without(one, field, relation))]


def _without(row: Model, field: Any, relation: Any) -> Model:
    """The row as it will be; what it refers to then is deferred where nobody knows."""
    after = type(row).__new__(type(row))  # not a copy, for which Django asks the registry of apps
    vars(after).update(vars(row), _state=copy(row._state))
    vars(after).pop(field.attname, None)
    if relation.on_delete is SET_NULL:
        vars(after)[field.attname] = None
    return after


def effect_of_instance(instance: Model, operation: str, using: str, before: Model | None = None) -> Effect:
    """Return what the rules ask for when this row changes, and was what `before` is."""
    sender = type(instance)
    usual = _plan_of(sender, operation)[0]
    if usual is not None and (pk := instance.pk).__class__ is int:
        return usual.effect(pk)
    rules = rules_of(sender, operation)
    if not rules:
        return NOTHING
    gathering = _Gathering(using, operation)
    rows: dict[type[Model], list[Row]] = {}
    for rule in rules:
        if not _is_part(sender, rule.model):
            gathering.gather(rule, _rows_for(rule, instance, operation, using))
            continue
        known = rows.get(rule.model)
        if known is None:
            known = rows[rule.model] = [Row(rule.model, instance)]
        gathering.gather(rule, known)
        if before is not None and rule.looks_back:
            gathering.gather(rule, [Row(rule.model, before)])
    return gathering.effect()


def _is_part(sender: type[Model], model: type[Model]) -> bool:
    """Whether an instance of `sender` has all that an instance of `model` has."""
    return issubclass(sender, model) or sender._meta.concrete_model is model._meta.concrete_model


def _rows_for(rule: CompiledRule, instance: Model, operation: str, using: str) -> Iterator[Row]:
    """Yield the rows of the rule's model that a row, of this or another model of its family, is a part of."""
    model, sender = rule.model, type(instance)
    if _is_part(sender, model):
        yield Row(model, instance)
    elif operation == "delete":
        return  # a child is deleted with its parent, and sends a signal of its own
    elif not rule.differs_by_row:
        yield Row(model)
    else:
        for parent in ancestors(sender) & ancestors(model):
            pk: Any = parent._meta.pk
            value = vars(instance).get(pk.attname)
            if value is None:
                yield Row(model)
            elif not rule.needs_instance and parent._meta.label_lower in words.lineage(model).labels:
                yield Row(model, pk=value)  # if there is no such row, nothing is lost
            else:
                yield from _rows_by(model, {pk.name: value}, using)


def effect_of_rows(
    model: type[Model],
    rows: Iterable[Any] | None,
    operation: str = "bulk",
    using: str | None = None,
    has_keys_only: Callable[[CompiledRule], bool] | None = None,
) -> Effect:
    """Return what the rules ask for when these rows change: instances or primary keys, None for any of the model.

    `has_keys_only` says for which rules nothing but the rows' keys is known, whatever they look like now.
    Past asked_rows.MAX_ROWS it is as if nobody knew which. Rules with callables have the rows asked for by their keys.
    """
    rules = rules_of(model, operation)
    if not rules:
        return NOTHING
    gathering = _Gathering(using or router.db_for_write(model), operation)
    some = None if rows is None else at_most(rows)
    for rule in rules:
        is_blurred = rule.needs_instance and has_keys_only is not None and has_keys_only(rule)
        if some is None or not rule.differs_by_row or (is_blurred and rule.has_calls):
            gathering.gather(rule, [Row(rule.model)])
        elif is_blurred:
            pks = [row.pk if isinstance(row, Model) else row for row in some]
            gathering.gather(rule, _rows_of(rule, model, pks, operation, gathering.using))
        else:
            gathering.gather(rule, _rows_of(rule, model, some, operation, gathering.using))
    return gathering.effect()


def _rows_of(
    rule: CompiledRule, model: type[Model], rows: list[Any], operation: str, using: str
) -> Iterator[Row]:
    pks = []
    for one in rows:
        if isinstance(one, Model):
            yield from _rows_for(rule, one, operation, using)
        else:
            pks.append(one)
    is_same = model._meta.concrete_model is rule.model._meta.concrete_model
    if is_same and not rule.has_calls:
        # What columns were before nobody knows, and what they are now is not all that matters.
        yield from (Row(rule.model, pk=pk) for pk in pks)
    elif pks and operation == "delete":
        yield Row(rule.model)
    elif pks:
        for one in some_rows(model, {"pk__in": pks}, using) or ():
            yield from _rows_for(rule, one, operation, using)


def _rows_by(model: type[Model], condition: dict[str, Any], using: str) -> list[Row]:
    found = some_rows(model, condition, using)
    return [Row(model)] if found is None else [Row(model, one) for one in found]
