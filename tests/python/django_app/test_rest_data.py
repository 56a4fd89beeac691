"""How responses of Django REST framework are held: their data, detached from the view."""

import collections
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db.models import TextChoices
from django.template import engines
from django.test import Client, RequestFactory, override_settings
from django.utils import translation
from django.utils.functional import lazy
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from project.catalogue.models import Item
from rest_answers import NATIVE, Make, Named, calls, made, view
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.relations import Hyperlink
from rest_framework.request import Request
from rest_framework.response import Response

from oxicache.django.responses import cached_view


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    made[:] = [{"n": 1}]
    with override_settings(CACHES=NATIVE, ROOT_URLCONF="rest_answers"):
        yield
    Item.objects.all().delete()


class Size(TextChoices):
    SMALL = "s", "Small"


Point = collections.namedtuple("Point", ("x", "y"))  # noqa: PYI024 -- what a view may return


class ReturnsDict(serializers.Serializer[Any]):
    name = serializers.CharField()


HELD: dict[str, Any] = {
    "nothing": None,
    "text": "text",
    "number": 1,
    "nested": {"a": [1, 2.5, None, True, {"b": "c"}], "d": ("e", "f")},
    "numbers as keys": {1: "a", None: "b"},
    "empty": {},
    "ordered": collections.OrderedDict(b=1, a=2),
    "default": collections.defaultdict(lambda: [1], a=[2]),
    "counter": collections.Counter("aab"),
    "decimal": {"price": Decimal("1.50")},
    "times": [datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), date(2025, 1, 2), timedelta(seconds=90)],
    "uuid": UUID(int=7),
    "set": {"one"},
    "views": {"keys": {"a": 1}.keys(), "values": {"a": 1}.values()},
    "lazy": gettext_lazy("Yes"),
    "lazy, of no module": lazy(lambda: "lazy", str)(),
    "link to what has no pickle": Hyperlink("http://testserver/1/", Named()),
    "safe": mark_safe("<b>"),
    "choice": Size.SMALL,
    "tuple with names": Point(1, 2),
    "bytes": b"bytes",
    "separators": "\u2028 \u00e9",
    "link": Hyperlink("http://testserver/1/", "one"),
    "one of a serializer": ReturnsDict({"name": "a"}).data,
    "many of a serializer": ReturnsDict([{"name": "a"}], many=True).data,
}


def called_back(data: Any) -> Response:
    """A response that counts itself, or the like, when it is rendered."""
    response = Response(data)
    response.add_post_render_callback(lambda one: one.headers.setdefault("X-Counted", "1"))
    return response


class TestDetached:
    @pytest.mark.parametrize("name", HELD)
    @pytest.mark.parametrize(
        "accept", ["application/json", "application/json; indent=2", "application/x-wide"]
    )
    def test_what_is_held_is_rendered_as_the_view_is(self, client: Client, name: str, accept: str) -> None:
        """A hit has the bytes, the headers and the status of the miss."""
        made.append(HELD[name])
        first, second = (client.get("/view/", headers={"accept": accept}) for _ in range(2))
        assert (first["X-Cache"], second["X-Cache"], len(calls)) == ("MISS", "HIT", 1)
        assert first.content == second.content
        assert first.status_code == second.status_code
        drop = {"X-Cache", "Age"}
        assert {k: v for k, v in first.items() if k not in drop} == {
            k: v for k, v in second.items() if k not in drop
        }

    def test_data_of_a_hit_is_a_copy(self) -> None:
        """What becomes of the data of one hit, or of what the view returned, the next hit does not show."""
        data: dict[str, Any] = {"list": [1]}
        made.append(data)
        factory = RequestFactory()
        data["list"].append(2)
        first = view(factory.get("/copied/"))
        data["list"].append(3)
        second = view(factory.get("/copied/"))
        second.data["list"].append(4)
        third = view(factory.get("/copied/"))
        assert (first.data["list"], third.data) == ([1, 2, 3], {"list": [1, 2]})
        assert second.render().content == b'{"list":[1,2,4]}'
        assert third.render().content == b'{"list":[1,2]}'

    def test_data_may_be_replaced(self) -> None:
        """A view around a hit that sets other data has it rendered."""
        view(RequestFactory().get("/set/"))
        hit = view(RequestFactory().get("/set/"))
        hit.data = {"n": 2}
        assert hit.render().content == b'{"n":2}'

    def test_nothing_of_a_serializer_is_held(self) -> None:
        """Neither it nor its instance: what comes back is a plain list of plain dicts."""
        made.append(ReturnsDict([{"name": "a"}], many=True).data)
        hits = [view(RequestFactory().get("/plain/")) for _ in range(2)]
        assert (type(hits[1].data), type(hits[1].data[0])) == (list, dict)
        assert hits[1].data == [{"name": "a"}]

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda _: {"rows": Item.objects.all()}, "its data holds a QuerySet"),
            (lambda _: {"rows": (n for n in range(3))}, "its data holds a generator"),
            (lambda _: {"rows": map(str, range(3))}, "its data holds a map"),
            (lambda request: {"user": Response({"request": request})}, "its data holds a Response"),
            (
                lambda _: Response({"n": 1}, template_name=engines["django"].from_string("x")),
                "its template is no name",
            ),
            (
                lambda _: type("Own", (Response,), {"rendered_content": b"{}"})({}),
                "renders itself in a way of its own",
            ),
            (lambda _: called_back({"n": 1}), "something is to be done when it is rendered"),
        ],
        ids=["queryset", "generator", "map", "response", "template", "class", "callback"],
    )
    def test_what_cannot_be_held(self, make: Make, reason: str, caplog: pytest.LogCaptureFixture) -> None:
        """The view's response goes through as it is, each time, and one line says why nothing is kept."""
        asked = []

        @api_view(["GET"])
        @cached_view(timeout=60)
        def fresh(request: Request) -> Any:
            asked.append(request)
            found = make(request)
            return found if isinstance(found, Response) else Response(found)

        answers = [fresh(RequestFactory().get("/")) for _ in range(2)]
        assert len(asked) == 2
        assert all("X-Cache" not in answer.headers for answer in answers)
        assert len([record for record in caplog.records if reason in record.getMessage()]) == 1

    def test_a_generator_is_not_used_up(self, client: Client) -> None:
        """What was looked at for the cache is still there for the renderer."""
        made.append(lambda _: {"rows": (n for n in range(3))})
        assert client.get("/view/?generator").content == b'{"rows":[0,1,2]}'

    def test_what_cannot_be_pickled(self, client: Client) -> None:
        """An object that no pickle can hold is rendered, and not kept."""
        made.append(lambda _: {"own": type("Local", (), {})()})
        answers = [client.get("/view/?local", headers={"accept": "application/x-ticking"}) for _ in range(2)]
        assert [answer.headers.get("X-Cache") for answer in answers] == [None, None]
        assert b"Local" in answers[1].content

    def test_what_cannot_be_rendered(self, client: Client) -> None:
        """The renderer's error is the client's, as without a cache, and nothing is kept of it."""
        made.append({"n": float("nan")})
        for _ in range(2):
            with pytest.raises(ValueError, match="Out of range float values"):
                client.get("/view/?nan")
        assert len(calls) == 2

    def test_languages_are_apart(self, client: Client) -> None:
        """A lazy text is what it was in the language of the request."""
        made.append({"yes": gettext_lazy("Yes")})
        seen = []
        for language in ("en", "de", "en", "de"):
            with translation.override(language):
                seen.append(view(RequestFactory().get("/languages/")).render().content.decode())
        assert seen == ['{"yes":"Yes"}', '{"yes":"Ja"}'] * 2

    def test_a_limit_of_bytes(self) -> None:
        """`max_bytes` counts what a JSON client gets."""

        @api_view(["GET"])
        @cached_view(timeout=60, max_bytes=20)
        def limited(request: Request) -> Response:
            return Response({"x": "y" * int(request.query_params["n"])})

        seen = [
            [limited(RequestFactory().get("/", {"n": n})).headers.get("X-Cache") for _ in range(2)]
            for n in (10, 99)
        ]
        assert seen == [["MISS", "HIT"], [None, None]]
