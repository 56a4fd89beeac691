"""What must hold of the live workers of any server, checked on one that runs: a step a function, in this order."""

import os
import signal
import time

from web_servers import FORK_WARNING, Server, await_

from oxicache.workers import Answers, ask

STUCK_SECONDS = 5.0  # how long a worker holds the GIL; it is killed before that is over
ANSWERED_SECONDS = (
    0.1  # of the fastest of some answers: how long the others took says how busy the machine is
)
TRIES = 5
DEADLINE = 10.0  # seconds; only a hang reaches it


def all_answer(server: Server, count: int, *, role: str) -> set[int]:
    """After a request to each, all workers are listed and answer; before it none of them, and their master never."""
    pids = server.reach(count)
    assert server.site.pids() == pids
    assert server.process.pid not in pids
    stats = asked(server, {"verb": "stats"})
    health = asked(server, {"verb": "health"})
    config = asked(server, {"verb": "config"})
    for answers in (stats, health, config):
        assert {one.pid for one in answers.answers} == pids
        assert answers.is_complete, answers
    for one in stats.answers:
        assert one.result["caches"]["live"]["size"] == 1
        assert one.result["caches"]["live"]["hits"] >= 1
    for one in health.answers:
        assert one.result["uptime_seconds"] > 0
    assert {one.result["describe"]["role"] for one in config.answers} == {role}
    return pids


def asked(server: Server, request: dict[str, object]) -> Answers:
    """What all live workers answer."""
    return ask(server.site.workers(), request, DEADLINE)


def a_fork_is_harmless(server: Server, *, has_threads: bool = False) -> None:
    """A worker that forks is not warned, and can be reached afterwards; its child leaves the socket alone.

    `has_threads`: the server itself runs threads, of which CPython warns.
    """
    forked = server.get("/live/fork/")
    assert has_threads or forked["warnings"] == []
    assert forked["ended"] == 7
    await_(lambda: forked["pid"] in server.site.pids(), "serves again once the request is over")
    assert forked["pid"] in {one.pid for one in asked(server, {"verb": "health"}).answers}


def stats_at_once(server: Server) -> tuple[Answers, float]:
    """What all live workers answer, and how many seconds that took at best."""
    took = []
    for _ in range(TRIES):
        began = time.monotonic()
        stats = asked(server, {"verb": "stats"})
        took.append(time.monotonic() - began)
    return stats, min(took)


def a_stuck_worker_answers_and_its_death_is_noticed(server: Server, count: int) -> None:
    """Python hangs in C: stats come at once, of all workers. Killed, it is gone, and another takes its place."""
    before = server.site.pids()
    with server.hanging(STUCK_SECONDS) as stuck:
        stats, took = stats_at_once(server)
        health = asked(server, {"verb": "health"})
        os.kill(stuck, signal.SIGKILL)
    assert {one.pid for one in stats.answers} == before, stats
    assert took < ANSWERED_SECONDS
    (hung,) = [one for one in health.answers if one.pid == stuck]
    assert not hung.result["python"]["answers"]
    left_behind = {name for name in server.site.socket_names() if name.startswith(f"{stuck}-")}
    await_(lambda: stuck not in server.site.pids(), "the killed worker refuses")
    assert not left_behind & server.site.socket_names()
    server.reach(count - len(before - {stuck}), but=before - {stuck})
    pids = await_(lambda: len(found := server.site.pids()) == count and found, "the next worker is listed")
    assert before - {stuck} < pids if count > 1 else stuck not in pids
    assert {one.pid for one in asked(server, {"verb": "stats"}).answers} == pids


def nothing_is_left(
    server: Server,
    stop: signal.Signals = signal.SIGTERM,
    *,
    whole_group: bool = False,
    runs_exit_functions: bool = True,
) -> None:
    """Stopped in order, the server leaves no socket.

    Of one that ends its workers without Python's exit functions, the next look removes the sockets.
    """
    server.stop(stop, whole_group=whole_group)
    if not runs_exit_functions:
        assert server.site.workers() == []
    assert server.site.socket_names() == set()


def nothing_was_said(log: str) -> None:
    """A server wrote neither a traceback nor a warning of forks."""
    for unwanted in (FORK_WARNING, "Traceback", "panicked"):
        assert unwanted not in log, log
