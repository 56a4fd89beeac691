"""Every block of code of the five documents is run by a test, or named in document_lists.py, and nothing is lost."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from document_lists import CORRECTIONS, LINES_TO_COME, NOTHING_TO_RUN, STILL_TO_COME
from document_pages import EXAMPLES, FOLDER, Key

TESTS = sorted(Path(__file__).parent.glob("test_*.py"))
LISTS = {"still to come": STILL_TO_COME, "nothing to run": NOTHING_TO_RUN}


def taken(path: Path) -> set[Key]:
    """The blocks that the tests of a file take, as their decorators name them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                given = [ast.literal_eval(one) for one in call.args] if "example" in call.func.id else []
                if call.func.id == "example":
                    found.add(Key(*given))
                elif call.func.id == "examples":
                    found |= {Key(given[0], *block) for block in given[1:]}
    return found


CHECKED = set[Key]().union(*map(taken, TESTS))


def test_the_blocks_are_those_of_the_documents() -> None:
    """Each as the documents had it, by its digest, in their order."""
    rows = (FOLDER / "inventory.txt").read_text("utf-8").splitlines()[1:]
    found = [
        f"{one.key.document} | {one.key.number} | {one.language} | {one.digest} | {one.key.heading}"
        for one in EXAMPLES.values()
    ]
    assert found == rows
    assert Counter(one.key.document for one in EXAMPLES.values()) == {
        "000": 11,
        "001": 54,
        "002": 29,
        "003": 24,
        "004": 32,
    }


@pytest.mark.parametrize("key", EXAMPLES, ids=str)
def test_each_is_run_or_listed(key: Key) -> None:
    """By a test of this folder or in one of the lists, and not by both."""
    where = ["tests"] if key in CHECKED else []
    where += [name for name, listed in LISTS.items() if key in listed]
    assert len(where) == 1, where or "neither run nor listed"


def test_lists_name_blocks() -> None:
    """What is listed is there, with a reason; corrections and lines to come are of blocks that are run."""
    for listed in LISTS.values():
        assert listed.keys() <= EXAMPLES.keys()
        assert all(listed.values())
    assert CORRECTIONS.keys() | LINES_TO_COME.keys() <= CHECKED


@pytest.mark.parametrize("key", CORRECTIONS, ids=lambda key: str(Key(*key)))
def test_corrections_correct(key: Key) -> None:
    """What each calls wrong stands in its block once, and is another afterwards; it says why."""
    for correction in CORRECTIONS[key]:
        assert EXAMPLES[Key(*key)].printed.count(correction.wrong) == 1
        assert correction.wrong not in EXAMPLES[Key(*key)].text or correction.wrong in correction.right
        assert correction.right != correction.wrong
        assert correction.why


@pytest.mark.parametrize("key", LINES_TO_COME, ids=lambda key: str(Key(*key)))
def test_lines_to_come_are_lines(key: Key) -> None:
    """Each is a line of its block, and others are left to run."""
    lines = EXAMPLES[Key(*key)].printed.splitlines()
    assert LINES_TO_COME[key].keys() <= set(lines)
    assert EXAMPLES[Key(*key)].lines()
