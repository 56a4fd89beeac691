"""`get_data_with_fallback`: what document 000 shows, with one caller computing and the cache's failures kept apart."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from test_store import FailingCache  # its every operation raises

from oxicache import TTLCache, cache_manager, decorators, store
from oxicache.compat import akvo_rsr
from oxicache.decorators import aget_data_with_fallback, get_data_with_fallback, get_or_compute

NAME = "fallback"


@pytest.fixture(autouse=True)
def _from_zero() -> Iterator[None]:
    store.forget_failures()
    yield
    store.forget_failures()
    for name in (NAME, "default"):
        cache_manager.remove(name)


class FailingManager:
    """Whatever is asked for is broken."""

    def get_cache(self, name: str) -> Any:
        return FailingCache(OSError("gone"))


def failing() -> Any:
    raise ZeroDivisionError


def test_the_signature_is_the_documented_one() -> None:
    """000, "Graceful Degradation": key, compute_func, and the name of a cache, which is `default`."""
    for function in (get_data_with_fallback, aget_data_with_fallback):
        parameters = inspect.signature(function).parameters
        assert list(parameters) == ["key", "compute_func", "cache_name"]
        assert parameters["cache_name"].default == "default"
    assert akvo_rsr.get_data_with_fallback is get_data_with_fallback


def test_a_value_is_computed_once() -> None:
    """The cache is the process's of that name; `default` is one of its own, and not Django's."""
    assert get_data_with_fallback("a", lambda: 1) == 1
    assert get_data_with_fallback("a", lambda: 2) == 1
    assert cache_manager.get_cache("default").get("a") == 1
    assert get_data_with_fallback("a", lambda: 2, cache_name=NAME) == 2
    assert get_or_compute("a", lambda: 3, cache=NAME) == 2


def test_none_is_a_value() -> None:
    """What computes to None is kept as anything else is."""
    assert get_data_with_fallback("a", lambda: None, NAME) is None
    assert get_data_with_fallback("a", failing, NAME) is None


def test_a_cache_that_fails_is_a_miss_and_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets its value each time; the log one line for each kind of operation."""
    monkeypatch.setattr(decorators, "cache_manager", FailingManager())
    with caplog.at_level(logging.WARNING):
        assert [get_data_with_fallback("a", lambda: 1) for _ in range(3)] == [1, 1, 1]
    operations = [message.split(" failed in ")[1].split(" ")[0] for message in caplog.messages]
    assert operations
    assert len(operations) == len(set(operations))
    assert "gone" in caplog.messages[0]
    assert store.failure_counts()["broken"] >= 3


def test_what_the_computation_raises_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not kept, and a failing cache does not hide it."""
    with pytest.raises(ZeroDivisionError):
        get_data_with_fallback("a", failing, NAME)
    assert get_data_with_fallback("a", lambda: 1, NAME) == 1
    monkeypatch.setattr(decorators, "cache_manager", FailingManager())
    with pytest.raises(ZeroDivisionError):
        get_data_with_fallback("a", failing)


def test_one_caller_computes_for_all() -> None:
    """Eight threads that miss at once make one computation."""
    ready, calls = threading.Barrier(8), []
    is_computing, is_waited_for = threading.Event(), threading.Event()

    def compute() -> str:
        calls.append(1)
        is_computing.set()
        is_waited_for.wait(10)
        return "value"

    found: list[str] = []

    def ask() -> None:
        ready.wait(10)
        found.append(get_data_with_fallback("a", compute, NAME))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert is_computing.wait(10)
    is_waited_for.set()
    for thread in threads:
        thread.join(10)
    assert (found, calls) == (["value"] * 8, [1])


def test_the_twin_is_awaited() -> None:
    """aget_data_with_fallback shares its entries, computes once for all tasks, and lets exceptions pass."""
    calls = []

    async def compute() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return 7

    async def broken() -> int:
        raise ZeroDivisionError

    async def main() -> list[int]:
        return await asyncio.gather(*(aget_data_with_fallback("a", compute, NAME) for _ in range(5)))

    assert asyncio.run(main()) == [7] * 5
    assert calls == [1]
    assert get_data_with_fallback("a", failing, NAME) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(aget_data_with_fallback("b", broken, NAME))


def test_a_key_that_cannot_be_one_is_refused() -> None:
    """An unhashable key is wrong use, and no failure of the cache that may be passed over."""
    with pytest.raises(TypeError, match="unhashable"):
        get_data_with_fallback([], lambda: 1, NAME)
    assert isinstance(cache_manager.get_cache(NAME), TTLCache)
