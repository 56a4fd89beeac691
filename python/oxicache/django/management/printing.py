"""How a command writes a report: as lines, as JSON, into a file, or again and again on the same screen."""

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, OutputWrapper

from oxicache.django.management.arguments import WRONG_USE
from oxicache.errors import (
    CannotEnumerateError,
    CannotTagError,
    NotConfiguredError,
    UnknownCacheError,
    UnknownProcessError,
)
from oxicache.reports import OptimizeReport, Report
from oxicache.tables import Style, is_terminal

__all__ = ["Printer", "failures_told", "has_somebody", "is_agreed"]

READER_GONE: Final = 141  # 128 and the number of SIGPIPE, as a shell has it
# Sequences of ECMA-48, as every terminal of today has them.
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
WRONG: Final = (
    CannotEnumerateError,
    CannotTagError,
    ImproperlyConfigured,
    LookupError,
    NotConfiguredError,
    UnknownProcessError,
    ValueError,
)

Lines = Callable[[Report, Report | None, Style], Iterator[str]]


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """End with a sentence instead of a traceback, which `--traceback` still shows. Source: EnterpriseLand."""
    try:
        yield
        sys.stdout.flush()
    except (CommandError, UnknownCacheError):
        raise
    except BrokenPipeError:
        # Who reads, as `head` does, has read enough. The interpreter flushes once more when it ends.
        with open(os.devnull, "w") as nowhere, contextlib.suppress(OSError, ValueError):  # noqa: PTH123 -- no path
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise SystemExit(READER_GONE) from None
    except Exception as error:  # Source: EnterpriseLand; its callers catch CommandError and nothing else
        code = WRONG_USE if isinstance(error, WRONG) else 1
        raise CommandError(f"Cache operation failed: {error}", returncode=code) from error


def has_somebody(stdout: OutputWrapper) -> bool:
    """Whether a person could answer a question."""
    return is_terminal(sys.stdin) and is_terminal(stdout)


def is_agreed(stdout: OutputWrapper, question: str, answer: str = "yes") -> bool:
    """Ask on a terminal; elsewhere nobody could answer, and the command goes on."""
    if not has_somebody(stdout):
        return True
    try:
        return input(question).strip() == answer
    except (EOFError, KeyboardInterrupt):
        return False


class Printer:
    """Writes reports as the options of the command have it."""

    def __init__(self, stdout: OutputWrapper, options: Mapping[str, Any]) -> None:
        self._stdout = stdout
        self._as_json = bool(options.get("json"))
        self._output = options.get("output")
        self.style = _style(stdout, options)

    def report(self, report: Report, instead: str | None = None) -> None:
        """Write one report, or `instead`, to the screen or into the file that `--output` names."""
        if self._output is not None:
            self._save(Path(self._output), report, instead)
        elif instead is not None:
            self._stdout.write(instead)
        elif self._as_json:
            self._stdout.write(self.json(report.as_json()))
        else:
            self.lines(report.lines(self.style))

    def lines(self, lines: Iterable[str]) -> None:
        """Write these lines, with what the stream cannot encode spelt out."""
        for line in lines:
            self._say(line)

    @staticmethod
    def json(value: Any) -> str:
        """Return a value as the source documents print it."""
        return json.dumps(value, indent=2)

    def watch(self, run: Callable[[], Report], seconds: float, lines: Lines) -> None:
        """Write a report every so many seconds, in place on a terminal, until Ctrl-C."""
        earlier: Report | None = None
        ended = threading.Event()  # never set: a wait that Ctrl-C ends at once
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                report = run()
                if self._as_json:
                    self._stdout.write(
                        json.dumps(report.as_json())
                    )  # one line each, for programs that follow
                elif is_terminal(self._stdout):
                    self._redraw(lines(report, earlier, self.style))
                else:
                    self.lines((*lines(report, earlier, self.style), ""))
                self._stdout.flush()
                earlier = report
                ended.wait(seconds)

    def _redraw(self, lines: Iterable[str]) -> None:
        """Write over what was there before. What the screen has no room for is left out: it would scroll."""
        rows = shutil.get_terminal_size().lines - 1
        shown = [self._encodable(line) + CLEAR_LINE for line in lines][:rows]
        self._stdout.write(HOME + "\n".join(shown) + "\n" + CLEAR_BELOW, ending="")

    def _save(self, path: Path, report: Report, instead: str | None) -> None:
        is_json = self._as_json or path.suffix == ".json" or isinstance(report, OptimizeReport)
        text = (
            instead
            if instead is not None
            else self.json(report.as_json())
            if is_json
            else "\n".join(report.lines())
        )
        try:
            _replace(path, text.rstrip("\n") + "\n")
        except OSError as error:
            raise CommandError(
                f"Cannot write {path}: {error.strerror or error}", returncode=WRONG_USE
            ) from error
        self._stdout.write(f"Wrote {path}")

    def _say(self, line: str) -> None:
        self._stdout.write(self._encodable(line))

    def _encodable(self, line: str) -> str:
        """Spell out what the stream's encoding does not have, instead of failing half-way through a report."""
        encoding = getattr(self._stdout, "encoding", None) or "utf-8"
        return line.encode(encoding, "backslashreplace").decode(encoding)


def _style(stdout: OutputWrapper, options: Mapping[str, Any]) -> Style:
    style = Style.of(stdout)
    if options.get("force_color"):
        return Style(colour=True, columns=style.columns)
    return Style(colour=False, columns=style.columns) if options.get("no_color") else style


def _replace(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds the old text or the new one. What is no file is written into."""
    path = path.resolve()  # a link stays one
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        path.write_text(text, encoding="utf-8")  # a terminal, a pipe, /dev/null; a folder is an OSError
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 -- a descriptor, no path
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(name).chmod(stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)  # there is no other way to ask; a command has one thread
    os.umask(mask)
    return mask
