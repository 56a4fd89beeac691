"""What `invalidate_on` names: the models whose changes outdate a view's responses, watched before anybody asks for one.

Modules of views are imported when models are loaded, or while they are: then they wait until the app is ready. What a
response was made with is compared by version words: words.py.
"""

import functools
from collections.abc import Callable
from typing import Any

from django.db.models import Model

from oxicache.django import labels, signals, words
from oxicache.versions import MAX_WORDS

__all__ = ["words_of"]


def words_of(models: tuple[Any, ...]) -> Callable[[], list[str]] | None:
    """Return what gives the version words of these models; None where there are none.

    ValueError names what is no model: here where models are loaded, else when they are.
    """
    if not models:
        return None
    signals.when_complete(functools.partial(_found, models))
    return functools.partial(_found, models)


def _found(models: tuple[Any, ...]) -> list[str]:
    known, names = _named(models)
    for model in known:
        signals.watch(model)
    return list(names)


@functools.cache
def _named(models: tuple[Any, ...]) -> tuple[tuple[type[Model], ...], tuple[str, ...]]:
    known, found = [], dict[str, None]()
    for name in models:
        try:
            known.append(labels.model_named(name))
        except ValueError as error:
            raise ValueError(f"invalidate_on: {error}") from error
        found |= dict.fromkeys(words.model_words(known[-1]))
    if len(found) > MAX_WORDS:
        raise ValueError(
            f"invalidate_on={models!r} makes {len(found)} version words; {MAX_WORDS} is the limit"
        )
    return tuple(known), tuple(found)
