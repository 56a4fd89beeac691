"""Django as the benches use it: an SQLite database in memory, and `oxicache.django` installed unless told otherwise.

The version words lie in a folder of their own, mapped as a worker's are, and go with the process.
"""

import atexit
import shutil
import tempfile
from typing import Any

import django
from django.conf import settings
from django.db import connection, models


def set_up(*apps: str, more_oxicache: dict[str, Any] | None = None, **more: Any) -> None:
    """Configure Django with `apps`, and with `more` settings. A second call in one process is ignored."""
    if settings.configured:
        return
    folder = tempfile.mkdtemp(prefix="oxicache-benches-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    more.setdefault("DATABASES", {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
    settings.configure(
        INSTALLED_APPS=list(apps),
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="only-for-benches",  # noqa: S106 (signs nothing)
        USE_TZ=True,
        OXICACHE={"RUNTIME_DIR": folder, **(more_oxicache or {})},
        **more,
    )
    django.setup()


def create_table(model: type[models.Model], rows: list[Any] | None = None) -> None:
    """Make the model's table, with `rows` in it."""
    with connection.schema_editor() as editor:
        editor.create_model(model)
    model._base_manager.bulk_create(rows or [])
