"""A process of a site with rows and a NativeCache, told through a pipe what to do and asked as an operator asks it.

Run as a program this is the process; imported by tests, `RowWorker` talks to it. All of them share a database,
a file. A worker without rows is in cache_worker.py.
"""

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

from versions_worker import Worker

__all__ = ["SAVING_LINE", "RowWorker"]


class RowWorker(Worker):
    """One process of a site; leaving the `with` block ends it."""

    program = __file__

    def __init__(self, directory: Path | str, **oxicache: Any) -> None:
        settings = {"RUNTIME_DIR": str(directory), "VERSION_WORDS": 2**16, **oxicache}
        super().__init__(
            directory,
            ROW_WORKER_SETTINGS=json.dumps(settings),
            ROW_WORKER_DATABASE=str(Path(directory) / "rows.sqlite3"),
        )

    def operator(self, verb: str, **given: Any) -> dict[str, Any]:
        """What it answers an operator."""
        answer: dict[str, Any] = json.loads(self.ask("operator", verb, given))
        return answer


# ---------------------------------------------------------------- in the process


def make(title: str, price: int) -> int:
    from project.catalogue.models import Item

    return int(Item.objects.create(title=title, price=price).pk)


def save(pk: int, price: int) -> None:
    from django.db import transaction
    from project.catalogue.models import Item

    with transaction.atomic():
        item = Item.objects.get(pk=pk)
        item.price = price
        item.save()


SAVING_LINE = inspect.getsourcelines(save)[1] + len(inspect.getsourcelines(save)[0]) - 1


def doubled(pk: int) -> int:
    from project.catalogue.models import Item

    return int(Item.objects.get(pk=pk).doubled)


def cache(name: str, *arguments: Any) -> Any:
    from django.core.cache import cache as default

    return getattr(default, name)(*arguments)


def tag(key: str, value: Any, tags: list[str]) -> None:
    from django.core.cache import cache as default

    default.get(key)
    default.set(key, value, tags=tags)


def operator(verb: str, given: dict[str, Any]) -> str:
    from oxicache import live

    return live.answer(verb, json.dumps(given))


def create_tables() -> None:
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


def drive(_: float) -> None:
    """Time is the machine's own here."""


COMMANDS = {
    function.__name__: function
    for function in (make, save, doubled, cache, tag, operator, create_tables, drive)
}


def _main() -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of the workers",  # noqa: S106 -- signs nothing
        INSTALLED_APPS=["oxicache.django", "project.catalogue"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["ROW_WORKER_DATABASE"]}
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rows"}},
        OXICACHE=json.loads(os.environ["ROW_WORKER_SETTINGS"]),
        USE_TZ=True,
    )
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    django.setup()
    for line in iter(sys.stdin.readline, ""):
        name, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[name](*arguments)), flush=True)


if __name__ == "__main__":
    _main()
