"""Cached fragments of templates: `{% cache_fragment %}`."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.http import HttpRequest
from django.template import Context, Engine, TemplateSyntaxError
from django.test import RequestFactory, override_settings

from oxicache import testing
from oxicache.django import invalidate
from oxicache.errors import LeakError

ENGINE = Engine(libraries={"cache_tags": "oxicache.django.templatetags.cache_tags"}, builtins=[])
NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "fragments"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        cache.clear()
        yield


class Counter:
    """Something that a template shows, and that counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __str__(self) -> str:
        self.count += 1
        return str(self.count)


def asked(user: Any = None, **headers: Any) -> HttpRequest:
    request = RequestFactory().get("/", **headers)
    request.user = user or AnonymousUser()
    return request


def shown(source: str, **context: Any) -> str:
    return ENGINE.from_string("{% load cache_tags %}" + source).render(Context(context))


class TestFragments:
    def test_it_is_rendered_once(self) -> None:
        """As long as its time has not passed, with or without a request."""
        counter = Counter()
        source = "{% cache_fragment 'a' timeout=60 %}<b>{{ counter }}</b>{% endcache_fragment %}"
        assert [shown(source, counter=counter) for _ in range(2)] == ["<b>1</b>"] * 2
        assert [shown(source, counter=counter, request=asked()) for _ in range(2)] == ["<b>1</b>"] * 2

    def test_blocks_never_share(self) -> None:
        """Not even under one name: their sources differ."""
        for text in ("one", "two", "{% if x %}one{% endif %}", "{% if y %}one{% endif %}"):
            shown("{% cache_fragment 'a' %}" + text + "{% endcache_fragment %}", x=1)
        assert shown("{% cache_fragment 'a' %}two{% endcache_fragment %}") == "two"
        assert shown("{% cache_fragment 'a' %}{% if y %}one{% endif %}{% endcache_fragment %}") == ""

    def test_arguments_may_be_variables(self) -> None:
        """The name, the time, the version, and what it varies by."""
        counter = Counter()
        source = "{% cache_fragment name pk timeout=seconds version=version vary_on=varies %}{{ counter }}{% endcache_fragment %}"
        given = {"name": "a", "pk": 1, "seconds": 60, "version": 1, "varies": "none", "counter": counter}
        assert [shown(source, **given) for _ in range(2)] == ["1", "1"]
        assert shown(source, **given | {"pk": 2}) == "2"
        assert shown(source, **given | {"pk": "1"}) == "3"
        assert shown(source, **given | {"version": 2}) == "4"
        assert shown(source, **given) == "1"

    def test_users_have_their_own(self) -> None:
        """Where they are asked for; and those who are none have one."""
        source = "{% cache_fragment 'a' vary_on='user,tenant' %}{{ user.username }}{% endcache_fragment %}"
        ann, bob = User(pk=1, username="ann"), User(pk=2, username="bob")
        for _ in range(2):
            for user in (ann, bob, AnonymousUser()):
                assert shown(source, request=asked(user), user=user) == user.username

    @pytest.mark.parametrize("text", ["{{ user.username }}", "{{ request.user.username }}"])
    def test_what_is_a_users_is_shared_with_nobody(self, text: str, caplog: pytest.LogCaptureFixture) -> None:
        """A fragment that looks at the user is not kept unless it varies by him; one line says so."""
        source = "{% cache_fragment 'a' %}" + text + "{% endcache_fragment %}"
        ann, bob = User(pk=1, username="ann"), User(pk=2, username="bob")
        with caplog.at_level(logging.WARNING, "oxicache.fragments"):
            for user in (ann, bob, ann):
                assert shown(source, request=asked(user), user=user) == user.username
        assert len(caplog.records) <= 1
        with testing.strict(), pytest.raises(LeakError, match="user"):
            shown(source, request=asked(ann), user=ann)

    def test_tags_of_inner_ones_reach_outer_ones(self) -> None:
        """Also where the inner one is held already."""
        counter = Counter()
        inner = "{% cache_fragment 'inner' tags='a, b' %}{{ counter }}{% endcache_fragment %}"
        outer = "{% cache_fragment 'outer' %}[" + inner + "]{% endcache_fragment %}"
        assert shown(inner, counter=counter) == "1"
        assert [shown(outer, counter=counter) for _ in range(2)] == ["[1]", "[1]"]
        invalidate(tags=["b"])
        assert [shown(outer, counter=counter) for _ in range(2)] == ["[2]", "[2]"]

    def test_what_is_wrong(self) -> None:
        """Is said when the template is compiled, or where a variable is missing when it is rendered."""
        for source in (
            "{% cache_fragment %}{% endcache_fragment %}",
            "{% cache_fragment 'a' wrong=1 %}{% endcache_fragment %}",
        ):
            with pytest.raises(TemplateSyntaxError, match="cache_fragment"):
                ENGINE.from_string("{% load cache_tags %}" + source)
        for source in (
            "{% cache_fragment name %}{% endcache_fragment %}",
            "{% cache_fragment 'a' timeout=-1 %}{% endcache_fragment %}",
            "{% cache_fragment 'a' vary_on='moon' %}{% endcache_fragment %}",
        ):
            with pytest.raises(TemplateSyntaxError, match="cache_fragment"):
                shown(source)
