"""What the contract tests of document 003 share: entries that depend on something, jobs by hand."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dialect_caches import BACKENDS, own_default
from django.contrib.auth.models import User

from oxicache.compat.enterpriseland import DependencyInvalidator, TagInvalidator, invalidation
from oxicache.scheduling import scheduler

__all__ = ["dependent", "forget_dependencies", "platform_cache", "run_later", "tagged", "user"]

_numbers = itertools.count()


@pytest.fixture(params=BACKENDS)
def platform_cache(request: pytest.FixtureRequest, django_databases: None) -> Iterator[Any]:
    """The default alias, empty."""
    with own_default(BACKENDS[request.param]) as default:
        yield default
    forget_dependencies()


def forget_dependencies() -> None:
    """End the rules that registered dependencies have made: other tests list those that there are."""
    for rules in invalidation._watched.values():
        for end in rules:
            end()
    invalidation._watched.clear()


@pytest.fixture
def run_later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass for the background jobs, and run those that are due."""
    clock = [0.0]
    monkeypatch.setattr(scheduler, "_clock", lambda: clock[0])
    monkeypatch.setattr(scheduler, "_is_threaded", False)
    monkeypatch.setattr(scheduler, "_queue", [])

    def run(seconds: float) -> None:
        clock[0] += seconds
        scheduler.run_due()

    return run


@pytest.fixture
def user() -> Iterator[User]:
    made = User.objects.create_user(f"platform-{next(_numbers)}")
    pk = made.pk
    yield made
    User.objects.filter(pk=pk).delete()


def tagged(cache: Any, key: str, *tags: str) -> str:
    """Store an entry and register its tags."""
    cache.set(key, "value")
    TagInvalidator().register_dependency(key, list(tags))
    return key


def dependent(cache: Any, key: str, model: Any, instance_id: Any = None) -> str:
    """Store an entry and register what it depends on."""
    cache.set(key, "value")
    DependencyInvalidator().register_dependency(key, model, instance_id)
    return key
