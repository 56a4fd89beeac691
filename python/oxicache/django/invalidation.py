"""`invalidate`: what sent no signal has changed. `track_deletions`: which rows are being deleted right now.

Both are exported by oxicache.django. What signals invalidate by themselves: signals.py.
"""

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.signals import class_prepared, post_delete, pre_delete

from oxicache._native import ProjectDeletionTracker
from oxicache.django import signals, transactions, words
from oxicache.registry import DELETION_SET

__all__ = ["invalidate", "track_deletions"]

_ALL: Final[Any] = object()


def invalidate(target: Any, pks: Any = _ALL, /, *, using: str | None = None) -> int | None:
    """Forget what decorated members hold for rows; for `update()`, bulk operations and raw SQL, which send no signal.

    `target` is a model or its label, and `pks` a primary key or several; without `pks` all rows of the model. Or
    `target` is an instance, several of them, or a queryset, of which only the primary keys are read. Inside a
    transaction it takes effect at the commit: that of the database `using`, or of the one that instances came from, or
    that the router writes to. Returns how many rows these were, None for all. O(rows); for a model without decorated
    members it bumps words that nobody looks at. ValueError and TypeError name what is no model, row or primary key.
    """
    if isinstance(target, type | str):
        model = _model(target)
        alias = using or router.db_for_write(model)
        if pks is _ALL:
            transactions.invalidate_words(_all_words(model), alias)
            return None
        return _invalidate_pks(model, _each_pk(model, pks), alias)
    if pks is not _ALL:
        raise TypeError(f"invalidate() takes primary keys after a model, and {target!r} is none")
    if isinstance(target, Model):
        return _invalidate_instances([target], using)
    if isinstance(target, QuerySet):
        model = _model(target.model)
        return _invalidate_pks(model, _pks_of(target), using or _alias_of(target))
    if not isinstance(target, Iterable) or isinstance(target, bytes | dict):
        raise TypeError(f"invalidate() takes a model, instances of models or a queryset, not {target!r}")
    return _invalidate_instances(target, using)


def _model(target: Any) -> type[Model]:
    if isinstance(target, str):
        app_label, _, name = target.lower().partition(".")
        configs = [config for config in apps.get_app_configs() if config.label.lower() == app_label]
        try:
            target = configs[0].get_model(name)
        except LookupError as error:  # an IndexError is one
            raise ValueError(f'{target!r} is no model; write it as "app.Model"') from error
    if not isinstance(target, type) or not issubclass(target, Model) or not hasattr(target, "_meta"):
        raise TypeError(f"{target!r} is no model")
    if target._meta.abstract:
        raise ValueError(f"{target._meta.label} is abstract and has no rows")
    return target


def _all_words(model: type[Model]) -> list[str]:
    apart = [f"rows:{label}" for label in words.lineage(model).apart]
    return [*words.rows_words(model), *words.model_words(model), *apart]


def _alias_of(rows: Any) -> str:
    return rows._db or router.db_for_write(rows.model)


def _pks_of(rows: "QuerySet[Any, Any]") -> Iterable[Any]:
    return rows.values_list("pk", flat=True) if rows._iterable_class is ModelIterable else rows


def _each_pk(model: type[Model], pks: Any) -> Iterable[Any]:
    if isinstance(pks, QuerySet):
        return _pks_of(pks)
    is_one = isinstance(pks, str | bytes | dict | Model) or not isinstance(pks, Iterable)
    is_composite = hasattr(model._meta.pk, "fields")
    return [pks] if is_one or (is_composite and isinstance(pks, tuple)) else pks


def _invalidate_pks(model: type[Model], pks: Iterable[Any], alias: str) -> int:
    rows = {tuple(_row_words(model, pk)) for pk in pks}
    if rows:
        names = {*words.model_words(model), *(word for row in rows for word in row)}
        # Which of their rows belong to these is not known by the primary key.
        names.update(f"rows:{label}" for label in words.lineage(model).apart)
        transactions.invalidate_words(names, alias)
    return len(rows)


def _row_words(model: type[Model], pk: Any) -> list[str]:
    wrong = f"{pk!r} is no primary key of {model._meta.label}"
    if pk is None or isinstance(pk, Model):
        raise ValueError(f"{wrong}; instances are given without their model")
    try:
        name = words.pk_name(model, pk)
    except (ValidationError, TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(wrong) from error
    if isinstance(pk, bool | float) and name != str(pk):
        raise ValueError(wrong)  # an integer field takes True for 1, and 1.5 too
    return words.row_words(model, pk)


def _invalidate_instances(instances: Iterable[Any], using: str | None) -> int:
    by_alias: dict[str, set[str]] = {}
    rows: set[tuple[str, Any]] = set()
    for instance in instances:
        if not isinstance(instance, Model):
            raise TypeError(
                f"invalidate() takes a model, instances of models or a queryset; {instance!r} is none"
            )
        if instance.pk is None or (instance._state.adding and instance._state.db is None):
            raise ValueError(f"{instance!r} was never saved, or was deleted: it has no row")
        alias = using or instance._state.db or router.db_for_write(type(instance), instance=instance)
        by_alias.setdefault(alias, set()).update(signals.instance_words(instance))
        rows.add((words.lineage(type(instance)).labels[0], instance.pk))
    for alias, names in by_alias.items():
        transactions.invalidate_words(names, alias)
    return len(rows)


# ---------------------------------------------------------------- deletions


# What is tracked until a block ends, however it ends. A deletion runs in an `atomic` of its own, which dies with it.
_until_end_of: weakref.WeakKeyDictionary[Any, ExitStack] = weakref.WeakKeyDictionary()


def track_deletions(
    model: type[Model], tracker: ProjectDeletionTracker = DELETION_SET, /
) -> Callable[[], None]:
    """Have the primary key of each row of `model` in `tracker` while it is deleted, whoever deletes it.

    That is for as long as `delete()` of an instance, of a queryset or of a row that cascades to it lasts, until its
    transaction is committed if it has one of its own, and no longer when it fails. Deleting children and proxies of the
    model counts. Returns what ends the tracking; both may be called more than once. The price: `queryset.delete()` of
    this model loads the rows, where it may have been one query.
    """
    concrete = _model(model)._meta.concrete_model
    uid = f"oxicache.track_deletions:{id(tracker)}:{concrete!r}"

    def began(instance: Model, using: str, **given: Any) -> None:
        block = _block_of_deletion(using, given)
        if block is None:
            tracker.add(instance.pk)
        else:
            _ends_with(block).enter_context(tracker.deleting(instance))

    def ended(instance: Model, using: str, **given: Any) -> None:
        if _block_of_deletion(using, given) is None:
            tracker.discard(instance.pk)

    def connect(sender: type[Model], **_: Any) -> None:
        if sender._meta.concrete_model is concrete:
            pre_delete.connect(began, sender=sender, weak=False, dispatch_uid=uid)
            post_delete.connect(ended, sender=sender, weak=False, dispatch_uid=uid)

    def untrack() -> None:
        class_prepared.disconnect(dispatch_uid=uid)
        for sender in signals.known_models():
            pre_delete.disconnect(sender=sender, dispatch_uid=uid)
            post_delete.disconnect(sender=sender, dispatch_uid=uid)

    class_prepared.connect(connect, weak=False, dispatch_uid=uid)  # proxies that are made later
    for known in {model, *signals.known_models()}:
        connect(known)
    return untrack


def _block_of_deletion(using: str, given: dict[str, Any]) -> Any:
    """Return the block that Django's own deletion runs in; None for a signal that somebody else sends."""
    blocks = connections[using].atomic_blocks
    # Any other block may be a decorator, which lives for as long as its function.
    return blocks[-1] if blocks and not blocks[-1].savepoint and "origin" in given else None


def _ends_with(block: Any) -> ExitStack:
    stack = _until_end_of.get(block)
    if stack is None:
        stack = _until_end_of[block] = ExitStack()
        weakref.finalize(block, stack.close).atexit = False
    return stack
