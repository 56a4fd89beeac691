"""The workers of a real uWSGI, which forks without Python's hooks unless it is told to use them."""

from pathlib import Path

import pytest
from live_workers import (
    a_fork_is_harmless,
    a_stuck_worker_answers_and_its_death_is_noticed,
    all_answer,
    nothing_is_left,
    nothing_was_said,
)
from web_servers import NoServerError, Server, await_, site, uwsgi

# From 2.0.22 on uWSGI releases the GIL between requests even without --enable-threads.
KINDS = {
    "processes": [],
    "threads": ["--enable-threads", "--threads", "2"],
    "fork hooks": ["--enable-threads", "--py-call-uwsgi-fork-hooks"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_workers_are_reached(kind: str) -> None:
    """They are listed and answer, also while one hangs; a killed one is replaced; an orderly stop leaves nothing."""
    with site() as place:
        try:
            starting = uwsgi(place, "--processes", "2", *KINDS[kind])
        except NoServerError as missing:
            pytest.skip(str(missing))
        with starting as server:
            assert server.site.socket_names() == set()  # nobody has asked for a page yet
            all_answer(server, 2, role="uwsgi")
            a_fork_is_harmless(server, has_threads=kind == "threads")
            a_stuck_worker_answers_and_its_death_is_noticed(server, 2)
            await_(lambda: is_idle(server), "has written of each request")
            nothing_is_left(server)
            nothing_was_said(server.log())


def is_idle(server: Server) -> bool:
    """Whether all that was answered is over: workers that are busy uWSGI ends without Python's exit functions."""
    pids = [int(name.partition("-")[0]) for name in server.site.socket_names()]
    return server.log().count("=> generated") >= len(server.answered) and all(map(_rests, pids))


def _rests(pid: int) -> bool:
    """Whether no thread runs: one that has just written of its request may have yet to note that it is over."""
    states = (stat.read_text().rpartition(") ")[2] for stat in Path(f"/proc/{pid}/task").glob("*/stat"))
    return not any(state.startswith("R") for state in states)
