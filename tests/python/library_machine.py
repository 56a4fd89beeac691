"""Random questions about the library, cached and not, between random changes: every answer is what the database says.

For each of two databases somebody writes, in blocks and savepoints that commit or roll back, somebody reads, and
somebody reads in a transaction that goes on seeing what was; others, in threads of their own, write and read while a
load is under way.
"""

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar, Self

from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.exceptions import FieldError
from django.db import NotSupportedError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from library_answers import ruin, told
from library_changes import Change, changes, lay_out
from library_questions import ENDS, FAR, NEAR, ZONES, Question, other_value, questions
from project.library.models import Novel, Reading, Remark, Subject, Work, Writer
from sessions import Session, catalogue_database

from oxicache.django.queries import fetching

__all__ = ["Library", "library_databases"]

ALIASES = (NEAR, FAR)
TABLES = (ContentType, Writer, Subject, Work, Novel, Reading, Remark)
MAX_REMEMBERED = 4


@contextlib.contextmanager
def library_databases(settings: dict[str, dict[str, Any]]) -> Iterator[None]:
    """The library's tables in both databases, by these settings."""
    with contextlib.ExitStack() as stack:
        for alias in ALIASES:
            stack.enter_context(catalogue_database(settings[alias], alias, TABLES))
            for model in (Work, Novel, Writer):  # lest one is made in a block that is rolled back
                ContentType.objects.db_manager(alias).get_for_model(model)
        yield
        ContentType.objects.clear_cache()


class Reader(Session):
    """Looks at works when a block begins."""

    looks_at = Work


class Pair(dict[str, Reader]):
    """One person's sessions on both databases. `with pair:` makes them this thread's; they count statements."""

    def __init__(self) -> None:
        super().__init__({alias: Reader(alias) for alias in ALIASES})
        self.statements = 0
        self.meanwhile: Any = None  # what is done at a statement: takes its number and whether it is over
        for one in self.values():
            one.connection.execute_wrappers.append(self._executed)

    def _executed(self, execute: Any, *args: Any) -> Any:
        number, self.statements = self.statements, self.statements + 1
        if self.meanwhile is None:
            return execute(*args)
        self.meanwhile(number, False)
        result = execute(*args)
        self.meanwhile(number, True)
        return result

    def __enter__(self) -> Self:
        for one in self.values():
            one.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.values():
            one.__exit__()

    def ask(self, question: Question) -> tuple[Any, int]:
        """The answer, or the error, and how many statements it took."""
        self.statements = 0
        with self:
            answer = asked(question)
        return answer, self.statements


def asked(question: Question) -> Any:
    """The answer, or what Django has against the question."""
    try:
        return question.ask()
    except (FieldError, NotSupportedError, TypeError, ValueError) as error:
        return (type(error).__name__, str(error))


def asked_elsewhere(question: Question) -> Any:
    """What another thread is told."""
    return told(asked(question))


def agree(held: Any, fresh: Any, question: Question) -> None:
    """Assert that an answer is what the database says."""
    if held != fresh:
        raise AssertionError(f"{question!r}\nis answered with {held}\ninstead of         {fresh}")


def close_connections() -> None:
    """Close those of the thread that calls this."""
    for alias in ALIASES:
        BaseDatabaseWrapper.close(connections[alias])


class Library(RuleBasedStateMachine):
    """Steps of all of them. `hits` counts questions that took no statement."""

    hits: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.writer, self.reader, self.old = Pair(), Pair(), Pair()
        self.asked: list[Question] = []
        self.one, self.other = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    @initialize(first=st.lists(questions(), min_size=2, max_size=MAX_REMEMBERED))
    def begin_anew(self, first: list[Question] = ()) -> None:  # type: ignore[assignment]
        cache.clear()
        fetching._learned.clear()
        with self.writer:
            for alias in ALIASES:
                lay_out(alias)
        for question in first:
            self.ask(question)

    # ------------------------------------------------------------ who writes

    @rule(alias=st.sampled_from(ALIASES), savepoint=st.booleans())
    def begin(self, alias: str, savepoint: bool) -> None:
        writer = self.writer[alias]
        if len(writer.blocks) < 3:
            writer.begin(savepoint=savepoint or not writer.blocks)

    @rule(alias=st.sampled_from(ALIASES))
    def commit(self, alias: str) -> None:
        if self.writer[alias].blocks:
            self.writer[alias].commit()

    @rule(alias=st.sampled_from(ALIASES))
    def roll_back(self, alias: str) -> None:
        writer = self.writer[alias]
        while writer.blocks:
            writer.rollback()
            if not writer.connection.needs_rollback:
                break

    @rule(each=st.lists(changes(NEAR), min_size=1, max_size=3))
    def change(self, each: list[Change]) -> None:
        with self.writer:
            for one in each:
                one.do(NEAR)

    @rule(each=st.lists(changes(FAR), min_size=1, max_size=3))
    def change_far(self, each: list[Change]) -> None:
        with self.writer:
            for one in each:
                one.do(FAR)

    @rule(question=questions())
    def writer_asks(self, question: Question) -> None:
        self.check(self.writer, question)

    @rule(number=st.integers(0, MAX_REMEMBERED - 1))
    def writer_asks_again(self, number: int) -> None:
        for question in self.asked[number : number + 1]:
            self.check(self.writer, question)

    # ------------------------------------------------------------ who reads

    @rule(question=questions())
    def ask(self, question: Question) -> None:
        self.check(self.reader, question)
        self.asked = [*self.asked[1 - MAX_REMEMBERED :], question]
        held = question.of(is_held=True)
        # The first result of a question that reads more than its text says is not kept, nor are two that read more.
        counts = [self.reader.ask(held)[1] for _ in range(3)]
        assert counts[-1] == 0, (question, counts)

    @rule(
        number=st.integers(0, MAX_REMEMBERED - 1),
        using=st.sampled_from(ALIASES),
        zone=st.sampled_from(ZONES),
        end=st.sampled_from([None, *ENDS]),
        seed=st.integers(0, 99),
    )
    def ask_alike(self, number: int, using: str, zone: str, end: str | None, seed: int) -> None:
        """What differs in little has an answer of its own."""
        for question in self.asked[number : number + 1]:
            steps = tuple((name, other_value(question, name, seed)) for name, _ in question.steps)
            self.ask(question.of(using=using, zone=zone, end=end or question.end, steps=steps))

    @rule(savepoint=st.booleans(), question=questions())
    def ask_of_old(self, savepoint: bool, question: Question) -> None:
        """What was asked in a transaction that sees what was is nobody else's."""
        if not self.old[question.using].blocks:
            self.old[question.using].begin()
        self.old.ask(question.of(is_held=True))
        self.check(self.reader, question)

    @rule(alias=st.sampled_from(ALIASES), number=st.integers(0, MAX_REMEMBERED - 1))
    def ask_of_old_again(self, alias: str, number: int) -> None:
        if not self.old[alias].blocks:
            self.old[alias].begin()
        for question in self.asked[number : number + 1]:
            self.old.ask(question.of(is_held=True))

    @rule(alias=st.sampled_from(ALIASES))
    def end_old(self, alias: str) -> None:
        if self.old[alias].blocks:
            self.old[alias].commit()

    @rule(
        question=questions(),
        change=changes(NEAR),
        at=st.integers(0, 2),
        is_over=st.booleans(),
        is_asked=st.booleans(),
    )
    @precondition(lambda self: not self.writer[NEAR].blocks)
    def change_meanwhile(
        self, question: Question, change: Change, at: int, is_over: bool, is_asked: bool
    ) -> None:
        """Another thread writes before or after one of the load's statements, and a third asks from then on."""
        held = question.of(is_held=True, using=NEAR)
        told_elsewhere: list[Future[Any]] = []

        def meanwhile(number: int, over: bool) -> None:
            if (number, over) == (at, is_over):
                self.one.submit(change.do, NEAR).result()
                if is_asked:
                    told_elsewhere.append(self.other.submit(asked_elsewhere, held))

        self.reader.meanwhile = meanwhile
        try:
            self.reader.ask(held)
        finally:
            self.reader.meanwhile = None
        for one in told_elsewhere:
            agree(one.result(), told(self.reader.ask(held.of(is_held=False))[0]), held)
        self.check(self.reader, held)

    @invariant()
    def nothing_is_stale(self) -> None:
        for question in self.asked:
            self.check(self.reader, question)

    def check(self, who: Pair, question: Question) -> None:
        """Assert that it is the same cached and not; then do to the answer what a caller may."""
        fresh, count = who.ask(question.of(is_held=False))
        held, held_count = who.ask(question.of(is_held=True))
        agree(told(held), told(fresh), question)
        if count and not held_count:
            self.hits[question.end] += 1
        ruin(held)

    def teardown(self) -> None:
        for pair in (self.writer, self.reader, self.old):
            for session in pair.values():
                session.end()
        for threads in (self.one, self.other):
            threads.submit(close_connections).result()
            threads.shutdown()
        gc.collect()
