"""What `make` says to somebody who has not everything yet."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELL_TOOLS = ("sh", "find", "sed", "awk", "printf", "rm", "mkdir", "touch", "echo", "env")

PYTHON = "#!/bin/sh\ncase $2 in *version_info*2*) echo cp311;; *ensurepip*) {venv};; esac\n"
CARGO = "#!/bin/sh\necho cargo 1.95.0\n"
RUSTC = "#!/bin/sh\necho rustc {version} '(0123abc 2026-01-01)'\n"
LINKER = "#!/bin/sh\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A PATH that holds the shell's own tools and nothing that the build needs."""
    for tool in SHELL_TOOLS:
        found = shutil.which(tool)
        if found:
            (tmp_path / tool).symlink_to(found)
    return tmp_path


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def have(folder: Path, *, venv: str = "echo yes", rust: str = "1.95.0") -> None:
    put(folder, "python3", PYTHON.format(venv=venv))
    put(folder, "cargo", CARGO)
    put(folder, "rustc", RUSTC.format(version=rust))
    put(folder, "cc", LINKER)


def make(folder: Path, *target: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("make")
    assert found is not None, "this suite is run by make"
    return subprocess.run(
        [found, "--no-print-directory", *target],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": str(folder)},
        timeout=60,
        check=False,
    )


class TestPrerequisites:
    @pytest.mark.parametrize(
        ("missing", "says", "remedy"),
        [
            pytest.param(
                "python3", "Python 3.11 or later is missing", "apt-get install python3", id="python"
            ),
            pytest.param("cargo", "cargo is missing", "rustup", id="cargo"),
            pytest.param("rustc", "rustc is missing", "rustup", id="rustc"),
            pytest.param("cc", "a C linker is missing", "build-essential", id="linker"),
        ],
    )
    @pytest.mark.parametrize("target", ["demo", "test"])
    def test_what_is_missing_is_named_with_its_remedy(
        self, folder: Path, target: str, missing: str, says: str, remedy: str
    ) -> None:
        """A missing tool stops `make` with one line that names the tool and how to get it."""
        have(folder)
        (folder / missing).unlink()
        done = make(folder, target)
        first, *others = done.stderr.splitlines()
        assert done.returncode != 0
        assert says in first
        assert remedy in first
        assert others == [] or (target == "test" and len(others) == 1), "one line, and the outer make's own"

    def test_a_python_without_venv_is_named(self, folder: Path) -> None:
        """Debian's python3 without python3-venv cannot make an environment; the message names that package."""
        have(folder, venv="exit 1")
        assert "python3 has no venv with pip: apt-get install python3-venv" in make(folder, "demo").stderr

    def test_a_rust_that_is_too_old_is_named(self, folder: Path) -> None:
        """The version is compared before cargo stumbles over the manifest."""
        have(folder, rust="1.63.0")
        assert "rustc 1.63.0 (0123abc 2026-01-01) is too old" in make(folder, "demo").stderr

    def test_all_that_is_needed_is_enough(self, folder: Path) -> None:
        """With every tool there, the check says nothing and passes."""
        have(folder)
        done = make(folder, "prerequisites")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class TestHelp:
    def test_make_alone_lists_the_targets(self, folder: Path) -> None:
        """`make` builds nothing: it prints each target that people call, with a sentence."""
        done = make(folder, "help")
        listed = {line.split()[1] for line in done.stdout.splitlines()}
        assert {
            "setup",
            "build",
            "demo",
            "test",
            "test-servers",
            "lint",
            "bench",
            "wheel",
            "check",
            "conformance",
        } <= listed
        assert "prerequisites" not in listed


# What `make` hands to whatever it starts, and to pytest.
SHOW = "--eval=show: ; @env | grep -E '^[A-Z_]*SEED=' | sort; echo '$(CHANCE)'"


class TestChance:
    @pytest.fixture(autouse=True)
    def _tools(self, folder: Path) -> None:
        have(folder)
        for tool in ("grep", "sort"):
            (folder / tool).symlink_to(shutil.which(tool) or "")

    def test_it_follows_from_one_number(self, folder: Path) -> None:
        """The order, hypothesis, proptest, the order of sets and the fuzz run have the one SEED that was given."""
        assert make(folder, SHOW, "SEED=17", "show").stdout.split() == [
            "OXICACHE_FUZZ_SEED=17",
            "PROPTEST_RNG_SEED=17",
            "PYTHONHASHSEED=17",
            "SEED=17",
            "--randomly-seed=17",
            "--hypothesis-seed=17",
        ]

    def test_without_a_number_one_is_drawn(self, folder: Path) -> None:
        """And it is the same one for everything."""
        (drawn,) = {word.partition("=")[2] for word in make(folder, SHOW, "show").stdout.split()}
        assert drawn.isdigit()

    @pytest.mark.parametrize("seed", ["last", "4294967296", "-1"])
    def test_what_is_no_seed_is_refused(self, folder: Path, seed: str) -> None:
        """What Python could not take is said before anything is built."""
        done = make(folder, f"SEED={seed}", "help")
        assert done.returncode != 0
        assert f'SEED is "{seed}", but must be a whole number of at most 4294967295' in done.stderr
