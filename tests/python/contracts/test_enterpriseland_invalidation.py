"""Document 003 (EnterpriseLand), "Cache Invalidation", "Model-Based Invalidation", "Integration Examples".

Each example is run as it is printed; `platform_core.caching` is oxicache.compat.enterpriseland. What was wrong there:
test_enterpriseland_defects.py.
"""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from dialect_caches import filled, left, roll_back
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import post_save
from django.test import override_settings
from document_pages import Example, example
from platform_site import dependent, platform_cache, run_later, tagged, user
from project.assessments.models import Assessment, Partner

from oxicache.compat.enterpriseland import (
    DependencyInvalidator,
    PatternInvalidator,
    SmartInvalidator,
    TagInvalidator,
    cache_manager,
)

__all__ = ["platform_cache", "run_later", "user"]  # fixtures


@pytest.fixture(autouse=True)
def cache(platform_cache: Any) -> Any:
    """The default alias, empty."""
    return platform_cache


class TestExamples:
    @example("003", "Smart Invalidation")
    def test_smart_invalidation(self, shown: Example, cache: Any) -> None:
        """003, "Smart Invalidation": each criterion finds its own."""
        gone = [
            tagged(cache, "a", "user"),
            tagged(cache, "b", "profile", "other"),
            *filled(cache, "user:1", "user:2:name"),
            dependent(cache, "c", "auth.User", 123),
        ]
        kept = [
            tagged(cache, "d", "other"),
            *filled(cache, "superuser:1", "users"),
            dependent(cache, "e", "auth.User", 124),
        ]
        shown.run()
        assert left(cache, [*gone, *kept]) == kept

    @pytest.mark.parametrize(
        ("keys", "related"),
        [
            (["user:7"], ["profile:7", "permissions:7", "groups:7"]),
            (["assessment:7"], ["partners:7", "lists:7"]),
            (["deal:7"], ["milestones:7", "activities:7", "team:7"]),
            (["user:7", "deal:8"], ["profile:7", "groups:7", "milestones:8", "activities:8", "team:8"]),
        ],
        ids=str,
    )
    def test_cascade_invalidation(self, cache: Any, keys: list[str], related: list[str]) -> None:
        """003, "Cascade Invalidation": each of its lines; how many entries there were."""
        gone = filled(cache, *keys, *related)
        kept = filled(cache, "profile:77", "user:70", "milestones:77", "other:7")
        assert SmartInvalidator().cascade_invalidation(keys) == len(gone)
        assert left(cache, [*gone, *kept]) == kept

    @example("003", "Scheduled Invalidation")
    def test_scheduled_invalidation(
        self, shown: Example, cache: Any, run_later: Callable[[float], None]
    ) -> None:
        """003, "Scheduled Invalidation": after five minutes, and not before."""
        keys = [tagged(cache, "a", "temporary_data"), tagged(cache, "b", "other")]
        page = shown.run(cache_manager=cache_manager)
        assert str(uuid.UUID(page["job_id"], version=4)) == page["job_id"]
        run_later(299)
        assert left(cache, keys) == keys
        run_later(2)
        assert left(cache, keys) == keys[1:]

    @example("003", "With Celery Tasks")
    def test_with_celery_tasks(self, shown: Example, cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """003, "With Celery Tasks": what it invalidates is gone before it computes. What it warms is noted here."""
        warmed: list[Any] = []
        monkeypatch.setattr(
            cache_manager, "warm_cache", lambda *_, **given: warmed.append(given), raising=False
        )
        keys = [tagged(cache, "a", "data:5"), tagged(cache, "b", "data:55")]
        page = shown.run(
            expensive_processing=lambda data_id: left(cache, keys),
            __name__=f"project.examples_{uuid.uuid4().hex}",  # celery knows tasks by it
        )
        page["process_data"](5)
        assert warmed[0]["endpoint_configs"][0]["data_func"]() == ["b"]

    @example("003", "With Django Signals")
    def test_with_django_signals(self, shown: Example, cache: Any, user: User) -> None:
        """003, "With Django Signals": tags and keys of the user who is saved."""
        page = shown.run(
            User=User,
        )
        gone = [
            tagged(cache, "a", f"user:{user.pk}"),
            tagged(cache, "b", "user_list"),
            *filled(cache, f"user:{user.pk}:name"),
        ]
        kept = filled(cache, f"user:{user.pk}0:name", f"user:{user.pk}")
        try:
            user.save()
        finally:
            post_save.disconnect(page["invalidate_user_cache"], sender=User)
        assert left(cache, [*gone, *kept]) == kept

    @example("003", "3. Model-Based Invalidation")
    def test_model_based_invalidation(self, shown: Example, cache: Any, user: User) -> None:
        """003, "Model-Based Invalidation": the settings as they are printed, and what follows from them."""
        page = shown.run()
        with override_settings(CACHE_STRATEGIES=page["CACHE_STRATEGIES"]):
            pk = user.pk
            for change in (user.save, user.delete):
                keys = filled(
                    cache, f"profile:{pk}", f"permissions:{pk}:all", f"profile:{pk}0", f"groups:{pk}"
                )
                change()
                assert left(cache, keys) == keys[2:]
            assessment = Assessment.objects.create()
            partner = Partner.objects.create(assessment=assessment)
            for change in (assessment.save, assessment.delete):
                keys = [
                    dependent(cache, "a", "assessments.Assessment", assessment.pk),
                    dependent(cache, "p", "assessments.Partner", partner.pk),
                    dependent(cache, "u", "auth.User", pk),
                ]
                change()
                assert left(cache, keys) == ["u"]


class TestSettled:
    """What callers rely on."""

    def test_tags(self, cache: Any) -> None:
        """How many entries there were, each counted once, and none the second time."""
        keys = [tagged(cache, "a", "x", "y"), tagged(cache, "b", "y"), tagged(cache, "c", "z")]
        invalidator = TagInvalidator(cache_alias="default")
        assert invalidator.invalidate(["x", "y"]) == 2
        assert left(cache, keys) == ["c"]
        assert invalidator.invalidate(["x", "y"]) == 0

    def test_a_pattern(self, cache: Any) -> None:
        """A regular expression, matched from the start of the key on."""
        keys = filled(cache, "user:1", "user:2:x", "my:user:3")
        invalidator = PatternInvalidator()
        invalidator.register_dependency("user:1")
        assert invalidator.invalidate(r"user:\d") == 2
        assert left(cache, keys) == ["my:user:3"]

    def test_a_prefix(self, cache: Any) -> None:
        """Taken as it is, whatever it means in a pattern."""
        keys = filled(cache, "a.b:1", "a.b", "axb:1")
        assert PatternInvalidator().invalidate_prefix("a.b") == 2
        assert left(cache, keys) == ["axb:1"]

    def test_dependencies(self, cache: Any) -> None:
        """Those of a row, or of all rows of a model."""
        row, other, all_rows = (
            dependent(cache, "row", "auth.User", 1),
            dependent(cache, "other", "auth.User", 2),
            dependent(cache, "all", "auth.User"),
        )
        elsewhere = dependent(cache, "elsewhere", "auth.Group", 1)
        invalidator = DependencyInvalidator()
        assert invalidator.invalidate("auth.User", 1, "delete") == 2
        assert left(cache, [row, other, all_rows, elsewhere]) == [other, elsewhere]
        assert invalidator.invalidate("auth.User") == 1
        assert left(cache, [row, other, all_rows, elsewhere]) == [elsewhere]

    def test_what_rules_name(self, cache: Any, user: User) -> None:
        """By hand a model's rules are applied as its signals apply them: those of the operation."""
        strategies = {"models": [{"model": "auth.User", "invalidate_on": ["save"], "related": ["profile"]}]}
        keys = filled(cache, f"profile:{user.pk}", "profile:0")
        with override_settings(CACHE_STRATEGIES=strategies):
            cache_manager.invalidate("dependency", model="auth.User", instance_id=user.pk, operation="delete")
            assert left(cache, keys) == keys
            cache_manager.invalidate("smart", context={"model": "auth.User", "instance_id": user.pk})
            assert left(cache, keys) == ["profile:0"]

    def test_the_smart_result(self, cache: Any) -> None:
        """By strategy and in all; a rule of the caller's under its own name."""
        smart = SmartInvalidator()
        called: list[Any] = []
        smart.add_rule("yes", lambda context: "tags" in context, lambda context: called.append(context) or 5)
        smart.add_rule("no", lambda context: "missing" in context, lambda context: 7)
        tagged(cache, "a", "t")
        filled(cache, "user:1")
        dependent(cache, "c", "auth.User", 3)
        context = {"tags": ["t"], "pattern": "^user:", "model": "auth.User", "instance_id": 3}
        assert smart.invalidate_smart(context) == {
            "total": 8,
            "by_strategy": {"yes": 5, "tags": 1, "pattern": 1, "dependency": 1},
        }
        assert called == [context]
        assert smart.invalidate_smart({}) == {"total": 0, "by_strategy": {}}

    def test_the_managers_kinds(self, cache: Any) -> None:
        """tag, pattern, dependency and smart; nothing else."""
        tagged(cache, "a", "t")
        filled(cache, "user:1")
        dependent(cache, "c", "auth.User", 3)
        assert cache_manager.invalidate("tag", tags=["t"]) == 1
        assert cache_manager.invalidate("pattern", pattern="^user:") == 1
        assert cache_manager.invalidate("dependency", model="auth.User", instance_id=3, operation="save") == 1
        assert cache_manager.invalidate("smart", context={"tags": ["t"]})["total"] == 0
        for call in (cache_manager.invalidate, lambda kind: cache_manager.schedule_invalidation(1, kind)):
            with pytest.raises(ValueError, match=r"'adaptive'.*tag, pattern, dependency, smart"):
                call("adaptive")

    @pytest.mark.parametrize(
        ("kind", "criteria"),
        [
            ("tag", {"tags": ["t"]}),
            ("pattern", {"pattern": "^key"}),
            ("dependency", {"model": "auth.User", "instance_id": 3}),
            ("smart", {"context": {"tags": ["t"]}}),
        ],
    )
    def test_each_kind_can_be_scheduled(
        self, cache: Any, run_later: Callable[[float], None], kind: str, criteria: dict[str, Any]
    ) -> None:
        """And cancelled, while it has not run."""
        tagged(cache, "key", "t")
        DependencyInvalidator().register_dependency("key", "auth.User", 3)
        job = cache_manager.schedule_invalidation(10, kind, **criteria)
        cancelled = cache_manager.schedule_invalidation(5, kind, **criteria)
        assert cache_manager.cancel(cancelled) is True
        assert cache_manager.cancel(cancelled) is False
        run_later(6)
        assert cache.get("key") == "value"
        run_later(5)
        assert cache.get("key") is None
        assert cache_manager.cancel(job) is False

    def test_a_job_that_makes_no_sense(self) -> None:
        """It is refused when it is asked for, not when it is due."""
        for seconds, criteria in (
            (1, {}),
            (1, {"tag": ["t"]}),
            (-1, {"tags": ["t"]}),
            ("1", {"tags": ["t"]}),
        ):
            with pytest.raises((TypeError, ValueError)):
                cache_manager.schedule_invalidation(seconds, "tag", **criteria)  # type: ignore[arg-type]

    def test_a_job_of_a_transaction(self, cache: Any, run_later: Callable[[float], None]) -> None:
        """It waits from the commit on, and after a rollback there is none."""
        key = tagged(cache, "a", "t")
        roll_back(lambda: cache_manager.schedule_invalidation(1, "tag", tags=["t"]))
        run_later(2)
        assert left(cache, [key]) == [key]
        with transaction.atomic():
            cache_manager.schedule_invalidation(1, "tag", tags=["t"])
            run_later(2)
        assert left(cache, [key]) == [key]
        run_later(2)
        assert left(cache, [key]) == []

    def test_in_a_transaction(self, cache: Any) -> None:
        """Nothing is gone before the commit, nor counted."""
        key = tagged(cache, "a", "t")
        with transaction.atomic():
            assert cache_manager.invalidate("smart", context={"tags": ["t"], "pattern": "^a"}) == {
                "total": 0,
                "by_strategy": {"tags": 0, "pattern": 0},
            }
            assert left(cache, [key]) == [key]
        assert left(cache, [key]) == []

    def test_switched_off(self, cache: Any, user: User) -> None:
        """CACHE_INVALIDATION_ENABLED = False: nothing by itself; what is asked for is done."""
        strategies = {"models": [{"model": "auth.User", "invalidate_on": ["save"], "related": ["profile"]}]}
        keys = filled(cache, f"profile:{user.pk}")
        with override_settings(CACHE_STRATEGIES=strategies, CACHE_INVALIDATION_ENABLED=False):
            user.save()
            assert left(cache, keys) == keys
            assert cache_manager.invalidate("pattern", pattern="^profile") == 1
