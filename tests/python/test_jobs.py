"""Jobs of this process: taken on, told of, cancelled, done in the background, lost when the process ends."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from oxicache import jobs, scheduling
from oxicache.errors import ScheduleFullError
from oxicache.scheduling import Scheduler

done: list[str] = []


class Hands:
    """A scheduler without a thread, and a clock moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scheduler = Scheduler(clock=lambda: self.now, is_threaded=False, max_jobs=3)

    def at(self, now: float) -> list[str]:
        """What was done when it is `now`."""
        self.now = now
        done.clear()
        self.scheduler.run_due()
        return list(done)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hands]:
    hands = Hands()
    monkeypatch.setattr(scheduling, "after", hands.scheduler.after)
    yield hands
    for waiting in jobs.waiting():
        jobs.cancel(waiting.id)


def take_on(what: str, delay: Any, **options: Any) -> str:
    return jobs.take_on(what, delay, lambda: done.append(what), **options)


class TestJobs:
    def test_done_when_due(self, hands: Hands, caplog: pytest.LogCaptureFixture) -> None:
        """Each is done once, when it is due, and is logged by its name and id."""
        caplog.set_level(logging.INFO, "oxicache.jobs")
        one, _ = take_on("one", 10), take_on("two", timedelta(seconds=20))
        assert [waiting.what for waiting in jobs.waiting()] == ["one", "two"]
        assert [hands.at(9), hands.at(10), hands.at(30), hands.at(99)] == [[], ["one"], ["two"], []]
        assert jobs.waiting() == []
        assert f"Job {one}, invalidation of one (job {one}): done" in caplog.text

    def test_cancelled(self, hands: Hands) -> None:
        """What was taken back is not done; only what waits can be taken back."""
        one, two = take_on("one", 10), take_on("two", 10)
        assert [jobs.cancel(one), jobs.cancel(one)] == [True, False]
        assert hands.at(10) == ["two"]
        assert not jobs.cancel(two)

    @pytest.mark.parametrize(
        "delay", [-1, float("nan"), float("inf"), 30 * 86_400 + 1, "1", None, True], ids=repr
    )
    def test_a_wrong_delay(self, hands: Hands, delay: Any) -> None:
        """A delay is a number of seconds up to 30 days."""
        with pytest.raises((TypeError, ValueError), match="delay"):
            take_on("one", delay)
        assert jobs.waiting() == []

    def test_too_many(self, hands: Hands) -> None:
        """What cannot be taken on does not wait."""
        for number in range(3):
            take_on(str(number), 10)
        with pytest.raises(ScheduleFullError):
            take_on("one more", 10)
        assert len(jobs.waiting()) == 3

    def test_one_that_fails(self, hands: Hands, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged by its name, and the next is done."""

        def fail() -> None:
            raise ZeroDivisionError

        job = jobs.take_on("what fails", 1, fail)
        take_on("the next", 1)
        assert hands.at(1) == ["the next"]
        assert f"The background job invalidation of what fails (job {job}) failed" in caplog.text


class TestBeginningLater:
    def test_begun(self, hands: Hands) -> None:
        """A job that begins with something else counts its delay from there."""
        begun: list[Callable[[], None]] = []
        job = take_on("one", 10, begin_when=begun.append)
        assert [(waiting.id, waiting.due) for waiting in jobs.waiting()] == [(job, None)]
        assert hands.at(50) == []
        begun[0]()
        begun[0]()  # a second time is none
        assert jobs.waiting()[0].due is not None
        assert [hands.at(59), hands.at(60), hands.at(70)] == [[], ["one"], []]

    def test_dropped(self, hands: Hands) -> None:
        """A job that will never begin does not wait."""
        begun: list[Callable[[], None]] = []
        take_on("one", 10, begin_when=begun.append)
        begun.clear()
        assert jobs.waiting() == []

    def test_cancelled_before(self, hands: Hands) -> None:
        """A job that was taken back before it began never does."""
        begun: list[Callable[[], None]] = []
        assert jobs.cancel(take_on("one", 10, begin_when=begun.append))
        begun[0]()
        assert [hands.at(99), jobs.waiting()] == [[], []]


LOST = """
import logging
logging.basicConfig(level=logging.INFO)
from oxicache import jobs
from oxicache.selection import Selection
jobs.take_on(str(Selection(tags=("spring",))), 3600, lambda: None)
"""


class TestAtExit:
    def test_lost_jobs_are_logged(self) -> None:
        """A process that ends says which invalidations it takes with it."""
        ended = subprocess.run(
            [sys.executable, "-c", LOST], capture_output=True, text=True, timeout=60, check=True
        )
        assert "1 background jobs were lost at exit: invalidation of tag 'spring' (job " in ended.stderr
