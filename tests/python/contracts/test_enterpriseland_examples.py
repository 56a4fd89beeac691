"""Document 003 (EnterpriseLand): its commands, as they are typed. What they print: test_enterpriseland_commands.py.

Its other examples: test_enterpriseland_responses.py, test_enterpriseland_invalidation.py,
test_enterpriseland_monitor.py, test_enterpriseland_functions.py.
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
