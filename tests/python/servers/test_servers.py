"""The servers of these tests: each answers, and none outlives its user."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import server_process

STARTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "postgresql": server_process.postgresql,
    "redis": server_process.redis,
    "memcached": server_process.memcached,
}
each_server = pytest.mark.parametrize("name", STARTS)
linux = pytest.mark.skipif(sys.platform != "linux", reason="by prctl and /proc, which are Linux's")
LIMIT_MS = 60_000

# What prints the server's process and folder, and waits to be killed.
HOLDER = """
import sys, server_process
with getattr(server_process, sys.argv[1])() as server:
    print(server.process.pid, server.folder, flush=True)
    sys.stdin.read()
"""


def await_end(pid: int) -> None:
    """Until the process is gone, which need be no child of this one."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        assert waiting.poll(LIMIT_MS), f"process {pid} still runs"
    finally:
        os.close(handle)


class TestAnswers:
    def test_postgresql_answers(self, postgresql_settings: dict[str, Any]) -> None:
        """Django's settings lead to an empty database of this run's own."""
        import psycopg

        with psycopg.connect(
            host=postgresql_settings["HOST"],
            port=postgresql_settings["PORT"],
            user=postgresql_settings["USER"],
            dbname=postgresql_settings["NAME"],
        ) as connection:
            tables = connection.execute(
                "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            )
            assert tables.fetchone() == (0,)

    def test_databases_are_apart(self, postgresql: server_process.Postgresql) -> None:
        """Each `database()` is another one, and is gone after its block."""
        import psycopg

        with postgresql.database() as first, postgresql.database() as second:
            assert first["NAME"] != second["NAME"]
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(host=first["HOST"], port=first["PORT"], user=first["USER"], dbname=first["NAME"])

    def test_redis_answers(self, redis_server: server_process.Listening) -> None:
        """The client of the extra `redis` reaches the server, which keeps nothing on disk."""
        import redis

        with redis.Redis(host=redis_server.host, port=redis_server.port) as client:
            assert client.ping()
            assert client.config_get("save") == {"save": ""}

    def test_memcached_answers(self, memcached_server: server_process.Listening) -> None:
        """The server stores a value and gives it back."""
        address = (memcached_server.host, memcached_server.port)
        with socket.create_connection(address, timeout=30) as connection, connection.makefile("rwb") as lines:
            lines.write(b"set key 0 0 5\r\nvalue\r\nget key\r\n")
            lines.flush()
            assert [lines.readline() for _ in range(3)] == [b"STORED\r\n", b"VALUE key 0 5\r\n", b"value\r\n"]


class TestEnds:
    @each_server
    def test_a_server_ends_with_its_block(self, name: str) -> None:
        """After the `with` block the process is gone, also when the block raised, and so is what it kept."""

        def use() -> None:
            assert server.folder.exists()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), STARTS[name]() as server:
            use()
        assert server.process.returncode is not None
        assert not server.folder.exists()

    @each_server
    @linux
    def test_a_server_ends_with_its_user(self, name: str) -> None:
        """A run that is killed, as by a job's limit, leaves no server behind."""
        here = str(Path(server_process.__file__).parent)
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": here},
        ) as holder:
            assert holder.stdout is not None
            server, folder = holder.stdout.readline().decode().split()
            holder.send_signal(signal.SIGKILL)
            holder.wait()
        await_end(int(server))
        shutil.rmtree(folder)  # the killed one could not

    @each_server
    @linux
    def test_a_server_does_not_run_as_root(self, name: str) -> None:
        """Root's tests start servers as another account."""
        with STARTS[name]() as server:
            status = Path(f"/proc/{server.process.pid}/status").read_text()
        users = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert "0" not in users


class TestFailures:
    def test_a_missing_program_is_named_with_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the program the error says what to install; the fixtures turn it into a skip."""
        monkeypatch.setenv("PATH", "")
        with pytest.raises(server_process.NoServerError, match="apt-get install redis-server"):
            server_process.redis().__enter__()

    def test_a_server_that_does_not_start_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """When every port that is tried is taken, the error quotes the server's own words."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            monkeypatch.setattr(server_process, "_free_port", lambda: taken.getsockname()[1])
            with pytest.raises(server_process.ServerFailedError, match="Address already in use"):
                server_process.redis().__enter__()
