"""The control socket of a live process: what it answers while Python works, waits or hangs, and to whom."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from child_process import check
from control_worker import NOBODY, Client, Worker, ask, error, result, short_folder

from oxicache import _native

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control sockets are served on Linux")

# Seconds within which a process answers whatever Python does. The best of some answers counts: a machine may be busy.
AT_ONCE, TRIES = 0.1, 10


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found


@pytest.fixture
def worker(folder: Path) -> Iterator[Worker]:
    with Worker(folder) as process:
        yield process


def timed(path: str, verb: str, **arguments: object) -> tuple[Any, float]:
    began = time.perf_counter()
    answer = result(ask(path, verb, **arguments))
    return answer, time.perf_counter() - began


def hold(worker: Worker, path: str, seconds: float) -> None:
    """Have the worker keep its GIL from now on."""
    worker.say("hold", seconds)
    assert worker.answer() == "holding"
    while result(ask(path, "stats"))["exact"]:
        pass  # it is still on its way into the call


def clerk_seconds(worker: Worker) -> float:
    """The time that the clerk of a worker has had a processor."""
    for task in Path(f"/proc/{worker.process.pid}/task").iterdir():
        if (task / "comm").read_text() == "oxicache-clerk\n":
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise AssertionError("there is no clerk")


class TestWhilePythonHangs:
    def test_stats_are_answered_at_once(self, worker: Worker) -> None:
        """A C call of five seconds that keeps the GIL does not keep stats waiting for 100 ms."""
        path = worker.start()
        worker.tell("fill", 10)
        hold(worker, path, 5)
        answers = [timed(path, "stats", patterns=True) for _ in range(TRIES)]
        assert min(taken for _, taken in answers) < AT_ONCE
        assert [(one["caches"]["books"]["size"], one["exact"]) for one, _ in answers] == [(10, False)] * TRIES
        health, _ = timed(path, "health")
        assert health["python"]["answers"] is False
        assert health["python"]["silent_for_ms"] > 50

    def test_what_is_ordered_meanwhile_is_done_before_anything_is_read(self, worker: Worker) -> None:
        """An order is left while the GIL is held; the first read afterwards finds nothing of what it removed."""
        path = worker.start()
        worker.tell("fill", 10)
        hold(worker, path, 2)
        for key in ("1", "2"):
            worker.say("get", key)
        answer = result(ask(path, "invalidate", keys=["1"], tags=["even"], caches=["books"]))
        assert answer == {"invalidated": {"books": None}, "words": 0, "done": False}
        assert [worker.answer() for _ in range(3)] == [None, None, None]
        assert worker.tell("get", "3") == 3

    def test_python_verbs_say_busy(self, worker: Worker) -> None:
        """What only Python can answer is refused in time for clients that wait a second."""
        path = worker.start()
        hold(worker, path, 5)
        waited = []
        for _ in range(3):
            began = time.perf_counter()
            kind, message = error(ask(path, "trail"))
            waited.append(time.perf_counter() - began)
            assert kind == "busy"
            assert "has not answered for" in message
        assert min(waited) < 1

    def test_a_callable_that_does_not_return_keeps_nobody_else(self, worker: Worker) -> None:
        """While Python is inside one request, others of its kind are busy, and native ones are answered."""
        path = worker.start()
        with Client(path) as stuck:
            stuck.send("warm", do="wait")
            assert error(ask(path, "trail"))[0] == "busy"
            assert min(timed(path, "stats")[1] for _ in range(TRIES)) < AT_ONCE
            assert error(stuck.answer()) == ("busy", "Python is at it, but not done in time")
        worker.tell("release")
        assert result(ask(path, "trail"))["verb"] == "trail"


class TestOrders:
    def test_clear_is_done_at_once_where_python_can(self, worker: Worker) -> None:
        """The counts are those of what was removed."""
        path = worker.start()
        worker.tell("fill", 1_000)
        assert result(ask(path, "clear", caches=["books"])) == {"cleared": {"books": 1_000}, "done": True}
        assert worker.tell("get", "1") is None
        assert result(ask(path, "stats"))["caches"]["books"]["size"] == 0

    def test_keys_and_tags(self, worker: Worker) -> None:
        """An invalidation counts what it removed, by cache."""
        path = worker.start()
        worker.tell("fill", 10)
        answer = result(ask(path, "invalidate", keys=["0", "1", "none"], tags=["odd"]))
        assert answer == {"invalidated": {"books": 2 + 4}, "words": 0, "done": True}
        assert result(ask(path, "cleanup")) == {"cleaned": {"books": 0}, "done": True}

    def test_disabled_and_enabled(self, worker: Worker) -> None:
        """Disabling empties the caches, and nothing is stored until they are enabled."""
        path = worker.start()
        worker.tell("fill", 10)
        assert result(ask(path, "disable"))["enabled"] is False
        assert worker.tell("is_enabled") is False
        assert worker.tell("fill", 10) == 0
        assert result(ask(path, "enable"))["enabled"] is True
        assert worker.tell("fill", 10) == 10

    def test_a_million_entries_are_dropped_behind_the_answer(self, worker: Worker) -> None:
        """Clearing many entries answers before all of them are freed, and they are freed without anybody asking."""
        path = worker.start()
        waited = []
        for _ in range(3):
            assert worker.tell("fill", 100_000) == 100_000
            answer, taken = timed(path, "clear")
            waited.append(taken)
            assert answer["done"] is True
        assert min(waited) < 2 * AT_ONCE
        before = result(ask(path, "health"))["rss_bytes"]
        deadline = time.monotonic() + 60
        while result(ask(path, "health"))["rss_bytes"] >= before:
            assert time.monotonic() < deadline, "nothing was given back"


class TestStats:
    def test_they_are_those_of_the_process(self, worker: Worker) -> None:
        """The socket says what the process says of itself."""
        path = worker.start()
        worker.tell("fill", 100)
        for number in range(20):
            worker.tell("get", str(number * 10))
        mine = worker.tell("metrics", True)
        others = result(ask(path, "stats", patterns=True))
        assert others["exact"] is True
        assert others == mine
        assert mine["caches"]["books"]["hits"] == 10
        assert result(ask(path, "reset")) == {"reset": ["books"]}
        assert result(ask(path, "stats"))["caches"]["books"]["hits"] == 0


class TestCost:
    @pytest.mark.parametrize("verb", ["stats", "health", "trail"])
    def test_a_request_takes_little_of_the_gil(self, verb: str, worker: Worker) -> None:
        """The clerk's time on a processor, part of which is with the GIL, is far below a millisecond a request."""
        path = worker.start()
        worker.tell("fill", 1_000)
        with Client(path) as client:
            result(client.ask(verb))
            before = clerk_seconds(worker)
            for _ in range(200):
                result(client.ask(verb))
        assert (clerk_seconds(worker) - before) / 200 < 0.001


class TestPythonVerbs:
    def test_the_answer_is_one_line(self, worker: Worker) -> None:
        """JSON of several lines goes out as one; line breaks within strings stay what they are."""
        path = worker.start()
        asked = {"do": "text", "text": '{\n "a":\r\n "b\\nc"\n}\n'}
        assert result(ask(path, "warm", **asked)) == {"a": "b\nc"}

    @pytest.mark.parametrize(
        ("kind", "code", "said"),
        [
            ("ValueError", "wrong_argument", "a reason"),
            ("TypeError", "wrong_argument", "a reason"),
            ("KeyError", "wrong_argument", "'a reason'"),
            ("RuntimeError", "failed", "RuntimeError: a reason"),
            ("SystemExit", "failed", "SystemExit: a reason"),
            ("KeyboardInterrupt", "failed", "KeyboardInterrupt: a reason"),
        ],
    )
    def test_exceptions_are_answers(self, worker: Worker, kind: str, code: str, said: str) -> None:
        """What the callable raises reaches the operator, and the process goes on."""
        path = worker.start()
        assert error(ask(path, "warm", do="raise", kind=kind, message="a reason")) == (code, said)
        assert worker.tell("state")["serving"] is True

    @pytest.mark.parametrize(
        ("asked", "code", "said"),
        [
            ({"do": "number"}, "failed", "Python's answer is no text"),
            ({"do": "text", "text": "{"}, "failed", "Python's answer is no JSON"),
            ({"do": "surrogate"}, "failed", "Python's answer is no text"),
            ({"do": "silent"}, "failed", "_SilentError: its message cannot be shown"),
        ],
        ids=["number", "broken", "surrogate", "silent"],
    )
    def test_what_is_no_answer(self, worker: Worker, asked: dict[str, Any], code: str, said: str) -> None:
        """Whatever else comes back is an error that says so."""
        path = worker.start()
        kind, message = error(ask(path, "warm", **asked))
        assert kind == code
        assert said in message

    def test_nobody_is_asked_where_nobody_answers(self, worker: Worker) -> None:
        """Without a callable the answer is that there is none, here and on the socket."""
        said = json.loads(worker.tell("ask", '{"v":1,"verb":"trail"}'))
        assert error(said) == ("failed", "trail is answered by Python, which is not configured to")

    def test_the_process_itself(self, worker: Worker) -> None:
        """A request asked in the process is answered as its socket would, by the thread that asks."""
        path = worker.start()
        worker.tell("describe", '{"role": "tests"}')
        mine = json.loads(worker.tell("ask", '{"v":1,"verb":"config"}'))
        assert mine == ask(path, "config")
        assert result(mine)["describe"] == {"role": "tests"}
        assert result(mine)["methods"] == _native.METHODS
        mine = json.loads(worker.tell("ask", '{"v":1,"verb":"trail"}'))
        assert result(mine) == {"verb": "trail", "asked": {"limit": 100}}

    @pytest.mark.parametrize("text", ["[]", "{", "", "1"])
    def test_a_description_is_an_object(self, text: str) -> None:
        """Anything else is a ValueError."""
        with pytest.raises(ValueError, match="description"):
            _native.control_describe(text)


class TestThreads:
    def test_no_signal_is_delivered_to_them(self, worker: Worker) -> None:
        """Handlers of Python run in the main thread, which every signal therefore reaches."""
        path = worker.start()
        result(ask(path, "trail"))
        masks = worker.tell("blocked_signals")
        # All but SIGKILL, SIGSTOP, and the two that the C library keeps to itself.
        assert masks["oxicache-ctl"] == masks["oxicache-clerk"] == "fffffffe7ffbfeff"
        assert masks["python" if "python" in masks else max(masks)] == "0000000000000000"

    def test_starting_and_stopping_from_many(self, folder: Path) -> None:
        """However the calls fall, there is one socket at most, and none at the end."""
        source = f"""
import sys, threading
from oxicache import _native
sys.setswitchinterval(1e-6)

def work():
    for _ in range(200):
        _native.control_start({str(folder)!r}, "shop")
        _native.control_stop()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(_native.control_state()["serving"])
"""
        assert check(source) == "False\n"
        assert [path.name for path in folder.rglob("*") if not path.is_dir()] == []

    def test_many_clients_at_once(self, worker: Worker) -> None:
        """Eight clients in threads each get what they asked for, whatever the others ask."""
        path = worker.start()
        worker.tell("fill", 10)
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                with Client(path) as client:
                    for at in range(100):
                        mark = number * 1_000 + at
                        assert result(client.ask("warm", mark=mark))["asked"] == {"mark": mark}
                        assert "books" in result(client.ask("stats"))["caches"]
            except BaseException as reason:  # noqa: BLE001 - raised again below, in the main thread
                errors.append(reason)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if errors:
            raise errors[0]


class TestWhoMayAsk:
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
    def test_other_users_are_refused(self, worker: Worker, folder: Path) -> None:
        """A client of another user that got as far as the socket is told so, and counted."""
        path = worker.start()
        Path(path).chmod(0o666)
        Path(path).parent.chmod(0o755)
        source = f"""
import os, socket
os.setgid({NOBODY}), os.setuid({NOBODY})
with socket.socket(socket.AF_UNIX) as client:
    client.connect({path!r})
    print(client.makefile().read())
"""
        done = subprocess.run(
            [sys.executable, "-I", "-c", source], capture_output=True, text=True, timeout=60, check=True
        )
        assert error(json.loads(done.stdout)) == ("forbidden", f"user {NOBODY} may not ask here")
        assert worker.tell("state")["refused"] == 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_root_asks_the_workers_of_others(self, worker: Worker) -> None:
        """An operator who is root reaches a worker that gave up its rights."""
        worker.tell("become", NOBODY)
        path = worker.start()
        assert f"oxicache-{NOBODY}-shop" in path
        assert result(ask(path, "health"))["enabled"] is True

    def test_a_wrong_place_is_a_mistake(self) -> None:
        """A relative directory or a namespace that is no name raises, as for version words."""
        with pytest.raises(ValueError, match="absolute"):
            _native.control_start("here", "shop")
        with pytest.raises(ValueError, match="namespace"):
            _native.control_start("/tmp", "a/b")  # noqa: S108 - nothing is made there

    def test_a_folder_that_cannot_be_is_a_reason(self, worker: Worker, folder: Path) -> None:
        """Where no socket can be served the process goes on, and the state says why."""
        (folder / f"oxicache-{os.geteuid()}-shop").symlink_to(folder)
        state = worker.tell("start", str(folder))
        assert state["serving"] is False
        assert "links are not followed" in state["reason"]
        assert worker.tell("state") == state


class TestWhatIsLeft:
    def test_a_killed_worker_leaves_a_socket_that_the_next_removes(
        self, worker: Worker, folder: Path
    ) -> None:
        """The socket of a process that died by kill -9 refuses, and is gone once another process serves."""
        path = Path(worker.start())
        worker.process.kill()
        worker.process.wait(60)
        assert path.exists()
        with pytest.raises(ConnectionRefusedError):
            ask(path, "health")
        with Worker(folder) as other:
            served = other.start()
            result(ask(served, "health"))
            assert [found.name for found in path.parent.iterdir()] == [Path(served).name]

    def test_descriptors_that_others_closed_are_left_to_them(self, folder: Path) -> None:
        """A daemon that closes what it does not know keeps the files it opens then, and can serve once more."""
        check(f"""
import os
from child_process import check
from control_worker import ask, result
from oxicache import _native

path = _native.control_start({str(folder)!r}, "shop")["path"]
result(ask(path, "health"))
os.closerange(3, 256)
mine = [open({str(folder)!r} + "/" + str(number), "w+") for number in range(20)]
_native.control_stop()
assert "closed by other code" in _native.control_state()["reason"]
path = _native.control_start({str(folder)!r}, "shop")["path"]
result(ask(path, "health"))
_native.control_stop()
for file in mine:
    file.write("kept")
    file.flush()
    file.seek(0)
    assert file.read() == "kept"
    file.close()
        """)


def test_nothing_is_served_without_being_asked_for() -> None:
    """Importing the package opens no socket and starts no thread."""
    said = check("""
from pathlib import Path
from oxicache import _native
names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
print(any(name.startswith("oxicache") for name in names))
print(_native.control_state())
    """)
    nothing = {"serving": False, "path": None, "reason": None, "answered": 0, "refused": 0}
    assert said == f"False\n{nothing}\n"
