"""The decorators of views of document 004. What they do: oxicache/django/responses."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from django.db.models import Model

from oxicache.django import conf
from oxicache.django.responses import arguments, cached_view
from oxicache.django.responses.decorating import Decorator
from oxicache.django.scope import SESSION

__all__ = [
    "CACHE_TIMEOUTS",
    "cache_dashboard_metrics",
    "cache_dropdown_data",
    "cache_with_invalidation",
    "smart_cache_view",
]

_V = TypeVar("_V", bound=Callable[..., Any])

# As there.
DEFAULT_TTL: Final = 1800.0  # seconds
CACHE_TIMEOUTS: Final = conf.Timeouts()
IGNORED_PARAMS: Final = ("_", "nocache", "timestamp")  # what scripts add so that browsers ask again
STATUS_HEADER: Final = "X-Cache-Status"


def smart_cache_view(  # noqa: PLR0917 -- the document's own order
    timeout: float | timedelta | str | None = None,
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
    timeout: float | timedelta | str | None,
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
    timeout: float | timedelta | str | None = None,
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
    timeout: float | timedelta | str | None = None, per_user: bool | None = None, **options: Any
) -> Callable[[_V], _V]:
    """`smart_cache_view` of `dashboard:metrics`, whose `timeout` None is CACHE_TIMEOUTS["DASHBOARD_METRICS"]."""
    arguments.called("cache_dashboard_metrics", timeout)
    return smart_cache_view(timeout, "dashboard:metrics", per_user, **options)


def cache_with_invalidation(
    timeout: float | timedelta | str | None,
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
