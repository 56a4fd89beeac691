"""`invalidate`, now, at the commit or later. `track_deletions`: which rows are being deleted right now.

Both are exported by oxicache.django. What signals invalidate by themselves: signals.py and rules.py. What a Selection
means: selecting.py; how it reaches the caches: reaching.py.
"""

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Final, overload

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.db import connections, router
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.signals import class_prepared, post_delete, pre_delete

from oxicache import jobs
from oxicache._native import ProjectDeletionTracker
from oxicache.django import receivers, signals, transactions, words
from oxicache.django.reaching import Reached, carry_out
from oxicache.django.selecting import effect_of, model_of, referring, row_words
from oxicache.invalidation import Effect
from oxicache.jobs import Waiting
from oxicache.registry import DELETION_SET
from oxicache.selection import Selection
from oxicache.trail import trail

__all__ = ["ainvalidate", "cancel", "invalidate", "schedule", "scheduled", "track_deletions"]

_ALL: Final[Any] = object()
_NOTHING: Final[Any] = object()


@overload
def invalidate(
    target: Selection = ...,
    /,
    *,
    using: str | None = None,
    delay: float | timedelta | None = None,
    cascade: bool = False,
    tags: Iterable[str] = (),
    keys: Iterable[str] = (),
    globs: Iterable[str] = (),
    regex: str | None = None,
    prefix: str | None = None,
    aliases: Iterable[str] = (),
    caches: Iterable[str] = (),
    tenant: Any = None,
    version: int | None = None,
    models: Iterable[str] = (),
    rows: Iterable[tuple[str, Any]] = (),
) -> Reached: ...
@overload
def invalidate(
    target: type[Model] | str | Model | Iterable[Any],
    pks: Any = ...,
    /,
    *,
    using: str | None = None,
    cascade: bool = False,
) -> int | None: ...
def invalidate(
    target: Any = _NOTHING,
    pks: Any = _ALL,
    /,
    *,
    using: str | None = None,
    delay: float | timedelta | None = None,
    cascade: bool = False,
    **names: Any,
) -> int | Reached | None:
    """Forget what caches hold of rows, or under keys, tags and patterns, in every worker.

    Rows: what decorated members hold, for `update()`, bulk operations and raw SQL, which send no signal. `target` is a
    model or its label, and `pks` a primary key or several; without `pks` all rows of the model. Or `target` is an
    instance, several of them, or a queryset, of which only the primary keys are read. Rules are applied as for bulk
    operations. Returns how many rows these were, None for all. O(rows).

    Entries: `target` is a Selection, or its fields are given as keywords: `tags`, `keys`, `globs`, `regex`, `prefix`,
    `tenant`, `version`, in the `aliases` of CACHES and the named `caches`, or in all. Returns what was `Reached`. Every
    process of the host sees it; a backend that fails is told there, and is not raised. With `delay`, in seconds, a job
    of this process does it later: `Reached.job` is what `cancel` takes.

    Inside a transaction either takes effect at the commit: that of the database `using`; of rows, of the one that
    instances came from, or that the router writes to; of entries, of each that this thread has open. `cascade` adds the
    models that refer to these, one level. ValueError and TypeError name what is no model, row, key, tag or pattern;
    CannotEnumerateError an alias that was named and cannot be looked through.
    """
    if target is not _NOTHING and not isinstance(target, Selection):
        if names or delay is not None:
            wrong = ", ".join([*names, *(["delay"] if delay is not None else [])])
            raise TypeError(
                f"invalidate() takes {wrong} without rows; name both in a Selection: Selection(models=..., rows=...)"
            )
        return _invalidate_rows(target, pks, using, cascade=cascade)
    if pks is not _ALL or (names and target is not _NOTHING):
        raise TypeError("invalidate() takes a Selection, or its fields as keywords, and not both")
    selection = Selection(**names) if target is _NOTHING else target
    if delay is not None:
        return Reached(job=_schedule(delay, selection, using, cascade=cascade), is_deferred=True)
    return _invalidate_entries(effect_of(selection, cascade=cascade), selection, using)


async def ainvalidate(*args: Any, **kwargs: Any) -> Any:
    """As `invalidate`, off the event loop: in the thread whose transactions are this task's."""
    with trail.called_from(trail.note("invalidate")):
        return await sync_to_async(invalidate, thread_sensitive=True)(*args, **kwargs)


def _invalidate_entries(effect: Effect, selection: Selection, using: str | None) -> Reached:
    note = trail.note("invalidate", effect.names(), str(selection))
    if transactions.put_off(effect, using, note):
        return Reached(is_deferred=True)
    return carry_out(effect, note=note, counting=True)


# ---------------------------------------------------------------- later


def schedule(delay: float | timedelta, selection: Selection, /, *, cascade: bool = False) -> str:
    """Have this process invalidate a selection `delay` seconds from now, or from the commit; the job's id.

    A job that is lost because the process ends is logged. ValueError, TypeError and CannotEnumerateError as
    `invalidate` has them, at once; ScheduleFullError when too many jobs wait.
    """
    if not isinstance(selection, Selection):
        raise TypeError(f"schedule() takes a delay and a Selection, not {selection!r}")
    return _schedule(delay, selection, None, cascade=cascade)


def cancel(job: str, /) -> bool:
    """Take back a job of this process; whether it was still waiting."""
    return jobs.cancel(job)


def scheduled() -> list[Waiting]:
    """Return the jobs of this process that wait: `id`, `what` it is to invalidate, and when it is `due`."""
    return jobs.waiting()


def _schedule(delay: float | timedelta, selection: Selection, using: str | None, *, cascade: bool) -> str:
    effect_of(selection, cascade=cascade)  # what is wrong is said now
    call = partial(_perform, selection, cascade=cascade)
    with trail.called_from(trail.note("schedule")):
        return jobs.take_on(str(selection), delay, call, begin_when=transactions.beginner(using))


def _perform(selection: Selection, *, cascade: bool) -> str:
    try:
        reached = carry_out(effect_of(selection, cascade=cascade), counting=True)
    finally:
        caches.close_all()  # of this thread, whose requests nobody ends
    failed = "".join(f"; {alias}: {why}" for alias, why in reached.failures.items())
    return f"{reached.total} entries of this process and of other backends{failed}"


# ---------------------------------------------------------------- rows


def _invalidate_rows(target: Any, pks: Any, using: str | None, *, cascade: bool) -> int | None:
    if isinstance(target, type | str):
        model = model_of(target)
        alias = using or router.db_for_write(model)
        if pks is _ALL:
            _changed(model, None, words.every_row_words(model), alias, cascade=cascade)
            return None
        return _invalidate_pks(model, _each_pk(model, pks), alias, cascade=cascade)
    if pks is not _ALL:
        raise TypeError(f"invalidate() takes primary keys after a model, and {target!r} is none")
    if isinstance(target, Model):
        return _invalidate_instances([target], using, cascade=cascade)
    if isinstance(target, QuerySet):
        model = model_of(target.model)
        return _invalidate_pks(model, _pks_of(target), using or _alias_of(target), cascade=cascade)
    if not isinstance(target, Iterable) or isinstance(target, bytes | dict):
        raise TypeError(f"invalidate() takes a model, instances of models or a queryset, not {target!r}")
    return _invalidate_instances(target, using, cascade=cascade)


def _changed(
    model: type[Model], rows: Iterable[Any] | None, names: Iterable[str], alias: str, *, cascade: bool
) -> None:
    """Move the words of rows that changed, None for all of them, and do what rules ask for."""
    others = referring(model) if cascade else []
    also = [word for other in others for word in words.every_row_words(other)]
    transactions.invalidate_words([*names, *also], alias)
    receivers.changed_rows(model, rows, alias)
    for other in others:
        receivers.changed_rows(other, None, alias)


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


def _invalidate_pks(model: type[Model], pks: Iterable[Any], alias: str, *, cascade: bool) -> int:
    rows = {tuple(row_words(model, pk)): pk for pk in pks}
    if rows:
        names = {*words.model_words(model), *(word for row in rows for word in row)}
        # Which of their rows belong to these is not known by the primary key.
        names.update(f"rows:{label}" for label in words.lineage(model).apart)
        _changed(model, rows.values(), names, alias, cascade=cascade)
    return len(rows)


def _invalidate_instances(instances: Iterable[Any], using: str | None, *, cascade: bool) -> int:
    groups: dict[tuple[type[Model], str], tuple[set[str], list[Model]]] = {}
    rows: set[tuple[str, Any]] = set()
    for instance in instances:
        if not isinstance(instance, Model):
            raise TypeError(
                f"invalidate() takes a model, instances of models or a queryset; {instance!r} is none"
            )
        if instance.pk is None or (instance._state.adding and instance._state.db is None):
            raise ValueError(f"{instance!r} was never saved, or was deleted: it has no row")
        alias = using or instance._state.db or router.db_for_write(type(instance), instance=instance)
        names, members = groups.setdefault((type(instance), alias), (set(), []))
        names.update(signals.instance_words(instance))
        members.append(instance)
        rows.add((words.lineage(type(instance)).labels[0], instance.pk))
    for (model, alias), (names, members) in groups.items():
        _changed(model, members, names, alias, cascade=cascade)
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
    concrete = model_of(model)._meta.concrete_model
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
