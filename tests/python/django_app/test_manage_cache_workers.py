"""The commands from a shell, against processes that serve their sockets: exit codes, terminals, what workers keep."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import site_worker
from child_process import interruptible
from site_worker import LiveSite, SiteWorker, a_site
from terminals import LIMIT_SECONDS, Terminal, on_terminal

pytestmark = pytest.mark.any_methods

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache"}}
HOME = "\x1b[H"
NOBODY = 65534


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[LiveSite, list[SiteWorker]]]:
    """A site with two workers, for tests that each use caches of their own."""
    with a_site() as site, site.serving(2) as workers:
        yield site, workers


@contextlib.contextmanager
def stopped(worker: SiteWorker) -> Iterator[None]:
    """A worker that does nothing for a while."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


@contextlib.contextmanager
def terminal(site: LiveSite, *arguments: str, **environment: str) -> Iterator[Terminal]:
    """The command on a terminal."""
    own = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    inherited = {name: value for name, value in site.environment().items() if name != "NO_COLOR"}
    command = [sys.executable, site_worker.__file__, *arguments]
    with on_terminal(command, {**inherited, **own, **environment}) as shown:
        yield shown


class TestFromAShell:
    def test_stats_is_the_sum_of_the_workers(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """001's text to the byte for the cache, and who answered as the last line; nothing on stderr."""
        site, workers = pair
        for worker in workers:
            worker.fill("summed", 3, max_size=10)
        done = site.manage("manage_cache", "stats", "--cache-name", "summed")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            f"Cache Statistics\n{'=' * 50}\nCache: summed\n  Size: 6/20\n  Utilization: 30.0%\n  TTL: 60s\n\n"
            f"2 of 2 workers answered in {site.folder}.\n"
        )

    def test_json_has_each_process(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """`--json` on stdout is JSON and nothing else."""
        site, workers = pair
        done = site.manage("manage_cache", "stats", "--json")
        assert set(json.loads(done.stdout)["_global"]["processes"]) == {str(worker.pid) for worker in workers}

    @pytest.mark.parametrize("verb", ["monitor", "status", "top"])
    def test_off_a_terminal_there_is_no_escape_sequence(
        self, pair: tuple[LiveSite, list[SiteWorker]], verb: str
    ) -> None:
        """What goes into a pipe is text."""
        done = pair[0].manage("manage_cache", verb)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["fly"], "invalid choice: 'fly'"),
            (["stats", "--cache-name", "nobodys"], "CommandError: Cache 'nobodys' not found; these exist:"),
            (["stats", "--process", "1"], "no live worker has the pid 1; alive in"),
            (["stats", "--tags", "a"], "--tags does not apply to stats"),
            (["warm"], "Cache operation failed: warming is not configured"),
            (["invalidate", "--model", "nobody.Knows"], "is no model"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_wrong_use_is_two(
        self, pair: tuple[LiveSite, list[SiteWorker]], arguments: list[str], says: str
    ) -> None:
        """The exit code is 2, and stderr has what exists."""
        site, workers = pair
        workers[0].fill("known", 1)
        done = site.manage("manage_cache", *arguments)
        assert done.returncode == 2
        assert says in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_worker_that_hangs_is_one(self) -> None:
        """What the others say is printed; the exit code is 1, and stderr names who is missing."""
        with a_site() as site, site.serving(2) as (well, hanging):
            well.fill("users", 3)
            with stopped(hanging):
                done = site.manage("manage_cache", "stats", "--json")
            assert done.returncode == 1
            assert done.stderr == f"CommandError: 1 of 2 workers answered; not {hanging.pid}\n"
            assert json.loads(done.stdout)["users"]["size"] == 3

    def test_without_workers_it_says_so(self) -> None:
        """Nothing is wrong with a site that is not running: exit code 0, and where it was looked."""
        with a_site() as site:
            done = site.manage("manage_cache", "stats")
        assert done.returncode == 0
        assert done.stdout.startswith(f"No live worker of this site was found in {site.folder}.\n")

    def test_the_commands_own_process(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """`--process self` asks nobody else."""
        site, workers = pair
        workers[0].fill("elsewhere", 1)
        done = site.manage("manage_cache", "stats", "--process", "self")
        assert done.stdout.startswith(f"Cache Statistics\n{'=' * 50}\nTotal Caches: 0\n")

    def test_a_folder_that_is_a_link_is_refused(self, tmp_path: Path) -> None:
        """Somebody else may have put sockets there."""
        with a_site() as site:
            site.folder.symlink_to(tmp_path)
            done = site.manage("manage_cache", "stats")
        assert done.returncode == 1
        assert "CommandError: Cache operation failed: " in done.stderr
        assert "symbolic link" in done.stderr

    def test_a_stream_without_the_signs(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """Where the encoding has no check mark it is spelt out, and the report goes on."""
        done = pair[0].manage("manage_cache", "status", PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
        assert "  \\u2713 default: Healthy\n" in done.stdout

    def test_a_reader_that_has_read_enough(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """`manage_cache stats | head -1` ends as other programs do: quietly, with 128 and the signal's number."""
        site, _ = pair
        command = [sys.executable, site_worker.__file__, "manage_cache", "stats", "--json"]
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            command,
            stdout=writer,
            stderr=subprocess.PIPE,
            env=site.environment(),
            timeout=LIMIT_SECONDS,
            check=False,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")

    def test_fail_on_tells_a_monitoring_system(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """The report is printed; the exit code is 1."""
        site, workers = pair
        workers[0].fill("full", 10, max_size=10)
        arguments = ["manage_cache", "monitor", "--cache-name", "full", "--fail-on"]
        done = site.manage(*arguments, "critical")
        assert (done.returncode, done.stderr) == (1, "CommandError: The caches are in the state critical\n")
        assert "  HIGH: Cache 'full' utilization > 95%\n" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, and ask his workers")
class TestAsRoot:
    @pytest.fixture
    def served(self) -> Iterator[tuple[LiveSite, SiteWorker]]:
        """A site whose worker runs as somebody else."""
        with a_site() as site:
            site.directory.chmod(0o1777)
            with SiteWorker(site) as worker:
                worker.ask("become", NOBODY)
                worker.ask("serve")
                worker.fill("theirs", 3, tags=["user"])
                yield site, worker

    def test_root_reaches_the_workers_of_another_user(self, served: tuple[LiveSite, SiteWorker]) -> None:
        """They meet in a folder of their own, which root looks into; a warning says that words are not shared."""
        site, _ = served
        done = site.manage("manage_cache", "stats", "--json")
        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        assert shown["theirs"]["size"] == 3
        assert f"oxicache-{NOBODY}-shop" in shown["_global"]["folder"]
        assert any(f"run as user {NOBODY} too" in sibling for sibling in shown["_global"]["siblings"])

    def test_a_folder_that_is_open_to_others_is_left_out(self, served: tuple[LiveSite, SiteWorker]) -> None:
        """Who may write into it might pose as a worker: it is named, and nobody in it is asked."""
        site, _ = served
        folder = site.directory / f"oxicache-{NOBODY}-shop"
        folder.chmod(0o777)
        done = site.manage("manage_cache", "stats")
        assert done.returncode == 0, done.stderr
        assert "No live worker" in done.stdout
        assert f"Warning: {folder} has not the mode 0700, and is left out.\n" in done.stdout

    def test_what_root_does_reaches_them_too(self, served: tuple[LiveSite, SiteWorker]) -> None:
        """Orders need no words in common, and the mark for workers to come lies where those look."""
        site, worker = served
        done = site.manage("manage_cache", "invalidate", "--tags", "user")
        assert done.stdout.startswith("Invalidated 3 cache entries\n")
        site.manage("manage_cache", "disable")
        with SiteWorker(site) as later:
            later.ask("become", NOBODY)
            later.ask("serve")
            assert [one.ask("is_enabled") for one in (worker, later)] == [False, False]
            site.manage("manage_cache", "enable")
            assert [one.ask("is_enabled") for one in (worker, later)] == [True, True]


class TestWhatWorkersKeep:
    def test_clear_reaches_a_worker_that_cannot_be_asked(self) -> None:
        """What lies in Django's cache is outdated by its version words, so a worker that hangs serves none of it."""
        with a_site(CACHES=NATIVE) as site, site.serving(2) as (well, hanging):
            for worker in (well, hanging):
                worker.ask("call", "default", "set", [f"key{worker.pid}", "old"], {})
            with stopped(hanging):
                done = site.manage("manage_cache", "clear")
            assert done.returncode == 1
            assert "Every process of this host finds django:default empty from now on.\n" in done.stdout
            for worker in (well, hanging):
                assert worker.ask("call", "default", "get", [f"key{worker.pid}"], {}) is None

    def test_tags_reach_a_worker_that_cannot_be_asked(self) -> None:
        """The same of entries with a tag; the others live on."""
        with a_site(CACHES=NATIVE) as site, site.serving(2) as (well, hanging):
            hanging.ask("call", "default", "set", ["tagged", "old"], {"tags": ["user"]})
            hanging.ask("call", "default", "set", ["other", "kept"], {})
            well.ask("call", "default", "set", ["tagged too", "old"], {"tags": ["user"]})
            with stopped(hanging):
                done = site.manage("manage_cache", "invalidate", "--tags", "user")
            assert done.stdout.startswith("Invalidated 1 cache entries\n  tags: 1 entries\n")
            found = [hanging.ask("call", "default", "get", [key], {}) for key in ("tagged", "other")]
            assert found == [None, "kept"]

    def test_an_alias_is_cleared_by_its_name(self) -> None:
        """Two aliases of one LOCATION are one memory, which either name means."""
        caches = {
            "default": {**NATIVE["default"], "LOCATION": "a"},
            "second": {**NATIVE["default"], "LOCATION": "a"},
            "third": {**NATIVE["default"], "LOCATION": "b"},
        }
        with a_site(CACHES=caches) as site, site.serving(1) as (worker,):
            for alias in ("default", "third"):
                worker.ask("call", alias, "set", ["key", "old"], {})
            done = site.manage("manage_cache", "clear", "--cache-name", "django:second")
            assert done.stdout.startswith("Cleared cache 'django:default'\n")
            found = [worker.ask("call", alias, "get", ["key"], {}) for alias in ("default", "third")]
            assert found == [None, "old"]

    def test_trackers_of_all_workers(self) -> None:
        """001's words, over live workers; `--stats` wins over `--dry-run`."""
        with a_site() as site, site.serving(2) as (one, other):
            one.ask("track", [1], 4000)
            other.ask("track", [2], 0)
            shown = site.manage("cleanup_deletion_tracker", "--stats", "--dry-run").stdout
            assert shown.startswith(
                "Deletion tracker stats:\n  Active deletions: 2\n  Tracked timestamps: 2\n"
            )
            dry = site.manage("cleanup_deletion_tracker", "--dry-run").stdout
            assert dry.startswith("Would clean up 1 stale deletion tracker entries:\n  Project IDs: 1\n")
            whole = json.loads(site.manage("cleanup_deletion_tracker", "--json", "--stats").stdout)
            assert {pid: found["active"] for pid, found in whole["processes"].items()} == {
                str(one.pid): 1,
                str(other.pid): 1,
            }
            done = site.manage("cleanup_deletion_tracker")
            assert done.stdout.startswith("Successfully cleaned up 1 stale deletion tracker entries\n")


class TestOnATerminal:
    def test_it_is_coloured(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """And not with NO_COLOR, nor with --no-color."""
        site, _ = pair
        texts = []
        for arguments, environment in (((), {}), ((), {"NO_COLOR": "1"}), (("--no-color",), {})):
            with terminal(site, "manage_cache", "monitor", *arguments, **environment) as shown:
                assert shown.end() == 0
                texts.append(shown.written)
        assert ["\x1b[" in text for text in texts] == [True, False, False]

    def test_tables_fit(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """A long name gives way to the figures beside it."""
        site, workers = pair
        name = "project.with.a.rather.long.name." + "x" * 80
        workers[0].fill(name, 2)
        with terminal(site, "manage_cache", "clear", "--dry-run", COLUMNS="60", NO_COLOR="1") as shown:
            assert shown.end() == 0
        lines = [line for line in shown.written.splitlines() if "xxx" in line]
        assert lines
        assert all(len(line) <= 60 for line in lines)
        assert all(line.split()[-1].isdigit() for line in lines)

    @pytest.mark.parametrize(("answer", "code", "left"), [("yes\n", 0, 0), ("y\n", 1, 3), ("\x04", 1, 3)])
    def test_clear_asks(
        self, pair: tuple[LiveSite, list[SiteWorker]], answer: str, code: int, left: int
    ) -> None:
        """Only "yes" is yes; how many workers it is about stands in the question."""
        site, workers = pair
        workers[0].fill("asked", 3)
        with terminal(site, "manage_cache", "clear", "--cache-name", "asked") as shown:
            shown.read_until("Remove every entry of 'asked' in 2 live workers? Type 'yes' to continue: ")
            shown.type(answer)
            assert shown.end() == code
        assert ("Cancelled: clear was not done" in shown.written) == bool(code)
        assert workers[0].size("asked") == left

    @pytest.mark.parametrize("flag", ["--noinput", "--no-input", "--dry-run"])
    def test_it_does_not_ask(self, pair: tuple[LiveSite, list[SiteWorker]], flag: str) -> None:
        """Where it was told not to, and where nothing is removed."""
        site, workers = pair
        workers[0].fill("unasked", 3)
        with terminal(site, "manage_cache", "clear", "--cache-name", "unasked", flag) as shown:
            assert shown.end() == 0
        assert "yes" not in shown.written
        assert workers[0].size("unasked") == (3 if flag == "--dry-run" else 0)

    def test_watch_draws_over_what_was_there(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """The table is drawn from the top of the screen each time; Ctrl-C is how it ends, with 0."""
        site, workers = pair
        workers[0].fill("watched", 1)
        with terminal(site, "manage_cache", "stats", "--watch", "0.1", "--cache-name", "watched") as shown:
            shown.read_until("watched")
            workers[0].ask("read", "watched", 5, 0)
            shown.read_until(HOME, times=4)
            shown.process.send_signal(signal.SIGINT)
            assert shown.end() == 0
        assert "reads since" in shown.written
        assert "Traceback" not in shown.written


class TestWatchElsewhere:
    @contextlib.contextmanager
    def watching(self, site: LiveSite, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        command = [sys.executable, site_worker.__file__, "manage_cache", *arguments]
        with interruptible():
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=site.environment()
            )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def test_a_new_block_each_time(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """Off a terminal nothing is drawn over."""
        site, workers = pair
        workers[0].fill("followed", 1)
        with self.watching(site, "stats", "--watch", "0.1", "--cache-name", "followed") as process:
            assert process.stdout is not None
            blocks: list[list[str]] = [[]]
            while len(blocks) < 3:
                line = process.stdout.readline()
                assert line
                blocks[-1].append(line) if line != "\n" else blocks.append([])
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=LIMIT_SECONDS)
            assert (process.returncode, errors) == (0, "")
        assert all(block[1].startswith("cache ") for block in blocks[:2])
        assert "\x1b" not in "".join(blocks[0]) + rest

    def test_a_line_of_json_each_time(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """A program that follows reads one document a line."""
        site, _ = pair
        with self.watching(site, "stats", "--watch", "0.1", "--json") as process:
            assert process.stdout is not None
            documents = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=LIMIT_SECONDS)
            assert process.returncode == 0
        assert all("_global" in document for document in documents)
