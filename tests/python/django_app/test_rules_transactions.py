"""Rules take effect at the commit, and not at all after a rollback; the trail says which did."""

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase
from ruled import Register, keys_in
from sessions import Words, rolled_back

from oxicache import invalidation
from oxicache.django import marks
from oxicache.invalidation import Effect
from oxicache.trail import trail


class TestTransactions:
    def test_nothing_happens_before_the_commit(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """An earlier system's handlers ran before it: readers stored what was old once more."""
        register("auth.Group", keys="k:{pk}", models="catalogue.Label")
        words = Words("rows:catalogue.label")
        with transaction.atomic():
            group.save()
            with transaction.atomic():
                group.save()
            assert carried == []
            assert words.moved == []
        assert len(carried) <= 2, "joined: one for each block that was open"
        assert keys_in(carried) == {f"k:{group.pk}"}
        assert words.moved == ["rows:catalogue.label"]

    def test_nothing_happens_after_a_rollback(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """Of the transaction, and of a savepoint."""
        register("auth.Group", keys="{name}")
        with rolled_back():
            group.save()
        assert carried == []
        with transaction.atomic():
            group.save()
            with rolled_back():
                Group(pk=group.pk, name="rules-undone").save()
        assert keys_in(carried) == {"rules"}
        with rolled_back():
            with transaction.atomic():
                group.save()
            with transaction.atomic():
                group.save()
        assert carried == []

    def test_what_a_released_savepoint_held_is_kept(self, register: Register, carried: list[Effect]) -> None:
        """However many come and go."""
        register("auth.Group", keys="{name}")
        with transaction.atomic():
            for number in range(30):
                with transaction.atomic():
                    Group.objects.create(name=f"rules{number}")
        assert len(carried) <= 2
        assert keys_in(carried) == {f"rules{number}" for number in range(30)}
        Group.objects.filter(name__startswith="rules").delete()

    def test_each_database_has_its_own_commit(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """What was saved on one does not wait for another."""
        register("auth.Group", keys="{name}")
        with transaction.atomic(using="other"):
            group.save()
            assert keys_in(carried) == {"rules"}
            Group.objects.using("other").create(name="rules-other")
            assert carried == []
        assert keys_in(carried) == {"rules-other"}
        Group.objects.using("other").all().delete()

    def test_without_autocommit_it_waits_for_the_commit(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """A project that manages its transactions by itself."""
        register("auth.Group", keys="k")
        transaction.set_autocommit(False)
        try:
            group.save()
            assert carried == []
            transaction.commit()
            assert keys_in(carried) == {"k"}
            group.save()
            transaction.rollback()
            assert carried == []
        finally:
            transaction.set_autocommit(True)
        assert carried == []

    def test_a_commit_that_failed_invalidates_and_may_be_tried_again(
        self, register: Register, carried: list[Effect], group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody knows whether the database has committed."""
        register("auth.Group", keys="k")
        transaction.set_autocommit(False)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(connection, "_commit", lambda: 1 / 0)
                group.save()
                with pytest.raises(ZeroDivisionError):
                    transaction.commit()
            assert keys_in(carried) == {"k"}
            transaction.commit()
            assert keys_in(carried) == {"k"}
        finally:
            transaction.set_autocommit(True)

    def test_very_many_names_are_made_fewer(
        self, register: Register, carried: list[Effect], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transaction that changes a million rows takes no memory for a million names, and the trail says so."""
        monkeypatch.setattr(invalidation, "MAX_PENDING_NAMES", 10)
        register("auth.Group", keys="k:{pk}")
        with transaction.atomic():
            for number in range(15):
                Group.objects.create(name=f"rules{number}")
        (effect,) = carried
        assert "k:*" in effect.globs
        assert len(effect) < 12
        assert any(event["kind"] == "many" for event in trail.events(limit=20))
        Group.objects.filter(name__startswith="rules").delete()

    def test_one_that_fails_to_be_carried_out_does_not_undo_the_commit(
        self, register: Register, group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor keep the callbacks of others from being called."""
        register("auth.Group", keys="k")
        monkeypatch.setattr(marks, "_executors", [lambda *_: 1 / 0])
        called: list[int] = []
        with transaction.atomic():
            transaction.on_commit(lambda: called.append(1))
            group.save()
        assert called == [1]

    def test_whoever_calls_back_after_the_commit_finds_it_done(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """Callbacks of `on_commit` come after, also those that were registered before the save."""
        register("auth.Group", keys="k")
        found: list[set[str]] = []
        with transaction.atomic():
            transaction.on_commit(lambda: found.append(keys_in(carried)))
            group.save()
        assert found == [{"k"}]


class TestInTestCase(TestCase):
    def test_it_is_immediate(self) -> None:
        """The block that TestCase opens never commits."""
        from oxicache.django.rules import Rule, register_rule

        carried: list[Effect] = []
        before = list(marks._executors)
        end = register_rule(Rule("auth.Group", keys="k"))
        try:
            marks.carry_out_with(lambda effect, _: carried.append(effect))
            Group.objects.create(name="rules")
        finally:
            marks._executors[:] = before
            end()
        assert keys_in(carried) == {"k"}


class TestTrail:
    def test_it_says_which_rule_what_where_and_when(self, register: Register, group: Group) -> None:
        """As of the commit, with the line that saved."""
        register("auth.Group", tags="t:{pk}", keys="k:{pk}", globs="g*", name="the rule")
        trail.clear()
        with transaction.atomic():
            group.save()
            assert trail.events() == []
        events = [event for event in trail.events() if event["detail"] == "the rule"]
        assert len(events) == 1
        assert {f"tag:t:{group.pk}", f"key:k:{group.pk}", "pattern:g*"} <= set(events[0]["names"])
        assert "test_rules_transactions.py" in events[0]["where"]
        assert events[0]["kind"] == "save"

    def test_each_save_of_a_transaction_has_its_line(self, register: Register, group: Group) -> None:
        """Joined effects do not lose who asked for them."""
        register("auth.Group", keys="k", name="the rule")
        trail.clear()
        with transaction.atomic():
            group.save()
            group.save()
        events = [event for event in trail.events() if event["detail"] == "the rule"]
        assert len({event["where"] for event in events}) == 2

    def test_what_was_rolled_back_is_not_in_it(self, register: Register, group: Group) -> None:
        """Nothing was invalidated."""
        register("auth.Group", keys="k")
        trail.clear()
        with rolled_back():
            group.save()
        assert trail.events() == []
