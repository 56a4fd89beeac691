"""Version words of several processes: what one bumps every other sees, whatever becomes of the others."""

import array
import contextlib
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from child_process import check_call
from versions_worker import FIRST, WORDS, Worker, sharing, the_file

from oxicache import _native

pytestmark = [
    pytest.mark.oxicache_real_clock,
    pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only"),
]

NAMES = [f"row:app.book:{number}" for number in range(50)]


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: making and deleting files for seconds on end is no work for a disk."""
    memory = Path("/dev/shm")  # noqa: S108 - the directory's own name is random
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="oxicache-test-", dir=memory) as directory:
        yield Path(directory)


class TestSpawned:
    def test_a_bump_is_seen_at_the_next_check_in_every_process(self, tmp_path: Path) -> None:
        """Whoever bumps, the stamps of all are stale at once; those of other names are not."""
        with sharing(tmp_path, 3) as workers:
            for bumping in workers:
                for worker in workers:
                    worker.ask("capture", "hit", ["row:app.book:1", "model:app.book"])
                    worker.ask("capture", "other", ["row:app.book:2"])
                assert bumping.ask("bump", ["row:app.book:1"]) == 1
                assert [worker.ask("is_current", "hit") for worker in workers] == [False] * 3
                assert [worker.ask("is_current", "other") for worker in workers] == [True] * 3

    def test_words_do_not_depend_on_the_seed_of_hash(self, tmp_path: Path) -> None:
        """Processes with other values of PYTHONHASHSEED, and random ones, find the same words."""
        with sharing(tmp_path, 2) as workers, Worker(tmp_path, PYTHONHASHSEED="random") as third:
            third.share()
            assert len({tuple(worker.ask("capture", "all", NAMES[:32])) for worker in [*workers, third]}) == 1

    def test_two_projects_do_not_meet(self, tmp_path: Path) -> None:
        """Namespaces have folders of their own."""
        with sharing(tmp_path, 1, "shop") as (shop,), sharing(tmp_path, 1, "blog") as (blog,):
            shop.ask("capture", "all", NAMES[:32])
            blog.ask("bump", NAMES)
            assert shop.ask("is_current", "all")
            assert len(list(tmp_path.iterdir())) == 2

    def test_sizes_live_side_by_side(self, tmp_path: Path) -> None:
        """During a deploy that changes the number of words, old and new workers have a file each."""
        with sharing(tmp_path, 1) as (old,), Worker(tmp_path) as new:
            old.ask("capture", "a", ["a"])
            assert new.share(WORDS * 2)["replaced"] == 0
            assert old.ask("is_current", "a")
            assert new.ask("bump", ["a"]) == 1
            assert old.ask("state")["replaced"] == 0

    def test_when_something_was_bumped_is_seen_too(self, tmp_path: Path) -> None:
        """The second of a bump is shared, so that another worker does not keep what a replica gives it."""
        with sharing(tmp_path) as (one, two):
            for worker in (one, two):
                worker.ask("drive", FIRST + 10)
            two.ask("capture", "a", ["a"])
            assert not two.ask("within", "a", 5)
            one.ask("bump", ["a"])
            assert two.ask("within", "a", 5)
            two.ask("drive", FIRST + 16)
            assert not two.ask("within", "a", 5)

    def test_what_happened_before_a_file_was_made_is_not_known(self, tmp_path: Path) -> None:
        """In its first seconds a new file says that anything may have been bumped."""
        with sharing(tmp_path, 1) as (worker,):
            worker.ask("capture", "a", ["a"])
            assert worker.ask("within", "a", 5)
            worker.ask("drive", FIRST + 6)
            assert not worker.ask("within", "a", 5)


class TestForked:
    def test_children_parents_and_siblings_see_each_others_bumps(self, tmp_path: Path) -> None:
        """A mapping made before the fork is one for all, and one made after it too."""
        check_call(_bump_in_children, str(tmp_path))

    def test_a_fork_amid_bumps_and_moves_hangs_nobody(self, memory_path: Path) -> None:
        """Threads that bump, share and refresh hold no lock that a child could wait for."""
        check_call(_fork_amid_bumps, str(memory_path))

    def test_private_words_part_at_the_fork(self) -> None:
        """What a child bumps of words that are not shared is its own affair."""
        check_call(_bump_private_words_in_a_child)

    def test_nothing_is_lost_with_the_descriptors(self, tmp_path: Path) -> None:
        """A daemon that closes what it did not open keeps its words."""
        with sharing(tmp_path) as (one, two):
            one.ask("close_descriptors")
            one.ask("capture", "a", ["a"])
            two.ask("capture", "a", ["a"])
            one.ask("bump", ["a"])
            assert not one.ask("is_current", "a")
            assert not two.ask("is_current", "a")
            assert one.ask("state")["replaced"] == 0


def _in_child(function: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(30)
            function()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def _bump_in_children(directory: str) -> None:
    state = _native.versions_share(directory, "shop", WORDS)
    stamps = _native.capture(["a"])

    def bump() -> None:
        assert stamps.is_current()
        assert _native.versions_state() == state
        _native.bump(["a"])
        assert not stamps.is_current()

    _in_child(bump)
    assert not stamps.is_current()
    for name in ("b", "c"):
        stamps = _native.capture([name])
        _in_child(lambda name=name: _native.bump([name]))
        _in_child(lambda stamps=stamps: 1 / (not stamps.is_current()))
    stamps = _native.capture(["d"])

    def share_anew() -> None:
        _native.versions_share(directory, "shop", WORDS * 2)
        _native.versions_share(directory, "shop", WORDS)
        _native.bump(["d"])

    _in_child(share_anew)
    assert not stamps.is_current()


def _fork_amid_bumps(directory: str) -> None:
    over = threading.Event()

    def bump() -> None:
        while not over.is_set():
            _native.bump(NAMES)

    def move() -> None:
        while not over.is_set():
            path = _native.versions_share(directory, "shop", WORDS)["path"]
            with contextlib.suppress(FileNotFoundError, TypeError):
                Path(path).unlink()
            _native.versions_refresh()

    def use() -> None:
        assert _native.versions_share(directory, "shop", WORDS)["shared"]
        stamps = _native.capture(["child"])
        _native.bump(["child"])
        assert not stamps.is_current()
        _native.versions_refresh()

    threads = [threading.Thread(target=target) for target in (bump, bump, move)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            _in_child(use)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _bump_private_words_in_a_child() -> None:
    stamps = _native.capture(["a"])
    _in_child(lambda: _native.bump(["a"]))
    assert stamps.is_current()


class TestKilled:
    def test_killed_amid_bumps_a_process_leaves_whole_words(self, tmp_path: Path) -> None:
        """SIGKILL at any instant leaves words that others go on with."""
        with sharing(tmp_path) as (one, two):
            for _ in range(5):
                with Worker(tmp_path) as bumping:
                    bumping.share()
                    one.ask("capture", "b", ["b"])
                    two.ask("capture", "a", ["a"])
                    assert bumping.ask("bump_for_ever", ["a", *NAMES]) == "begun"
                    while two.ask("is_current", "a"):
                        pass  # it was killed when it certainly was at it
                assert one.ask("is_current", "b")
                one.ask("bump", ["b"])
                assert not one.ask("is_current", "b")
            with Worker(tmp_path) as late:
                assert late.share()["reason"] is None

    def test_killed_while_making_the_file_a_process_leaves_none_that_is_half(self, memory_path: Path) -> None:
        """Whoever comes next finds a whole file or none; whoever makes the next one cleans up."""
        rng = random.Random(1)
        for _ in range(4):
            with Worker(memory_path) as making:
                making.say("make_for_ever", str(memory_path), "shop", WORDS)
                assert making.answer() == "begun"
                with sharing(memory_path, 1) as (worker,):
                    for _ in range(rng.randrange(5)):
                        worker.ask("bump", ["a"])
            with sharing(memory_path, 1) as (worker,):
                assert worker.ask("state")["reason"] is None
            the_file(memory_path).unlink()
            with sharing(memory_path, 1):
                the_file(memory_path)  # nothing unfinished is left beside it

    def test_a_stopped_process_blocks_nobody(self, tmp_path: Path) -> None:
        """SIGSTOP amid bumps: others bump, and see each other's bumps."""
        with sharing(tmp_path, 3) as (stopped, one, two):
            assert stopped.ask("bump_for_ever", ["a"]) == "begun"
            os.kill(stopped.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
            for name in ("a", "b"):
                one.ask("capture", name, [name])
                two.ask("bump", [name])
                assert not one.ask("is_current", name)

    def test_a_stopped_maker_blocks_nobody(self, tmp_path: Path) -> None:
        """Whoever stopped with the folder locked is not waited for."""
        with sharing(tmp_path) as (stopped, one), Worker(tmp_path) as late:
            file = the_file(tmp_path)
            assert stopped.ask("hold_lock", str(file.parent)) == "held"
            os.kill(stopped.pid, signal.SIGSTOP)
            os.truncate(file, 0)
            assert late.share()["replaced"] == 1
            one.ask("bump", ["a"])
            late.ask("capture", "a", ["a"])
            one.ask("bump", ["a"])
            assert not late.ask("is_current", "a")


ROUNDS = 500_000  # in each of two processes: a million invalidations
ROWS = 64


class TestMillion:
    def test_a_million_invalidations_leave_no_stale_read_and_lose_none(self, tmp_path: Path) -> None:
        """Two processes write rows, invalidate them and read each other's: an entry that is current is never old."""
        truth = tmp_path / "rows"
        truth.write_bytes(bytes(16 * ROWS))
        (tmp_path / "run").mkdir()
        module = Path(__file__).stem
        source = f"import sys, {module} as tests; tests._write_and_read(int(sys.argv[1]), sys.argv[2])"
        sides = [
            subprocess.Popen(
                [sys.executable, "-c", source, str(side), str(tmp_path)],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": str(side)},
            )
            for side in (0, 1)
        ]
        reads = [side.communicate(timeout=240)[0] for side in sides]
        assert [side.returncode for side in sides] == [0, 0]
        rows = _rows(tmp_path)
        assert sum(rows[ROWS:]) == sum(rows[:ROWS]) == 2 * ROUNDS
        for said in reads:
            hits, misses = map(int, said.split())
            assert hits > 0
            assert misses > 0


def _rows(directory: Path) -> Any:
    """Shared memory that stands for the database: the number in each row, then how many of its writes are over."""
    with (directory / "rows").open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 16 * ROWS)).cast("q")


def _write_and_read(side: int, directory: str) -> None:
    rows = _rows(Path(directory))
    assert _native.versions_share(directory + "/run", "shop", WORDS)["shared"]
    before = _native.versions_state()["bumps"]
    names = [[f"row:app.book:{row}"] for row in range(ROWS)]
    entries: list[tuple[int, _native.Stamps] | None] = [None] * ROWS
    order = array.array("B", random.Random(side).choices(range(ROWS), k=ROUNDS))
    hits = misses = 0
    for turn, row in enumerate(order):
        own = row // 2 * 2 + side  # each row has one writer
        rows[own] += 1
        _native.bump(names[own])
        rows[ROWS + own] += 1
        read = order[turn - 1]
        over = rows[ROWS + read]
        entry = entries[read]
        if entry is not None and entry[1].is_current():
            assert entry[0] >= over, "stale though invalidated"
            hits += 1
        else:
            stamps = _native.capture(names[read])
            entries[read] = (rows[read], stamps)
            misses += 1
    assert _native.versions_state()["bumps"] - before == ROUNDS
    for entry, number in zip(entries, rows[ROWS:], strict=False):
        if entry is not None and entry[1].is_current():
            assert entry[0] >= number, "an invalidation was lost"
    print(hits, misses)
