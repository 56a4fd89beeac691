"""Finding the workers of a host, and asking all of them at once: against workers that do as a test tells them."""

import contextlib
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_workers import ScriptedWorker, answer, dead_socket, says, scripted, short_folder

from oxicache import workers
from oxicache.errors import RequestTooLongError
from oxicache.workers import ask, discover

STATS = {"verb": "stats"}
SOON = 0.2  # seconds: a deadline that a silent worker is meant to miss
UNTIL_OTHERS = 2.0  # seconds: the same where another worker is meant to answer in time
AMPLE = 60.0  # seconds: a deadline that only a hang reaches, and a test that reaches it fails


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < AMPLE


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def failure(folder: Path, line: bytes) -> tuple[str, str]:
    """How the answer `line` is refused."""
    with scripted(folder, says(line)):
        found = ask(discover(folder), STATS, AMPLE)
    (failed,) = found.failures
    assert (found.answers, found.silent, found.gone) == ((), (), ())
    return failed.error, failed.message


class TestDiscover:
    def test_no_folder_is_no_worker(self, folder: Path) -> None:
        """A site of which no process has served yet has no folder."""
        assert discover(folder / "missing") == []

    def test_who_listens_is_a_worker(self, folder: Path) -> None:
        """The socket's name says which process, and since when; the list is in order of pids."""
        with scripted(folder, *[says(b"")] * 3) as live:
            found = discover(folder)
        assert [(worker.pid, worker.started, worker.path) for worker in found] == [
            (pid, 77, str(one.path)) for pid, one in enumerate(live, 1)
        ]
        assert {worker.user for worker in found} == {os.geteuid()}

    def test_nobody_is_asked(self, folder: Path) -> None:
        """A worker only sees a connection come and go."""
        with scripted(folder, says(answer({}))) as (one,):
            discover(folder)
            ask(discover(folder), STATS, AMPLE)
        assert one.asked == [{"v": 1, "verb": "stats"}]

    def test_a_socket_that_refuses_is_removed(self, folder: Path) -> None:
        """What a killed worker left behind is no worker, and is gone afterwards."""
        path = dead_socket(folder, 5)
        assert discover(folder) == []
        assert not path.exists()

    def test_foreign_names_stay(self, folder: Path) -> None:
        """Sockets of other names, also those not yet renamed, and files that are no sockets are left alone."""
        names = [
            "7.sock",
            "7-77.sock",
            "x-1-a.sock",
            "7-77-zz.sock",
            "7-77-a.sock.new",
            ".7-77-a.sock",
            "versions-1-65536",
        ]
        for name in names:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(folder / name))
        (folder / "8-77-a.sock").write_text("no socket")
        (folder / "9-77-a.sock").symlink_to(folder / "7.sock")
        assert discover(folder) == []
        assert {path.name for path in folder.iterdir()} == {*names, "8-77-a.sock", "9-77-a.sock"}

    def test_a_worker_whose_queue_is_full_is_one(self, folder: Path) -> None:
        """A process that is stopped accepts nobody, and lives."""
        with contextlib.ExitStack() as stack:
            path = folder / "5-77-a.sock"
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    client = stack.enter_context(socket.socket(socket.AF_UNIX))
                    client.setblocking(False)
                    client.connect(str(path))
            found = discover(folder)
            assert [worker.pid for worker in found] == [5]
            assert [worker.pid for worker in ask(found, STATS, SOON).silent] == [5]


class TestAsk:
    def test_everyone_answers(self, folder: Path) -> None:
        """Each is asked the same, with the version of the wire, and each answer is there with who gave it."""
        with scripted(folder, *(says(answer({"n": pid}, pid=pid)) for pid in (1, 2, 3))) as live:
            found = ask(discover(folder), {"verb": "stats", "caches": ["a"]}, AMPLE)
        assert [(one.worker.pid, one.pid, one.started, one.result) for one in found.answers] == [
            (pid, pid, 1.5, {"n": pid}) for pid in (1, 2, 3)
        ]
        assert all(0 <= one.seconds < AMPLE for one in found.answers)
        assert [one.asked for one in live] == [[{"v": 1, "verb": "stats", "caches": ["a"]}]] * 3
        assert (found.asked, found.is_complete) == (3, True)

    def test_nobody_to_ask(self) -> None:
        """No workers, no answers; that is complete, and says nothing about the site."""
        found = ask([], STATS)
        assert (found, found.asked, found.is_complete) == (workers.Answers(), 0, True)

    def test_they_are_asked_at_once(self, folder: Path) -> None:
        """No worker waits for the answer of another: here none answers until all were asked."""
        all_asked = threading.Barrier(4, timeout=AMPLE)

        def script(connection: socket.socket, _: bytes) -> None:
            all_asked.wait()
            connection.sendall(answer({}))

        with scripted(folder, *[script] * 4):
            assert len(ask(discover(folder), STATS, AMPLE).answers) == 4

    def test_who_is_slow_is_silent(self, folder: Path) -> None:
        """Past the deadline the rest is there, and the slow one is named."""

        def slow(connection: socket.socket, _: bytes) -> None:
            live[0].wait()
            connection.sendall(answer({}))

        live: list[ScriptedWorker]
        with scripted(folder, slow, says(answer({"n": 2}))) as live:
            found = ask(discover(folder), STATS, UNTIL_OTHERS)
        assert [worker.pid for worker in found.silent] == [1]
        assert [one.worker.pid for one in found.answers] == [2]
        assert (found.asked, found.is_complete) == (2, False)

    def test_who_stops_midway_is_silent(self, folder: Path) -> None:
        """A line without its end is no answer yet."""

        def half(connection: socket.socket, _: bytes) -> None:
            connection.sendall(answer({})[:-5])
            live[0].wait()

        live: list[ScriptedWorker]
        with scripted(folder, half) as live:
            found = ask(discover(folder), STATS, SOON)
        assert [worker.pid for worker in found.silent] == [1]

    def test_an_answer_in_pieces(self, folder: Path) -> None:
        """It is put together, however it comes."""

        def piecemeal(connection: socket.socket, _: bytes) -> None:
            for byte in answer({"text": "piecemeal"}):
                connection.sendall(bytes([byte]))

        with scripted(folder, piecemeal):
            assert ask(discover(folder), STATS, AMPLE).answers[0].result == {"text": "piecemeal"}

    def test_a_long_answer(self, folder: Path) -> None:
        """Up to 16 MiB an answer is read."""
        long = {"keys": ["k" * 1000] * 15_000}
        with scripted(folder, says(answer(long))):
            assert ask(discover(folder), STATS, AMPLE).answers[0].result == long

    def test_who_ended_meanwhile_is_gone(self, folder: Path) -> None:
        """A worker that has ended between the two is no failure, and is not counted."""
        with scripted(folder, says(answer({})), says(answer({}))) as live:
            found = discover(folder)
            live[0].path.unlink()
        path = Path(found[1].path)
        assert path.exists()  # nobody listens there any more
        outcome = ask(found, STATS, AMPLE)
        assert [worker.pid for worker in outcome.gone] == [1, 2]
        assert (outcome.asked, outcome.is_complete) == (0, True)

    def test_a_deep_folder(self, folder: Path) -> None:
        """The path of a worker's socket may be longer than an address."""
        deep = folder.joinpath(*["d" * 50] * 4)
        deep.mkdir(mode=0o700, parents=True)
        before = Path.cwd()
        os.chdir(deep)
        try:
            with scripted(Path(), says(answer({}))):
                os.chdir(before)
                assert len(ask(discover(deep), STATS, AMPLE).answers) == 1
                os.chdir(deep)
        finally:
            os.chdir(before)

    def test_more_workers_than_connections_at_once(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others are asked as soon as the first have answered."""
        monkeypatch.setattr(workers, "OPEN_AT_ONCE", 2)
        with scripted(folder, *[says(answer({}))] * 7):
            assert len(ask(discover(folder), STATS, AMPLE).answers) == 7

    def test_more_workers_than_files(self, folder: Path) -> None:
        """A process that may open few files more asks in turns, too."""
        with scripted(folder, *[says(answer({}))] * 5):
            found = discover(folder)
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names are numbers
            # Each worker of the test has one file more for its own end.
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 6, before[1]))
            try:
                assert len(ask(found, STATS, AMPLE).answers) == 5
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_nothing_stays_open(self, folder: Path) -> None:
        """Each file is closed, whatever came of the request."""
        before = len(list(Path("/proc/self/fd").iterdir()))
        with scripted(folder, says(answer({})), says(b"?\n"), says(b"")):
            found = ask(discover(folder), STATS, AMPLE)
        assert (len(found.answers), len(found.failures)) == (1, 2)
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_a_request_that_is_too_long(self) -> None:
        """What no worker would read is refused before anybody is asked, and the message says what to do."""
        with pytest.raises(RequestTooLongError, match="the limit is 65536: name fewer keys"):
            ask([], {"verb": "invalidate", "keys": ["k" * 70_000]})

    def test_a_request_that_is_no_json(self) -> None:
        """An endless number is the caller's mistake."""
        with pytest.raises(ValueError, match="JSON"):
            ask([], {"verb": "keys", "limit": float("inf")})


class TestBadAnswers:
    @pytest.mark.parametrize(
        "line",
        [
            b"\n",
            b"hello\n",
            b"\xff\xfe\x00\n",
            b"[]\n",
            b"null\n",
            b"{}\n",
            b'{"v":1}\n',
            b'{"v":1,"ok":true,"pid":1,"started":1}\n',
            b'{"v":1,"ok":true,"pid":1,"started":1,"result":[]}\n',
            b'{"v":1,"ok":true,"pid":"1","started":1,"result":{}}\n',
            b'{"v":1,"ok":true,"pid":1,"started":NaN,"result":{}}\n',
            b'{"v":1,"ok":true,"pid":1,"started":1' + b"0" * 400 + b',"result":{}}\n',
            b'{"v":1,"ok":false,"pid":1,"error":7,"message":"m"}\n',
            b"[" * 200_000 + b"\n",
            b'{"v":1,"ok":true,"pid":' + b"9" * 5000 + b',"started":1,"result":{}}\n',
        ],
        ids=range(15),
    )
    def test_what_is_no_answer(self, folder: Path, line: bytes) -> None:
        """It is a failure of that worker, and nothing is raised."""
        assert failure(folder, line)[0] == "garbled"

    def test_an_answer_without_end(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading stops at the limit."""
        monkeypatch.setattr(workers, "ANSWER_MAX_BYTES", 100_000)

        def endless(connection: socket.socket, _: bytes) -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    connection.sendall(b"x" * 65536)

        with scripted(folder, endless):
            (failed,) = ask(discover(folder), STATS, AMPLE).failures
        assert (failed.error, failed.message) == ("garbled", "its answer is longer than 100000 bytes")

    def test_an_end_without_answer(self, folder: Path) -> None:
        """Who closes the connection first did not answer."""
        assert failure(folder, b"") == ("closed", "it ended the connection after 0 bytes")
        assert failure(folder, b'{"v":1') == ("closed", "it ended the connection after 6 bytes")

    def test_an_end_before_the_question(self, folder: Path) -> None:
        """A worker that has too many connections says so without reading: that is heard."""
        refusal = {"v": 1, "ok": False, "pid": 5, "error": "too_many", "message": "8 connections are open"}
        path = folder / "5-77-a.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            found = discover(folder)

            def refuse() -> None:
                for _ in range(2):  # the first one is that of `discover`
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(BrokenPipeError):
                        connection.sendall(json.dumps(refusal).encode() + b"\n")

            thread = threading.Thread(target=refuse)
            thread.start()
            (failed,) = ask(found, {"verb": "stats", "caches": ["x" * 60_000]}, AMPLE).failures
            thread.join()
        assert (failed.error, failed.message) == ("too_many", "8 connections are open")

    def test_an_error_of_the_worker(self, folder: Path) -> None:
        """It is handed on as it came."""
        line = b'{"v":1,"ok":false,"pid":1,"error":"unknown_cache","message":"There is no x."}\n'
        assert failure(folder, line) == ("unknown_cache", "There is no x.")

    def test_another_version(self, folder: Path) -> None:
        """During a deploy of a new version the older worker is told apart from a broken one."""
        error, message = failure(folder, b'{"v":2,"ok":true}\n')
        assert (error, message) == (
            "other_version",
            "it speaks version 2, and this process 1: restart the older one",
        )


def fake_native(monkeypatch: pytest.MonkeyPatch, said: bytes) -> list[Any]:
    asked: list[Any] = []

    def control_ask(line: str) -> str:
        asked.append(json.loads(line))
        return said.decode()

    monkeypatch.setattr(workers._native, "control_ask", control_ask, raising=False)
    return asked


class TestLocal:
    def test_this_process_answers_without_a_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same request, the same form of answer."""
        asked = fake_native(monkeypatch, answer({"n": 1}, pid=os.getpid()))
        (one,) = workers.Local().ask(STATS).answers
        assert (one.pid, one.worker.path, one.result) == (os.getpid(), "", {"n": 1})
        assert asked == [{"v": 1, "verb": "stats"}]

    def test_this_process_among_the_others(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With `include_self` it answers once, and not through the socket that it may serve itself."""
        asked = fake_native(monkeypatch, answer({"n": 0}, pid=os.getpid()))
        own = folder / f"{os.getpid()}-77-ff.sock"
        with scripted(folder, says(answer({"n": 1}))), socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(own))
            listener.listen()
            found = ask(discover(folder), STATS, AMPLE, include_self=True)
        assert sorted(one.result["n"] for one in found.answers) == [0, 1]
        assert (found.asked, len(asked)) == (2, 1)
