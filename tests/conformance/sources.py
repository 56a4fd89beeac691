"""Django's own tests, which only its source distribution holds: fetched by pip, unpacked, kept for the next run."""

import shutil
import subprocess
import tarfile
from pathlib import Path

DOWNLOAD_SECONDS = 300  # 11 MB, and pip builds the metadata of what it downloads


class SourcesError(Exception):
    """Django's tests are not to be had; the message says what was wanted, and what to do."""


def unpacked_tests(python: str, version: str, folder: Path) -> Path:
    """The `tests` folder of this version of Django, below `folder`; fetched by `python -m pip` when it is not there."""
    tests = folder / f"django-{version}" / "tests"
    if (tests / "runtests.py").is_file():
        return tests
    folder.mkdir(parents=True, exist_ok=True)
    _unpack(_kept(folder, version) or _fetched(python, version, folder), tests)
    return tests


def _kept(folder: Path, version: str) -> Path | None:
    """The distribution if it lies in the folder; its name begins with "Django" up to 5.2, with "django" since."""
    return next(iter(sorted(folder.glob(f"[Dd]jango-{version}.tar.gz"))), None)


def _fetched(python: str, version: str, folder: Path) -> Path:
    wanted = f"django=={version}"
    command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", "django", "--dest", str(folder), wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
        said = done.stderr.strip() or done.stdout.strip()
    except subprocess.TimeoutExpired:
        said = f"no answer within {DOWNLOAD_SECONDS} seconds"
    kept = _kept(folder, version)
    if kept is None:
        raise SourcesError(
            f"The source distribution of Django {version} is wanted, because it holds Django's own tests; pip could "
            f"not fetch it. Put django-{version}.tar.gz into {folder}, or run `make conformance` once where an index "
            f"answers. `pip download --no-deps --no-binary django {wanted}` said:\n{said}"
        )
    return kept


def _unpack(archive: Path, tests: Path) -> None:
    """Unpack what is below `tests/`, by way of a second folder: an interrupted run leaves no half of it."""
    partial = tests.with_name("tests.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as distribution:
        for member in distribution:
            _, *parts = Path(member.name).parts
            content = distribution.extractfile(member) if member.isfile() else None
            if content is None or parts[:1] != ["tests"] or ".." in parts:
                continue
            target = partial.joinpath(*parts[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)
    if not (partial / "runtests.py").is_file():
        raise SourcesError(f"{archive} holds no tests/runtests.py, so it is no source distribution of Django")
    shutil.rmtree(tests, ignore_errors=True)
    partial.rename(tests)
