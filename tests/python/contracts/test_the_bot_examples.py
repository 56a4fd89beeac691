"""Document 002 (THE_BOT): its endpoints as curl asks for them, its best practices, its troubleshooting, its utilities.

Its other examples: test_the_bot_responses.py, test_the_bot_invalidation.py, test_the_bot_keys.py.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from dialect_requests import ANN, BOB, asked, own_responses
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connection
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.test import Client
from django.test.utils import CaptureQueriesContext
from document_pages import Example, example, examples
from endpoint_sites import serving
from project.facilities.models import Material
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.response import Response

from oxicache import testing
from oxicache.compat import the_bot
from oxicache.compat.the_bot import CacheInvalidator, CacheKeyBuilder

HOST = "http://localhost:8000"


@pytest.fixture(autouse=True)
def _site(monkeypatch: pytest.MonkeyPatch, django_databases: None) -> Iterator[None]:
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    with own_responses():
        yield


@pytest.fixture
def tokens() -> Iterator[None]:
    """A user and an administrator, whose tokens are those of the document."""
    made = [User.objects.create_user(f"{kind}_TOKEN", is_staff=kind == "ADMIN") for kind in ("YOUR", "ADMIN")]
    yield
    for one in made:
        one.delete()


def curl(line: str) -> tuple[int, Any]:
    """What curl would be answered: status and JSON."""
    words, method, body, headers = iter(shlex.split(line)[1:]), "GET", "", {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-d":
            body = next(words)
        elif word == "-H":
            name, _, headers[name] = next(words).partition(": ")
        else:
            url = word
    assert url.startswith(HOST)
    kind = "application/x-www-form-urlencoded"  # as curl has it
    with serving("rest by token"):
        response = Client().generic(method, url.removeprefix(HOST), body, kind, headers=headers)
    return response.status_code, json.loads(response.content)


def same_shape(documented: Any, found: Any) -> None:
    """Every documented key is there, with a value of its kind."""
    for name, value in documented.items():
        if isinstance(value, dict):
            same_shape(value, found[name])
        else:
            assert type(found[name]) is type(value), name


class TestMonitoring:
    @examples(
        "002",
        ("Check Cache Stats", 1),
        ("Check Cache Health", 1),
        ("Clear Cache", 1),
        ("Reset Statistics", 1),
    )
    def test_endpoints(self, shown: Example, tokens: None) -> None:
        """Each answers what is documented, in figures of this cache; others than the named are refused."""
        cache = caches["default"]
        cache.set("a", "x" * 1000)
        assert cache.get("a")
        command, *response = shown.lines()
        documented = json.loads("\n".join(response))
        status, found = curl(command)
        assert (status, found["status"]) == (200, documented["status"])
        same_shape(documented, found)
        assert {name: found[name] for name in ("message", "tests") if name in documented} == {
            name: documented[name] for name in ("message", "tests") if name in documented
        }
        if shown.key.heading == "Check Cache Stats":
            assert (found["cache_stats"]["keys_count"], found["cache_stats"]["hit_rate"]) == (1, 100.0)
        assert (cache.get("a") is None) == (shown.key.heading == "Clear Cache")
        assert curl(command.replace("ADMIN_TOKEN", "YOUR_TOKEN"))[0] == (
            403 if "ADMIN_TOKEN" in command else 200
        )
        assert curl(command.replace("_TOKEN", "S_SECRET"))[0] == 401

    @example("002", "Cache Growing Too Large?")
    def test_cache_growing_too_large(self, shown: Example, tokens: None) -> None:
        """The namespace goes, which left nothing there but its answer; then the figures."""
        cache = caches["default"]
        inside, outside = (CacheKeyBuilder.make_key(name, "list") for name in ("materials", "materials_old"))
        cache.set_many({inside: 1, outside: 2})
        clear, stats = shown.lines()
        assert curl(clear)[1]["message"] == "Cache cleared"
        assert (cache.get(inside), cache.get(outside)) == (None, 2)
        assert curl(stats)[1]["cache_stats"]["keys_count"] == 1


@contextmanager
def own_receivers() -> Iterator[None]:
    """What an example connects is disconnected again."""
    before = list(post_save.receivers)
    yield
    post_save.receivers = before
    post_save.sender_receivers_cache.clear()


class MaterialSerializer(serializers.ModelSerializer[Material]):
    class Meta:
        model = Material
        fields = ("id", "title")


@pytest.fixture
def material() -> Iterator[Material]:
    made = Material.objects.create(title="Rust")
    yield made
    Material.objects.filter(pk=made.pk).delete()


class TestBestPractices:
    @example("002", "DO's")
    def test_dos(self, shown: Example, material: Material) -> None:
        """What is good there is good here: a time by name, a receiver, keys of users, views that part them."""
        with own_receivers():
            names = shown.run(
                cache_response=the_bot.cache_response,
                CACHE_TIMEOUTS=the_bot.CACHE_TIMEOUTS,
                CacheInvalidator=CacheInvalidator,
                CacheKeyBuilder=CacheKeyBuilder,
                Material=Material,
                post_save=post_save,
                receiver=receiver,
                listed=(listed := []),
                Response=Response,
                filled={
                    "    pass\n\n# DO: Invalidate on save": "    listed.append(1)\n    return Response(listed)\n",
                    "    pass\n": "    return Response({'of': request.user.username})\n",
                },
            )
            assert names["key"] == "thebot:production::user_42:profile"
            key = CacheKeyBuilder.make_key("materials", "detail", material.pk)
            caches["default"].set(key, 1)
            material.save()
            assert caches["default"].get(key) is None
        with testing.clock() as clock:
            view = api_view(["GET"])(names["list_materials"])
            for _ in range(2):
                view(asked(user=ANN))
            assert listed == [1]
            clock.advance(1801)
            view(asked(user=ANN))
            assert listed == [1, 1]
        view = api_view(["GET"])(names["get_private_data"])
        assert [view(asked(user=one)).data["of"] for one in (ANN, BOB, ANN)] == ["ann", "bob", "ann"]

    @example("002", "DON'Ts")
    def test_donts(self, shown: Example, material: Material) -> None:
        """What is bad there does no harm here: users are kept apart, writes are not cached."""
        created: list[int] = []
        names = shown.run(
            cache_response=the_bot.cache_response,
            Response=Response,
            Material=Material,
            MaterialSerializer=MaterialSerializer,
            created=created,
            filled={
                "    pass\n\n# DON'T: Cache forever": "    return Response({'of': request.user.username})\n",
                "    pass\n\n# DON'T: Forget to invalidate": (
                    "    return Response({'title': Material.objects.get().title})\n"
                ),
                "    pass\n": "    created.append(1)\n    return Response({}, status=201)\n",
            },
        )
        view = api_view(["GET"])(names["get_private_data"])
        assert [view(asked(user=one)).data["of"] for one in (ANN, BOB, ANN)] == ["ann", "bob", "ann"]
        for _ in range(2):
            assert names["create_material"](asked(user=ANN, method="POST")).status_code == 201
        assert created == [1, 1]
        detail = api_view(["GET"])(names["get_material"])
        assert detail(asked(user=ANN)).data == {"title": "Rust"}
        update = SimpleNamespace(data={"id": material.pk, "title": "Python"})
        assert names["update_material"](update).data == {"id": material.pk, "title": "Python"}
        CacheInvalidator.invalidate_user_data(ANN.pk)
        assert detail(asked(user=ANN)).data == {"title": "Python"}


class TestTroubleshooting:
    @example("002", "Cache Not Working?")
    def test_cache_not_working(self, shown: Example, capsys: pytest.CaptureFixture[str]) -> None:
        """The cache gives what it was given. A client stands in for redis-py and its server."""
        redis: Any = ModuleType("redis")
        redis.Redis = lambda **given: SimpleNamespace(ping=lambda: sorted(given) == ["db", "host", "port"])
        shown.run(modules={"redis": redis})
        assert capsys.readouterr().out == "value\nTrue\n"


class TestFunctions:
    """Document 002, "Utility" and "Cache Query Results": counts of users, in the database and then not."""

    @pytest.fixture
    def active(self) -> Iterator[None]:
        made = [User.objects.create_user(name, is_active=name != "cleo") for name in ("ann", "bob", "cleo")]
        yield
        User.objects.filter(pk__in=[one.pk for one in made]).delete()

    @example("002", "5. Utility: Get or Compute")
    def test_get_or_compute(self, shown: Example, active: None) -> None:
        """Computed for ten minutes, under the key as it is given."""
        with testing.clock() as clock:
            assert self.counted(lambda: shown.run(User=User)["count"]) == (2, 1)
            assert self.counted(lambda: shown.run(User=User)["count"]) == (2, 0)
            assert caches["default"].get("active_users_count") == 2
            clock.advance(601)
            assert self.counted(lambda: shown.run(User=User)["count"]) == (2, 1)

    @example("002", "Cache Query Results")
    def test_cache_query_results(self, shown: Example, active: None) -> None:
        """The call in the example is the one query; later calls of ten minutes make none."""
        with testing.clock() as clock:
            page: dict[str, Any] = {}
            assert self.counted(lambda: page.update(shown.run(User=User)) or page["count"]) == (2, 1)
            assert self.counted(page["get_active_users_count"]) == (2, 0)
            assert caches["default"].get(CacheKeyBuilder.make_key("active_users")) is not None
            clock.advance(601)
            assert self.counted(page["get_active_users_count"]) == (2, 1)

    def counted(self, ask: Callable[[], int]) -> tuple[int, int]:
        """What is returned, and how many queries it took."""
        with CaptureQueriesContext(connection) as queries:
            found = ask()
        return found, len(queries)
