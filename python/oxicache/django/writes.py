"""Which tables an SQL statement writes, and which of their rows, as far as its text and parameters tell.

No parser of SQL: it finds the verbs that write, the table named behind each, and of the common forms which values a
column was compared with or given. In doubt more is written than was. What a statement sets off (triggers, functions,
procedures, rules, cascades of the database) is not in its text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from oxicache.django.sqltokens import (
    Token,
    bare,
    bracketed,
    name_at,
    names_after,
    names_listed,
    outside,
    parts,
    place_of,
    split,
    tokens_of,
)

__all__ = ["Statement", "Write", "last_name", "parsed", "values_of"]

MAX_CHARS: Final = 1_000_000  # of a text that is looked at: some 100 ms
CACHED_CHARS: Final = 4_096  # the longest text whose answer is kept
CACHED_TEXTS: Final = 1_000

# The first words of statements that may change rows. All others change none, or the schema.
_VERBS = frozenset(
    {
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "REPLACE",
        "TRUNCATE",
        "COPY",
        "LOAD",
        "REFRESH",
        "WITH",
        "EXPLAIN",
    }
    | {"BEGIN", "DECLARE"}  # of a block
)
_UNTOLD = frozenset({"CALL", "EXEC", "EXECUTE", "DO"})  # which change what they do not name
_COUNTED = frozenset({"INSERT", "UPDATE", "DELETE"})
# Before UPDATE, DELETE and INSERT these make them part of another clause: FOR UPDATE, ON CONFLICT DO UPDATE,
# ON DUPLICATE KEY UPDATE, WHEN MATCHED THEN DELETE.
_CLAUSES = frozenset({"FOR", "KEY", "DO", "THEN", "ON"})
_FILLERS = frozenset(
    {"INTO", "ONLY", "TABLE", "CONCURRENTLY"}
    | {"LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"}
)
_ALTERNATIVES = frozenset(
    {"ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"}
)  # of SQLite's INSERT OR and UPDATE OR
_ENDS_OF_WHERE = frozenset({"RETURNING", "ORDER", "LIMIT", "GROUP", "OFFSET", "WINDOW", "OPTION"})


@dataclass(frozen=True, slots=True)
class _Slot:
    """The value of a parameter: its place or its name. `is_list`: it holds one value a row."""

    key: int | str
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """One table that a statement writes."""

    table: str  # without its schema, in lower case
    adds: bool = False  # only rows that were not there before
    removes: bool = False  # rows, and changes none
    # By column, values of which each of its rows has one.
    known: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sets: frozenset[str] = frozenset()  # columns that get another value


@dataclass(frozen=True, slots=True)
class Statement:
    """What a text writes."""

    writes: tuple[Write, ...] = ()
    untold: str = ""  # the word that says that it writes what cannot be told; empty if there is none
    is_counted: bool = False  # whether a cursor's `rowcount` of 0 means that nothing was written


def parsed(sql: str, vendor: str) -> Statement:
    """Return what a text writes; `vendor` is the connection's. O(length)."""
    if len(sql) > MAX_CHARS:
        return Statement(untold=f"a statement of more than {MAX_CHARS:,} characters")
    return (_kept if len(sql) <= CACHED_CHARS else _parsed)(sql, vendor)


def last_name(quoted: str, vendor: str) -> str | None:
    """Return the name of a table as a statement has it, without its schema, in lower case."""
    found = name_at(tokens_of(quoted, vendor), 0)
    return None if found is None else found[0]


def values_of(found: Sequence[Any], params: Any) -> list[Any] | None:
    """Return the values that `Write.known` stands for, given a statement's parameters; None if these do not tell."""
    values: list[Any] = []
    for one in found:
        if not isinstance(one, _Slot):
            values.append(one)
            continue
        try:
            value = params[one.key]
        except (LookupError, TypeError):
            return None
        if one.is_list and not isinstance(value, list | tuple):
            return None
        values.extend(value if one.is_list else [value])
    return values


def _parsed(sql: str, vendor: str) -> Statement:
    statements = [_statement(tokens) for tokens in split(tokens_of(sql, vendor)) if tokens]
    return Statement(
        tuple(write for one in statements for write in one.writes),
        next((one.untold for one in statements if one.untold), ""),
        len(statements) == 1 and statements[0].is_counted,
    )


_kept = lru_cache(maxsize=CACHED_TEXTS)(_parsed)


# ---------------------------------------------------------------- one statement


def _statement(tokens: list[Token]) -> Statement:
    start = next((at for at, token in enumerate(tokens) if token.text != "("), len(tokens))
    first = tokens[start].upper if start < len(tokens) else ""
    if first in _UNTOLD:
        return Statement(untold=first)
    if first not in _VERBS:
        return Statement()
    writes: list[Write] = []
    is_untold = False
    for at in range(start, len(tokens)):
        found = _writes_at(tokens, at, is_first=at == start)
        if found is None:
            is_untold = True
        else:
            writes += found
    words = {token.upper for token in tokens}
    if first == "TRUNCATE" and "CASCADE" in words:
        return Statement(tuple(writes), "TRUNCATE CASCADE")
    is_counted = first in _COUNTED and len(writes) == 1 and "RETURNING" not in words
    return Statement(tuple(writes), first if is_untold else "", is_counted)


def _writes_at(tokens: list[Token], at: int, *, is_first: bool) -> list[Write] | None:
    """Return what the verb at this place writes; None if it is one and names no table that could be told."""
    verb = tokens[at].upper
    if not is_first and not _is_verb(tokens, at):
        return []
    if verb in {"INSERT", "REPLACE"}:
        found = _inserted(tokens, at)
    elif verb == "UPDATE":
        found = _updated(tokens, at)
    elif verb == "DELETE":
        found = _deleted(tokens, at)
    elif verb in {"MERGE", "TRUNCATE", "COPY", "LOAD", "REFRESH"}:
        found = _OTHER_VERBS[verb](tokens, at)
    else:  # WITH and the like: what they write stands further on
        return []
    if found is None and not is_first:
        return []  # a function or a column of that name
    return found


def _is_verb(tokens: list[Token], at: int) -> bool:
    verb = tokens[at].upper
    if verb == "REPLACE":  # a function, more often
        return at + 1 < len(tokens) and tokens[at + 1].upper == "INTO"
    return verb in {"INSERT", "UPDATE", "DELETE", "MERGE"} and tokens[at - 1].upper not in _CLAUSES


def _target(tokens: list[Token], at: int) -> tuple[str, int, frozenset[str]] | None:
    """Return the table behind a verb, where its name ends, and the words between."""
    words = set()
    at += 1
    while at < len(tokens) and tokens[at].upper in _FILLERS | {"OR"}:
        words.add(tokens[at].upper)
        at += 1
        if "OR" in words and at < len(tokens) and tokens[at].upper in _ALTERNATIVES:
            words.add(tokens[at].upper)
            at += 1
    found = name_at(tokens, at)
    return None if found is None else (*found, frozenset(words))


def _inserted(tokens: list[Token], at: int) -> list[Write] | None:
    found = _target(tokens, at)
    if found is None:
        return None
    table, end, words = found
    if table in {"all", "first"} and tokens[end - 1].kind == "word":
        return None  # Oracle's INSERT ALL, into several tables
    rest = [token.upper for _, token in outside(tokens[end:])]
    changes = {("DO", "UPDATE"), ("KEY", "UPDATE")} & set(pairwise(rest))  # ON CONFLICT, ON DUPLICATE KEY
    if changes or tokens[at].upper == "REPLACE" or "REPLACE" in words:
        return [Write(table)]
    return [Write(table, adds=True, known=_given(tokens, end))]


def _given(tokens: list[Token], at: int) -> dict[str, list[Any]]:
    """Return the values of each column of an INSERT whose rows are parameters only."""
    if at >= len(tokens) or tokens[at].text != "(":
        return {}
    inner, at = bracketed(tokens, at)
    columns = [bare(part[0]) for part in parts(inner, ",") if len(part) == 1]
    if at < len(tokens) and tokens[at].upper == "VALUES":
        return _given_rows(tokens, at + 1, columns)
    texts = [token.upper or token.text for token in tokens[at : at + 5]]
    if texts == ["SELECT", "*", "FROM", "UNNEST", "("]:
        lists = [part[0] for part in parts(bracketed(tokens, at + 4)[0], ",") if part]
        if len(lists) == len(columns) and all(one.count == 1 for one in lists):
            return {
                column: [_Slot(one.first, is_list=True)] for column, one in zip(columns, lists, strict=True)
            }
    return {}


def _given_rows(tokens: list[Token], at: int, columns: list[str]) -> dict[str, list[Any]]:
    known: dict[str, list[Any]] = {column: [] for column in columns}
    while at < len(tokens):
        row = tokens[at]
        if row.kind != "slots" or row.count != len(columns):
            return {}
        for place, column in enumerate(columns, row.first):
            known[column].append(_Slot(place))
        if at + 1 >= len(tokens) or tokens[at + 1].text != ",":
            return known
        at += 2
    return {}


def _updated(tokens: list[Token], at: int) -> list[Write] | None:
    found = _target(tokens, at)
    if found is None or found[0] == "set":
        return None
    table, end, words = found
    rest = tokens[end:]
    to_set = place_of(rest, {"SET"})
    if to_set is None:
        return None
    head = [token for token in rest[:to_set] if token.text != "*"]
    others = [name for name in names_after(head, {"JOIN"}, ",") if name != table]
    if others or "OR" in words:  # rows of all tables, or others of this one
        return [Write(one) for one in (table, *others)]
    body = rest[to_set + 1 :]
    stop = place_of(body, {"WHERE", "FROM", *_ENDS_OF_WHERE})
    sets = _assigned(body[:stop])
    names = {table, *(bare(token) for token in head[-1:])}
    known = {} if sets is None else _compared(body, names)
    return [Write(table, known=known, sets=sets or frozenset())]


def _assigned(tokens: list[Token]) -> frozenset[str] | None:
    found = set()
    for part in parts(tokens, ","):
        name = name_at(part, 0)
        if name is None or name[1] >= len(part) or part[name[1]].text != "=":
            return None  # several columns at once, in brackets
        found.add(name[0])
    return frozenset(found)


def _deleted(tokens: list[Token], at: int) -> list[Write] | None:
    end = at + 1
    while end < len(tokens) and tokens[end].upper in _FILLERS:
        end += 1
    if end < len(tokens) and tokens[end].upper == "FROM":
        found = _target(tokens, end)
        if found is None:
            return None
        table, end, _ = found
        others = names_listed(tokens, end)
        if others:
            return [Write(table), *map(Write, others)]
        known = _compared(tokens[end:], {table, _alias(tokens, end) or table})
        return [Write(table, removes=True, known=known)]
    stop = place_of(tokens[end:], {"WHERE", *_ENDS_OF_WHERE})
    named = tokens[end:][:stop]
    tables = [*names_after(named, {"FROM", "JOIN", "USING"}, ",")]
    first = name_at(named, 0)
    if not tables and first is None:
        return None
    return [Write(one) for one in dict.fromkeys([*tables, *([] if first is None else [first[0]])])]


def _alias(tokens: list[Token], at: int) -> str | None:
    if at < len(tokens) and tokens[at].upper == "AS":
        at += 1
    elif at < len(tokens) and tokens[at].upper in {"WHERE", "USING", *_ENDS_OF_WHERE}:
        return None
    found = name_at(tokens, at)
    return None if found is None else found[0]


def _only(tokens: list[Token], at: int) -> list[Write] | None:
    found = _target(tokens, at)
    return None if found is None else [Write(found[0])]


def _truncated(tokens: list[Token], at: int) -> list[Write] | None:
    found = _target(tokens, at)
    if found is None:
        return None
    return [Write(one) for one in (found[0], *names_listed(tokens, found[1]))]


def _copied(tokens: list[Token], at: int) -> list[Write] | None:
    found = name_at(tokens, at + 1)
    if found is None:
        return []  # of a query
    table, end = found
    if end < len(tokens) and tokens[end].text == "(":
        end = bracketed(tokens, end)[1]
    is_read = end < len(tokens) and tokens[end].upper == "TO"
    return [] if is_read else [Write(table, adds=True)]


def _loaded(tokens: list[Token], at: int) -> list[Write] | None:
    place = place_of(tokens[at:], {"INTO"})
    return None if place is None else _only(tokens, at + place)


def _refreshed(tokens: list[Token], at: int) -> list[Write] | None:
    return _only(tokens, at + 2)  # REFRESH MATERIALIZED VIEW


_OTHER_VERBS = {
    "MERGE": _only,
    "TRUNCATE": _truncated,
    "COPY": _copied,
    "LOAD": _loaded,
    "REFRESH": _refreshed,
}


# ---------------------------------------------------------------- parts of a statement


def _compared(tokens: list[Token], tables: set[str]) -> dict[str, list[Any]]:
    """Return what the WHERE behind here compares columns of a table with, as far as every row must equal it."""
    start = place_of(tokens, {"WHERE"})
    if start is None:
        return {}
    body, _ = bracketed([Token("sign", "("), *tokens[start + 1 :]], 0)
    return _conjunction(body[: place_of(body, set(_ENDS_OF_WHERE))], tables)


def _conjunction(tokens: list[Token], tables: set[str]) -> dict[str, list[Any]]:
    if tokens and tokens[0].text == "(":
        inner, end = bracketed(tokens, 0)
        if end == len(tokens):
            return _conjunction(inner, tables)
    words = {token.upper for _, token in outside(tokens)}
    if words & {"OR", "XOR", "BETWEEN", "CASE"}:
        return {}
    known: dict[str, list[Any]] = {}
    for part in parts(tokens, "AND"):
        if part != tokens and part and part[0].text == "(":
            known.update(_conjunction(part, tables))
        elif (found := _comparison(part, tables)) is not None:
            known[found[0]] = found[1]
    return known


def _comparison(part: list[Token], tables: set[str]) -> tuple[str, list[Any]] | None:
    match [token.text for token in part]:
        case [table, ".", _, _, _] if bare(part[0]) in tables and table:
            part = part[2:]
        case [_, _, _]:
            pass
        case _:
            return None
    column, sign, value = part
    is_equal = sign.text == "=" and value.count <= 1
    if column.kind not in {"word", "quoted"} or not (is_equal or (sign.upper == "IN" and value.count)):
        return None
    found: dict[str, list[Any]] = {
        "slots": [_Slot(value.first + place) for place in range(value.count)],
        "named": [_Slot(value.text[2:-2])],
        "number": [int(value.text)] if value.text.isdecimal() else [],
    }
    values = found.get(value.kind)
    return (bare(column), values) if values else None
