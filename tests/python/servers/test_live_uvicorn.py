"""The workers of a real uvicorn, which serve the site's ASGI application."""

import pytest
from live_workers import (
    a_fork_is_harmless,
    a_stuck_worker_answers_and_its_death_is_noticed,
    all_answer,
    nothing_is_left,
    nothing_was_said,
)
from web_servers import site, uvicorn

pytest.importorskip("uvicorn")


def test_workers_are_reached() -> None:
    """They are listed and answer, also while one hangs; a killed one is replaced; an orderly stop leaves nothing."""
    with site() as place, uvicorn(place, "--workers", "2") as server:
        assert server.site.socket_names() == set()  # nobody has asked for a page yet
        all_answer(server, 2, role="uvicorn")
        a_fork_is_harmless(server, has_threads=True)
        a_stuck_worker_answers_and_its_death_is_noticed(server, 2)
        # Each ends itself by SIGTERM once its requests are done.
        nothing_is_left(server, runs_exit_functions=False)
        nothing_was_said(server.log())
