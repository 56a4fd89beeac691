"""The version words of a host: where a project's processes open them, when, and what the log says."""

import os
from pathlib import Path

import pytest
from users_site import Site

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="words are shared on Linux only")  # noqa: PTH112

LOGGED = """
import logging

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(f"{record.levelname} {record.getMessage()}")

lines = []
logging.getLogger("oxicache").addHandler(Lines())
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose processes meet in a folder of this test."""
    return Site(tmp_path)


class TestOpening:
    def test_setting_django_up_opens_nothing(self, site: Site) -> None:
        """A master that only forks, and a command that caches nothing, make no file and look after none."""
        source = """
        from django.core.signals import request_started
        from oxicache import _native
        keys = [str(key) for key, *_ in request_started.receivers]
        print(sum("oxicache.django.host" in key for key in keys), _native.versions_state())
        """
        assert site.python(source).startswith("0 {'shared': False, ")
        assert list(site.runtime.iterdir()) == []

    @pytest.mark.parametrize("use", ["capture", "bump"])
    def test_the_first_use_opens_them_where_the_settings_say(self, site: Site, use: str) -> None:
        """The folder has the namespace in its name, the file the number of words."""
        site.settings = 'OXICACHE |= {"NAMESPACE": "site1", "VERSION_WORDS": 2**17}'
        site.python(f"from oxicache.django import host; host.{use}(['a'])")
        folder = site.runtime / f"oxicache-{os.geteuid()}-site1"
        assert [path.name for path in folder.iterdir()] == ["versions-1-131072"]

    def test_what_one_process_bumps_another_sees(self, site: Site) -> None:
        """Processes of one SECRET_KEY share words, whatever their hash seed; those of another key do not."""
        source = """
        import os, subprocess, sys
        from oxicache.django import host

        stamps = host.capture(["row:books.book:1"])
        bump = "import django; django.setup(); from oxicache.django import host; host.bump(['row:books.book:1'])"
        for key in ("another", "this"):
            environment = {**os.environ, "PYTHONHASHSEED": "7", "KEY": key}
            subprocess.run([sys.executable, "-c", bump], env=environment, check=True)
            print(key, stamps.is_current())
        """
        site.settings = 'import os\nSECRET_KEY = os.environ.get("KEY", "this")'
        assert site.python(source) == "another True\nthis False\n"

    @pytest.mark.parametrize("opened", ["before the fork", "after it"])
    def test_forked_workers_share_them(self, site: Site, opened: str) -> None:
        """A mapping that was inherited is as good as one that each worker opens."""
        source = f"""
        import os
        from oxicache.django import host

        if {opened == "before the fork"}:
            host.capture(["b"])
        ready, told = os.pipe()
        reader = os.fork()
        if reader == 0:
            stamps = host.capture(["a"])
            ready2, told2 = os.pipe()
            writer = os.fork()
            if writer == 0:
                host.bump(["a"])
                os._exit(0)
            os.waitpid(writer, 0)
            os._exit(1 if stamps.is_current() else 0)
        print(os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]))
        """
        assert site.python(source) == "0\n"

    def test_they_are_opened_anew_when_a_setting_says_elsewhere(self, site: Site, tmp_path: Path) -> None:
        """RUNTIME_DIR, NAMESPACE, VERSION_WORDS and SECRET_KEY count from the next use on, and back."""
        (tmp_path / "other").mkdir()
        source = """
        from pathlib import Path
        from django.conf import settings
        from django.test import override_settings
        from oxicache.django import host

        def show():
            host.capture(["a"])
            path = Path(host.state()["path"])
            print(path.parent.parent.name, path.parent.name.rpartition("-")[2], path.name.rpartition("-")[2])

        show()
        elsewhere = {"RUNTIME_DIR": str(Path("other").resolve())}
        for changed in (elsewhere, {"NAMESPACE": "named"}, {"VERSION_WORDS": 2**16}):
            with override_settings(OXICACHE={**settings.OXICACHE, **changed}):
                show()
        with override_settings(SECRET_KEY="other"):
            show()
        show()
        """
        first, directory, namespace, words, secret, last = site.python(source).splitlines()
        assert first == last
        home, name, size = first.split()
        assert (home, size) == ("runtime", "1048576")
        assert directory == f"other {name} {size}"
        assert namespace == f"runtime named {size}"
        assert words == f"runtime {name} 65536"
        assert secret.split()[1] not in (name, "named")


class TestLookedAfter:
    def test_a_request_finds_a_file_that_was_deleted(self, site: Site) -> None:
        """Workers whose file is gone move to a new one together, at the latest a second later, and say so once."""
        source = f"""
        {LOGGED.replace(chr(10), chr(10) + " " * 8)}
        import os
        from django.core.signals import request_started
        from oxicache import _native
        from oxicache.django import host

        _native.clock_drive(1000)
        stamps = host.capture(["a"])
        path = host.state()["path"]
        os.unlink(path)
        for second in (1002, 1004, 1006):
            _native.clock_drive(second)
            request_started.send(sender=None)
            request_started.send(sender=None)
        print(stamps.is_current(), host.capture(["a"]).is_current(), os.path.exists(path), len(lines))
        print(lines[0])
        """
        first, line = site.python(source).splitlines()
        assert first == "False True True 1"
        assert line.startswith(f"WARNING The version words of this host at {site.runtime}/oxicache-")
        assert "were replaced: " in line

    def test_a_bump_that_finds_it_is_told_at_the_next_request(self, site: Site) -> None:
        """A bump looks for the file itself; the line in the log is not lost."""
        source = f"""
        {LOGGED.replace(chr(10), chr(10) + " " * 8)}
        import os
        from django.core.signals import request_started
        from oxicache.django import host

        host.capture(["a"])
        os.truncate(host.state()["path"], 100)
        host.bump(["a"])
        print(host.state()["shared"], host.state()["replaced"], len(lines))
        request_started.send(sender=None)
        print(len(lines))
        """
        assert site.python(source) == "True 1 0\n1\n"

    def test_a_file_that_was_broken_before_is_replaced_and_logged(self, site: Site) -> None:
        """What a crash or a full disk left behind takes nothing down."""
        source = f"""
        {LOGGED.replace(chr(10), chr(10) + " " * 8)}
        from pathlib import Path
        from oxicache import _native
        from oxicache.django import conf, host

        first = _native.versions_share(conf.runtime_directory(), conf.namespace(), 2**20)
        _native.versions_keep_private()
        Path(first["path"]).write_bytes(b"rubbish")
        host.capture(["a"])
        host.bump(["a"])
        print(host.state()["shared"], host.state()["replaced"])
        print(*lines, sep="|")
        """
        state, lines = site.python(source).splitlines()
        assert state == "True 1"
        assert lines.count("|") == 0
        assert "were replaced: it had 7 bytes" in lines

    def test_a_celery_worker_looks_at_each_task(self, site: Site) -> None:
        """Where celery is loaded, its tasks count as requests do; where it is not, it is not imported."""
        source = """
        import sys, types
        from django.dispatch import Signal
        from oxicache.django import host

        print("celery" in sys.modules)
        signals = types.ModuleType("celery.signals")
        signals.task_prerun = Signal()
        sys.modules["celery.signals"] = signals
        host.capture(["a"])
        print([receiver.__name__ for receiver in signals.task_prerun._live_receivers(None)[0]])
        """
        assert site.python(source) == "False\n['refresh']\n"


class TestPrivate:
    @pytest.mark.parametrize(
        ("obstacle", "reason"),
        [
            ("directory.write_text('')", "Not a directory"),
            ("pass", "No such file"),
            ("directory.mkdir(); (directory / name).symlink_to('/')", "links are not followed"),
            ("directory.mkdir(); (directory / name).mkdir(0o755)", "has mode 0755"),
        ],
        ids=["a file", "missing", "a link", "open to others"],
    )
    def test_where_nothing_can_be_shared_one_line_says_why(
        self, site: Site, obstacle: str, reason: str
    ) -> None:
        """The site goes on with words of each process's own; the log names the reason and the remedy, once."""
        site.settings = f'OXICACHE = {{"RUNTIME_DIR": {str(site.folder / "elsewhere")!r}, "CONTROL": False}}'
        source = f"""
        {LOGGED.replace(chr(10), chr(10) + " " * 8)}
        import os
        from pathlib import Path
        from django.core.signals import request_started
        from oxicache.django import conf, host

        directory, name = Path("elsewhere"), f"oxicache-{{os.geteuid()}}-{{conf.namespace()}}"
        {obstacle}
        stamps = host.capture(["a"])
        request_started.send(sender=None)
        print(stamps.is_current(), host.bump(["a"]), stamps.is_current(), host.state()["shared"])
        print(*lines, sep="|")
        """
        state, lines = site.python(source).splitlines()
        assert state == "True 1 False False"
        assert lines.count("|") == 0
        assert lines.startswith("WARNING Invalidations do not reach other processes of this host: ")
        assert reason in lines
        assert "OXICACHE['RUNTIME_DIR']" in lines

    def test_what_stood_in_the_way_may_go(self, site: Site) -> None:
        """A directory that is made late, or a disk that was full, parts a process from the others for ten seconds."""
        site.settings = f'OXICACHE = {{"RUNTIME_DIR": {str(site.folder / "elsewhere")!r}, "CONTROL": False}}'
        source = f"""
        {LOGGED.replace(chr(10), chr(10) + " " * 8)}
        from pathlib import Path
        from django.core.signals import request_started
        from oxicache import _native
        from oxicache.django import host

        _native.clock_drive(1000)
        private = host.capture(["a"])
        for second in (1009, 1011):
            _native.clock_drive(second)
            request_started.send(sender=None)
        print(private.is_current(), host.state()["shared"], len(lines))
        Path("elsewhere").mkdir()
        _native.clock_drive(1020)
        request_started.send(sender=None)
        print(private.is_current(), host.state()["shared"])
        _native.clock_drive(1022)
        request_started.send(sender=None)
        print(private.is_current(), host.state()["shared"], len(lines))
        """
        assert site.python(source).splitlines() == ["True False 1", "True False", "False True 1"]

    def test_without_a_secret_key_they_are_private(self, site: Site) -> None:
        """Commands may run without one; the line names it."""
        site.settings = 'SECRET_KEY = ""'
        source = f"""
        {LOGGED.replace(chr(10), chr(10) + " " * 8)}
        from oxicache.django import host
        print(host.bump(["a"]), host.state()["shared"])
        print(*lines, sep="|")
        """
        state, lines = site.python(source).splitlines()
        assert state == "1 False"
        assert "SECRET_KEY" in lines
        assert list(site.runtime.iterdir()) == []

    def test_in_djangos_test_environment_they_are_private(self, site: Site) -> None:
        """A runner of one's own that says nothing to oxicache shares nothing either; TEST_ISOLATION = False does."""
        source = """
        from django.test.utils import setup_test_environment
        from oxicache.django import host
        setup_test_environment()
        host.bump(["a"])
        print(host.state()["shared"], host.failure())
        """
        assert site.python(source) == "False None\n"
        assert list(site.runtime.iterdir()) == []
        site.settings = 'OXICACHE |= {"TEST_ISOLATION": False}'
        assert site.python(source) == "True None\n"
