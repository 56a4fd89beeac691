"""How what other workers are told is gathered, parted and sent. What real workers make of it: ../test_delivery.py."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from oxicache import workers
from oxicache.django import delivery
from oxicache.errors import ScheduleFullError
from oxicache.scheduling import Scheduler
from oxicache.store import failure_counts, forget_failures
from oxicache.wire import Answer, Answers, Failure, Worker

ONE, TWO = Worker("/one", 1, 1, 0), Worker("/two", 2, 1, 0)


class Post:
    """What is asked of two workers, and a clock and a thread that are moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.requests: list[dict[str, Any]] = []
        self.asked: list[list[int]] = []
        self.outcome: Answers | Exception | None = None
        self.scheduler = Scheduler(clock=self.clock, is_threaded=False)
        monkeypatch.setattr(delivery, "_scheduler", self.scheduler)
        monkeypatch.setattr(delivery, "_is_off", lambda: False)
        monkeypatch.setattr(delivery, "_others", lambda: [ONE, TWO])
        monkeypatch.setattr(delivery, "_sent_at", [0.0])
        monkeypatch.setattr(delivery, "_gathering", [])
        monkeypatch.setattr(delivery.time, "monotonic", self.clock)
        monkeypatch.setattr(workers, "ask", self.ask)

    def clock(self) -> float:
        return self.now

    def ask(self, others: list[Worker], request: dict[str, Any], deadline: float) -> Answers:
        self.requests.append(request)
        self.asked.append([one.pid for one in others])
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is not None:
            return self.outcome
        said = {"invalidated": {"cache": 2}, "done": True}
        return Answers(answers=tuple(Answer(one, one.pid, 0.0, said, 0.0) for one in others))

    def after(self, seconds: float) -> int:
        """Let time pass; how many rounds were sent."""
        self.now += seconds
        return self.scheduler.run_due()


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    forget_failures()
    yield Post(monkeypatch)
    forget_failures()


def announce(**names: Any) -> Any:
    return delivery.announce(names.pop("caches", None), names)


class TestGathering:
    def test_one_request_for_many(self, post: Post) -> None:
        """What is asked for within a few milliseconds is one round, each name told once."""
        rounds = [announce(keys=["a"]), announce(keys=["b", "a"]), announce(tags=["t"])]
        assert rounds[0] is rounds[1] is rounds[2]
        assert [post.after(0.004), post.requests] == [0, []]
        assert post.after(0.002) == 1
        assert post.requests == [
            {"verb": "invalidate", "keys": ["a", "b"], "stores": False},
            {"verb": "invalidate", "tags": ["t"], "stores": False},
        ]
        assert [rounds[0].is_done, rounds[0].removed, rounds[0].missing] == [True, 8, {}]

    def test_the_next_round_waits(self, post: Post) -> None:
        """Rounds follow each other at some distance: each worker is asked by all the others."""
        announce(keys=["a"])
        post.after(0.01)
        announce(keys=["b"])
        assert [post.after(0.02), post.after(0.04)] == [0, 1]
        assert len(post.requests) == 2

    def test_patterns_and_caches(self, post: Post) -> None:
        """Each kind of pattern, and each cache that is named, is a request of its own."""
        announce(globs=["a*"], regexes=["b"], caches=["one", "two"])
        post.after(1)
        assert [(one["kind"], one["patterns"], one["caches"]) for one in post.requests] == [
            ("glob", ["a*"], ["one"]),
            ("glob", ["a*"], ["two"]),
            ("regex", ["b"], ["one"]),
            ("regex", ["b"], ["two"]),
        ]

    def test_parted(self, post: Post) -> None:
        """Names that do not fit into one request go in several, each short enough, none left out."""
        keys = ["x" * 40_000, "y" * 40_000, *(f"é{number}" for number in range(3_500))]
        announce(keys=keys)
        post.after(1)
        assert [key for one in post.requests for key in one["keys"]] == keys
        assert max(len(one["keys"]) for one in post.requests) <= 1000
        assert max(len(json.dumps(one)) for one in post.requests) < 2**16

    def test_nothing(self, post: Post) -> None:
        """No names, no round."""
        assert announce(keys=[], tags=()) is None
        assert post.scheduler.pending() == 0

    def test_off_in_tests(self) -> None:
        """While tests run nobody is told: a site may run on this host."""
        assert announce(keys=["a"]) is None


class TestWaiting:
    def test_who_waits_sends(self, post: Post) -> None:
        """Whoever waits does not wait for the thread; nothing is sent twice."""
        told = announce(keys=["a"])
        assert [told.wait(30), told.wait(0), post.after(1), len(post.requests)] == [True, True, 1, 1]
        assert announce(keys=["b"]) is not told

    def test_while_another_sends(self, post: Post) -> None:
        """Who comes while it is being sent waits for the end, as long as was said."""
        told = announce(keys=["a"])
        begun, go_on = threading.Event(), threading.Event()
        ask = post.ask

        def slow(*args: Any) -> Answers:
            begun.set()
            assert go_on.wait(10)
            return ask(*args)

        workers.ask = slow  # type: ignore[assignment] -- the fixture puts the real one back
        thread = threading.Thread(target=told.wait, args=(10,))
        thread.start()
        assert begun.wait(10)
        assert [told.wait(0.01), told.is_done] == [False, False]
        go_on.set()
        assert told.wait(10)
        thread.join()


class TestFailures:
    @pytest.mark.parametrize(
        ("outcome", "missing"),
        [
            (Answers(silent=(ONE,)), {1: "did not answer in time"}),
            (Answers(failures=(Failure(TWO, "busy", "too many orders"),)), {2: "too many orders"}),
            (
                Answers(answers=(Answer(ONE, 1, 0.0, {"done": False}, 0.0),)),
                {1: "has the order, and has not carried it out yet"},
            ),
            (Answers(gone=(ONE, TWO)), {}),
        ],
        ids=["silent", "refuses", "not yet", "ended"],
    )
    def test_who_did_not_confirm(self, post: Post, outcome: Answers, missing: dict[int, str]) -> None:
        """A worker that lives and did not confirm is named, counted once, and not asked again in this round."""
        post.outcome = outcome
        told = announce(keys=["a"], tags=["t"])
        assert told.wait(30) == (not missing)
        assert told.missing == missing
        assert failure_counts() == ({"invalidation of other workers": 1} if missing else {})
        assert post.asked[1] == [pid for pid in (1, 2) if pid not in missing]

    def test_a_cache_that_it_does_not_have(self, post: Post) -> None:
        """A worker without the cache has nothing to forget; asked about all of them, an error is one."""
        post.outcome = Answers(failures=(Failure(ONE, "unknown_cache", "no such cache"),))
        assert announce(keys=["a"], caches=["mine"]).wait(30)
        assert not announce(keys=["a"]).wait(30)

    def test_the_folder_cannot_be_read(self, post: Post) -> None:
        """What fails on the way is one log line and one count; who waits is let go."""
        post.outcome = PermissionError("no")
        told = announce(keys=["a"])
        assert [post.after(1), told.is_done, failure_counts()] == [
            1,
            True,
            {"invalidation of other workers": 1},
        ]
        assert not told.wait(30)

    def test_a_full_queue(self, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no job can be had the next one tries again, and all that was gathered goes then."""

        def full(*_: Any) -> None:
            raise ScheduleFullError("full")

        with monkeypatch.context() as patch:
            patch.setattr(post.scheduler, "after", full)
            first = announce(keys=["a"])
        assert announce(keys=["b"]) is first
        post.after(1)
        assert post.requests == [{"verb": "invalidate", "keys": ["a", "b"], "stores": False}]

    def test_a_thread_that_never_runs(self, post: Post) -> None:
        """Where a round has waited for a second, who asks next sends it: some servers run no threads."""
        announce(keys=["a"])
        post.now += 0.5
        announce(keys=["b"])
        assert post.requests == []
        post.now += 1
        announce(keys=["c"])
        assert post.requests == [{"verb": "invalidate", "keys": ["a", "b", "c"], "stores": False}]

    def test_at_exit(self, post: Post) -> None:
        """What was gathered when the process ends is sent."""
        told = announce(keys=["a"])
        delivery.flush()
        assert [told.is_done, len(post.requests)] == [True, 1]

    def test_in_a_child(self, post: Post) -> None:
        """A child that was forked tells nothing that its parent gathered."""
        told = announce(keys=["a"])
        delivery._forget_parents_rounds()
        post.after(1)
        assert [told.is_done, post.requests] == [False, []]
        assert announce(keys=["b"]) is not told
