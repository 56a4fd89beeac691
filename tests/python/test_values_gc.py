"""Storing while finalisers change what is being stored: the collector may run in any allocation."""

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from oxicache._native import _freeze, _thaw

INNER = 150  # more than the freed lists and dicts that CPython keeps, whose reuse is no allocation


class Saboteur:
    """Garbage in a cycle of its own, which changes every container of its victim when it is collected."""

    def __init__(self, victim: list[Any], change: Any) -> None:
        self.victim, self.change, self.cycle = victim, change, self

    def __del__(self) -> None:
        self.change(self.victim)


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector's settings are the test's own."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.enable()


def make_victim() -> list[Any]:
    rows = [{f"k{at}": at, "list": [at, at], "set": {at}} for at in range(INNER)]
    return [*rows, (rows[0]["list"][:], 1), dict.fromkeys(range(40), "x")]


def emptied(victim: list[Any]) -> None:
    for row in victim[:INNER]:
        row["list"].clear()
        row["set"].clear()
        row.clear()
    victim.clear()


def grown(victim: list[Any]) -> None:
    for row in victim[:INNER]:
        row["list"].extend(range(100))
        row["set"].update(range(100))
        row.update(dict.fromkeys(range(100)))
    victim.extend([[], {}] * 100)


def is_whole(copy: list[Any], size: int, row: int) -> bool:
    return len(copy) == size and all(len(item) == row for item in copy[:INNER])


class TestFinalisers:
    @pytest.mark.parametrize(("change", "size", "row"), [(emptied, 0, 0), (grown, INNER + 202, 103)])
    def test_a_copy_is_of_one_moment(self, change: Any, size: int, row: int, collector: None) -> None:
        """Whenever a finaliser changes the value, the stored copy is of before or of after: never of between."""
        for number in range(250):
            gc.disable()
            victim = make_victim()
            Saboteur(victim, change)
            # CPython 3.11 collects in the allocation that exceeds the threshold: one after the other of the copying's.
            gc.set_threshold(gc.get_count()[0] + 2 * number, 1, 1)
            gc.enable()
            stored = _freeze(victim)[0]
            gc.disable()
            copy = _thaw(stored)
            assert is_whole(copy, INNER + 2, 3) or is_whole(copy, size, row)

    @pytest.mark.parametrize("on", [True, False])
    @pytest.mark.parametrize(
        "value", [[{"a": [1]}], [object], [lambda: 1]], ids=["tree", "pickled", "refused"]
    )
    def test_the_collector_stays_as_it_was(self, on: bool, value: Any) -> None:
        """Storing and reading leave the collector on or off, as they found it, errors included."""
        was_enabled = gc.isenabled()
        try:
            (gc.enable if on else gc.disable)()
            try:
                _thaw(_freeze(value)[0])
            except Exception:  # noqa: BLE001 - which error is no matter here; the refused value has one
                assert callable(value[0])
            assert gc.isenabled() is on
        finally:
            (gc.enable if was_enabled else gc.disable)()

    def test_pickling_runs_with_the_collector_on(self) -> None:
        """Python code that pickling calls runs with the collector as it is for all."""
        observed: list[bool] = []

        class Observer:
            def __reduce__(self) -> Any:
                observed.append(gc.isenabled())
                return (list, ())

        assert gc.isenabled()
        assert _thaw(_freeze([{"a": [1]}, Observer()])[0]) == [{"a": [1]}, []]
        assert observed == [True]


def is_row_set(rows: list[Any]) -> bool:
    return len(rows) == 50 and all(len(row) == 2 and len(row["list"]) == 2 for row in rows)


class TestThreads:
    def test_readers_and_writers_of_one_value(self) -> None:
        """Threads that store, change and read one nested value get whole copies."""
        rows = [{"n": 0, "list": [0, 0]} for _ in range(50)]
        failures: list[object] = []
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                for row in rows:
                    row["list"] = [1, 1]
                    row["n"] = row["list"][0]
                rows[:] = [{"n": 0, "list": [0, 0]} for _ in range(50)]

        def store() -> None:
            stored = _freeze(rows)[0]
            for _ in range(300):
                stored, last = _freeze(rows)[0], stored
                copies = [_thaw(stored), _thaw(last)]
                failures.extend(copy for copy in copies if not is_row_set(copy))

        changer, storers = threading.Thread(target=change), [threading.Thread(target=store) for _ in range(3)]
        changer.start()
        for thread in storers:
            thread.start()
        for thread in storers:
            thread.join()
        stop.set()
        changer.join()
        assert failures == []
