"""The trail of invalidations: what is noted, where it came from, how much is kept, what a fork does to it."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest

from oxicache import _native, store
from oxicache.trail import MAX_NAMES, Place, Trail, shown_path, word_numbers

HERE = Path(__file__).name


@pytest.fixture
def trail() -> Trail:
    """A trail of its own, of four notes."""
    return Trail(4)


def compiled(source: str, file: str) -> CodeType:
    """Code that says it stands in `file`."""
    return compile(source, file, "exec")


def called_from(trail: Trail, *files: str, **names: object) -> None:
    """Record an invalidation through functions that say they stand in `files`, the outermost first."""
    step = lambda: trail.record("save", ["row:shop.book:1"])  # noqa: E731
    for file in reversed(files):
        found: dict[str, object] = {"step": step, **names}
        exec(compiled("\n\ndef passed_on():\n    request = user\n    step()\n", file), found)  # noqa: S102
        step = found["passed_on"]  # type: ignore[assignment]
    step()


class TestNotes:
    def test_an_event_tells_what_was_invalidated_when_where_and_by_which_process(self, trail: Trail) -> None:
        """Kind, names, numbers, time, process and the line that called are in an event."""
        line = sys._getframe().f_lineno + 1
        trail.record("tag", ["tag::red"], "'red' in django:default")
        (event,) = trail.events()
        assert event["where"].endswith(f"{HERE}:{line}")
        assert event["pid"] == os.getpid()
        assert (event["kind"], event["names"]) == ("tag", ["tag::red"])
        assert event["words"] == list(_native.capture(["tag::red"]).words)
        assert (event["actor"], event["detail"]) == (None, "'red' in django:default")

    def test_only_the_newest_are_kept_and_come_first(self, trail: Trail) -> None:
        """Beyond its size the trail forgets the oldest."""
        for number in range(6):
            trail.record("save", [f"row:shop.book:{number}"])
        assert [event["names"] for event in trail.events()] == [
            [f"row:shop.book:{number}"] for number in (5, 4, 3, 2)
        ]
        assert len(trail.events(limit=3)) == 3

    def test_events_of_some_words_are_found_by_their_numbers(self, trail: Trail) -> None:
        """Who knows only that word 17 has moved finds who moved it."""
        trail.record("save", ["row:shop.book:1", "model:shop.book"])
        trail.record("save", ["row:shop.book:2", "model:shop.book"])
        number = word_numbers(["row:shop.book:1"])["row:shop.book:1"]
        assert ["row:shop.book:1" in event["names"] for event in trail.events([number])] == [True]
        assert trail.events([]) == []

    def test_a_note_is_no_event_until_it_is_entered(self, trail: Trail) -> None:
        """A transaction's invalidations are noted where they are made, and happen when it commits."""
        line = sys._getframe().f_lineno + 1
        note = trail.note("save", ["row:shop.book:1"])
        assert note is not None
        assert trail.events() == []
        trail.enter([note])
        (event,) = trail.events()
        assert event["where"].endswith(f"{HERE}:{line}")
        assert event["at"] >= note[0]

    def test_a_note_of_many_words_keeps_those_that_stand_for_many(self, trail: Trail) -> None:
        """The names of a million rows are not held; the word of their model is, and the rest is counted."""
        rows = [f"row:shop.book:{number}" for number in range(1000)]
        trail.record("invalidate", [*rows, "model:shop.book"])
        (event,) = trail.events()
        assert len(event["names"]) == MAX_NAMES
        assert "model:shop.book" in event["names"]
        assert event["detail"] == f"and {1001 - MAX_NAMES} more words"

    def test_size_0_is_off(self) -> None:
        """Nothing is noted, and nobody is looked for."""
        trail = Trail(0)
        trail.record("save", ["row:shop.book:1"])
        assert trail.note("save", ["row:shop.book:1"]) is None
        assert trail.events() == []

    def test_another_size_keeps_the_newest(self, trail: Trail) -> None:
        """A setting that changes does not empty the trail."""
        for number in range(4):
            trail.record("save", [f"row:shop.book:{number}"])
        trail.configure(size=2)
        assert trail.size == 2
        assert [event["names"] for event in trail.events()] == [["row:shop.book:3"], ["row:shop.book:2"]]


class TestCallers:
    @pytest.mark.parametrize(
        ("files", "where"),
        [
            pytest.param(["/app/views.py", "/framework/db/base.py"], "/app/views.py:5", id="innermost-own"),
            pytest.param(["/app/views.py", "/app/books.py"], "/app/books.py:5", id="the-inner-of-two"),
            pytest.param(["/app/views.py", threading.__file__], "/app/views.py:5", id="standard-library"),
            pytest.param(
                ["/server/wsgi.py", "/framework/handler.py", "/framework/admin/options.py"],
                "/framework/admin/options.py:5",
                id="the-admin-rather-than-the-server",
            ),
            pytest.param(
                ["/app/middleware.py", "/framework/handler.py", "/app/views.py"],
                "/app/views.py:5",
                id="inside-the-boundary",
            ),
            pytest.param(["/framework/handler.py", "/framework/db/base.py"], None, id="nobody"),
        ],
    )
    def test_the_caller_is_the_innermost_line_of_the_projects_own(
        self, trail: Trail, files: list[str], where: str | None
    ) -> None:
        """Libraries that only pass a call on are not whom one looks for, nor is what serves the request."""
        trail.configure(
            places={
                "/framework/": Place.INSIDE,
                "/framework/admin/": Place.FALLBACK,
                "/framework/handler.py": Place.BOUNDARY,
                str(Path(__file__)): Place.INSIDE,
                str(Path(pytest.__file__).parents[1]): Place.INSIDE,
                str(Path(sys.executable).parent): Place.INSIDE,  # pytest's own command
                "<": Place.INSIDE,
            }
        )
        called_from(trail, *files, user=None)
        assert trail.events()[0]["where"] == where

    def test_the_actor_is_asked_of_the_boundary(self, trail: Trail) -> None:
        """Whoever serves the request knows its user: the frame that holds it is handed over."""
        trail.configure(
            places={"/framework/handler.py": Place.BOUNDARY},
            actor=lambda frame: f"user {frame.f_locals['request']}",
        )
        called_from(trail, "/framework/handler.py", "/app/views.py", user=7)
        assert trail.events()[0]["actor"] == "user 7"

    def test_an_actor_that_cannot_be_told_does_not_stop_an_invalidation(self, trail: Trail) -> None:
        """What fails while the user is looked for is counted, and the note is made without."""

        def fails(_: FrameType) -> str:
            raise AttributeError("no such thing")

        trail.configure(places={"/framework/handler.py": Place.BOUNDARY}, actor=fails)
        store.forget_failures()
        called_from(trail, "/framework/handler.py", "/app/views.py", user=7)
        assert trail.events()[0]["actor"] is None
        assert store.failure_counts() == {"trail": 1}
        store.forget_failures()

    def test_a_path_is_shown_as_it_is_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The directory that modules are imported from is left out; other paths are whole."""
        monkeypatch.setattr(sys, "path", ["/srv/site", "/srv/site/apps", "/"])
        assert shown_path("/srv/site/apps/shop/views.py") == "shop/views.py"
        assert shown_path("/srv/site/manage.py") == "manage.py"
        assert shown_path("/opt/views.py") == "/opt/views.py"


class TestThreadsAndForks:
    def test_threads_write_while_others_read(self) -> None:
        """Reading the trail while others write neither fails nor loses the newest."""
        trail = Trail(50)
        stopped = threading.Event()
        failures: list[BaseException] = []

        def write(number: int) -> None:
            try:
                while not stopped.is_set():
                    trail.record("save", [f"row:shop.book:{number}"])
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        sizes = {len(trail.events()) for _ in range(200)}
        stopped.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert max(sizes) == 50

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    def test_a_child_begins_with_an_empty_trail(self, parent_trail: Trail) -> None:
        """What the parent invalidated is not told as the child's."""
        parent_trail.record("save", ["row:shop.book:1"])
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writing, str(len(parent_trail.events())).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            assert answer.read() == "0"
        os.waitpid(pid, 0)
        assert len(parent_trail.events()) == 1


@pytest.fixture
def parent_trail() -> Iterator[Trail]:
    """The process's own trail, which is what a fork empties."""
    from oxicache.trail import trail

    trail.clear()
    yield trail
    trail.clear()
