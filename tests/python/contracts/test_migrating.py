"""docs/migrating.md, its table for each source document: old names stand for what is there, and none is left out."""

import ast
import importlib
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands
from django.template.backends.django import get_installed_libraries
from django.urls import URLPattern
from document_lists import STILL_TO_COME
from document_pages import EXAMPLES, MODULES, Key

from oxicache import TTLCache, compat
from oxicache.compat import akvo_rsr, enterpriseland, the_bot, youtility
from oxicache.django import conf
from oxicache.django.backends import NativeCache
from oxicache.django.templatetags import cache_tags

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "migrating.md").read_text("utf-8")
DIALECTS: dict[str, Any] = {
    "Akvo RSR": akvo_rsr,
    "THE_BOT": the_bot,
    "EnterpriseLand": enterpriseland,
    "YOUTILITY5": youtility,
}
DOCUMENTS = {
    "000": "Akvo RSR",
    "001": "Akvo RSR",
    "002": "THE_BOT",
    "003": "EnterpriseLand",
    "004": "YOUTILITY5",
}
CODE = re.compile(r"`([^`]+)`")
NEW = re.compile(r"`((?:oxicache|django)(?:\.\w+)+)`")
TAG = re.compile(r"\{% (?:load )?(\w+) %\}")
PATH = re.compile(r"[A-Za-z_][\w.]*")
SETTINGS = {field.metadata["flat"] for field in fields(conf.Configuration)} | {"CACHE_KEY_PREFIX"}
# Objects that the documents name without saying where they come from: `cache` is a TTLCache there, Django's here.
OBJECTS = {"Akvo RSR": {"cache": TTLCache}, "THE_BOT": {"cache": NativeCache}}


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def table(name: str) -> list[tuple[str, str]]:
    """Old and new names of the table that a section begins with."""
    lines = [line for line in section(name).partition("\n### ")[0].splitlines() if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in lines if not line.startswith("| there | here")]
    return [(row[0], row[1]) for row in cells]


ROWS = [(name, *row) for name in DIALECTS for row in table(name)]


def is_there(dialect: str, code: str) -> bool:
    """Whether an old name is one of the dialect, a setting, a command, or a tag."""
    if tag := TAG.fullmatch(code):
        return tag[1] in get_installed_libraries() or tag[1] in cache_tags.register.tags
    found = PATH.match(code)
    assert found, code
    first, *rest = found[0].rstrip(".").split(".")
    if not rest and (first in get_commands() or first in SETTINGS or first in cache_tags.register.filters):
        return True
    there: Any = OBJECTS.get(dialect, {}).get(first) or getattr(DIALECTS[dialect], first, None)
    for name in rest:
        there = getattr(there, name, None)
    return there is not None


def imported(path: str) -> Any:
    """What a dotted name stands for: a module, or something in one."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


@pytest.mark.parametrize(("dialect", "old", "new"), ROWS, ids=[f"{row[0]}, {row[1][:60]}" for row in ROWS])
def test_old_names_have_new_ones(dialect: str, old: str, new: str) -> None:
    """What is "the same" is there under its old name; all else names what is there in its place."""
    if new.startswith("the same"):
        for code in CODE.findall(old):
            assert is_there(dialect, code), code
    else:
        assert NEW.search(new) or new.startswith(("as it is", "as they are"))
    for path in NEW.findall(new):
        assert imported(path) is not None
    for route in (code for code in CODE.findall(old) if code.startswith("/")):
        [module] = [imported(path) for path in NEW.findall(new)[:1]]
        routes = [str(one.pattern) for one in module.urlpatterns if isinstance(one, URLPattern)]
        assert any(route.endswith(f"/{one}") for one in routes), route


def named(dialect: str) -> set[str]:
    """The first parts of all old names of a dialect."""
    found = (PATH.match(code) for old, _ in table(dialect) for code in CODE.findall(old))
    return {one[0].split(".")[0] for one in found if one}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_name_of_a_dialect_is_left_out(dialect: str) -> None:
    """Each of its public names stands in its table."""
    assert set(DIALECTS[dialect].__all__) - named(dialect) == set()


@pytest.mark.parametrize("key", [key for key in EXAMPLES if EXAMPLES[key].language == "python"], ids=str)
def test_what_examples_import(key: Key) -> None:
    """What an example imports from its system stands in the table; of examples still to come, below it."""
    dialect = DOCUMENTS[key.document]
    try:
        nodes = list(ast.walk(ast.parse(EXAMPLES[key].printed)))
    except SyntaxError:
        return  # a signature, which imports nothing
    names = {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
    }
    later = set(CODE.findall(section(dialect).partition("Still to come")[2]))
    assert names - named(dialect) - (later if key in STILL_TO_COME else set()) == set()


def test_all_dialects_are_there() -> None:
    """No module of compat is without a table, and no table without rows."""
    folder = Path(compat.__file__).parent
    modules = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    assert modules == {module.__name__.rpartition(".")[2] for module in DIALECTS.values()}
    assert all(table(dialect) for dialect in DIALECTS)
