"""Document 004 (YOUTILITY5): its template fragments. What is beneath: django_app/test_fragments.py."""

from collections.abc import Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, TENANT, asked, own_responses
from django.contrib.auth.models import User
from django.core.cache import caches
from django.template.backends.django import get_installed_libraries
from document_pages import Example, example

from oxicache import testing

LIBRARIES = get_installed_libraries()  # as a project's own engine has them


@pytest.fixture(autouse=True)
def _site(django_databases: None) -> Iterator[None]:
    with own_responses():
        yield


class Counted(list[Any]):
    """Rows that say how often somebody has gone through them."""

    def __init__(self, *rows: Any) -> None:
        super().__init__(rows)
        self.reads = 0

    def __iter__(self) -> Iterator[Any]:
        self.reads += 1
        return super().__iter__()


def of_tenant(tenant: int = 1, user: User = ANN) -> dict[str, Any]:
    """The context of a page: a request, and who asks."""
    request = asked(user=user, session={**TENANT, "tenant_id": tenant})
    return {"request": request, "user": request.user}


@example("004", "Template Fragment Caching")
def test_template_fragment_caching(shown: Example) -> None:
    """004, "Template Fragment Caching": a quarter of an hour, by tenant."""
    rows = Counted("one", "two")
    included = {"dashboard/stats_widget.html": "{% for row in rows %}<i>{{ row }}</i>{% endfor %}"}
    with testing.clock() as clock:
        for tenant, reads in ((1, 1), (1, 1), (2, 2), (1, 2)):
            assert "<i>one</i><i>two</i>" in shown.rendered(
                LIBRARIES, included, rows=rows, **of_tenant(tenant)
            )
            assert rows.reads == reads
        clock.advance(901)
        shown.rendered(LIBRARIES, included, rows=rows, **of_tenant())
        assert rows.reads == 3


@example("004", "Example 3: Template Fragment Caching")
def test_two_fragments(shown: Example) -> None:
    """004, "Example 3": one of the tenant, for 15 minutes; one of each user in it, for 10."""
    performers = Counted("Ann")
    names = {ANN.pk: "Ann", BOB.pk: "Bob"}
    asked_for: list[str] = []

    class Named:
        """What the page shows of who asks."""

        def __init__(self, user: User) -> None:
            self.pk, self.is_authenticated = user.pk, True

        @property
        def name(self) -> str:
            asked_for.append(names[self.pk])
            return names[self.pk]

    def page(user: User, tenant: int = 1) -> str:
        context = of_tenant(tenant, user)
        context["request"].user = context["user"] = Named(user)
        return shown.rendered(LIBRARIES, top_performers=performers, **context)

    with testing.clock() as clock:
        for user, tenant in ((ANN, 1), (ANN, 1), (BOB, 1), (ANN, 2), (BOB, 1)):
            assert f"{names[user.pk]}&#x27;s personalized" in page(user, tenant).replace("'", "&#x27;")
        assert (performers.reads, asked_for) == (2, ["Ann", "Bob", "Ann"])
        clock.advance(601)
        page(ANN)
        assert (performers.reads, asked_for) == (2, ["Ann", "Bob", "Ann", "Ann"])
        clock.advance(300)
        page(ANN)
        assert (performers.reads, len(asked_for)) == (3, 4)


@example("004", "Conditional Template Caching")
def test_conditional_template_caching(shown: Example) -> None:
    """004, "Conditional Template Caching": staff is shown what is held; for others it is rendered each time."""
    for user in (ANN, BOB, ANN, BOB):
        assert '<div class="admin-panel">...</div>' in shown.rendered(LIBRARIES, **of_tenant(user=user))
    keys = caches["default"].keys()  # type: ignore[attr-defined]  # NativeCache's own
    assert len([key for key in keys if "template:" in key]) == 1
