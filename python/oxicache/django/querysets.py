"""`InvalidatingManager` and `InvalidatingQuerySet`: `update()`, bulk operations and fast deletions that invalidate.

    class Product(models.Model):
        objects = InvalidatingManager()

Covered is what goes through them: `update`, `bulk_create`, `bulk_update`, `delete` also where it sends no signal, and
their async twins. So are related managers, which Django derives from the default manager, with `add()` and `set()`,
which it carries out by the base manager; but not the updates and deletions of a cascade, for which
`Meta.base_manager_name` names this manager too. A queryset of another class, raw SQL, and what the database does by
itself (triggers, ON DELETE of its own) go past; execution.py notices the raw SQL.

A change inside a transaction takes effect at its commit. Which rows it was is known of `bulk_update`, of `bulk_create`,
and of a filter by primary keys that are whole numbers or UUIDs; of all others it is all rows of the model. To read the
keys first would cost a query, and not find a row that another connection commits in between.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar

from django.apps import apps
from django.db import Error, router
from django.db.models import Manager, Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.fields.related_lookups import RelatedExact, RelatedIn
from django.db.models.lookups import Exact, In
from django.db.models.signals import post_delete
from django.db.models.sql import Query
from django.db.models.sql.where import AND, WhereNode

from oxicache.django import bulk

__all__ = ["InvalidatingManager", "InvalidatingQuerySet"]

_Row = TypeVar("_Row", bound=Model)


class InvalidatingQuerySet(QuerySet[_Row, _Row]):
    """A queryset whose writes invalidate. To be put before other bases: `class Mine(InvalidatingQuerySet, Theirs)`."""

    _is_telling = True  # False of a copy that a method here works on, which tells for it

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        if not self._is_telling:
            clone._is_telling = False
        return clone

    def _silent(self, alias: str) -> Self:
        copied = self.using(alias)
        copied._is_telling = False
        return copied

    def _write_alias(self) -> str:
        self._for_write = True
        return self.db

    def update(self, **kwargs: Any) -> int:
        """Update as Django does, and invalidate the rows of the filter; nothing if it found none."""
        if not self._is_telling:
            return super().update(**kwargs)
        alias = self._write_alias()
        pks = None if _changes_keys(self.model, kwargs) else filtered_pks(self.query)
        with _whole_if_it_fails(self.model, alias):
            count = super().update(**kwargs)
        if count:
            bulk.changed(self.model, pks, alias)
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(  # noqa: PLR0917 -- Django's own signature
        self,
        objs: Iterable[_Row],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[_Row]:
        """Insert as Django does, and invalidate what depends on the model; with `update_conflicts` all of its rows."""
        alias = self._write_alias()
        with _whole_if_it_fails(self.model, alias):
            created: list[_Row] = super().bulk_create(
                objs,
                batch_size=batch_size,
                ignore_conflicts=ignore_conflicts,
                update_conflicts=update_conflicts,
                update_fields=update_fields,
                unique_fields=unique_fields,
            )
        if created and self._is_telling:
            ends = {
                field.attname: [vars(one).get(field.attname) for one in created]
                for field in bulk.relation_ends(self.model)
            }
            if update_conflicts:
                # Which of the rows were there before, and under which key, only the database knows.
                bulk.changed(self.model, None, alias)
            else:
                bulk.changed(self.model, created, alias, ends=ends, is_new=True)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Iterable[_Row], fields: Iterable[str], batch_size: int | None = None) -> int:
        """Update as Django does, and invalidate these rows."""
        rows = tuple(objs)
        if not self._is_telling:
            return super().bulk_update(rows, fields, batch_size=batch_size)
        alias = self._write_alias()
        silent = self._silent(alias)
        with _whole_if_it_fails(self.model, alias):
            count = super(InvalidatingQuerySet, silent).bulk_update(rows, fields, batch_size=batch_size)
        if count:
            bulk.changed(self.model, rows, alias)
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete as Django does, and invalidate what was deleted without a signal, in cascades too."""
        if not self._is_telling:
            return super().delete()
        alias = self._write_alias()
        pks = filtered_pks(self.query)
        silent = self._silent(alias)
        with _whole_if_it_fails(self.model, alias):
            count, by_label = super(InvalidatingQuerySet, silent).delete()
        self._result_cache = None
        for model in _models(self.model, by_label):
            if post_delete.has_listeners(model) and not model._meta.auto_created:
                bulk.deleted_by_signals(model, alias)
            else:
                is_own = model._meta.concrete_model is self.model._meta.concrete_model
                # What a row that is gone was related to is known from `depends_on`, as when one instance is deleted.
                ends = None if is_own else {field.attname: () for field in bulk.relation_ends(model)}
                bulk.changed(model, pks if is_own else None, alias, ends=ends, is_gone=True)
        return count, by_label

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def _raw_delete(self, using: str | None) -> int:
        """Delete by one statement, without signals or cascades: what Django does for this queryset in a cascade."""
        alias = using or self._write_alias()
        with _whole_if_it_fails(self.model, alias):
            count: int = super()._raw_delete(using)
        if count and self._is_telling:
            bulk.changed(self.model, filtered_pks(self.query), alias, is_gone=True)
        return count

    _raw_delete.alters_data = True  # type: ignore[attr-defined]


class InvalidatingManager(Manager[_Row]):
    """A manager whose querysets are InvalidatingQuerySet; `from_queryset` takes a class derived from that."""

    _queryset_class = InvalidatingQuerySet

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have `add()` of the managers that Django derives for foreign keys of others invalidate what it updates."""
        super().__init_subclass__(**kwargs)
        if cls.__qualname__ in _RELATED:
            cls.add = _telling(cls.add)  # type: ignore[attr-defined]  # of Django's own class

    @classmethod
    def from_queryset(cls, queryset_class: Any, class_name: str | None = None) -> Any:
        """Return a manager class with the methods of `queryset_class`. TypeError for one that would not invalidate."""
        if not issubclass(queryset_class, InvalidatingQuerySet):
            raise TypeError(
                f"{queryset_class.__qualname__} does not invalidate; derive it from InvalidatingQuerySet, as in "
                f"`class {queryset_class.__name__}(InvalidatingQuerySet, ...)`, or take models.Manager"
            )
        return super().from_queryset(queryset_class, class_name)


# Of relations by a foreign key, generic ones too. Those by a table between tell by `m2m_changed`.
_RELATED: Final = frozenset(
    {
        "create_reverse_many_to_one_manager.<locals>.RelatedManager",
        "create_generic_related_manager.<locals>.GenericRelatedObjectManager",
    }
)


def _telling(add: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(add)
    def added(self: Any, *rows: Any, **options: Any) -> None:
        is_update = rows and options.get("bulk", True)  # otherwise it saves each
        if not is_update or isinstance(self.model._base_manager, InvalidatingManager):
            return add(self, *rows, **options)
        alias = router.db_for_write(self.model, instance=self.instance)
        with _whole_if_it_fails(self.model, alias):
            add(self, *rows, **options)
        bulk.changed(self.model, rows, alias)
        return None

    return added


@contextmanager
def _whole_if_it_fails(model: type[Model], alias: str) -> Iterator[None]:
    try:
        yield
    except Error:
        # The database may have done its part, or some batches of it. Too much invalidated is harmless.
        bulk.changed(model, None, alias)
        raise


def _models(model: type[Model], by_label: dict[str, int]) -> list[type[Model]]:
    found: list[type[Model]] = []
    for label, count in by_label.items():
        if count and label == model._meta.label:
            found.append(model)
        elif count:
            try:
                found.append(apps.get_model(label))
            except LookupError:  # of a migration's own registry
                continue
    return found


def _changes_keys(model: type[Model], values: Iterable[str]) -> bool:
    keys = {"pk"}
    for one in (model, *model._meta.all_parents):
        keys.update(name for field in one._meta.pk_fields for name in (field.name, field.attname))
    return not keys.isdisjoint(values)


def filtered_pks(query: Query) -> list[Any] | None:
    """Return primary keys that every row of a query's filter has one of; None where the filter does not tell."""
    model: Any = query.model
    lookups = list(_conjunction(query.where))
    for lookup in lookups:
        column, value = lookup.lhs, lookup.rhs
        if not isinstance(column, Col) or column.target != model._meta.pk or column.alias != query.base_table:
            continue
        if isinstance(lookup, Exact | RelatedExact):
            value = [value]
        elif not isinstance(lookup, In | RelatedIn):
            continue
        if isinstance(value, Sequence | set | frozenset | dict) and not isinstance(value, str | bytes):
            pks = bulk.exact_pks(model, value)
            if pks is not None:
                return pks
    return None


def _conjunction(node: WhereNode) -> Iterator[Any]:
    """Yield the lookups that a row must all satisfy."""
    if node.negated or (node.connector != AND and len(node.children) != 1):
        return
    for child in node.children:
        if isinstance(child, WhereNode):
            yield from _conjunction(child)
        elif hasattr(child, "lhs"):
            yield child
