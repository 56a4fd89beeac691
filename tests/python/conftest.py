"""Sets up the Django project in tests/project once, where Django is installed; the rest of the suite needs none."""

import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import profiles  # noqa: F401 -- what hypothesis draws, and how long, also in files that ask for nothing of their own
import pytest
from demo_runs import demo_data, demo_run
from leftovers import Leftovers
from live_sites import cache_name, live_pair, live_site, live_workers

__all__ = [  # fixtures of several files: on the demo, on what operators reach
    "cache_name",
    "demo_data",
    "demo_run",
    "live_pair",
    "live_site",
    "live_workers",
]

TESTS = Path(__file__).resolve().parents[1]
NEED_DJANGO = [
    "django_app",
    "contracts/test_enterpriseland_commands.py",
    "contracts/test_enterpriseland_defects.py",
    "contracts/test_enterpriseland_invalidation.py",
    "contracts/test_enterpriseland_monitor.py",
    "contracts/test_enterpriseland_examples.py",
    "contracts/test_enterpriseland_functions.py",
    "contracts/test_enterpriseland_responses.py",
    "contracts/test_akvo_commands.py",
    "contracts/test_akvo_examples.py",
    "contracts/test_akvo_hierarchy.py",
    "contracts/test_akvo_reference.py",
    "contracts/test_akvo_settings.py",
    "contracts/test_dialects_processes.py",
    "contracts/test_migrating.py",
    "contracts/test_the_bot_examples.py",
    "contracts/test_the_bot_functions.py",
    "contracts/test_the_bot_invalidation.py",
    "contracts/test_the_bot_keys.py",
    "contracts/test_the_bot_responses.py",
    "contracts/test_youtility_defects.py",
    "contracts/test_youtility_examples.py",
    "contracts/test_youtility_forms.py",
    "contracts/test_youtility_functions.py",
    "contracts/test_youtility_templates.py",
    "contracts/test_youtility_invalidation.py",
    "contracts/test_youtility_commands.py",
    "contracts/test_youtility_keys.py",
    "contracts/test_youtility_responses.py",
]
HAS_DJANGO = importlib.util.find_spec("django") is not None

collect_ignore = [] if HAS_DJANGO else NEED_DJANGO

if HAS_DJANGO:
    sys.path.insert(0, str(TESTS))  # `project`, which is no part of the path that pytest adds
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

    import django

    django.setup()

    from django.template.backends.django import get_installed_libraries

    get_installed_libraries()  # imported with the first template otherwise, and what they connect is left behind then


# What tests isolation, or patches time.time: there caches count by time.time, as in users' own tests.
FOLLOW_TIME = ("django_app", "contracts", "test_testing.py", "test_pytest_plugin.py")

# Slow, and the same whichever methods are chosen: `make test` leaves these out of its runs with the safe ones.
ANY_METHODS = (
    "test_advice.py",
    "test_akvo_commands.py",
    "test_akvo_settings.py",
    "test_apps.py",
    "test_backend_page.py",
    "test_bulk*.py",
    "test_cached_forms*.py",
    "test_cached_querysets*.py",
    "test_callers.py",
    "test_checks*.py",
    "test_chunking*.py",
    "test_coherence_model.py",
    "test_compat_responses_*.py",
    "test_conf.py",
    "test_control.py",
    "test_control_forks.py",
    "test_control_openings.py",
    "test_delivery.py",
    "test_delivery_rounds.py",
    "test_demo*.py",
    "test_dependants.py",
    "test_dialects_processes.py",
    "test_endpoints*.py",
    "test_enterpriseland_commands.py",
    "test_enterpriseland_examples.py",
    "test_enterpriseland_monitor.py",
    "test_enumeration.py",
    "test_enumeration_tags.py",
    "test_examples.py",
    "test_execution.py",
    "test_explain.py",
    "test_fragments*.py",
    "test_headers*.py",
    "test_health*.py",
    "test_hierarchy*.py",
    "test_host.py",
    "test_house.py",
    "test_imports.py",
    "test_invalidate.py",
    "test_invalidate_caches.py",
    "test_invalidate_entries.py",
    "test_invalidation.py",
    "test_jobs*.py",
    "test_keys.py",
    "test_keys_patterns.py",
    "test_live.py",
    "test_manage_cache*.py",
    "test_memory_pressure.py",
    "test_migrating.py",
    "test_models.py",
    "test_native_cache_patterns.py",
    "test_neighbours.py",
    "test_operations*.py",
    "test_outdating_model.py",
    "test_pages_of_workers.py",
    "test_patterns.py",
    "test_plain.py",
    "test_prometheus.py",
    "test_pytest_plugin.py",
    "test_querysets*.py",
    "test_reaching.py",
    "test_readme_blocks.py",
    "test_reports.py",
    "test_responses_*.py",
    "test_rest_*.py",
    "test_rows_dependencies.py",
    "test_rules*.py",
    "test_scope*.py",
    "test_selection.py",
    "test_signals.py",
    "test_signals_failures.py",
    "test_site_cache*.py",
    "test_streaming.py",
    "test_tables.py",
    "test_test_environment.py",
    "test_the_bot_examples.py",
    "test_the_bot_responses.py",
    "test_trail.py",
    "test_transactions_sessions.py",
    "test_versions*.py",
    "test_viewsets.py",
    "test_workers*.py",
    "test_writes.py",
    "test_youtility_commands.py",
    "test_youtility_examples.py",
    "test_youtility_forms.py",
    "test_youtility_templates.py",
)
# About the tools around the package, not about the package: run once, on the first Python.
ONCE = (
    "test_benches.py",
    "test_conformance.py",
    "test_examples.py",
    "test_hangs.py",
    "test_leftovers.py",
    "test_makefile.py",
    "test_servers_rule.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the suite the engine's own clock: under another the raw methods leave every case to their safe twins.

    And mark what needs not be run again with other methods, or on another Python.
    """
    for item in items:
        for mark in _marks(item.path):
            item.add_marker(mark)


@cache
def _marks(path: Path) -> tuple[pytest.MarkDecorator, ...]:
    here = Path(__file__).parent
    inside = path.relative_to(here).parts if path.is_relative_to(here) else ()
    return (
        *([] if set(FOLLOW_TIME) & set(inside) else [pytest.mark.oxicache_real_clock]),
        *([pytest.mark.once] if path.name in ONCE else []),
        *([pytest.mark.any_methods] if any(path.match(pattern) for pattern in ANY_METHODS) else []),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Have who leaves something behind fail by name."""
    if HAS_DJANGO:
        from django_leftovers import django_state, forget_models, forget_stores, remove_rows, unwatch

        guard = Leftovers(django_state, tidy=(forget_models, forget_stores, unwatch), mend=remove_rows)
    else:
        guard = Leftovers()
    config.pluginmanager.register(guard, "leftovers")


def pytest_collection_finish() -> None:
    """Tell the models of test files from those that single tests make."""
    if HAS_DJANGO:
        from django_leftovers import remember_models

        remember_models()


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """What a file leaves to the garbage collector warns of what was not closed while that file still runs."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def django_databases() -> Iterator[None]:
    """Django's test environment and empty test databases, made by the first test that asks for them."""
    from django.test.utils import (
        setup_databases,
        setup_test_environment,
        teardown_databases,
        teardown_test_environment,
    )

    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(databases, verbosity=0)
    teardown_test_environment()
