"""A process with version words of its own mapping, told through a pipe what to do with them.

Run as a program this is the process; imported by tests, `Worker` talks to it.
"""

import contextlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from piped_process import PipedProcess

from oxicache import _native

WORDS = 2**16  # the fewest, so that files are small
NOBODY = 65534
FIRST = 1000.0  # the second that driven clocks begin at

_captured: dict[str, _native.Stamps] = {}


class Worker(PipedProcess):
    """One process; leaving the `with` block ends it."""

    program = __file__

    def __init__(
        self, directory: Path | str, namespace: str = "shop", *, drop: bool = False, **env: str
    ) -> None:
        super().__init__(**env)
        self.directory, self.namespace = str(directory), namespace
        self.ask("drive", FIRST)
        if drop and os.geteuid() == 0:
            self.ask("become", NOBODY)

    ask = PipedProcess.tell

    def share(self, words: int = WORDS) -> Any:
        """Have it open its words; the state it is in then."""
        return self.ask("share", self.directory, self.namespace, words)


def the_file(directory: Path) -> Path:
    """The one file in the one folder of a directory, besides a second name that a killed maker may have left it."""
    (folder,) = directory.iterdir()
    (file,) = (file for file in folder.iterdir() if not file.name.startswith(".making-"))
    return file


@contextlib.contextmanager
def sharing(directory: Path | str, count: int = 2, namespace: str = "shop") -> Iterator[list[Worker]]:
    """So many processes that share words, each with another seed of `hash()`."""
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(directory, namespace, PYTHONHASHSEED=str(seed)))
            for seed in range(count)
        ]
        for worker in workers:
            assert worker.share()["shared"]
        yield workers


def share(directory: str, namespace: str, words: int) -> dict[str, Any]:
    return _native.versions_share(directory, namespace, words)


def capture(slot: str, names: list[str]) -> tuple[int, ...]:
    _captured[slot] = _native.capture(names)
    return _captured[slot].words


def is_current(slot: str) -> bool:
    return _captured[slot].is_current()


def within(slot: str, seconds: float) -> bool:
    return _captured[slot].was_bumped_within(seconds)


def bump(names: list[str]) -> int:
    return _native.bump(names)


def bump_for_ever(names: list[str]) -> None:
    print(json.dumps("begun"), flush=True)
    while True:
        _native.bump(names)


def make_for_ever(directory: str, namespace: str, words: int) -> None:
    print(json.dumps("begun"), flush=True)
    while True:
        path = _native.versions_share(directory, namespace, words)["path"]
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()


def hold_lock(folder: str) -> str:
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return "held"


def close_descriptors() -> None:
    os.closerange(3, 256)


def become(user: int) -> None:
    os.setgid(user)
    os.setuid(user)


def limit_file_size(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


def mask(bits: int) -> None:
    os.umask(bits)


COMMANDS = {
    function.__name__: function
    for function in (
        share, capture, is_current, within, bump, bump_for_ever, make_for_ever,
        hold_lock, close_descriptors, become, limit_file_size, mask,
    )
}  # fmt: skip
COMMANDS |= {
    "drive": _native.clock_drive,
    "refresh": _native.versions_refresh,
    "state": _native.versions_state,
    "keep_private": _native.versions_keep_private,
}


def _main() -> None:
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[name](*arguments)), flush=True)


if __name__ == "__main__":
    _main()
