"""Whose a response of Django REST framework is: by session, token, header, cookie and parameter; and the leak guard."""

import base64
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, override_settings
from django.urls import path
from rest_framework import authentication, exceptions, permissions
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from oxicache import testing
from oxicache.django.responses import cached_view
from oxicache.errors import LeakError

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rest-users"}}
QUICK = "django.contrib.auth.hashers.MD5PasswordHasher"  # a password is no part of what is tested

calls: Counter[str] = Counter()


class Token:
    """What a token may say of its bearer, besides who it is."""

    def __init__(self, rights: str) -> None:
        self.rights = rights


class Tokens(authentication.TokenAuthentication):
    """`Authorization: Token name:rights`."""

    def authenticate_credentials(self, key: str) -> tuple[Any, Any]:
        name, _, rights = key.partition(":")
        user = User.objects.filter(username=name).first()
        if user is None:
            raise exceptions.AuthenticationFailed
        return user, Token(rights)


class _Named(authentication.BaseAuthentication):
    """Whoever a request names."""

    def name(self, request: Request) -> str | None:
        raise NotImplementedError

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        name = self.name(request)
        return None if name is None else (User.objects.get(username=name), None)


class ByHeader(_Named):
    def name(self, request: Request) -> str | None:
        return request.headers.get("X-Name")


class ByParameter(_Named):
    def name(self, request: Request) -> str | None:
        return request.query_params.get("name")


class ByCookie(_Named):
    def name(self, request: Request) -> str | None:
        return request.COOKIES.get("name")


class Device:
    """Who is logged in, and no user of the project's: its numbers begin at 1 too."""

    is_authenticated = True
    is_active = True

    def __init__(self, pk: int) -> None:
        self.pk = pk

    def get_username(self) -> str:
        return f"device {self.pk}"


class Devices(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        pk = request.headers.get("X-Device")
        return None if pk is None else (Device(int(pk)), None)


class Marked(permissions.BasePermission):
    """Leaves something on the request for the view."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        request.organisation = request.headers.get("X-Organisation", "none")
        request.rights = Token(request.headers.get("X-Rights", ""))
        return True


def who(request: Request) -> Response:
    """Names the user."""
    calls["who"] += 1
    return Response({"user": request.user.get_username() if request.user else None})


EVERY = [Tokens, authentication.BasicAuthentication, authentication.SessionAuthentication, Devices]
EVERY += [ByHeader, ByParameter, ByCookie]

inside = api_view(["GET"])(authentication_classes(EVERY)(cached_view(timeout=60)(who)))
outside = cached_view(timeout=60)(api_view(["GET"])(authentication_classes(EVERY)(who)))
header_first = cached_view(timeout=60)(api_view(["GET"])(authentication_classes([ByHeader])(who)))
shared = api_view(["GET"])(authentication_classes(EVERY)(cached_view(timeout=60, per_user=False)(who)))
shared_outside = cached_view(timeout=60, per_user=False)(
    api_view(["GET"])(authentication_classes(EVERY)(who))
)
scoped = cached_view(timeout=60, scope=lambda request: request.headers.get("Authorization", "nobody"))(
    api_view(["GET"])(authentication_classes(EVERY)(who))
)


@api_view(["GET"])
@authentication_classes([Tokens])
@permission_classes([permissions.IsAuthenticated])
@cached_view(timeout=60, per_user=False)
def members(request: Request) -> Response:
    """The same for all who may see it."""
    calls["members"] += 1
    return Response({"for": "members"})


READS: dict[str, Any] = {
    "auth": lambda request: getattr(request.auth, "rights", "none"),
    "successful_authenticator": lambda request: type(request.successful_authenticator).__name__,
    "authorization": lambda request: request.headers.get("Authorization", "none"),
    "meta": lambda request: request.META.get("HTTP_AUTHORIZATION", "none"),
    "organisation": lambda request: request.organisation,
    "rights": lambda request: request.rights.rights,
    "session": lambda request: request.session.get("x", "none"),
    "cookie": lambda request: request.COOKIES.get("colour", "none"),
    "all cookies": lambda request: dict(request.COOKIES),
    "header": lambda request: request.headers.get("X-Colour", "none"),
    "meta of it": lambda request: request.META.get("HTTP_X_COLOUR", "none"),
    "header beneath": lambda request: request._request.headers.get("X-Colour", "none"),
    "user beneath": lambda request: request._request.user.get_username(),
    "auth beneath": lambda request: getattr(request._request.auth, "rights", "none"),
    "data": lambda request: dict(request.data),
    "parameters": lambda request: request.query_params.get("colour", "none"),
    "renderer": lambda request: request.accepted_renderer.format,
    "media type": lambda request: request.accepted_media_type,
}


@api_view(["GET"])
@authentication_classes([Tokens, authentication.SessionAuthentication])
@permission_classes([Marked])
@cached_view(timeout=60)
def reads(request: Request, name: str) -> Response:
    calls[name] += 1
    return Response({"read": READS[name](request)})


@api_view(["GET"])
@authentication_classes([Tokens, authentication.SessionAuthentication])
@cached_view(timeout=60, key_func=lambda request: getattr(request.auth, "rights", None))
def rights(request: Request) -> Response:
    calls["rights"] += 1
    return Response({"rights": getattr(request.auth, "rights", None)})


@api_view(["GET"])
@authentication_classes([])
@cached_view(timeout=60)
def nobodys(request: Request) -> Response:
    """No class has looked at the request."""
    calls["nobodys"] += 1
    return Response({"user": request.user.get_username()})


urlpatterns = [
    path("inside/", inside),
    path("outside/", outside),
    path("header-first/", header_first),
    path("shared/", shared),
    path("shared-outside/", shared_outside),
    path("scoped/", scoped),
    path("members/", members),
    path("reads/<name>/", reads),
    path("rights/", rights),
    path("nobodys/", nobodys),
]


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    with override_settings(CACHES=NATIVE, ROOT_URLCONF=__name__, PASSWORD_HASHERS=[QUICK]):
        yield


@pytest.fixture
def users() -> Iterator[list[User]]:
    """Ada, and Bob."""
    made = [User.objects.create_user(name, password=f"of {name}") for name in ("ada", "bob")]
    yield made
    for user in made:
        user.delete()


def as_user(how: str, user: User | None) -> tuple[Client, dict[str, Any]]:
    """A client, and what its requests carry, of a user who is known by one means; of nobody where there is no user."""
    client, extra = Client(), dict[str, Any]()
    if user is None:
        return client, extra
    if how == "session":
        client.force_login(user)
    elif how == "cookie":
        client.cookies["name"] = user.username
    elif how == "parameter":
        extra["query_params"] = {"name": user.username}
    elif how == "token":
        extra["headers"] = {"Authorization": f"Token {user.username}:read"}
    elif how == "basic":
        said = base64.b64encode(f"{user.username}:of {user.username}".encode()).decode()
        extra["headers"] = {"Authorization": f"Basic {said}"}
    else:
        extra["headers"] = {"X-Name": user.username}
    return client, extra


MEANS = ["session", "token", "basic", "header", "parameter", "cookie"]


def asked(url: str, how: str, user: User | None) -> tuple[str | None, str]:
    """What `X-Cache` says, and whom the response names."""
    client, extra = as_user(how, user)
    answer = client.get(url, **extra)
    return answer.headers.get("X-Cache"), answer.json()["user"]


class TestInside:
    @pytest.mark.parametrize("how", MEANS)
    def test_users_are_apart_however_they_are_known(self, users: list[User], how: str) -> None:
        """Nobody's response, Ada's and Bob's are three, and each is hit by its own."""
        who_asks = [None, *users]
        expected = ["", "ada", "bob"]
        assert [asked("/inside/", how, user) for user in who_asks] == [("MISS", name) for name in expected]
        assert [asked("/inside/", how, user) for user in reversed(who_asks)] == [
            ("HIT", name) for name in reversed(expected)
        ]

    def test_a_user_is_the_same_by_any_means(self, users: list[User]) -> None:
        """What a session has left a token hits: it is one user."""
        assert asked("/inside/", "session", users[0]) == ("MISS", "ada")
        assert asked("/inside/", "token", users[0]) == ("HIT", "ada")

    def test_a_wrong_token_is_refused_on_hits_too(self, client: Client, users: list[User]) -> None:
        """Authentication runs before what is held is looked for."""
        asked("/inside/", "token", users[0])
        assert client.get("/inside/", headers={"Authorization": "Token eve"}).status_code == 401

    def test_permissions_run_on_hits(self, client: Client, users: list[User]) -> None:
        """A shared response goes to those who may see it: Bob hits what Ada has left, and nobody else gets it."""
        answers = [
            Client().get("/members/", headers={"Authorization": f"Token {user.username}"}) for user in users
        ]
        assert [answer.headers.get("X-Cache") for answer in answers] == ["MISS", "HIT"]
        assert client.get("/members/").status_code == 401
        assert calls["members"] == 1

    def test_users_of_two_models_are_apart(self, users: list[User]) -> None:
        """Device 1 is not user 1."""
        user = users[0]
        first = asked("/inside/", "token", user)
        answers = [Client().get("/inside/", headers={"X-Device": str(user.pk)}) for _ in range(2)]
        assert first == ("MISS", "ada")
        assert [(answer["X-Cache"], answer.json()["user"]) for answer in answers] == [
            ("MISS", f"device {user.pk}"),
            ("HIT", f"device {user.pk}"),
        ]

    def test_a_shared_view_that_names_its_user_is_a_leak(
        self, users: list[User], caplog: pytest.LogCaptureFixture
    ) -> None:
        """`per_user=False`, and it looks at `request.user`: nothing is kept, and a line says so."""
        found = [asked("/shared/", "token", user) for user in (*users, users[0])]
        assert found == [(None, "ada"), (None, "bob"), (None, "ada")]
        assert "looks at user" in caplog.text

    def test_without_authentication_everybody_is_nobody(self, users: list[User]) -> None:
        """A header that no class reads makes no user."""
        found = [asked("/nobodys/", "token", user) for user in users]
        assert [name for _, name in found] == ["", ""]


class TestOutside:
    @pytest.mark.parametrize("how", MEANS)
    def test_nobody_gets_what_is_anothers(self, users: list[User], how: str) -> None:
        """Whatever the framework finds out by itself, responses name who asked, in any order of requests."""
        for who_asks in ([None, *users], [*users, None], [*users, None]):
            expected = ["" if user is None else user.username for user in who_asks]
            assert [asked("/outside/", how, user)[1] for user in who_asks] == expected

    @pytest.mark.parametrize("how", ["token", "basic", "header", "parameter", "cookie"])
    def test_whom_the_framework_alone_knows_is_not_cached(self, users: list[User], how: str) -> None:
        """The lookup saw nobody, or an `Authorization`: nothing is kept as theirs or as nobody's."""
        assert [asked("/outside/", how, users[0])[0] for _ in range(3)] == [None] * 3
        assert asked("/outside/", how, None) == ("MISS", "")

    def test_whom_the_framework_knows_otherwise(
        self, users: list[User], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Ada is logged in, and a header says Bob, whom the view believes: that is not kept as Ada's."""
        client, _ = as_user("session", users[0])
        for _ in range(2):
            answer = client.get("/header-first/", headers={"X-Name": "bob"})
            assert (answer.headers.get("X-Cache"), answer.json()["user"]) == (None, "bob")
        assert "looks at authentication" in caplog.text
        answer = client.get("/header-first/")
        assert answer.json()["user"] == ""

    def test_a_session_is_known_outside_too(self, users: list[User]) -> None:
        """As Django's middleware knows it, users have entries of their own."""
        assert [asked("/outside/", "session", users[0]) for _ in range(2)] == [
            ("MISS", "ada"),
            ("HIT", "ada"),
        ]

    @pytest.mark.parametrize("how", MEANS)
    def test_a_shared_view_outside(self, users: list[User], how: str) -> None:
        """Sharing what the framework has authenticated is a leak, whoever comes first."""
        for user in (users[0], None, users[1]):
            assert asked("/shared-outside/", how, user) == (None, "" if user is None else user.username)

    def test_a_scope_says_whose_it_is(self, users: list[User]) -> None:
        """With a resolver requests with `Authorization` are cached, each scope for itself."""
        found = [asked("/scoped/", "token", user) for user in (users[0], users[1], users[0])]
        assert found == [("MISS", "ada"), ("MISS", "bob"), ("HIT", "ada")]


class TestGuard:
    @pytest.mark.parametrize("name", ["auth", "successful_authenticator", "authorization", "meta"])
    def test_how_somebody_was_authenticated(self, users: list[User], name: str) -> None:
        """A token says more than whose it is: a view that reads it is cached for those who came without one."""
        url = f"/reads/{name}/"
        read, write = ({"Authorization": f"Token ada:{rights}"} for rights in ("read", "write"))
        for headers in (read, write, read):
            answer = Client().get(url, headers=headers)
            assert "X-Cache" not in answer
            assert answer.json()["read"] == {
                "auth": headers["Authorization"].partition(":")[2],
                "successful_authenticator": "Tokens",
            }.get(name, headers["Authorization"])
        answers = [Client().get(url) for _ in range(2)]
        assert [answer.headers.get("X-Cache") for answer in answers] == ["MISS", "HIT"]
        assert "X-Cache" not in Client().get(url, headers=read)

    def test_what_is_read_of_a_token_is_said_once(
        self, users: list[User], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The line names the view, the root and the remedy; under `strict()` it is an error."""
        headers = {"Authorization": "Token ada:read"}
        for _ in range(2):
            Client().get("/reads/auth/", headers=headers)
        said = [record.getMessage() for record in caplog.records if "looks at auth" in record.getMessage()]
        assert len(said) <= 1
        with testing.strict(), pytest.raises(LeakError, match="looks at auth"):
            Client().get("/reads/auth/", headers=headers)

    def test_key_func_may_read_it(self, users: list[User]) -> None:
        """What `key_func` takes from `request.auth` the key holds."""
        headers = [{"Authorization": f"Token ada:{rights}"} for rights in ("read", "write", "read")]
        answers = [Client().get("/rights/", headers=each) for each in headers]
        assert [(answer["X-Cache"], answer.json()["rights"]) for answer in answers] == [
            ("MISS", "read"),
            ("MISS", "write"),
            ("HIT", "read"),
        ]

    @pytest.mark.parametrize("name", ["header", "meta of it", "header beneath"])
    def test_headers_join_the_key(self, client: Client, name: str) -> None:
        """However a header is read: of the framework's request or of Django's beneath."""
        colours = ["red", "green", "red"]
        answers = [client.get(f"/reads/{name}/", headers={"X-Colour": colour}) for colour in colours]
        assert [(answer["X-Cache"], answer.json()["read"]) for answer in answers] == [
            ("MISS", "red"),
            ("MISS", "green"),
            ("HIT", "red"),
        ]

    def test_cookies(self, client: Client) -> None:
        """One that is not there joins the key; one that is there, and all of them at once, are leaks."""
        for name in ("cookie", "all cookies"):
            assert client.get(f"/reads/{name}/").headers.get("X-Cache") == (
                "MISS" if name == "cookie" else None
            )
        for colour in ("red", "green"):
            client.cookies["colour"] = colour
            answer = client.get("/reads/cookie/")
            assert (answer.headers.get("X-Cache"), answer.json()["read"]) == (None, colour)

    def test_a_session(self, users: list[User]) -> None:
        """What a session says is no part of a user's key, and is the same of all who have none."""
        client, _ = as_user("session", users[0])
        assert [client.get("/reads/session/").headers.get("X-Cache") for _ in range(2)] == [None, None]
        assert [Client().get("/reads/session/").headers.get("X-Cache") for _ in range(2)] == ["MISS", "HIT"]

    def test_what_a_permission_left_on_the_request(self, client: Client) -> None:
        """A text joins the key by its value; an object that cannot be spelt is a leak."""
        headers = [{"X-Organisation": name} for name in ("a", "b", "a")]
        answers = [client.get("/reads/organisation/", headers=each) for each in headers]
        assert [(answer["X-Cache"], answer.json()["read"]) for answer in answers] == [
            ("MISS", "a"),
            ("MISS", "b"),
            ("HIT", "a"),
        ]
        for rights_ in ("read", "write"):
            answer = client.get("/reads/rights/", headers={"X-Rights": rights_})
            assert (answer.headers.get("X-Cache"), answer.json()["read"]) == (None, rights_)

    @pytest.mark.parametrize("how", ["token", "session"])
    def test_the_request_beneath(self, users: list[User], how: str) -> None:
        """The user of Django's request is the framework's; a token that lies there is guarded as well."""
        for user in (users[0], users[1], users[0]):
            client, extra = as_user(how, user)
            assert client.get("/reads/user beneath/", **extra).json()["read"] == user.username
        for rights_ in ("read", "write"):
            answer = Client().get("/reads/auth beneath/", headers={"Authorization": f"Token ada:{rights_}"})
            assert (answer.headers.get("X-Cache"), answer.json()["read"]) == (None, rights_)

    @pytest.mark.parametrize("name", ["data", "parameters"])
    def test_what_is_always_in_the_key(self, client: Client, name: str) -> None:
        """Parameters are, and a GET without a body has no data."""
        answers = [client.get(f"/reads/{name}/?colour={colour}") for colour in ("red", "green", "red")]
        assert [answer["X-Cache"] for answer in answers] == ["MISS", "MISS", "HIT"]

    def test_a_body_is_in_no_key(self, client: Client) -> None:
        """A GET with one is not cached."""
        for colour in ("red", "green"):
            answer = client.generic(
                "GET", "/reads/data/", f'{{"c": "{colour}"}}', content_type="application/json"
            )
            assert (answer.headers.get("X-Cache"), answer.json()["read"]) == (None, {"c": colour})

    @pytest.mark.parametrize("name", ["renderer", "media type"])
    def test_the_renderer_joins_the_key(self, client: Client, name: str) -> None:
        """A view that looks at what was negotiated has an entry for each."""
        kinds = ["application/json", "text/html", "application/json"]
        answers = [client.get(f"/reads/{name}/", headers={"accept": kind}) for kind in kinds]
        assert [answer["X-Cache"] for answer in answers] == ["MISS", "MISS", "HIT"]

    def test_a_request_is_left_as_it_was(self) -> None:
        """When the view has run its request is of its own class again, and holds nothing of the guard's."""
        seen: list[Request] = []

        class Kept(APIView):
            @cached_view(timeout=60)
            def get(self, request: Request) -> Response:
                seen.append(request)
                assert type(request).__name__ == "Request"
                assert request.__class__ is Request
                return Response({"user": str(request.user)})

        request = Client().get("/").wsgi_request
        request.user = AnonymousUser()
        Kept.as_view()(request)
        assert type(seen[0]) is Request
        assert "_oxicache_record" not in vars(seen[0])
