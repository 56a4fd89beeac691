"""How an example of a source document is run: quoted to the letter, under the module names that it imports from.

What an example leaves out (its imports, its own models and functions) is the prelude that it is run with.
"""

import sys
import types
from types import ModuleType
from typing import Any

import pytest

__all__ = ["dialect", "run_example"]


def dialect(monkeypatch: pytest.MonkeyPatch, **modules: ModuleType) -> None:
    """Have the module names of a document stand for other modules; `a__b` is `a.b`."""
    for name, module in modules.items():
        parts = name.split("__")
        for end in range(1, len(parts)):
            parent = ".".join(parts[:end])
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, ".".join(parts), module)


def run_example(source: str, **prelude: Any) -> dict[str, Any]:
    """Run an example with a prelude of names; return its names."""
    names = {"__name__": "project.examples", **prelude}
    exec(compile(source, "<example>", "exec"), names)  # noqa: S102 -- the examples are constants of test files
    return names
