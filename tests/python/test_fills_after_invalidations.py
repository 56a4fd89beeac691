"""A process invalidates something else between its miss and its `set`: what it stores is still what it read before."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_worker import CacheWorker, caching


@pytest.fixture(scope="module")
def pair() -> Iterator[list[CacheWorker]]:
    directory = Path(tempfile.mkdtemp(prefix="ox"))
    with caching(directory) as workers:
        yield workers
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize(
    "other",
    [
        ["delete", "other"],
        ["delete_by_tag", "other"],
        ["invalidate_patterns", ["other:*"]],
        ["delete_pattern", "other:*"],
        ["clear"],
    ],
    ids=lambda other: other[0],
)
def test_a_fill_stays_one(pair: list[CacheWorker], other: list[Any]) -> None:
    """What was read before another process changed the key is not kept, whatever else was invalidated meanwhile."""
    one, two = (worker.cache() for worker in pair)
    key = f"key of {other[0]}"
    assert one.get(key) is None  # what it reads from its source is old as soon as ...
    two.do("delete", key)  # ... the other has changed that
    one.do(*other)
    one.do("set", key, "old")
    assert one.get(key) is None
