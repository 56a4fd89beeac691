"""What an SQL text writes: a table of statements, and statements that no database would take."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import MODEL

from oxicache.django.writes import MAX_CHARS, last_name, parsed, values_of

# Vendor and text; by table what of its rows is known, given PARAMS, where "new" stands for rows that were not there.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Django's update": (
        "sqlite",
        'UPDATE "shop_item" SET "price" = %s WHERE "shop_item"."id" = %s',
        {"shop_item": {"id": [1]}},
    ),
    "several keys": ("sqlite", 'UPDATE "t" SET "a" = %s WHERE "t"."id" IN (%s, %s)', {"t": {"id": [1, 2]}}),
    "brackets and AND": (
        "sqlite",
        "DELETE FROM t WHERE ((t.id = %s AND a > 3) AND (b = 7))",
        {"t": {"id": [0], "b": [7]}},
    ),
    "a literal": ("sqlite", "UPDATE t SET a = 1 WHERE id=12", {"t": {"id": [12]}}),
    "parameters with names": ("sqlite", "UPDATE t SET a = 1 WHERE id = %(key)s", {"t": {"id": [40]}}),
    "parameters in comments and texts": (
        "sqlite",
        "/* %s */ UPDATE t SET a = '%s%%s', b = %s WHERE id = %s -- %s",
        {"t": {"id": [3]}},
    ),
    "OR": ("sqlite", "UPDATE t SET a = 1 WHERE id = 1 OR b = 2", {"t": {}}),
    "OR in brackets": ("sqlite", "UPDATE t SET a = 1 WHERE id = 1 AND (b = 1 OR c = 2)", {"t": {"id": [1]}}),
    "NOT": ("sqlite", "UPDATE t SET a = 1 WHERE NOT id = 1", {"t": {}}),
    "NOT IN": ("sqlite", "UPDATE t SET a = 1 WHERE id NOT IN (1)", {"t": {}}),
    "a comparison of a comparison": ("sqlite", "UPDATE t SET a = 1 WHERE (id = 1) = false", {"t": {}}),
    "an expression": ("sqlite", "UPDATE t SET a = 1 WHERE id = 1 + %s", {"t": {}}),
    "BETWEEN": ("sqlite", "UPDATE t SET a = 1 WHERE a BETWEEN 0 AND id = 1", {"t": {}}),
    "CASE": ("sqlite", "UPDATE t SET a = 1 WHERE CASE WHEN a AND id = 1 AND b THEN 0 ELSE 1 END", {"t": {}}),
    "a subquery": ("sqlite", "DELETE FROM t WHERE id IN (SELECT id FROM u WHERE u.id = 1)", {"t": {}}),
    "no WHERE": ("sqlite", "DELETE FROM t", {"t": {}}),
    "RETURNING": ("sqlite", "UPDATE t SET a = 1 WHERE id = 5 RETURNING id", {"t": {"id": [5]}}),
    "another table's column": (
        "postgresql",
        "DELETE FROM t USING u WHERE u.id = 5 AND t.k = 3",
        {"t": {"k": [3]}},
    ),
    "an alias": ("postgresql", "UPDATE ONLY t AS x SET a = u.a FROM u WHERE x.id = 5", {"t": {"id": [5]}}),
    "several columns at once": ("postgresql", "UPDATE t SET (id, b) = (1, 2) WHERE id = 3", {"t": {}}),
    "a schema and quotes": ("postgresql", 'DELETE FROM "My"."T""x" WHERE id = 1', {'t"x': {"id": [1]}}),
    "an insert": (
        "sqlite",
        "INSERT INTO t (a, b) VALUES (%s, %s), (%s, %s)",
        {"t": ("new", {"a": [0, 2], "b": [1, 3]})},
    ),
    "an insert of expressions": ("sqlite", "INSERT INTO t (a, b) VALUES (%s, now())", {"t": ("new", {})}),
    "an insert from a query": ("sqlite", "INSERT INTO t SELECT * FROM u", {"t": ("new", {})}),
    "an insert of lists": (
        "postgresql",
        'INSERT INTO "t" ("a", "b") SELECT * FROM UNNEST((%s)::bigint[], (%s)::varchar[]) RETURNING "t"."id"',
        {"t": ("new", {"a": [0], "b": [1]})},
    ),
    "an insert or nothing": ("sqlite", "INSERT OR IGNORE INTO t VALUES (1)", {"t": ("new", {})}),
    "an insert or nothing, PostgreSQL": (
        "postgresql",
        "INSERT INTO t (nothing) VALUES (%s) ON CONFLICT (nothing) DO NOTHING",
        {"t": ("new", {"nothing": [0]})},
    ),
    "an upsert": (
        "postgresql",
        "INSERT INTO t (id) VALUES (%s) ON CONFLICT (a) DO UPDATE SET nothing = 1",
        {"t": {}},
    ),
    "an upsert, MySQL": ("mysql", "INSERT INTO t (id) VALUES (%s) ON DUPLICATE KEY UPDATE a = 1", {"t": {}}),
    "an upsert, SQLite": ("sqlite", "INSERT OR REPLACE INTO t (id) VALUES (%s)", {"t": {}}),
    "an update that replaces others": ("sqlite", "UPDATE OR REPLACE t SET a = 1 WHERE id = 3", {"t": {}}),
    "replace": ("mysql", "REPLACE INTO `t` VALUES (1, 'it\\'s; DELETE FROM q')", {"t": {}}),
    "replace behind WITH": ("sqlite", "WITH x AS (SELECT 1) REPLACE INTO t SELECT * FROM x", {"t": {}}),
    "tables of an update, MySQL": (
        "mysql",
        "UPDATE a JOIN b ON a.id = b.id SET a.x = 1 WHERE a.id = 3",
        {"a": {}, "b": {}},
    ),
    "tables of a deletion, MySQL": (
        "mysql",
        "DELETE x, y FROM a AS x JOIN `b` y ON x.id = y.id WHERE x.id = 3",
        {"a": {}, "b": {}, "x": {}, "y": {}},
    ),
    "a comment, MySQL": ("mysql", "# DELETE FROM q\nDELETE FROM t WHERE id = 1", {"t": {"id": [1]}}),
    "WITH that writes": (
        "postgresql",
        """WITH a AS (INSERT INTO s.q (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET y = 1 RETURNING *),
        b AS (DELETE FROM ONLY t WHERE id = %s), c AS (INSERT INTO r VALUES (1) ON CONFLICT DO NOTHING)
        SELECT * FROM a FOR UPDATE""",
        {"q": {}, "t": {"id": [0]}, "r": ("new", {})},
    ),
    "merge": (
        "postgresql",
        """MERGE INTO t USING s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)""",
        {"t": {}},
    ),
    "truncate": ("postgresql", "TRUNCATE TABLE a, ONLY b, s.c RESTART IDENTITY", {"a": {}, "b": {}, "c": {}}),
    "copy in": ("postgresql", "COPY t (a, b) FROM '/there'", {"t": ("new", {})}),
    "copy out": ("postgresql", "COPY t (a, b) TO '/there'", {}),
    "copy of a query": ("postgresql", "COPY (SELECT 1) TO '/there'", {}),
    "load": ("mysql", "LOAD DATA INFILE '/there' REPLACE INTO TABLE t", {"t": {}}),
    "a materialized view": ("postgresql", "REFRESH MATERIALIZED VIEW CONCURRENTLY v", {"v": {}}),
    "explain that runs": ("postgresql", "EXPLAIN ANALYZE DELETE FROM t WHERE id = 1", {"t": {"id": [1]}}),
    "a second statement": (
        "sqlite",
        "SELECT 1; UPDATE t SET a = replace(b, 'x', 'y') WHERE id = 3;",
        {"t": {"id": [3]}},
    ),
    "a text that looks like one": (
        "postgresql",
        "UPDATE t SET a = $x$; DELETE FROM u $$ $x$ WHERE id = 1",
        {"t": {"id": [1]}},
    ),
    "an escape": ("postgresql", "UPDATE t SET a = E'\\'; DELETE FROM u; ' WHERE id = 1", {"t": {"id": [1]}}),
    "a lock": ("postgresql", "SELECT * FROM t FOR UPDATE", {}),
    "a trigger": ("sqlite", "CREATE TRIGGER x AFTER INSERT ON t BEGIN UPDATE q SET a = 1; END", {}),
    "a table": (
        "postgresql",
        "CREATE TABLE t (id integer REFERENCES u ON DELETE CASCADE ON UPDATE CASCADE)",
        {},
    ),
    "nothing": ("sqlite", "", {}),
    "brackets": ("sqlite", "(((", {}),
}
PARAMS = (0, 1, 2, 3, 4)


@pytest.mark.parametrize("case", CASES)
def test_what_is_written(case: str) -> None:
    """The tables, whether their rows are new, and which values their columns are known to have."""
    vendor, sql, expected = CASES[case]
    statement = parsed(sql, vendor)
    assert statement.untold == ""
    found: dict[str, Any] = {}
    for write in statement.writes:
        params: Any = (
            {"key": 40} if "%(" in sql else [[number] if "UNNEST" in sql else number for number in PARAMS]
        )
        known = {column: values_of(values, params) for column, values in write.known.items()}
        found[write.table] = ("new", known) if write.adds else known
    assert found == expected


@pytest.mark.parametrize(
    ("vendor", "sql", "untold"),
    [
        ("postgresql", "CALL refresh(1)", "CALL"),
        ("postgresql", "DO $$ BEGIN UPDATE t; END $$", "DO"),
        ("postgresql", "EXECUTE prepared (1)", "EXECUTE"),
        ("postgresql", "TRUNCATE a CASCADE", "TRUNCATE CASCADE"),
        ("oracle", "INSERT ALL INTO a VALUES (1) INTO b VALUES (1) SELECT * FROM dual", "INSERT"),
        ("sqlite", "DELETE FROM", "DELETE"),
        ("sqlite", "UPDATE", "UPDATE"),
        ("sqlite", "SELECT 1" + " " * MAX_CHARS, "a statement of more than 1,000,000 characters"),
    ],
)
def test_what_cannot_be_told(vendor: str, sql: str, untold: str) -> None:
    """It says so rather than that nothing is written."""
    assert parsed(sql, vendor).untold == untold


def test_columns_that_are_set() -> None:
    """Of an update, so that nobody takes a changed key for the row's."""
    (write,) = parsed("UPDATE t x SET a = f(b, c), x.id = %s WHERE id = 3", "mysql").writes
    assert write.sets == {"a", "id"}


@pytest.mark.parametrize(
    ("sql", "is_counted"),
    [
        ("UPDATE t SET a = 1", True),
        ("DELETE FROM t RETURNING id", False),
        ("WITH x AS (DELETE FROM t RETURNING id) SELECT 1", False),
        ("DELETE FROM t; DELETE FROM u", False),
        ("TRUNCATE t", False),
    ],
)
def test_whether_a_count_of_rows_is_one_of_rows_written(sql: str, is_counted: bool) -> None:
    """Only of one plain statement: SQLite counts none of RETURNING before they are read."""
    assert parsed(sql, "sqlite").is_counted is is_counted


@pytest.mark.parametrize(
    ("vendor", "quoted", "name"),
    [
        ("sqlite", '"shop_item"', "shop_item"),
        ("postgresql", '"sales"."Item"', "item"),
        ("mysql", "`a.b`", "a.b"),
        ("oracle", '"SHOP_ITEM"', "shop_item"),
        ("sqlite", "", None),
    ],
)
def test_the_name_of_a_table(vendor: str, quoted: str, name: str | None) -> None:
    """As Django quotes it, its schema left out."""
    assert last_name(quoted, vendor) == name


def test_parameters_that_do_not_tell() -> None:
    """Missing ones, none at all, and no list where one is needed."""
    (write,) = parsed("UPDATE t SET a = %s WHERE id = %s", "sqlite").writes
    assert [values_of(write.known["id"], params) for params in ((1,), None, (1, 2))] == [None, None, [2]]
    (write,) = parsed("INSERT INTO t (a) SELECT * FROM UNNEST((%s)::int[])", "postgresql").writes
    assert [values_of(write.known["a"], [given]) for given in (5, [5, 6])] == [None, [5, 6]]


WORDS = [
    "INSERT",
    "INTO",
    "UPDATE",
    "DELETE",
    "FROM",
    "SET",
    "WHERE",
    "AND",
    "OR",
    "IN",
    "VALUES",
    "WITH",
    "AS",
]
SIGNS = [
    "(",
    ")",
    ",",
    ".",
    ";",
    "=",
    "'",
    '"',
    "$$",
    "/*",
    "*/",
    "--",
    "\n",
    "[",
    "]",
    "`",
    "%s",
    "(%s)",
    "t",
    "id",
    "1",
    "E'",
    "\\",
]


@settings(MODEL)
@given(
    parts=st.lists(st.sampled_from([*WORDS, *SIGNS]), max_size=30),
    vendor=st.sampled_from(["postgresql", "mysql", "sqlite", "oracle"]),
)
def test_no_text_is_too_odd(parts: list[str], vendor: str) -> None:
    """Whatever it is, there is an answer, and what is known of a table is one of its values."""
    for write in parsed(" ".join(parts), vendor).writes:
        assert write.table == write.table.lower()
        assert all(values for values in write.known.values())
