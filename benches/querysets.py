"""What cached querysets cost: hits and misses beside Django's own, django-cacheops and django-cachalot.

Each side has a process of its own (querysets_sides.py). All wait, and one at a time takes a sample; their order
changes by round. The two packages hold their results in a Redis of this bench's own, django-cachalot also in memory.
"""

import random
import statistics
from collections.abc import Iterator

import querysets_sides
from querysets_sides import ALONE, ASKED, CACHALOT, CACHALOT_ON_LOCMEM, CACHEOPS, HITS, MISSES, OURS
from rows import Result, Target
from sides import Need, Sides, redis_port
from timing import SEED, quartiles

ROW = "cached queryset"
PASS_NS = 8_000_000  # about what a pass takes here: how many a sample has
TWICE = Target(">=", 2, "x faster")

NEEDS = {
    ALONE: Need("django", is_rival=False),
    OURS: Need("oxicache", is_rival=False),
    CACHEOPS: Need("cacheops", is_served=True),
    CACHALOT: Need("cachalot", is_served=True),
    CACHALOT_ON_LOCMEM: Need("cachalot"),
}


def results(rounds: int, sample_ns: int) -> Iterator[Result]:
    """A row for each kind of queryset, ours against each of the others; one queryset's time, all that it takes."""
    shuffle = random.Random(SEED).shuffle
    tasks = (*HITS, *MISSES)
    times: dict[tuple[str, str], list[float]] = {}
    count = max(1, sample_ns // PASS_NS)
    with redis_port() as port:
        sides = Sides(querysets_sides.__file__, NEEDS, port)
        try:
            order = list(sides.children)
            for task in tasks:
                for _ in range(rounds):
                    shuffle(order)
                    for side in order:
                        spent = sides.time(side, task, count) / ASKED
                        times.setdefault((side, task), []).append(spent)
        finally:
            sides.end()
    for task in tasks:
        row = f"{ROW}, {task}" if task in MISSES else f"{ROW}, hit, {task}"
        for rival in NEEDS:
            if rival in sides.absent:
                ours = statistics.median(times[OURS, task])
                yield Result(row, f"{rival}: {sides.absent[rival]}", ours, ours, None, "us", unit="us")
            elif rival != OURS:
                target = TWICE if rival == CACHEOPS and task in HITS else None
                yield _result(row, rival, times[OURS, task], times[rival, task], target)


def _result(row: str, rival: str, ours: list[float], theirs: list[float], target: Target | None) -> Result:
    """`target` speaks of a speed, theirs divided by ours; without one it is the ratio that is shown."""
    pairs = zip(ours, theirs, strict=True)
    ratios = [other / mine if target else mine / other for mine, other in pairs]
    middle, lower, upper = quartiles(ratios)
    return Result(
        row=row,
        against=rival,
        judged=middle,
        ours=statistics.median(ours),
        theirs=statistics.median(theirs),
        per="us",
        target=target,
        unit="x faster" if target else "x",
        spread=(lower, upper),
    )
