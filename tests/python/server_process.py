"""Real servers as children of the process that uses them: PostgreSQL, Redis, memcached, each with nothing to lose.

A server listens on a socket in a temporary folder or on a free port of the loopback interface, keeps no data, and ends
with the `with` block that started it. It has a session of its own, so that Ctrl-C reaches the user of the server, which
then stops it in order; on Linux it also ends when that process is killed. Where root runs this, the server does not
run as root: PostgreSQL and memcached refuse to.

The fixtures are in servers/conftest.py; a bench starts a server without pytest.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 60  # far beyond what any of them needs on a loaded two-core machine: only a hang reaches it
LOOK_SECONDS = 0.02  # between two looks at whether a server answers yet
LAST_PORT = 55_535  # a Redis of a cluster listens on another one, which is 10,000 higher
PORTS_TRIED = 3  # another process may take a port between its choice and its use
_DATABASE_NUMBERS = count(1)


class NoServerError(Exception):
    """The program is not installed; the message names the Debian package that has it."""


class ServerFailedError(Exception):
    """The program is there and did not start; the message ends with what it said."""


@dataclass(frozen=True)
class Postgresql:
    """A cluster whose only door is a socket in `folder`; its superuser needs no password."""

    process: subprocess.Popen[bytes]
    folder: Path
    user: str = "oxicache"
    port: int = 5432  # part of the socket's name, and nothing else: no port is open

    def settings(self, name: str) -> dict[str, Any]:
        """The entry of Django's DATABASES for the database `name`."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": self.user,
            "HOST": str(self.folder),
            "PORT": str(self.port),
        }

    @contextlib.contextmanager
    def database(self) -> Iterator[dict[str, Any]]:
        """A new, empty database as an entry of DATABASES; dropped at the end, whoever is still connected."""
        name = f"oxicache_{next(_DATABASE_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.settings(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement, outside any transaction, in the cluster's own database."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), port=self.port, user=self.user, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())


@dataclass(frozen=True)
class Listening:
    """Redis or memcached on a port of the loopback interface."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    host: str = "127.0.0.1"


@contextlib.contextmanager
def postgresql() -> Iterator[Postgresql]:
    """A new cluster, made by initdb, without durability."""
    binaries = _postgresql_binaries()
    with _folder() as folder:
        data = folder / "data"
        _finish(
            [
                str(binaries / "initdb"),
                *(f"--pgdata={data}", "--username=oxicache", "--auth=trust", "--encoding=UTF8", "--locale=C"),
                *("--no-sync", "--no-instructions"),
            ],
            folder,
        )
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(binaries / "postgres"), "-D", str(data), *settings]
        # SIGQUIT ends it at once, with every session and without a checkpoint: nothing of it is kept.
        with _running(command, folder, signal.SIGQUIT) as process:
            server = Postgresql(process, folder)
            asking = [str(binaries / "pg_isready"), "-q", "-h", str(folder), "-p", str(server.port)]
            _await(
                process,
                folder,
                lambda: subprocess.run(asking, check=False, timeout=LIMIT_SECONDS).returncode == 0,
            )
            yield server


@contextlib.contextmanager
def redis(name: str = "redis-server", *options: str) -> Iterator[Listening]:
    """A Redis, or what else takes its options, that writes nothing to disk."""
    program = _program(name, name)

    def command(port: int, folder: Path) -> list[str]:
        return [
            program,
            *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)),
            *("--save", "", "--appendonly", "no"),
            *options,
        ]

    with _listening(command, b"PING\r\n", b"+PONG") as server:
        yield server


@contextlib.contextmanager
def memcached() -> Iterator[Listening]:
    """A memcached without UDP."""
    program = _program("memcached", "memcached")

    def command(port: int, _folder: Path) -> list[str]:
        return [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64"]

    with _listening(command, b"version\r\n", b"VERSION") as server:
        yield server


@contextlib.contextmanager
def _listening(
    command: Callable[[int, Path], list[str]], asking: bytes, answer: bytes
) -> Iterator[Listening]:
    for attempt in range(1, PORTS_TRIED + 1):
        with contextlib.ExitStack() as trial:
            folder = trial.enter_context(_folder())
            port = _free_port()
            process = trial.enter_context(_running(command(port, folder), folder, signal.SIGKILL))
            try:
                _await(process, folder, partial(_says, port, asking, answer))
            except ServerFailedError:
                if attempt == PORTS_TRIED:
                    raise
                continue
            yield Listening(process, folder, port)
            return


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NoServerError(f"{name} is not installed: apt-get install {package} (Debian, Ubuntu)")
    return found


def _postgresql_binaries() -> Path:
    """Where postgres and initdb are: on PATH, or the newest of those that Debian keeps beside each other."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise NoServerError("postgres is not installed: apt-get install postgresql (Debian, Ubuntu)")
    return newest.parent


def _account() -> pwd.struct_passwd | None:
    """Whom a server runs as: None for whoever runs this, unless that is root."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that only the server's account can read. Not pytest's: those are inside one of root alone."""
    made = tempfile.mkdtemp(prefix="oxicache-")
    account = _account()
    if account is not None:
        os.chown(made, account.pw_uid, account.pw_gid)
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _prefix(ending: signal.Signals | None) -> list[str]:
    """The words before a command that take root from it, and make it end with this process."""
    account, setpriv = _account(), shutil.which("setpriv")
    words: list[str] = []
    if setpriv is not None and sys.platform == "linux":
        words = [setpriv]
        if account is not None:
            words += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        if ending is not None:
            # Kept over exec, and set after the account: a change of account would clear it.
            words += [f"--pdeathsig={ending.name.removeprefix('SIG')}"]
    return words if len(words) > 1 else []


def _start(command: Sequence[str], folder: Path, ending: signal.Signals | None) -> subprocess.Popen[bytes]:
    account, prefix = _account(), _prefix(ending)
    dropped = account is not None and not prefix
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            # Neither the user's PGDATA nor a locale of his decides anything.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            user=account.pw_uid if account is not None and dropped else None,
            group=account.pw_gid if account is not None and dropped else None,
            extra_groups=[] if dropped else None,
        )


def _finish(command: Sequence[str], folder: Path) -> None:
    process = _start(command, folder, None)
    try:
        code = process.wait(LIMIT_SECONDS)
    finally:
        _end(process, signal.SIGKILL)
    if code != 0:
        raise ServerFailedError(f"{command[0]} ended with {code}:\n{_said(folder)}")


@contextlib.contextmanager
def _running(
    command: Sequence[str], folder: Path, ending: signal.Signals
) -> Iterator[subprocess.Popen[bytes]]:
    process = _start(command, folder, ending)
    try:
        yield process
    finally:
        _end(process, ending)


def _end(process: subprocess.Popen[bytes], ending: signal.Signals) -> None:
    if process.poll() is not None:
        return
    process.send_signal(ending)
    try:
        process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        # Its session is its own, so this reaches it and its children alone.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(LIMIT_SECONDS)


def _await(process: subprocess.Popen[bytes], folder: Path, answers: Callable[[], bool]) -> None:
    """Until the server answers; an end of the process, or LIMIT_SECONDS, is an error that quotes its log."""
    for _ in range(int(LIMIT_SECONDS / LOOK_SECONDS)):
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(LOOK_SECONDS)
            raise ServerFailedError(f"{process.args!r} ended with {code}:\n{_said(folder)}")
        # Another process may have answered on a port that this one did not get.
        if answers() and process.poll() is None:
            return
    raise ServerFailedError(f"{process.args!r} does not answer after {LIMIT_SECONDS} s:\n{_said(folder)}")


def _said(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-4000:]


def _free_port() -> int:
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port: int = taken.getsockname()[1]
        if port <= LAST_PORT:
            return port


def _says(port: int, asking: bytes, answer: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(asking)
            return connection.recv(64).startswith(answer)
    except OSError:
        return False
