"""Which models a statement reads, as far as its text tells: every name in it that is the name of a model's table.

A column or an alias that is called like a table counts as that table: too much is invalidated then, never too little.
What a view of the database or a function reads cannot be told; `depends_on` names it.
"""

import functools
import re
from collections.abc import Iterable

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import class_prepared

__all__ = ["models_read"]

_name = re.compile(r"[^\W\d][\w$]*")


def models_read(statements: Iterable[str]) -> frozenset[type[Model]]:
    """Return the models whose tables are named in these statements, tables between two models included."""
    return frozenset(model for sql in statements for model in _read(sql))


@functools.lru_cache(maxsize=1024)
def _read(sql: str) -> frozenset[type[Model]]:
    by_table = _models_by_table()
    whole = sql.lower()
    names = set(_name.findall(whole))
    found = set()
    for table, models in by_table.items():
        # A schema may stand in the name, and anything at all between quotes.
        if table in names or (not _name.fullmatch(table) and table in whole):
            found.update(models)
    return frozenset(found)


@functools.cache
def _models_by_table() -> dict[str, list[type[Model]]]:
    found: dict[str, list[type[Model]]] = {}
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        if not model._meta.proxy:
            # As quoted in a statement: `"schema"."table"` is written with its inner quotes left alone.
            found.setdefault(model._meta.db_table.lower().strip('"`[]'), []).append(model)
    return found


def _forget(**_: object) -> None:
    _models_by_table.cache_clear()
    _read.cache_clear()


class_prepared.connect(_forget, dispatch_uid="oxicache.django.queries.tables")
