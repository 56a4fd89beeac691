"""Runs a piece of a test in a fresh interpreter, so that a hang or a crash fails one test and not the whole run.

Nothing here knows the cache. The clock that tests drive by hand is in driven_clock.py.
"""

import contextlib
import importlib.util
import inspect
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT_SECONDS = 90  # far beyond what any child needs on a loaded two-core machine: only a hang reaches it
CHILD_SECONDS = 30  # what a forked child does takes milliseconds; only a hang lets SIGALRM end it


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child and wait for it; a hang ends by SIGALRM, an error by exit code 1."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(CHILD_SECONDS)
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001 - whatever it is, this process must end here
            print(repr(error), file=sys.stderr)
        finally:
            os._exit(code)
    _pid, status = os.waitpid(pid, 0)
    assert status == 0, f"child ended with {os.waitstatus_to_exitcode(status)} (-14 is a hang)"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let a child heed Ctrl-C: a shell starts what runs in the background with SIGINT ignored, which is inherited."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run(source: str, *, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `source` as `__main__`; past LIMIT_SECONDS every thread's stack is printed and the exit code is 1."""
    watched = f"import faulthandler\nfaulthandler.dump_traceback_later({LIMIT_SECONDS}, exit=True)\n"
    return _spawn(["-c", watched + textwrap.dedent(source)], env)


def check(source: str, *, env: Mapping[str, str] | None = None) -> str:
    """Run `source`, fail unless it ends with exit code 0 and an empty stderr, and return what it printed."""
    return _clean(run(source, env=env))


def check_call(function: Callable[..., None], *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """As `check`, for a module level function of a test file, called with strings."""
    place = [str(Path(__file__).resolve()), inspect.getfile(function), function.__name__]
    return _clean(_spawn([*place, *arguments], env))


def _spawn(arguments: list[str], env: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(env or {})}
    return subprocess.run(
        # A fork while other threads run warns on 3.12 and later; these children do it on purpose.
        [sys.executable, "-W", "ignore::DeprecationWarning", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_SECONDS + 30,
        check=False,
    )


def _clean(done: subprocess.CompletedProcess[str]) -> str:
    said = f"exit code {done.returncode}\nstdout (its end):\n{done.stdout[-2000:]}\nstderr:\n{done.stderr[-8000:]}"
    assert done.returncode == 0, said
    assert done.stderr == "", said
    return done.stdout


def _main(path: str, name: str, *arguments: str) -> None:
    import faulthandler

    faulthandler.dump_traceback_later(LIMIT_SECONDS, exit=True)
    specification = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    getattr(module, name)(*arguments)


if __name__ == "__main__":
    _main(*sys.argv[1:])
