"""A row that changed, as templates of rules see it. Nothing here asks the database.

What rules make of it: evaluation.py.
"""

from typing import Any, Final, TypeAlias

from django.db.models import Model

from oxicache.django import conf, words
from oxicache.keys import glob_literal, spell

__all__ = ["Row"]

Variants: TypeAlias = tuple[tuple[str, ...], ...]

_UNKNOWN: Final = object()
_PK: Final = ("pk",)


class Row:
    """A row that changed, as templates see it: an instance, or a primary key, or one of which nothing is known."""

    __slots__ = ("_escaped", "_known", "_variants", "instance", "model", "pk")

    def __init__(self, model: type[Model], instance: Model | None = None, pk: Any = _UNKNOWN) -> None:
        """`instance` may be of a child of the model: its primary key may be another."""
        self.model = model
        self.instance = instance
        self.pk = pk if instance is None else _pk_in(model, instance)
        self._known: dict[str, tuple[str, ...] | None] = {}
        # What most templates ask for, at each save.
        usual = {_PK: ((str(self.pk),),)} if type(self.pk) is int else {}
        self._variants: dict[tuple[str, ...], Variants | None] = dict(usual)
        self._escaped: dict[tuple[str, ...], Variants] = usual

    def knows(self, name: str) -> bool:
        """Whether the value of this name is known."""
        return self._spellings(name) is not None

    def variants(self, names: tuple[str, ...]) -> Variants | None:
        """Return the values of these names, in the ways they may be spelt in a key; None where one is unknown."""
        try:
            return self._variants[names]
        except KeyError:
            found = self._variants[names] = self._spelt(names)
            return found

    def escaped(self, names: tuple[str, ...]) -> Variants:
        """Return them as a glob takes them, `*` for what is unknown."""
        try:
            return self._escaped[names]
        except KeyError:
            spelt = [self._spellings(name) for name in names]
            found = self._escaped[names] = _paired(
                [("*",) if each is None else tuple(map(glob_literal, each)) for each in spelt]
            )
            return found

    def _spelt(self, names: tuple[str, ...]) -> Variants | None:
        spelt = [self._spellings(name) for name in names]
        known = [each for each in spelt if each is not None]
        return _paired(known) if len(known) == len(spelt) else None

    def _spellings(self, name: str) -> tuple[str, ...] | None:
        """A value as `str()` has it, and as `make_key` does where that is something else."""
        if name in self._known:
            return self._known[name]
        value = self._value(name)
        if type(value) is int:
            found: tuple[str, ...] | None = (str(value),)
        elif value is _UNKNOWN or hasattr(
            value, "resolve_expression"
        ):  # of an F() only the database knows it
            found = None
        else:
            found = _both(value)
        self._known[name] = found
        return found

    def _value(self, name: str) -> Any:
        if name == "pk":
            return (
                self.pk
                if self.pk is _UNKNOWN or type(self.pk) is int
                else self.model._meta.pk.to_python(self.pk)
            )
        if name == "tenant":
            return self._tenant()
        # Not by getattr: a deferred field would be a query.
        return _UNKNOWN if self.instance is None else vars(self.instance).get(name, _UNKNOWN)

    def _tenant(self) -> Any:
        """The row's own `tenant_id`, or else what the setting TENANT says without a request. 0 is a tenant."""
        found: Any = _UNKNOWN
        if _has_tenants(self.model):
            if self.instance is not None:
                own = vars(self.instance)
                is_field = "tenant_id" in own or _is_field(self.model, "tenant_id")
                found = own.get("tenant_id", _UNKNOWN) if is_field else self.instance.tenant_id  # type: ignore[attr-defined]
        elif (asked := conf.tenant_resolver()) is not None:
            found = asked()
        return _UNKNOWN if found is None or found == "" else found


def _pk_in(model: type[Model], instance: Model) -> Any:
    if model._meta.label_lower in words.lineage(type(instance)).labels:
        return instance.pk
    if type(instance)._meta.concrete_model is model._meta.concrete_model:
        return instance.pk  # a proxy
    return vars(instance).get(model._meta.pk.attname, _UNKNOWN)


def _both(value: Any) -> tuple[str, ...]:
    text = str(value)
    try:
        spelt = spell(value)
    except TypeError:  # it is no part of a key that `make_key` makes
        return (text,)
    return (text,) if spelt == text else (text, spelt)


def _paired(values: list[tuple[str, ...]]) -> Variants:
    """All values in their first spelling, and all in their last."""
    first, last = tuple([each[0] for each in values]), tuple([each[-1] for each in values])
    return (first,) if first == last else (first, last)


def _has_tenants(model: type[Model]) -> bool:
    return hasattr(model, "tenant_id")


def _is_field(model: type[Model], attname: str) -> bool:
    return any(field.attname == attname for field in model._meta.concrete_fields)
