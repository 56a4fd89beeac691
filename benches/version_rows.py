"""The timed rows of the version words: what a hit pays for being valid, and what an invalidation costs its sender.

The words are those that processes share, where this system has them.
"""

from collections.abc import Sequence

import django_setup
from cache_rows import SIZE
from rows import Target, TimedRow
from timing import Contender

from oxicache import _native
from oxicache.versions import version_words

django_setup.set_up("oxicache.django")


class _Empty:
    """What a call costs when nothing is looked at."""

    def is_current(self) -> bool:
        return True


def _names(count: int) -> list[tuple[str, ...]]:
    """What stands for each of a thousand entries: `count` names that no two of them share, as rows have them."""
    return [
        tuple(f"row:benches.row{place}:{number}" for place in range(count)) for number in range(1, SIZE + 1)
    ]


def _checks(count: int) -> list[Contender]:
    stamps = [version_words.capture(names) for names in _names(count)]
    assert all(one.is_current() for one in stamps)
    empty = _Empty()
    return [
        Contender("Stamps.is_current", "item.is_current()", {"empty": empty}, stamps),
        Contender("empty method", "empty.is_current()", {"empty": empty}, stamps),
    ]


def _captures() -> list[Contender]:
    return _calls("capture", _native.capture, _names(4))


def _bumps() -> list[Contender]:
    return _calls("bump", _native.bump, _names(1))


def _calls(name: str, ours: object, items: Sequence[tuple[str, ...]]) -> list[Contender]:
    version_words.open()

    def empty(names: tuple[str, ...]) -> None:
        """What calling a function costs when it does nothing."""

    return [
        Contender(called, "call(item)", {"call": call}, items)
        for called, call in ((name, ours), ("empty function", empty))
    ]


ROWS = (
    TimedRow("check of 1 word/1k", lambda: _checks(1)),
    TimedRow("check of 4 words/1k", lambda: _checks(4), {"empty method": Target("<=", 60, "ns")}),
    TimedRow("check of 32 words/1k", lambda: _checks(32)),
    TimedRow("capture of 4 words/1k", _captures),
    TimedRow("bump of 1 word/1k", _bumps),
)
