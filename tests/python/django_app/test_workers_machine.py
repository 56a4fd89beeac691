"""Two worker processes of two threads each change and read the same rows: no read in any of them is ever stale.

What must be served is what a query of the test's own finds in the database, or in a transaction that of its thread.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from parcel_changes import MANAGED, RAW
from parcel_queries import BY_HAND, OF_ROWS, QUERIES
from parcel_worker import REFUSED, STOPPED, ParcelWorker
from profiles import MODEL

Actor: TypeAlias = tuple[int, str]  # a process and a thread of it

ACTORS: Final = [(process, thread) for process in (0, 1) for thread in "ab"]
NUMBERS: Final = [1, 2, 3]
LOADED: Final = [kind for kind in QUERIES if kind not in BY_HAND]
FOUND_BY_KEY: Final = [*BY_HAND, "weights", "stops"]  # what NativeCache holds: looked at without a load
OTHERS: Final = [
    *[f"{how}{end}" for how in ("add", "remove", "set", "clear") for end in ("", " from the other end")],
    *["move", "create", "save a field", "delete instance", "delete a sender", "past Django"],
    *["slip", "slips gone"],
]
TRANSACTIONS: Final = ["begin", "begin and look", "join", *["commit"] * 4, *["roll back"] * 3]
READS: Final = ["read", *["check"] * 3, *["stop"] * 3, "miss", "miss", "store", "store"]
STEPS: Final = [*["change"] * 8, *READS, *TRANSACTIONS]  # as often as each is drawn
LATE: Final = 5.0  # seconds; after 10 a cache takes what is stored for a new value, whoever missed it

actors = st.sampled_from(ACTORS)
numbers = st.sampled_from(NUMBERS)


@dataclass
class Load:
    """One that is stopped, or that waits for one that is."""

    kind: str
    number: int
    allowed: list[Any] = field(default_factory=list)  # what there was since it began


class Site(RuleBasedStateMachine):
    """Steps of four threads in two processes."""

    workers: ClassVar[list[ParcelWorker]]
    truth: ClassVar[sqlite3.Connection]
    changes: ClassVar[list[str]]

    def __init__(self) -> None:
        super().__init__()
        self.depth = dict.fromkeys(ACTORS, 0)
        self.holder: Actor | None = None  # who has the database's lock for writing
        self.has_changed = False  # whether it has changed something
        self.stopped: dict[Actor, Load] = {}
        self.waiting: dict[Actor, Load] = {}
        self.missed: dict[tuple[Actor, str, int], float] = {}  # when

    # ------------------------------------------------------------ talking

    def ask(self, actor: Actor, name: str, *arguments: Any) -> Any:
        return self.workers[actor[0]].tell(actor[1], name, *arguments)

    def now(self, kind: str, number: int) -> Any:
        """What is committed."""
        return [list(row) for row in self.truth.execute(QUERIES[kind].replace("%s", "?"), [number])]

    def is_busy(self, actor: Actor) -> bool:
        return actor in self.stopped or actor in self.waiting

    def is_stopped(self, process: int, kind: str, number: int) -> bool:
        return any(
            actor[0] == process and (load.kind, load.number) == (kind, number)
            for actor, load in self.stopped.items()
        )

    @initialize()
    def begin_empty(self) -> None:
        self.ask(ACTORS[0], "begin_empty")
        for actor in ACTORS:
            self.ask(actor, "forget")

    # One rule, because of several hypothesis leaves out some in each history, and most are of no use alone.
    @rule(actor=actors, step=st.sampled_from(STEPS), data=st.data())
    def go(self, actor: Actor, step: str, data: st.DataObject) -> None:
        if step == "change":
            small = st.integers(1, 4)
            self.change(actor, data.draw(st.sampled_from(self.changes)), data.draw(small), data.draw(small))
        elif step == "read":
            self.read(actor, data.draw(st.sampled_from(sorted(QUERIES))), data.draw(numbers))
        elif step == "check":
            self.check(actor)
        elif step == "stop":
            kind, number = data.draw(st.sampled_from(LOADED)), data.draw(numbers)
            self.stop(actor, kind, number, data.draw(st.integers(1, 3)), data.draw(st.booleans()))
        elif step == "miss":
            self.miss(actor, data.draw(st.sampled_from(BY_HAND)), data.draw(numbers))
        elif step == "store":
            if self.missed:
                self.store(*data.draw(st.sampled_from(sorted(self.missed))))
        else:
            self.transact(actor, step)

    # ------------------------------------------------------------ transactions

    def transact(self, actor: Actor, how: str) -> None:
        """Enter or leave a block; "join" is one without a savepoint."""
        if self.is_busy(actor):
            return
        if how == "commit":
            if self.depth[actor]:
                self.ask(actor, "commit")
                self.left(actor)
        elif how == "roll back":
            self.roll_back(actor)
        elif self.depth[actor] < 3:
            self.ask(actor, "begin", how != "join" or not self.depth[actor])
            self.depth[actor] += 1
            if how == "begin and look":
                self.read(actor, OF_ROWS[0], NUMBERS[0])

    def roll_back(self, actor: Actor) -> None:
        while self.depth[actor]:
            is_usable = self.ask(actor, "roll_back")
            self.left(actor)
            if is_usable:
                break

    def invalidates(self, actor: Actor) -> None:
        """What it stores after a change of its own counts as newer, though it was read before."""
        self.missed = {one: at for one, at in self.missed.items() if one[0] != actor}

    def left(self, actor: Actor) -> None:
        self.invalidates(actor)
        self.depth[actor] -= 1
        if not self.depth[actor]:
            if self.holder == actor:
                self.holder, self.has_changed = None, False
            self.something_may_be_committed()

    def something_may_be_committed(self) -> None:
        for load in (*self.stopped.values(), *self.waiting.values()):
            load.allowed.append(self.now(load.kind, load.number))

    # ------------------------------------------------------------ changes

    def change(self, actor: Actor, name: str, one: int, other: int) -> None:
        actor = self.holder or actor  # nobody else is let in
        if self.is_busy(actor):
            return
        self.invalidates(actor)
        answer = self.ask(actor, "change", name, one, other)
        if answer == REFUSED:
            while self.depth[actor]:
                self.ask(actor, "roll_back")
                self.left(actor)
        elif self.depth[actor]:
            self.holder = actor
            self.has_changed = self.has_changed or answer
        else:
            self.something_may_be_committed()

    # ------------------------------------------------------------ reads

    def read(self, actor: Actor, kind: str, number: int) -> None:
        """Read it, or load and store it, as a request does."""
        if self.is_busy(actor):
            return
        if self.depth[actor] and kind not in OF_ROWS:  # what is loaded there may be nobody else's to see
            kind = OF_ROWS[number % len(OF_ROWS)]
        self.missed.pop((actor, kind, number), None)
        if not self.is_stopped(actor[0], kind, number):
            self.serves(actor, kind, number, *self.ask(actor, "read", kind, number))
        elif not self.depth[actor]:
            self.waiting[actor] = Load(kind, number, [self.now(kind, number)])
            self.workers[actor[0]].say(actor[1], "read", kind, number)

    @rule(
        actor=actors,
        kind=st.sampled_from(LOADED),
        number=numbers,
        at=st.integers(1, 3),
        is_after=st.booleans(),
    )
    def stop(self, actor: Actor, kind: str, number: int, at: int, is_after: bool) -> None:
        """Begin a load, and stop at one of its statements; or have the one that is stopped go on."""
        if self.stopped:
            self.go_on()
            return
        if self.depth[actor] and kind not in OF_ROWS:
            return
        load = Load(kind, number, [self.now(kind, number)])
        answer = self.ask(actor, "read", kind, number, at, is_after)
        if answer == STOPPED:
            self.stopped[actor] = load
        else:
            self.serves(actor, kind, number, *answer)

    def go_on(self) -> None:
        """Let the load that is stopped come to its end, and those of its process that wait for it."""
        ((actor, load),) = self.stopped.items()
        self.workers[actor[0]].say(actor[1], "go_on")
        del self.stopped[actor]
        self.ended(actor, load)
        while self.waiting:
            self.ended(*self.waiting.popitem())

    def ended(self, actor: Actor, load: Load) -> None:
        value, own = self.workers[actor[0]].answer_of(actor[1])
        allowed = [*load.allowed, own]
        # Of a row that came or went meanwhile, a load of several statements may see any part.
        assert value in allowed or [] in allowed, (actor, load, value, own)

    def miss(self, actor: Actor, kind: str, number: int) -> None:
        """Look for it, and if it is not there compute it."""
        if not self.is_busy(actor) and not self.depth[actor]:
            found = self.ask(actor, "miss", kind, number)
            if found is None:
                self.missed[actor, kind, number] = time.monotonic()
            else:
                assert found == self.now(kind, number), (actor, kind, number, found)

    def store(self, actor: Actor, kind: str, number: int) -> None:
        """Store what was computed, however old that is by now."""
        if not self.is_busy(actor) and time.monotonic() - self.missed.pop((actor, kind, number)) < LATE:
            self.ask(actor, "store", kind, number)

    def check(self, actor: Actor) -> None:
        """Read everything."""
        if self.is_busy(actor):
            return
        self.missed = {one: at for one, at in self.missed.items() if one[0] != actor}
        kinds = [*OF_ROWS] if self.depth[actor] else list(QUERIES)
        if not any(one[0] == actor[0] for one in self.stopped):
            for kind, number, value, own in self.ask(actor, "check", kinds, NUMBERS, True):
                self.serves(actor, kind, number, value, own)
        for kind, number, value, _ in self.ask(actor, "check", FOUND_BY_KEY, NUMBERS, False):
            assert value is None or value == self.now(kind, number), (actor, kind, number, value)

    def serves(self, actor: Actor, kind: str, number: int, value: Any, own: Any) -> None:
        """What is served is what there is: what the transaction itself has made, or what is committed."""
        if actor == self.holder and self.has_changed:
            assert value == own, (actor, kind, number, value, own)
        else:
            assert value in ([own] if not self.depth[actor] else [own, self.now(kind, number)]), (
                actor, kind, number, value, own,
            )  # fmt: skip

    def teardown(self) -> None:
        if self.stopped:
            self.go_on()
        for actor in ACTORS:
            while self.depth[actor]:
                self.ask(actor, "roll_back")
                self.left(actor)
        for actor in ACTORS:
            self.check(actor)


@contextmanager
def site(*mistakes: str, watched: bool, changes: list[str], **oxicache: Any) -> Iterator[type[Site]]:
    """The machine, with two workers."""
    directory = Path(tempfile.mkdtemp(prefix="ox"))
    try:
        with ExitStack() as stack:
            workers = [
                stack.enter_context(ParcelWorker(directory, WATCH_STATEMENTS=watched, **oxicache))
                for _ in range(2)
            ]
            for worker in workers:
                worker.tell("main", *mistakes)
            truth = stack.enter_context(closing(sqlite3.connect(directory / "parcels.sqlite3")))
            yield type("ASite", (Site,), {"workers": workers, "truth": truth, "changes": changes})
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def play(machine: type[Site]) -> None:
    examples = max(MODEL.max_examples // 3, 5)  # each step takes a turn through two pipes
    run_state_machine_as_test(
        machine, settings=settings(MODEL, max_examples=examples, stateful_step_count=50)
    )


def test_no_read_is_stale_with_managers() -> None:
    """Whatever managers, saves, relations and calls by hand change, in whichever process and transaction."""
    with site(watched=False, changes=[*MANAGED, *OTHERS]) as machine:
        play(machine)


def test_no_read_is_stale_with_statements() -> None:
    """And what raw SQL changes, where that is watched."""
    with site(watched=True, changes=[*MANAGED, *RAW, *OTHERS]) as machine:
        play(machine)


# Those of parcel_mistakes.py that are found at once; with CI set the others too, which take up to a minute each.
AT_ONCE: Final = ["loads_without_tags", "moves_no_words"]
OTHERS_IN_TIME: Final = [
    "bulk_without_rules",
    "fills_are_writes",
    "invalidates_before_the_commit",
    "nobody_looks_back",
    "old_views_are_stored",
    "parents_die_alone",
    "patterns_reach_nobody",
    "transactions_read_what_others_cached",
]


@pytest.mark.parametrize("mistake", [*AT_ONCE, *(OTHERS_IN_TIME if os.environ.get("OXICACHE_SOAK") else [])])
def test_the_machine_finds_a_mistake(mistake: str) -> None:
    """A defective oxicache fails."""
    stale = pytest.raises(AssertionError, match=r"^\(\(")  # who, and what: no worker that has ended
    with site(mistake, watched=False, changes=[*MANAGED, *OTHERS]) as machine, stale:
        run_state_machine_as_test(  # any example will do: nobody reads it
            machine,
            settings=settings(
                MODEL, max_examples=2_000, stateful_step_count=50, print_blob=False, phases=[Phase.generate]
            ),
        )
