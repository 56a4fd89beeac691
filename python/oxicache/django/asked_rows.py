"""Rows that are asked of the database to know what a change means for them, and no more than that takes."""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from django.db.models import Model

__all__ = ["MAX_ROWS", "at_most", "rows_by", "some_rows", "values_between"]

_T = TypeVar("_T")

MAX_ROWS: Final = 1000  # past it the widest effect is taken


def at_most(rows: Iterable[_T]) -> list[_T] | None:
    """Return the rows, None for more than MAX_ROWS."""
    some: list[_T] = []
    for row in rows:
        if len(some) >= MAX_ROWS:
            return None
        some.append(row)
    return some


def some_rows(model: type[Model], condition: dict[str, Any], using: str) -> list[Model] | None:
    """Ask for rows, None where there are more than MAX_ROWS."""
    found = list(model._base_manager.using(using).filter(**condition)[: MAX_ROWS + 1])
    return None if len(found) > MAX_ROWS else found


def rows_by(model: type[Model], attname: str, values: Iterable[Any], using: str) -> list[Model]:
    """Return the rows with one of these values in a column. O(rows)."""
    return list(model._base_manager.using(using).filter(**{f"{attname}__in": list(values)}))


def values_between(
    through: type[Model], condition: dict[str, Any], attname: str, using: str
) -> list[Any] | None:
    """Return what the rows of a table between refer to, None for more than MAX_ROWS."""
    rows = through._base_manager.using(using).filter(**condition).values_list(attname, flat=True)
    found = list(rows[: MAX_ROWS + 1])
    return None if len(found) > MAX_ROWS else found
