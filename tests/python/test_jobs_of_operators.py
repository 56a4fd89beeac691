"""Jobs that an operator hands to this process through the control verb `schedule`: taken on, listed, cancelled."""

import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from oxicache import jobs, live, scheduling
from oxicache.scheduling import Scheduler
from oxicache.selection import Selection

TAGGED = {"tags": ["a"]}


class Process:
    """This process, with a schedule that runs when it is told, and what was invalidated."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[tuple[Selection, bool, bool]] = []
        self.scheduler = Scheduler(clock=lambda: self.now, is_threaded=False)

    def perform(self, selection: Selection, cascade: bool, foreign: bool) -> str:
        self.done.append((selection, cascade, foreign))
        return "3 entries"

    def perform_here(self, aliases: list[str], selection: Selection, dry_run: bool) -> dict[str, Any]:
        return {alias: {"count": 2, "failure": str((selection, dry_run))} for alias in aliases}

    def at(self, now: float) -> list[tuple[Selection, bool, bool]]:
        self.now = now
        self.scheduler.run_due()
        return self.done


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    process = Process()
    monkeypatch.setattr(scheduling, "after", process.scheduler.after)
    monkeypatch.setattr(jobs, "_performer", jobs._Performer())
    jobs.perform_with(process.perform, process.perform_here)
    yield process
    for one in jobs.waiting():
        jobs.cancel(one.id)


def ask(**given: Any) -> dict[str, Any]:
    """What the operator gets."""
    answer: dict[str, Any] = json.loads(live.answer("schedule", json.dumps(given)))
    return answer


def hand_over(**given: Any) -> dict[str, Any]:
    return ask(**{"operation": "invalidate", "delay": 60, "selection": TAGGED, **given})


class TestTakenOn:
    def test_it_is_done_when_it_is_due(self, process: Process) -> None:
        """Once, with what was selected."""
        taken = hand_over(cascade=True, foreign=False)
        assert UUID(taken["job"]).version == 4
        assert taken["what"] == "tag 'a'"
        assert process.at(59) == []
        assert process.at(60) == [(Selection(tags=("a",)), True, False)]
        assert process.at(1000) == [(Selection(tags=("a",)), True, False)]

    @pytest.mark.parametrize(
        "selection",
        [
            Selection(tags=("a",), keys=("k",), globs=("g:*",), regex="^r", prefix="p", caches=("c",)),
            Selection(models=("auth.User",), rows=(("auth.User", 5), ("auth.User", "x")), aliases=("redis",)),
            Selection(globs=("g",), tenant=0, version=2),
        ],
        ids=["names", "rows", "tenant 0"],
    )
    def test_a_selection_arrives_as_it_was(self, process: Process, selection: Selection) -> None:
        """What JSON makes of it, and back."""
        hand_over(selection=json.loads(json.dumps(jobs.spelt(selection))), delay=0)
        assert process.at(0) == [(selection, False, True)]

    def test_what_came_of_it_is_logged(self, process: Process, caplog: pytest.LogCaptureFixture) -> None:
        """Nobody waits for the answer."""
        taken = hand_over()
        with caplog.at_level(logging.INFO, "oxicache.jobs"):
            process.at(60)
        (said,) = [record.message for record in caplog.records]
        assert "tag 'a'" in said
        assert taken["job"] in said
        assert said.endswith("3 entries")

    def test_one_that_is_lost_is_logged_by_what_it_was(
        self, process: Process, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A worker that ends takes its jobs with it."""
        hand_over()
        with caplog.at_level(logging.INFO, "oxicache.scheduling"):
            process.scheduler.close()
        assert "invalidation of tag 'a' (job " in caplog.text


class TestAskedAbout:
    def test_those_that_wait_are_listed(self, process: Process) -> None:
        """Until they are done."""
        taken = hand_over()
        (listed,) = ask(operation="list")["jobs"]
        assert (listed["job"], listed["what"]) == (taken["job"], "tag 'a'")
        process.at(60)
        assert ask(operation="list") == {"jobs": []}

    def test_one_is_cancelled_once(self, process: Process) -> None:
        """It does not run; a second time there is nothing to cancel."""
        job = hand_over()["job"]
        assert [ask(operation="cancel", job=job)["cancelled"] for _ in range(2)] == [True, False]
        assert process.at(60) == []


class TestHere:
    def test_it_is_done_at_once(self, process: Process) -> None:
        """Of aliases under which each process has its own, with nothing selected standing for everything."""
        asked = {"operation": "here", "aliases": ["memory"]}
        counted = ask(**asked, selection=TAGGED, dry_run=True)
        assert counted == {"here": {"memory": {"count": 2, "failure": str((Selection(tags=("a",)), True))}}}
        assert ask(**asked, selection={})["here"]["memory"]["failure"] == str((Selection(), False))

    @pytest.mark.parametrize("aliases", [None, "memory", [1]], ids=str)
    def test_aliases_that_are_none(self, process: Process, aliases: Any) -> None:
        """A ValueError, as for what is to be done later."""
        with pytest.raises(ValueError, match="must be a list of str"):
            ask(operation="here", aliases=aliases, selection=TAGGED)


class TestRefused:
    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"operation": "fly"}, "must be invalidate, cancel, list or here"),
            ({"delay": -1}, "delay"),
            ({"delay": "soon"}, "delay"),
            ({"delay": True}, "delay"),
            ({"delay": None}, "delay"),
            ({"delay": 1e9}, "delay"),
            ({"selection": None}, "must be an object"),
            ({"selection": {}}, "names nothing"),
            ({"selection": {"nothing": 1}}, "nothing, which is none of"),
            ({"selection": {"tags": "a"}}, "must be a sequence"),
            ({"selection": {"tags": [1]}}, "must hold str"),
            ({"selection": {"rows": [1]}}, "selection"),
            ({"selection": {"models": ["User"]}}, "write it as"),
        ],
        ids=str,
    )
    def test_what_means_nothing(self, process: Process, given: dict[str, Any], why: str) -> None:
        """A ValueError, which the socket answers with; nothing waits."""
        with pytest.raises(ValueError, match=why):
            hand_over(**given)
        assert jobs.waiting() == []

    def test_where_nothing_can_be_done(self, process: Process) -> None:
        """A process without Django takes no job on."""
        jobs.perform_with(None)
        with pytest.raises(NotImplementedError, match="not configured"):
            hand_over()
