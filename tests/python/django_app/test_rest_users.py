"""Whose a response of Django REST framework is: by session, token, header, cookie and parameter."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_people import MEANS, as_user, calls, people, people_site

from oxicache import testing
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

    def test_a_shared_view_that_names_its_user_is_a_leak(self, users: list[User]) -> None:
        """`per_user=False`, and it looks at `request.user`: nothing is kept, and under `strict()` it is an error."""
        found = [asked("/shared/", "token", user) for user in (*users, users[0])]
        assert found == [(None, "ada"), (None, "bob"), (None, "ada")]
        with testing.strict(), pytest.raises(LeakError, match="looks at user"):
            asked("/shared/", "token", users[0])

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

    def test_whom_the_framework_knows_otherwise(self, users: list[User]) -> None:
        """Ada is logged in, and a header says Bob, whom the view believes: that is not kept as Ada's."""
        client, _ = as_user("session", users[0])
        for _ in range(2):
            answer = client.get("/header-first/", headers={"X-Name": "bob"})
            assert (answer.headers.get("X-Cache"), answer.json()["user"]) == (None, "bob")
        with testing.strict(), pytest.raises(LeakError, match="looks at authentication"):
            client.get("/header-first/", headers={"X-Name": "bob"})
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
