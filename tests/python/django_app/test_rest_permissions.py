"""`DetailCacheMixin` and permissions for single objects: who may not see an object gets no hit of it."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from project.catalogue.models import Item
from rest_framework import permissions, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from oxicache.django.responses import DetailCacheMixin, cached_view, rest_mixins
from oxicache.django.responses.asking import Further
from oxicache.flights import flights

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rest-permissions"}}

calls: Counter[str] = Counter()
refused: set[str] = set()  # titles that may not be shown any more
WAIT = 20.0  # seconds


class ItemSerializer(serializers.ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ("id", "title")


class IsNamed(permissions.BasePermission):
    """An object is for the user whose name is its title."""

    def has_object_permission(self, request: Request, view: Any, obj: Item) -> bool:
        calls["asked"] += 1
        return obj.title == request.user.get_username() or request.user.is_staff


class Anybody(permissions.BasePermission):
    """Says nothing of objects."""


class Items(DetailCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        calls["serialized"] += 1
        return super().get_serializer(*args, **kwargs)


class NamedItems(Items):
    permission_classes = (IsNamed,)


class SharedItems(Items):
    """One entry for all, and each is asked whether he may see it."""

    permission_classes = (IsNamed,)
    cache_per_user = False

    @action(detail=True)
    @cached_view(timeout=60, per_user=False)
    def mine(self, request: Request, pk: str) -> Response:
        return Response({"title": self.get_object().title})


class ComposedItems(SharedItems):
    permission_classes = (permissions.IsAuthenticated & (Anybody | IsNamed),)


class FreeItems(Items):
    cache_per_user = False
    permission_classes = (permissions.AllowAny & (Anybody | permissions.IsAuthenticated),)


class FetchedItems(Items):
    """What decides stands in `get_object`."""

    cache_per_user = False

    def get_object(self) -> Any:
        item = super().get_object()
        if item.title in refused:
            raise PermissionDenied
        return item


class CheckedItems(Items):
    """Or in `check_object_permissions`."""

    cache_per_user = False

    def check_object_permissions(self, request: Request, obj: Any) -> None:
        super().check_object_permissions(request, obj)
        if obj.title == "nobody's":
            self.permission_denied(request)


class ReadableItems(Items):
    """Users see other querysets, and what is held is one for all: that is a leak."""

    cache_per_user = False

    def get_queryset(self) -> Any:
        return Item.objects.filter(title=self.request.user.get_username())


class Bare(viewsets.ViewSet):
    def retrieve(self, request: Request, pk: str) -> Response:
        self.check_object_permissions(request, Item(title=pk))
        calls["serialized"] += 1
        return Response({"title": pk})


class BareItems(DetailCacheMixin, Bare):
    """Permissions for objects, and no `get_object` that would say of which."""

    permission_classes = (IsNamed,)


router = SimpleRouter()
for name, kind in {
    "items": Items,
    "named": NamedItems,
    "shared": SharedItems,
    "composed": ComposedItems,
    "free": FreeItems,
    "fetched": FetchedItems,
    "checked": CheckedItems,
    "readable": ReadableItems,
    "bare": BareItems,
}.items():
    router.register(name, kind, basename=name)

urlpatterns = [path("", include(router.urls))]


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    refused.clear()
    with override_settings(CACHES=NATIVE, ROOT_URLCONF=__name__):
        yield
    Session.objects.all().delete()
    Item.objects.all().delete()


@pytest.fixture
def ada() -> Iterator[Client]:
    """A visitor who is logged in as Ada."""
    user = User.objects.create_user("ada")
    client = Client()
    client.force_login(user)
    yield client
    user.delete()


@pytest.fixture
def item() -> Item:
    return Item.objects.create(title="ada")


def told(client: Client, url: str) -> tuple[int, str | None]:
    """The status, and what `X-Cache` says."""
    answer = client.get(url)
    return answer.status_code, answer.headers.get("X-Cache")


class TestPermissions:
    def test_without_any_a_hit_takes_no_query(self, client: Client, item: Item) -> None:
        """Permissions that say nothing of objects need none, however they are combined."""
        for name in ("items", "free"):
            url = f"/{name}/{item.pk}/"
            client.get(url)
            with CaptureQueriesContext(connection) as queries:
                assert told(client, url) == (200, "HIT")
            assert len(queries) == 0

    @pytest.mark.parametrize("name", ["named", "shared"])
    def test_they_are_checked_on_hits(
        self, client: Client, ada: Client, staff: Client, item: Item, name: str
    ) -> None:
        """Ada and staff may see the object, and others may not, whoever has come before."""
        url = f"/{name}/{item.pk}/"
        assert told(client, url) == (403, None)
        assert told(ada, url) == (200, "MISS")
        assert told(ada, url) == (200, "HIT")
        assert told(client, url) == (403, None)
        assert told(staff, url) == (200, "HIT" if name == "shared" else "MISS")
        assert calls["serialized"] == (1 if name == "shared" else 2)

    def test_a_permission_that_is_taken_back(self, ada: Client, item: Item) -> None:
        """What decides may change without a change of the row: it is asked each time."""
        url = f"/named/{item.pk}/"
        assert [told(ada, url)[1] for _ in range(2)] == ["MISS", "HIT"]
        User.objects.filter(username="ada").update(username="eve")
        try:
            assert told(ada, url) == (403, None)
        finally:
            User.objects.filter(username="eve").update(username="ada")

    def test_combined_permissions(self, client: Client, ada: Client, member: Client, item: Item) -> None:
        """One of them asks for the object: it is fetched."""
        url = f"/composed/{item.pk}/"
        assert told(ada, url) == (200, "MISS")
        with CaptureQueriesContext(connection) as queries:
            assert told(member, url) == (200, "HIT")
        assert any("catalogue_item" in query["sql"] for query in queries)
        assert told(client, url) == (403, None)

    def test_a_get_object_of_its_own_runs_on_hits(self, client: Client, item: Item) -> None:
        """Whoever it refuses gets no hit."""
        url = f"/fetched/{item.pk}/"
        assert [told(client, url) for _ in range(2)] == [(200, "MISS"), (200, "HIT")]
        refused.add("ada")
        assert told(client, url) == (403, None)

    def test_a_check_of_its_own_runs_on_hits(self, client: Client, item: Item) -> None:
        """`check_object_permissions` of the view is asked as well."""
        url = f"/checked/{item.pk}/"
        assert [told(client, url)[1] for _ in range(2)] == ["MISS", "HIT"]
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        assert len(queries) == 1

    def test_an_object_that_is_gone(self, ada: Client, item: Item) -> None:
        """404, as without a cache."""
        url = f"/named/{item.pk}/"
        told(ada, url)
        Item.objects.all().delete()
        assert told(ada, url) == (404, None)

    def test_who_waited_for_another_is_asked_too(self) -> None:
        """What the load of another request has made is shown to who waited for it when he is permitted."""
        is_in, go_on, found = threading.Event(), threading.Event(), dict[str, Any]()

        def load() -> Response:
            is_in.set()
            assert go_on.wait(WAIT)
            return Response({"n": 1})

        def ask(name: str) -> None:
            def permit() -> None:
                if name == "second":
                    raise PermissionDenied(name)

            request: Any = Request(RequestFactory().get("/waited/"))
            try:
                found[name] = cache.serve(request, load, "waited", further=Further(permit=permit)).data
            except PermissionDenied as error:
                found[name] = str(error)

        cache = rest_mixins._cache_of(FreeItems, DetailCacheMixin, {})
        threads = [threading.Thread(target=ask, args=(name,)) for name in ("first", "second")]
        threads[0].start()
        assert is_in.wait(WAIT)
        threads[1].start()
        while not any(flight._waiters for flight in list(flights._table.values())):
            assert threads[1].is_alive()
        go_on.set()
        for thread in threads:
            thread.join(WAIT)
        assert found == {"first": {"n": 1}, "second": "second"}

    def test_what_a_shared_view_asks_of_its_user_is_a_leak(
        self, ada: Client, member: Client, item: Item
    ) -> None:
        """A queryset that depends on the user is no permission: such a response is nobody else's."""
        url = f"/readable/{item.pk}/"
        assert [told(ada, url), told(ada, url), told(member, url)] == [(200, None), (200, None), (404, None)]

    def test_an_action_checks_for_itself(self, ada: Client, member: Client, item: Item) -> None:
        """`cached_view` on an action knows nothing of its objects: a permission that reads the user is a leak there."""
        url = f"/shared/{item.pk}/mine/"
        assert [told(ada, url), told(ada, url), told(member, url)] == [(200, None), (200, None), (403, None)]

    def test_without_a_get_object_nothing_is_cached(self, ada: Client, member: Client) -> None:
        """Nobody could say whom a hit may be shown to."""
        assert [told(ada, "/bare/ada/") for _ in range(2)] == [(200, None)] * 2
        assert told(member, "/bare/ada/") == (403, None)
