"""The live workers of a host: who they are, and one request to all of them at once.

Each process that serves keeps a socket in the folder where its version words lie; what it answers is native. Here is
the other end: no thread, no Django, and nothing but the folder to know. What to ask, and what to make of the answers,
is for others to say; how the two are spelt is in wire.py.
"""

import contextlib
import errno
import os
import re
import selectors
import socket
import stat
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from oxicache import _native
from oxicache.errors import UnsafeFolderError
from oxicache.wire import Answer, Answers, Failure, Outcome, Request, Worker, encoded, read, sorted_out

__all__ = [
    "Answer",
    "Answers",
    "Failure",
    "Local",
    "Request",
    "Worker",
    "ask",
    "discover",
    "folder_of",
    "is_disabled",
    "keep_disabled",
]

DEADLINE = 1.0  # seconds; a worker answers within 100 ms even while Python hangs
ANSWER_MAX_BYTES = 16 * 2**20  # a list of keys may be long; what is longer comes from no worker
OPEN_AT_ONCE = 256  # connections; a process may have 1,024 files, and it has others
CROWDED_SECONDS = 0.005  # until a worker is tried again whose queue of connections is full
SOCKET = re.compile(r"(\d{1,10})-(\d{1,20})-[0-9a-f]+\.sock")
ADDRESS_MAX_BYTES = 107  # of a Unix socket, its final NUL apart
DISABLED = "disabled"  # the mark that has processes of this site start with their caches disabled


def folder_of(directory: str | os.PathLike[str], namespace: str, user: int | None = None) -> Path:
    """Where the processes of `user`, by default of this one's, meet."""
    return Path(directory) / f"oxicache-{_own_user() if user is None else user}-{namespace}"


def discover(folder: str | os.PathLike[str]) -> list[Worker]:
    """The workers that serve a socket in `folder`, by pid; none where there is no such folder.

    A socket that refuses belongs to a process that is dead, and is removed. UnsafeFolderError for a folder that
    somebody else may have put sockets into. O(sockets), and asks nobody anything.
    """
    with _opened(folder) as found:
        if found is None:
            return []
        handle, user = found
        workers = [worker for name in os.listdir(handle) if (worker := _worker(folder, name, handle, user))]  # noqa: PTH208 -- of a handle
    return sorted(workers, key=lambda worker: (worker.pid, worker.started, worker.path))


def is_disabled(folder: str | os.PathLike[str]) -> bool:
    """Whether processes that start now are to start with their caches disabled."""
    with _opened(folder) as found:
        if found is None:
            return False
        try:
            mark = os.stat(DISABLED, dir_fd=found[0], follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(mark.st_mode)


def keep_disabled(folder: str | os.PathLike[str], on: bool) -> None:
    """Leave the mark that `is_disabled` looks for, or remove it. OSError where that cannot be done."""
    if on:
        with contextlib.suppress(FileExistsError):
            Path(folder).mkdir(mode=stat.S_IRWXU)
    with _opened(folder) as found:
        if found is None:
            return
        if on:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(DISABLED, flags, stat.S_IRUSR | stat.S_IWUSR, dir_fd=found[0]))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(DISABLED, dir_fd=found[0])


def _own_user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0  # on Windows there are no sockets of others


@contextlib.contextmanager
def _opened(folder: str | os.PathLike[str]) -> Iterator[tuple[int, int] | None]:
    """The folder, open, and whose it is; None where there is none. What is looked at cannot be exchanged meanwhile."""
    if not hasattr(socket, "AF_UNIX"):
        yield None
        return
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except NotADirectoryError:
        kind = "a symbolic link" if Path(folder).is_symlink() else "no directory"
        raise UnsafeFolderError(f"{folder} is {kind}, which is refused") from None
    except PermissionError:
        raise UnsafeFolderError(f"{folder} may not be entered by user {os.geteuid()}") from None
    try:
        made = os.fstat(handle)
        user = os.geteuid()
        if user not in {made.st_uid, 0}:
            raise UnsafeFolderError(
                f"{folder} belongs to user {made.st_uid}, and this process runs as user {user}; "
                f"only root may ask the workers of others"
            )
        if (mode := stat.S_IMODE(made.st_mode) & 0o777) != stat.S_IRWXU:
            raise UnsafeFolderError(f"{folder} has mode {mode:04o}; it must be 0700")
        yield handle, made.st_uid
    finally:
        os.close(handle)


def _worker(folder: str | os.PathLike[str], name: str, handle: int, user: int) -> Worker | None:
    match = SOCKET.fullmatch(name)
    if match is None:
        return None
    worker = Worker(os.path.join(folder, name), int(match[1]), int(match[2]), user)  # noqa: PTH118 -- a str is wanted
    try:
        found = os.stat(name, dir_fd=handle, follow_symlinks=False)
        if not stat.S_ISSOCK(found.st_mode):
            return None
        with _connected(worker):
            return worker
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if isinstance(error, ConnectionRefusedError):
            with contextlib.suppress(OSError):  # somebody else was quicker
                os.unlink(name, dir_fd=handle)
        return None
    except OSError:
        return worker  # its queue is full, or it may not be asked: `ask` says which


def _connected(worker: Worker) -> socket.socket:
    """A connection that is made, or an OSError: a Unix socket answers at once whether it takes one more."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with _address(worker.path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _address(path: str) -> Iterator[str]:
    """An address of the socket that is short enough for one: a worker binds in a deep folder by the same way."""
    if len(os.fsencode(path)) <= ADDRESS_MAX_BYTES or sys.platform != "linux":
        yield path
        return
    folder, name = os.path.split(path)
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)


class Local:
    """This very process, asked natively: with no socket, and whether it serves one or not."""

    def __init__(self) -> None:
        self.worker = Worker("", os.getpid(), 0, _own_user())

    def ask(self, request: Request) -> Answers:
        """Its answer to one request."""
        line = encoded(request)
        began = time.monotonic()
        said = _native.control_ask(line.decode().rstrip("\n"))
        return sorted_out([read(self.worker, said.encode(), time.monotonic() - began)])


def ask(
    workers: Iterable[Worker], request: Request, deadline: float = DEADLINE, *, include_self: bool = False
) -> Answers:
    """Send `request` to all workers at once, and collect what they answer within `deadline` seconds.

    `include_self`: this process answers too, and not through its socket, should it be among the workers. Nothing that a
    worker does or sends is raised; RequestTooLongError is.
    """
    line = encoded(request)
    own = Local() if include_self else None
    others = [worker for worker in workers if own is None or worker.pid != own.worker.pid]
    answers = own.ask(request) if own is not None else Answers()
    if not others:
        return answers
    with _Round(line, deadline) as asking:
        return _joined(answers, asking.ask(others))


@dataclass(slots=True, eq=False)
class _Exchange:
    """One worker, while it is asked."""

    worker: Worker
    connection: socket.socket
    unsent: memoryview
    received: bytearray = field(default_factory=bytearray)


class _Round:
    """One request to many workers."""

    def __init__(self, line: bytes, deadline: float) -> None:
        self._line = line
        self._began = time.monotonic()
        self._until = self._began + deadline
        self._selector = selectors.DefaultSelector()
        self._open: set[_Exchange] = set()
        self._outcomes: list[Outcome] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for exchange in list(self._open):
            self._close(exchange)
        self._selector.close()

    def ask(self, workers: Sequence[Worker]) -> Answers:
        """Ask them; those that are still to be heard when time is up are silent."""
        waiting = deque(workers)
        while (waiting or self._open) and (left := self._until - time.monotonic()) > 0:
            crowded = self._begin(waiting)
            if not self._open and not waiting:
                break
            for key, _ in self._selector.select(min(left, CROWDED_SECONDS) if crowded else left):
                outcome = self._go_on(key.data)
                if outcome is not None:
                    self._close(key.data)
                    self._outcomes.append(outcome)
        silent = [*(exchange.worker for exchange in self._open), *waiting]
        return sorted_out(self._outcomes, silent)

    def _begin(self, waiting: deque[Worker]) -> bool:
        """Connect to as many as may be; whether one of them has to be tried again."""
        for _ in range(len(waiting)):
            if len(self._open) >= OPEN_AT_ONCE:
                return False
            worker = waiting.popleft()
            try:
                connection = _connected(worker)
            except BlockingIOError:
                waiting.append(worker)
                continue
            except (FileNotFoundError, ConnectionRefusedError):
                self._outcomes.append(worker)
                continue
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE} and self._open:
                    waiting.appendleft(worker)
                    return False
                self._outcomes.append(Failure(worker, "unreachable", str(error)))
                continue
            exchange = _Exchange(worker, connection, memoryview(self._line))
            self._open.add(exchange)
            self._selector.register(connection, selectors.EVENT_WRITE | selectors.EVENT_READ, exchange)
            if not _is_trusted(connection, worker):
                message = f"{worker.path} is served by another user than {worker.user}"
                self._outcomes.append(Failure(worker, "untrusted", message))
                self._close(exchange)
        return bool(waiting)

    def _go_on(self, exchange: _Exchange) -> Outcome | None:
        try:
            if exchange.unsent:
                self._send(exchange)
            return self._receive(exchange)
        except BlockingIOError:
            return None
        except OSError as error:  # a worker that is killed resets the connection
            return Failure(exchange.worker, "closed", f"it ended the connection: {error.strerror}")

    def _send(self, exchange: _Exchange) -> None:
        try:
            exchange.unsent = exchange.unsent[exchange.connection.send(exchange.unsent) :]
        except BrokenPipeError:
            exchange.unsent = exchange.unsent[:0]  # it may have said why: `too_many`
        if not exchange.unsent:
            self._selector.modify(exchange.connection, selectors.EVENT_READ, exchange)

    def _receive(self, exchange: _Exchange) -> Outcome | None:
        part = exchange.connection.recv(2**16)
        if not part:
            count = len(exchange.received)
            return Failure(exchange.worker, "closed", f"it ended the connection after {count} bytes")
        exchange.received += part
        end = exchange.received.find(b"\n", len(exchange.received) - len(part))
        if max(end, len(exchange.received) if end < 0 else 0) > ANSWER_MAX_BYTES:
            return Failure(exchange.worker, "garbled", f"its answer is longer than {ANSWER_MAX_BYTES} bytes")
        if end < 0:
            return None
        return read(exchange.worker, exchange.received[:end], time.monotonic() - self._began)

    def _close(self, exchange: _Exchange) -> None:
        self._open.discard(exchange)
        self._selector.unregister(exchange.connection)
        exchange.connection.close()


def _is_trusted(connection: socket.socket, worker: Worker) -> bool:
    """Whether who listens is who owns the folder: root follows no link of a user's into a socket of another's."""
    if sys.platform != "linux":
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == worker.user)


def _joined(one: Answers, other: Answers) -> Answers:
    outcomes: list[Outcome] = [*one.answers, *one.failures, *one.gone]
    outcomes += [*other.answers, *other.failures, *other.gone]
    return sorted_out(outcomes, (*one.silent, *other.silent))
