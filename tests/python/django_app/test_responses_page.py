"""docs/views.md and docs/apis.md tell each parameter with its default, and each reason for which nothing is cached."""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oxicache.django.responses import cached_api, cached_view, findings

ROOT = Path(__file__).resolve().parents[3]
VIEWS = (ROOT / "docs" / "views.md").read_text(encoding="utf-8")
APIS = (ROOT / "docs" / "apis.md").read_text(encoding="utf-8")
SOURCES = [path.read_text(encoding="utf-8") for path in Path(inspect.getfile(findings)).parent.rglob("*.py")]

# A text of the code without what it fills in, as the page has dots for that.
_HOLE = re.compile(r"\{[^{}]*\}")


def told(page: str, name: str) -> dict[str, str]:
    """The parameters of a decorator that a page has a row for, and the defaults it says they have."""
    begin, end = f"<!-- parameters of {name}: begin -->", f"<!-- parameters of {name}: end -->"
    table = page.partition(begin)[2].partition(end)[0]
    rows = [[cell.strip().strip("`") for cell in line.split("|")] for line in table.splitlines()[3:] if line]
    return {row[1]: row[2] for row in rows}


def taken(decorator: Callable[..., Any]) -> dict[str, str]:
    """The parameters that a decorator has, and their defaults."""
    parameters = inspect.signature(decorator).parameters.values()
    return {each.name: repr(each.default) for each in parameters if each.kind is not each.VAR_KEYWORD}


@pytest.mark.parametrize(
    ("page", "decorator"), [(VIEWS, cached_view), (APIS, cached_api)], ids=["cached_view", "cached_api"]
)
def test_the_table_of_parameters_is_that_of_the_signature(page: str, decorator: Callable[..., Any]) -> None:
    """Each parameter has its row, in the order of the signature, with its default."""
    assert list(told(page, decorator.__name__).items()) == list(taken(decorator).items())


def test_every_root_of_the_guard_has_a_row() -> None:
    """What a view may look at that its key does not hold is told with what to do."""
    rows = set(re.findall(r"^\| `\.\.\. looks at (.*?), ", VIEWS, re.MULTILINE))
    for begins in (findings.OF_REQUEST, findings.OF_VIEW):
        assert any(row.startswith(begins) for row in rows)
        rows = {row for row in rows if not row.startswith(begins)}
    assert rows == set(findings._REMEDIES) - findings._NOTHING_TO_MEND


def logged(source: str) -> list[str]:
    """The fixed parts of what a file has logged: `view.refuse(reason)`, or `return None, reason`."""
    said: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "refuse":
            said.append(node.args[0])
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            given = node.value.elts
            if len(given) == 2 and isinstance(given[0], ast.Constant) and given[0].value is None:
                said.append(given[1])
    return [
        part.value
        for one in said
        for part in ast.walk(one)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.strip(" ,:]")
    ]


def test_every_reason_of_the_log_has_a_row() -> None:
    """What the log says of a response that is not kept is told with what to do."""
    said = [part.partition(": let")[0] for source in SOURCES for part in logged(source)]
    assert len(said) > 8
    assert [part for part in said if part.strip(" ,:") not in VIEWS + APIS] == []


def test_every_log_line_of_the_page_is_one_of_the_code() -> None:
    """A line that a reader finds in the log stands in the page as the code says it, but for what it fills in."""
    said = _HOLE.sub("", " ".join(" ".join(source.split()) for source in SOURCES))
    said = said.replace('" "', "").replace('" f"', "")
    tables = [page.partition("| log line |")[2].partition("\n\n")[0] for page in (VIEWS, APIS)]
    rows = re.findall(r"^\| `(.*?)` \|", "".join(tables), re.MULTILINE)
    assert len(rows) > len(findings._REMEDIES)
    for row in rows:
        if " looks at " in row:
            continue  # the test above
        for part in filter(None, re.split(r"\.\.\.|NoneType|QuerySet|16|'default'|tenant:", row)):
            assert part.strip(" .:") in said, row


def test_the_attributes_of_the_mixins_have_a_row_each() -> None:
    """Those that both mixins have, with their defaults; the time differs."""
    mixins = pytest.importorskip("oxicache.django.responses.rest_mixins")
    rows = dict(re.findall(r"^\| `(cache_\w+)` \| (.*?) \|", APIS, re.MULTILINE))
    rows.pop("cache_errors")  # a parameter of cached_api
    common = {name: value for name, value in vars(mixins._Options).items() if name.startswith("cache_")}
    assert rows.keys() == common.keys()
    times = f"{mixins.ListCacheMixin.cache_timeout} for `list`, {mixins.DetailCacheMixin.cache_timeout} for `retrieve`"
    assert rows.pop("cache_timeout") == times
    assert rows == {
        name: f"`{value!r}`".replace("'", '"') for name, value in common.items() if name != "cache_timeout"
    }
