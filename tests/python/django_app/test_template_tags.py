"""What else `{% load cache_tags %}` has: widgets, conditions, keys, addresses, figures. In both template languages."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache, caches
from django.template import TemplateDoesNotExist, TemplateSyntaxError, engines
from django.test import override_settings
from shown_templates import CACHES, Counter, asked, jinja, named, shown

from oxicache import testing
from oxicache.django import invalidate
from oxicache.django.fragments import guarding
from oxicache.errors import LeakError, MissingScopeError

ANN, BOB = User(pk=1, username="ann", is_staff=True), User(pk=2, username="bob", is_staff=True)


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=CACHES):
        guarding.forget()
        for one in caches.all():
            one.clear()
        yield


class TestConditional:
    @staticmethod
    def block(condition: str, body: str = "{{ counter }}", options: str = "") -> str:
        return f"{{% cache_conditional condition={condition} {options} %}}{body}{{% endcache_conditional %}}"

    @pytest.mark.parametrize(
        ("condition", "is_held"),
        [
            ("'user.is_staff'", True),
            ("user.is_staff", True),
            ("'user.is_staff and not user.is_superuser'", True),
            ("'limit > 3'", True),
            ("'limit|add:1 == 6'", True),
            ("'user.is_superuser'", False),
            ("'nobody.is_staff'", False),
            ("nobody.is_staff", False),
            ("'not nobody'", True),
            ("False", False),
            ("True", True),
        ],
    )
    def test_it_is_held_where_it_is_true(self, condition: str, is_held: bool) -> None:
        """A quoted condition is an expression, and what is not defined is false in it."""
        counter = Counter()
        given = {"user": ANN, "limit": 5, "counter": counter}
        assert [shown(self.block(condition), **given) for _ in range(2)] == ["1", "1" if is_held else "2"]

    def test_blocks_do_not_collide(self) -> None:
        """Two of one condition, and of one body: each is its own."""
        counter = Counter()
        source = self.block("'user.is_staff'") * 2 + self.block("'user.is_active'")
        assert [shown(source, user=ANN, counter=counter) for _ in range(2)] == ["123", "123"]
        templates = {"one": self.block("True"), "two": self.block("True")}
        assert [named(name, templates, counter=counter) for name in ("one", "two", "one")] == ["4", "5", "4"]

    def test_staff_do_not_share_what_is_each_ones(self) -> None:
        """Who is asked for in the condition is not in the key."""
        source = self.block("'user.is_staff'", "{{ user.username }}")
        own = self.block("'user.is_staff'", "{{ user.username }}", "vary_on='user'")
        for user in (ANN, BOB, ANN):
            assert shown(source, user=user, request=asked(user)) == user.username
            assert shown(own, user=user, request=asked(user)) == user.username
        with testing.strict(), pytest.raises(LeakError, match="looks at user"):
            shown(source, user=ANN, request=asked(ANN))

    def test_it_has_a_kind_of_its_own(self) -> None:
        """Whose name is that of the template."""
        named("panel.html", {"panel.html": self.block("True", "x")})
        ((_, _, key),) = cache._memory.keys()  # type: ignore[attr-defined]
        assert key.startswith("template:conditional:panel.html:v1:")

    @pytest.mark.parametrize(
        ("tag", "text"),
        [
            ("cache_conditional", "wants a condition"),
            ("cache_conditional condition=''", "must not be empty"),
            ("cache_conditional condition='a and'", "Unexpected end of expression"),
            ("cache_conditional condition='a' moon=1", "not moon"),
        ],
    )
    def test_mistakes(self, tag: str, text: str) -> None:
        """Are said when the template is compiled."""
        with pytest.raises(TemplateSyntaxError, match=text):
            shown("{% if False %}{% " + tag + " %}{% endcache_conditional %}{% endif %}")


class TestWidgets:
    TEMPLATES = {  # noqa: RUF012 -- read only
        "widgets/sales.html": "<b>{{ period }}</b>{{ counter }}",
        "widgets/me.html": "{{ user.username }}",
        "core/cached_widget.html": "{{ error|default_if_none:'' }}{{ content }}{% if cached %}!{% endif %}",
    }

    def test_its_values_are_in_its_key(self) -> None:
        """Whatever their order; the wrapper is told whether it was held, and nothing is escaped twice."""
        counter = Counter()
        found = [
            named("page", self.TEMPLATES | {"page": "{% cached_widget 'sales' " + said + " %}"}, counter=counter)
            for said in ("period='week' limit=1", "limit=1 period='week'", "period='day' limit=1", "period='week'")
        ]  # fmt: skip
        assert found == ["<b>week</b>1", "<b>week</b>1!", "<b>day</b>2", "<b>week</b>3"]

    def test_it_has_the_options_of_a_fragment(self) -> None:
        """Its name may be a variable; patterns, tags and time reach it."""
        counter = Counter()
        page = "{% cached_widget which period=period timeout=60 tags='sales' version=2 %}"
        given = {"which": "sales", "period": "<", "counter": counter}

        def show() -> str:
            return named("page", self.TEMPLATES | {"page": page}, **given)

        with testing.clock() as clock:
            assert [show(), show()] == ["<b>&lt;</b>1", "<b>&lt;</b>1!"]
            ((_, _, key),) = cache._memory.keys()  # type: ignore[attr-defined]
            assert key.startswith("widget:sales:v2:")
            invalidate(tags=["sales"])
            assert [show(), show()] == ["<b>&lt;</b>2", "<b>&lt;</b>2!"]
            clock.advance(61)
            assert show() == "<b>&lt;</b>3"
            invalidate(globs=["widget:sales:*"], aliases=["default"])
            assert show() == "<b>&lt;</b>4"

    def test_what_is_a_visitors_is_his(self) -> None:
        """As in a fragment."""
        for options in ("", "vary_on='user'"):
            templates = self.TEMPLATES | {"page": "{% cached_widget 'me' " + options + " %}"}
            for user in (ANN, BOB):
                assert named("page", templates, request=asked(user), user=user) == user.username
        with testing.strict(), pytest.raises(LeakError, match="the widget 'me' looks at user"):
            named("page", self.TEMPLATES | {"page": "{% cached_widget 'me' %}"}, user=ANN)

    def test_the_wrapper_comes_with_the_app(self) -> None:
        """With APP_DIRS, for both languages; a project's own has precedence."""
        template = engines["django"].get_template("core/cached_widget.html")
        assert template.render({"content": "<b>", "cached": False, "error": None}) == "&lt;b&gt;"
        settings = [
            {
                "BACKEND": "django.template.backends.jinja2.Jinja2",
                "APP_DIRS": True,
                "OPTIONS": {"extensions": ["oxicache.django.jinja.CacheExtension"]},
            }
        ]
        with override_settings(TEMPLATES=settings):
            made = engines["jinja2"].from_string("{{ cached_widget('x') if False }}")
            assert made.render({}, asked()) == ""
            assert engines["jinja2"].get_template("core/cached_widget.html").render({"content": "x"}) == "x"

    @pytest.mark.parametrize(
        ("tag", "text"),
        [
            ("cached_widget", "wants one name"),
            ("cached_widget 'a' 'b'", "wants one name"),
            ("cached_widget 'a' timeout='soon'", "soon"),
            ("cached_widget 'a' vary_on='moon'", "not moon"),
        ],
    )
    def test_mistakes(self, tag: str, text: str) -> None:
        """Are said when the template is compiled."""
        with pytest.raises(TemplateSyntaxError, match=text):
            shown("{% if False %}{% " + tag + " %}{% endif %}")

    def test_what_it_raises_passes_through(self) -> None:
        """A widget that is not there, and one that fails."""

        def fail() -> None:
            raise ValueError("own")

        with pytest.raises(TemplateDoesNotExist, match=r"widgets/moon\.html"):
            named("page", {"page": "{% cached_widget 'moon' %}"})
        with pytest.raises(ValueError, match=r"^own$"):
            named("page", self.TEMPLATES | {"page": "{% cached_widget 'sales' %}"}, counter=fail)


class TestKeys:
    def test_it_is_the_key(self) -> None:
        """Of whom `vary_on` says; what is said is escaped, and so is the page."""
        with override_settings(OXICACHE={"TENANT": lambda request: 7}):
            given = {"request": asked(ANN), "who": "a:b c", "bad": "<b>"}
            assert shown("{% cache_key_for 'dashboard:metrics' %}", **given) == "tenant:7:dashboard:metrics"
            assert (
                shown("{% cache_key_for 'report' who version=2 %}", **given) == "tenant:7:report:a%3Ab%20c:v2"
            )
            assert shown("{% cache_key_for 'a' vary_on='user,tenant' b=1 a=bad %}", **given) == (
                "tenant:7:user:1:a:a=&lt;b&gt;:b=1"
            )
            assert shown("{% cache_key_for 'a' 0 vary_on='none' as key %}{{ key }}", **given) == "a:0"

    def test_mistakes(self) -> None:
        """Nobody's key is another's."""
        with pytest.raises(TemplateSyntaxError, match=r"vary_on.*not moon"):
            shown("{% cache_key_for 'a' vary_on='moon' %}")
        with pytest.raises(TemplateSyntaxError, match="the identifier is a object"):
            shown("{% cache_key_for 'a' thing %}", thing=object())
        with pytest.raises(TemplateSyntaxError, match="the identifier is empty"):
            shown("{% cache_key_for 'a' mispelt %}")
        settings = {"TENANT": "oxicache.django.scope.session_tenant"}
        with override_settings(OXICACHE=settings), pytest.raises(MissingScopeError):
            shown("{% cache_key_for 'a' %}", request=asked())


class TestBust:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("/a.js", "/a.js?_cb=1.0"),
            ("/a.js?b=1", "/a.js?b=1&_cb=1.0"),
            ("/a.js?", "/a.js?_cb=1.0"),
            ("/a.svg#icon", "/a.svg?_cb=1.0#icon"),
            ("https://cdn/a.js?b=1&", "https://cdn/a.js?b=1&_cb=1.0"),
        ],
    )
    def test_a_version_is_added(self, url: str, expected: str) -> None:
        """Behind the query, before the fragment."""
        assert shown("{{ url|cache_bust:'1.0'|safe }}", url=url) == expected
        assert jinja("{{ url|cache_bust('1.0')|safe }}", url=url) == expected

    def test_without_one_it_is_the_files(self, tmp_path: Path) -> None:
        """It changes with the content of the static file, and with nothing else: not from second to second."""
        path = tmp_path / "a.js"
        path.write_text("one")
        with override_settings(STATIC_URL="/static/", STATICFILES_DIRS=[tmp_path], STATIC_ROOT=None):
            first = shown("{{ '/static/a.js'|cache_bust }}")
            os.utime(path, (1, 1))
            assert first == shown("{{ '/static/a.js'|cache_bust }}") != "/static/a.js"
            path.write_text("another")
            assert shown("{{ '/static/a.js'|cache_bust }}") != first
            others = [
                shown("{{ url|cache_bust }}", url=url) for url in ("/static/b.js", "/static/../x", "/media/a")
            ]
        assert len({one.partition("=")[2] for one in others}) == 1

    def test_without_a_file_it_is_the_deployments(self) -> None:
        """The same at any time and in any worker."""
        first = shown("{{ '/x.js'|cache_bust }}")
        assert first.partition("_cb=")[2].isdigit()
        with testing.clock() as clock:
            clock.advance(1e6)
            assert shown("{{ '/x.js'|cache_bust }}") == first


class TestStats:
    def test_staff_see_figures(self) -> None:
        """Of this process, by name or in a line; nobody else sees any."""
        shown("{% cache_fragment 'a' %}x{% endcache_fragment %}")
        source = "{% cache_stats as stats %}{{ stats.entries }}/{{ stats.alias }}{% if stats %}!{% endif %}"
        assert shown(source, request=asked(ANN)) == "1/default!"
        assert shown("{% cache_stats %}", request=asked(ANN)).startswith("default: 1 entries, ")
        assert shown("{% cache_stats 'local' %}", request=asked(ANN)) == "local: None entries, no reads yet"
        for user in (AnonymousUser(), User(pk=3), User(pk=4, is_staff=True, is_active=False)):
            assert shown(source, request=asked(user)) == "/"
            assert shown("{% cache_stats %}", request=asked(user)) == ""
        assert shown("{% cache_stats %}") == ""
        with pytest.raises(TemplateSyntaxError, match="CACHES has no 'moon'"):
            shown("{% cache_stats 'moon' %}", request=asked(ANN))


class TestJinja:
    def test_a_fragment_is_rendered_once(self) -> None:
        """With the options of the other language, and what it varies by; escaped as its template is."""
        counter = Counter()
        tag = '{% cache_fragment name, pk timeout=60, tags=["t"] %}'
        source = tag + "<b>{{ counter }}</b>{{ text }}{% endcache_fragment %}"
        given = {"name": "a", "pk": 1, "counter": counter, "text": "<"}
        assert [jinja(source, **given) for _ in range(2)] == ["<b>1</b>&lt;"] * 2
        assert jinja(source, autoescape=False, **given) == "<b>2</b><"
        assert jinja("{% autoescape false %}" + source + "{% endautoescape %}", **given).endswith("</b><")
        assert jinja(source, **given | {"pk": 2}) == "<b>3</b>&lt;"
        invalidate(tags=["t"])
        assert jinja(source, **given) == "<b>4</b>&lt;"

    def test_blocks_that_are_overridden_count(self) -> None:
        """As in the other language."""
        templates = {
            "base": '{% cache_fragment "a" %}[{% block content %}base{% endblock %}]{% endcache_fragment %}',
            "one": '{% extends "base" %}{% block content %}one{% endblock %}',
            "two": '{% extends "one" %}{% block content %}two {{ super() }}{% endblock %}',
        }
        environment = jinja2.Environment(
            extensions=["oxicache.django.jinja.CacheExtension"],
            loader=jinja2.DictLoader(templates),
            autoescape=True,
        )
        for _ in range(2):
            found = [environment.get_template(name).render() for name in ("base", "one", "two")]
            assert found == ["[base]", "[one]", "[two one]"]

    def test_inner_ones_bubble_up(self) -> None:
        """Tags of an inner fragment are those of the outer one; macros, loops and blocks work as ever."""
        counter = Counter()
        inner = '{% cache_fragment "inner", tags="t" %}{{ counter }}{% endcache_fragment %}'
        macro = "{% macro item(x) %}({{ x }}{{ loop_no }}){% endmacro %}"
        loop = "{% for x in [1, 2] %}{{ item(x) }}{{ loop.index }}{% endfor %}"
        source = macro + '{% cache_fragment "outer" %}' + loop + inner + "{% endcache_fragment %}"
        assert [jinja(source, counter=counter) for _ in range(2)] == ["(1)1(2)21"] * 2
        invalidate(tags=["t"])
        assert jinja(source, counter=counter) == "(1)1(2)22"

    @pytest.mark.parametrize(
        ("condition", "is_held"),
        [
            ('"user.is_staff"', True),
            ("user.is_staff", True),
            ('"user.is_staff and limit > 3"', True),
            ('"nobody.of.them"', False),
            ("nobody.of.them", False),
            ("\"nobody['x'] or not nobody\"", True),
        ],
    )
    def test_conditions(self, condition: str, is_held: bool) -> None:
        """A quoted one is an expression, and what is not defined is false."""
        counter = Counter()
        source = "{% cache_conditional condition=" + condition + " %}{{ counter }}{% endcache_conditional %}"
        given = {"user": ANN, "limit": 5, "counter": counter}
        assert [jinja(source, **given) for _ in range(2)] == ["1", "1" if is_held else "2"]

    def test_functions(self) -> None:
        """Widgets, keys and figures, and the filter."""
        counter = Counter()
        templates = {"widgets/w.html": "<i>{{ n }}</i>{{ counter }}"}
        source = "{{ cached_widget('w', n=n, timeout=60) }}"
        assert [jinja(source, templates, n=n, counter=counter) for n in (1, 1, "<")] == [
            "<i>1</i>1", "<i>1</i>1", "<i>&lt;</i>2",
        ]  # fmt: skip
        assert jinja(source, templates, autoescape=False, n="<", counter=counter) == "<i><</i>3"
        assert jinja("{{ cache_key_for('a:b', '<', version=1) }}") == "a:b:&lt;:v1"
        assert jinja("{{ cache_stats().alias }}", request=asked(ANN)) == "default"
        assert jinja("{{ cache_stats() }}", request=asked()) == ""

    @pytest.mark.parametrize(
        ("source", "error", "text"),
        [
            ("{% cache_fragment %}{% endcache_fragment %}", jinja2.TemplateSyntaxError, "wants a name"),
            ("{% cache_fragment 'a' %}", jinja2.TemplateSyntaxError, "Unexpected end of template"),
            ("{% cache_fragment 'a', x=1 %}{% endcache_fragment %}", jinja2.TemplateSyntaxError, "and not x"),
            ("{% cache_fragment 'a', timeout=-1 %}{% endcache_fragment %}", jinja2.TemplateSyntaxError, "not -1"),
            ("{% cache_conditional %}{% endcache_conditional %}", jinja2.TemplateSyntaxError, "wants a condition"),
            ("{% cache_conditional condition='a b' %}", jinja2.TemplateSyntaxError, "no expression"),
            ("{% cache_fragment 'a', no %}{% endcache_fragment %}", jinja2.UndefinedError, "'no' is undefined"),
            ("{% cache_fragment 'a', timeout=bad %}{% endcache_fragment %}", jinja2.TemplateRuntimeError, "not -1"),
            ("{{ cached_widget('w', vary_on='moon') }}", jinja2.TemplateRuntimeError, "not moon"),
        ],
    )  # fmt: skip
    def test_mistakes(self, source: str, error: type[Exception], text: str) -> None:
        """Of literals are said when the template is compiled."""
        with pytest.raises(error, match=text):
            jinja(source, bad=-1)

    def test_it_works_in_djangos_backend(self) -> None:
        """Where the request is in the context, and the token against forgery."""
        settings: list[dict[str, Any]] = [
            {
                "BACKEND": "django.template.backends.jinja2.Jinja2",
                "OPTIONS": {"extensions": ["oxicache.django.jinja.CacheExtension"]},
            }
        ]
        counter = Counter()
        with override_settings(TEMPLATES=settings), testing.strict():
            body = "{{ request.user.username }}{{ counter }}{% endcache_fragment %}{{ csrf_input }}"
            source = '{% cache_fragment "a", vary_on="user" %}' + body
            template = engines["jinja2"].from_string(source)
            found = [template.render({"counter": counter}, asked(user))[:4] for user in (ANN, BOB, ANN)]
            assert found == ["ann1", "bob2", "ann1"]
            form = engines["jinja2"].from_string(
                '{% cache_fragment "b" %}{{ csrf_input }}{% endcache_fragment %}'
            )
            with pytest.raises(LeakError, match="csrf"):
                form.render({}, asked(ANN))
