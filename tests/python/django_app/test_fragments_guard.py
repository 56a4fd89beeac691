"""What fragments look at: what is a visitor's is shared with nobody, what else it is joins the key."""

# Long because each thing that a block can look at is tried in each way of looking.

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.auth.context_processors import PermWrapper, auth
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.cache import cache, caches
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template.context_processors import csrf
from django.test import RequestFactory, override_settings
from django.urls import resolve
from django.utils.functional import SimpleLazyObject
from shown_templates import CACHES, Counter, asked, jinja, named, shown

from oxicache import testing
from oxicache.django.fragments import guarding
from oxicache.errors import LeakError

ANN, BOB = User(pk=1, username="ann"), User(pk=2, username="bob")


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=CACHES, ALLOWED_HOSTS=["*"]):
        guarding.forget()
        for one in caches.all():
            one.clear()
        yield


def fragment(arguments: str, body: str) -> str:
    return "{% cache_fragment " + arguments + " %}" + body + "{% endcache_fragment %}"


def context_of(request: Any) -> dict[str, Any]:
    """Return what the usual context processors make of a request."""
    user = SimpleLazyObject(lambda: request.user)
    return {"request": request, "user": user, "perms": PermWrapper(user), **csrf(request)}


def with_messages(request: HttpRequest, *texts: str) -> HttpRequest:
    given: Any = request
    given._messages = CookieStorage(request)
    for text in texts:
        messages.info(request, text)
    return request


class TestVisitors:
    @pytest.mark.parametrize(
        ("root", "text"),
        [
            ("user", "{{ user.username }}"),
            ("user", "{{ request.user.username }}"),
            ("user", "{% if user.is_authenticated %}{{ person.username }}{% endif %}"),
            ("user", "{{ person.username }}"),
            ("user", "{% if perms.auth %}x{% endif %}{{ person.username }}"),
            ("user", "{% include 'inner' %}"),
            ("session", "{{ request.session.name }}"),
            ("COOKIES", "{{ request.COOKIES.name }}"),
            ("csrf", "{% csrf_token %}{{ request.COOKIES.name }}"),
        ],
    )
    def test_what_is_a_visitors_is_shared_with_nobody(
        self, root: str, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A fragment that shows it, by whatever name, is not kept; one line says so, LeakError where it is strict."""
        templates = {"page": fragment("'a'", text), "inner": "{{ user.username }}"}

        def shown_to(user: User) -> str:
            request = asked(user)
            request.COOKIES["name"] = request.session["name"] = user.username
            return named("page", templates, person=request.user, **context_of(request))

        for user in (ANN, BOB, ANN, BOB):
            found = shown_to(user)
            assert user.username in found
        assert len(cache._memory.keys()) == 0
        (line,) = [record.message for record in caplog.records]
        assert line.startswith(
            f"The fragment 'a' is not cached: it looks at {root}, which its key does not hold; "
        )
        with testing.strict(), pytest.raises(LeakError, match=f"the fragment 'a' looks at {root}"):
            shown_to(ANN)

    @pytest.mark.parametrize(
        "source",
        [
            "{% for one in [user] %}FRAG{{ one.username }}END{% endfor %}",
            "{% for one in [request.user] %}FRAG{{ one.username }}END{% endfor %}",
            "{% with user=user %}FRAG{% include 'inner' %}END{% endwith %}",
            "{% macro own(one) %}FRAG{{ one.username }}END{% endmacro %}{{ own(user) }}",
            "{% set own = user %}{% macro at_hand() %}{{ own.username }}{% endmacro %}FRAG{{ at_hand() }}END",
            "{% from 'macros' import of_context with context %}FRAG{{ of_context() }}END",
            "{% import 'macros' as macros with context %}FRAG{{ macros.of_context() }}END",
        ],
    )
    def test_names_that_no_context_of_jinja2_has(self, source: str) -> None:
        """A visitor is a visitor by the name of a loop, of an argument, and inside of a macro from elsewhere."""
        page = source.replace("FRAG", "{% cache_fragment 'a' %}").replace("END", "{% endcache_fragment %}")
        macro = "{% macro of_context() %}{{ user.username }}{% endmacro %}"
        templates = {"inner": "{{ user.username }}", "macros": macro}
        for user in (ANN, BOB, ANN, BOB):
            assert jinja(page, templates, user=user, request=asked(user)) == user.username
        assert len(cache._memory.keys()) == 0

    @pytest.mark.parametrize("text", ["{{ request.POST.name }}", "{{ request.body }}"])
    def test_what_he_sends_is_shared_with_nobody(self, text: str) -> None:
        """Nor is what a form was filled in with; who sent nothing is shown what such visitors share."""
        source = fragment("'a'", f"{text}{{{{ counter }}}}")
        for name in ("ann", "bob", "ann"):
            sent = RequestFactory().post("/", f"name={name}", "application/x-www-form-urlencoded")
            assert name in shown(source, request=sent, counter="")
        empty = [shown(source, request=asked(ANN), counter=Counter()) for _ in range(3)]
        assert empty[1] == empty[2]
        assert "ann" not in empty[2]

    def test_a_visitor_who_varies_it_has_his_own(self) -> None:
        """With `vary_on="user"` it is kept, for each of them."""
        counter = Counter()
        source = fragment("'a' vary_on='user'", "{{ user.username }}{{ request.user.pk }}{{ counter }}")
        with testing.strict():
            for _ in range(2):
                for number, user in enumerate((ANN, BOB, AnonymousUser()), 1):
                    found = shown(source, counter=counter, **context_of(asked(user)))
                    assert found == f"{user.username}{user.pk}{number}"

    def test_who_asks_is_found_in_the_session_and_that_is_no_look_at_it(self) -> None:
        """Django's middleware finds the user when the block first asks, and its processor hands that on as it is."""
        counter = Counter()
        source = fragment("'a' vary_on='user'", "{% if not user.is_authenticated %}{{ counter }}{% endif %}")
        with testing.strict():
            for _ in range(2):
                request = asked()
                del request.user
                AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
                assert shown(source, counter=counter, request=request, **auth(request)) == "1"

    def test_another_user_is_not_who_asks(self, caplog: pytest.LogCaptureFixture) -> None:
        """A page about somebody, who is called `user` in it, is not that of its visitor."""
        source = fragment("'a' vary_on='user'", "{{ user.username }}")
        for user in (ANN, BOB, ANN):
            assert shown(source, request=asked(User(pk=3)), user=user) == user.username
        assert "looks at another user" in caplog.text
        named_too = fragment("'b' user.pk vary_on='user'", "{{ user.username }}")
        with testing.strict():
            for user in (ANN, BOB, ANN):
                assert shown(named_too, request=asked(User(pk=3)), user=user) == user.username

    def test_the_session_is_not_the_users(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not even in a fragment of his own: he may have two, and visitors without a name have one each."""
        source = fragment("'a' vary_on='user'", "{{ request.session.cart }}")
        for cart in ("one", "two"):
            request = asked()
            request.session["cart"] = cart
            assert shown(source, request=request) == cart
        assert "looks at session" in caplog.text

    def test_what_stands_behind_the_name_is_held(self) -> None:
        """What the arguments ask of the user, the session or a cookie, the block may ask of it too."""
        counter = Counter()
        source = fragment("'a' request.session.cart", "{{ request.session.cart }}{{ counter }}")
        other = fragment("'b' user.username", "{{ user.username }}{{ counter }}")
        with testing.strict():
            for _ in range(2):
                for number, cart in enumerate(("one", "two"), 1):
                    request = asked()
                    request.session["cart"] = cart
                    assert shown(source, request=request, counter=counter) == f"{cart}{number}"
            assert [shown(other, counter=counter, **context_of(asked(user))) for user in (ANN, BOB, ANN)] == [
                "ann3", "bob4", "ann3",
            ]  # fmt: skip

    def test_messages_are_shown_outside(self, caplog: pytest.LogCaptureFixture) -> None:
        """A fragment that shows some is not kept; one that does not is, although there are some for its visitor."""
        counter = Counter()
        plain = fragment("'plain'", "{{ counter }}")
        requests = [with_messages(asked(), "hello") for _ in range(2)]
        assert [shown(plain, request=one, messages=one._messages, counter=counter) for one in requests] == [
            "1",
            "1",
        ]
        assert caplog.text == ""
        source = fragment("'a'", "{% for one in messages %}{{ one }}{% endfor %}")
        for text in ("one", "two"):
            request = with_messages(asked(), text)
            assert shown(source, request=request, messages=messages.get_messages(request)) == text
        assert "looks at messages" in caplog.text

    def test_a_token_of_a_tag_is_noticed(self, caplog: pytest.LogCaptureFixture) -> None:
        """One that asks the request for its own."""

        class Form:
            def __init__(self, request: HttpRequest) -> None:
                self.request = request

            def token(self) -> str:
                return get_token(self.request)

        for _ in range(2):
            request = asked()
            assert shown(fragment("'a'", "{{ form.token }}"), request=request, form=Form(request))
            assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]
        assert "looks at csrf" in caplog.text
        assert len(cache._memory.keys()) == 0


class TestWhatJoins:
    @pytest.mark.parametrize(
        "text",
        [
            "{{ request.path }}",
            "{{ request.get_full_path }}",
            "{{ request.build_absolute_uri }}",
            "{{ request.GET.page }}{{ request.GET.q }}",
            "{{ request.htmx }}",
            "{{ request.headers.accept_language }}{{ request.headers.X }}",
            "{{ request.META.HTTP_X }}",
            "{{ request.resolver_match.kwargs.object_id }}",
            "{{ request.get_host }}{{ request.is_secure }}",
        ],
    )
    def test_what_is_no_visitors_joins_the_key(self, text: str) -> None:
        """The address, the query, headers, what a middleware has set: each has a fragment of its own, which is kept."""
        source = fragment("'a'", text + "/{{ counter }}")

        def visits() -> Iterator[Any]:
            for number, path in enumerate(
                ("/admin/auth/user/1/change/", "/admin/auth/user/2/change/?page=2&q=x")
            ):
                request: Any = asked(path=path, headers={"X": f"x{number}"}, SERVER_NAME=f"host{number}")
                request.htmx, request.resolver_match = f"h{number}", resolve(request.path)
                yield request

        for _ in range(3):  # what it looks at is learned by the first of them, or the second
            for request in visits():
                shown(source, request=request, counter=Counter())
        counter = Counter()
        plain = [shown(text, request=request) for request in visits()]
        assert plain[0] != plain[1]
        assert [shown(source, request=request, counter=counter) for request in visits()] == [
            f"{one}/1" for one in plain
        ]
        assert counter.count == 0

    def test_what_is_seen_without_a_request_is_not_for_those_who_have_one(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A fragment that asks for a request is not kept where there is none."""
        counter = Counter()
        source = fragment("'a'", "{% if request.user.is_staff %}x{% endif %}{{ request.path }}{{ counter }}")
        assert [shown(source, counter=counter) for _ in range(2)] == ["1", "2"]
        assert "it looks at request, which its key does not hold; render its template with one" in caplog.text

    def test_who_began_before_it_was_learned_keeps_nothing(self) -> None:
        """What he renders is of another address than who has the same key."""
        source = fragment("'a'", "{{ request.path }}{{ visit }}")
        assert shown(source, request=asked(path="/one/")) == "/one/"
        learned = guarding.known.copy()
        guarding.forget()
        assert (
            shown(source, request=asked(path="/two/"), visit=lambda: guarding.known.update(learned) or "")
            == "/two/"
        )
        assert guarding.known == learned
        assert len(cache._memory.keys()) == 0
        guarding.forget()  # as another process, which shares what is held
        assert shown(source, request=asked(path="/three/")) == "/three/"

    def test_links_do_not_part_addresses(self) -> None:
        """`{% url %}` asks for the namespace alone, so that a menu is shared by all pages."""
        counter = Counter()
        source = fragment("'menu'", "{% url 'admin:index' %}{{ counter }}")
        found = []
        for path in ("/admin/", "/admin/auth/user/", "/admin/", "/admin/auth/group/"):
            request: Any = asked(path=path)
            request.resolver_match = resolve(path)
            found.append(shown(source, request=request, counter=counter))
            assert request.resolver_match.url_name  # its own again
        assert found == ["/admin/1", "/admin/2", "/admin/2", "/admin/2"]

    def test_what_has_no_spelling_is_a_leak(self) -> None:
        """An object of the project's on the request: nobody can tell whose it is."""
        for _ in range(2):
            request: Any = asked()
            request.basket = object()
            assert shown(fragment("'a'", "{% if request.basket %}x{% endif %}"), request=request) == "x"
        assert len(cache._memory.keys()) == 0
        with testing.strict(), pytest.raises(LeakError, match=r"request\.basket"):
            shown(fragment("'a'", "{% if request.basket %}x{% endif %}"), request=request)


class TestNested:
    def test_a_users_fragment_is_not_put_into_everybodys(self) -> None:
        """Rendered in it or found: the outer one is not kept. One that varies by the user is."""
        inner = fragment("'inner' vary_on='user'", "{{ request.user.username }}")
        outer, own = fragment("'outer'", inner), fragment("'own' vary_on='user'", "{{ counter }}" + inner)
        counter = Counter()
        for _ in range(3):
            for number, user in enumerate((ANN, BOB, AnonymousUser()), 1):
                assert shown(outer, request=asked(user)) == user.username
                found = shown(own, request=asked(user), counter=counter)
                assert found == f"{number}{user.username}"

    def test_a_visitor_who_is_nobody_is_one_of_them(self) -> None:
        """What an inner fragment shows to visitors without a session is not for users."""
        inner = fragment("'inner' vary_on='user'", "{{ request.user.username|default:'nobody' }}")
        for _ in range(2):
            for user in (AnonymousUser(), ANN):
                request = asked()
                request.user = SimpleLazyObject(lambda user=user: user)
                request.COOKIES |= {"sessionid": "x"} if user is ANN else {}
                found = shown(fragment("'outer'", inner), request=request)
                assert found == (user.username or "nobody")

    def test_what_nobody_knows_the_tenant_of_is_not_everybodys(self) -> None:
        """An inner fragment that is not kept keeps the outer one from being shared."""
        inner = fragment("'inner'", "{{ text }}")
        with override_settings(OXICACHE={"TENANT": lambda request: None}):
            for text in ("one", "two"):
                found = shown(fragment("'outer' vary_on='none'", inner), request=asked(), text=text)
                assert found == text

    def test_a_tenants_fragment_is_not_put_into_everybodys(self) -> None:
        """An outer one that varies by nothing is not kept."""
        inner = fragment("'inner'", "{{ text }}")
        with override_settings(OXICACHE={"TENANT": lambda request: request.META["REMOTE_ADDR"]}):
            for _ in range(2):
                for tenant in ("one", "two"):
                    request = asked(REMOTE_ADDR=tenant)
                    assert (
                        shown(fragment("'outer' vary_on='none'", inner), request=request, text=tenant)
                        == tenant
                    )

    def test_it_is_noticed_without_a_request(self) -> None:
        """A context may say alone for whom it is."""
        inner = fragment("'inner' vary_on='user'", "{{ user.username }}")
        for _ in range(2):
            for user in (ANN, BOB):
                assert shown(fragment("'outer'", inner), user=user) == user.username

    def test_a_session_that_names_the_tenant_is_no_leak(self) -> None:
        """Of an outer fragment that varies by the tenant too; it is asked before what is there is found."""
        counter = Counter()
        source = fragment("'outer'", "{{ counter }}" + fragment("'inner'", "{{ counter }}"))
        settings = {"TENANT": "oxicache.django.scope.session_tenant"}
        with override_settings(OXICACHE=settings), testing.strict():
            found = []
            for tenant in (1, 2, 1, 2):
                request = asked()
                request.session["tenant_id"] = tenant
                found.append(shown(source, request=request, counter=counter))
        assert found == ["12", "34", "12", "34"]


class TestJinja:
    @pytest.mark.parametrize(
        "text",
        [
            "{{ user.username }}",
            "{{ request.user.username }}",
            "{{ person.username }}",
            "{% include 'inner' %}",
            "{% for one in [user] %}{{ one.username }}{% endfor %}",
            "{% set one = user %}{{ one.username }}",
        ],
    )
    @pytest.mark.parametrize("before", ["", "{% if user and person %}{% endif %}"])
    def test_what_is_a_visitors_is_shared_with_nobody(self, text: str, before: str) -> None:
        """Also where the template has asked for him before."""
        source = before + '{% cache_fragment "a" %}' + text + "{% endcache_fragment %}"
        templates = {"inner": "{{ user.username }}"}
        for user in (ANN, BOB, ANN):
            request = asked(user)
            found = jinja(source, templates, request=request, user=user, person=user)
            assert found == user.username
        with testing.strict(), pytest.raises(LeakError, match="user"):
            jinja(source, templates, request=request, user=user, person=user)

    def test_others_may_have_his_name(self) -> None:
        """A variable of a loop that is called `user` is nobody who looks."""
        counter = Counter()
        body = "{% for user in users %}{{ user.username }}{% endfor %}{{ counter }}"
        source = '{% cache_fragment "a" %}' + body + "{% endcache_fragment %}"
        with testing.strict():
            given = {"user": ANN, "users": [BOB], "counter": counter, "request": asked(ANN)}
            assert [jinja(source, **given) for _ in range(2)] == ["bob1", "bob1"]

    def test_what_stands_behind_the_name_is_held(self) -> None:
        """A name of the session, a user."""
        counter = Counter()
        source = (
            '{% cache_fragment "a", request.session.get("cart"), request.user.pk, timeout=60 %}'
            "{{ request.session.cart }}{{ request.user.username }}{{ counter }}{% endcache_fragment %}"
        )
        with testing.strict():
            for _ in range(2):
                for number, user in enumerate((ANN, BOB), 1):
                    request = asked(user)
                    request.session["cart"] = "c"
                    assert jinja(source, request=request, counter=counter) == f"c{user.username}{number}"
