"""A process of a site with the library's rows and a NativeCache, told through a pipe what to ask and to change.

Run as a program this is the process; imported by tests, `LibraryWorker` talks to it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from piped_process import PipedProcess

__all__ = ["LibraryWorker"]


class LibraryWorker(PipedProcess):
    """One process, on a database by its settings; leaving the `with` block ends it."""

    program = __file__

    def __init__(self, directory: Path | str, database: dict[str, Any]) -> None:
        super().__init__(
            LIBRARY_WORKER_OXICACHE=json.dumps({"RUNTIME_DIR": str(directory), "VERSION_WORDS": 2**16}),
            LIBRARY_WORKER_DATABASE=json.dumps(database),
        )

    def asks(self, **question: Any) -> tuple[str, int]:
        """The answer to a question, as text, and how many statements it took."""
        answer, count = self.tell("ask", question)
        return answer, count


# ---------------------------------------------------------------- in the process

_blocks: list[Any] = []


def ask(given: dict[str, Any]) -> tuple[str, int]:
    from django.db import connections
    from django.test.utils import CaptureQueriesContext
    from library_answers import told
    from library_questions import NEAR, Question

    steps = tuple((name, value) for name, value in given.pop("steps", ()))
    with CaptureQueriesContext(connections[NEAR]) as executed:
        answer = told(Question(**given, steps=steps, is_held=True).ask())
    return repr(answer), len(executed)


def change(name: str, *given: Any) -> None:
    from library_changes import Change
    from library_questions import NEAR

    Change(name, *given).do(NEAR)


def lay_out() -> None:
    from library_changes import lay_out
    from library_questions import NEAR

    lay_out(NEAR)


def begin() -> None:
    from django.db import transaction
    from library_questions import NEAR

    _blocks.append(transaction.atomic(NEAR))
    _blocks[-1].__enter__()


def commit() -> None:
    _blocks.pop().__exit__(None, None, None)


def roll_back() -> None:
    _blocks.pop().__exit__(RuntimeError, RuntimeError(), None)


COMMANDS = {function.__name__: function for function in (ask, change, lay_out, begin, commit, roll_back)}


def _main() -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of the workers",  # noqa: S106 -- signs nothing
        INSTALLED_APPS=["django.contrib.contenttypes", "oxicache.django", "project.library"],
        DATABASES={"default": {}, "near": json.loads(os.environ["LIBRARY_WORKER_DATABASE"])},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "library"}},
        OXICACHE=json.loads(os.environ["LIBRARY_WORKER_OXICACHE"]),
        USE_TZ=True,
    )
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    django.setup()

    from oxicache.django.queries.managing import watch_all

    watch_all()  # as a CachedManager anywhere would: who writes need not ask anything
    for line in iter(sys.stdin.readline, ""):
        name, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[name](*arguments)), flush=True)


if __name__ == "__main__":
    _main()
