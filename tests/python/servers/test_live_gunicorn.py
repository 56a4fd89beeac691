"""The workers of a real gunicorn: each kind is reached, however it was started."""

import pytest
from live_workers import (
    a_fork_is_harmless,
    a_stuck_worker_answers_and_its_death_is_noticed,
    all_answer,
    nothing_is_left,
    nothing_was_said,
)
from web_servers import gunicorn, site

pytest.importorskip("gunicorn")

KINDS = {
    "sync": (["--workers", "2"], 2),
    "gthread": (["--workers", "2", "--worker-class", "gthread", "--threads", "3"], 2),
    "preload": (["--workers", "8", "--preload"], 8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_workers_are_reached(kind: str) -> None:
    """They are listed and answer, also while one hangs; a killed one is replaced; an orderly stop leaves nothing."""
    options, count = KINDS[kind]
    with site() as place, gunicorn(place, "--graceful-timeout", "3", *options) as server:
        assert server.site.socket_names() == set()  # nobody has asked for a page yet
        all_answer(server, count, role="gunicorn")
        a_fork_is_harmless(server, has_threads=kind == "gthread")
        a_stuck_worker_answers_and_its_death_is_noticed(server, count)
        nothing_is_left(server)
        nothing_was_said(server.log())
