"""What tests of rules ask: what was carried out, and who listens to a model."""

from collections.abc import Callable
from typing import TypeAlias

from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_save

from oxicache.invalidation import Effect

Register: TypeAlias = Callable[..., Callable[[], None]]  # the fixture `register`


def listens(model: type[models.Model]) -> tuple[bool, bool, bool]:
    """Whether anything listens to saves, deletions and relations of a model."""
    return post_save.has_listeners(model), post_delete.has_listeners(model), m2m_changed.has_listeners(model)


def keys_in(carried: list[Effect]) -> set[str]:
    """All keys that were carried out so far, which are forgotten."""
    found = {key for effect in carried for part in (effect.as_names(), *effect.also) for key in part.keys}
    carried.clear()
    return found


def keys_of(effect: Effect) -> set[str]:
    """The keys and globs of an effect."""
    return set(effect.keys | effect.globs)
