"""Rows as tests see them: their words, and a source some of whose answers are the test's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oxicache import rows


def row_word(row: Any) -> str:
    """The version word of a model instance's row."""
    return f"row:{row._meta.label_lower}:{row.pk}"


@contextmanager
def source(**answers: Callable[..., Any]) -> Iterator[None]:
    """Have some questions about rows answered otherwise."""
    known = rows.source()
    assert known is not None
    changed = type(
        "Changed", (type(known),), {name: staticmethod(answer) for name, answer in answers.items()}
    )
    rows.install(changed())
    try:
        yield
    finally:
        rows.install(known)
