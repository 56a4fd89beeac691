"""How long a full garbage collection stops a process that holds a million entries: one child for each case.

The keys and values are also held in lists, as in memory.py, so "lists" is what the collector spends on the
values themselves and on the rest of the process; what a container adds is the difference to that.

    python benches/pauses.py TTLCache str 1000000 15     (what run.py starts)
"""

import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Any

from memory import FILLS, MILLION
from rows import Result

ROW = "gc.collect"
HOLDERS = ("lists", "dict", "TTLCache", "cachebox.TTLCache", "cachetools.TTLCache")
VALUES: dict[str, Callable[[int], Any]] = {"str": str, "list": lambda number: [number]}


def measure_here(holder: str, kind: str, count: int, rounds: int) -> list[float]:
    """Milliseconds of each of `rounds` full collections in this process."""
    keys = [f"key:{number:09d}" for number in range(count)]
    values = [VALUES[kind](number) for number in range(count)]
    cache = None if holder == "lists" else FILLS[holder](keys, values)
    gc.collect()
    pauses = []
    for _ in range(rounds):
        started = perf_counter_ns()
        gc.collect()
        pauses.append((perf_counter_ns() - started) / 1e6)
    del cache
    return pauses


def _in_child(holder: str, kind: str, count: int, rounds: int) -> float:
    command = [sys.executable, __file__, holder, kind, str(count), str(rounds)]
    child = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 (this very file)
    pauses: list[float] = json.loads(child.stdout)
    return statistics.median(pauses)


def results(rounds: int, count: int = MILLION) -> Iterator[Result]:
    """One result for each kind of value and each thing that could hold the entries instead of TTLCache."""
    for kind in VALUES:
        pauses = {holder: _in_child(holder, kind, count, rounds) for holder in HOLDERS}
        for holder in HOLDERS:
            if holder == "TTLCache":
                continue
            ratio = pauses["TTLCache"] / pauses[holder]
            yield Result(
                row=f"{ROW}, {kind} values/{count:_}",
                against=holder,
                judged=ratio,
                ours=pauses["TTLCache"],
                theirs=pauses[holder],
                per="ms",
                gross=ratio,
            )


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
