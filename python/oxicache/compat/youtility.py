"""The names of the YOUTILITY5 document: `apps.core.caching.utils`, `.invalidation` and `.decorators`.

Tenant, client and unit are those of the session where the settings name nobody else. There a missing one was taken for
1, and 0 for a missing one; here it raises `oxicache.errors.MissingScopeError`, and 0 is an id.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.db.models import Model
from django.http import HttpRequest

from oxicache import keys
from oxicache.django import conf, invalidate, rules
from oxicache.django.labels import model_named
from oxicache.django.responses import arguments, cached_view
from oxicache.django.responses.decorating import Decorator
from oxicache.django.scope import SESSION, UNKNOWN, Scope, scope_of
from oxicache.django.signals import ancestors
from oxicache.errors import CannotEnumerateError, MissingScopeError
from oxicache.invalidation import operations_of

__all__ = [
    "CACHE_TIMEOUTS",
    "CacheInvalidationManager",
    "cache_dashboard_metrics",
    "cache_dropdown_data",
    "cache_invalidation_manager",
    "cache_key_generator",
    "cache_with_invalidation",
    "clear_cache_pattern",
    "get_tenant_cache_key",
    "get_user_cache_key",
    "invalidate_cache_pattern",
    "invalidate_model_caches",
    "smart_cache_view",
]

_V = TypeVar("_V", bound=Callable[..., Any])

MAX_KEY_CHARS = 240  # as there; memcached's 250 less Django's own prefix and version
HASH_CHARS = 16
PARAMS_HASH_CHARS = 12

# As there.
DEFAULT_TTL: Final = 1800.0  # seconds
CACHE_TIMEOUTS: Final = conf.Timeouts()
IGNORED_PARAMS: Final = ("_", "nocache", "timestamp")  # what scripts add so that browsers ask again
STATUS_HEADER: Final = "X-Cache-Status"


def get_tenant_cache_key(  # noqa: PLR0917 -- the document's own order
    base_key: str,
    request: HttpRequest | None = None,
    tenant_id: Any = None,
    client_id: Any = None,
    bu_id: Any = None,
    include_version: bool = False,
) -> str:
    """Return `tenant:1:client:2:bu:3:<base_key>`; `base_key` is taken as it is.

    Ids that are given win over the session's. With a tenant and no request the ids that are not given are left out;
    with neither, the tenant is that of `oxicache.django.scope.use_scope`. `include_version` adds `:v:` and the VERSION
    of CACHES["default"].
    """
    given = {"tenant": tenant_id, "client": client_id, "unit": bu_id}
    scope = _scope(request, {name: value for name, value in given.items() if value is not None})
    if include_version:
        base_key = f"{base_key}:v:{caches[DEFAULT_CACHE_ALIAS].version}"
    return _key(scope, base_key)


def get_user_cache_key(
    base_key: str, user_id: Any, request: HttpRequest | None = None, include_tenant: bool = True
) -> str:
    """Return `tenant:1:client:2:bu:3:user:4:<base_key>`; `user:4:<base_key>` without a request or `include_tenant`."""
    if user_id is None:
        raise MissingScopeError(["user"])
    if request is None or not include_tenant:
        return _key(Scope(user=user_id), base_key)
    return _key(_scope(request, {"user": user_id}), base_key)


def cache_key_generator(
    prefix: str,
    *args: Any,
    request: HttpRequest | None = None,
    params: keys.Params | None = None,
    version: Any = None,
) -> str:
    """Return `<prefix>:<args>:params:<12 digits of an MD5 digest>:v:<version>`, within the tenant of a request.

    Twelve digits are 48 bits: where strangers choose the params, `keys.make_key` spells them instead.
    """
    segments = [prefix, *(keys.spell(arg, f"argument {number}") for number, arg in enumerate(args, 1))]
    if spelt := keys.spell_params(params or {}):
        segments += ["params", _digest(":".join(spelt))[:PARAMS_HASH_CHARS]]
    if version is not None:
        segments += ["v", keys.escape(str(version))]
    return _key(Scope() if request is None else _scope(request, {}), ":".join(segments))


def _scope(request: HttpRequest | None, given: dict[str, Any]) -> Scope:
    if request is not None:
        return scope_of(request, per_user=False, otherwise=SESSION, **given)
    if "tenant" in given:
        return Scope(**given)
    found = scope_of(None, per_user=False, **given)
    return replace(found, tenant=UNKNOWN) if found.tenant is None else found


def _key(scope: Scope, base_key: str) -> str:
    """A key with its readable start even where it is hashed: there a hashed one was found by no pattern."""
    prefix = scope.prefix()
    key = f"{prefix}:{base_key}" if prefix else base_key
    if len(key) <= MAX_KEY_CHARS:
        return key
    return keys.shortened(key, MAX_KEY_CHARS, f"hash:{_digest(key)[:HASH_CHARS]}")


def _digest(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


# ---------------------------------------------------------------- invalidation


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


# ---------------------------------------------------------------- views


def smart_cache_view(  # noqa: PLR0917 -- the document's own order
    timeout: float | timedelta | None = None,
    key_prefix: str = "",
    per_user: bool | None = None,
    per_tenant: bool = True,
    cache_anonymous: bool = True,
    vary_headers: Iterable[str] | None = None,
    invalidate_on: Iterable[type[Model] | str] | None = None,
    **options: Any,
) -> Callable[[_V], _V]:
    """Cache what a view, a function or a method, returns to GET; `X-Cache-Status` says HIT, MISS or STALE.

    `timeout` None is what CACHE_TIMEOUTS has for the prefix, "DASHBOARD_METRICS" for "dashboard:metrics", else 1800 s.
    `per_user` omitted tells users apart who are logged in; False shares entries within the tenant, which only a view
    that does not look at the user can do. The tenant is the session's where the settings name nobody; without one
    nothing is cached. `vary_headers` is `vary_on` of `cached_view`, whose the other options are.
    """
    arguments.called("smart_cache_view", timeout)
    return _smart(
        None,
        timeout,
        key_prefix,
        per_user,
        per_tenant,
        vary_on=vary_headers,
        cache_anonymous=cache_anonymous,
        invalidate_on=invalidate_on,
        **options,
    )


def _smart(  # noqa: PLR0917 -- what each of these decorators says
    name: str | None,
    timeout: float | timedelta | None,
    key_prefix: str,
    per_user: bool | None,
    per_tenant: bool = True,
    invalidate_on: Iterable[type[Model] | str] | None = None,
    **options: Any,
) -> Callable[[_V], _V]:
    with arguments.spelt_as("smart_cache_view", vary_on="vary_headers"):
        made = cached_view(
            DEFAULT_TTL if timeout is None else timeout,
            key_prefix,
            per_user=per_user,
            per_tenant=per_tenant,
            ignored_params=IGNORED_PARAMS,
            invalidate_on=invalidate_on or (),
            **options,
        ).cache
    ttl_name = key_prefix.upper().replace(":", "_") if name is None else name
    ttl = functools.partial(_named_ttl, ttl_name) if timeout is None else made.ttl
    keying = replace(made.keying, otherwise=SESSION)
    decorator = Decorator(replace(made, ttl=ttl, keying=keying, header=STATUS_HEADER))
    config = {
        "key_prefix": key_prefix,
        "per_user": per_user,
        "per_tenant": per_tenant,
        "invalidate_on": invalidate_on,
    }

    def decorate(view: _V) -> _V:
        decorated: Any = decorator(view)
        decorated._cache_config = config
        return decorated  # type: ignore[no-any-return]

    return decorate


def cache_dropdown_data(
    timeout: float | timedelta | None = None,
    model_name: str | None = None,
    *,
    per_user: bool | None = None,
    **options: Any,
) -> Callable[[_V], _V]:
    """Cache the choices that a view answers, until rows of the model change: `smart_cache_view` of `dropdown:<model>`.

    `timeout` None is CACHE_TIMEOUTS["DROPDOWN_DATA"].
    """
    arguments.called("cache_dropdown_data", timeout)
    arguments.text("model_name", model_name)
    prefix = "dropdown" if model_name is None else f"dropdown:{model_name.rpartition('.')[2].lower()}"
    invalidate_on = None if model_name is None else [model_name]
    return _smart("DROPDOWN_DATA", timeout, prefix, per_user, invalidate_on=invalidate_on, **options)


def cache_dashboard_metrics(
    timeout: float | timedelta | None = None, per_user: bool | None = None, **options: Any
) -> Callable[[_V], _V]:
    """`smart_cache_view` of `dashboard:metrics`, whose `timeout` None is CACHE_TIMEOUTS["DASHBOARD_METRICS"]."""
    arguments.called("cache_dashboard_metrics", timeout)
    return smart_cache_view(timeout, "dashboard:metrics", per_user, **options)


def cache_with_invalidation(
    timeout: float | timedelta | None,
    cache_key: str,
    invalidate_on: Iterable[type[Model] | str],
    per_tenant: bool = True,
    *,
    per_user: bool | None = None,
    **options: Any,
) -> Callable[[_V], _V]:
    """`smart_cache_view` of the prefix `cache_key`, until rows of these models change."""
    arguments.called("cache_with_invalidation", timeout)
    with arguments.spelt_as("cache_with_invalidation", key_prefix="cache_key"):
        return smart_cache_view(
            timeout, cache_key, per_user, per_tenant, invalidate_on=invalidate_on, **options
        )


def _named_ttl(name: str) -> float | None:
    return CACHE_TIMEOUTS.get(name, DEFAULT_TTL)
