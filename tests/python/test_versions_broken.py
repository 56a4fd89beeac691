"""Version words whose file is broken, gone or must not be used: replaced, followed, or done without."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from versions_worker import FIRST, NOBODY, WORDS, Worker, sharing, the_file

pytestmark = [
    pytest.mark.oxicache_real_clock,
    pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only"),
]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


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
            if breaking in {_truncate, _empty}:
                # One has not looked yet: the old file got its length back, or this hit would be its end.
                assert not one.ask("is_current", "a")
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
        """Processes that have a deleted file mapped go on sharing it, say so, and move when there can be one."""
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
            worker.ask("mask", 0o277)
            assert worker.share()["shared"]
        assert the_file(tmp_path).stat().st_mode & 0o7777 == 0o600
        assert the_file(tmp_path).parent.stat().st_mode & 0o7777 == 0o700
