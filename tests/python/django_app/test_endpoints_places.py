"""The endpoints wherever urls include them: below a tenant, below a version, in an API that has versions."""

from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client, override_settings
from django.urls import include, path, re_path
from endpoint_sites import aliases, routed, told
from rest_framework.versioning import NamespaceVersioning, URLPathVersioning
from rest_framework.views import APIView

FACES = ["oxicache.django.endpoints.urls", "oxicache.django.endpoints.rest_urls"]
GETS = ["cache-stats/", "cache-health/"]
POSTS = ["cache-clear/", "cache-reset-stats/"]


@pytest.mark.parametrize("face", FACES)
def test_below_a_part_of_the_address_that_is_captured(staff: Client, face: str) -> None:
    """A tenant or a version in the address is nothing that they need to know."""
    urls = routed(path("<str:version>/core/", include(face)), re_path(r"^in/(v\d)/", include(face)))
    with override_settings(ROOT_URLCONF=urls, CACHES=aliases()):
        caches["default"].set("a", 1)
        assert [told(staff.get(f"/v1/core/{name}"))[0] for name in GETS] == [200, 200]
        assert [told(staff.post(f"/v1/core/{name}"))[0] for name in POSTS] == [200, 200]
        assert caches["default"].get("a") is None
        assert told(staff.get("/in/v1/cache-stats/"))[0] == 200


class Strict(URLPathVersioning):
    allowed_versions = ("v1",)


class StrictNamespaces(NamespaceVersioning):
    allowed_versions = ("v1",)


@pytest.mark.parametrize("versions", [Strict, StrictNamespaces])
def test_an_api_that_has_versions(
    staff: Client, versions: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoints are of none of them, and are there all the same."""
    monkeypatch.setattr(APIView, "versioning_class", versions)
    with override_settings(ROOT_URLCONF=routed(path("api/core/", include(FACES[1]))), CACHES=aliases()):
        assert [told(staff.get(f"/api/core/{name}"))[0] for name in GETS] == [200, 200]
