"""What `depends_on` means: from what stands at a decorator to the models whose changes invalidate.

Resolved when the class is made, or once the models that it names are there; what is wrong raises in the class
statement, or at the latest when all models are loaded. Who watches the models: signals.py. Who captures their words:
rows.py.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignObjectRel, Model

from oxicache.django.words import MAX_WORDS, MemberWords
from oxicache.rows import Member, members_of

__all__ = ["complete", "dependencies_of", "is_historical", "prepare", "when_found", "words_of"]

Models: TypeAlias = tuple[type[Model], ...]

# A member may belong to a class that was made in a function, and go with it.
_found: WeakKeyDictionary[type[Model], WeakKeyDictionary[Member, Models]] = WeakKeyDictionary()
_words: WeakKeyDictionary[type[Model], WeakKeyDictionary[Member, MemberWords]] = WeakKeyDictionary()
_unsettled: list[tuple[type[Model], Member]] = []  # until all models are loaded
_listeners: list[Callable[[type[Model], Models], None]] = []


def is_historical(model: type[Model]) -> bool:
    """Whether a migration made this class to stand for a model as it once was."""
    return model.__module__ == "__fake__"


def prepare(model: type[Model]) -> None:
    """Resolve the dependencies of a class that is being made, as far as its models are there."""
    if is_historical(model):
        return
    members = [member for member in members_of(model) if member.is_of_rows and member.depends_on]
    if members:
        options = model._meta
        registry: Any = options.apps
        assert options.model_name is not None
        # Once the class is registered, and so are its relations to itself: still inside the class statement.
        registry.lazy_model_operation(
            lambda _: _settle_all(model, members), (options.app_label, options.model_name)
        )


def _settle_all(model: type[Model], members: Iterable[Member]) -> None:
    is_last_chance = _registry(model).models_ready
    _unsettled.extend(
        (model, member) for member in members if not _settle(model, member, is_last_chance=is_last_chance)
    )


def complete() -> None:
    """Resolve what is left: all models are loaded. ValueError names the first that does not exist."""
    while _unsettled:
        model, member = _unsettled.pop(0)
        _settle(model, member, is_last_chance=True)


def _settle(model: type[Model], member: Member, *, is_last_chance: bool) -> bool:
    found: dict[type[Model], None] = {}
    is_whole = True
    for value in member.depends_on:
        models = _models(model, member, value)
        if models is None and is_last_chance:
            raise ValueError(_wrong(model, member, value, _unknown(model, value)))
        is_whole = is_whole and models is not None
        found.update(dict.fromkeys(models or ()))
    if is_whole:
        words = MemberWords(member.name, model, found)
        limit = MAX_WORDS - 1 if member.has_tags else MAX_WORDS  # tags need one, or share one
        if len(words) > limit:
            raise ValueError(
                f"@{member.decorator} of {member.name}, on {model._meta.label}: depends_on={member.depends_on!r} "
                f"makes {len(words)} version words, parents included; {limit} is the limit"
            )
        _found.setdefault(model, WeakKeyDictionary())[member] = tuple(found)
        _words.setdefault(model, WeakKeyDictionary())[member] = words
        for tell in _listeners:
            tell(model, tuple(found))
    return is_whole


def words_of(model: type[Model], member: Member) -> MemberWords:
    """Return the words of a member on `model`. LookupError while a model that it depends on is not loaded."""
    of_model = _words.get(model)
    words = None if of_model is None else of_model.get(member)
    if words is None:  # nothing to resolve, or nobody has: the member came to its class when that was made
        if not _settle(model, member, is_last_chance=_registry(model).models_ready):
            raise LookupError(f"{member.name} depends on models that are not loaded yet")
        words = _words[model][member]
    return words


def dependencies_of(model: type[Model]) -> frozenset[type[Model]]:
    """Return the models whose changes invalidate values of rows of `model`, as far as they are known."""
    return frozenset(one for models in list(_found.get(model, {}).values()) for one in models)


def when_found(tell: Callable[[type[Model], Models], None]) -> None:
    """Call `tell(model, dependencies)` for the dependencies known so far, and whenever some are found."""
    if tell not in _listeners:
        _listeners.append(tell)
        for model, by_member in list(_found.items()):
            for models in list(by_member.values()):
                tell(model, models)


# ---------------------------------------------------------------- one value


def _models(model: type[Model], member: Member, value: Any) -> Models | None:
    """Return the models that one value of `depends_on` means, None where it is not known yet."""
    if isinstance(value, type):
        if not issubclass(value, Model):
            raise TypeError(_wrong(model, member, value, "which is no model"))
        if not hasattr(value, "_meta") or value._meta.abstract:
            raise ValueError(
                _wrong(model, member, value, "which is abstract: it has no rows that could change")
            )
        return (value,)
    if value == "self":
        return (model,)
    if "." in value:
        return _labelled(model, member, value)
    return _related(model, member, value)


def _labelled(model: type[Model], member: Member, value: str) -> Models | None:
    app_label, _, name = value.lower().partition(".")
    if "." in name or not name or not app_label:
        raise ValueError(_wrong(model, member, value, 'which is not of the form "app.Model"'))
    registry = _registry(model)
    for label, models in registry.all_models.items():
        if label.lower() == app_label and name in models:
            return (models[name],)
    apps = {label.lower(): config for label, config in registry.app_configs.items()}
    is_loaded = app_label in apps and apps[app_label].models_module is not None
    if registry.apps_ready and (app_label not in apps or is_loaded):
        raise ValueError(_wrong(model, member, value, _unknown(model, value)))
    return None


def _related(model: type[Model], member: Member, name: str) -> Models | None:
    try:
        relation: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        relation = _reverse(model, name)
    if relation is None:
        return None
    if not relation.is_relation:
        raise ValueError(_wrong(model, member, name, "which is a field, and no relation to a model"))
    # A forward field's own `related_model` wants all models to be loaded.
    is_reverse = isinstance(relation, ForeignObjectRel)
    side = relation if is_reverse else relation.remote_field
    if side is None:
        raise ValueError(_wrong(model, member, name, "which relates to no particular model: name the models"))
    target = side.related_model if is_reverse else side.model
    found = [one for one in (target, getattr(side, "through", None)) if one is not None]
    if any(isinstance(one, str) for one in found):
        return None  # the other model is not loaded yet
    return tuple(found)


def _reverse(model: type[Model], name: str) -> Any:
    # What instances have: `children`, or `project_set`. It is there before all models are loaded, unlike the field.
    descriptor = inspect.getattr_static(model, name, None)
    relation = getattr(descriptor, "rel", None) or getattr(descriptor, "related", None)
    return relation if getattr(relation, "is_relation", False) else None


def _registry(model: type[Model]) -> Any:
    return model._meta.apps


def _unknown(model: type[Model], value: str) -> str:
    if "." in value:
        return "and there is no such model"
    return f"and {model._meta.label} has no relation of that name"


def _wrong(model: type[Model], member: Member, value: Any, what: str) -> str:
    return f"@{member.decorator} of {member.name}, on {model._meta.label}: depends_on names {value!r}, {what}"
