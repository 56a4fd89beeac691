"""What the leak guard sees of the requests of Django REST framework."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, RequestFactory
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_people import Tokens, as_user, people, people_site

from oxicache import testing
from oxicache.django.responses import cached_view
from oxicache.errors import LeakError


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    with people_site():
        yield


@pytest.fixture
def users() -> Iterator[list[User]]:
    """Ada, and Bob."""
    with people() as made:
        yield made


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

        @api_view(["GET"])
        @authentication_classes([Tokens])
        @cached_view(timeout=60)
        def fresh(request: Request) -> Response:
            return Response({"rights": request.auth.rights})

        request = RequestFactory().get("/", headers={"Authorization": "Token ada:read"})
        assert ["X-Cache" in fresh(request).headers for _ in range(2)] == [False, False]
        said = [record.getMessage() for record in caplog.records if "looks at auth" in record.getMessage()]
        assert len(said) == 1
        with testing.strict(), pytest.raises(LeakError, match="looks at auth"):
            fresh(request)

    def test_a_shared_view_that_reads_it(self, users: list[User]) -> None:
        """What it says to those who came without a token is not said to those who have one."""
        answers = [Client().get("/shared-auth/") for _ in range(2)]
        assert [answer["X-Cache"] for answer in answers] == ["MISS", "HIT"]
        answer = Client().get("/shared-auth/", headers={"Authorization": "Token ada:read"})
        assert (answer.headers.get("X-Cache"), answer.json()) == (None, {"rights": "read"})

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
