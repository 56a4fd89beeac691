"""Instances out of what is held of them: the dicts of their attributes, of which a cache gives each caller his own.

To have each built by Django, its values converted anew, takes longer than to have them unpickled. So where nobody could
tell the difference, what is held are the values that Django's own converters made, and an instance is put together
from them: where the model's `__init__`, `from_db` and attributes are Django's, no receiver hears of its making, and
all values are immutable or of JSON. Any other model is for Django.
"""

import functools
import inspect
import operator
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from django.db.models import Model, base, signals
from django.db.models.base import ModelState
from django.db.models.expressions import Col
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query import get_related_populators
from django.db.models.query_utils import DeferredAttribute

__all__ = ["Layout", "are_djangos", "layout_of", "own_copy"]

# Whose values, once Django has converted them, are immutable, or lists and dicts of JSON.
PLAIN: Final = frozenset(
    {
        "AutoField",
        "BigAutoField",
        "BigIntegerField",
        "BooleanField",
        "CharField",
        "DateField",
        "DateTimeField",
        "DecimalField",
        "DurationField",
        "FloatField",
        "ForeignKey",
        "GenericIPAddressField",
        "IntegerField",
        "JSONField",
        "OneToOneField",
        "PositiveBigIntegerField",
        "PositiveIntegerField",
        "PositiveSmallIntegerField",
        "SlugField",
        "SmallAutoField",
        "SmallIntegerField",
        "TextField",
        "TimeField",
        "UUIDField",
    }
)
ATTRIBUTES: Final = (DeferredAttribute, ForeignKeyDeferredAttribute)

Setter = Callable[[Any, Any], object]


class Part:
    """One model of a row: where its values stand, and how its instance is tied to that of the part it hangs on."""

    __slots__ = ("local", "model", "names", "parent", "pk", "remote", "values")

    def __init__(  # noqa: PLR0917 -- as many as there are to say
        self,
        model: type[Model],
        names: Sequence[str],
        values: Callable[[Sequence[Any]], Sequence[Any]],
        pk: int = 0,
        parent: int = 0,
        local: Setter | None = None,
        remote: Setter | None = None,
    ) -> None:
        self.model = model
        self.names = ("_state", *names)
        self.values = values
        self.pk = pk
        self.parent = parent
        self.local = local
        self.remote = remote


class Layout:
    """How rows become instances: the model's own part first, then those of `select_related`."""

    __slots__ = ("extra", "models", "parts")

    def __init__(self, parts: Sequence[Part], extra: Sequence[tuple[str, int]]) -> None:
        self.parts = tuple(parts)
        self.extra = tuple(extra)
        self.models = frozenset(part.model for part in parts)

    def is_unheard(self) -> bool:
        """Whether nobody wants to hear of the making of such instances."""
        return not any(
            signal.receivers and any(signal.has_listeners(model) for model in self.models)
            for signal in (signals.pre_init, signals.post_init)
        )

    def held(self, rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
        """Return converted rows as they are held: by part a dict of each row, None where nothing is related."""
        rows = tuple(rows)
        found: list[list[Any]] = []
        for number, part in enumerate(self.parts):
            values, names, pk = part.values, part.names, part.pk
            of_part: list[Any] = [dict(zip(names, (None, *values(row)), strict=True)) for row in rows]
            if number:
                # Below one that is not there nothing is, either: `build` looks at nobody's children.
                of_part = [
                    one if values(row)[pk] is not None else None
                    for one, row in zip(of_part, rows, strict=True)
                ]
            found.append(of_part)
        if self.extra:
            found.append([{name: row[position] for name, position in self.extra} for row in rows])
        return found

    def build(self, held: list[list[Any]], alias: str, state: dict[str, Any]) -> list[Any]:
        """Return instances out of what is the caller's own: dicts become theirs, `state` goes into each `_state`."""
        made: list[list[Any]] = []
        for number, part in enumerate(self.parts):
            instances = _instances(part.model, held[number], alias, state)
            made.append(instances)
            if number == 0:
                continue
            local, remote = part.local, part.remote
            assert local is not None
            for one, parent in zip(instances, made[part.parent], strict=True):
                if parent is not None:
                    local(parent, one)
                    if one is not None and remote is not None:
                        remote(one, parent)
        if self.extra:
            for one, more in zip(made[0], held[-1], strict=True):
                for name, value in more.items():
                    setattr(one, name, value)
        return made[0]


def _instances(model: type[Model], held: list[Any], alias: str, state: dict[str, Any]) -> list[Any]:
    new = object.__new__
    made: list[Any] = []
    for attributes in held:
        if attributes is None:
            made.append(None)
            continue
        attributes["_state"] = its = ModelState()
        its.adding = False
        its.db = alias
        if state:
            vars(its).update(state)
        one = new(model)
        one.__dict__ = attributes
        made.append(one)
    return made


def own_copy(held: list[list[Any]]) -> list[list[Any]]:
    """Return a copy of what is held, for one of several who waited for it."""
    copied: list[list[Any]] = pickle.loads(pickle.dumps(held, pickle.HIGHEST_PROTOCOL))  # noqa: S301 -- made here
    return copied


def layout_of(compiler: Any) -> Layout | None:
    """Return how the rows of a compiled query become instances; None where that is for Django."""
    select, info = compiler.select, compiler.klass_info
    if info is None or not all(_is_plain(expression) for expression, *_ in select[: compiler.col_count]):
        return None
    start, end = info["select_fields"][0], info["select_fields"][-1] + 1
    columns = [expression for expression, *_ in select[start:end]]
    if not all(isinstance(one, Col) for one in columns):
        return None  # values, part of a column's JSON among them
    parts = [
        Part(info["model"], [one.target.attname for one in columns], operator.itemgetter(slice(start, end)))
    ]
    for populator in _populators(info, select):
        _add(parts, 0, populator)
    if not all(_is_made_plainly(part.model, part.names[1:]) for part in parts):
        return None
    return Layout(parts, list((compiler.annotation_col_map or {}).items()))


def _populators(info: dict[str, Any], select: Any) -> Any:
    found: Any = get_related_populators
    if "fetch_mode" in inspect.signature(found).parameters:  # from 6.1 on
        return found(info, select, "", _OrdinaryFetch)
    return found(info, select, "")


class _OrdinaryFetch:
    """Stands for a fetch mode where nothing is fetched."""

    track_peers = False


def _add(parts: list[Part], parent: int, populator: Any) -> None:
    reorder = populator.reorder_for_init
    if reorder is None:
        values: Any = operator.itemgetter(slice(populator.cols_start, populator.cols_end))
    elif len(populator.init_list) == 1:  # then it gives the value alone
        values = functools.partial(_alone, reorder)
    else:
        values = reorder
    setters = populator.local_setter, populator.remote_setter
    parts.append(Part(populator.model_cls, populator.init_list, values, populator.pk_idx, parent, *setters))
    own = len(parts) - 1
    for below in populator.related_populators:
        _add(parts, own, below)


def _alone(reorder: Callable[[Sequence[Any]], Any], row: Sequence[Any]) -> tuple[Any, ...]:
    return (reorder(row),)


def _is_plain(expression: Any) -> bool:
    field = getattr(expression, "target", None) or getattr(expression, "_output_field_or_none", None)
    return (
        field is not None and field.get_internal_type() in PLAIN and getattr(field, "decoder", None) is None
    )


def _is_made_plainly(model: Any, names: Iterable[str]) -> bool:
    return (
        model.__init__ is Model.__init__
        and _is_untouched(Model.__init__)
        and getattr(model.from_db, "__func__", None) is Model.from_db.__func__  # type: ignore[attr-defined]
        and model.__setattr__ is object.__setattr__
        and model.__new__ is object.__new__
        and all(type(inspect.getattr_static(model, name, None)) in ATTRIBUTES for name in names)
    )


def _is_untouched(function: Any) -> bool:
    """Whether nobody has put his own in the place of a method of Django's models."""
    return getattr(getattr(function, "__code__", None), "co_filename", None) == base.__file__


def are_djangos(converters: dict[int, Any]) -> bool:
    """Whether all converters are Django's own: what they give depends on nothing else than what they are given."""
    return all(_is_djangos(one) for found, _ in converters.values() for one in found)


def _is_djangos(converter: Any) -> bool:
    module = getattr(getattr(converter, "__func__", converter), "__module__", None)
    return isinstance(module, str) and module.startswith(("django.db.", "django.contrib.postgres."))
