"""When a process opens its control socket, and when not; what becomes of it in forks and at exit. Servers: servers/."""

import json
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from django.apps import apps
from django.core import checks as django_checks
from django.test import Client, override_settings
from users_site import Site

from oxicache import _native, workers
from oxicache.django import control

# What a server does with a request, and what is in the folder then.
PRELUDE = """
import io, json, os, sys, time
from unittest import mock
from django.core.wsgi import get_wsgi_application
from oxicache import _native, workers
from oxicache.django import conf, control

handle = get_wsgi_application()
folder = workers.folder_of(conf.runtime_directory(), conf.namespace())

def request():
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/live/work/", "SERVER_NAME": "testserver", "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http", "wsgi.version": (1, 0),
        "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }
    said = []
    list(handle(environ, lambda status, headers: said.append(status)))
    assert said == ["200 OK"], said

def served():
    return [worker.pid for worker in workers.discover(folder)]

def later(seconds):
    return mock.patch.object(time, "monotonic", lambda now=time.monotonic: now() + seconds)
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def run(site: Site, source: str) -> str:
    """What `source` printed, in a process that serves requests by hand."""
    return site.python(PRELUDE + textwrap.dedent(source))


def sockets(site: Site) -> list[str]:
    return [path.name for path in site.runtime.rglob("*.sock")]


class TestStart:
    def test_the_first_request_opens_it(self, site: Site) -> None:
        """Not when Django is set up: a master that only forks, and a command, are no workers."""
        said = run(
            site,
            """
            print(served(), _native.control_state()["serving"])
            request()
            print(served() == [os.getpid()])
            path = _native.control_state()["path"]
            request()
            print(_native.control_state()["path"] == path)
            """,
        )
        assert said.split("\n")[:-1] == ["[] False", "True", "True"]
        assert sockets(site) == []  # it went with the process

    def test_what_operators_are_told(self, site: Site) -> None:
        """The facts that do not change: who serves, with which versions."""
        said = run(site, 'request()\nprint(_native.control_ask(\'{"v":1,"verb":"config"}\'))')
        facts = json.loads(said)["result"]["describe"]
        assert set(facts) == {"role", "program", "python", "django", "master"}
        assert (facts["role"], facts["master"]) == ("other", os.getpid())

    def test_python_answers_its_verbs(self, site: Site) -> None:
        """What is native knows of nobody who would, before the first request."""
        line = '{"v":1,"verb":"keys","cache":"live"}'
        said = run(site, f"request()\nprint(_native.control_ask({line!r}))")
        assert json.loads(said)["result"] == {"keys": ["key"], "total": 1}

    def test_a_setting_turns_it_off(self, site: Site) -> None:
        """With CONTROL False no process can be reached."""
        site.settings = 'OXICACHE["CONTROL"] = False'
        assert run(site, "request()\nprint(served())") == "[]\n"

    @pytest.mark.parametrize(
        "source",
        [
            pytest.param(
                "from django.test import Client\nassert Client().get('/live/work/').status_code == 200",
                id="client",
            ),
            pytest.param(
                "from django.test.utils import setup_test_environment\nsetup_test_environment()\nrequest()",
                id="test environment",
            ),
            pytest.param("import oxicache.pytest_plugin\nrequest()", id="pytest"),
            pytest.param(
                "from oxicache import testing\ntesting.keep_words_private()\nrequest()", id="private words"
            ),
            pytest.param(
                "from project.tasks import work\nwork.apply([0.0])", id="task that runs where it is called"
            ),
        ],
    )
    def test_who_is_no_worker(self, site: Site, source: str) -> None:
        """A command that asks its own views or runs its own tasks, and a test, are not listed."""
        if "project.tasks" in source:
            pytest.importorskip("celery")
            site.settings = "import celery.signals"  # as a project has it that defines tasks
        assert run(site, source + "\nprint(served())") == "[]\n"

    def test_a_task_opens_it(self, site: Site) -> None:
        """As a request does, for a worker of celery that has no pool."""
        pytest.importorskip("celery")
        site.settings = "import celery.signals"
        said = run(
            site,
            """
            from celery import signals
            from project.tasks import work
            signals.task_prerun.send(sender=work, task_id="1", task=work, args=[], kwargs={})
            print(served() == [os.getpid()])
            print(json.loads(_native.control_ask('{"v":1,"verb":"config"}'))["result"]["describe"]["role"])
            signals.worker_process_shutdown.send(sender=None)
            print(served())
            """,
        )
        assert said == "True\ncelery\n[]\n"

    def test_other_workers_say_so_themselves(self, site: Site) -> None:
        """One that has neither requests nor tasks of celery calls `serve`, as often as it likes."""
        said = run(
            site, "for _ in range(3):\n    control.serve('dramatiq')\nprint(served() == [os.getpid()])"
        )
        assert said == "True\n"

    def test_a_process_begins_disabled_where_that_is_marked(self, site: Site) -> None:
        """An operator has disabled the caches of this site until further notice, also for workers that start later."""
        said = run(
            site,
            """
            workers.keep_disabled(folder, True)
            request()
            print(_native.is_enabled())
            """,
        )
        assert said == "False\n"
        assert (
            run(site, "workers.keep_disabled(folder, False)\nrequest()\nprint(_native.is_enabled())")
            == "True\n"
        )


class TestTrouble:
    def test_a_socket_that_vanishes_is_opened_anew(self, site: Site) -> None:
        """As by systemd, which empties /dev/shm when a user logs out. It is looked for every 10 seconds."""
        said = run(
            site,
            """
            request()
            (first,) = workers.discover(folder)
            os.unlink(first.path)
            request()
            print(served())
            with later(control.LOOK_SECONDS):
                request()
            (second,) = workers.discover(folder)
            print(second.path != first.path)
            """,
        )
        assert said == "[]\nTrue\n"

    def test_the_reason_is_logged_once(self, site: Site) -> None:
        """The site goes on; operators read why they do not reach it, and it is tried again."""
        said = run(
            site,
            """
            import logging
            folder.mkdir(mode=0o755)
            folder.chmod(0o755)
            lines = []
            logging.getLogger("oxicache").addHandler(mock.Mock(level=0, handle=lambda r: lines.append(r.getMessage())))
            request()
            with later(control.LOOK_SECONDS):
                request()
            lines = [line for line in lines if line.startswith("Commands")]  # the words have no place either
            print(*lines, sep="\\n")
            print(control.failure() in lines[0])
            folder.chmod(0o700)
            with later(2 * control.LOOK_SECONDS):
                request()
            print(served() == [os.getpid()], control.failure())
            """,
        ).splitlines()
        assert said[0].startswith("Commands do not reach this process: ")
        assert "0755" in said[0]
        assert said[1:] == ["True", "True None"]

    def test_without_a_secret_key(self, site: Site) -> None:
        """The namespace cannot be told: requests go on."""
        site.settings = "SECRET_KEY = ''"
        said = site.python(
            """
            from oxicache.django import control
            control.serve()
            print(control.failure())
            """
        )
        assert "SECRET_KEY" in said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestForks:
    def test_the_parent_serves_again_and_the_child_begins_anew(self, site: Site) -> None:
        """The child has a socket with its first request, and its parent's is left alone."""
        said = run(
            site,
            """
            request()
            parent = os.getpid()
            child = os.fork()
            if child == 0:
                assert os.getpid() not in served()
                request()
                assert os.getpid() in served()
                # As a child of multiprocessing ends: with the exit functions that were registered in it.
                import atexit
                atexit._run_exitfuncs()
                os._exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
            control.request_finished.send(sender=None)
            print(served() == [parent], _native.control_state()["serving"])
            """,
        )
        assert said == "True True\n"

    def test_the_next_request_tells_as_well(self, site: Site) -> None:
        """A process that forked between two requests is reached from the next one on, at the latest."""
        said = run(
            site,
            """
            request()
            with mock.patch.object(control, "RESUMES_IN_HOOK", False):
                child = os.fork()
                if child == 0:
                    os._exit(0)
            os.waitpid(child, 0)
            print(served())
            handle.get_response = lambda inner: print(served() == [os.getpid()])
            try:
                request()
            except AttributeError:
                pass  # no response
            """,
        )
        assert said == "[]\nTrue\n"

    def test_a_fork_is_beside_no_thread(self, site: Site) -> None:
        """So CPython, which warns of one from 3.12 on, says nothing; nor of the next fork."""
        site.settings = """
            import os
            THREADS = set()
            # Called last, as it was registered first: then the fork happens.
            os.register_at_fork(before=lambda: THREADS.add(len(os.listdir("/proc/self/task"))))
            """
        said = run(
            site,
            """
            import warnings
            from oxicache import scheduling
            from users_settings import THREADS
            request()
            scheduling.submit(int)  # its thread goes on for a while
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for _ in range(100):
                    child = os.fork()
                    if child == 0:
                        os._exit(0)
                    os.waitpid(child, 0)
                    request()
            print(THREADS, [str(one.message) for one in caught], served() == [os.getpid()])
            """,
        )
        assert said == "{1} [] True\n"

    def test_a_fork_before_the_first_request(self, site: Site) -> None:
        """A master has nothing to stop and starts nothing."""
        said = run(
            site,
            """
            child = os.fork()
            if child == 0:
                request()
                os._exit(0 if served() == [os.getpid()] else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), served(), _native.control_state()["serving"])
            """,
        )
        assert said == "0 [] False\n"

    def test_a_fork_that_python_does_not_know_of(self, site: Site) -> None:
        """UWSGI forks in C, without Python's hooks: the child notices at its first request."""
        said = run(
            site,
            """
            import ctypes
            request()
            parent = os.getpid()
            child = ctypes.PyDLL(None).fork()
            if child == 0:
                request()
                os._exit(0 if sorted(served()) == sorted([parent, os.getpid()]) else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), served() == [parent])
            """,
        )
        assert said == "0 True\n"


class TestHere:
    """In the process that runs these tests, which must open nothing."""

    def test_a_request_of_the_test_client(self, django_databases: None) -> None:
        """Django's test environment is set up."""
        assert Client().get("/live/work/").status_code == 200
        assert not _native.control_state()["serving"]

    def test_which_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is known by what it has loaded: gunicorn before what it runs."""
        for module in control.SERVERS.values():
            monkeypatch.delitem(control.sys.modules, module, raising=False)
        assert control._role() == "other"
        monkeypatch.setitem(control.sys.modules, "uvicorn.server", mock.Mock())
        assert control._role() == "uvicorn"
        monkeypatch.setitem(control.sys.modules, "gunicorn.arbiter", mock.Mock())
        assert control._role() == "gunicorn"


class TestCheck:
    """W011."""

    @pytest.fixture(autouse=True)
    def runtime(self, tmp_path: Path) -> Iterator[Path]:
        with override_settings(OXICACHE={"RUNTIME_DIR": tmp_path}):
            yield tmp_path

    def reasons(self) -> list[str]:
        messages = django_checks.run_checks(tags=[django_checks.Tags.caches])
        return [message.msg for message in messages if message.id == "oxicache.W011"]

    def test_a_place_that_is_right(self) -> None:
        """Nothing is said, and nothing made."""
        assert self.reasons() == []

    def test_a_place_that_cannot_be_used(self, runtime: Path) -> None:
        """A project without rows hears of it here; with rows W001 has said it."""
        place = {"RUNTIME_DIR": runtime / "missing"}
        with override_settings(OXICACHE=place), mock.patch.object(apps, "get_models", list):
            (reason,) = self.reasons()
            assert f"{runtime / 'missing'} is no directory" in reason
            with override_settings(OXICACHE=place | {"CONTROL": False}):
                assert self.reasons() == []
        with override_settings(OXICACHE=place):
            assert self.reasons() == []

    def test_what_this_process_met_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that tried to open its socket knows better than a forecast."""
        monkeypatch.setattr(control, "failure", lambda: "no control socket: no thread")
        (reason,) = self.reasons()
        assert "no control socket: no thread" in reason


def test_the_folder_is_the_native_halfs(tmp_path: Path) -> None:
    """What looks for workers and what serves them spell the folder alike."""
    state = _native.control_start(str(tmp_path), "spelling")
    try:
        assert Path(state["path"]).parent == workers.folder_of(tmp_path, "spelling")
        (worker,) = workers.discover(workers.folder_of(tmp_path, "spelling"))
        (answer,) = workers.ask([worker], {"verb": "health"}, 60.0).answers
        assert (answer.pid, worker.pid) == (os.getpid(), os.getpid())
    finally:
        _native.control_stop()
    assert workers.discover(workers.folder_of(tmp_path, "spelling")) == []
