"""Saves, deletions and changed relations of models that have rules. No other model gets a receiver.

What the rules ask for waits for the commit: transactions.py. What no signal tells (`update()`, bulk operations, raw
SQL) is for `changed_rows`. What decorated row members depend on has receivers of its own: signals.py.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

from django.db import router
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from oxicache.django import asked_rows, conf, rulebook, signals, transactions
from oxicache.django.evaluation import CompiledRule
from oxicache.django.signals import Relation, ancestors
from oxicache.invalidation import Effect
from oxicache.store import Store, attempt

__all__ = ["begin", "changed_rows", "connect"]

DISPATCH_UID = "oxicache.django.receivers"
_BEFORE = "_oxicache_before"  # the row as it was, in an instance's state while it is saved
_SAVES = frozenset({"create", "update"})


class _Receivers:
    """Whose failures `store.attempt` counts and logs here: none of them may reach the code that saves."""

    name = "rules"


_STORE = cast("Store", _Receivers())


def begin() -> None:
    """Hear of models that are made later, children and proxies of those with rules among them. Idempotent."""
    signals.when_known(_made)


def connect(changed: Iterable[type[Model]] | None = None) -> None:
    """Connect the families of these models as the rules there are now want it, and disconnect who needs none any more.

    All models without an argument.
    """
    tables = None if changed is None else {table for model in changed for table in ancestors(model)}
    for model in signals.known_models():
        if not model._meta.abstract and (tables is None or not tables.isdisjoint(ancestors(model))):
            _connect(model)
            for target in _referred_by(model):
                _connect_referred(target)
    for relation in signals.relations():
        _connect_relation(relation)


def _made(model: type[Model]) -> None:
    if rulebook.compiled_rules():
        rulebook.forget_models()
        _connect(model)
        _connect_referred(model)
        for relation in signals.relations():
            if relation.through is model:
                _connect_relation(relation)


def _connect(model: type[Model]) -> None:
    wanted = set() if model._meta.auto_created else rulebook.operations_of_rules(model)
    if wanted:
        transactions.watch_connections()
    _switch(pre_save, _saving, model, is_on=bool(wanted) and bool(rulebook.looks_back(model)))
    _switch(post_save, _saved, model, is_on=not wanted.isdisjoint(_SAVES))
    _switch(post_delete, _deleted, model, is_on="delete" in wanted)


def _referred_by(model: type[Model]) -> list[type[Model]]:
    """Return the models whose deletion changes rows of this one by a statement that sends no signal."""
    relations = [field.remote_field for field in model._meta.local_fields if field.remote_field is not None]
    targets: list[Any] = [one.model for one in relations if one.on_delete not in signals.KEEPING_VALUES]
    # Of what is not loaded there is a name only.
    concrete = {target._meta.concrete_model for target in targets if not isinstance(target, str)}
    return [known for known in signals.known_models() if known._meta.concrete_model in concrete]


def _connect_referred(target: type[Model]) -> None:
    is_on = bool(rulebook.referring_quietly(target))
    if is_on:
        transactions.watch_connections()
    _switch(pre_delete, _deleting_referred, target, is_on=is_on)


def _connect_relation(relation: Relation) -> None:
    through = relation.through
    is_on = any("m2m" in rulebook.operations_of_rules(end) for end in (relation.owner, relation.target))
    if is_on:
        transactions.watch_connections()
    _switch(m2m_changed, _related, through, is_on=is_on)
    if not through._meta.auto_created:
        _switch(post_save, _between, through, is_on=is_on, uid=f"{DISPATCH_UID}.between")
        _switch(post_delete, _between, through, is_on=is_on, uid=f"{DISPATCH_UID}.between")


def _switch(signal: Any, receiver: Any, sender: type[Model], *, is_on: bool, uid: str = DISPATCH_UID) -> None:
    if is_on:
        signal.connect(receiver, sender=sender, dispatch_uid=uid)
    else:
        signal.disconnect(sender=sender, dispatch_uid=uid)


# ---------------------------------------------------------------- receivers


def _saving(
    sender: type[Model],
    instance: Model,
    using: str,
    raw: bool = False,
    update_fields: frozenset[str] | None = None,
    **_: Any,
) -> None:
    if instance.pk is not None and conf.current().invalidation_enabled:
        vars(instance._state)[_BEFORE] = attempt(
            _STORE, _before, None, sender, instance, using, update_fields, raw=raw
        )


def _before(
    sender: type[Model], instance: Model, using: str, update_fields: frozenset[str] | None, *, raw: bool
) -> Model | None:
    """Ask what the row is before it is saved, unless it is new, or keeps whatever rules look at."""
    pk: Any = sender._meta.pk
    if not raw and instance._state.adding and (pk.has_default() or pk.has_db_default()):
        return None  # Django inserts it without looking
    rules = rulebook.looks_back(sender)
    if update_fields is not None and not any(rule.has_calls for rule in rules):
        saved = {field.attname for field in sender._meta.concrete_fields if field.name in update_fields}
        saved |= update_fields
        if "tenant_id" in saved:
            saved.add("tenant")
        if not any(rule.names & saved for rule in rules):
            return None
    return rulebook.row_before(instance, using)


def _saved(instance: Model, using: str, created: bool, **_: Any) -> None:
    before = vars(instance._state).pop(_BEFORE, None)
    attempt(_STORE, _changed, None, instance, "create" if created else "update", "save", using, before)


def _deleted(instance: Model, using: str, **_: Any) -> None:
    attempt(_STORE, _changed, None, instance, "delete", "delete", using)


def _deleting_referred(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    for relation in rulebook.referring_quietly(sender):
        attempt(_STORE, _referring_changed, None, relation, instance, using)


def _referring_changed(relation: Any, instance: Model, using: str) -> None:
    if conf.current().invalidation_enabled:
        changed_rows(relation.related_model, rulebook.rows_referring(relation, instance, using), using)


def _changed(instance: Model, operation: str, kind: str, using: str, before: Model | None = None) -> None:
    if conf.current().invalidation_enabled:
        effect = rulebook.effect_of_instance(instance, operation, using, before)
        detail = rulebook.titles_of(type(instance), operation)
        transactions.invalidate_effect(effect, using, kind=kind, detail=detail)


def changed_rows(
    model: type[Model],
    rows: Iterable[Any] | None,
    using: str | None = None,
    operation: str = "bulk",
    has_keys_only: Callable[[CompiledRule], bool] | None = None,
) -> None:
    """Do what the rules of a model ask for: these rows changed and sent no signal. See `rulebook.effect_of_rows`."""
    if rulebook.rules_of(model, operation) and conf.current().invalidation_enabled:
        effect = rulebook.effect_of_rows(model, rows, operation, using, has_keys_only)
        _invalidate(effect, model, operation, using or router.db_for_write(model), operation)


def _invalidate(effect: Effect, model: type[Model], operation: str, using: str, kind: str) -> None:
    if effect:
        # The trail names the rules: who reads it asks why.
        transactions.invalidate_effect(effect, using, kind=kind, detail=rulebook.titles_of(model, operation))


# ---------------------------------------------------------------- relations


def _related(  # noqa: PLR0917 - Django sends them by name
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: set[Any] | None,
    using: str,
    **_: Any,
) -> None:
    if action == "pre_clear":
        attempt(_STORE, _cleared, None, sender, instance, reverse, model, using)
    elif action in signals.M2M_CHANGES:
        if pk_set:
            attempt(_STORE, _ends_changed, None, sender, model, pk_set, using)
        if pk_set or pk_set is None:
            attempt(_STORE, _changed, None, instance, "m2m", "m2m", using)


def _ends_changed(through: type[Model], model: type[Model], values: Iterable[Any], using: str) -> None:
    """Apply the rules of the other side: `values` are what the table between refers to it by."""
    rules = rulebook.rules_of(model, "m2m")
    if not rules:
        return
    rows: Iterable[Any] = values
    if any(rule.differs_by_row for rule in rules) and not signals.holds_pks(through, model):
        names = {
            field.target_field.attname
            for field in cast("list[Any]", through._meta.fields)
            if isinstance(field.related_model, type) and ancestors(field.related_model) & ancestors(model)
        }
        found: dict[Any, Model] = {}
        for name in names:
            found.update({one.pk: one for one in asked_rows.rows_by(model, name, values, using)})
        rows = found.values()
    changed_rows(model, rows, using, "m2m")


def _cleared(through: type[Model], instance: Model, reverse: bool, model: type[Model], using: str) -> None:
    """Apply the rules of the other side while it is still known which rows these are."""
    rules = rulebook.rules_of(model, "m2m")
    if not rules:
        return
    if not any(rule.differs_by_row for rule in rules):
        changed_rows(model, None, using, "m2m")
        return
    field = _field_of(through, type(instance), model, reverse=reverse)
    if field is None:
        changed_rows(model, None, using, "m2m")
        return
    near, far = field.m2m_field_name(), field.m2m_reverse_field_name()
    if reverse:
        near, far = far, near
    near_field: Any = through._meta.get_field(near)
    far_field: Any = through._meta.get_field(far)
    value = vars(instance).get(near_field.target_field.attname)
    values = asked_rows.values_between(through, {near: value}, far_field.attname, using)
    if values is None:
        changed_rows(model, None, using, "m2m")
    elif values:
        _ends_changed(through, model, values, using)


def _field_of(through: type[Model], near: type[Model], far: type[Model], *, reverse: bool) -> Any:
    owner = far if reverse else near
    for relation in signals.relations():
        if relation.through is through and relation.owner in owner.__mro__:
            for field in relation.owner._meta.local_many_to_many:
                if getattr(field.remote_field, "through", None) is through:
                    return field
    return None


def _between(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    """A row of a table between was saved or deleted by itself, which sends no m2m_changed."""
    for field in cast("list[Any]", sender._meta.fields):
        target = field.related_model
        value = vars(instance).get(field.attname)
        if isinstance(target, type) and value is not None:
            attempt(_STORE, _ends_changed, None, sender, target, [value], using)
