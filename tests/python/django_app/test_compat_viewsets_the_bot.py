"""Document 002 (THE_BOT): what its mixins of viewsets got wrong, at the names they have here."""

from collections.abc import Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, asked, own_responses
from rest_framework import permissions, viewsets
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from oxicache.compat.the_bot import CacheInvalidator
from oxicache.compat.the_bot.viewsets import DetailCacheMixin, ListCacheMixin

ROWS = {"one": ANN, "two": BOB}  # by their slugs, of whom they are


class ByUser(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        user = request._request.user
        return (user, None) if user.is_authenticated else None


class IsOwner(permissions.BasePermission):
    def has_object_permission(self, request: Request, view: Any, obj: str) -> bool:
        return bool(ROWS[obj] == request.user)


class Materials(viewsets.ViewSet):
    """Knows nothing of rows, nor of a `lookup_field`."""

    authentication_classes = (ByUser,)

    def list(self, request: Request) -> Response:
        return Response(list(ROWS))

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response({"slug": pk})


class MaterialViewSet(ListCacheMixin, DetailCacheMixin, Materials):
    pass


class Slugs(viewsets.GenericViewSet[Any]):
    """Objects are found by another field than `pk`, and are each for one user."""

    authentication_classes = (ByUser,)
    permission_classes = (IsOwner,)
    lookup_field = "slug"

    def get_object(self) -> str:
        slug = str(self.kwargs["slug"])
        if slug not in ROWS:
            raise NotFound
        self.check_object_permissions(self.request, slug)
        return slug

    def retrieve(self, request: Request, slug: str) -> Response:
        return Response({"slug": self.get_object()})


class SlugViewSet(DetailCacheMixin, Slugs):
    cache_per_user = False
    cache_invalidate_on = None


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with own_responses():
        yield


def answer(view: Any, user: Any, **kwargs: Any) -> tuple[int, str | None, Any]:
    response = view(asked(user=user), **kwargs).render()
    return response.status_code, response.get("X-Cache"), response.data


def test_a_viewset_without_rows() -> None:
    """It has no field to look objects up by, and `pk` is what its router calls them."""
    listed = MaterialViewSet.as_view({"get": "list"}, basename="material")
    detail = MaterialViewSet.as_view({"get": "retrieve"}, basename="material")
    for said in ("MISS", "HIT"):
        assert answer(listed, ANN) == (200, said, ["one", "two"])
        assert answer(detail, ANN, pk="7") == (200, said, {"slug": "7"})
    CacheInvalidator.invalidate_material("7")
    assert answer(listed, ANN)[1] == answer(detail, ANN, pk="7")[1] == "MISS"


def test_another_lookup_field_tells_objects_apart() -> None:
    """There the key of all of them ended with `none`, and the second visitor got the first object."""
    view = SlugViewSet.as_view({"get": "retrieve"}, basename="material")
    assert answer(view, ANN, slug="one") == (200, "MISS", {"slug": "one"})
    assert answer(view, BOB, slug="two") == (200, "MISS", {"slug": "two"})
    assert answer(view, ANN, slug="one") == (200, "HIT", {"slug": "one"})
    CacheInvalidator.invalidate_material("one")
    assert answer(view, ANN, slug="one")[1] == "MISS"
    assert answer(view, BOB, slug="two")[1] == "HIT"


def test_permissions_for_an_object_are_checked_on_hits() -> None:
    """There whoever came second got what the first one might see."""
    view = SlugViewSet.as_view({"get": "retrieve"}, basename="material")
    assert answer(view, ANN, slug="one")[:2] == (200, "MISS")
    assert answer(view, BOB, slug="one")[:2] == (403, None)
