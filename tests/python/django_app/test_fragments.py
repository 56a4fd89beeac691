"""Cached fragments of templates: what tells one from another, and what is wrong."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache, caches
from django.core.management import call_command
from django.http import HttpResponse
from django.template import TemplateSyntaxError
from django.test import override_settings
from django.utils import timezone, translation
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from shown_templates import CACHES, Counter, asked, named, shown

from oxicache import testing
from oxicache.django import invalidate
from oxicache.django.fragments import guarding
from oxicache.django.scope import Scope, use_scope


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


class TestKeys:
    def test_it_is_rendered_once(self) -> None:
        """As long as its time has not passed, with or without a request; what it shows stays safe."""
        counter = Counter()
        source = fragment("'a' timeout=60", "<b>{{ counter }}</b>{{ text }}")
        with testing.clock() as clock:
            assert twice(source, counter=counter, text="<") == ["<b>1</b>&lt;"] * 2
            assert shown(source, counter=counter, request=asked()) == "<b>1</b>&lt;"
            clock.advance(61)
            assert shown(source, counter=counter, text="<") == "<b>2</b>&lt;"

    def test_blocks_never_share(self) -> None:
        """Not under one name, not with one source: each is told apart by its template and its place there."""
        for text in ("one", "two", "{% if x %}one{% endif %}", "{% if y %}one{% endif %}"):
            assert shown(fragment("'a'", text), x=1, y=1) == text[text.find("%}") + 2 :][:3] or text
        assert shown(fragment("'a'", "two")) == "two"
        counter = Counter()
        assert shown(fragment("'a'") + fragment("'a'"), counter=counter) == "12"
        templates = {"one": fragment("'a'"), "two": fragment("'a'")}
        assert named("one", templates, counter=counter) == named("one", templates, counter=counter) == "3"
        assert named("two", templates, counter=counter) == "4"

    def test_an_included_template_shares_with_itself(self) -> None:
        """Whoever includes it: also in a loop, where what varies stands behind the name."""
        counter = Counter()
        templates = {
            "row": fragment("'row' item", "{{ item }}.{{ counter }} "),
            "list": "{% for item in items %}{% include 'row' %}{% endfor %}",
            "page": "{% include 'row' with item=2 only %}",
        }
        assert named("list", templates, items=[1, 2, 1, "1"], counter=counter) == "1.1 2.2 1.1 1.3 "
        assert named("page", templates) == "2.2 "

    def test_blocks_that_are_overridden_count(self) -> None:
        """A fragment around a block of a base template is not shared by the templates that extend it."""
        templates = {
            "base": fragment("'a'", "[{% block content %}base{% endblock %}]"),
            "one": "{% extends 'base' %}{% block content %}one{% endblock %}",
            "two": "{% extends 'base' %}{% block content %}two {{ block.super }}{% endblock %}",
            "three": "{% extends 'two' %}{% block content %}{{ block.super }}!{% endblock %}",
        }
        for _ in range(2):
            assert named("one", templates) == "[one]"
            assert named("two", templates) == "[two base]"
            assert named("three", templates) == "[two base!]"
            assert named("base", templates) == "[base]"

    def test_arguments_may_be_variables(self) -> None:
        """The name, the time, the version, and what it varies by, with filters too; types count."""
        counter = Counter()
        source = fragment(
            "name|lower pk timeout=seconds version=version vary_on=varies alias=alias tags=tags"
        )
        given: dict[str, Any] = {
            "name": "A", "pk": 1, "seconds": timedelta(seconds=60), "version": 1, "varies": ["user", "tenant"],
            "alias": "other", "tags": ["one"], "counter": counter, "request": asked(),
        }  # fmt: skip
        assert twice(source, **given) == ["1", "1"]
        assert shown(source, **given | {"pk": 2}) == "2"
        assert shown(source, **given | {"pk": "1"}) == "3"
        assert shown(source, **given | {"pk": True}) == "4"
        assert shown(source, **given | {"version": 2}) == "5"
        assert shown(source, **given) == "1"
        invalidate(tags=["one"], aliases=["other"])
        assert shown(source, **given) == "6"

    def test_a_time_may_be_named(self) -> None:
        """By CACHE_TIMEOUTS; None is for ever, and 0 is not kept."""
        counter = Counter()
        with testing.clock() as clock, override_settings(CACHE_TIMEOUTS={"SHORT_ONE": 10}):
            assert twice(fragment("'named' timeout='SHORT_ONE'"), counter=counter) == ["1", "1"]
            clock.advance(11)
            assert shown(fragment("'named' timeout='SHORT_ONE'"), counter=counter) == "2"
            assert twice(fragment("'ever' timeout=None"), counter=counter) == ["3", "3"]
            clock.advance(10**9)
            assert shown(fragment("'ever' timeout=None"), counter=counter) == "3"
            assert twice(fragment("'never' timeout=0"), counter=counter) == ["4", "5"]

    def test_language_zone_and_escaping_are_told_apart(self) -> None:
        """So are lazy texts, by what they say."""
        counter = Counter()
        source = fragment("'a' title", "{{ counter }}{{ text }}")
        given = {"counter": counter, "text": "<", "title": gettext_lazy("Yes")}
        assert twice(source, **given) == ["1&lt;", "1&lt;"]
        with translation.override("de"):
            assert twice(source, **given) == ["2&lt;", "2&lt;"]
        with timezone.override("Asia/Tokyo"):
            assert twice(source, **given) == ["3&lt;", "3&lt;"]
        raw = "{% autoescape off %}" + fragment("'b'", "{{ text }}") + "{% endautoescape %}"
        page = {
            "page": "{% include 'part' %}{% autoescape off %}{% include 'part' %}{% endautoescape %}",
            "part": fragment("'c'", "{{ text }}"),
        }
        assert shown(raw, text="<") == "<"
        assert named("page", page, text="<") == "&lt;<"

    def test_how_values_are_shown_is_told_apart(self) -> None:
        """What is localized or not, and safe or escaped, is not the same text: of an included template too."""
        templates = {
            "page": "{% load l10n tz %}{% include 'a' %} {% localize off %}{% include 'a' %}{% endlocalize %} "
            "{% localtime off %}{% include 'a' %}{% endlocaltime %}",
            "a": "{% cache_fragment 'a' text %}{{ text }}{{ number }}{{ at|time:'H' }}{% endcache_fragment %}",
        }
        at = datetime(2026, 1, 1, 12, tzinfo=UTC)
        with translation.override("de"), timezone.override("Asia/Tokyo"), testing.strict():
            for text, seen in [(mark_safe("<b>"), "<b>"), ("<b>", "&lt;b&gt;")] * 2:
                found = named("page", templates, text=text, number=1.5, at=at).split(" ")
                assert found == [f"{seen}1,521", f"{seen}1.521", f"{seen}1,512"]

    def test_patterns_find_them(self) -> None:
        """By kind and name, as document 004 spells them, below the tenant."""
        counter = Counter()
        with override_settings(OXICACHE={"TENANT": lambda: None}), use_scope(Scope(tenant=7)):
            assert twice(fragment("'top performers' vary_on='tenant'"), counter=counter) == ["1", "1"]
        (key,) = [key for _, _, key in list(cache._memory.keys())]
        assert key.startswith("tenant:7:template:fragment:top%20performers:v1:")
        call_command(
            "invalidate_caches",
            pattern="template:fragment:top%20performers",
            tenant_id="8",
            stdout=io.StringIO(),
        )
        assert len(cache._memory.keys()) == 1
        call_command(
            "invalidate_caches",
            pattern="template:fragment:top%20performers",
            tenant_id="7",
            stdout=io.StringIO(),
        )
        with override_settings(OXICACHE={"TENANT": lambda: None}), use_scope(Scope(tenant=7)):
            assert shown(fragment("'top performers' vary_on='tenant'"), counter=counter) == "2"

    def test_it_is_held_where_django_holds_fragments(self) -> None:
        """In the alias template_fragments, if there is one; `using` and `alias` name another."""
        counter = Counter()
        with override_settings(CACHES=CACHES | {"template_fragments": CACHES["other"]}):
            assert twice(fragment("'a'"), counter=counter) == ["1", "1"]
            caches["template_fragments"].clear()
            assert twice(fragment("'a'"), counter=counter) == ["2", "2"]
            assert twice(fragment("'a' using='local'"), counter=counter) == ["3", "3"]
            caches["local"].clear()
            assert twice(fragment("'a' using='local'"), counter=counter) == ["4", "4"]

    def test_djangos_own_tag_is_as_ever(self) -> None:
        """Beside and inside of the other, with its own keys."""
        counter = Counter()
        django = "{% load cache %}{% cache 60 a %}{{ counter }}{% endcache %}"
        assert twice(django + fragment("'a'"), counter=counter) == ["12", "12"]
        assert twice(fragment("'b'", django), counter=counter) == ["1", "1"]


class TestWhose:
    def test_users_have_their_own(self) -> None:
        """Where they are asked for, within their tenant; visitors who are none share one."""
        source = fragment("'a' vary_on='user,tenant'", "{{ user.username }}{{ counter }}")
        ann, bob, counter = User(pk=1, username="ann"), User(pk=2, username="bob"), Counter()
        expected = {"ann": "ann1", "bob": "bob2", "": "3"}
        for _ in range(2):
            for user in (ann, bob, AnonymousUser()):
                found = shown(source, request=asked(user), user=user, counter=counter)
                assert found == expected[user.username]

    def test_vary_on_user_has_the_tenant(self) -> None:
        """The user 1 of one tenant is not the user 1 of another."""
        counter, found = Counter(), []
        with override_settings(OXICACHE={"TENANT": lambda request: request.META["REMOTE_ADDR"]}):
            for tenant in ("one", "two", "one"):
                request = asked(User(pk=1), REMOTE_ADDR=tenant)
                found.append(shown(fragment("'a' vary_on='user'"), request=request, counter=counter))
        assert found == ["1", "2", "1"]

    def test_what_is_rendered_for_somebody_without_a_request(self) -> None:
        """As a mail, is his whom the context names; nobody's is not kept where it would be a user's."""
        source = fragment("'mail' vary_on='user'", "{{ user.username }}{{ counter }}")
        counter = Counter()
        ann, bob = User(pk=1, username="ann"), User(pk=2, username="bob")
        assert [shown(source, user=user, counter=counter) for user in (ann, bob, ann)] == [
            "ann1",
            "bob2",
            "ann1",
        ]
        assert twice(source, counter=counter) == ["3", "4"]

    def test_an_unknown_tenant_is_nobody_elses(self, caplog: pytest.LogCaptureFixture) -> None:
        """What nobody can tell the tenant of is not kept, and one line says so."""
        counter = Counter()
        with override_settings(OXICACHE={"TENANT": "oxicache.django.scope.session_tenant"}):
            assert twice(fragment("'a'"), request=asked(), counter=counter) == ["1", "2"]
            assert twice(fragment("'a' vary_on='none'"), request=asked(), counter=counter) == ["3", "3"]
        assert [record.message for record in caplog.records] == [
            "The fragment 'a' is not cached: nobody knows its tenant."
        ]


class TestMistakes:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("{% cache_fragment %}{% endcache_fragment %}", "wants a name"),
            ("{% cache_fragment 'a' wrong=1 %}{% endcache_fragment %}", "it knows alias.* not wrong"),
            ("{% cache_fragment 'a' timeout=1 timeout=2 %}{% endcache_fragment %}", "timeout is given twice"),
            ("{% cache_fragment 'a' timeout=1 b %}{% endcache_fragment %}", "b stands behind timeout="),
            ("{% cache_fragment 'a' %}", "Unclosed tag"),
            ("{% cache_fragment 'a' timeout='soon' %}{% endcache_fragment %}", "soon.*CACHE_TIMEOUTS"),
            ("{% cache_fragment 'a' timeout=-1 %}{% endcache_fragment %}", "at least 0 seconds, not -1"),
            ("{% cache_fragment 'a' vary_on='moon' %}{% endcache_fragment %}", "none, tenant, user, and not moon"),
            ("{% cache_fragment 'a' vary_on='none,user' %}{% endcache_fragment %}", "none stands alone"),
            ("{% cache_fragment 'a' vary_on='' %}{% endcache_fragment %}", "must not be empty"),
            ("{% cache_fragment 'a' alias='moon' %}{% endcache_fragment %}", "CACHES has no 'moon'"),
            ("{% cache_fragment 'a' alias='local' using='local' %}{% endcache_fragment %}", "two names of one"),
            ("{% cache_fragment 'a' depends_on='moon.Rock' %}{% endcache_fragment %}", "'moon.Rock' is no model"),
            ("{% cache_fragment '' %}{% endcache_fragment %}", "not ''"),
            ("{% cache_fragment 500 'bar' %}{% endcache_fragment %}", "not 500: write 'name' timeout=500"),
        ],
    )  # fmt: skip
    def test_literals_are_checked_when_a_template_is_compiled(self, source: str, text: str) -> None:
        """Also where the block would never be shown."""
        with pytest.raises(TemplateSyntaxError, match=text):
            shown("{% if False %}" + source + ("{% endif %}" if "endcache" in source else ""))

    def test_a_queryset_is_no_dependence(self) -> None:
        """A new row would outdate nothing: the message names the model."""
        source = "{% cache_fragment 'a' depends_on=rows %}{% endcache_fragment %}"
        with pytest.raises(
            TemplateSyntaxError, match=r'depends_on is a queryset; name its model: "auth\.User"'
        ):
            shown(source, rows=User.objects.all())

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ("missing", "there is no missing"),
            ("'a' thing.missing", "there is no thing.missing.*|default"),
            ("'a' timeout=missing", "there is no missing"),
            ("'a' timeout=bad", "timeout must be at least 0 seconds, not -1"),
            ("'a' vary_on=bad", "vary_on must be text"),
            ("bad", "must be text that is not empty, not -1"),
        ],
    )
    def test_variables_are_checked_when_it_is_rendered(self, arguments: str, text: str) -> None:
        """One that is missing is an error, not a fragment that all share who lack it."""
        with pytest.raises(TemplateSyntaxError, match=text):
            shown(fragment(arguments), bad=-1, thing=SimpleNamespace())

    def test_a_missing_variable_may_have_a_default(self) -> None:
        """A filter makes something of it."""
        counter = Counter()
        assert twice(fragment("'a' missing|default:'x'"), counter=counter) == ["1", "1"]
        assert shown(fragment("'a' missing|default:'x'"), missing="y", counter=counter) == "2"

    def test_what_has_no_spelling_is_not_kept(self, caplog: pytest.LogCaptureFixture) -> None:
        """One line says what it is, and the block is shown."""
        counter = Counter()
        assert twice(fragment("'a' thing"), thing=object(), counter=counter) == ["1", "2"]
        assert len(caplog.records) == 1
        assert "what 'a' varies by is a object" in caplog.text

    def test_what_a_block_raises_passes_through(self) -> None:
        """Nothing is kept of it."""

        def fail() -> None:
            raise KeyError("own")

        with pytest.raises(KeyError, match="own"):
            shown(fragment("'a'", "{{ thing }}"), thing=fail)
        assert len(cache._memory.keys()) == 0


class TestWhere:
    def test_other_caches_hold_them_by_value(self) -> None:
        """What somebody else has written under a key of theirs is taken for nothing."""
        counter = Counter()
        source = fragment("'a' alias='local'")
        assert twice(source, counter=counter) == ["1", "1"]
        local: Any = caches["local"]
        (key,) = local._cache
        name = key.split(":", 2)[2]
        for junk in ("text", (1, 2, 3), None, b"\0"):
            local.set(name, junk)
            assert shown(source, counter=counter) == shown(source, counter=counter)
        assert counter.count == 5

    def test_a_failing_cache_is_a_miss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The page is shown all the same."""
        counter = Counter()

        def fail(*_: Any, **__: Any) -> None:
            raise ConnectionError("gone")

        kind = type(caches["local"])
        monkeypatch.setattr(kind, "get", fail)
        monkeypatch.setattr(kind, "set", fail)
        assert twice(fragment("'a' alias='local'"), counter=counter) == ["1", "2"]

    def test_an_async_view_may_show_them(self) -> None:
        """In its loop."""
        counter = Counter()
        source = fragment("'a'")

        async def view() -> HttpResponse:
            return HttpResponse(shown(source, request=asked(), counter=counter))

        assert [async_to_sync(view)().content for _ in range(2)] == [b"1", b"1"]
