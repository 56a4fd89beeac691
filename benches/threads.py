"""Throughput of four threads under the GIL, against one thread that does the same number of operations.

The dict rows are the control: what the GIL's own switching costs when no cache is involved.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from threading import Barrier, Thread
from time import perf_counter_ns

from cache_rows import SIZE, caches, shuffled_keys
from rows import Result, Target
from timing import Contender, quartiles

Entrant = tuple[str, Contender, Target | None]  # under which row, who, and its target

THREADS = 4
TARGET = Target(">=", 0.9)
GETS = "get(item)"
# One write in ten, spread over the keys: an index stands for the key, so that the choice costs the same everywhere.
MIXED = "if item % 10:\n    get(keys[item])\nelse:\n    put(keys[item], item)"


def _contenders() -> list[Entrant]:
    keys = shuffled_keys(SIZE)
    filled = caches(keys, SIZE)
    ours, plain = filled["TTLCache"], filled["dict"]
    indexes = range(SIZE)
    return [
        ("four threads, get: TTLCache/1k", Contender("TTLCache", GETS, {"get": ours.get}, keys), TARGET),
        ("four threads, get: dict/1k", Contender("dict", GETS, {"get": plain.get}, keys), None),
        (
            "four threads, 9 get to 1 set: TTLCache/1k",
            Contender("TTLCache", MIXED, {"get": ours.get, "put": ours.set, "keys": keys}, indexes),
            TARGET,
        ),
        (
            "four threads, 9 get to 1 set: dict/1k",
            Contender("dict", MIXED, {"get": plain.get, "put": plain.__setitem__, "keys": keys}, indexes),
            None,
        ),
    ]


def _wall_ns(contender: Contender, threads: int, passes: int) -> int:
    """From the moment all threads may start until the last has ended."""
    barrier = Barrier(threads + 1)

    def run() -> None:
        loop = contender.compile()
        barrier.wait()
        loop(passes)

    workers = [Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = perf_counter_ns()
    for worker in workers:
        worker.join()
    return perf_counter_ns() - started


def results(
    rounds: int, sample_ns: int, contenders: Callable[[], Sequence[Entrant]] = _contenders
) -> Iterator[Result]:
    """One result for each of `contenders`: the ratio is four threads' throughput to one's."""
    for row, contender, target in contenders():
        loop = contender.compile()
        loop(3)
        # Long beside the 5 ms after which a thread is asked to give up the GIL, or no switch would be seen.
        passes = max(1, 4 * sample_ns // max(1, loop(10) // 10))
        alone, together = [], []
        for _ in range(rounds):
            alone.append(_wall_ns(contender, 1, passes * THREADS))
            together.append(_wall_ns(contender, THREADS, passes))
        ratios = [one / four for one, four in zip(alone, together, strict=True)]
        middle, lower, upper = quartiles(ratios)
        operations = passes * THREADS * len(contender.items)
        yield Result(
            row=row,
            against="one thread",
            judged=middle,
            ours=statistics.median(together) / operations,
            theirs=statistics.median(alone) / operations,
            per="ns",
            target=target,
            gross=middle,
            spread=(lower, upper),
        )
