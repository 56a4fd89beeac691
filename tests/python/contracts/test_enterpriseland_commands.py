"""`manage_cache` as document 003 ("Caching Strategy", EnterpriseLand) has it, section "Cache Management".

Each example of the section is run; what its words are where the document shows none, its callers rely on.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from oxicache import TTLCache, cache_manager

RULE = "=" * 60


@pytest.fixture(autouse=True)
def _test_environment(django_databases: None) -> None:
    """Commands act on this process alone while Django's test environment is set up."""


@pytest.fixture
def users() -> Iterator[TTLCache[Any, Any]]:
    """A cache whose entries have the tags of the examples."""
    cache = cache_manager.get_cache("enterpriseland.users", max_size=100, ttl=60)
    for number in range(4):
        cache.set(f"user:{number}", number, tags=["user", "profile"])
    yield cache
    cache_manager.remove("enterpriseland.users")


def manage(*given: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("manage_cache", *given, stdout=out, **options)
    return out.getvalue()


class TestWarm:
    @pytest.mark.parametrize(
        "given",
        [(), ("--model=auth.User",), ("--view=dashboard",), ("--api=users",), ("--schedule", "15")],
        ids=str,
    )
    def test_it_is_not_configured(self, given: tuple[str, ...]) -> None:
        """003, "Warm cache": where nothing can be warmed that is an error, and never "Warmed 0 entries"."""
        with pytest.raises(
            CommandError, match=r"^Cache operation failed: warming is not configured"
        ) as caught:
            manage("warm", *given)
        assert caught.value.returncode == 2


class TestInvalidate:
    def test_tags(self, users: Any) -> None:
        """003, "manage_cache invalidate --tags user profile": how many entries, and by which strategy."""
        assert manage("invalidate", "--tags", "user", "profile") == (
            "Invalidated 4 cache entries\n  tags: 4 entries\n"
        )
        assert len(users) == 0

    def test_a_model(self) -> None:
        """003, "manage_cache invalidate --model=auth.User": taken as the document spells it."""
        said = manage("invalidate", "--model=auth.User")
        assert said.startswith("Invalidated 0 cache entries\n  auth.User: ")

    def test_a_pattern(self, users: Any) -> None:
        """003, 'manage_cache invalidate --pattern "^user:.*"': in a new process it removed nothing and said 0."""
        users.set("a:user:1", 1)
        assert manage("invalidate", "--pattern", "^user:.*") == (
            "Invalidated 4 cache entries\n  pattern: 4 entries\n"
        )
        assert list(users.keys()) == ["a:user:1"]

    def test_a_pattern_is_matched_from_the_start(self, users: Any) -> None:
        """There with `re.match`: what begins so goes, whatever follows."""
        users.set("a:user:1", 1)
        assert "pattern: 4 entries" in manage("invalidate", "--pattern", "user")
        assert list(users.keys()) == ["a:user:1"]

    def test_a_pattern_takes_linear_time(self, users: Any) -> None:
        """Defect of 003: a pattern of a user's was matched by backtracking, and held up the process."""
        users.set("a" * 200 + "!", 1)
        assert "pattern: 0 entries" in manage("invalidate", "--pattern", "(a+)+$")

    def test_several_at_once(self, users: Any) -> None:
        """Each strategy by its own line, the sum in the first; there they were alternatives."""
        users.set("order:1", 1)
        said = manage("invalidate", "--tags", "user", "--pattern", "order:", "--model", "auth.User")
        assert said.startswith("Invalidated 5 cache entries\n  tags: 4 entries\n  pattern: 1 entries\n")
        assert "  auth.User: " in said

    def test_a_dry_run(self, users: Any) -> None:
        """There `invalidate` had none."""
        said = manage("invalidate", "--tags", "user", "--dry-run")
        assert said.startswith("DRY RUN: Would invalidate cache entries\n")
        assert "enterpriseland.users        4\n" in said
        assert len(users) == 4

    def test_any_exception_is_a_command_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Callers of 003: "Cache operation failed: ...", whatever has failed."""
        from oxicache import operations

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("the roof is on fire")

        monkeypatch.setattr(operations, "invalidate", fail)
        with pytest.raises(CommandError, match=r"^Cache operation failed: the roof is on fire$") as caught:
            manage("invalidate", "--tags", "user")
        assert caught.value.returncode == 1


class TestStatus:
    def test_text(self, users: Any) -> None:
        """003, "manage_cache status": each alias with its sign, then the figures."""
        users.get("user:1")
        users.get("nothing")
        said = manage("status")
        assert said.startswith(
            f"{RULE}\nCACHE STATUS\n{RULE}\n\nCache Health:\n  \u2713 default: Healthy\n\n"
        )
        assert "\nPerformance Metrics:\n  Hit Rate: " in said

    def test_an_alias_that_fails(self, users: Any) -> None:
        """Callers of 003: its line has the other sign, and the error."""
        failing = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        failing["remote"] = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
        with override_settings(CACHES=failing):
            said = manage("status")
        assert "  \u2713 default: Healthy\n  \u2717 remote: What was set was not found\n" in said

    def test_json(self, users: Any) -> None:
        """003, "get_cache_status": the keys of the document, of every alias."""
        shown = json.loads(manage("status", "--json"))
        documented = {"timestamp", "health", "performance", "warming_schedule", "configuration", "backends"}
        assert documented <= set(shown)
        assert set(shown["health"]) == set(shown["backends"]) == set(caches.settings)
        assert {"set_ms", "get_ms", "delete_ms"} == set(shown["health"]["default"]["response_times"])
        assert set(shown["configuration"]) == {
            "warming_enabled",
            "invalidation_enabled",
            "monitoring_enabled",
        }

    def test_it_leaves_nothing_behind(self, users: Any) -> None:
        """Defect of 003: its health check used one fixed key that workers shared."""
        store = caches["default"]
        before = dict(store._cache)
        manage("status")
        assert dict(store._cache) == before


class TestMonitor:
    def test_dashboard(self, users: Any) -> None:
        """003, "manage_cache monitor": after 001's check, a bar of 30 characters and the key patterns."""
        for _ in range(3):
            users.get("user:1")
        users.get("user:nobody")
        said = manage("monitor", "--cache-name", "enterpriseland.users")
        dashboard = said.partition(f"{RULE}\nCACHE MONITORING DASHBOARD\n{RULE}\n")[2]
        (bar,) = [line for line in dashboard.splitlines() if line.startswith("Hit Rate: ")]
        assert bar == "Hit Rate: [" + "\u2588" * 22 + "\u2591" * 8 + "] 75.0%"
        assert "\nTop Key Patterns:\npattern" in dashboard
        assert "\nuser:*" in dashboard

    def test_prometheus(self, users: Any) -> None:
        """003, "manage_cache monitor --export=prometheus": the names that dashboards of 003 have."""
        users.get("user:1")
        said = manage("monitor", "--export=prometheus")
        assert 'cache_hit_rate{cache="enterpriseland.users"} 1' in said
        assert 'cache_operations_total{cache="enterpriseland.users",op="hit"} 1' in said

    def test_key_statistics(self, users: Any) -> None:
        """003, "get_key_statistics": counts, sizes and hit rate by key pattern."""
        users.get("user:1")
        shown = json.loads(manage("monitor", "--export", "json"))["key_statistics"]
        (statistics,) = [found for name, found in shown.items() if name.startswith("enterpriseland.users ")]
        assert {"hits", "misses", "sets", "deletes", "avg_size", "total_size", "hit_rate"} == set(statistics)
        assert (statistics["hits"], statistics["sets"], statistics["hit_rate"]) == (1, 4, 1.0)


class TestOptimize:
    def test_text(self, users: Any) -> None:
        """003, "manage_cache optimize": performance, then recommendations, the most urgent first."""
        for _ in range(200):
            users.get("nothing")
        lines = manage("optimize").splitlines()
        assert lines[:3] == [RULE, "CACHE OPTIMIZATION ANALYSIS", RULE]
        assert lines[4] == "Current Performance:"
        at = lines.index("Recommendations:")
        marks = [line.split("]")[0].strip(" [") for line in lines[at:] if line.startswith("  [")]
        order = ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
        assert marks
        assert marks == sorted(marks, key=order.index)

    def test_output(self, users: Any, tmp_path: Path) -> None:
        """003, "manage_cache optimize --output=recommendations.json": what `optimize_cache_configuration` returns."""
        for _ in range(200):
            users.get("nothing")
        path = tmp_path / "recommendations.json"
        manage("optimize", f"--output={path}")
        shown = json.loads(path.read_text())
        assert {"timestamp", "current_performance", "recommendations", "suggested_config"} <= set(shown)
        assert set(shown["current_performance"]) == {"hit_rate", "avg_response_time"}
        assert all({"issue", "recommendation", "priority"} <= set(one) for one in shown["recommendations"])
        assert shown["suggested_config"] == {"default_timeout": 5400}


class TestClear:
    def test_it_does_not_ask_where_nobody_could_answer(self, users: Any) -> None:
        """003, "manage_cache clear": it asked in cron too, and failed there."""
        assert manage("clear") == "Cleared all caches\n"
        assert len(users) == 0

    def test_what_is_asked_can_be_left_out(self, users: Any) -> None:
        """Defect of 003: there was no --noinput; Django's own name for it is taken from Python too."""
        assert manage("clear", "--noinput") == "Cleared all caches\n"
        assert manage("clear", interactive=False) == "Cleared all caches\n"
