"""What `invalidate_on` names: the models whose changes outdate a view's responses, watched before anybody asks for one.

Modules of views are imported when models are loaded, or while they are: then they wait until the app is ready. What a
response was made with is compared by version words: words.py.
"""

import functools
from collections.abc import Callable
from typing import Any

from oxicache.django import labels, signals, words
from oxicache.versions import MAX_WORDS

__all__ = ["words_of"]


def words_of(models: tuple[Any, ...]) -> Callable[[], list[str]] | None:
    """Return what gives the version words of these models; None where there are none.

    ValueError names what is no model: here where models are loaded, else when they are.
    """
    if not models:
        return None
    signals.when_complete(functools.partial(_words, models))
    return lambda: list(_words(models))


@functools.cache
def _words(models: tuple[Any, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in models:
        try:
            model = labels.model_named(name)
        except ValueError as error:
            raise ValueError(f"invalidate_on: {error}") from error
        signals.watch(model)
        found |= dict.fromkeys(words.model_words(model))
    if len(found) > MAX_WORDS:
        raise ValueError(
            f"invalidate_on={models!r} makes {len(found)} version words; {MAX_WORDS} is the limit"
        )
    return tuple(found)
