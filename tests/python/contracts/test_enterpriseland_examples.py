"""Document 003 (EnterpriseLand): its commands as they are typed, its cached methods and functions.

What the commands print: test_enterpriseland_commands.py.

Its other examples: test_enterpriseland_responses.py, test_enterpriseland_invalidation.py,
test_enterpriseland_monitor.py.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dialect_requests import own_responses
from django.core.cache import caches
from django.core.management import call_command
from document_pages import Example, example

from oxicache import testing
from oxicache.compat.enterpriseland import cache_manager


@pytest.fixture(autouse=True)
def _site(django_databases: None) -> Iterator[None]:
    with own_responses():
        yield


@example("003", "Cache Management")
def test_cache_management(shown: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """003, "Cache Management": each does what the comment above it says; those that warm are still to come."""
    monkeypatch.chdir(tmp_path)
    cache: Any = caches["default"]
    cache.set("a", 1, tags=["user"])
    cache.set("user:1", 2)
    cache.set("b", 3)
    found = {}
    for words in shown.commands():
        out = io.StringIO()
        call_command(*words, stdout=out)
        found[" ".join(words[1:])] = out.getvalue(), [key for key in ("a", "user:1", "b") if key in cache]
    assert [left for _, left in found.values()] == [
        ["user:1", "b"],
        *[["b"]] * 7,
        [],
    ]
    said = {command: text for command, (text, _) in found.items()}
    assert said["invalidate --tags user profile"].startswith("Invalidated 1 cache entries\n")
    assert said["invalidate --pattern ^user:.*"].startswith("Invalidated 1 cache entries\n")
    assert "auth.User" in said["invalidate --model=auth.User"]
    assert "CACHE STATUS" in said["status"]
    assert "Cache Health Monitor" in said["monitor"]
    assert "cache_hit_rate" in said["monitor --export=prometheus"]
    assert "Recommendations:" in said["optimize"]
    assert "recommendations" in json.loads((tmp_path / "recommendations.json").read_text("utf-8"))
    assert said["clear"] == "Cleared all caches\n"


@example("003", "Method Caching")
def test_method_caching(shown: Example) -> None:
    """003, "Method Caching": for five minutes, under the key and with the tags that its functions say."""
    fetched: list[int] = []

    def fetch_user_data(user_id: int) -> dict[str, int]:
        fetched.append(user_id)
        return {"id": user_id}

    service = shown.run(fetch_user_data=fetch_user_data)["DataService"]
    with testing.clock() as clock:
        for user_id in (1, 1, 2):
            assert service().get_user_data(user_id) == {"id": user_id}
        assert fetched == [1, 2]
        cache_manager.invalidate("tag", tags=["user:1"])
        for user_id in (1, 2):
            service().get_user_data(user_id)
        assert fetched == [1, 2, 1]
        clock.advance(301)
        service().get_user_data(2)
        assert fetched == [1, 2, 1, 2]


@example("003", "Smart Caching")
def test_smart_caching(shown: Example) -> None:
    """003, "Smart Caching": a result lives the longer the more often it is asked for, within the two limits."""
    computed: list[tuple[int, int]] = []

    def complex_calculation(param1: int, param2: int) -> int:
        computed.append((param1, param2))
        return param1 * param2

    calculate = shown.run(complex_calculation=complex_calculation)["expensive_calculation"]
    with testing.clock() as clock:
        assert [calculate(2, 3), calculate(2, 3), calculate(param1=2, param2=3)] == [6, 6, 6]
        assert computed == [(2, 3)]
        assert calculate.get_stats(2, 3)["count"] == 3
        clock.advance(3601)
        assert calculate(2, 3) == 6
        assert len(computed) == 2, "no result outlives max_timeout"
        assert calculate.invalidate(2, 3) == 1
        assert calculate(2, 3) == 6
        assert len(computed) == 3
