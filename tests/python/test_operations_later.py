"""What an operator hands to live workers to be done later, and takes back: asked of workers that a test scripts."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_site import answers, text
from scripted_workers import answer, scripted, short_folder

from oxicache import operations
from oxicache.selection import Selection
from oxicache.sites import Site


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


TAKEN = {"job": "7d1c", "due": 1.0, "what": "tag 'a'"}


class TestLater:
    def test_one_worker_is_handed_the_job(self, folder: Path) -> None:
        """The others are reached by what it does then."""
        with scripted(folder, answers(TAKEN, 1), answers(TAKEN, 2)) as workers:
            report = operations.schedule(
                Site(folders=(folder,)), Selection(tags=("a",), tenant=None), 300, cascade=True, foreign=False
            )
        (asked,) = [one for worker in workers for one in worker.asked]
        assert asked == {
            "v": 1,
            "verb": "schedule",
            "operation": "invalidate",
            "delay": 300,
            "selection": {"tags": ["a"]},
            "cascade": True,
            "foreign": False,
        }
        assert text(report) == [
            "Scheduled invalidation of tag 'a' in 5.0 min",
            f"  job 7d1c of worker {report.pid}, lost if that ends before",
        ]
        assert report.as_json()["scheduled"] == "7d1c"
        assert report.as_json()["due"] == "1970-01-01T00:00:01+00:00"

    def test_the_next_takes_what_one_refuses(self, folder: Path) -> None:
        """A worker that is busy is no reason to give up."""
        busy = json.dumps({"v": 1, "ok": False, "error": "busy", "message": "at it"}).encode() + b"\n"
        seen: list[int] = []

        def first_refuses(connection: socket.socket, _: bytes) -> None:
            seen.append(1)
            connection.sendall(busy if len(seen) == 1 else answer(TAKEN, pid=9))

        with scripted(folder, first_refuses, first_refuses):
            report = operations.schedule(Site(folders=(folder,)), Selection(tags=("a",)), 1)
        assert (len(seen), report.pid, report.shortfall()) == (2, 9, None)

    def test_nobody_takes_it(self, folder: Path) -> None:
        """Nothing is scheduled, which is said."""
        report = operations.schedule(Site(folders=(folder,)), Selection(tags=("a",)), 1)
        assert report.as_json()["scheduled"] is None
        assert report.shortfall() == "Nothing was scheduled: no live worker took the invalidation of tag 'a'"
        assert text(report)[0] == f"No live worker of this site was found in {folder}."

    def test_what_is_wrong_is_said_at_once(self, folder: Path) -> None:
        """And not by a worker's log in five minutes."""
        with (
            scripted(folder, answers(TAKEN)) as (worker,),
            pytest.raises(ValueError, match="nothing is selected"),
        ):
            operations.schedule(Site(folders=(folder,)), Selection(), 1)
        assert worker.asked == []

    def test_it_is_taken_back(self, folder: Path) -> None:
        """Each worker is asked, since nobody knows who has it."""
        with scripted(folder, answers({"cancelled": False}, 1), answers({"cancelled": True}, 2)) as workers:
            report = operations.cancel(Site(folders=(folder,)), "7d1c")
        assert [one.asked[0]["operation"] for one in workers] == ["cancel"] * 2
        assert text(report)[0] == "Cancelled job 7d1c of worker 2"

    def test_nobody_has_it(self, folder: Path) -> None:
        """It may be done already."""
        with scripted(folder, answers({"cancelled": False})):
            report = operations.cancel(Site(folders=(folder,)), "7d1c")
        assert report.shortfall() == "No live worker that answered has the job 7d1c"
        assert report.as_json()["cancelled"] is False
