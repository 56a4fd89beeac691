"""`cache_invalidation_manager` of document 004, and its functions that invalidate by pattern and by model."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.cache import DEFAULT_CACHE_ALIAS
from django.db.models import Model

from oxicache.django import invalidate, rules
from oxicache.django.labels import model_named
from oxicache.django.scope import Scope
from oxicache.django.signals import ancestors
from oxicache.errors import CannotEnumerateError
from oxicache.invalidation import operations_of

__all__ = [
    "CacheInvalidationManager",
    "cache_invalidation_manager",
    "clear_cache_pattern",
    "invalidate_cache_pattern",
    "invalidate_model_caches",
]


class CacheInvalidationManager:
    """Which key patterns depend on which models. Saves, deletions and many-to-many changes invalidate by themselves."""

    @property
    def model_dependencies(self) -> rules.DependencyMap:
        """The patterns by model, `app.Model` or a unique bare name. It may be assigned, and changed in place."""
        return rules.model_dependencies

    @model_dependencies.setter
    def model_dependencies(self, mapping: Mapping[str, Iterable[str]]) -> None:
        rules.model_dependencies.assign(mapping)

    def register_dependency(self, model_name: str, cache_patterns: Iterable[str]) -> None:
        """Add patterns that depend on a model; at import, so that every process has them. ValueError: no such model."""
        rules.register_dependency(model_name, cache_patterns)

    def get_patterns_for_model(self, model_name: str) -> set[str]:
        """Return the patterns that depend on a model, however it is spelt. ValueError: no such model."""
        return _patterns(model_named(model_name))

    def invalidate_for_model(self, instance: Model, operation: str = "update") -> dict[str, Any]:
        """Invalidate what depends on the model, in the tenant of this row; everywhere where its `tenant_id` is None.

        Returns model, operation, instance_id, errors, and how many entries went as `patterns_cleared`. By hand: it is
        not what signals call. ValueError for another operation than create, update, delete and m2m_change.
        """
        operations_of(operation)
        model = type(instance)
        cleared, errors = _cleared(_patterns(model), getattr(instance, "tenant_id", None))
        return {
            "model": model.__name__,
            "operation": operation,
            "instance_id": instance.pk,
            "patterns_cleared": cleared,
            "errors": errors,
        }


cache_invalidation_manager = CacheInvalidationManager()


def invalidate_model_caches(model_name: str, tenant_id: Any = None) -> dict[str, Any]:
    """Invalidate what depends on a model, in one tenant or in all: model, patterns_processed, total_cleared, errors.

    ValueError: no such model.
    """
    patterns = cache_invalidation_manager.get_patterns_for_model(model_name)
    cleared, errors = _cleared(patterns, tenant_id)
    return {
        "model": model_name,
        "patterns_processed": len(patterns),
        "total_cleared": cleared,
        "errors": errors,
    }


def invalidate_cache_pattern(pattern: str, tenant_id: Any = None) -> dict[str, Any]:
    """Invalidate the keys of a tenant, or of all, that have this pattern as whole segments: `clear_cache_pattern`.

    `pattern` in the result is what it was called there, `tenant:1:*dashboard*`.
    """
    shown = f"tenant:{'*' if tenant_id is None else tenant_id}:*{pattern}*"
    return _result(shown, _globs(pattern, tenant_id))


def clear_cache_pattern(pattern: str) -> dict[str, Any]:
    """Invalidate the keys of CACHES["default"] that a glob matches: pattern, keys_cleared, success.

    Where nobody can list the keys, `success` is False, `error` says why and `keys_cleared` is None. Inside a
    transaction `message` says that they go at the commit.
    """
    return _result(pattern, [pattern])


def _result(shown: str, globs: list[str]) -> dict[str, Any]:
    count, error, is_deferred = _cleared_globs(globs)
    result: dict[str, Any] = {"pattern": shown, "keys_cleared": count, "success": error is None}
    if error is not None:
        result["error"] = error
    elif is_deferred:
        result["message"] = "the keys are cleared at the commit of the transaction"
    return result


def _cleared(patterns: Iterable[str], tenant_id: Any) -> tuple[int, list[str]]:
    globs = [glob for pattern in patterns for glob in _globs(pattern, tenant_id)]
    if not globs:
        return 0, []
    count, error, _ = _cleared_globs(globs)
    return count or 0, [] if error is None else [error]


def _cleared_globs(globs: list[str]) -> tuple[int | None, str | None, bool]:
    """Return how many keys went, why none could, and whether they go later."""
    try:
        reached = invalidate(globs=globs, aliases=(DEFAULT_CACHE_ALIAS,))
    except CannotEnumerateError as error:
        return None, str(error), False
    why = reached.failures.get(DEFAULT_CACHE_ALIAS)
    return None if why else reached.total, why, reached.is_deferred


def _patterns(model: type[Model]) -> set[str]:
    """What depends on a model, or on one whose table a row of it has a part in, under all the names they were given."""
    tables = ancestors(model)
    return {
        pattern
        for name, patterns in rules.model_dependencies.items()
        if model_named(name)._meta.concrete_model in tables
        for pattern in patterns
    }


def _globs(pattern: str, tenant_id: Any) -> list[str]:
    """The pattern as whole segments of keys of a tenant; there it was looked for within words, too."""
    below = "tenant:*:" if tenant_id is None else f"{Scope(tenant=tenant_id).prefix()}:"
    return [f"{below}{start}{pattern}{end}" for start in ("", "*:") for end in ("", ":*")]
