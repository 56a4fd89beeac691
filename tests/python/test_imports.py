"""The core needs nothing but its own wheel: each framework-free module is imported in a process of its own."""

import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import oxicache

NEEDS_DJANGO = (
    "oxicache.django",
    "oxicache.demo",
    "oxicache.compat.enterpriseland",
    "oxicache.compat.the_bot",
    "oxicache.compat.youtility",
)
NEEDS_PYTEST = ("oxicache.pytest_plugin",)

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(oxicache.__path__, "oxicache.")
    if not module.name.startswith(NEEDS_DJANGO) and not module.name.endswith("__main__")
)


def python(source: str, *options: str) -> str:
    """Run `source` in a fresh interpreter that knows no settings module; return what it prints."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTHON"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", source],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(name: str) -> set[str]:
    """The modules in a fresh process once `name` is imported."""
    return set(json.loads(python(f"import json, sys, {name}; print(json.dumps(list(sys.modules)))")))


def test_the_walk_found_the_modules() -> None:
    """The list that the tests below go through holds the package's own modules, so that they cannot pass empty."""
    assert {"oxicache._native", "oxicache.decorators", "oxicache.loader", "oxicache.testing"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_framework_free_module_leaves_django_unloaded(name: str) -> None:
    """Importing any module outside oxicache.django, oxicache.demo and the dialects of it does not import Django."""
    loaded = loaded_after(name)
    assert name in loaded
    assert not {module for module in loaded if module.partition(".")[0] in ("django", "asgiref")}


@pytest.mark.parametrize("name", [name for name in ("oxicache", *MODULES) if name not in NEEDS_PYTEST])
def test_a_module_of_the_core_needs_no_package_besides(name: str) -> None:
    """Nothing outside the standard library and oxicache itself is loaded by the core."""
    tops = {module.partition(".")[0] for module in loaded_after(name) - loaded_after("site")}
    foreign = {
        top for top in tops if top not in sys.stdlib_module_names and top not in ("oxicache", "__mp_main__")
    }
    assert not foreign


def test_importing_the_package_works_with_only_the_wheel(tmp_path: Path) -> None:
    """With nothing on the path but the standard library and oxicache, the documented names import and work."""
    spec = importlib.util.find_spec("oxicache")
    assert spec is not None
    assert spec.origin is not None
    (tmp_path / "oxicache").symlink_to(Path(spec.origin).parent)
    names = "TTLCache, CacheManager, cache_manager, DELETION_SET, ttl_cached_property, cached_method"
    source = f"""
import sys
sys.path.append({str(tmp_path)!r})
from oxicache import {names}
cache = TTLCache(max_size=2, ttl=60)
cache.set("a", 1)
assert cache.get("a") == 1
try:
    import django
except ModuleNotFoundError:
    print("alone")
"""
    assert python(source, "-S") == "alone\n"  # which leaves the standard library on the path, and no packages


def test_the_dialect_of_akvo_has_its_defaults_without_django(tmp_path: Path) -> None:
    """001, "Default Settings": without Django the dialect has the documented constants."""
    source = """
import sys
sys.modules["django"] = None
from oxicache.compat import akvo_rsr as akvo
print(akvo.DEFAULT_CACHE_TTL, akvo.DEFAULT_CACHE_MAX_SIZE, akvo.DEFAULT_CACHE_CLEANUP_INTERVAL,
      akvo.DEFAULT_MAX_DESCENDANTS_PER_REQUEST, akvo.DEFAULT_DESCENDANTS_CHUNK_SIZE, akvo.MAX_AGGREGATION_DEPTH)
"""
    assert python(source) == "3600 1000 300 1000 500 100\n"


def test_nothing_imports_the_dialects() -> None:
    """No module of the package loads oxicache.compat: the dialects are for callers alone."""
    for name in ("oxicache", "oxicache.django.apps", "oxicache.testing"):
        assert not [module for module in loaded_after(name) if module.startswith("oxicache.compat")]


@pytest.mark.parametrize(
    "name", ["oxicache.compat.the_bot", "oxicache.django.endpoints.urls", "oxicache.django.responses"]
)
def test_what_views_are_decorated_with_asks_for_no_settings(name: str) -> None:
    """A project's modules may be imported before its settings are: by tools for documentation, say."""
    assert "django" in loaded_after(name)
