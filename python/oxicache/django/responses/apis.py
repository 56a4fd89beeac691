"""`cached_api`: `cached_view` as document 003 spells it for what answers programs. What it does: serving.py."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, TypedDict, Unpack

from django.db.models import Model
from django.http import HttpRequest

from oxicache.django.responses import arguments
from oxicache.django.responses.asking import Tags
from oxicache.django.responses.decorating import DEFAULT_TTL, Decorator, cached_view
from oxicache.django.responses.policy import OF_ONE_CLIENT

__all__ = ["ANY_STATUS", "ERRORS", "ViewOptions", "cached_api"]

ERRORS: Final = frozenset(range(400, 600)) - OF_ONE_CLIENT
ANY_STATUS: Final = frozenset(range(200, 600)) - OF_ONE_CLIENT

_SPELT_OTHERWISE: Final = {
    "per_user": "vary_on_auth",
    "ignored_params": "vary_on_params",
    "statuses": "cache_errors",
}


class ViewOptions(TypedDict, total=False):
    """What `cached_view` takes, and `cached_api` passes on to it as it gets it."""

    vary_on: Iterable[str] | None
    tags: Tags | None
    per_tenant: bool
    cache_anonymous: bool
    key_func: Callable[..., Any] | None
    condition_func: Callable[..., Any] | None
    success_func: Callable[[Any], Any] | None
    scope: Callable[[HttpRequest], Any] | None
    max_bytes: int | None
    grace: float | timedelta
    invalidate_on: Iterable[type[Model] | str]
    alias: str


def cached_api(
    timeout: float | timedelta | str | None = DEFAULT_TTL,
    key_prefix: str | None = None,
    vary_on_auth: bool = True,
    vary_on_params: bool = True,
    cache_errors: bool = False,
    **options: Unpack[ViewOptions],
) -> Decorator:
    """Cache what an API answers to GET: JSON, what Django REST framework returns, or anything else.

    `vary_on_auth=False` shares entries among all users, as `per_user=False` of `cached_view` does;
    `vary_on_params=False` has the query in no key. `cache_errors` keeps errors too, statuses of 400 and more, for
    `timeout` or 60 s, whichever is less. The other options are those of `cached_view`. TypeError names a wrong one.
    """
    switches = {"vary_on_auth": vary_on_auth, "vary_on_params": vary_on_params, "cache_errors": cache_errors}
    arguments.called("cached_api", timeout)
    for name, given in switches.items():
        arguments.switch(name, given)
    for name, ours in _SPELT_OTHERWISE.items():
        if name in options:
            raise TypeError(f"cached_api takes no {name}; {ours} stands for it")
    return cached_view(
        timeout,
        key_prefix,
        per_user=None if vary_on_auth else False,
        ignored_params=() if vary_on_params else None,
        statuses={200, *ERRORS} if cache_errors else (200,),
        **options,
    )
