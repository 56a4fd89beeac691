"""What makes choices of rows, besides the rows: the part of their key that tells one way to do it from another.

A field's class and its iterator by name, functions that somebody has put on a field by their code and what they hold
on to, and whatever else a project keeps on the field. What cannot be spelt may be anybody's: then nothing is held.
"""

import functools
import hashlib
import marshal
import operator
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db.models import Prefetch
from django.forms.models import ModelChoiceField

from oxicache import keys

__all__ = ["compiled", "made_with", "prefetched"]

_MARSHAL_VERSION: Final = 2  # later ones spell what is referred to twice by how often it is, which changes
_OF_NO_LABEL: Final = frozenset({"default_error_messages", "default_validators", "hidden_widget", "widget"})


def made_with(field: Any, iterator: Any) -> str:
    """Return what spells a field's way to make values and labels. TypeError names what has no spelling."""
    own = {name: value for name, value in vars(field).items() if name not in _djangos()}
    parts = [_spelt(type(field), ()), _spelt(iterator, ()), keys.spell(field.to_field_name)]
    parts += [f"{name}={_spelt(own[name], (), f'its {name}')}" for name in sorted(own)]
    return "\0".join(parts)


@functools.cache
def _djangos() -> frozenset[str]:
    """What every field has, and a model's: none of it is looked at when labels are made."""
    return frozenset({*vars(ModelChoiceField(None)), "iterator", "queryset", "_choices"})


def compiled(queryset: Any) -> tuple[str, tuple[Any, ...]]:
    """Return the text and the parameters of a queryset. EmptyResultSet: it asks for nothing."""
    sql, params = queryset.query.clone().get_compiler(queryset.db).as_sql()
    return sql, tuple(params)


def prefetched(lookups: Any) -> Iterator[Any]:
    """Yield what a queryset's prefetches ask for, which its own text does not tell."""
    for lookup in lookups:
        if not isinstance(lookup, Prefetch):
            yield lookup
            continue
        yield from (lookup.prefetch_through, lookup.prefetch_to, lookup.to_attr)
        for queryset in lookup.get_current_querysets(lookup.prefetch_to.count("__")) or ():
            try:
                yield from (queryset.db, *compiled(queryset))
            except EmptyResultSet:
                yield None
            yield from prefetched(queryset._prefetch_related_lookups)


# ---------------------------------------------------------------- code


def _spelt(value: Any, within: tuple[Any, ...], name: str = "what makes its labels") -> str:
    """Spell a value, a function or a class. `within` are those that are being spelt, which may name themselves."""
    if any(value is one for one in within):
        return "itself"
    for kinds, spelling in _SPELLINGS:
        if isinstance(value, kinds):
            return spelling(value, (*within, value), name)
    spelt = keys.spell(value, name)
    if "~row(" in spelt:  # by its primary key, and a label may tell anything else of it
        raise TypeError(f"{name} holds a row of a model")
    return spelt


def _partial(value: Any, within: tuple[Any, ...], name: str) -> str:
    given = [_spelt(one, within, name) for one in (value.func, *value.args)]
    given += [f"{key}={_spelt(one, within, name)}" for key, one in sorted(value.keywords.items())]
    return f"partial({','.join(given)})"


def _bound(value: Any, within: tuple[Any, ...], name: str) -> str:
    return f"{_spelt(value.__self__, within, name)}.{_spelt(value.__func__, within, name)}"


def _wrapped(value: Any, within: tuple[Any, ...], name: str) -> str:
    return _spelt(value.__func__, within, name)


def _property(value: Any, within: tuple[Any, ...], name: str) -> str:
    return ",".join(_spelt(one, within, name) for one in (value.fget, value.fset, value.fdel))


def _getter(value: Any, within: tuple[Any, ...], name: str) -> str:  # noqa: ARG001 -- as the others
    return repr(value)


def _name(value: Any) -> str | None:
    """The name that leads to a class or a function, for whoever asks; None for what is made in a function."""
    module, path = getattr(value, "__module__", None), value.__qualname__
    found: Any = sys.modules.get(module or "")
    for part in path.split("."):
        found = getattr(found, part, None)
    return f"{module}.{path}" if found is value else None


def _class(value: type[Any], within: tuple[Any, ...], name: str) -> str:
    if found := _name(value):
        return found
    parts = [_spelt(base, within, name) for base in value.__bases__]
    for key, one in sorted(vars(value).items()):
        if not (key.startswith("__") and not callable(one)) and key not in _OF_NO_LABEL:
            parts.append(f"{key}={_spelt(one, within, f'{value.__qualname__}.{key}')}")
    return f"class({','.join(parts)})"


def _builtin(value: Any, within: tuple[Any, ...], name: str) -> str:  # noqa: ARG001 -- as the others
    return _name(value) or keys.spell(value, name)


def _function(value: types.FunctionType, within: tuple[Any, ...], name: str) -> str:
    if found := _name(value):
        return found
    held = []
    for cell in value.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError as error:
            raise TypeError(f"{name} refers to what there is not yet") from error
    parts = [_spelt(one, within, name) for one in (*held, *(value.__defaults__ or ()))]
    given = sorted((value.__kwdefaults__ or {}).items())
    parts += [f"{key}={_spelt(one, within, name)}" for key, one in given]
    code = hashlib.blake2b(marshal.dumps(value.__code__, _MARSHAL_VERSION), digest_size=16).hexdigest()
    return f"{value.__module__}.{value.__qualname__}@{code}({','.join(parts)})"


_SPELLINGS: Final[tuple[tuple[Any, Callable[..., str]], ...]] = (
    (functools.partial, _partial),
    (types.MethodType, _bound),
    ((staticmethod, classmethod), _wrapped),
    (property, _property),
    ((operator.attrgetter, operator.itemgetter, operator.methodcaller), _getter),
    (type, _class),
    (types.BuiltinFunctionType, _builtin),
    (types.FunctionType, _function),
)
