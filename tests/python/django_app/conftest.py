"""Every test of this folder runs in Django's test environment, with databases that are empty at its start."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _databases(django_databases: None) -> None:
    """Session scope: a TestCase opens its transaction in setUpClass, before any fixture of a function."""
