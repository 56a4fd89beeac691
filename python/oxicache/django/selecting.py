"""What a Selection means in a project: the version words of its models and rows, the keys of its tenant, its aliases.

What is done with it: invalidation.py. How rows and models are spelt as words: words.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.apps import apps
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.db.models import Model

from oxicache._native import KeyPattern
from oxicache.django import conf, words
from oxicache.django.backends import NativeCache
from oxicache.django.enumeration import enumerator_of
from oxicache.django.labels import with_rows
from oxicache.django.rulebook import effect_of_rows
from oxicache.django.scope import Scope
from oxicache.invalidation import NOTHING, Effect, Names
from oxicache.selection import Selection
from oxicache.tags import checked_tags

__all__ = ["effect_of", "model_of", "referring", "row_words", "words_of"]

STORES = "django:"  # how `manage_cache` prints what is an alias of CACHES


def effect_of(selection: Selection, *, cascade: bool = False) -> Effect:
    """Return what a selection reaches. `cascade` adds the models that refer to those of it, one level.

    ValueError and TypeError where nothing is selected, and for what is no model, row, tag, pattern or alias; and
    CannotEnumerateError for an alias that was named and cannot say which entries these are.
    """
    tags = checked_tags(selection.tags)
    below = "" if selection.tenant is None else Scope(tenant=selection.tenant).prefix()
    globs = selection.whole_globs(below)
    regexes = () if selection.regex is None else (selection.regex,)
    for glob in globs:
        KeyPattern(glob)
    for regex in regexes:
        KeyPattern(regex, kind="regex")
    if not (tags or selection.keys or globs or regexes or selection.models or selection.rows):
        raise ValueError(
            "nothing is selected: name tags, keys, patterns, models or rows; `clear` removes everything"
        )
    aliases = _aliases(selection)
    for alias in aliases or () if tags or globs or regexes else ():
        _require(alias)
    effect = Effect(words=frozenset(words_of(selection, cascade=cascade)))
    rules = _of_rules(selection, cascade=cascade)
    part = Names(tags, selection.keys, globs, regexes, aliases, _named_caches(selection), selection.version)
    if aliases is not None:
        # What rules name goes where the selection says, too.
        asked = [
            replace(names, aliases=aliases, caches=part.caches) for names in (rules.as_names(), *rules.also)
        ]
        return Effect(words=effect.words | rules.words, also=frozenset([part, *asked]))
    if regexes or selection.version is not None:
        return effect | rules | Effect(also=frozenset([part]))
    named = Effect(tags=frozenset(tags), keys=frozenset(selection.keys), globs=frozenset(globs))
    return effect | rules | named


def _of_rules(selection: Selection, *, cascade: bool) -> Effect:
    """Return what rules ask for when these models and rows change without a signal."""
    found = NOTHING
    if conf.current().invalidation_enabled:
        for model in _models(selection, cascade=cascade):
            found |= effect_of_rows(model, None)
        for label, pk in selection.rows:
            found |= effect_of_rows(model_of(label), [pk])
    return found


def _aliases(selection: Selection) -> tuple[str, ...] | None:
    """Return the aliases that are named, as such or as caches; None for all of them."""
    if not (selection.aliases or selection.caches):
        return None
    named = [name.removeprefix(STORES) for name in selection.caches if name.startswith(STORES)]
    aliases = tuple(dict.fromkeys((*selection.aliases, *named)))
    for alias in aliases:
        if alias not in caches.settings:
            raise ValueError(f"{alias!r} is no alias of CACHES; these are: {', '.join(caches.settings)}")
    return aliases


def _named_caches(selection: Selection) -> tuple[str, ...] | None:
    if not (selection.aliases or selection.caches):
        return None
    return tuple(name for name in selection.caches if not name.startswith(STORES))


def _require(alias: str) -> None:
    """CannotEnumerateError where tags and patterns find nothing, because the backend cannot list its entries."""
    if not isinstance(caches[alias], NativeCache):
        enumerator_of(alias)


def words_of(selection: Selection, *, cascade: bool = False) -> Iterator[str]:
    """Yield the version words of a selection's models and rows. ValueError and TypeError for what is none."""
    for model in _models(selection, cascade=cascade):
        yield from words.every_row_words(model)
    for label, pk in selection.rows:
        model = model_of(label)
        yield from row_words(model, pk)
        yield from words.model_words(model)
        yield from (f"rows:{parent}" for parent in words.lineage(model).apart)


def _models(selection: Selection, *, cascade: bool) -> list[type[Model]]:
    """Return the models all of whose rows are meant: those that are named, and those that refer to what is named."""
    found = {model_of(label): None for label in selection.models}
    if cascade:
        named = [*selection.models, *(label for label, _ in selection.rows)]
        found |= {other: None for label in named for other in referring(model_of(label))}
    return list(found)


# ---------------------------------------------------------------- models and rows


def model_of(target: Any) -> type[Model]:
    """Return a model by itself or by its label. TypeError and ValueError for what has no rows."""
    if isinstance(target, str):
        app_label, _, name = target.lower().partition(".")
        configs = [config for config in apps.get_app_configs() if config.label.lower() == app_label]
        try:
            target = configs[0].get_model(name)
        except LookupError as error:  # an IndexError is one
            raise ValueError(f'{target!r} is no model; write it as "app.Model"') from error
    return with_rows(target)


def referring(model: type[Model]) -> list[type[Model]]:
    """Return the models with a foreign key to this one, in the order of their labels: one level."""
    relations: Iterable[Any] = model._meta.get_fields(include_hidden=True)  # related_name="+" hides one
    found = {
        relation.related_model
        for relation in relations
        if relation.auto_created
        and not relation.concrete
        and relation.related_model is not model
        and not relation.related_model._meta.auto_created
    }
    return sorted(found, key=lambda one: one._meta.label)


def row_words(model: type[Model], pk: Any) -> list[str]:
    """Return the words of one row. ValueError for what is no primary key of the model."""
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
