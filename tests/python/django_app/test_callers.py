"""What the trail says of Django: saves, deletions, transactions and caches, from which line, on whose behalf."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.sites import site
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import caches
from django.core.handlers.base import BaseHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, TestCase, TransactionTestCase, override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject
from project.catalogue.models import Author, Item, Label

from oxicache.django import invalidate
from oxicache.trail import trail

HERE = Path(__file__).name
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "callers": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "callers"},
}


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    trail.clear()
    yield
    trail.clear()


def newest() -> dict[str, Any]:
    return trail.events()[0]


def lines_of(function: Callable[..., Any]) -> range:
    """The lines that a function of this file stands on."""
    code = function.__code__
    return range(code.co_firstlineno, max(line for _, _, line in code.co_lines() if line) + 1)


def place(event: dict[str, Any]) -> tuple[str, int]:
    file, _, line = event["where"].rpartition(":")
    return Path(file).name, int(line)


class TestRows(TestCase):
    def test_a_save_and_a_deletion_are_told_apart_and_placed(self) -> None:
        """The line that called `save()` or `delete()` is in the trail, with the words of the row."""
        line = sys._getframe().f_lineno + 1
        item = Item.objects.create(title="tea")
        event = newest()
        assert (event["kind"], place(event)) == ("save", (HERE, line))
        assert f"row:catalogue.item:{item.pk}" in event["names"]
        line = sys._getframe().f_lineno + 1
        item.delete()
        assert ("delete", (HERE, line)) in {(event["kind"], place(event)) for event in trail.events()}

    def test_a_changed_relation_is_told(self) -> None:
        """`add` of a many-to-many relation is in the trail as such."""
        item, label = Item.objects.create(title="tea"), Label.objects.create(slug="hot")
        line = sys._getframe().f_lineno + 1
        item.labels.add(label)
        event = newest()
        assert (event["kind"], place(event)) == ("m2m", (HERE, line))
        assert "row:catalogue.label:hot" in event["names"]

    def test_invalidate_is_told(self) -> None:
        """What sends no signal is in the trail from the line that says so."""
        line = sys._getframe().f_lineno + 1
        invalidate(Item, [1, 2])
        event = newest()
        assert (event["kind"], place(event)) == ("invalidate", (HERE, line))
        assert {"row:catalogue.item:1", "row:catalogue.item:2"} <= set(event["names"])

    def test_what_a_member_forgets_is_told(self) -> None:
        """`del` of a cached property and `cache_clear` are in the trail."""
        item = Item.objects.create(title="tea")
        del item.doubled
        assert newest()["kind"] == "forget"
        assert "project.catalogue.models.Item.doubled" in newest()["names"][0]

    def test_a_model_that_nobody_watches_leaves_no_trace(self) -> None:
        """A save that invalidates nothing is not in the trail."""
        User.objects.create(username="ann")
        assert trail.events() == []


class TestTransactions(TransactionTestCase):
    def test_the_place_is_that_of_the_save_and_the_time_that_of_the_commit(self) -> None:
        """A transaction is in the trail once it has committed, line by line of what was saved in it."""
        with transaction.atomic():
            line = sys._getframe().f_lineno + 1
            Item.objects.create(title="tea")
            Author.objects.create(name="Ann")
            assert trail.events() == []
        assert [place(event) for event in trail.events()] == [(HERE, line + 1), (HERE, line)]

    def test_what_is_rolled_back_is_not_told(self) -> None:
        """A rollback, or that of a savepoint, invalidates nothing, and nothing is in the trail."""
        with transaction.atomic():
            with suppress(DatabaseError), transaction.atomic():
                Item.objects.create(title="tea")
                raise DatabaseError
            line = sys._getframe().f_lineno + 1
            Item.objects.create(title="coffee")
        assert [place(event) for event in trail.events()] == [(HERE, line)]

    def test_savepoints_that_end_well_are_told(self) -> None:
        """Blocks that were released are one with the transaction around them."""
        with transaction.atomic():
            for title in ("tea", "coffee", "milk"):
                with transaction.atomic():
                    Item.objects.create(title=title)
            Item.objects.create(title="water")
        assert len(trail.events()) == 4

    def test_a_transaction_keeps_no_more_than_the_trail(self) -> None:
        """A million saves in one transaction must not fill the memory with notes."""
        size = trail.size
        trail.configure(size=3)
        try:
            with transaction.atomic():
                for number in range(5):
                    Item.objects.create(title=str(number))
            assert len(trail.events()) == 3
        finally:
            trail.configure(size=size)

    def test_a_managed_transaction_is_told_at_its_commit(self) -> None:
        """`set_autocommit(False)` and `commit()` are a transaction too."""
        transaction.set_autocommit(False)
        try:
            Item.objects.create(title="tea")
            assert trail.events() == []
            transaction.commit()
            assert [event["kind"] for event in trail.events()] == ["save"]
        finally:
            transaction.rollback()
            connection.set_autocommit(True)


@override_settings(CACHES=CACHES)
class TestCaches(TestCase):
    def test_clear_tag_and_pattern_are_told(self) -> None:
        """What empties a NativeCache, or a part of it, is in the trail with the word that it moved."""
        cache = caches["callers"]
        start = sys._getframe().f_lineno
        cache.clear()
        cache.delete_by_tag("red")
        cache.delete_pattern("user:*")
        events = list(reversed(trail.events()))
        assert [(event["kind"], place(event)[1] - start) for event in events] == [
            ("clear", 1),
            ("tag", 2),
            ("pattern", 3),
        ]
        assert [event["names"] for event in events] == [
            ["store:callers"],
            ["tag:callers:red"],
            ["store:callers"],
        ]
        assert events[1]["detail"] == "'red' in django:callers"

    def test_reading_and_writing_single_keys_is_not(self) -> None:
        """`get`, `set` and `delete` are native and leave no trace."""
        cache = caches["callers"]
        cache.set("a", 1)
        cache.get("a")
        cache.delete("a")
        assert trail.events() == []


# ---------------------------------------------------------------- requests and commands


def saving(request: HttpRequest) -> HttpResponse:
    """A view that saves a watched row."""
    return HttpResponse(str(Item.objects.create(title="tea").pk))


def asking(request: HttpRequest) -> HttpResponse:
    """As `saving`, for a view that has looked who asks."""
    assert str(request.user)
    return saving(request)


class SavingMiddleware:
    """Saves before the view is called."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        Item.objects.create(title="middle")
        return self.get_response(request)


urlpatterns = [path("saving/", saving), path("asking/", asking), path("admin/", site.urls)]


@override_settings(ROOT_URLCONF=__name__)
class TestRequests(TestCase):
    user: User

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_superuser("ann", password="secret")  # noqa: S106 -- of a database in memory

    def setUp(self) -> None:
        self.client = Client()
        self.client.force_login(self.user)

    def test_the_line_of_the_view_and_the_user_are_told(self) -> None:
        """The view that saved is the caller, and the user that it has looked up the actor."""
        self.client.get("/asking/")
        event = newest()
        file, line = place(event)
        assert file == HERE
        assert line in lines_of(saving)
        assert event["actor"] == f"user {self.user.pk}"

    def test_a_user_that_nobody_looked_up_is_not_looked_up(self) -> None:
        """The trail costs no query: who the user is stays unknown until somebody asks."""
        self.client.get("/saving/")
        assert newest()["actor"] is None

    def test_nobody_logged_in_is_nobody(self) -> None:
        """An anonymous user is no actor."""
        Client().get("/asking/")
        assert newest()["actor"] is None

    @override_settings(
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", f"{__name__}.SavingMiddleware"]
    )
    def test_a_middleware_that_saves_is_the_caller(self) -> None:
        """What is saved before the view comes from the middleware's own line."""
        self.client.get("/saving/")
        lines = {place(event)[1] for event in trail.events()}
        assert lines & set(lines_of(SavingMiddleware.__call__))
        assert lines & set(lines_of(saving))

    def test_a_request_without_a_user_has_no_actor(self) -> None:
        """Projects without authentication are told no more than the line."""
        with override_settings(MIDDLEWARE=[]):
            self.client.get("/saving/")
        assert (newest()["actor"], place(newest())[0]) == (None, HERE)


class TestActors:
    @pytest.mark.parametrize(
        ("user", "actor"),
        [
            pytest.param(None, None, id="none"),
            pytest.param(AnonymousUser(), None, id="anonymous"),
            pytest.param(User(pk=5), "user 5", id="a-user"),
            pytest.param(SimpleLazyObject(lambda: User(pk=5)), None, id="not-yet-asked"),
            pytest.param("ann", None, id="a-name"),
        ],
    )
    def test_only_a_user_that_is_there_is_an_actor(self, user: Any, actor: str | None) -> None:
        """Whatever a project puts into `request.user`, asking costs nothing and fails nowhere."""
        request = RequestFactory().get("/")
        request.user = user

        def save(request: HttpRequest) -> HttpResponse:
            trail.record("save", ["row:catalogue.item:1"])
            return HttpResponse()

        handler = BaseHandler()
        handler._request_middleware = handler._view_middleware = []  # type: ignore[attr-defined]
        handler.resolve_request = lambda _: (save, (), {})  # type: ignore[attr-defined,method-assign]
        handler._template_response_middleware = []  # type: ignore[attr-defined]
        handler._get_response(request)  # type: ignore[attr-defined]
        assert newest()["actor"] == actor


class Saving(BaseCommand):
    """A management command that saves a row."""

    requires_system_checks: list[str] = []  # noqa: RUF012 -- as Django documents it

    def handle(self, *args: Any, **options: Any) -> None:
        """Save it."""
        Item.objects.create(title="tea")


class TestCommands(TestCase):
    def test_a_command_is_its_own_actor(self) -> None:
        """What a management command saves is told with the command's line."""
        call_command(Saving())
        assert newest()["actor"] == "command"
        assert place(newest())[1] in lines_of(Saving.handle)
