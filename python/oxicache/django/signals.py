"""Saves, deletions and changed relations that invalidate: of the models that decorated row members have to do with.

A model is watched together with all that its rows are part of: its parents, its children, its proxies, the models of
`depends_on`, and the tables between many-to-many relations. No other model gets a receiver, so that saving one costs
nothing and deleting many stays one query. What sends no signal (`update()`, bulk operations, raw SQL) is for
`invalidate` (invalidation.py). When an invalidation takes effect: transactions.py.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakSet

from django.apps import apps
from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, Model
from django.db.models.fields.related import lazy_related_operation
from django.db.models.signals import class_prepared, m2m_changed, post_delete, post_save
from django.dispatch import Signal

from oxicache import memos, rows
from oxicache.django import dependencies, transactions, words
from oxicache.store import Store, attempt

__all__ = [
    "M2M_CHANGES",
    "Relation",
    "ancestors",
    "begin",
    "complete",
    "holds_pks",
    "instance_words",
    "known_models",
    "references_to",
    "relations",
    "watch",
    "watch_all",
    "when_complete",
    "when_known",
]

DISPATCH_UID = "oxicache.django.signals"
M2M_CHANGES = frozenset({"post_add", "post_remove", "post_clear"})
# All other ways to meet a deletion change the rows that refer to what is deleted, and send no signal for them.
KEEPING_VALUES = (CASCADE, PROTECT, RESTRICT, DO_NOTHING)


class _Receivers:
    """Whose failures `store.attempt` counts and logs here: none of them may reach the code that saves."""

    name = "row signals"


_STORE = cast("Store", _Receivers())


@dataclass(frozen=True, slots=True)
class Relation:
    """A many-to-many relation: the model that has the field, the one it leads to, and the table between."""

    owner: type[Model]
    target: type[Model]
    through: type[Model]


_known: WeakSet[type[Model]] = WeakSet()  # every model that was prepared
_watched: WeakSet[type[Model]] = WeakSet()  # concrete models whose rows somebody's values depend on
_referred: WeakSet[type[Model]] = WeakSet()  # concrete models whose deletion changes rows of watched ones
_listeners: list[Callable[[type[Model]], None]] = []
_waiting: list[Callable[[], object]] = []  # what is to be done when all models are loaded
_is_watching_all = False
_relations: list[Relation] = []  # every many-to-many relation whose models are loaded


def begin() -> None:
    """Watch the models of decorated members, those already made and those to come. Idempotent."""
    class_prepared.connect(_prepared, dispatch_uid=DISPATCH_UID)
    dependencies.when_found(_depended)
    for models in list(apps.all_models.values()):
        for model in list(models.values()):
            _prepared(model)


def complete() -> None:
    """Watch the models to which members came after they were made, as `add_to_class` gives them.

    To be called when all models are loaded: a process that saves a row may never ask for its members.
    """
    while _waiting:
        _waiting.pop(0)()
    if not memos.decorated():
        return
    for model in list(_known):
        for member in rows.members_of(model):
            if member.is_of_rows:
                dependencies.words_of(model, member)  # `_depended` hears of it


def when_complete(call: Callable[[], object]) -> None:
    """Call now where all models are loaded, else when they are."""
    if apps.models_ready:
        call()
    else:
        _waiting.append(call)


def watch(model: type[Model]) -> None:
    """Invalidate when a row of `model` changes, or of a model that shares its row. Idempotent."""
    added = ancestors(model) - set(_watched)
    if not added:
        return
    _watched.update(added)
    transactions.watch_connections()
    for known in {model, *_known}:
        if not added.isdisjoint(ancestors(known)):
            _connect(known)
    for relation in tuple(_relations):
        _connect_if_watched(relation)


def watch_all() -> None:
    """Watch every model, those to come too: nobody knows which ones a queryset reads until it runs. Idempotent."""
    global _is_watching_all  # noqa: PLW0603 -- once for the process
    if _is_watching_all:
        return
    _is_watching_all = True
    for model in known_models():
        watch(model)


def ancestors(model: type[Model]) -> set[type[Model]]:
    """Return the models with a table that a row of `model` has a part in: its own and its parents'."""
    concrete = model._meta.concrete_model
    if concrete is None:
        raise ValueError(f"{model._meta.label} is abstract and has no rows")
    parents = (parent._meta.concrete_model for parent in concrete._meta.get_parent_list())
    return {concrete, *(parent for parent in parents if parent is not None)}


def references_to(model: type[Model]) -> list[Any]:
    """Return the relations by which foreign keys refer to a model: also those that `related_name="+"` hides."""
    relations: Iterable[Any] = model._meta.get_fields(include_hidden=True)
    return [
        relation
        for relation in relations
        if relation.auto_created and not relation.concrete and (relation.one_to_one or relation.one_to_many)
    ]


def known_models() -> list[type[Model]]:
    """Return every model that was made so far."""
    return list(_known)


def relations() -> tuple[Relation, ...]:
    """Return every many-to-many relation whose models are there so far."""
    return tuple(_relations)


def when_known(tell: Callable[[type[Model]], None]) -> None:
    """Call `tell(model)` for models made from now on, and for the tables between as their relations get whole."""
    if tell not in _listeners:
        _listeners.append(tell)


def _prepared(sender: type[Model], **_: Any) -> None:
    if sender in _known or dependencies.is_historical(sender):
        return
    _known.add(sender)
    if _is_watching_all or any(member.is_of_rows for member in rows.members_of(sender)):
        watch(sender)
    if _is_watched(sender):
        _connect(sender)
    if sender._meta.concrete_model in _referred:
        _connect_deletion(sender)
    for field in sender._meta.local_many_to_many:
        through = getattr(field.remote_field, "through", None)
        if through is not None:  # a swapped model's has none
            lazy_related_operation(_related, sender, field.remote_field.model, through)
    for tell in _listeners:
        tell(sender)


def _depended(model: type[Model], models: Iterable[type[Model]]) -> None:
    # `model` too: a member may come to its class after that was made, and is noticed when its first value is loaded.
    for one in (model, *models):
        watch(one)


def _related(owner: type[Model], target: type[Model], through: type[Model]) -> None:
    relation = Relation(owner, target, through)
    _relations.append(relation)
    if _is_watching_all:
        watch(through)
    _connect_if_watched(relation)
    for tell in _listeners:
        tell(through)


def _is_watched(model: type[Model]) -> bool:
    return any(one in _watched for one in ancestors(model))


def _connect(model: type[Model]) -> None:
    if not model._meta.auto_created:  # those send only m2m_changed
        post_save.connect(_changed, sender=model, dispatch_uid=DISPATCH_UID)
        post_delete.connect(_changed, sender=model, dispatch_uid=DISPATCH_UID)
    for field in model._meta.local_fields:
        if field.remote_field is not None and field.remote_field.on_delete not in KEEPING_VALUES:
            lazy_related_operation(_refers, model, field.remote_field.model)


def _refers(_: type[Model], target: type[Model]) -> None:
    concrete = target._meta.concrete_model
    if concrete is None or concrete in _referred:
        return
    _referred.add(concrete)
    for known in {concrete, *_known}:
        if known._meta.concrete_model is concrete:
            _connect_deletion(known)


def _connect_deletion(model: type[Model]) -> None:
    post_delete.connect(_referred_deleted, sender=model, dispatch_uid=f"{DISPATCH_UID}.referred")


def _connect_if_watched(relation: Relation) -> None:
    through = relation.through
    if not any(_is_watched(one) for one in (relation.owner, relation.target, through)):
        return
    m2m_changed.connect(_m2m_changed, sender=through, dispatch_uid=DISPATCH_UID)
    if not through._meta.auto_created:
        post_save.connect(_through_changed, sender=through, dispatch_uid=f"{DISPATCH_UID}.through")
        post_delete.connect(_through_changed, sender=through, dispatch_uid=f"{DISPATCH_UID}.through")


# ---------------------------------------------------------------- receivers


def _changed(instance: Model, using: str, signal: Signal, **_: Any) -> None:
    attempt(_STORE, _invalidate, None, instance, using, _kind_of(signal))


def _invalidate(instance: Model, using: str, kind: str) -> None:
    transactions.invalidate_words(instance_words(instance), using, kind=kind)


def _kind_of(signal: Signal) -> str:
    return "delete" if signal is post_delete else "save"


def _referred_deleted(instance: Model, using: str, **_: Any) -> None:
    attempt(_STORE, _invalidate_referring, None, instance, using)


def _invalidate_referring(instance: Model, using: str) -> None:
    """Invalidate all rows of the models whose references to this row were changed: nobody says which these were."""
    names: set[str] = set()
    for relation in references_to(type(instance)):
        if relation.on_delete not in KEEPING_VALUES and _is_watched(relation.related_model):
            names.update(words.rows_words(relation.related_model))
            names.update(words.model_words(relation.related_model))
    transactions.invalidate_words(names, using, kind="delete")


def _m2m_changed(  # noqa: PLR0917 - Django sends them by name
    sender: type[Model],
    instance: Model,
    action: str,
    model: type[Model],
    pk_set: set[Any] | None,
    using: str,
    **_: Any,
) -> None:
    if action in M2M_CHANGES and (pk_set is None or pk_set):
        attempt(_STORE, _invalidate_relation, None, sender, instance, model, pk_set, using)


def _invalidate_relation(
    through: type[Model], instance: Model, model: type[Model], pk_set: set[Any] | None, using: str
) -> None:
    names = instance_words(instance) | {words.model_word(through._meta.label_lower)}
    if _is_watched(model):
        names.update(words.model_words(model))
        if pk_set is None or not holds_pks(through, model):
            # After a clear nobody knows the other rows any more; with `to_field` the set holds no primary keys.
            names.update(words.rows_words(model))
        else:
            names.update(word for pk in pk_set for word in words.row_words(model, pk))
    transactions.invalidate_words(names, using, kind="m2m")


def holds_pks(through: type[Model], model: type[Model]) -> bool:
    """Whether a table between two models refers to this one by its primary key."""
    tables = ancestors(model)
    fields: list[Any] = [field for field in through._meta.fields if isinstance(field.related_model, type)]
    return all(
        field.target_field.primary_key
        for field in fields
        if field.related_model._meta.concrete_model in tables
    )


def _through_changed(instance: Model, using: str, signal: Signal, **_: Any) -> None:
    attempt(_STORE, _invalidate_ends, None, instance, using, _kind_of(signal))


def _invalidate_ends(instance: Model, using: str, kind: str) -> None:
    """Invalidate the rows that a row between them relates now. Those that it related before are for `depends_on`."""
    through = type(instance)
    names = instance_words(instance)
    fields: Iterable[Any] = through._meta.fields
    for field in fields:
        target = field.related_model
        if not isinstance(target, type) or not _is_watched(target):
            continue
        value = vars(instance).get(field.attname)
        if value is not None and field.target_field.primary_key:
            names.update((*words.row_words(target, value), *words.model_words(target)))
        elif value is not None:
            names.update((*words.rows_words(target), *words.model_words(target)))
    transactions.invalidate_words(names, using, kind=kind)


def instance_words(instance: Model) -> set[str]:
    """Return the words that a change of this row moves: its own, its parents', and those of their models."""
    model = type(instance)
    names = {*words.row_words(model, instance.pk), *words.model_words(model)}
    concrete = model._meta.concrete_model
    assert concrete is not None
    for parent, link in concrete._meta.parents.items():
        if link is None or link.primary_key:
            continue
        value = vars(instance).get(link.attname)  # not by getattr: a deferred one would be a query
        names.update(words.rows_words(parent) if value is None else words.row_words(parent, value))
    return names
