"""Document 004, "Tenant-Aware Caching" and "Cache Key Patterns": its keys, and no tenant's data for another.

What those patterns find: test_youtility_invalidation.py.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory, override_settings
from document_pages import Example, example

from oxicache.compat.youtility import cache_key_generator, get_tenant_cache_key, get_user_cache_key
from oxicache.django.scope import Scope, use_scope
from oxicache.errors import MissingScopeError
from oxicache.keys import normal_pattern

NATIVE = "oxicache.django.backends.NativeCache"


@pytest.fixture(autouse=True)
def _youtility(django_databases: None) -> Iterator[None]:
    """A cache of its own."""
    with override_settings(CACHES={"default": {"BACKEND": NATIVE, "LOCATION": "youtility", "VERSION": 3}}):
        yield


def request_of(**session: Any) -> HttpRequest:
    """A request with a session, a dict as in the document's own tests."""
    request = RequestFactory().get("/")
    request.session = session  # type: ignore[assignment]
    return request


@pytest.fixture
def request_() -> HttpRequest:
    """A request of tenant 1, client 2, business unit 3."""
    return request_of(tenant_id=1, client_id=2, bu_id=3)


class TestExamples:
    @example("004", "Tenant-Aware Caching")
    def test_tenant_aware_caching(self, shown: Example, request_: HttpRequest) -> None:
        """004, "Tenant-Aware Caching", with the result that its comment gives."""
        page = shown.run(request=request_, get_tenant_cache_key=get_tenant_cache_key)
        [told] = [line.split("'")[1] for line in shown.text.splitlines() if line.startswith("# Result: ")]
        assert page["cache_key"] == told == "tenant:1:client:2:bu:3:dashboard:metrics"

    @example("004", "Standard Patterns")
    def test_standard_patterns(self, shown: Example, request_: HttpRequest) -> None:
        """004, "Standard Patterns": its form, and each of its examples."""
        form, _, *keys = shown.lines()
        assert len(keys) == 4
        for key in keys:
            rest = key.split(":", 6)[6]
            kind, _, identifier = rest.partition(":")
            if kind == "user":
                user, _, rest = identifier.partition(":")
                assert get_user_cache_key(rest, int(user), request_) == key
            else:
                assert get_tenant_cache_key(rest, request_) == key
            assert form.format(tid=1, cid=2, bid=3, category=kind, identifier=identifier or rest) == key


class TestSettled:
    """What callers rely on."""

    def test_given_ids_win(self, request_: HttpRequest) -> None:
        """Over the session's, by name or by position."""
        assert get_tenant_cache_key("x", request_, bu_id=9) == "tenant:1:client:2:bu:9:x"
        assert get_tenant_cache_key("x", None, 4, 5, 6) == "tenant:4:client:5:bu:6:x"

    def test_a_version_is_added_when_asked_for(self, request_: HttpRequest) -> None:
        """Never by itself: the documented keys have none. It is that of CACHES["default"]."""
        assert get_tenant_cache_key("x", request_, include_version=True) == "tenant:1:client:2:bu:3:x:v:3"

    def test_a_user_without_request_has_no_tenant(self, request_: HttpRequest) -> None:
        """`user:{id}:{base}`, and so with include_tenant=False."""
        assert get_user_cache_key("x", 7) == "user:7:x"
        assert get_user_cache_key("x", 7, request_, include_tenant=False) == "user:7:x"

    def test_a_long_key_ends_with_a_hash(self, request_: HttpRequest) -> None:
        """Past 240 characters: `:hash:` and 16 digits of the MD5 digest of the whole."""
        base = "dashboard:" + "x" * 300
        key = get_tenant_cache_key(base, request_)
        whole = hashlib.md5(f"tenant:1:client:2:bu:3:{base}".encode()).hexdigest()  # noqa: S324 -- the document's
        assert key == f"tenant:1:client:2:bu:3:dashboard:hash:{whole[:16]}"
        assert len(get_tenant_cache_key("x" * (240 - 23), request_)) == 240
        assert len(get_user_cache_key("y:" * 200, 7, request_)) <= 240

    def test_the_key_generator(self, request_: HttpRequest) -> None:
        """prefix:args:params:<md5[:12]>:v:<version>, each where it is given."""
        assert cache_key_generator("report", "monthly", 7) == "report:monthly:7"
        spelt = hashlib.md5(b"page=1:q=a%20b").hexdigest()[:12]  # noqa: S324 -- the document's
        params = {"q": "a b", "page": 1}
        assert cache_key_generator("report", params=params, version="1.0") == f"report:params:{spelt}:v:1.0"
        assert cache_key_generator("report", request=request_, params={}) == "tenant:1:client:2:bu:3:report"


class TestDefects:
    """Known defects of the earlier system: whose data is kept under a key."""

    def test_missing_ids_are_not_tenant_1(self) -> None:
        """Without ids, without a session, without a request: an error, where all shared tenant 1's data."""
        bare = RequestFactory().get("/")
        for ask in (
            lambda: get_tenant_cache_key("x", request_of()),
            lambda: get_tenant_cache_key("x", request_of(client_id=2, bu_id=3)),
            lambda: get_tenant_cache_key("x", bare),
            lambda: get_tenant_cache_key("x"),
            lambda: get_tenant_cache_key("x", client_id=2, bu_id=3),
            lambda: get_user_cache_key("x", 7, bare),
            lambda: cache_key_generator("x", request=bare),
        ):
            with pytest.raises(MissingScopeError, match="the tenant"):
                ask()

    @pytest.mark.parametrize(("missing", "name"), [("client_id", "client"), ("bu_id", "unit")])
    def test_no_missing_id_is_1(self, missing: str, name: str) -> None:
        """Client and unit neither."""
        session = {"tenant_id": 1, "client_id": 2, "bu_id": 3}
        del session[missing]
        with pytest.raises(MissingScopeError, match=f"the {name} of this data"):
            get_tenant_cache_key("x", request_of(**session))

    def test_tenant_0_is_a_tenant(self) -> None:
        """It was taken for a missing one, so for tenant 1."""
        assert (
            get_tenant_cache_key("x", request_of(tenant_id=0, client_id=0, bu_id=0))
            == "tenant:0:client:0:bu:0:x"
        )
        assert get_tenant_cache_key("x", request_of(tenant_id=1), 0, 0, 0) == "tenant:0:client:0:bu:0:x"
        assert get_user_cache_key("x", 0) == "user:0:x"

    def test_a_missing_user_has_no_key(self) -> None:
        """`user:None` would be everybody who is not logged in."""
        with pytest.raises(MissingScopeError, match="the user of this data"):
            get_user_cache_key("x", None)

    def test_a_task_belongs_to_the_scope_in_use(self) -> None:
        """Without a request the tenant is that of use_scope, and nobody's after it."""
        with use_scope(Scope(tenant=5, client=6)):
            assert get_tenant_cache_key("x") == "tenant:5:client:6:x"
        with pytest.raises(MissingScopeError):
            get_tenant_cache_key("x")

    def test_the_settings_know_better_than_the_session(self, request_: HttpRequest) -> None:
        """TENANT names who knows; client and unit stay the session's."""
        with override_settings(OXICACHE={"TENANT": lambda request: "acme"}):
            assert get_tenant_cache_key("x", request_) == "tenant:acme:client:2:bu:3:x"

    def test_an_id_cannot_pose_as_another_tenants(self) -> None:
        """Separators in an id are escaped."""
        assert get_tenant_cache_key("x", tenant_id="1:client:2") == "tenant:1%3Aclient%3A2:x"

    def test_hashed_long_keys_are_found_by_pattern(self, request_: HttpRequest) -> None:
        """They keep their readable start; there nothing but the hash was left, and no pattern matched."""
        cache = caches["default"]
        key = get_tenant_cache_key("dashboard:metrics:" + "x" * 300, request_)
        cache.set(key, 1)
        assert cache.delete_pattern("tenant:1:*dashboard:*") == 1  # type: ignore[attr-defined]  # NativeCache's own
        other = get_tenant_cache_key("dashboard:metrics:" + "x" * 301, request_)
        assert key != other
        assert key.startswith("tenant:1:client:2:bu:3:dashboard:metrics:hash:")

    def test_a_pattern_finds_whole_segments(self) -> None:
        """The substring glob of there cleared `my_assets` with `asset`."""
        cache = caches["default"]
        keys = [
            get_tenant_cache_key(rest, tenant_id=1) for rest in ("asset:1", "my_assets:1", "asset_status")
        ]
        for key in keys:
            cache.set(key, 1)
        for glob in normal_pattern("asset", Scope(tenant=1).prefix()):
            cache.delete_pattern(glob)  # type: ignore[attr-defined]  # NativeCache's own
        assert [cache.get(key) for key in keys] == [None, 1, 1]

    def test_every_value_of_a_repeated_parameter_counts(self) -> None:
        """?a=1&a=2 is not ?a=2, whose last value is the same."""
        found = {cache_key_generator("x", params=QueryDict(query)) for query in ("a=1&a=2", "a=2", "a=2&a=1")}
        assert len(found) == 3

    def test_params_of_other_types_are_other_params(self) -> None:
        """1, "1" and True, None and "none", a list and its text."""
        values = [1, "1", True, None, "none", [1], "[1]"]
        assert len({cache_key_generator("x", params={"a": value}) for value in values}) == len(values)
