"""What stands in the way of shared version words, and who is parted from a site's processes: W001 and W002."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from unittest import mock

import pytest
from django.apps import apps
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.test import override_settings

from oxicache.django import conf, host, neighbours

Start: TypeAlias = Callable[..., int]


def found(number: str) -> list[CheckMessage]:
    """What the checks say under the id `oxicache.<number>`."""
    messages = django_checks.run_checks(tags=[django_checks.Tags.caches])
    return [message for message in messages if message.id == f"oxicache.{number}"]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path) -> Iterator[Path]:
    """A runtime directory of this test: no process of the machine that runs the tests is looked at."""
    with override_settings(OXICACHE={"RUNTIME_DIR": tmp_path}):
        yield tmp_path


def folder_of(directory: Path, user: int | None = None, namespace: str | None = None) -> Path:
    """The folder in which processes of that user and namespace meet."""
    return directory / f"oxicache-{os.geteuid() if user is None else user}-{namespace or conf.namespace()}"


class TestSharing:
    """W001."""

    def reasons(self) -> list[str]:
        return [message.msg for message in found("W001")]

    def test_a_place_that_is_right_is_not_touched(self, runtime: Path) -> None:
        """The check makes neither folder nor file."""
        assert self.reasons() == []
        assert list(runtime.iterdir()) == []
        folder_of(runtime).mkdir(0o700)
        assert self.reasons() == []

    def test_a_project_that_caches_no_rows_hears_nothing(self, runtime: Path) -> None:
        """Nothing of it is shared, so nothing stands in its way."""
        no_models = mock.patch.object(apps, "get_models", list)
        with override_settings(OXICACHE={"RUNTIME_DIR": runtime / "none"}), no_models:
            assert self.reasons() == []

    @pytest.mark.parametrize("kind", ["missing", "a file"])
    def test_a_runtime_directory_must_be_a_directory(self, runtime: Path, kind: str) -> None:
        """It is named."""
        place = runtime / "place"
        if kind == "a file":
            place.touch()
        with override_settings(OXICACHE={"RUNTIME_DIR": place}):
            (reason,) = self.reasons()
        assert f"{place} is no directory" in reason

    def test_it_must_be_writable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By the user that runs the check: that is how the workers should run."""
        monkeypatch.setattr(neighbours.os, "access", lambda path, mode: False)  # root may write anywhere
        (reason,) = self.reasons()
        assert f"cannot be written by user {os.geteuid()}" in reason

    def test_it_must_have_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A container's /dev/shm of 64 MB has none for 2**24 words."""
        wanted = 2**20 * 4 + 2**16 * 4 + 4096
        for free, count in ((wanted, 0), (wanted - 1, 1)):
            monkeypatch.setattr(
                neighbours.os, "statvfs", lambda path, free=free: mock.Mock(f_bavail=free, f_frsize=1)
            )
            assert len(self.reasons()) == count

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("link", "is a symbolic link"),
            ("file", "is no directory"),
            ("mode", "has mode 0755; it must be 0700"),
            ("owner", "belongs to user"),
            ("file as link", "is a symbolic link or a folder"),
        ],
    )
    def test_a_folder_that_others_may_have_made_is_refused(
        self, runtime: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
    ) -> None:
        """The check says what the processes will refuse."""
        folder = folder_of(runtime)
        if kind == "link":
            (runtime / "real").mkdir(0o700)
            folder.symlink_to(runtime / "real")
        elif kind == "file":
            folder.touch()
        else:
            folder.mkdir(0o755 if kind == "mode" else 0o700)
        if kind == "owner":
            monkeypatch.setattr(neighbours.os, "geteuid", lambda: os.getuid() + 1)
            folder.rename(folder_of(runtime))
        if kind == "file as link":
            (folder / "versions-1-1048576").symlink_to("/")
        (reason,) = self.reasons()
        assert words in reason

    def test_what_the_running_process_has_met_with_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`runserver` checks again, and knows more than can be seen from outside."""
        monkeypatch.setattr(host, "failure", lambda: "the disk is full")
        assert ["the disk is full" in reason for reason in self.reasons()] == [True]

    def test_other_systems_are_told_that_nothing_is_shared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Systems such as macOS have private words, and that is said."""
        monkeypatch.setattr(neighbours.sys, "platform", "darwin")
        (reason,) = self.reasons()
        assert "on Linux only, and this is darwin" in reason

    def test_without_a_secret_key_that_is_the_reason(self) -> None:
        """Nothing says who belongs together."""
        with override_settings(SECRET_KEY=""):
            (reason,) = self.reasons()
        assert "SECRET_KEY" in reason


OTHER = """
import os, sys
from oxicache import _native
found = _native.versions_share(sys.argv[1], sys.argv[2], int(sys.argv[3]))
assert found["shared"], found
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def others() -> Iterator[Start]:
    """Processes that share words elsewhere, until the test ends."""
    running = []

    def start(directory: Path, namespace: str, words: int = 2**20, cwd: Path | None = None) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(directory), namespace, str(words)],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process.pid

    yield start
    for process in running:
        process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only")
class TestParted:
    """W002."""

    def said(self) -> list[str]:
        return [f"{message.msg} {message.hint}" for message in found("W002")]

    def test_processes_that_meet_here_are_not_parted(self, runtime: Path, others: Start) -> None:
        """Whoever shares our words is no stranger."""
        others(runtime, conf.namespace())
        assert self.said() == []

    def test_another_namespace_of_the_same_place_is_named(self, runtime: Path, others: Start) -> None:
        """Two settings modules with a SECRET_KEY each, started in one folder, are one site that is parted."""
        pid = others(runtime, "elsewhere")
        (said,) = self.said()
        assert f"Process {pid}, started in {Path.cwd()}" in said
        assert str(folder_of(runtime, namespace="elsewhere")) in said
        assert 'OXICACHE["NAMESPACE"]' in said

    def test_another_project_of_the_user_is_not(self, runtime: Path, others: Start, tmp_path: Path) -> None:
        """Two projects side by side do not belong together: they were started in two folders."""
        others(runtime, "elsewhere", cwd=tmp_path)
        assert self.said() == []

    def test_a_folder_that_nobody_uses_is_not(self, runtime: Path) -> None:
        """What an old SECRET_KEY left behind hurts nobody."""
        folder = folder_of(runtime, namespace="elsewhere")
        folder.mkdir(0o700)
        (folder / "versions-1-1048576").touch()
        assert self.said() == []

    def test_another_number_of_words_is_named(self, runtime: Path, others: Start, tmp_path: Path) -> None:
        """VERSION_WORDS was changed, and one process still runs with the old number."""
        pids = sorted(others(runtime, conf.namespace(), 2**16, cwd=tmp_path) for _ in range(2))
        (said,) = self.said()
        assert f"Processes {pids[0]}, {pids[1]} of this site use" in said
        assert "versions-1-65536, this one uses versions-1-1048576" in said
        assert "restart all processes" in said

    def test_another_directory_is_named(
        self, runtime: Path, others: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One process was started before RUNTIME_DIR was set, and meets nobody any more."""
        usual = tmp_path / "usual"
        usual.mkdir()
        monkeypatch.setattr(conf, "SHARED_MEMORY", str(usual))
        pid = others(usual, conf.namespace(), cwd=tmp_path)
        (said,) = self.said()
        assert f"Process {pid} of this site use" in said
        assert "RUNTIME_DIR" in said

    def test_processes_of_another_user_are_named(
        self, runtime: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A command run as root, or as oneself, reaches no worker that runs as www-data."""
        folder_of(runtime).mkdir(0o700)
        mine = os.geteuid()
        monkeypatch.setattr(neighbours.os, "geteuid", lambda: mine + 1)
        (said,) = self.said()
        assert f"run as user {mine} too, and this one runs as user {mine + 1}" in said
        assert "Run commands as the user that the workers run as." in said

    def test_a_folder_that_only_has_such_a_name_is_not(self, runtime: Path) -> None:
        """Anybody may make a folder with any name in a directory for all."""
        folder_of(runtime, user=os.geteuid() + 1).mkdir(0o700)
        assert self.said() == []

    def test_the_file_has_the_name_that_processes_give_it(self, runtime: Path, others: Start) -> None:
        """The layout that is part of the name is the native half's."""
        others(runtime, conf.namespace())
        assert (folder_of(runtime) / neighbours._file_name()).exists()
