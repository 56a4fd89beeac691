"""The lives of processes with a NativeCache: killed, begun late, and forked after use."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_worker import FIRST, CacheWorker, caching
from child_process import check_call

pytestmark = [
    pytest.mark.oxicache_real_clock,
    pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only"),
]


class TestKilled:
    def test_killed_amid_writes_a_process_leaves_nothing_that_others_stumble_over(
        self, tmp_path: Path
    ) -> None:
        """SIGKILL at any instant: others read, fill and see each other's writes."""
        keys = ["a", *(f"key:{number}" for number in range(50))]
        with caching(tmp_path) as workers:
            one, two = (worker.cache() for worker in workers)
            for _ in range(4):
                with CacheWorker(tmp_path) as dying:
                    one.do("set", "a", "old")
                    dying.say("write_for_ever", keys)
                    assert dying.answer() == "begun"
                    while one.get("a") is not None:
                        pass  # it was killed when it certainly was at it
                    os.kill(dying.pid, signal.SIGKILL)
                    dying.process.wait(60)
                one.worker.ask("request", "request_started")
                one.do("set", "a", "new")
                assert two.fill("a", "filled") == "filled"
                assert one.get("a") == "new"
                two.do("delete", "a")
                assert one.get("a") is None
            with CacheWorker(tmp_path) as late:
                assert late.ask("shared")

    def test_a_new_process_begins_with_nothing(self, tmp_path: Path) -> None:
        """Values die with their process, and what others hold stays as it is."""
        with CacheWorker(tmp_path) as worker:
            one = worker.cache()
            one.do("set", "a", 1)
            with CacheWorker(tmp_path) as late:
                assert late.cache().fill("a", 2) == 2
            assert one.get("a") == 1

    def test_a_file_that_was_replaced_empties_every_process(self, tmp_path: Path) -> None:
        """Whose words are gone no longer knows what is current, and begins anew, together with the others."""
        with caching(tmp_path) as workers:
            one, two = (worker.cache() for worker in workers)
            for cache in (one, two):
                for key in ("a", "b"):
                    assert cache.fill(key, "old") == "old"
            (folder,) = tmp_path.iterdir()
            for file in folder.iterdir():
                file.unlink()
            for worker in workers:
                worker.ask("drive", FIRST + 5)
                worker.ask("request", "request_started")
            assert one.do("get_many", ["a", "b"]) == two.do("get_many", ["a", "b"]) == {}
            for cache in (one, two):
                for key in ("a", "b"):
                    assert cache.fill(key, "old") == "old"
            one.do("set", "a", "new")
            assert two.do("get_many", ["a", "b"]) == {"b": "old"}


@pytest.mark.parametrize(
    "name",
    [
        "_inherit",
        "_tell_each_other",
        "_fill",
        "_keep_a_miss",
        "_fork_in_a_fork",
        "_amid_use",
        "_before_use",
        "_lock",
    ],
)
def test_a_fork_after_use(tmp_path: Path, name: str) -> None:
    """What the function of that name says, in a process of its own."""
    check_call(globals()[name], str(tmp_path))


def _cache(directory: str) -> Any:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of the master",  # noqa: S106 -- signs nothing
        INSTALLED_APPS=["oxicache.django"],
        CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}},
        OXICACHE={"RUNTIME_DIR": directory, "VERSION_WORDS": 2**16},
    )
    django.setup()
    from oxicache.django import cache

    return cache


@contextlib.contextmanager
def _child(body: Callable[[Callable[[], None]], object]) -> Iterator[Callable[[], None]]:
    """Run `body` in a child. Both are given what waits until the other calls the same."""
    to_child, to_parent = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(30)
            body(lambda: _meet(to_parent[1], to_child[0]))
            code = 0
        finally:
            os._exit(code)
    os.close(to_parent[1])
    os.close(to_child[0])
    yield lambda: _meet(to_child[1], to_parent[0])
    assert os.waitpid(pid, 0)[1] == 0
    os.close(to_parent[0])
    os.close(to_child[1])


def _meet(write: int, read: int) -> None:
    os.write(write, b".")
    assert os.read(read, 1) == b".", "the other has ended"


def _inherit(directory: str) -> None:
    """A child begins with what its master had stored, as its own: no copy of it is made or shared."""
    cache = _cache(directory)
    cache.set_many({"text": "value", "dict": {"a": [1]}, "object": ValueError("x")})

    def body(meet: Callable[[], None]) -> None:
        assert cache.get("text") == "value"
        assert cache.get("dict") == {"a": [1]}
        assert cache.get("object").args == ("x",)
        assert cache.incr("count") == 6
        meet()
        assert cache.get("count") == 6

    cache.set("count", 5)
    with _child(body) as meet:
        meet()
        assert cache.get("count") == 5


def _tell_each_other(directory: str) -> None:
    """Invalidations go from the master to its children, back, and between children."""
    cache = _cache(directory)
    cache.set_many(dict.fromkeys("abcd", "old"))

    def first(meet: Callable[[], None]) -> None:
        cache.set("a", "new")
        meet()
        meet()
        assert cache.get("b") is None
        assert cache.get("c") is None
        assert cache.get("d") == "old"
        cache.clear()
        meet()

    def second(meet: Callable[[], None]) -> None:
        meet()
        assert cache.get("a") is None
        cache.delete("c")
        meet()
        meet()
        assert cache.get("d") is None

    with _child(first) as meet_first, _child(second) as meet_second:
        meet_first()
        assert cache.get("a") is None
        cache.delete("b")
        meet_second()
        meet_second()
        assert cache.get("c") is None
        meet_first()
        meet_first()
        assert cache.get("d") is None
        meet_second()


def _fill(directory: str) -> None:
    """What children load they keep for themselves, and it disturbs nobody."""
    cache = _cache(directory)

    def body(meet: Callable[[], None]) -> None:
        assert cache.get("a") is None
        cache.set("a", "the child's")
        meet()
        meet()
        assert cache.get("a") == "the child's"
        meet()
        meet()
        assert cache.get("a") is None

    with _child(body) as meet:
        meet()
        assert cache.get("a") is None
        cache.set("a", "the master's")
        meet()
        meet()
        assert cache.get("a") == "the master's"
        cache.delete("a")
        meet()


def _keep_a_miss(directory: str) -> None:
    """A miss before the fork makes fills of what both store after it."""
    cache = _cache(directory)
    assert cache.get("a") is None

    def body(meet: Callable[[], None]) -> None:
        cache.set("a", "the child's")
        meet()
        assert cache.get("a") == "the child's"

    with _child(body) as meet:
        cache.set("a", "the master's")
        meet()
        assert cache.get("a") == "the master's"


def _fork_in_a_fork(directory: str) -> None:
    """A grandchild is one of them, too."""
    cache = _cache(directory)
    cache.set("a", "old")

    def grandchild(meet: Callable[[], None]) -> None:
        assert cache.get("a") == "old"
        cache.set("a", "new")

    def child(meet: Callable[[], None]) -> None:
        with _child(grandchild):
            pass
        assert cache.get("a") is None

    with _child(child):
        pass
    assert cache.get("a") is None


def _before_use(directory: str) -> None:
    """A master that never touched its cache leaves its children to find each other."""
    cache = _cache(directory)

    def body(meet: Callable[[], None]) -> None:
        assert cache.get("a") is None
        cache.set("a", 1)
        meet()
        meet()
        assert cache.get("a") is None

    with _child(body) as one, _child(body) as two:
        one()
        two()
        cache.delete("a")
        one()
        two()
    assert len(list(Path(directory).iterdir())) == 1


def _amid_use(directory: str) -> None:
    """Forked while threads read, write, delete and clear, a child finds no lock held, and whole words."""
    cache = _cache(directory)
    over = threading.Event()
    failed: list[BaseException] = []

    def hammer(number: int) -> None:
        try:
            while not over.is_set():
                key = f"key:{number}"
                cache.get(key)
                cache.set(key, {"a": [number]}, tags=["t"])
                cache.get_or_set(key, list)
                cache.get_many(["key:0", "key:1", "key:2"])
                cache.delete_by_tag("t")
                if number == 0:
                    cache.clear()
        except BaseException as error:
            failed.append(error)
            raise

    def use(meet: Callable[[], None]) -> None:
        cache.set("own", [1])
        assert cache.get("own", [1]) == [1]  # the master may clear it at any moment
        assert cache.get_or_set("computed", lambda: 5) == 5
        for number in range(3):
            cache.set(f"key:{number}", number)
            assert cache.get(f"key:{number}", number) == number
            cache.delete(f"key:{number}")
        cache.delete_by_tag("t")
        cache.clear()
        assert cache.get("own") is None

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            with _child(use):
                pass
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failed == []


def _lock(directory: str) -> None:
    """A lock that a thread of the master holds is free in a child: it parts the threads of one process."""
    cache = _cache(directory)
    with cache.lock("jobs"):

        def body(meet: Callable[[], None]) -> None:
            lock = cache.lock("jobs")
            assert lock.acquire(blocking=False)
            assert not cache.lock("jobs").acquire(blocking=False)
            lock.release()

        with _child(body):
            assert not cache.lock("jobs").acquire(blocking=False)
