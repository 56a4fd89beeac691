"""Short histories for test_cached_querysets_machine.py: each fails with the mistake that it is named after."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from library_changes import Change
from library_questions import ENDS, FAR, NEAR, OF_WORKS, STEPS, Question

__all__ = ["DEFECTS", "EACH_ALONE", "HISTORIES", "play"]

Step = Callable[[Any], object]
WORKS: Final = Question()
OF_ANN: Final = Question(steps=(("writer", "ann"),))
PREFETCHED: Final = Question(steps=(("prefetch", ["subjects"]),))
FROM_FAR: Final = Question(steps=(("prefetch from far", 0),))
WEIGHED: Final = Question(steps=(("prefetch cached", 1),))


def play(machine: Any, *steps: Step) -> None:
    """Have a machine take these steps, and look after each."""
    one = machine()
    try:
        one.begin_anew()
        for step in steps:
            step(one)
            one.nothing_is_stale()
    finally:
        one.teardown()


def ask(*asked: Question) -> Step:
    """A reader asks one question after another."""
    return lambda one: [one.ask(question) for question in asked]


def change(name: str, *given: Any, using: str = NEAR) -> Step:
    """The writer does something."""
    done = [Change(name, *given)]
    return lambda one: one.change(done) if using == NEAR else one.change_far(done)


def begin(using: str = NEAR) -> Step:
    return lambda one: one.begin(using, savepoint=True)


def commit(using: str = NEAR) -> Step:
    return lambda one: one.commit(using)


def roll_back(using: str = NEAR) -> Step:
    return lambda one: one.roll_back(using)


def writer_asks(question: Question) -> Step:
    return lambda one: one.writer_asks(question)


def begin_old(using: str = NEAR) -> Step:
    return lambda one: one.old[using].begin()


def ask_of_old(question: Question) -> Step:
    return lambda one: one.ask_of_old(savepoint=False, question=question)


def change_meanwhile(question: Question, changed: Change, *, is_over: bool, is_asked: bool = False) -> Step:
    return lambda one: one.change_meanwhile(question, changed, 0, is_over, is_asked)


RENAME: Final = change("save", 1, "y", 2)
HISTORIES: Final[dict[str, tuple[Step, ...]]] = {
    "parameters_are_not_in_the_key": (ask(OF_ANN, Question(steps=(("writer", "bob"),))),),
    "types_of_parameters_are_not_in_the_key": (
        ask(*(Question(steps=(("constant", value),)) for value in (1, "1"))),
    ),
    "limits_are_not_in_the_key": (ask(WORKS, Question(end="slice")),),
    "databases_share": (change("save", 1, "y", 2, using=FAR), ask(WORKS, Question(using=FAR))),
    "aggregates_share": (ask(Question(end="highest"), Question(end="of ann")),),
    "time_zones_share": (
        ask(*(Question(end="on a day", zone=zone) for zone in ("UTC", "Pacific/Kiritimati"))),
    ),
    "prefetches_share": (ask(*(Question(steps=(("prefetch heavy", weight),)) for weight in (1, 0))),),
    "joins_are_not_read": (ask(OF_ANN), change("writer", 1, "eve", 0)),
    "prefetched_models_are_not_noticed": (ask(PREFETCHED), change("subject", 1, "x", 2)),
    "querysets_within_are_not_noticed": (
        ask(WEIGHED, WEIGHED.of(steps=(*WEIGHED.steps, ("distinct", [])))),
        change("subject", 1, "x", 0),
    ),
    "what_was_learned_is_forgotten": (ask(PREFETCHED),),
    "transactions_read_what_is_held": (ask(WORKS), begin(), RENAME, writer_asks(WORKS)),
    "transactions_hold_what_they_read": (begin(), RENAME, writer_asks(WORKS), roll_back(), ask(WORKS)),
    "other_databases_have_no_transactions": (
        ask(FROM_FAR),
        begin(FAR),
        change("subject", 1, "x", 2, using=FAR),
        writer_asks(FROM_FAR),
    ),
    "old_views_are_held": (begin_old(), RENAME, ask_of_old(WORKS)),
    "invalidates_before_the_commit": (ask(WORKS), begin(), RENAME, commit()),
    "changes_during_a_load_are_missed": (change_meanwhile(WORKS, Change("save", 1, "y", 2), is_over=True),),
    "nothing_is_held": (ask(WORKS),),
    "callers_share_instances": (ask(PREFETCHED),),
    "words_do_not_move": (ask(WORKS), RENAME),
    "bulk_changes_are_missed": (
        ask(Question(using=FAR)),
        change("update", 1, "y", using=FAR),
    ),
    "raw_changes_are_missed": (ask(Question(model="writer")), change("raw update of a writer", 1, "eve")),
    "relations_are_missed": (
        ask(Question(steps=(("subject", "a"),), using=FAR)),
        change("clear", using=FAR),
    ),
}
# What was wrong once.
DEFECTS: Final[dict[str, tuple[Step, ...]]] = {
    "an exclude through a relation": (ask(Question(steps=(("subject not", "a"),))),),
    "a count of what has no rows": (
        ask(Question(model="novel", steps=(("with", ["writer"]), ("only", ["title"])), end="count")),
    ),
    "part of a column of JSON": (ask(Question(end="facts")),),
    "rolled back in another database": (
        ask(FROM_FAR),
        begin(FAR),
        change("subject", 1, "x", 2, using=FAR),
        writer_asks(FROM_FAR),
        roll_back(FAR),
    ),
    "who waits for a load that is out of date": (
        change_meanwhile(WORKS, Change("save", 1, "y", 2), is_over=True, is_asked=True),
    ),
}


def _each_alone(model: str) -> Iterator[Step]:
    """Every step, and every end, asked by itself before and after all that it may read has changed."""
    ends = [*ENDS, *(OF_WORKS if model == "work" else ())]
    found = [Question(model, end=end) for end in ends]
    for name, (values, _) in STEPS[model].items():
        found += [Question(model, ((name, value),)) for value in values]
    everything = [
        Change("subject", 1, "x", 2),
        Change("writer", 1, "eve", 1),
        Change("save", 1, "y", 0),
        Change("remark", 1, "y", 0),
    ]
    for number, question in enumerate(found):
        yield ask(question.of(is_first=bool(number % 2)))
        yield lambda one: one.change(everything)
        yield lambda one: one.asked.clear()


EACH_ALONE: Final = {model: tuple(_each_alone(model)) for model in STEPS}
