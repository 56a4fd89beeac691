"""Spelling code: a function or a class by the name that leads to it; one that has none by its code and what it holds.

What cannot be spelt may be anybody's: a TypeError.
"""

import functools
import hashlib
import inspect
import marshal
import operator
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any, Final

from oxicache import keys
from oxicache.results import full_name

__all__ = ["name_of", "spell_code"]

_MARSHAL_VERSION: Final = 2  # later ones spell what is referred to twice by how often it is, which changes
# Of a class of fields or widgets: none of it makes values or labels.
_OF_NO_LABEL: Final = frozenset({"default_error_messages", "default_validators", "hidden_widget", "widget"})


def name_of(function: Callable[..., Any]) -> str:
    """Return what tells a function from all others: module and qualified name, where these lead to one alone.

    Behind it, of what is made in a function, of a lambda, a partial or an object, a digest of what it is; where that
    has no spelling, a mark of this process.
    """
    name = full_name(function)
    is_plain = isinstance(inspect.unwrap(function), types.FunctionType | types.BuiltinFunctionType)
    if is_plain and "<" not in name and not isinstance(function, functools.partial | types.MethodType):
        return name
    try:
        mark = hashlib.blake2b(
            spell_code(function).encode("utf-8", "surrogatepass"), digest_size=16
        ).hexdigest()
    except (TypeError, RecursionError):
        mark = uuid.uuid4().hex
    return f"{name}@{mark}"


def spell_code(value: Any, within: tuple[Any, ...] = (), name: str = "it") -> str:
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
    given = [spell_code(one, within, name) for one in (value.func, *value.args)]
    given += [f"{key}={spell_code(one, within, name)}" for key, one in sorted(value.keywords.items())]
    return f"partial({','.join(given)})"


def _bound(value: Any, within: tuple[Any, ...], name: str) -> str:
    return f"{spell_code(value.__self__, within, name)}.{spell_code(value.__func__, within, name)}"


def _wrapped(value: Any, within: tuple[Any, ...], name: str) -> str:
    return spell_code(value.__func__, within, name)


def _property(value: Any, within: tuple[Any, ...], name: str) -> str:
    return ",".join(spell_code(one, within, name) for one in (value.fget, value.fset, value.fdel))


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
    parts = [spell_code(base, within, name) for base in value.__bases__]
    for key, one in sorted(vars(value).items()):
        if not (key.startswith("__") and not callable(one)) and key not in _OF_NO_LABEL:
            parts.append(f"{key}={spell_code(one, within, f'{value.__qualname__}.{key}')}")
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
    parts = [spell_code(one, within, name) for one in (*held, *(value.__defaults__ or ()))]
    given = sorted((value.__kwdefaults__ or {}).items())
    parts += [f"{key}={spell_code(one, within, name)}" for key, one in given]
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
