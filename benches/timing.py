"""How the benches time things: contenders of one row, interleaved in one process, round after round.

What is compared stands in cache_rows.py and decorator_rows.py, what is printed in report.py.
"""

import gc
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

OVERHEAD = "(empty loop)"  # the contender that every row gets besides its own
SEED = 20_240_101  # of every shuffle here, so that two runs do the same work in the same order
WARM_PASSES = 3  # enough for CPython to specialise the loop's bytecode before the first sample


@dataclass(frozen=True)
class Contender:
    """One side of a row: a statement run for each of `items`, with `names` as its local variables.

    `prepare` runs before each pass over the items and is not timed.
    """

    name: str
    statement: str
    names: dict[str, Any]
    items: Sequence[Any]
    prepare: str = "pass"

    def compile(self) -> Callable[[int], int]:
        """The loop as a function of its own: passes -> nanoseconds.

        Each contender gets its own code object. CPython specialises bytecode in place, so a loop shared by
        two contenders would run specialised for one of them and not for the other.
        """
        source = "\n".join(
            [
                f"def loop(passes, items, now, {', '.join(self.names)}):",
                "    spent = 0",
                "    for _ in range(passes):",
                *_indented(self.prepare, 8),
                "        started = now()",
                "        for item in items:",
                *_indented(self.statement, 12),
                "        spent += now() - started",
                "    return spent",
            ]
        )
        scope: dict[str, Any] = {}
        exec(compile(source, f"<bench {self.name}>", "exec"), scope)  # noqa: S102 (the source is written above)
        loop, items, names = scope["loop"], self.items, self.names
        return lambda passes: loop(passes, items, perf_counter_ns, **names)


def _indented(code: str, width: int) -> list[str]:
    return [" " * width + line for line in code.splitlines()]


@dataclass
class Samples:
    """Nanoseconds per operation of every contender, one figure a round, in the order of the rounds."""

    rounds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Median over the rounds, loop included."""
        return statistics.median(self.rounds[name])

    def quartiles(self, name: str) -> tuple[float, float]:
        """Lower and upper quartile over the rounds, loop included."""
        return quartiles(self.rounds[name])[1:]

    def ratio(self, ours: str, theirs: str, *, net: bool) -> tuple[float, float, float]:
        """Median, lower and upper quartile over the rounds of `ours` divided by `theirs`.

        Divided round by round, so that a machine that slows down for a while slows both sides of a ratio.
        `net` takes that round's empty loop off both sides first.
        """
        loops = self.rounds[OVERHEAD] if net else [0.0] * len(self.rounds[ours])
        ratios = [
            # A theirs below a tenth of a nanosecond is noise around an empty loop, not a cost to divide by.
            (mine - loop) / max(other - loop, 0.1)
            for mine, other, loop in zip(self.rounds[ours], self.rounds[theirs], loops, strict=True)
        ]
        return quartiles(ratios)


def quartiles(figures: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile; one figure is all three."""
    lower, middle, upper = statistics.quantiles(figures, n=4) if len(figures) > 1 else [*figures] * 3
    return middle, lower, upper


def measure(contenders: Sequence[Contender], rounds: int, sample_ns: int) -> Samples:
    """Time `contenders` and an empty loop over the same items, each once a round, in an order shuffled by round.

    Passes per sample are found first, for each contender, so that a sample takes about `sample_ns`. The
    garbage collector is off inside samples, as with timeit: its pauses are a row of their own.
    """
    first = contenders[0]
    entrants = [Contender(OVERHEAD, "pass", first.names, first.items), *contenders]
    loops = {entrant.name: entrant.compile() for entrant in entrants}
    sizes = {entrant.name: len(entrant.items) for entrant in entrants}
    order = list(loops)
    samples = Samples({name: [] for name in order})
    shuffle = random.Random(SEED).shuffle
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        passes = {name: _calibrated(loop, sample_ns) for name, loop in loops.items()}
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                spent = loops[name](passes[name])
                samples.rounds[name].append(spent / (passes[name] * sizes[name]))
    finally:
        if was_enabled:
            gc.enable()
    return samples


def _calibrated(loop: Callable[[int], int], sample_ns: int) -> int:
    loop(WARM_PASSES)
    passes = 1
    while (spent := loop(passes)) < sample_ns / 2:
        # Aim at the sample, but at most ten times up: the first passes are slower than the rest.
        passes = max(passes + 1, min(passes * 10, int(passes * sample_ns / max(spent, 1))))
    return passes
