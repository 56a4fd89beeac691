"""How rows are held: tuples of immutables as they are, which a store in memory does not copy; any others pickled."""

import pickle
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final
from uuid import UUID

__all__ = ["ATOMS", "freeze", "thaw"]

ATOMS: Final = frozenset(
    {bool, bytes, date, datetime, Decimal, float, int, str, time, timedelta, type(None), UUID}
)


class _View:
    """Stands for a memoryview, which no pickle takes."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content


def freeze(rows: Iterable[Sequence[Any]]) -> tuple[Any, ...] | bytes:
    """Return rows as they are held. TypeError and the like for a cell that cannot be pickled. O(cells)."""
    kept = tuple(map(tuple, rows))
    if ATOMS.issuperset(map(type, chain.from_iterable(kept))):
        return kept
    kept = tuple(
        tuple(_View(bytes(cell)) if isinstance(cell, memoryview) else cell for cell in row) for row in kept
    )
    return pickle.dumps(kept, pickle.HIGHEST_PROTOCOL)


def thaw(held: Any) -> tuple[Any, ...]:
    """Return rows that are the caller's own."""
    if not isinstance(held, bytes):
        return held  # type: ignore[no-any-return]
    return tuple(
        tuple(memoryview(cell.content) if type(cell) is _View else cell for cell in row)
        for row in pickle.loads(held)  # noqa: S301 -- this module's own, out of this process's memory
    )
