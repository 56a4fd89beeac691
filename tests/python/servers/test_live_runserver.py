"""The process of a real runserver that serves, while its parent waits for files to change."""

import os
import signal

from live_workers import all_answer, asked, nothing_is_left, nothing_was_said
from web_servers import await_, runserver, site


def test_the_serving_process_is_reached() -> None:
    """It alone has a socket; after a change of the source another process has one; Ctrl-C leaves nothing."""
    with site() as place, runserver(place) as server:
        assert server.site.socket_names() == set()  # nobody has asked for a page yet
        (first,) = all_answer(server, 1, role="runserver")
        assert os.getpgid(first) == server.process.pid

        def is_replaced() -> bool:
            # Again and again: the reloader may not have seen the file yet, and then it has not changed.
            (place.folder / "live_settings.py").touch()
            return first not in server.site.pids()

        await_(is_replaced, "the reloader has ended the process")
        assert server.site.socket_names() == set()
        (second,) = server.reach(1, but={first})
        assert server.site.pids() == {second}
        assert [one.pid for one in asked(server, {"verb": "stats"}).answers] == [second]
        nothing_is_left(server, signal.SIGINT, whole_group=True)
        nothing_was_said(server.log())
