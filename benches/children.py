"""Processes that take samples when they are told to, for what cannot be compared within one process.

A `Child` is one process, as who compares sees it; `serve` is what runs in one that has tasks. Several that take turns:
sides.py. `results_of` is for a process that measures by itself, with settings of its own.
"""

import gc
import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns

from rows import Result, Target


class Child:
    """One process that runs `script`: it answers each line with a line, and says one number before the first."""

    def __init__(self, script: str, *arguments: str) -> None:
        command = [sys.executable, script, *arguments]
        self.process = subprocess.Popen(  # noqa: S603 (a script of this folder)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._read()

    def answer(self, line: int | str) -> int:
        """What it answers to a number, or to a line of its own kind."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._read()

    def end(self) -> None:
        """Let it end, and wait for that."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def _read(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


def results_of(script: str, *arguments: object) -> Iterator[Result]:
    """What a script prints, a Result a line as JSON, from a process of its own."""
    command = [sys.executable, script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 (a script of this folder)
        assert child.stdout is not None
        for line in child.stdout:
            found = json.loads(line)
            target = found.pop("target")
            spread = found.pop("spread")
            yield Result(
                **found,
                target=target and Target(**target),
                spread=spread and tuple(spread),
            )
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)


# ---------------------------------------------------------------- in the process of a side


@dataclass(frozen=True)
class Task:
    """`act` is timed; `prepare` goes before each, and `check` says once that `act` does what it claims."""

    act: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    check: Callable[[], object] = lambda: True


def serve(side: str, make: Callable[[], dict[str, Task]]) -> None:
    """Check each task once; then answer "TASK COUNT" with the nanoseconds that so many runs took.

    The first line it says is the number of its tasks, or -1 when this side cannot work with this Django.
    """
    try:
        tasks = make()
        for name, task in tasks.items():
            task.prepare()
            task.act()
            assert task.check(), f"{name}: {side} does not do it"
    # Another project's code on a Django it may not know: whatever it raises, the others are compared.
    except Exception:  # noqa: BLE001 -- as above
        traceback.print_exc()
        print(-1, flush=True)
        return
    print(len(tasks), flush=True)
    gc.disable()
    for line in sys.stdin:
        name, _, count = line.strip().rpartition(" ")
        prepare, act = tasks[name].prepare, tasks[name].act
        spent = 0
        for _ in range(int(count)):
            prepare()
            started = perf_counter_ns()
            act()
            spent += perf_counter_ns() - started
        print(spent, flush=True)
