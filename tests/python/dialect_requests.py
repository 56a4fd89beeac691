"""Requests of visitors, as the middleware leaves them, and views that count, for tests of the dialects' decorators."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asked_views import Counter, Session
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject

import oxicache.compat.the_bot  # noqa: F401 -- says once how its keys are spelt: before any test looks

__all__ = ["ANN", "BOB", "TENANT", "Counter", "asked", "bodies", "own_responses"]

ANN, BOB = User(pk=1, username="ann"), User(pk=2, username="bob", is_staff=True)
TENANT = {
    "tenant_id": 1,
    "client_id": 2,
    "bu_id": 3,
}  # of a session. Source: document 004, "Tenant-Aware Caching"

_numbers = itertools.count()


def asked(
    path: str = "/page/",
    user: User | None = None,
    session: dict[str, Any] | None = None,
    method: str = "GET",
    **extra: Any,
) -> HttpRequest:
    """A request of a visitor who is logged in, has a session, or neither."""
    request = RequestFactory().generic(method, path, **extra)
    content = dict(session or {}, **({"_auth_user_id": str(user.pk)} if user else {}))
    request.session = Session(content)
    if content:
        request.COOKIES["sessionid"] = "key"

    def load() -> Any:
        request.session.get("_auth_user_id")
        return user or AnonymousUser()

    request.user = SimpleLazyObject(load)  # type: ignore[assignment]
    return request


def bodies(view: Callable[..., Any], *requests: HttpRequest) -> list[str]:
    """What a view answers to each of these, in this order."""
    return [view(request).content.decode() for request in requests]


@contextmanager
def own_responses(**others: Any) -> Iterator[None]:
    """Have CACHES["default"] be an empty NativeCache, and other aliases as given."""
    native = {
        "BACKEND": "oxicache.django.backends.NativeCache",
        "LOCATION": f"dialect-responses-{next(_numbers)}",
    }
    with override_settings(CACHES={"default": native, **others}):
        yield


def visit(path: str = "/page/", user: Any = None, tenant: int | None = 1, **extra: Any) -> HttpRequest:
    """A request of somebody whose session knows a tenant."""
    session = {} if tenant is None else {**TENANT, "tenant_id": tenant}
    return asked(path, user, session, **extra)


def statuses(view: Any, *requests: HttpRequest) -> list[str | None]:
    """What the headers of document 004 say of the answers."""
    return [view(request).get("X-Cache-Status") for request in requests]
