"""A process of a site with parcels, whose threads are told through a pipe what to do, each for itself.

Run as a program this is the process; imported by tests, `ParcelWorker` talks to it. Each thread has a connection of its
own, and so transactions, and may be stopped in the middle of a load while others go on.
"""

import json
import os
import queue
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from piped_process import PipedProcess

__all__ = ["REFUSED", "STOPPED", "ParcelWorker"]

STOPPED: Final = "stopped"
REFUSED: Final = "refused"  # by the database: it was locked, or a constraint was violated


class ParcelWorker(PipedProcess):
    """One process of a site; leaving the `with` block ends it. All of them share a folder, with the database in it."""

    program = __file__

    def __init__(self, directory: Path, **oxicache: Any) -> None:
        settings = {"RUNTIME_DIR": str(directory), "VERSION_WORDS": 2**16, **oxicache}
        super().__init__(
            PARCEL_WORKER_SETTINGS=json.dumps(settings),
            PARCEL_WORKER_DATABASE=str(directory / "parcels.sqlite3"),
        )
        self._answers: defaultdict[str, list[Any]] = defaultdict(list)  # that came before they were asked for

    def tell(self, name: str, *arguments: object) -> Any:
        """Have a thread, that is made where there is none of that name, do something, and answer."""
        self.say(name, *arguments)
        return self.answer_of(name)

    def answer_of(self, name: str) -> Any:
        """What a thread has answered to what it was told first."""
        while not self._answers[name]:
            thread, answer = self.answer()
            self._answers[thread].append(answer)
        answer = self._answers[name].pop(0)
        assert not isinstance(answer, str) or not answer.startswith("Traceback"), answer
        return answer


# ---------------------------------------------------------------- in the process

_speaking = threading.Lock()


class _Thread(threading.Thread):
    """One of the process's own, with a queue of what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.told: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._blocks: list[Any] = []
        self._missed: dict[tuple[str, int], Any] = {}

    def run(self) -> None:
        import traceback
        from sqlite3 import OperationalError

        from django.db import Error

        while True:
            name, *arguments = self.told.get()
            try:
                answer = getattr(self, f"do_{name}")(*arguments)
            except (Error, OperationalError):
                answer = REFUSED
            except Exception:  # noqa: BLE001 - whatever it is, the test is told
                answer = traceback.format_exc()
            self.say(answer)

    def say(self, answer: Any) -> None:
        with _speaking:
            print(json.dumps([self.name, answer]), flush=True)

    # ------------------------------------------------------------ changes

    def do_begin_empty(self) -> None:
        from parcel_readers import begin_empty

        begin_empty()

    def do_forget(self) -> None:
        from parcel_readers import forget

        self._missed.clear()
        forget()

    def do_change(self, name: str, one: int, other: int) -> bool:
        """Change something; whether that changed a row."""
        from django.db import connection
        from parcel_readers import CHANGES

        connection.ensure_connection()
        before = connection.connection.total_changes
        CHANGES[name](one, other)
        return bool(connection.connection.total_changes > before)

    def do_begin(self, savepoint: bool) -> None:
        from django.db import transaction

        block = transaction.atomic(savepoint=savepoint)
        block.__enter__()
        self._blocks.append(block)

    def do_commit(self) -> None:
        self._blocks.pop().__exit__(None, None, None)

    def do_roll_back(self) -> bool:
        """Leave the innermost block with an error; whether that leaves the next one usable."""
        from django.db import connection

        error = RuntimeError("rolled back on purpose")
        self._blocks.pop().__exit__(type(error), error, None)
        return not (self._blocks and connection.needs_rollback)

    # ------------------------------------------------------------ reads

    def do_read(self, kind: str, number: int, statement: int = 0, is_after: bool = False) -> Any:
        """What is served, and what this thread sees in the database by itself.

        `statement` of the load, if it comes to that, is stopped at.
        """
        from parcel_queries import BY_HAND
        from parcel_readers import LOADED, rows

        if kind in BY_HAND:
            value = self._kept(kind, number)
        else:
            read = LOADED[kind](number)
            with self._stopping(statement, is_after=is_after):
                value = read()
        return [value, rows(kind, number)]

    def _kept(self, kind: str, number: int) -> Any:
        self._missed.pop((kind, number), None)
        found = self.do_miss(kind, number)
        if found is None:
            found = self._missed[kind, number]
            self.do_store(kind, number)
        return found

    def do_miss(self, kind: str, number: int) -> Any:
        """What the cache has; else compute it, and have it stored later."""
        from parcel_readers import place, rows

        cache, key, _ = place(kind, number)
        found = cache.get(key)
        if found is None:
            self._missed[kind, number] = rows(kind, number)
        return found

    def do_store(self, kind: str, number: int) -> None:
        from parcel_readers import place

        if (kind, number) in self._missed:
            cache, key, tags = place(kind, number)
            cache.set(key, self._missed.pop((kind, number)), None, tags=tags)

    def do_check(self, kinds: list[str], numbers: list[int], is_load: bool) -> list[Any]:
        """All that is served of these, and what it is; `is_load` False: only what the cache has, None for a miss."""
        found = []
        for kind in kinds:
            for number in numbers:
                served = self.do_read(kind, number) if is_load else [self._look(kind, number), None]
                found.append([kind, number, *served])
        return found

    def _look(self, kind: str, number: int) -> Any:
        from parcel_readers import place

        self._missed.pop((kind, number), None)  # for it would take this miss for its own
        cache, key, _ = place(kind, number)
        return cache.get(key)

    @contextmanager
    def _stopping(self, statement: int, *, is_after: bool) -> Iterator[None]:
        from django.db import connection

        count = 0

        def counted(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
            nonlocal count
            count += 1
            if count == statement and not is_after:
                self._stop()
            result = execute(sql, params, many, context)
            if count == statement and is_after:
                self._stop()
            return result

        with ExitStack() as stack:
            if statement:
                stack.enter_context(connection.execute_wrapper(counted))
            yield

    def _stop(self) -> None:
        self.say(STOPPED)
        assert self.told.get() == ["go_on"]


def _main() -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of the workers",  # noqa: S106 -- signs nothing
        INSTALLED_APPS=["oxicache.django", "project.parcels"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ["PARCEL_WORKER_DATABASE"],
                # WAL, so that nobody who reads is in the way of one who writes; and nobody waits, but is refused.
                "OPTIONS": {
                    "timeout": 0,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
                },
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        CACHES={
            alias: {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": alias}
            for alias in ("default", "keyed", "tagged")
        },
        OXICACHE=json.loads(os.environ["PARCEL_WORKER_SETTINGS"]),
        USE_TZ=True,
    )
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    django.setup()

    from django.core.management import call_command
    from parcel_mistakes import MISTAKES
    from parcel_readers import ready

    ready()
    threads: dict[str, _Thread] = {}
    for line in iter(sys.stdin.readline, ""):
        name, *told = json.loads(line)
        if name == "main":
            call_command("migrate", run_syncdb=True, verbosity=0)
            for mistake in told:
                MISTAKES[mistake]()
            print(json.dumps(["main", None]), flush=True)
            continue
        if name not in threads:
            threads[name] = _Thread(name)
            threads[name].start()
        threads[name].told.put(told)


if __name__ == "__main__":
    _main()
