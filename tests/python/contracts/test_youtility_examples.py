"""Document 004 (YOUTILITY5): its commands as they are typed, its times, its health check, what it warns of.

Its other examples: test_youtility_responses.py, test_youtility_invalidation.py, test_youtility_keys.py,
test_youtility_forms.py, test_youtility_templates.py.
"""

import ast
import io
import json
import shlex
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from dialect_caches import filled, left
from dialect_requests import TENANT, asked, own_responses
from django.core.cache import caches
from django.core.management import call_command
from django.http import JsonResponse
from django.test import Client, override_settings
from django.views import View
from document_pages import Example, example
from project.facilities.models import Asset, YourModel
from youtility_site import mapped, of_tenant, own_dependencies, row

from oxicache import testing
from oxicache.compat import youtility
from oxicache.compat.enterpriseland import cache_monitor
from oxicache.django import conf

__all__ = ["row"]  # a fixture


@pytest.fixture(autouse=True)
def _site(django_databases: None) -> Iterator[None]:
    with own_responses(), own_dependencies():
        yield


@pytest.fixture
def cache() -> Any:
    return caches["default"]


def told(shown: Example) -> dict[str, str]:
    """What each command of an example prints."""
    said = {}
    for words in shown.commands():
        out = io.StringIO()
        call_command(*words, stdout=out)
        said[" ".join(words[1:])] = out.getvalue()
    return said


RESTS = ("dashboard:metrics", "dropdown:people:all", "report:monthly", "other")


class TestCommands:
    @example("004", "Cache Invalidation")
    def test_cache_invalidation(self, shown: Example, cache: Any) -> None:
        """004, "Cache Invalidation": lists, a tenant's pattern, what depends on a model, everything."""
        mapped()
        keys = filled(cache, *of_tenant(1, *RESTS), *of_tenant(2, *RESTS))
        seen = {}
        for words in shown.commands():
            out = io.StringIO()
            call_command(*words, stdout=out)
            seen[" ".join(words[1:])] = out.getvalue(), left(cache, keys)
        said = {command: text for command, (text, _) in seen.items()}
        assert "dropdown:people" in said["--list-patterns"]
        assert "facilities.People" in said["--list-models"]
        assert "Cleared 1 cache keys" in said["--pattern dashboard --tenant-id 1"]
        assert "Would clear pattern" in said["--pattern dropdown --dry-run"]
        after = [there for _, there in seen.values()]
        assert after[:2] == [keys, keys]
        assert after[2] == [key for key in keys if key not in of_tenant(1, "dashboard:metrics")]
        assert after[3] == [*of_tenant(1, *RESTS[2:]), *of_tenant(2, *RESTS[2:])]
        assert after[4:] == [[], []]

    @example("004", "Issue: Low Cache Hit Ratio (<60%)")
    def test_low_cache_hit_ratio(self, shown: Example) -> None:
        """004, "Issue: Low Cache Hit Ratio": what is there to look through; warming is still to come."""
        mapped()
        assert ["dropdown:people" in text for text in told(shown).values()] == [True, True]

    @example("004", "Issue: Stale Cached Data")
    def test_stale_cached_data(self, shown: Example, cache: Any, row: Callable[..., Any]) -> None:
        """004, "Issue: Stale Cached Data": by hand; and a dependency that is registered counts from then on."""
        keys = filled(cache, *of_tenant(1, "dashboard:metrics", "other"))
        assert "Cleared 1 cache keys" in told(shown)["--pattern dashboard --tenant-id 1"]
        assert left(cache, keys) == keys[1:]
        shown.typed()
        keys = filled(cache, *of_tenant(1, "pattern:to:invalidate", "pattern:to:keep"))
        row(YourModel, tenant_id=1)
        assert left(cache, keys) == keys[1:]

    @example("004", "Health Checks")
    def test_health_checks(self, shown: Example) -> None:
        """004, "Health Checks": what is documented, to the letter."""
        command, *documented = shown.lines()
        [_, url] = shlex.split(command)
        response = Client().get(url.removeprefix("http://localhost:8000"))
        assert (response.status_code, response.json()) == (200, json.loads("\n".join(documented)))


class TestFunctions:
    @example("004", "Accessing Cache Metrics")
    def test_accessing_cache_metrics(self, shown: Example, capsys: pytest.CaptureFixture[str]) -> None:
        """004, "Accessing Cache Metrics": a dict with the documented names, figures of Redis off Redis None."""
        shown.typed()
        found = ast.literal_eval(capsys.readouterr().out)
        assert found["cache_backend"].endswith("NativeCache")
        assert found["redis_memory_used"] is None
        assert {
            "redis_memory_peak",
            "redis_keyspace_hits",
            "redis_keyspace_misses",
            "hit_ratio",
        } <= found.keys()

    @example("004", "Issue: High Memory Usage")
    def test_high_memory_usage(self, shown: Example, cache: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """004, "Issue: High Memory Usage": the figure, and a pattern is cleared."""
        keys = filled(cache, *of_tenant(1, "report:monthly", "reports"), *of_tenant(2, "report"))
        shown.typed()
        assert capsys.readouterr().out == "Memory: None\n"
        assert "Cleared 2 cache keys" in told(shown)["--pattern report"]
        assert left(cache, keys) == [keys[1]]

    @example("004", "Cache Warming Patterns")
    def test_cache_warming_patterns(self, shown: Example, cache: Any) -> None:
        """004, "Cache Warming Patterns": each tenant's data, for an hour; tenant 0 is one."""
        with testing.clock() as clock:
            shown.run(
                active_tenants=[SimpleNamespace(id=0), SimpleNamespace(id=7)],
                generate_expensive_data=lambda tenant: {"of": tenant.id},
                get_tenant_cache_key=youtility.get_tenant_cache_key,
            )
            keys = ("tenant:0:custom:data", "tenant:7:custom:data")
            assert [cache.get(key) for key in keys] == [{"of": 0}, {"of": 7}]
            assert youtility.invalidate_cache_pattern("custom:data", tenant_id=7)["keys_cleared"] == 1
            assert left(cache, list(keys)) == ["tenant:0:custom:data"]
            clock.advance(3601)
            assert left(cache, list(keys)) == []

    @example("004", "Method Caching for Model Instances")
    def test_method_cache(
        self, shown: Example, row: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """004, "Method Caching for Model Instances": each row's for an hour, whichever instance of it is asked."""
        computed: list[int] = []

        def complex_calculation() -> int:
            computed.append(1)
            return 7

        made = shown.run(models=SimpleNamespace(Model=object), complex_calculation=complex_calculation)[
            "MyModel"
        ]
        method = vars(made)["expensive_calculation"]
        monkeypatch.setattr(Asset, "expensive_calculation", method, raising=False)  # a model that has a table
        with testing.clock() as clock:
            first, second = row(Asset, tenant_id=1), row(Asset, tenant_id=1)
            again = Asset.objects.get(pk=first.pk)
            assert [one.expensive_calculation() for one in (first, first, again)] == [7, 7, 7]
            assert computed == [1]
            second.expensive_calculation()
            assert computed == [1, 1]
            clock.advance(3601)
            first.expensive_calculation()
            assert computed == [1, 1, 1]


@example("004", "Tiered Timeout Configuration")
def test_tiered_timeout_configuration(shown: Example) -> None:
    """004, "Tiered Timeout Configuration": its times are the defaults, and as a setting they replace them."""
    documented = shown.run()["CACHE_TIMEOUTS"]
    assert {name: youtility.CACHE_TIMEOUTS[name] for name in documented} == documented
    with override_settings(CACHE_TIMEOUTS={name: seconds + 1 for name, seconds in documented.items()}):
        assert all(youtility.CACHE_TIMEOUTS[name] == seconds + 1 for name, seconds in documented.items())
    assert conf.Timeouts()["DROPDOWN_DATA"] == documented["DROPDOWN_DATA"]


@example("004", "Migrating Existing Views to Use Caching")
def test_before(shown: Example) -> None:
    """004, "Migrating Existing Views", before: the query is made each time."""
    asked_for: list[int] = []

    class Model:
        class objects:  # noqa: N801 -- as models have it
            @staticmethod
            def expensive_query() -> dict[str, Any]:
                asked_for.append(1)
                return {"assets": Asset.objects.count()}

    view = shown.run(View=View, JsonResponse=JsonResponse, Model=Model)["MyView"].as_view()
    for _ in range(2):
        assert json.loads(view(asked(session=TENANT)).content) == {"assets": 0}
    assert asked_for == [1, 1]


@example("004", "Don'ts", 2)
@pytest.mark.parametrize("is_named", [False, True])
def test_sensitive_data(shown: Example, cache: Any, *, is_named: bool) -> None:
    """004, "Don'ts": what is sensitive is named in a setting; then nobody is shown it, though it was cached."""
    with override_settings(OXICACHE={"SENSITIVE": ["user:password"] if is_named else []}):
        shown.run(cache=cache, password_hash="of a password")  # noqa: S106 -- the example's own name
        assert cache.get("user:password") == "of a password"
        assert ("user:*" in cache_monitor.metrics.get_key_statistics()) != is_named
    cache_monitor.metrics._recorder.reset()
