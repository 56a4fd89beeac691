"""Servers that run a Django site, started for real on the test project: gunicorn, uWSGI, uvicorn, celery, runserver.

Each runs in a session of its own, on a free port of the loopback interface, with a folder of its own in which its
workers meet, and ends with the `with` block that started it. What it wrote to its output is in its log.
"""

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import project
from child_process import interruptible
from server_process import NoServerError, ServerFailedError

from oxicache.workers import Worker, discover, folder_of

LIMIT_SECONDS = 60  # far beyond what any of them needs on a loaded two-core machine: only a hang reaches it
LOOK_SECONDS = 0.02  # between two looks at what a server has come to
PORTS_TRIED = 3  # another process may take a port between its choice and its use
HOLD_SECONDS = 0.03  # how long a worker is kept from taking the next request
FORK_WARNING = "multi-threaded, use of fork()"
NAMESPACE = "live"

Found = TypeVar("Found")


@dataclass
class Site:
    """The test project with settings of its own, and the folder where its processes meet."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write its settings."""
        self.runtime.mkdir()
        lines = (
            "from project.settings import *",
            "ALLOWED_HOSTS = ['*']",
            f"OXICACHE = {{'RUNTIME_DIR': {str(self.runtime)!r}, 'NAMESPACE': {NAMESPACE!r}}}",
        )
        (self.folder / "live_settings.py").write_text("\n".join(lines) + "\n")
        tests = Path(project.__file__).parents[1]
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))
        }
        self.environment = {
            **inherited,
            "PYTHONPATH": os.pathsep.join([str(tests), str(self.folder)]),
            "PYTHONWARNINGS": "always:This process:DeprecationWarning",
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "live_settings",
            "LIVE_FOLDER": str(self.folder),
            **self.environment,
        }

    @property
    def runtime(self) -> Path:
        """Where its processes meet."""
        return self.folder / "run"

    @property
    def sockets(self) -> Path:
        """Where its workers keep their sockets."""
        return folder_of(self.runtime, NAMESPACE)

    def workers(self) -> list[Worker]:
        """Who can be reached."""
        return discover(self.sockets)

    def pids(self) -> set[int]:
        """Who can be reached, by number."""
        return {worker.pid for worker in self.workers()}

    def socket_names(self) -> set[str]:
        """What sockets there are, of the dead ones, too."""
        return {path.name for path in self.sockets.glob("*.sock")} if self.sockets.exists() else set()


@contextlib.contextmanager
def site(**environment: str) -> Iterator[Site]:
    """A site in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ox"))
    try:
        yield Site(folder, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Server:
    """A server that runs, and its site."""

    process: subprocess.Popen[bytes]
    site: Site
    port: int = 0
    answered: list[str] = field(default_factory=list)  # the paths of its pages

    def get(self, path: str) -> dict[str, Any]:
        """What a page answers; a connection of its own for each, so that any worker may take it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            said = response.read()
            if response.status != http.HTTPStatus.OK:
                raise ServerFailedError(f"{path} answered {response.status}:\n{said[-2000:]!r}\n{self.log()}")
            self.answered.append(path)
            answer: dict[str, Any] = json.loads(said)
            return answer

    def reach(self, count: int, but: Iterable[int] = ()) -> set[int]:
        """Ask until so many workers have answered, others than `but`; their pids."""
        seen: set[int] = set()
        others = set(but)

        def ask(_: int) -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # a worker that is being replaced
                seen.add(self.get(f"/live/work/?hold={HOLD_SECONDS}")["pid"])

        with ThreadPoolExecutor(2 * count) as pool:
            until = time.monotonic() + LIMIT_SECONDS
            while len(seen - others) < count:
                if time.monotonic() > until:
                    raise ServerFailedError(f"only {seen} of {count} workers answer:\n{self.log()}")
                list(pool.map(ask, range(2 * count)))
        return seen - others

    @contextlib.contextmanager
    def hanging(self, seconds: float) -> Iterator[int]:
        """A worker that holds the GIL for so long, by its pid."""
        asking = threading.Thread(target=self._hang, args=[seconds], daemon=True)
        asking.start()
        yield await_(self.hanging_pid, "hangs")
        asking.join(LIMIT_SECONDS)

    def _hang(self, seconds: float) -> None:
        with contextlib.suppress(
            OSError, http.client.HTTPException, ServerFailedError
        ):  # it may be killed meanwhile
            self.get(f"/live/hang/?seconds={seconds}")

    def hanging_pid(self) -> int | None:
        """Who has said that it is about to hang."""
        return next((int(path.name.split("-")[1]) for path in self.site.folder.glob("hangs-*")), None)

    def log(self) -> str:
        """What it has written so far."""
        return (self.site.folder / "log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM, *, whole_group: bool = False) -> int:
        """Have it end in order, and return its exit code."""
        if whole_group:
            os.killpg(self.process.pid, how)
        else:
            self.process.send_signal(how)
        return self.process.wait(LIMIT_SECONDS)


def await_(look: Callable[[], Found | None], what: str) -> Found:
    """What `look` finds, as soon as that is something true."""
    until = time.monotonic() + LIMIT_SECONDS
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise ServerFailedError(f"not after {LIMIT_SECONDS} s: {what}")
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def started(site: Site, command: Sequence[str], port: int = 0) -> Iterator[Server]:
    """Run the command in the site's folder. Nothing of it is left after the block."""
    with (site.folder / "log").open("ab") as log, interruptible():
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=site.folder,
            env=site.environment,
            start_new_session=True,
        )
    try:
        yield Server(process, site, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session is its own
        process.wait()


@contextlib.contextmanager
def listening(site: Site, command: Callable[[int], Sequence[str]]) -> Iterator[Server]:
    """A server on a free port, once that can be connected to."""
    for attempt in range(1, PORTS_TRIED + 1):
        port = _free_port()
        with contextlib.ExitStack() as trial:
            server = trial.enter_context(started(site, command(port), port))
            try:
                await_(lambda server=server: _listens(server), "listens")  # type: ignore[misc]
            except ServerFailedError:
                if attempt == PORTS_TRIED:
                    raise
                continue
            yield server
            return


def _listens(server: Server) -> bool:
    if server.process.poll() is not None:
        raise ServerFailedError(f"{server.process.args!r} ended:\n{server.log()[-4000:]}")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _python_module(name: str, package: str) -> list[str]:
    if importlib.util.find_spec(name) is None:
        raise NoServerError(f"{package} is not installed: pip install {package}")
    return [sys.executable, "-m", name]


# ---------------------------------------------------------------- each of them


def gunicorn(site: Site, *options: str) -> contextlib.AbstractContextManager[Server]:
    """Gunicorn, with options as on its command line."""
    words = _python_module("gunicorn", "gunicorn")
    own = ["--no-control-socket"] if "control_socket_disable" in _gunicorn_settings() else []
    return listening(
        site, lambda port: [*words, *own, "--bind", f"127.0.0.1:{port}", *options, "project.wsgi:application"]
    )


def _gunicorn_settings() -> dict[str, Any]:
    from gunicorn.config import KNOWN_SETTINGS

    return {setting.name: setting for setting in KNOWN_SETTINGS}


def uwsgi(site: Site, *options: str) -> contextlib.AbstractContextManager[Server]:
    """Let uWSGI serve HTTP itself, with a master; SIGTERM ends it."""
    program = shutil.which(
        "uwsgi", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if program is None:
        raise NoServerError("uwsgi is not installed: pip install pyuwsgi")
    fixed = ["--master", "--die-on-term", "--need-app", "--module", "project.wsgi:application"]
    return listening(site, lambda port: [program, "--http-socket", f"127.0.0.1:{port}", *fixed, *options])


def uvicorn(site: Site, *options: str) -> contextlib.AbstractContextManager[Server]:
    """Uvicorn and the site's ASGI application."""
    words = _python_module("uvicorn", "uvicorn")
    return listening(
        site,
        lambda port: [*words, "--port", str(port), "--lifespan", "off", *options, "project.asgi:application"],
    )


def runserver(site: Site, *options: str) -> contextlib.AbstractContextManager[Server]:
    """Django's own, which starts itself anew when a file changes."""
    return listening(
        site, lambda port: [sys.executable, "-m", "django", "runserver", *options, f"127.0.0.1:{port}"]
    )


@contextlib.contextmanager
def celery(site: Site, *options: str) -> Iterator[Server]:
    """A worker of celery; its broker is the site's LIVE_BROKER."""
    words = _python_module("celery", "celery")
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "info"]
    with started(site, [*words, "--app", "project.tasks", "worker", *quiet, *options]) as server:
        await_(lambda: " ready." in server.log(), "celery is ready")
        yield server
