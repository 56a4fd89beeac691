"""Every test of this folder runs in Django's test environment, with databases that are empty at its start."""

import itertools
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _databases(django_databases: None) -> None:
    """Session scope: a TestCase opens its transaction in setUpClass, before any fixture of a function."""


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
