"""Mistakes that somebody might make in oxicache, by name, for a process of parcel_worker.py: a test must find them.

Each replaces a part; loaded once Django is set up.
"""

from collections.abc import Callable
from typing import Any, Final

__all__ = ["MISTAKES"]


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def invalidates_before_the_commit() -> None:
    from oxicache.django import marks

    def at_once(self: Any, effect: Any, note: Any) -> None:
        marks.bump(effect.words)
        marks.carry_out(effect, ())

    marks._Written.add = at_once  # type: ignore[method-assign]


def moves_no_words() -> None:
    from oxicache.django import marks

    marks.bump = _nothing


def loads_without_tags() -> None:
    from oxicache import loads

    loads.captured_words = lambda *_: []  # type: ignore[attr-defined]


def patterns_reach_nobody() -> None:
    from oxicache.django.backends import NativeCache

    NativeCache._outdate_patterns = _nothing  # type: ignore[assignment]


def transactions_read_what_others_cached() -> None:
    from oxicache import _native
    from oxicache.django import transactions

    transactions.is_written = lambda _: False
    _native.set_row_bypass(transactions.is_written)


def old_views_are_stored() -> None:
    from oxicache.django import transactions

    transactions.allows_storing = lambda *_: True


def nobody_looks_back() -> None:
    from oxicache.django import rulebook

    rulebook.row_before = _nothing  # type: ignore[assignment]


def parents_die_alone() -> None:
    from oxicache.django import reaching

    reaching.expand = frozenset  # type: ignore[assignment]


def bulk_without_rules() -> None:
    from oxicache.django import bulk

    bulk.changed_rows = _nothing


def fills_are_writes() -> None:
    """What is stored after a miss counts as new, however old it is."""
    from oxicache import _native
    from oxicache.django.backends import NativeCache

    plain = NativeCache.set

    def write(self: Any, *args: Any, **kwargs: Any) -> None:
        _native.tokens_forget()
        plain(self, *args, **kwargs)

    NativeCache.set = write  # type: ignore[method-assign]


MISTAKES: Final[dict[str, Callable[[], None]]] = {
    function.__name__: function
    for function in (
        invalidates_before_the_commit,
        moves_no_words,
        loads_without_tags,
        patterns_reach_nobody,
        transactions_read_what_others_cached,
        old_views_are_stored,
        nobody_looks_back,
        parents_die_alone,
        bulk_without_rules,
        fills_are_writes,
    )
}
