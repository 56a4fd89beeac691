"""The words of an SQL statement, and what belongs together among them. What they mean: writes.py.

As each kind of database has texts, quoted names and comments. Parameters are counted as its driver counts them.
"""

import functools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

__all__ = [
    "Token",
    "bare",
    "bracketed",
    "name_at",
    "names_after",
    "names_listed",
    "outside",
    "parts",
    "place_of",
    "split",
    "tokens_of",
]

_FORMS = r"""
    (?P<skip>\s+|--[^\n]*|/\*.*?(?:\*/|\Z){comment})
    |(?P<text>[eE]'(?:\\.|''|[^'\\])*'|{text}|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>{quoted})
    |(?P<slots>\(\s*%[sbt](?:\s*,\s*%[sbt])*\s*\)|%[sbt])
    |(?P<named>%\(\w+\)s)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign>::|.)
"""
_QUOTED = r'"(?:""|[^"])*"|`(?:``|[^`])*`'
_TEXT = r"'(?:''|[^'])*'"
_BRACKETS = r"|\[[^\]]*\]"  # not where they make an array
_ESCAPED = r"""'(?:\\.|''|[^'\\])*'|"(?:\\.|""|[^"\\])*\""""


# Texts, quoted names and comments of each kind of database.
_OWN = {
    "postgresql": (_TEXT, _QUOTED, ""),
    "mysql": (_ESCAPED, r"`(?:``|[^`])*`", r"|\#[^\n]*"),
}
_OTHERS = (_TEXT, _QUOTED + _BRACKETS, "")


@functools.cache
def _pattern(vendor: str) -> re.Pattern[str]:
    # At the first statement: a process that loads Django's apps may never need one of them.
    text, quoted, comment = _OWN.get(vendor, _OTHERS)
    return re.compile(_FORMS.format(text=text, quoted=quoted, comment=comment), re.VERBOSE | re.DOTALL)


_SLOT = re.compile(r"%%|%[sbt]")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a name, a text, a number, a sign, or the place of parameters."""

    kind: str
    text: str
    first: int = 0  # of slots, one or several in brackets: how many parameters stand before
    count: int = 0  # and how many these are

    @property
    def upper(self) -> str:
        """A word in upper case; empty for anything else."""
        return self.text.upper() if self.kind == "word" else ""


def tokens_of(sql: str, vendor: str) -> list[Token]:
    """Return all but white space and comments; `vendor` is the connection's."""
    tokens: list[Token] = []
    place = 0
    for match in _pattern(vendor).finditer(sql):
        kind, text = match.lastgroup or "sign", match.group()
        # In comments and texts too: the driver counts what it replaces there.
        count = sum(found != "%%" for found in _SLOT.findall(text)) if "%" in text else 0
        if kind != "skip":
            tokens.append(Token(kind, text, place, count if kind == "slots" else 0))
        place += count
    return tokens


def split(tokens: list[Token]) -> Iterator[list[Token]]:
    """Yield the statements of a text, perhaps empty ones."""
    current: list[Token] = []
    for token in tokens:
        if token.kind == "sign" and token.text == ";":
            yield current
            current = []
        else:
            current.append(token)
    yield current


def name_at(tokens: list[Token], at: int) -> tuple[str, int] | None:
    """Return the last part of the name that stands here, in lower case, and where it ends."""
    name = None
    while at < len(tokens) and tokens[at].kind in {"word", "quoted"}:
        name = bare(tokens[at])
        at += 1
        if at >= len(tokens) or tokens[at].text != ".":
            break
        at += 1
    return None if name is None else (name, at)


def bare(token: Token) -> str:
    """Return a name without its quotes, in lower case: how the database compares names is not asked."""
    if token.kind != "quoted":
        return token.text.lower()
    end = token.text[-1]
    return token.text[1:-1].replace(end * 2, end).lower()


def bracketed(tokens: list[Token], at: int) -> tuple[list[Token], int]:
    """Return what stands between this bracket and its counterpart, and where that ends."""
    depth = 0
    for end in range(at, len(tokens)):
        depth += _step(tokens[end])
        if depth == 0:
            return tokens[at + 1 : end], end + 1
    return tokens[at + 1 :], len(tokens)


def _step(token: Token) -> int:
    return {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "sign" else 0


def outside(tokens: list[Token]) -> Iterator[tuple[int, Token]]:
    """Yield what stands in no brackets, until those that the tokens themselves stand in end."""
    depth = 0
    for at, token in enumerate(tokens):
        step = _step(token)
        depth += step
        if depth < 0:
            return
        if depth == 0 and step == 0:
            yield at, token


def place_of(tokens: list[Token], words: Collection[str]) -> int | None:
    """Return where the first of these words stands in no brackets."""
    return next((at for at, token in outside(tokens) if token.upper in words), None)


def parts(tokens: list[Token], separator: str) -> Iterator[list[Token]]:
    """Yield what a sign or a word parts that stands in no brackets."""
    start = 0
    for at, token in outside(tokens):
        if separator in {token.text, token.upper}:
            yield tokens[start:at]
            start = at + 1
    yield tokens[start:]


def names_after(tokens: list[Token], words: Collection[str], sign: str) -> list[str]:
    """Return the names behind these words and signs."""
    found = [
        name_at(tokens, at + 1) for at, token in outside(tokens) if token.upper in words or token.text == sign
    ]
    return [one[0] for one in found if one is not None]


def names_listed(tokens: list[Token], at: int) -> list[str]:
    """Return the further names of a list of tables that goes on here."""
    found = []
    while at < len(tokens) and (tokens[at].text in {",", "*"} or tokens[at].upper == "ONLY"):
        name = None if at + 1 < len(tokens) and tokens[at + 1].upper == "ONLY" else name_at(tokens, at + 1)
        at += 1
        if name is not None:
            found.append(name[0])
            at = name[1]
    return found
