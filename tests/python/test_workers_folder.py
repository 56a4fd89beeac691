"""The folder where the workers of a host keep their sockets: which are refused, and the mark that disables caches."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_workers import answer, says, scripted, short_folder

from oxicache import workers
from oxicache.errors import UnsafeFolderError
from oxicache.workers import ask, discover


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


class TestFolder:
    def test_a_link_is_refused(self, folder: Path) -> None:
        """Whoever made the link decides where it leads."""
        link = folder / "link"
        (folder / "real").mkdir(mode=0o700)
        link.symlink_to(folder / "real")
        with pytest.raises(UnsafeFolderError, match="is a symbolic link"):
            discover(link)

    def test_a_file_is_refused(self, folder: Path) -> None:
        """A folder is what is asked for."""
        (folder / "file").touch()
        with pytest.raises(UnsafeFolderError, match="is no directory"):
            discover(folder / "file")

    @pytest.mark.parametrize("mode", [0o770, 0o701, 0o755, 0o500])
    def test_another_mode_is_refused(self, folder: Path, mode: int) -> None:
        """Where others may enter, others may have put sockets."""
        folder.chmod(mode)
        with pytest.raises(UnsafeFolderError, match=f"has mode {mode:04o}; it must be 0700"):
            discover(folder)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_only_root_looks_into_the_folder_of_another(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Root asks the workers of any user; anybody else is refused."""
        os.chown(folder, 12345, 12345)
        assert discover(folder) == []
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        with pytest.raises(
            UnsafeFolderError, match="belongs to user 12345, and this process runs as user 4711"
        ):
            discover(folder)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_root_talks_to_the_owner_of_the_folder_alone(self, folder: Path) -> None:
        """A socket that another user serves, as by a link into one of root's, is told nothing."""
        with scripted(folder, says(answer({}))) as (one,):
            os.chown(folder, 12345, 12345)
            found = ask(discover(folder), {"verb": "stats"}, 60.0)
        assert [failed.error for failed in found.failures] == ["untrusted"]
        assert one.asked == []

    def test_where_it_is(self) -> None:
        """The folder's name holds the user and the namespace, as the native half has it."""
        assert workers.folder_of("/run", "site", 7) == Path("/run/oxicache-7-site")
        assert workers.folder_of("/run", "site").name == f"oxicache-{os.geteuid()}-site"


class TestMark:
    def test_there_is_none_at_first(self, folder: Path) -> None:
        """Without a folder, or with an empty one, caches start enabled."""
        assert not workers.is_disabled(folder)
        assert not workers.is_disabled(folder / "missing")

    def test_it_stays_until_it_is_removed(self, folder: Path) -> None:
        """The mark is a file that only the owner can read; leaving and removing it twice is no error."""
        for _ in range(2):
            workers.keep_disabled(folder, on=True)
            assert workers.is_disabled(folder)
        mark = folder / "disabled"
        assert stat.S_IMODE(mark.stat().st_mode) == 0o600
        for _ in range(2):
            workers.keep_disabled(folder, on=False)
            assert not workers.is_disabled(folder)

    def test_it_may_come_before_any_worker(self, folder: Path) -> None:
        """The folder is made for it, as the native half makes it."""
        made = folder / "new"
        workers.keep_disabled(made, on=True)
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert workers.is_disabled(made)
        workers.keep_disabled(folder / "other", on=False)
        assert not (folder / "other").exists()

    def test_it_follows_no_link(self, folder: Path) -> None:
        """A link in its place is neither a mark nor written through."""
        (folder / "disabled").symlink_to(folder / "elsewhere")
        assert not workers.is_disabled(folder)
        with pytest.raises(OSError, match="symbolic links"):
            workers.keep_disabled(folder, on=True)
        assert not (folder / "elsewhere").exists()

    def test_an_unsafe_folder_is_refused(self, folder: Path) -> None:
        """Nothing is written where others could have."""
        folder.chmod(0o755)
        for on in (True, False):
            with pytest.raises(UnsafeFolderError):
                workers.keep_disabled(folder, on)
        with pytest.raises(UnsafeFolderError):
            workers.is_disabled(folder)
