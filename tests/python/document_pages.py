"""How the code of the source documents is run: to the letter, under the module names that it imports from.

contracts/examples/ holds the code: a page a document, with its headings, and inventory.txt, by which nobody can lose or
change a block unseen. A test takes a block with `@example(document, heading, number)`. What the block leaves out (its
imports, its own models and functions) is the prelude that it is run with. What else is to be said of single blocks
(corrections, what is still to come) stands in document_lists.py.
"""

import hashlib
import importlib
import re
import shlex
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest
from document_lists import CORRECTIONS, LINES_TO_COME

__all__ = ["EXAMPLES", "FOLDER", "MODULES", "Example", "Key", "example", "examples"]

FOLDER: Final = Path(__file__).parent / "contracts" / "examples"
MODULES: Final = {  # what the documents import from, and what that is here
    "akvo.rsr.cache_management": "oxicache.compat.akvo_rsr",
    "akvo.rsr.models.project": "oxicache.compat.akvo_rsr",
    "config.cache": "oxicache.compat.the_bot",
    "core.cache_utils": "oxicache.compat.the_bot",
    "platform_core.caching": "oxicache.compat.enterpriseland",
    "apps.core.caching.decorators": "oxicache.compat.youtility",
    "apps.core.caching.form_mixins": "oxicache.compat.youtility",
    "apps.core.caching.invalidation": "oxicache.compat.youtility",
    "apps.core.caching.utils": "oxicache.compat.youtility",
}
BLOCK: Final = re.compile(
    r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
PLACEHOLDER: Final = re.compile(r"\s*(#.*|pass|\.\.\.)?")  # lines that stand for the reader's own


class Key(NamedTuple):
    """Where a block stands: the document, the heading above it, the how-manieth it is there."""

    document: str
    heading: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.document}, {self.heading}, {self.number}"


@dataclass
class Example:
    """A block of a document."""

    key: Key
    language: str
    printed: str  # as the document has it
    was_used: bool = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.printed.encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """The block with its listed correction."""
        text = self.printed
        for correction in CORRECTIONS.get(self.key, ()):
            text = text.replace(correction.wrong, correction.right)
        return text

    def run(
        self,
        *,
        modules: Mapping[str, ModuleType] | None = None,
        filled: Mapping[str, str] | None = None,
        **prelude: Any,
    ) -> dict[str, Any]:
        """Run the block with a prelude of names; return its names.

        `modules` stand for what it imports besides the names of the document; `filled` gives what the reader would
        write in the place of lines that are but a comment and `pass`.
        """
        assert self.language == "python"
        text = self.text
        for placeholder, written in (filled or {}).items():
            assert all(PLACEHOLDER.fullmatch(line) for line in placeholder.splitlines())
            assert placeholder in text
            text = text.replace(placeholder, written)
        names = {"__name__": "project.projects.examples", **prelude}
        code = compile(text, str(self.key), "exec")
        self.was_used = True
        with _importable(modules or {}):
            exec(code, names)  # noqa: S102 -- the code of contracts/examples/
        return names

    def evaluated(self, **prelude: Any) -> Any:
        """Return what a block that is one expression is worth."""
        self.was_used = True
        return eval(compile(self.text.strip(), str(self.key), "eval"), prelude)  # noqa: S307 -- as above

    def signature(self, **prelude: Any) -> Callable[..., Any]:
        """Return the function whose first line the block is."""
        names = dict(prelude)
        self.was_used = True
        exec(compile(f"{self.text.strip()}: ...", str(self.key), "exec"), names)  # noqa: S102 -- as above
        [made] = names.keys() - prelude.keys() - {"__builtins__"}
        return names[made]  # type: ignore[no-any-return]

    def lines(self) -> list[str]:
        """Return what a block that is no Python has in its lines: without comments, each whole, none still to come."""
        assert self.language != "python"
        self.was_used = True
        whole = self.text.replace("\\\n", " ")
        later = LINES_TO_COME.get(self.key, {})
        return [line for line in whole.splitlines() if line.strip() and line[0] != "#" and line not in later]

    def commands(self) -> list[list[str]]:
        """Return the words after `python manage.py` of each line that has it."""
        found = [shlex.split(line, comments=True) for line in self.lines()]
        return [words[2:] for words in found if words[:2] == ["python", "manage.py"] and words[2] != "shell"]

    def typed(self, **prelude: Any) -> dict[str, Any]:
        """Run what a block for the shell has of Python, with its `>>>` or without; return its names."""
        lines = [line.removeprefix(">>> ") for line in self.lines() if not line.startswith("python ")]
        names: dict[str, Any] = dict(prelude)
        code = compile("\n".join(lines), str(self.key), "exec")
        with _importable({}):
            exec(code, names)  # noqa: S102 -- as above
        return names

    def rendered(
        self, libraries: Mapping[str, str], templates: Mapping[str, str] | None = None, **context: Any
    ) -> str:
        """Render a block of a template, with libraries of tags and other templates."""
        from django.template import Context, Engine

        assert self.language == "django"
        self.was_used = True
        loader = ("django.template.loaders.locmem.Loader", {**(templates or {}), "page.html": self.text})
        engine = Engine(loaders=[loader], libraries=libraries)
        return engine.get_template("page.html").render(Context(context))


def _read(page: Path) -> Iterator[Example]:
    heading, numbers = "", dict[str, int]()
    for block in BLOCK.finditer(page.read_text("utf-8")):
        if block["heading"]:
            heading = block["heading"]
            continue
        numbers[heading] = numbers.get(heading, 0) + 1
        yield Example(Key(page.stem, heading, numbers[heading]), block["language"], block["text"])


EXAMPLES: Final = {found.key: found for page in sorted(FOLDER.glob("0*.txt")) for found in _read(page)}


def example(document: str, heading: str, number: int = 1) -> pytest.MarkDecorator:
    """Give a test a block of a document as `shown`; the test fails where it leaves it unused.

    The arguments are written out where this is called: test_examples.py reads them there.
    """
    return examples(document, (heading, number))


def examples(document: str, *blocks: tuple[str, int]) -> pytest.MarkDecorator:
    """Give a test several blocks, one after the other; written out as above."""
    found = [EXAMPLES[Key(document, *block)] for block in blocks]
    return pytest.mark.parametrize("shown", found, ids=[str(one.key) for one in found])


@contextmanager
def _importable(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Have the module names of the documents, and others, stand for modules."""
    named: dict[str, ModuleType] = {name: importlib.import_module(here) for name, here in MODULES.items()}
    with pytest.MonkeyPatch.context() as patch:
        _install(patch, {**named, **modules})
        yield


def _install(monkeypatch: pytest.MonkeyPatch, modules: Mapping[str, ModuleType]) -> None:
    for name, module in modules.items():
        for parent in _parents(name):
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, name, module)


def _parents(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))
