"""Aligned tables and painted words: what a person sees on a terminal, and what a file gets."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxicache import tables
from oxicache.tables import PLAIN, Column, Style

TEXTS = st.text(max_size=30)
ROWS = st.integers(1, 4).flatmap(
    lambda wide: st.lists(st.lists(TEXTS, min_size=wide, max_size=wide), min_size=1, max_size=8)
)


class Stream(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def columns(count: int, **options: Any) -> list[Column]:
    return [Column(f"column {number}", **options) for number in range(count)]


def starts(lines: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """Cut each line, by columns of the screen, where its cells must begin."""
    return [[_cut(line, sum(widths[:at]) + 2 * at, wide) for at, wide in enumerate(widths)] for line in lines]


def _cut(line: str, begin: int, wide: int) -> str:
    taken, found = 0, ""
    for char in line:
        if begin <= taken < begin + wide:
            found += char
        taken += tables.width(char)
    return found


class TestAlignment:
    def test_headings_and_cells_stand_below_each_other(self) -> None:
        """Text begins where its heading does, numbers end where theirs does."""
        lines = list(
            tables.table([Column("cache"), Column("entries", right=True)], [("users", "1"), ("a", "1,000")])
        )
        assert lines == ["cache  entries", "users        1", "a        1,000"]

    @given(ROWS)
    def test_cells_begin_in_the_same_column(self, rows: list[list[str]]) -> None:
        """Whatever the texts are, each cell stands where the cells above it stand."""
        names = columns(len(rows[0]))
        lines = list(tables.table(names, rows))
        shown = [[tables.plain(cell) for cell in row] for row in rows]
        widths = [
            max(tables.width(text) for text in (name.heading, *(row[at] for row in shown)))
            for at, name in enumerate(names)
        ]
        cut = starts(lines, widths)
        assert [[_bare(cell) for cell in row] for row in cut[1:]] == [
            [_bare(cell) for cell in row] for row in shown
        ]

    @given(ROWS)
    def test_no_line_ends_with_blanks(self, rows: list[list[str]]) -> None:
        """What is pasted elsewhere has no trailing blanks."""
        lines = list(tables.table(columns(len(rows[0])), rows))
        assert lines == [line.rstrip() for line in lines]

    @given(ROWS)
    def test_nothing_is_left_that_a_terminal_obeys(self, rows: list[list[str]]) -> None:
        """Keys come from users: escape sequences and line ends in them are spelt out."""
        lines = list(tables.table(columns(len(rows[0])), rows))
        assert len(lines) == len(rows) + 1
        assert all(line.isprintable() for line in lines)

    @given(ROWS, st.integers(40, 120))
    def test_a_narrow_screen_is_not_passed(self, rows: list[list[str]], screen: int) -> None:
        """Flexible columns give way until the table fits, as long as they have something to give."""
        style = Style(columns=screen)
        lines = list(tables.table(columns(len(rows[0]), flexible=True), rows, style))
        assert max(tables.width(line) for line in lines) <= screen

    def test_a_long_name_keeps_both_ends(self) -> None:
        """Names of one module differ at their ends, so the middle is what goes."""
        name = "project.catalogue.models.Item.doubled_and_trebled"
        lines = list(
            tables.table(
                [Column("cache", flexible=True), Column("entries", right=True)],
                [(name, "12")],
                Style(columns=30),
            )
        )
        assert lines[1].startswith("project.ca")
        assert "\u2026" in lines[1]
        assert lines[1].endswith("_trebled       12")

    def test_off_a_terminal_nothing_is_cut(self) -> None:
        """A file has no width: whole names are there to be searched for."""
        assert "x" * 500 in list(tables.table([Column("cache", flexible=True)], [("x" * 500,)]))

    def test_wide_and_combining_characters_are_counted_as_they_show(self) -> None:
        """A character of two columns takes two, an accent of its own none."""
        assert [tables.width(text) for text in ("ab", "\u65e5\u672c", "e\u0301", "\uff21")] == [2, 4, 1, 2]

    @given(TEXTS.map(tables.plain), st.integers(0, 40))
    def test_a_shortened_text_fits(self, text: str, wide: int) -> None:
        """It takes at most as many columns as it may, and is left alone where it fits."""
        short = tables.shortened(text, wide)
        assert tables.width(short) <= wide
        assert short == text or tables.width(text) > wide


def _bare(text: str) -> str:
    """Leave out blanks around it, and marks that take no column: where these belong cannot be told by columns."""
    return "".join(char for char in text if tables.width(char)).strip()


class TestStyle:
    def test_a_terminal_has_colour(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a terminal words are painted, and tables know how wide it is."""
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "72")
        style = Style.of(Stream(terminal=True))
        assert style.paint("bad", "bad") == "\x1b[31mbad\x1b[0m"
        assert style.columns == 72

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_a_terminal_without_colour(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        """NO_COLOR and a dumb terminal are heeded; the width still counts."""
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv(name, value)
        style = Style.of(Stream(terminal=True))
        assert (style.paint("bad", "bad"), style.columns is not None) == ("bad", True)

    @pytest.mark.parametrize("stream", [Stream(terminal=False), object()], ids=["file", "stand-in"])
    def test_a_file_is_plain(self, stream: Any) -> None:
        """Off a terminal there is neither colour nor width, whatever the stream can say of itself."""
        assert Style.of(stream) is PLAIN

    def test_a_closed_stream_is_plain(self) -> None:
        """A closed file raises when it is asked; nobody looks at it."""
        stream = io.StringIO()
        stream.close()
        assert Style.of(stream) is PLAIN

    def test_an_empty_text_stays_empty(self) -> None:
        """There is nothing to be painted in it."""
        assert Style(colour=True).paint("", "bad") == ""


class TestFigures:
    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (None, "-"),
            (float("inf"), "for ever"),
            (0, "0.00 s"),
            (5e-10, "0 ns"),
            (93e-9, "93 ns"),
            (12e-6, "12 us"),
            (0.0345, "34.5 ms"),
            (1.5, "1.50 s"),
            (119, "119.00 s"),
            (120, "2.0 min"),
            (7199, "120.0 min"),
            (7200, "2.0 h"),
            (86_400 * 3, "3.0 d"),
        ],
    )
    def test_spans(self, seconds: float | None, shown: str) -> None:
        """A span is in the unit that suits it."""
        assert tables.duration(seconds) == shown

    @pytest.mark.parametrize(
        ("number", "shown"),
        [
            (None, "-"),
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (5 * 2**20, "5.0 MiB"),
            (2**60, "1048576.0 TiB"),
        ],
    )
    def test_sizes(self, number: int | None, shown: str) -> None:
        """Bytes are in the unit that suits them."""
        assert tables.size(number) == shown

    def test_counts(self) -> None:
        """Whole numbers have commas, and what is not known a dash."""
        assert [tables.count(number) for number in (None, 0, 1234567)] == ["-", "0", "1,234,567"]

    @given(st.floats(-10, 200))
    def test_a_bar_has_thirty_characters(self, percent: float) -> None:
        """Whatever the share, the bar is as long as document 003 has it."""
        assert len(tables.bar(percent)) == 30

    @pytest.mark.parametrize(("percent", "filled"), [(0, 0), (50, 15), (99.9, 29), (100, 30)])
    def test_a_bar_is_full_at_a_hundred(self, percent: float, filled: int) -> None:
        """Only what is full looks full."""
        assert tables.bar(percent).count("\u2588") == filled
