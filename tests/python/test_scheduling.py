"""The background thread: what runs when, in which context, and what becomes of failures, forks and exits."""

import contextvars
import logging
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from loads import PATIENCE, until

from oxicache.errors import OxicacheError, ScheduleFullError, ScheduleThreadError
from oxicache.scheduling import Scheduler, scheduler


class Hands:
    """A scheduler without a thread, and a clock moved by hand."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.ran: list[Any] = []
        self.scheduler = Scheduler(clock=lambda: self.now, is_threaded=False, **options)

    def at(self, now: float) -> list[Any]:
        """What runs when it is `now`."""
        self.now = now
        self.ran.clear()
        self.scheduler.run_due()
        return list(self.ran)


@pytest.fixture
def hands() -> Hands:
    return Hands()


class TestOrder:
    def test_jobs_run_in_the_order_they_are_due(self, hands: Hands) -> None:
        """Those due at the same time run in the order they were asked for."""
        hands.scheduler.after(5, hands.ran.append, "late")
        hands.scheduler.submit(hands.ran.append, "first")
        hands.scheduler.submit(hands.ran.append, "second")
        assert hands.at(0) == ["first", "second"]
        assert hands.at(4.9) == []
        assert hands.at(5) == ["late"]
        assert hands.at(100) == []

    def test_a_repeated_job_runs_each_interval(self, hands: Hands) -> None:
        """First after one interval; runs that were missed are not made up."""
        job = hands.scheduler.every(10, hands.ran.append, "tick")
        assert [hands.at(now) for now in (9, 10, 19, 20)] == [[], ["tick"], [], ["tick"]]
        assert [hands.at(now) for now in (95, 99, 100)] == [["tick"], [], ["tick"]]
        job.cancel()
        assert hands.at(300) == []

    def test_a_cancelled_job_does_not_run(self, hands: Hands) -> None:
        """Not even when it is due already, and it is not counted as waiting."""
        job = hands.scheduler.submit(hands.ran.append, "never")
        job.cancel()
        assert hands.scheduler.pending() == 0
        assert hands.at(1) == []

    def test_a_job_may_ask_for_another(self, hands: Hands) -> None:
        """The queue is not locked while a job runs."""
        hands.scheduler.submit(lambda: hands.scheduler.submit(hands.ran.append, "inner"))
        assert hands.at(0) == ["inner"]


class TestContext:
    def test_a_job_runs_in_a_copy_of_its_askers_context(self, hands: Hands) -> None:
        """It sees the asker's variables as they were, and leaves nothing behind."""
        tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")
        tenant.set("acme")

        def job() -> None:
            hands.ran.append(tenant.get())
            tenant.set("changed")

        hands.scheduler.submit(job)
        tenant.set("later")
        assert hands.at(0) == ["acme"]
        assert tenant.get() == "later"

    def test_hooks_run_around_each_job(self, hands: Hands) -> None:
        """Before and after, also after one that fails; the same pair counts once."""
        log = hands.ran

        def before() -> None:
            log.append("before")

        def after() -> None:
            log.append("after")

        for _ in range(2):
            hands.scheduler.run_around(before, after)
        hands.scheduler.run_around(None, lambda: log.append("first after"))
        hands.scheduler.submit(log.append, "job")
        assert hands.at(0) == ["before", "job", "first after", "after"]
        hands.scheduler.submit(lambda: 1 / 0)
        assert hands.at(0) == ["before", "first after", "after"]


class TestFailure:
    def test_a_failing_job_is_logged_and_the_next_runs(
        self, hands: Hands, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody waits for a job, so the log has to tell."""
        hands.scheduler.submit(lambda: 1 / 0)
        hands.scheduler.submit(sys.exit)
        hands.scheduler.submit(hands.ran.append, "next")
        assert hands.at(0) == ["next"]
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
        assert caplog.records[0].exc_info is not None

    def test_a_job_that_goes_on_failing_is_logged_once(
        self, hands: Hands, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Until it succeeds; then the next failure is news."""
        outcomes = iter([1, 1, None, 1])

        def job() -> None:
            if next(outcomes):
                raise ValueError("again")

        hands.scheduler.every(1, job)
        for now in (1, 2, 3, 4):
            hands.at(now)
        assert len(caplog.records) == 2

    def test_a_failing_hook_stops_nothing(self, hands: Hands, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged, and the job runs."""

        def hook() -> None:
            raise ValueError("hook")

        hands.scheduler.run_around(hook, hook)
        hands.scheduler.submit(hands.ran.append, "job")
        assert hands.at(0) == ["job"]
        assert len(caplog.records) == 2


class TestLimits:
    def test_a_full_queue_refuses(self) -> None:
        """ScheduleFullError gives the limit; cancelled jobs make room."""
        hands = Hands(max_jobs=2)
        jobs = [hands.scheduler.submit(hands.ran.append, number) for number in range(2)]
        with pytest.raises(ScheduleFullError, match="2"):
            hands.scheduler.submit(hands.ran.append, "one too many")
        assert issubclass(ScheduleFullError, OxicacheError)
        jobs[0].cancel()
        hands.scheduler.submit(hands.ran.append, "in its place")
        assert hands.at(0) == [1, "in its place"]

    @pytest.mark.parametrize(
        ("delay", "error"),
        [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)],
    )
    def test_wrong_delays_are_refused(self, hands: Hands, delay: Any, error: type[Exception]) -> None:
        """The message names the argument and the value."""
        with pytest.raises(error, match="delay"):
            hands.scheduler.after(delay, print)
        with pytest.raises(error, match="interval"):
            hands.scheduler.every(delay, print)

    def test_an_interval_of_nothing_is_refused(self, hands: Hands) -> None:
        """It would run without end."""
        with pytest.raises(ValueError, match="interval"):
            hands.scheduler.every(0, print)


class TestThread:
    def test_one_daemon_thread_runs_everything(self) -> None:
        """It starts with the first job, and ends when it has had nothing to do for a while."""
        own = Scheduler(idle=0.01)
        assert own._thread is None
        seen: list[threading.Thread] = []
        done = threading.Event()
        own.submit(lambda: seen.append(threading.current_thread()))
        own.after(0.01, lambda: (seen.append(threading.current_thread()), done.set()))
        assert done.wait(PATIENCE)
        assert seen[0].daemon
        assert seen[0] is seen[1]
        until(lambda: own._thread is None)
        done.clear()
        own.submit(done.set)
        assert done.wait(PATIENCE), "it starts again"
        own.close()

    def test_a_nearer_job_wakes_the_thread(self) -> None:
        """One that waits for a far job runs a near one in time."""
        own = Scheduler()
        own.after(3600, print)
        until(lambda: own._changed._waiters)  # type: ignore[attr-defined]
        done = threading.Event()
        own.submit(done.set)
        assert done.wait(PATIENCE)
        own.close()

    @pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
    def test_a_thread_that_cannot_start_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """ScheduleThreadError gives the reason; the job is not taken on, and the next one starts the thread."""
        own = Scheduler()
        ran: list[str] = []

        def fail(_: threading.Thread) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(ScheduleThreadError, match="append") as caught:
                own.submit(ran.append, "refused")
        assert caught.value.__cause__ is error
        assert issubclass(ScheduleThreadError, OxicacheError)
        assert (own.pending(), own._thread) == (0, None)
        done = threading.Event()
        own.submit(done.set)
        assert done.wait(PATIENCE)
        assert ran == []
        own.close()

    def test_a_start_that_was_interrupted_leaves_no_second_thread(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The thread that nobody knows of ends."""
        own = Scheduler()
        started: list[threading.Thread] = []
        start = threading.Thread.start

        def interrupted(thread: threading.Thread) -> None:
            start(thread)
            started.append(thread)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                own.submit(print)
        started[0].join(PATIENCE)
        assert not started[0].is_alive()
        done = threading.Event()
        own.submit(done.set)
        assert done.wait(PATIENCE)
        own.close()

    def test_after_closing_nothing_runs(self, caplog: pytest.LogCaptureFixture) -> None:
        """Jobs that are lost are named in the log; later ones are born cancelled."""
        own = Scheduler(is_threaded=False)
        own.submit(print)
        own.every(5, print)
        with caplog.at_level(logging.INFO):
            own.close()
        assert "1 background jobs were lost at exit: print" in caplog.text
        assert own.submit(print).is_cancelled
        assert own.run_due() == 0

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_child_has_a_thread_of_its_own(self) -> None:
        """Repeated and later jobs go on in the child, those to run at once stay the parent's."""
        own = Scheduler()
        reading, writing = os.pipe()
        parent = os.getpid()
        held, begun = threading.Event(), threading.Event()

        def tell(what: bytes) -> None:
            if os.getpid() != parent:
                os.write(writing, what)

        own.every(0.01, tell, b"e")
        own.submit(lambda: (begun.set(), held.wait(PATIENCE)))
        assert begun.wait(PATIENCE)
        own.submit(tell, b"s")
        pid = os.fork()
        if pid == 0:
            threading.Event().wait(PATIENCE)
            os._exit(1)
        try:
            assert os.read(reading, 1) == b"e"
        finally:
            held.set()
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            own.close()
            os.close(reading)
            os.close(writing)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_fork_leaves_no_lock_behind(self) -> None:
        """A child is not stopped by a lock that another thread of its parent held."""
        own = Scheduler()
        holding, forked = threading.Event(), threading.Event()

        def hold() -> None:
            with own._changed:
                holding.set()
                forked.wait(PATIENCE)

        holder = threading.Thread(target=hold, daemon=True)
        holder.start()
        assert holding.wait(PATIENCE)
        pid = os.fork()
        if pid == 0:
            # The alarm ends a child that hangs; it has no thread yet that could.
            signal.alarm(10)
            done = threading.Event()
            own.submit(done.set)
            os._exit(0 if done.wait(PATIENCE) else 1)
        forked.set()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        holder.join(PATIENCE)
        own.close()

    def test_the_interpreter_exits_quietly(self) -> None:
        """A thread that waits or works delays no exit and prints nothing."""
        source = (
            "import threading\n"
            "from oxicache import scheduling\n"
            "begun = threading.Event()\n"
            "scheduling.every(0.001, lambda: sum(range(1000)))\n"
            "scheduling.after(3600, print)\n"
            "scheduling.submit(lambda: (begun.set(), threading.Event().wait()))\n"
            "begun.wait()\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", source],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_there_is_one_for_the_process() -> None:
    """The module's functions are those of its scheduler."""
    from oxicache import scheduling

    done = threading.Event()
    assert scheduling.submit.__self__ is scheduler  # type: ignore[attr-defined]
    scheduling.submit(done.set)
    assert done.wait(PATIENCE)
