"""Scopes without a request, in threads and tasks, and of requests that follow one another."""

import asyncio
import contextlib
import contextvars
import threading

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import User
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, Client, override_settings
from django.urls import path

from oxicache.django.scope import UNKNOWN, Scope, ascope_of, current_scope, scope_of, use_scope
from oxicache.errors import MissingScopeError

SESSION_IDS = {
    "TENANT": "oxicache.django.scope.session_tenant",
    "CLIENT": "oxicache.django.scope.session_client",
    "UNIT": "oxicache.django.scope.session_unit",
}

pytestmark = pytest.mark.usefixtures("no_rows")


def page(request: HttpRequest) -> HttpResponse:
    """What a view of the tests answers: the prefix, and what the request has left behind."""
    return HttpResponse(scope_of(request, per_user=False).prefix())


def failing(request: HttpRequest) -> HttpResponse:
    with use_scope(Scope(tenant=99)):
        raise LookupError("in the middle of a scope")


urlpatterns = [path("page/", page), path("failing/", failing)]


class TestWithoutRequest:
    def test_nothing_is_in_use_at_first(self) -> None:
        """Without resolvers that is a scope of nothing."""
        assert current_scope() == Scope()

    @override_settings(OXICACHE=SESSION_IDS)
    def test_a_tenant_that_only_a_request_knows_is_unknown(self) -> None:
        """A task without a scope keeps nothing, rather than in tenant 1's place; with one it is that tenant's."""
        assert current_scope().missing == ("tenant", "client", "unit")
        with use_scope(Scope(tenant=0, client=2, unit=3)) as used:
            assert current_scope() == scope_of(None) == used
        assert current_scope().missing

    @override_settings(OXICACHE=SESSION_IDS)
    def test_a_block_about_something_else_shares_no_tenant(self) -> None:
        """A scope in use that says nothing of the tenant leaves it unknown."""
        with use_scope(Scope(language="de")):
            assert current_scope() == Scope(tenant=UNKNOWN, client=UNKNOWN, unit=UNKNOWN, language="de")
            assert scope_of(None, per_tenant=False, per_language=True) == Scope(language="de")

    def test_a_resolver_of_nothing_is_asked(self) -> None:
        """The schema of the connection needs no request."""
        with override_settings(OXICACHE={"TENANT": lambda: "schema", "USER": lambda: 7}):
            assert current_scope() == Scope(tenant="schema", user=7)

    def test_a_user_that_is_wanted_and_unknown_is_missing(self) -> None:
        """Without a request nobody knows whether there is one."""
        assert scope_of(None, per_user=True).missing == ("user",)
        with use_scope(Scope(user=7, tenant=1)):
            assert scope_of(None, per_user=True) == Scope(user=7, tenant=1)
            assert scope_of(None, per_user=False) == Scope(tenant=1)
        with use_scope(Scope(tenant=1)):
            assert scope_of(None, per_user=True).missing == ("user",)

    def test_scopes_nest(self) -> None:
        """The inner one counts, and the outer one again after it, whatever happened."""
        with use_scope(Scope(tenant=1)):
            with contextlib.suppress(LookupError), use_scope(Scope(tenant=2)):
                assert current_scope().tenant == 2
                raise LookupError
            assert current_scope().tenant == 1
        assert current_scope() == Scope()

    def test_only_a_scope_can_be_used(self) -> None:
        """A bare id does not say what it is the id of."""
        with pytest.raises(TypeError, match="scope must be a Scope, not 1"), use_scope(1):  # type: ignore[arg-type]
            pass

    def test_no_other_thread_sees_it(self) -> None:
        """Threads begin without a scope; one that is given the context has it."""
        seen: list[Scope] = []
        with use_scope(Scope(tenant=1)):
            bare = threading.Thread(
                target=contextvars.Context().run, args=(lambda: seen.append(current_scope()),)
            )
            inside = threading.Thread(
                target=contextvars.copy_context().run, args=(lambda: seen.append(current_scope()),)
            )
            for thread in (bare, inside):
                thread.start()
                thread.join()
        assert seen == [Scope(), Scope(tenant=1)]

    def test_tasks_do_not_see_each_others(self) -> None:
        """Twenty tasks at once, each with its own, also within the threads that they await."""

        async def task(number: int) -> bool:
            with use_scope(Scope(tenant=number)):
                await asyncio.sleep(0)
                inside = await sync_to_async(current_scope)()
                await asyncio.sleep(0)
                return current_scope() == inside == Scope(tenant=number)

        async def all_of_them() -> list[bool]:
            return await asyncio.gather(*map(task, range(20)))

        assert all(asyncio.run(all_of_them()))
        assert current_scope() == Scope()


class TestRequests:
    @override_settings(
        ROOT_URLCONF=__name__,
        OXICACHE={"TENANT": lambda request: request.GET.get("tenant"), "CLIENT": lambda: 2},
    )
    def test_nothing_leaks_from_one_request_to_the_next(self) -> None:
        """Requests of one thread, one of which fails within a scope: each has its own tenant, or none."""
        client = Client()
        assert client.get("/page/?tenant=1").content == b"tenant:1:client:2"
        with pytest.raises(LookupError):
            client.get("/failing/?tenant=1")
        assert client.get("/page/?tenant=2").content == b"tenant:2:client:2"
        with pytest.raises(MissingScopeError):
            client.get("/page/")
        assert current_scope() == Scope(tenant=UNKNOWN, client=2)

    @override_settings(ROOT_URLCONF=__name__, OXICACHE={"TENANT": lambda: 1})
    def test_a_response_varies_on_no_cookie_that_was_not_read(self, staff: Client) -> None:
        """A page that is the same for all users of a tenant is not said to vary by cookie."""
        response = staff.get("/page/")
        assert response.content == b"tenant:1"
        assert "Vary" not in response.headers

    @override_settings(OXICACHE=SESSION_IDS)
    def test_a_task_asks_for_session_and_user_in_a_thread(self) -> None:
        """ascope_of reads the rows of a session and a user without blocking the event loop."""
        user = User.objects.create_user("scope-of-a-task")
        client = Client()
        client.force_login(user)
        session = client.session
        session["tenant_id"] = 4
        session.save()

        async def ask() -> Scope:
            request = AsyncRequestFactory().get("/")
            request.COOKIES[settings.SESSION_COOKIE_NAME] = session.session_key or ""
            SessionMiddleware(lambda _: HttpResponse()).process_request(request)
            AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
            return await ascope_of(request, client=1, unit=1)

        assert asyncio.run(ask()) == Scope(tenant=4, client=1, unit=1, user=user.pk)
