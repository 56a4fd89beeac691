"""Whether an SQL statement may change rows, as far as its words tell. In doubt it does: then too little is cached.

What a function called by a SELECT does cannot be told, so `SELECT refresh_totals()` counts as reading.
"""

import re
from typing import Any, Literal

__all__ = ["ending_of", "may_write", "rolls_back_to", "text_of"]

# White space, comments and the brackets around a compound SELECT may stand before the first word.
_LEADING = r"(?:\s+|--[^\n]*\n|/\*.*?\*/|\()*"
_READING = re.compile(
    _LEADING + r"(?:SELECT|VALUES|TABLE|SHOW|DESC|DESCRIBE|USE|SET|RESET|DECLARE|FETCH|MOVE|CLOSE"
    r"|LISTEN|UNLISTEN|NOTIFY|LOCK|BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE"
    r"|PRAGMA(?![^;]*=)|(?P<asks>WITH|EXPLAIN))\b",
    re.IGNORECASE | re.DOTALL,
)
_WRITING_WORD = re.compile(
    r"(?<!FOR )(?<!FOR NO KEY )\b(?:INSERT|UPDATE|DELETE|MERGE|REPLACE|CREATE|CALL|EXECUTE)\b", re.IGNORECASE
)
_ANALYZE = re.compile(r"\bANALYZE\b", re.IGNORECASE)
_ENDING = re.compile(
    _LEADING
    + r"(?:(?P<commit>COMMIT|END)|ROLLBACK|ABORT)\b(?!\s+(?:(?:WORK\s+|TRANSACTION\s+)?TO|PREPARED)\b)",
    re.IGNORECASE | re.DOTALL,
)
_BACK_TO = re.compile(_LEADING + r"ROLLBACK\s+(?:WORK\s+|TRANSACTION\s+)?TO\b", re.IGNORECASE | re.DOTALL)


def may_write(sql: object) -> bool:
    """Whether a statement may change rows. What is neither str nor bytes, as psycopg's own objects, may."""
    text = _text(sql)
    if text is None:
        return True
    reading = _READING.match(text)
    if reading is None or ";" in text.rstrip().rstrip(";"):  # a second statement is not looked at
        return True
    asks = reading["asks"]
    if asks is None:
        return False
    if asks.upper() == "EXPLAIN" and not _ANALYZE.search(text):
        return False
    return _WRITING_WORD.search(text) is not None


def ending_of(sql: object) -> Literal["COMMIT", "ROLLBACK"] | None:
    """How a statement ends the whole transaction, if it does."""
    text = _text(sql)
    ending = None if text is None else _ENDING.match(text)
    if ending is None:
        return None
    return "COMMIT" if ending["commit"] else "ROLLBACK"


def rolls_back_to(sql: object) -> str | None:
    """Return the text of a ROLLBACK TO SAVEPOINT, in which the savepoint's name is found; None for all others."""
    text = _text(sql)
    return text if text is not None and _BACK_TO.match(text) else None


def text_of(sql: Any, connection: Any) -> str | None:
    """Return a statement as text, psycopg's own objects too; None where nobody can tell it."""
    if not isinstance(sql, str | bytes) and hasattr(sql, "as_string"):
        return _text(sql.as_string(connection.connection))
    return _text(sql)


def _text(sql: object) -> str | None:
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    return sql if isinstance(sql, str) else None
