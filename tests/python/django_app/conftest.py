"""Every test of this folder runs in Django's test environment, with databases that are empty at its start."""

import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django_leftovers import remove_rows
from whole_site import has_users, site_anywhere, site_last

from oxicache.django.rules import model_dependencies
from oxicache.invalidation import Effect
from oxicache.trail import Note, trail

__all__ = [  # fixtures of several files: SiteCacheMiddleware in its places
    "has_users",
    "site_anywhere",
    "site_last",
]

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _databases(django_databases: None) -> None:
    """Session scope: a TestCase opens its transaction in setUpClass, before any fixture of a function."""


@pytest.fixture
def empty_map() -> Iterator[None]:
    """Nothing that a test put into the map of dependencies stays there."""
    yield
    model_dependencies.clear()


@pytest.fixture
def no_rows() -> Iterator[None]:
    """Nothing that a test saves stays in the databases."""
    yield
    remove_rows()


@pytest.fixture
def client() -> Client:
    """A visitor of whom nothing is known."""
    return Client()


@pytest.fixture
def staff() -> Iterator[Client]:
    """A visitor who is logged in as staff."""
    yield from _logged_in(is_staff=True)


@pytest.fixture
def member() -> Iterator[Client]:
    """A visitor who is logged in, and no staff."""
    yield from _logged_in(is_staff=False)


def _logged_in(*, is_staff: bool) -> Iterator[Client]:
    user = User.objects.create_user(f"visitor-{next(_numbers)}", is_staff=is_staff)
    client = Client()
    client.force_login(user)
    yield client
    user.delete()
    Session.objects.all().delete()


@pytest.fixture
def register() -> Iterator[Callable[..., Callable[[], None]]]:
    """Register rules, of a Rule's arguments, for one test."""
    from oxicache.django.rules import Rule, register_rule

    ends: list[Callable[[], None]] = []

    def one(*args: Any, **kwargs: Any) -> Callable[[], None]:
        ends.append(register_rule(Rule(*args, **kwargs)))
        return ends[-1]

    yield one
    for end in ends:
        end()


@pytest.fixture
def group() -> Iterator[Group]:
    """A row of a model that nothing watches but the rules of a test."""
    one = Group.objects.create(name="rules")
    yield one
    Group.objects.filter(name__startswith="rules").delete()


@pytest.fixture
def carried() -> Iterator[list[Effect]]:
    """What is to be invalidated in caches, as it comes; nothing is carried out."""
    from oxicache.django import marks

    found: list[Effect] = []
    before = list(marks._executors)

    def carry_out(effect: Effect, notes: Collection[Note]) -> None:
        found.append(effect)
        trail.enter(notes)

    marks.carry_out_with(carry_out)
    yield found
    marks._executors[:] = before
