"""Enumerators of what needs no server, under the contract of all; who has one, and what others are told."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from contracts.enumerator_contract import EnumeratorContract, cache_table

_numbers = itertools.count()


class TestNativeCache(EnumeratorContract):
    def place(self) -> dict[str, Any]:
        return {
            "BACKEND": "oxicache.django.backends.NativeCache",
            "LOCATION": f"enumerated-{next(_numbers)}",
            # Of thousands of writes a few share a version word with another key, which they outdate.
            "OPTIONS": {"COHERENCE": "process"},
        }


class TestLocMemCache(EnumeratorContract):
    def place(self) -> dict[str, Any]:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": f"enumerated-{next(_numbers)}",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Any]]:
    """An entry of CACHES whose table exists, in the database of the tests."""
    with cache_table() as place:
        yield place


class TestDatabaseCache(EnumeratorContract):
    shares_threads = False

    @pytest.fixture(autouse=True)
    def _place(self, table: dict[str, Any]) -> None:
        self.table = table

    def place(self) -> dict[str, Any]:
        return self.table
