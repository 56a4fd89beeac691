"""Version words of several processes: what one bumps every other sees, whatever becomes of processes and of the file."""

import array
import contextlib
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from child_process import check_call
from versions_worker import FIRST, NOBODY, WORDS, Worker, sharing

from oxicache import _native

pytestmark = [
    pytest.mark.oxicache_real_clock,
    pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only"),
]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
NAMES = [f"row:app.book:{number}" for number in range(50)]


def the_file(directory: Path) -> Path:
    (folder,) = directory.iterdir()
    (file,) = folder.iterdir()
    return file


@pytest.fixture
def open_directory(tmp_path: Path) -> Path:
    """A directory that any user may reach and write in, as /dev/shm is."""
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o1777)
    for parent in [tmp_path, *tmp_path.parents]:
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    return directory


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

    def test_a_fork_amid_bumps_and_moves_hangs_nobody(self, tmp_path: Path) -> None:
        """Threads that bump, share and refresh hold no lock that a child could wait for."""
        check_call(_fork_amid_bumps, str(tmp_path))

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
                os.unlink(path)
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
        for _ in range(60):
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
            for _ in range(10):
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

    def test_killed_while_making_the_file_a_process_leaves_none_that_is_half(self, tmp_path: Path) -> None:
        """Whoever comes next finds a whole file or none, and cleans up."""
        rng = random.Random(1)
        for _ in range(6):
            with Worker(tmp_path) as making:
                making.say("make_for_ever", str(tmp_path), "shop", WORDS)
                assert making.answer() == "begun"
                with sharing(tmp_path, 1) as (worker,):
                    for _ in range(rng.randrange(20)):
                        worker.ask("bump", ["a"])
            with sharing(tmp_path, 1) as (worker,):
                assert worker.ask("state")["reason"] is None
            the_file(tmp_path).unlink()
            with sharing(tmp_path, 1):
                the_file(tmp_path)  # nothing unfinished is left beside it

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


def _truncate(file: Path) -> None:
    os.truncate(file, 4096)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _scribble(at: int) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(at)
            opened.write(b"\xff\xff\xff\xff")

    return write


def _give_away(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)


BREAKAGES = [
    pytest.param(_truncate, "had 4096 bytes", id="truncated"),
    pytest.param(_empty, "had 0 bytes", id="empty"),
    pytest.param(_scribble(0), "is no file of version words", id="wrong-magic"),
    pytest.param(_scribble(8), "another layout", id="wrong-version"),
    pytest.param(_scribble(12), "another layout, or damaged", id="wrong-size-in-header"),
    pytest.param(lambda file: file.chmod(0o666), "had mode 0666", id="writable-by-all"),
    pytest.param(lambda file: file.chmod(0), "had mode 0000", id="unwritable"),
    pytest.param(_give_away, "belonged to user 65534", id="foreign-owned", marks=needs_root),
]


class TestBroken:
    @pytest.mark.parametrize(("breaking", "reason"), BREAKAGES)
    def test_a_broken_file_is_replaced_and_everybody_moves(
        self, tmp_path: Path, breaking: Callable[[Path], None], reason: str
    ) -> None:
        """Whoever opens a broken file replaces it once, and who has it mapped follows at its next look."""
        with sharing(tmp_path) as (one, two), Worker(tmp_path) as late:
            file = the_file(tmp_path)
            one.ask("capture", "a", ["a"])
            breaking(file)
            state = late.share()
            assert state["shared"]
            assert state["replaced"] == 1
            assert reason in state["reason"]
            assert the_file(tmp_path) == file
            one.ask("drive", FIRST + 1)
            assert one.ask("refresh")
            assert one.ask("state")["replaced"] == 1
            assert not one.ask("is_current", "a")
            late.ask("capture", "a", ["a"])
            one.ask("capture", "a", ["a"])
            assert two.ask("bump", ["a"]) == 1  # two has not looked before
            assert not late.ask("is_current", "a")
            assert not one.ask("is_current", "a")

    @pytest.mark.parametrize(("breaking", "reason"), [*BREAKAGES[:2], *BREAKAGES[5:]])
    def test_a_file_that_breaks_while_it_is_mapped_is_replaced_by_a_bump(
        self, tmp_path: Path, breaking: Callable[[Path], None], reason: str
    ) -> None:
        """Size, mode and owner are seen before each bump, so a truncated file is not touched."""
        with sharing(tmp_path) as (one, two):
            breaking(the_file(tmp_path))
            assert one.ask("bump", ["a"]) == 1
            state = one.ask("state")
            assert state["shared"]
            assert state["replaced"] == 1
            assert reason in state["reason"]
            two.ask("drive", FIRST + 1)
            assert two.ask("refresh")
            two.ask("capture", "a", ["a"])
            one.ask("bump", ["a"])
            assert not two.ask("is_current", "a")

    def test_a_deleted_file_is_made_anew_by_a_bump_which_reaches_old_and_new(self, tmp_path: Path) -> None:
        """Who still has the deleted file mapped sees the bump, and so does who opened the new one."""
        with sharing(tmp_path) as (one, two), Worker(tmp_path) as late:
            the_file(tmp_path).unlink()
            late.share()
            two.ask("capture", "a", ["a"])  # of the deleted file
            late.ask("capture", "a", ["a"])  # of the new one
            assert one.ask("bump", ["a"]) == 1
            assert not two.ask("is_current", "a")
            assert not late.ask("is_current", "a")
            assert "another file" in one.ask("state")["reason"]
            assert two.ask("state")["replaced"] == 0

    @pytest.mark.parametrize("how", ["deleted", "moved"])
    def test_a_folder_that_is_gone_is_made_anew(self, tmp_path: Path, how: str) -> None:
        """Deleted with all that is in it, or moved away: a bump and a refresh find the next one."""
        with sharing(tmp_path) as (one, two):
            file = the_file(tmp_path)
            if how == "deleted":
                file.unlink()
                file.parent.rmdir()
            else:
                file.parent.rename(tmp_path.with_name("elsewhere"))
            two.ask("capture", "a", ["a"])
            one.ask("bump", ["a"])
            assert not two.ask("is_current", "a")
            assert the_file(tmp_path) == file
            two.ask("drive", FIRST + 1)
            assert two.ask("refresh")
            two.ask("capture", "a", ["a"])
            one.ask("bump", ["a"])
            assert not two.ask("is_current", "a")

    def test_where_no_file_can_be_made_anew_the_old_words_stay(self, tmp_path: Path) -> None:
        """Processes that have a deleted file mapped go on sharing it, say so, and move when there can be a file again."""
        with sharing(tmp_path) as (one, two):
            file = the_file(tmp_path)
            file.unlink()
            file.parent.rmdir()
            file.parent.write_text("in the way")
            two.ask("capture", "a", ["a"])
            one.ask("drive", FIRST + 1)
            assert one.ask("refresh")
            state = one.ask("state")
            assert not state["shared"]
            assert "is not a folder" in state["reason"]
            one.ask("drive", FIRST + 2)
            assert not one.ask("refresh")
            one.ask("bump", ["a"])
            assert not two.ask("is_current", "a")
            file.parent.unlink()
            one.ask("drive", FIRST + 3)
            assert one.ask("refresh")
            assert one.ask("state")["shared"]
            two.ask("capture", "a", ["a"])
            one.ask("bump", ["a"])
            assert two.ask("is_current", "a"), "two has not looked yet, and its file is out of reach"
            two.ask("drive", FIRST + 1)
            assert two.ask("refresh")
            assert not two.ask("is_current", "a")


class TestRefused:
    def private(self, worker: Worker) -> str:
        """What an attempt to share says, after which the worker goes on with words of its own."""
        state = worker.share()
        assert not state["shared"]
        assert state["words"] == WORDS
        worker.ask("capture", "a", ["a"])
        assert worker.ask("is_current", "a")
        worker.ask("bump", ["a"])
        assert not worker.ask("is_current", "a")
        reason = state["reason"]
        assert isinstance(reason, str)
        return reason

    def test_a_directory_that_may_not_be_written_in(self, open_directory: Path) -> None:
        """No permission: the words are private, and the reason names the folder."""
        open_directory.chmod(0o555)
        with Worker(open_directory, drop=True) as worker:
            reason = self.private(worker)
        assert str(open_directory) in reason
        assert "Permission denied" in reason

    @needs_root
    def test_a_folder_of_another_user(self, open_directory: Path) -> None:
        """Whoever made the folder first could read and change what is in it."""
        (open_directory / f"oxicache-{NOBODY}-shop").mkdir(mode=0o700)
        with Worker(open_directory, drop=True) as worker:
            reason = self.private(worker)
        assert "Permission denied" in reason or "belongs to user 0" in reason

    @needs_root
    def test_root_does_not_take_another_users_folder(self, tmp_path: Path) -> None:
        """Root may open anything, and still looks whose it is."""
        folder = tmp_path / "oxicache-0-shop"
        folder.mkdir(mode=0o700)
        os.chown(folder, NOBODY, NOBODY)
        with Worker(tmp_path) as worker:
            assert "belongs to user 65534, not to user 0" in self.private(worker)
        assert list(folder.iterdir()) == []

    def test_a_folder_that_a_group_may_write_in(self, tmp_path: Path) -> None:
        """Its mode is not mended, as what is in it may be anybody's already."""
        folder = tmp_path / f"oxicache-{os.geteuid()}-shop"
        folder.mkdir()
        folder.chmod(0o770)
        with Worker(tmp_path) as worker:
            assert "has mode 0770, but must have 0700" in self.private(worker)

    @pytest.mark.parametrize("what", ["folder", "file"])
    def test_a_symbolic_link(self, tmp_path: Path, what: str) -> None:
        """Neither folder nor file may lead elsewhere, and nothing is written where they lead."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        folder = tmp_path / "run" / f"oxicache-{os.geteuid()}-shop"
        folder.parent.mkdir()
        if what == "folder":
            folder.symlink_to(elsewhere)
        else:
            folder.mkdir(mode=0o700)
            (folder / f"versions-1-{WORDS}").symlink_to(elsewhere / "file")
        with Worker(tmp_path / "run") as worker:
            reason = self.private(worker)
        assert "links are not followed" in reason or "is a symbolic link" in reason
        assert list(elsewhere.iterdir()) == []

    def test_no_room_for_the_file(self, tmp_path: Path) -> None:
        """A file that cannot be as long as it must is not left behind."""
        with Worker(tmp_path) as worker:
            worker.ask("limit_file_size", 2**16)
            assert "cannot be made: File too large" in self.private(worker)
        (folder,) = tmp_path.iterdir()
        assert list(folder.iterdir()) == []

    def test_a_full_file_system(self, tmp_path: Path) -> None:
        """On a tmpfs that is smaller than the file the words are private, and the tmpfs stays as empty as it was."""
        inside = (
            'mount -t tmpfs -o size=128k tmpfs "$1" && "$2" -c "$3" "$1" && rm -r "$1"/* && '
            'mount -t tmpfs -o size=128k,ro tmpfs "$1" && "$2" -c "$3" "$1"'
        )
        source = (
            "import sys; from oxicache import _native; "
            f"state = _native.versions_share(sys.argv[1], 'shop', {WORDS}); "
            "assert not state['shared'], state; print(state['reason'])"
        )
        unshare = ["unshare", "--user", "--map-root-user", "--mount"]
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
            pytest.skip("this system gives no mount namespace; test_no_room_for_the_file needs none")
        done = subprocess.run(
            [*unshare, "sh", "-c", inside, "sh", str(tmp_path), sys.executable, source],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        full, read_only = done.stdout.splitlines()
        assert "No space left on device" in full
        assert "Read-only file system" in read_only

    @needs_root
    def test_who_gives_up_roots_rights_moves_to_files_of_its_own(self, open_directory: Path) -> None:
        """A master that opened the words as root, and workers that became others: they meet in the workers' file."""
        with sharing(open_directory) as workers:
            for worker in workers:
                worker.ask("become", NOBODY)
                worker.ask("drive", FIRST + 1)
            one, two = workers
            assert one.ask("refresh")
            two.ask("capture", "a", ["a"])
            one.ask("capture", "a", ["a"])
            assert two.ask("bump", ["a"]) == 1
            assert not one.ask("is_current", "a")
            assert one.ask("state")["directory"].endswith(f"oxicache-{NOBODY}-shop")

    def test_an_odd_umask_changes_nothing(self, tmp_path: Path) -> None:
        """Folder and file have the modes that they must have."""
        with Worker(tmp_path) as worker:
            worker.ask("mask", 0o777)
            assert worker.share()["shared"]
        assert the_file(tmp_path).stat().st_mode & 0o7777 == 0o600
        assert the_file(tmp_path).parent.stat().st_mode & 0o7777 == 0o700


ROUNDS = 500_000  # in each of two processes: a million invalidations
ROWS = 64


class TestMillion:
    def test_a_million_invalidations_leave_no_stale_read_and_lose_none(self, tmp_path: Path) -> None:
        """Two processes write rows, invalidate them and read each other's: an entry that is current is never old."""
        truth = tmp_path / "rows"
        truth.write_bytes(bytes(16 * ROWS))
        (tmp_path / "run").mkdir()
        sides = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    f"import {__name__.rpartition('.')[2]} as t; t._write_and_read({side}, {str(tmp_path)!r})",
                ],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.path.dirname(__file__), "PYTHONHASHSEED": str(side)},
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
