"""Aligned tables and painted words, for a terminal and for everything that is none.

What the tables say is decided elsewhere (reports.py). Names come from the keys and caches of a site, so whatever a
terminal would obey instead of showing is spelt out here, and nowhere else.
"""

import os
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = [
    "PLAIN",
    "Column",
    "Stream",
    "Style",
    "bar",
    "count",
    "duration",
    "is_terminal",
    "plain",
    "shortened",
    "size",
    "table",
    "width",
]

CODES: Final = {"bold": "1", "quiet": "2", "bad": "31", "good": "32", "warning": "33"}
GAP: Final = "  "  # between two columns
ELLIPSIS: Final = "\u2026"
LEAST: Final = 8  # columns of the screen that a shortened cell keeps, to be told from its neighbours
BAR: Final = 30  # characters. Source: EnterpriseLand's `manage_cache monitor`
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
KIB: Final = 1024
PARTS: Final = ((1e3, "ms"), (1e6, "us"), (1e9, "ns"))  # of a second
SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))  # seconds; each from twice its length on


class Stream(Protocol):
    """What is asked of a stream that somebody may look at."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        ...


@dataclass(frozen=True, slots=True)
class Style:
    """How to write on one stream: with colour or without, and how wide it is. `PLAIN` is for files and pipes."""

    colour: bool = False
    columns: int | None = None  # of the screen; None where lines may be of any length

    @classmethod
    def of(cls, stream: Stream) -> "Style":
        """Plain off a terminal; on one without colour where NO_COLOR says so, or where it is a dumb one."""
        if not is_terminal(stream):
            return PLAIN
        # NO_COLOR: https://no-color.org, present and not empty means none.
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(colour, shutil.get_terminal_size().columns)

    def paint(self, text: str, name: str) -> str:
        """Colour the text if this stream has colours; pad it first, as the codes have a length of their own."""
        return f"\x1b[{CODES[name]}m{text}\x1b[0m" if self.colour and text else text


PLAIN: Final = Style()


def is_terminal(stream: Stream) -> bool:
    """Whether a person reads this stream. A stream that does not say is a file."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # a stand-in that only writes, a closed file
        return False


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and where its cells stand. A flexible one gives way where the screen is narrow."""

    heading: str
    right: bool = False
    flexible: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], style: Style = PLAIN) -> Iterator[str]:
    """Yield the lines of a table: the headings, then each row, no line with blanks at its end.

    A row has one text for each column. O(cells).
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [
        max((width(text) for text in (column.heading, *(row[at] for row in cells))), default=0)
        for at, column in enumerate(columns)
    ]
    _narrow(widths, columns, style.columns)
    yield style.paint(_line([column.heading for column in columns], columns, widths), "quiet")
    for row in cells:
        yield _line(row, columns, widths)


def _narrow(widths: list[int], columns: Sequence[Column], limit: int | None) -> None:
    """Take from the widest flexible columns what the screen has no room for."""
    flexible = [at for at, column in enumerate(columns) if column.flexible]
    if limit is None or not flexible:
        return
    excess = sum(widths) + len(GAP) * (len(columns) - 1) - limit
    while excess > 0:
        widest = max(flexible, key=lambda at: widths[at])
        if widths[widest] <= LEAST:
            return  # lines that wrap say more than columns that show nothing
        widths[widest] -= 1
        excess -= 1


def _line(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    return GAP.join(
        _padded(shortened(cell, wide), wide, right=column.right)
        for cell, column, wide in zip(row, columns, widths, strict=True)
    ).rstrip()


def _padded(text: str, wide: int, *, right: bool) -> str:
    blanks = " " * (wide - width(text))
    return blanks + text if right else text + blanks


def plain(text: str) -> str:
    """Return the text on one line, with whatever a terminal would obey spelt out: escape sequences, line ends."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _spelt(char) for char in text)


def _spelt(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def width(text: str) -> int:
    """Return how many columns of a screen a printable text takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def shortened(text: str, wide: int) -> str:
    """Return the text in at most so many columns, its middle left out: names differ at their ends."""
    if width(text) <= wide:
        return text
    if wide <= 1:
        return ELLIPSIS[:wide]
    end = (wide - 1) // 2
    return _fitting(text, wide - 1 - end) + ELLIPSIS + _fitting(text[::-1], end)[::-1]


def _fitting(text: str, wide: int) -> str:
    taken = 0
    for at, char in enumerate(text):
        taken += _char_width(char)
        if taken > wide:
            return text[:at]
    return text


def bar(percent: float, length: int = BAR) -> str:
    """Draw a share of 100 as a bar of so many characters. Source: EnterpriseLand's `manage_cache monitor`."""
    filled = int(min(max(percent, 0.0), 100.0) * length / 100)
    return "\u2588" * filled + "\u2591" * (length - filled)


def count(number: float | None) -> str:
    """Write a whole number with commas; a dash for what is not known."""
    return "-" if number is None else f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """Write a span in the unit that suits it; a dash for what is not known, "never ends" as `for ever`."""
    if seconds is None:
        return "-"
    if seconds == float("inf"):
        return "for ever"
    if 0 < seconds < 1:
        shown, unit = next(
            ((seconds * each, unit) for each, unit in PARTS if seconds * each >= 1), (0.0, "ns")
        )
        return f"{shown:.1f} {unit}" if unit == "ms" else f"{shown:.0f} {unit}"
    length, unit = next(((length, unit) for length, unit in SPANS if seconds >= 2 * length), (1, "s"))
    return f"{seconds / length:.1f} {unit}" if length > 1 else f"{seconds:.2f} s"


def size(number: float | None) -> str:
    """Write a number of bytes in the unit that suits it; a dash for what is not known."""
    if number is None:
        return "-"
    step = 0
    while number >= KIB and step < len(UNITS) - 1:
        number /= KIB
        step += 1
    return f"{number:.0f} B" if step == 0 else f"{number:.1f} {UNITS[step]}"
