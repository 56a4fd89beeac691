"""What invalidating costs: a save with dependants, a tag of many entries, a glob over many keys; and elsewhere.

Each side has a process of its own (invalidation_sides.py). All wait, and one at a time takes a sample; their order
changes by round, and every few rounds they are replaced by new ones, because two processes that run the same code
differ a little for as long as they live.
"""

import random
import statistics
from collections.abc import Iterator

import invalidation_sides
from invalidation_sides import (
    ALONE,
    CACHALOT,
    CACHEOPS,
    DJANGO_REDIS,
    GLOB,
    MANY_RULES,
    MEMBERS_ROWS,
    OURS,
    SAVES,
    TAG,
    TAG_OF_TTLCACHE,
    WATCHING,
)
from rows import Result, Target
from sides import Need, Sides, redis_port
from timing import SEED, quartiles

SAVE_ROW = "save() that invalidates"
MANY_ROW = "invalidation of many"
MEMBERS = 10_000  # entries of a tag
KEYS = 100_000  # that a glob is matched with
MANY_ROUNDS = 15  # each is prepared anew, which takes seconds, and each process once more
ROUNDS_OF_A_CHILD = 8
SAVE_NS = 200_000  # about what a save takes here: how many a sample has

NEEDS = {
    ALONE: Need("django", is_rival=False),
    OURS: Need("oxicache", is_rival=False),
    WATCHING: Need("oxicache", is_rival=False),
    CACHEOPS: Need("cacheops", is_served=True),
    CACHALOT: Need("cachalot", is_served=True),
    DJANGO_REDIS: Need("django_redis", is_served=True),
}
TARGETS = {
    "save, no dependants": Target("<=", 2, "us"),
    "save, 5 dependants": Target("<=", 20, "us"),
    MEMBERS_ROWS: Target("<=", 20, "us"),
    TAG: Target("<=", 1_000, "us"),
    TAG_OF_TTLCACHE: Target("<=", 1_000, "us"),
    GLOB: Target("<=", 20_000, "us"),
}


Times = dict[tuple[str, str], list[float]]  # microseconds, one figure a round, by side and task


def _measured(
    tasks: dict[str, list[str]], rounds: int, sample_ns: int, held: tuple[int, int], of_a_child: int
) -> tuple[Times, dict[str, str]]:
    """Times of each task by the sides that have it; `held` is how many members and keys there are."""
    times: Times = {}
    absent: dict[str, str] = {}
    shuffle = random.Random(SEED).shuffle
    names = list(dict.fromkeys(side for sides in tasks.values() for side in sides))
    count = max(1, sample_ns // SAVE_NS)
    with redis_port() as port:
        done = 0
        while done < rounds:
            sides = Sides(invalidation_sides.__file__, {name: NEEDS[name] for name in names}, port, held)
            absent.update(sides.absent)
            try:
                stretch = min(of_a_child, rounds - done)
                for task, of_task in tasks.items():
                    order = [side for side in of_task if side in sides.children]
                    for _ in range(stretch):
                        shuffle(order)
                        for side in order:
                            spent = sides.time(side, task, count if task.startswith("save") else 1)
                            times.setdefault((side, task), []).append(spent)
                done += stretch
            finally:
                sides.end()
    return times, absent


def saves(rounds: int, sample_ns: int) -> Iterator[Result]:
    """What each side adds to a save, in microseconds; differences are taken round by round."""
    rivals = [WATCHING, CACHEOPS, CACHALOT]
    tasks = {task: [ALONE, OURS, *([] if task == MANY_RULES else rivals)] for task in SAVES}
    tasks[MEMBERS_ROWS] = [ALONE, OURS]
    times, absent = _measured(tasks, rounds, sample_ns, (1, 100), ROUNDS_OF_A_CHILD)
    for task, sides in tasks.items():
        row = f"{SAVE_ROW}, time added: {task.removeprefix('save, ')}"
        ours = _added(times, OURS, task)
        middle, lower, upper = quartiles(ours)
        alone = statistics.median(times[ALONE, task])
        yield Result(
            row=row,
            against=ALONE,
            judged=middle,
            ours=alone + middle,
            theirs=alone,
            per="us",
            target=TARGETS.get(task),
            unit="us",
            spread=(lower, upper),
        )
        for rival in sides[2:]:
            has_it = rival not in absent
            yield Result(
                row=row,
                against=rival if has_it else f"{rival}: {absent[rival]}",
                judged=middle,
                ours=middle,
                theirs=statistics.median(_added(times, rival, task)) if has_it else None,
                per="us",
                unit="us",
            )


def _added(times: Times, side: str, task: str) -> list[float]:
    return [ours - alone for ours, alone in zip(times[side, task], times[ALONE, task], strict=True)]


def many(rounds: int, members: int = MEMBERS, keys: int = KEYS) -> Iterator[Result]:
    """One tag, or what it is elsewhere, and one glob."""
    rows = {
        TAG: (f"NativeCache.delete_by_tag/{members:_}", [CACHEOPS, CACHALOT]),
        TAG_OF_TTLCACHE: (f"TTLCache.delete_by_tag/{members:_}", []),
        GLOB: (f"NativeCache.delete_pattern, finds 1 %/{keys:_}", [DJANGO_REDIS]),
    }
    tasks = {task: [OURS, *rivals] for task, (_, rivals) in rows.items()}
    times, absent = _measured(tasks, min(rounds, MANY_ROUNDS), 0, (members, keys), MANY_ROUNDS)
    for task, (name, rivals) in rows.items():
        middle, lower, upper = quartiles(times[OURS, task])
        for rival in rivals or ["nothing"]:
            theirs = times.get((rival, task))
            yield Result(
                row=f"{MANY_ROW}: {name}",
                against=f"{rival}: {absent[rival]}" if rival in absent else rival,
                judged=middle,
                ours=middle,
                theirs=None if theirs is None else statistics.median(theirs),
                per="us",
                target=TARGETS[task],
                unit="us",
                spread=(lower, upper),
            )
