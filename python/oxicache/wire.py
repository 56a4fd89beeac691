"""What goes over a worker's socket: one line of JSON each way, and who sent it. The sockets are in workers.py."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from oxicache.errors import RequestTooLongError

__all__ = ["Answer", "Answers", "Failure", "Outcome", "Request", "Worker", "encoded", "read", "sorted_out"]

Request: TypeAlias = Mapping[str, Any]

WIRE = 1  # of requests and answers, as src/host/control.rs has it
REQUEST_MAX_BYTES = 64 * 2**10  # what a worker reads; longer lines it refuses
STARTED_MAX = 1e12  # seconds since 1970; past that no clock has ever been, and a float can lose its sense


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that serves a socket, as the socket's name has it."""

    path: str  # of the socket; empty for this very process
    pid: int
    started: int  # in the system's own ticks, so that a pid that is used again is another worker
    user: int  # whom the process must run as, or root


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker answered."""

    worker: Worker
    pid: int
    started: float  # when the process began, in seconds of the wall clock
    result: dict[str, Any]
    seconds: float  # until the answer was there


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker that answered with an error, or with what is no answer.

    `error` is the worker's own word, or one of: closed, garbled, other_version, unreachable, untrusted.
    """

    worker: Worker
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a request. Each worker is in exactly one of the four."""

    answers: tuple[Answer, ...] = ()
    silent: tuple[Worker, ...] = ()  # no answer within the deadline
    failures: tuple[Failure, ...] = ()
    gone: tuple[Worker, ...] = ()  # ended since they were discovered

    @property
    def asked(self) -> int:
        """How many workers there are: those that ended meanwhile do not count."""
        return len(self.answers) + len(self.silent) + len(self.failures)

    @property
    def is_complete(self) -> bool:
        """Whether every one of them answered."""
        return not self.silent and not self.failures


Outcome: TypeAlias = Answer | Failure | Worker  # the worker alone when it has ended


def encoded(request: Request) -> bytes:
    """The line that says it. RequestTooLongError for what no worker would read."""
    line = json.dumps({"v": WIRE, **request}, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > REQUEST_MAX_BYTES:
        raise RequestTooLongError(
            f"the request has {len(line)} bytes, the limit is {REQUEST_MAX_BYTES}: "
            f"name fewer keys, tags or caches at once"
        )
    return line


def read(worker: Worker, line: bytes | bytearray, seconds: float) -> Answer | Failure:
    """What `worker` said after `seconds`; a Failure where that is no answer."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:  # also what is no UTF-8
        return Failure(worker, "garbled", f"its answer is no JSON: {error}")
    match said:
        case {"v": version} if version != WIRE:
            message = f"it speaks version {version!r}, and this process {WIRE}: restart the older one"
            return Failure(worker, "other_version", message)
        case {
            "v": _,
            "ok": True,
            "pid": int(pid),
            "started": int() | float() as started,
            "result": dict(result),
        }:
            if abs(started) < STARTED_MAX:  # not so for NaN
                return Answer(worker, pid, float(started), result, seconds)
        case {"v": _, "ok": False, "error": str(code), "message": str(message)}:
            return Failure(worker, code, message)
    return Failure(worker, "garbled", "its answer is of another form than this version of oxicache knows")


def sorted_out(outcomes: Iterable[Outcome], silent: Iterable[Worker] = ()) -> Answers:
    """Each outcome where it belongs, by pid."""
    found = list(outcomes)
    answers = [one for one in found if isinstance(one, Answer)]
    failures = [one for one in found if isinstance(one, Failure)]
    return Answers(
        tuple(sorted(answers, key=lambda answer: answer.pid)),
        tuple(sorted(silent, key=lambda worker: worker.pid)),
        tuple(sorted(failures, key=lambda failure: failure.worker.pid)),
        tuple(sorted((one for one in found if isinstance(one, Worker)), key=lambda worker: worker.pid)),
    )
