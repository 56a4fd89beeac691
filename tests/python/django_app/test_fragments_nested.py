"""What fragments depend on, and what holds them: outer fragments, responses, transactions."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache, caches
from django.db import transaction
from django.http import HttpResponse
from django.template import Engine, Template
from django.test import override_settings
from shown_templates import CACHES, Counter, asked, shown

from oxicache import _native, testing
from oxicache.django import invalidate, nesting
from oxicache.django.fragments import guarding
from oxicache.django.holding import Holder
from oxicache.django.responses import cached_view

pytestmark = pytest.mark.usefixtures("no_rows")


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=CACHES):
        guarding.forget()
        for one in caches.all():
            one.clear()
        yield


def fragment(arguments: str, body: str = "{{ counter }}") -> str:
    return "{% cache_fragment " + arguments + " %}" + body + "{% endcache_fragment %}"


def twice(source: str, **context: Any) -> list[str]:
    return [shown(source, **context) for _ in range(2)]


def made(source: str) -> Template:
    """Return a template that others include."""
    libraries = {"cache_tags": "oxicache.django.templatetags.cache_tags"}
    return Engine(libraries=libraries).from_string("{% load cache_tags %}" + source)


class Page:
    """A cached view that shows a template."""

    def __init__(self, source: str, counter: Counter, **options: Any) -> None:
        def view(request: Any) -> HttpResponse:
            return HttpResponse(shown(source, request=request, counter=counter))

        self._view = cached_view(timeout=600, **options)(view)

    def __call__(self, **given: Any) -> tuple[str, str | None]:
        response = self._view(asked(**given))
        return response.content.decode(), response.get("X-Cache")


class TestTags:
    @pytest.mark.parametrize("is_held", [False, True], ids=["rendered", "found"])
    @pytest.mark.parametrize("tag", ["one", "two"])
    def test_inner_ones_bubble_up(self, tag: str, is_held: bool) -> None:
        """Through as many as there are, whether the inner one was rendered with the outer one or found."""
        counter = Counter()
        inner = made(fragment("'middle'", fragment("'inner' tags='one, two'")))
        outer = fragment("'outer'", "{{ counter }}[{% include inner %}]")
        given = {"inner": inner, "counter": counter}
        if is_held:
            assert twice("{% include inner %}", **given) == ["1", "1"]
        first, again = twice(outer, **given)
        assert first == again == ("2[1]" if is_held else "1[2]")
        invalidate(tags=["three"])
        assert shown(outer, **given) == first
        invalidate(tags=[tag])
        assert twice(outer, **given) == ["3[4]", "3[4]"]

    def test_very_many_tags_are_one(self) -> None:
        """What has more than there is room for goes with any tag, and never too late."""
        counter = Counter()
        rows = "{% for row in rows %}" + fragment("'row' row tags=row", "") + "{% endfor %}"
        outer = fragment("'outer'", rows + "{{ counter }}")
        given = {"rows": [f"row:{number}" for number in range(80)], "counter": counter}
        assert twice(outer, **given) == ["1", "1"]
        invalidate(tags=["row:79"])
        assert twice(outer, **given) == ["2", "2"]

    def test_a_tag_that_is_invalidated_meanwhile(self) -> None:
        """While an inner fragment is shown in an outer one: neither is kept with what it was."""
        counter = Counter()
        source = fragment("'outer'", fragment("'inner' tags='t'") + "{{ change }}")
        changes: list[Any] = [lambda: invalidate(tags=["t"])]

        def change() -> str:
            while changes:
                changes.pop()()
            return ""

        assert shown(source, counter=counter, change=change) == "1"
        assert twice(source, counter=counter, change=change) == ["2", "2"]

    def test_another_cache_has_none(self, caplog: pytest.LogCaptureFixture) -> None:
        """There a fragment with tags is not kept, nor one around it; one line says so."""
        counter = Counter()
        assert twice(fragment("'a' tags='t' alias='local'"), counter=counter) == ["1", "2"]
        inner = fragment("'inner' tags='t'")
        assert twice(fragment("'outer' alias='local'", "{{ counter }}" + inner), counter=counter) == [
            "34",
            "54",
        ]
        assert [record.message.partition(":")[0] for record in caplog.records] == [
            "The fragment 'a' is not cached",
            "The fragment 'outer' is not cached",
        ]

    def test_in_another_store(self) -> None:
        """A tag that is invalidated where the inner one is held reaches the outer one."""
        counter = Counter()
        source = fragment("'outer'", "{{ counter }}" + fragment("'inner' tags='t' alias='other'"))
        assert twice(source, counter=counter) == ["12", "12"]
        caches["other"].delete_by_tag("t")  # type: ignore[attr-defined]
        assert twice(source, counter=counter) == ["34", "34"]


class TestTime:
    def test_an_outer_one_lives_no_longer(self) -> None:
        """Than what is left of the first inner one that expires."""
        counter = Counter()
        inner = fragment("'inner' timeout=100")
        with testing.clock() as clock:
            part = made(inner)
            source = fragment("'outer' timeout=1000", "{{ counter }},{% include part %}")
            assert shown("{% include part %}", part=part, counter=counter) == "1"
            clock.advance(60)
            assert twice(source, part=part, counter=counter) == ["2,1", "2,1"]
            clock.advance(39)
            assert shown(source, part=part, counter=counter) == "2,1"
            clock.advance(2)
            assert twice(source, part=part, counter=counter) == ["3,4", "3,4"]

    def test_what_is_never_kept_keeps_none_around_it(self) -> None:
        """An inner fragment with timeout=0."""
        counter = Counter()
        assert twice(fragment("'outer'", fragment("'inner' timeout=0")), counter=counter) == ["1", "2"]


class TestModels:
    def test_models_invalidate(self) -> None:
        """That `depends_on` names: one, or several."""
        counter = Counter()
        source = fragment("'a' depends_on='auth.Group, auth.Permission'")
        assert twice(source, counter=counter) == ["1", "1"]
        group = Group.objects.create(name="one")
        assert twice(source, counter=counter) == ["2", "2"]
        group.delete()
        assert twice(source, counter=counter) == ["3", "3"]

    def test_a_row_invalidates(self) -> None:
        """That it names: another row of its model does not, all rows do."""
        counter = Counter()
        one, two = (Group.objects.create(name=name) for name in ("one", "two"))
        source = fragment("'row' row.pk depends_on=row", "{{ row.name }}{{ counter }}")
        assert twice(source, row=one, counter=counter) == ["one1", "one1"]
        two.save()
        assert shown(source, row=one, counter=counter) == "one1"
        one.name = "first"
        one.save()
        assert twice(source, row=one, counter=counter) == ["first2", "first2"]
        invalidate(Group)
        assert shown(source, row=one, counter=counter) == "first3"

    def test_inner_ones_bubble_up(self) -> None:
        """An outer fragment goes with the models of those in it."""
        counter = Counter()
        source = fragment("'outer'", "{{ counter }}" + fragment("'inner' depends_on='auth.Group'"))
        assert twice(source, counter=counter) == ["12", "12"]
        Group.objects.create(name="one")
        assert twice(source, counter=counter) == ["34", "34"]

    def test_one_that_changes_meanwhile(self) -> None:
        """While the rest of an outer fragment is rendered: nothing is kept that shows what was before."""
        counter = Counter()
        source = fragment(
            "'outer'", "{{ counter }}" + fragment("'inner' depends_on='auth.Group'") + "{{ change }}"
        )
        changes: list[Any] = [lambda: Group.objects.create(name="one")]

        def change() -> str:
            while changes:
                changes.pop()()
            return ""

        assert shown(source, counter=counter, change=change) == "12"
        assert twice(source, counter=counter, change=change) == ["34", "34"]

    def test_one_that_changes_when_it_was_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before its versions are taken for the outer fragment, which shows what was before, and is not kept."""
        counter = Counter()
        inner = made(fragment("'inner' depends_on='auth.Group'"))
        source = fragment("'outer'", "{% include inner %}")
        assert shown("{% include inner %}", inner=inner, counter=counter) == "1"
        captured, changes = nesting.captured, [1]

        def late(needs: nesting.Needs) -> Any:
            if needs and changes:
                changes.pop()
                Group.objects.create(name="one")
            return captured(needs)

        monkeypatch.setattr(nesting, "captured", late)
        assert shown(source, inner=inner, counter=counter) == "1"
        assert twice(source, inner=inner, counter=counter) == ["2", "2"]

    def test_what_is_no_model(self) -> None:
        """Is said when it is asked for, and is not taken for nothing."""
        with pytest.raises(ValueError, match=r"depends_on: 'moon.Rock' is no model"):
            shown(fragment("'a' depends_on=name"), name="moon.Rock", counter=Counter())


class TestTransactions:
    def test_nothing_is_kept_of_one_that_has_written(self) -> None:
        """Nor is what depends on models found in it; after a rollback all is as before."""
        counter = Counter()
        plain, dependent = fragment("'plain'"), fragment("'dependent' depends_on='auth.Group'")
        assert twice(dependent, counter=counter) == ["1", "1"]
        with transaction.atomic():
            Group.objects.create(name="one")
            assert twice(plain, counter=counter) == ["2", "3"]
            assert twice(dependent, counter=counter) == ["4", "5"]
            transaction.set_rollback(True)
        assert shown(dependent, counter=counter) == "1"
        assert twice(plain, counter=counter) == ["6", "6"]


class TestResponses:
    def test_tags_of_fragments_are_the_responses(self) -> None:
        """Rendered for the response or found; so are models."""
        counter = Counter()
        source = fragment("'a' tags='t'") + fragment("'b' depends_on='auth.Group'")
        page = Page(source, counter)
        assert [page(), page()] == [("12", "MISS"), ("12", "HIT")]
        invalidate(tags=["t"])
        assert [page(), page()] == [("32", "MISS"), ("32", "HIT")]
        Group.objects.create(name="one")
        assert [page(), page()] == [("34", "MISS"), ("34", "HIT")]
        other = Page(source, counter, key_prefix="other", tags=["own"])
        assert [other(), other()] == [("34", "MISS"), ("34", "HIT")]
        invalidate(tags=["own"])
        assert [other(), other()] == [("34", "MISS"), ("34", "HIT")]

    def test_a_response_lives_no_longer(self) -> None:
        """Than its first fragment that expires."""
        counter = Counter()
        page = Page("{{ counter }}," + fragment("'a' timeout=60"), counter)
        with testing.clock() as clock:
            assert [page(), page()] == [("1,2", "MISS"), ("1,2", "HIT")]
            clock.advance(61)
            assert page() == ("3,4", "MISS")

    def test_one_of_a_tenant_of_the_session(self) -> None:
        """Is kept: what its fragments ask of the session for their key is in its own."""
        counter = Counter()
        page = Page(fragment("'a'"), counter, per_user=False)
        with override_settings(OXICACHE={"TENANT": "oxicache.django.scope.session_tenant"}), testing.strict():
            found = []
            for tenant in (1, 2, 1, 2):
                request = asked()
                request.session["tenant_id"] = tenant
                response = page._view(request)
                found.append((response.content.decode(), response["X-Cache"]))
        assert found == [("1", "MISS"), ("2", "MISS"), ("1", "HIT"), ("2", "HIT")]

    def test_one_in_another_cache_is_not_kept(self, caplog: pytest.LogCaptureFixture) -> None:
        """Where tags of its fragments would not reach it."""
        counter = Counter()
        page = Page("{{ counter }}" + fragment("'a' tags='t'"), counter, alias="local")
        assert [page(), page()] == [("12", None), ("32", None)]
        assert "a fragment in it has tags or depends on models" in caplog.text

    def test_one_with_a_fragment_that_has_no_key(self) -> None:
        """Is not kept if that has tags, which nobody could tell; else it is."""
        counter = Counter()
        plain = Page("{{ counter }}" + fragment("'a' counter", ""), counter, key_prefix="plain")
        tagged = Page("{{ counter }}" + fragment("'b' counter tags='t'", ""), counter, key_prefix="tagged")
        assert [plain(), plain()] == [("1", "MISS"), ("1", "HIT")]
        assert [tagged(), tagged()] == [("2", None), ("3", None)]

    def test_a_users_fragment_in_a_shared_response(self) -> None:
        """Keeps it from being shared."""
        from django.contrib.auth.models import User

        page = Page(fragment("'a' vary_on='user'", "{{ request.user.username }}"), Counter(), per_user=False)
        for _ in range(2):
            for name in ("ann", "bob"):
                assert page(user=User(pk=ord(name[0]), username=name)) == (name, None)


class TestThreads:
    def test_one_renders_and_the_others_wait(self) -> None:
        """A block is rendered once, however many show it at a time."""
        began, go = threading.Event(), threading.Event()
        calls, found = [], []

        def slow() -> str:
            calls.append(1)
            began.set()
            assert go.wait(30)
            return "x"

        def show() -> None:
            found.append(shown(fragment("'slow'", "{{ slow }}"), slow=slow))

        threads = [threading.Thread(target=show) for _ in range(4)]
        threads[0].start()
        assert began.wait(30)
        for one in threads[1:]:
            one.start()
        go.set()
        for one in threads:
            one.join(30)
        assert (found, len(calls)) == (["x"] * 4, 1)

    def test_what_is_not_kept_makes_nobody_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those who show what is a visitor's render it beside one another, once that was found out."""
        alone = []
        load = Holder.load

        def loaded(*args: Any, **kwargs: Any) -> Any:
            alone.append(kwargs["alone"])
            return load(*args, **kwargs)

        monkeypatch.setattr(Holder, "load", loaded)
        source = fragment("'leak'", "{% if leaks %}{{ user }}{% endif %}x")
        with testing.clock() as clock:
            for leaks in (True, True, False):
                assert shown(source, user="ann", leaks=leaks)[-1] == "x"
            cache.clear()
            assert shown(source, user="ann", leaks=True) == "annx"
            clock.advance(11)
            assert shown(source, user="ann", leaks=True) == "annx"
        assert alone == [False, True, True, False, False]


def test_a_hit_is_a_plain_text() -> None:
    """What is held is held as it is: no copy is made of it, and nothing is unpickled."""
    shown(fragment("'a'", "<b>x</b>"))
    memory: Any = cache
    ((_, _, key),) = memory._memory.keys()
    held = memory._memory.peek(key)
    assert type(held[0]) is str
    assert _native._freeze(held)[1] == "value"
