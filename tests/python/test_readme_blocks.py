"""Every Python block of README.md, CONTRIBUTING.md and docs/ runs, and prints what the page says it prints.

How a page is read:
- its `python` blocks run in order in one fresh interpreter, as a reader would paste them one after another;
- a `text` block that follows a `python` block is what that block prints, to the letter;
- a block that begins with `# settings.py` is a Django settings module: Django is set up with it;
- a block that begins with the path of another file, as in `# shop/models.py` or `{# shop/page.html #}`, is that file:
  all of them are there before the first block runs, and the tables of their models once Django is set up;
- a block that defines tests is run by pytest, in a folder of its own.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LIMIT_SECONDS = 120  # far beyond what any page needs: only a hang reaches it

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(?:# |\{# )(?P<path>[\w/]+/[\w.]+)(?: #\})?$", re.MULTILINE)
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")

# What the child interpreter does with a page: blocks come in as (line, text, what it prints or None).
RUN_PAGE = """
import contextlib, io, sys

def run(name, blocks):
    page = {"__name__": "__main__"}
    for line, text, expected in blocks:
        printed = io.StringIO()
        before = set(page)
        with contextlib.redirect_stdout(printed):
            exec(compile("\\n" * (line - 1) + text, name, "exec"), page)
        if expected is not None and printed.getvalue() != expected:
            sys.exit(f"{name}:{line} printed\\n{printed.getvalue()}instead of\\n{expected}")
        if text.startswith("# settings.py"):
            import django, os
            from django.conf import settings
            given = {key: page[key] for key in set(page) - before if key.isupper()}
            # Nothing of a page is left outside of its folder.
            given["OXICACHE"] = {"RUNTIME_DIR": os.getcwd(), **given.get("OXICACHE", {})}
            settings.configure(**given)
            django.setup()
            if settings.DATABASES:
                from django.core.management import call_command
                call_command("migrate", run_syncdb=True, verbosity=0)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: the line its text begins on, its language, its text, and the language-less rest after it."""

    line: int
    language: str
    text: str
    prints: str | None

    @property
    def is_tests(self) -> bool:
        return "def test_" in self.text

    @property
    def path(self) -> str:
        """Which file the block is; empty for what is run."""
        named = FILE.match(self.text)
        return named["path"] if named else ""


def blocks_of(markdown: str) -> list[Block]:
    found = list(FENCE.finditer(markdown))
    blocks = []
    for index, match in enumerate(found):
        follower = found[index + 1] if index + 1 < len(found) else None
        follows = follower is not None and not markdown[match.end() : follower.start()].strip()
        prints = (
            follower["text"] if follower is not None and follows and follower["language"] == "text" else None
        )
        line = markdown.count("\n", 0, match.start()) + 2
        blocks.append(Block(line, match["language"], match["text"], prints))
    return blocks


def python_blocks(page: Path) -> list[Block]:
    blocks = blocks_of(page.read_text())
    return [block for block in blocks if block.language == "python" and not block.path]


def write_files(page: Path, folder: Path) -> None:
    """Write the page's files; a folder with Python in it is a package."""
    for block in blocks_of(page.read_text()):
        if block.path:
            path = folder / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            if path.suffix == ".py":
                (path.parent / "__init__.py").touch()


def run_page(name: str, blocks: list[Block], folder: Path) -> subprocess.CompletedProcess[str]:
    arguments = [(block.line, block.text, block.prints) for block in blocks]
    source = f"{RUN_PAGE}\nrun({name!r}, {arguments!r})\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages_with(*, tests: bool) -> list[Path]:
    return [page for page in PAGES if any(block.is_tests is tests for block in python_blocks(page))]


class TestBlocks:
    @pytest.mark.parametrize("page", pages_with(tests=False), ids=page_id)
    def test_the_blocks_of_a_page_run(self, page: Path, tmp_path: Path) -> None:
        """The blocks of a page run one after another in a fresh interpreter and print what the page says."""
        write_files(page, tmp_path)
        done = run_page(
            page_id(page), [block for block in python_blocks(page) if not block.is_tests], tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_first_screen_runs_alone(self, tmp_path: Path) -> None:
        """The first block of the README needs nothing but itself."""
        first = python_blocks(ROOT / "README.md")[:1]
        done = run_page("README.md", first, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("page", pages_with(tests=True), ids=page_id)
    def test_the_tests_of_a_page_pass(self, page: Path, tmp_path: Path) -> None:
        """A block that shows tests passes under pytest, in a folder that holds nothing else."""
        for block in python_blocks(page):
            if block.is_tests:
                (tmp_path / f"test_line_{block.line}.py").write_text(block.text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "."],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_failing_block_is_noticed(self, tmp_path: Path) -> None:
        """A block that raises, or prints something else, fails its page and names the line."""
        raising = blocks_of("# Page\n\n```python\nx = 1\nraise KeyError(x)\n```\n")
        assert 'File "page.md", line 5' in run_page("page.md", raising, tmp_path).stderr
        lying = blocks_of("```python\nprint(1)\n```\n\n```text\n2\n```\n")
        done = run_page("page.md", lying[:1], tmp_path)
        assert done.returncode == 1
        assert "page.md:2 printed\n1\ninstead of\n2" in done.stderr


class TestMentions:
    @pytest.mark.parametrize("page", PAGES, ids=page_id)
    def test_every_make_target_that_is_named_exists(self, page: Path) -> None:
        """A page sends nobody to a target that the Makefile does not have."""
        targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        code = re.findall(r"`([^`\n]+)`", page.read_text())
        code += [block.text for block in blocks_of(page.read_text()) if block.language == "console"]
        named = {target for text in code for target in TARGET.findall(text)}
        assert named <= targets

    @pytest.mark.parametrize("page", PAGES, ids=page_id)
    def test_every_relative_link_leads_somewhere(self, page: Path) -> None:
        """A link to another page or file of the project finds it."""
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert missing == []

    def test_every_page_is_listed_in_the_index(self) -> None:
        """docs/index.md leads to every page, docs/decisions/index.md to every decision."""
        for folder in (ROOT / "docs", ROOT / "docs" / "decisions"):
            listed = set(re.findall(r"\]\(([^)#]+)", (folder / "index.md").read_text()))
            pages = {page.name for page in folder.glob("*.md")} - {"index.md"}
            assert pages <= listed, f"{folder.name}/index.md does not list {sorted(pages - listed)}"
