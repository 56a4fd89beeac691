"""A user's site: the test project with settings of its own, run in processes of their own."""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import project

LIMIT_SECONDS = 90  # only a hang reaches it


@dataclass
class Site:
    """A folder with a settings module that imports the test project's; processes share words in a folder below it."""

    folder: Path
    settings: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def runtime(self) -> Path:
        """Where its processes meet, unless its settings say otherwise."""
        return self.folder / "runtime"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run Python with `command` in the folder of the site."""
        self.runtime.mkdir(exist_ok=True)
        lines = (
            "from project.settings import *",
            f'OXICACHE = {{"RUNTIME_DIR": {str(self.runtime)!r}}}',
            textwrap.dedent(self.settings),
        )
        (self.folder / "users_settings.py").write_text("\n".join(lines))
        tests = Path(project.__file__).parents[1]
        path = os.pathsep.join([str(tests), str(self.folder), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            # A fork while other threads run warns on 3.12 and later.
            [sys.executable, "-W", "ignore::DeprecationWarning", *command],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "DJANGO_SETTINGS_MODULE": "users_settings",
                **self.environment,
            },
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def python(self, source: str) -> str:
        """Run `source` once Django is set up; fail unless it ends well, and return what it printed."""
        done = self.run("-c", "import django\ndjango.setup()\n" + textwrap.dedent(source))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command."""
        return self.run("-m", "django", *arguments)
