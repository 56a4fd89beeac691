"""The children of a real celery worker, which are reached like the workers of a web server; their parent is not."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
import server_process
from live_workers import ANSWERED_SECONDS, asked, nothing_is_left, nothing_was_said, stats_at_once
from web_servers import Server, await_, celery, site

pytest.importorskip("celery")

CONCURRENCY = 2
STUCK_SECONDS = 5.0


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What celery adds to the places of modules goes with the test."""
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.fixture
def server(redis_server: server_process.Listening) -> Iterator[Server]:
    """A worker with two children, and a broker of this test's own."""
    broker = f"redis://{redis_server.host}:{redis_server.port}/7"
    with site(LIVE_BROKER=broker) as place, celery(place, f"--concurrency={CONCURRENCY}") as server:
        yield server


def test_children_are_reached(server: Server) -> None:
    """They are listed and answer, also while one hangs; a killed one is replaced; an orderly stop leaves nothing."""
    place = server.site
    pids = await_(
        lambda: len(found := place.pids()) == CONCURRENCY and found, "each child serves when it starts"
    )
    assert server.process.pid not in pids
    config = asked(server, {"verb": "config"})
    assert {(one.pid, one.result["describe"]["role"]) for one in config.answers} == {
        (pid, "celery") for pid in pids
    }
    send = Sender(server)
    send("work", 0.05, times=8)
    await_(lambda: worked(server) == pids, "each child has had a task")
    stats = asked(server, {"verb": "stats"})
    assert {one.pid for one in stats.answers} == pids
    assert all(one.result["caches"]["live"]["hits"] >= 1 for one in stats.answers)

    send("hang", STUCK_SECONDS)
    stuck = await_(server.hanging_pid, "hangs")
    stats, took = stats_at_once(server)
    assert {one.pid for one in stats.answers} == pids
    assert took < ANSWERED_SECONDS
    log_before = server.log()
    os.kill(stuck, signal.SIGKILL)
    await_(lambda: len(place.pids() - {stuck}) == CONCURRENCY, "another child has taken its place")
    assert stuck not in place.pids()
    nothing_is_left(server)
    nothing_was_said(log_before)
    nothing_was_said(server.log().split("WorkerLostError: ")[-1].partition("\n")[2])


def worked(server: Server) -> set[int]:
    """Who has done a task."""
    return {int(path.name.split("-")[1]) for path in server.site.folder.glob("worked-*")}


class Sender:
    """Sends tasks without Django, as another program may."""

    def __init__(self, server: Server) -> None:
        from celery import Celery

        self._app = Celery(broker=server.site.environment["LIVE_BROKER"])

    def __call__(self, name: str, *arguments: float, times: int = 1) -> None:
        for _ in range(times):
            self._app.send_task(f"project.tasks.{name}", arguments)
