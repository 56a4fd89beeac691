"""`ListCacheMixin` and `DetailCacheMixin`: what is held, for whom, what outdates it, and which options there are."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from project.catalogue.models import Author, Item, Label, Topic
from rest_framework import viewsets
from rest_items import NATIVE, ItemViewSet

from oxicache import testing
from oxicache.django.invalidation import invalidate
from oxicache.django.responses import DetailCacheMixin, ListCacheMixin, rest_mixins


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    with override_settings(CACHES=NATIVE, ROOT_URLCONF="rest_items"):
        yield
    Item.objects.all().delete()
    Author.objects.all().delete()
    Label.objects.all().delete()


@pytest.fixture
def item() -> Item:
    return Item.objects.create(title="lamp", author=Author.objects.create(name="ada"))


def statuses(client: Client, *paths: str, **headers: str) -> list[str | None]:
    """What `X-Cache` says of each request in turn."""
    return [client.get(each, headers=headers).headers.get("X-Cache") for each in paths]


class TestHits:
    def test_list_and_retrieve_are_cached(self, client: Client, item: Item) -> None:
        """The second request of either is answered without a query."""
        for url in ("/items/", f"/items/{item.pk}/"):
            first = client.get(url)
            with CaptureQueriesContext(connection) as queries:
                second = client.get(url)
            assert (first["X-Cache"], second["X-Cache"], len(queries)) == ("MISS", "HIT", 0)
            assert first.json() == second.json()

    def test_other_methods_are_left_alone(self, client: Client, item: Item) -> None:
        """A POST, a PUT and an OPTIONS reach the viewset, and say nothing of a cache."""
        url = f"/items/{item.pk}/"
        client.get(url)
        answers = [
            client.put(url, {"title": "desk"}, content_type="application/json"),
            client.options(url),
            client.post("/items/", {"title": "chair"}, content_type="application/json"),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 201]
        assert all("X-Cache" not in answer for answer in answers)

    def test_head_is_answered_from_what_get_left(self, client: Client, item: Item) -> None:
        """HEAD hits, and fills nothing."""
        assert client.head("/items/").headers.get("X-Cache") is None
        client.get("/items/")
        assert client.head("/items/")["X-Cache"] == "HIT"

    def test_what_is_not_found_is_not_cached(self, client: Client) -> None:
        """A 404 is no response to keep."""
        assert statuses(client, "/items/4711/", "/items/4711/", "/items/none/") == [None, None, None]

    def test_one_timeout_is_for_both(self, client: Client, item: Item) -> None:
        """`cache_timeout` of the viewset holds for lists and for details."""
        with testing.clock() as clock:
            urls = ("/items/", f"/items/{item.pk}/")
            statuses(client, *urls)
            clock.advance(1799)
            assert statuses(client, *urls) == ["HIT", "HIT"]
            clock.advance(2)
            assert statuses(client, *urls) == ["MISS", "MISS"]

    def test_without_one_a_list_is_kept_for_less_than_a_detail(self, client: Client, item: Item) -> None:
        """300 and 3600 seconds, as document 002 says, also where a view has both mixins."""
        with testing.clock() as clock:
            urls = ("/both/", f"/both/{item.pk}/")
            statuses(client, *urls)
            clock.advance(301)
            assert statuses(client, *urls) == ["MISS", "HIT"]
            clock.advance(3300)
            assert statuses(client, *urls) == ["MISS", "MISS"]
        assert (ListCacheMixin.cache_timeout, DetailCacheMixin.cache_timeout) == (300, 3600)

    def test_a_url_may_have_options_of_its_own(self, client: Client, item: Item) -> None:
        """What `as_view()` is given counts for its URL."""
        with testing.clock() as clock:
            statuses(client, "/short/", "/list/")
            clock.advance(6)
            assert statuses(client, "/short/", "/list/") == ["MISS", "HIT"]

    def test_views_without_a_basename(self, client: Client, item: Item) -> None:
        """No router is needed, and the path tells two URLs of one viewset apart."""
        assert statuses(client, f"/bare/{item.pk}/", f"/bare/{item.pk}/", f"/items/{item.pk}/") == [
            "MISS",
            "HIT",
            "MISS",
        ]


class TestKeys:
    def test_a_custom_lookup_field(self, client: Client) -> None:
        """Objects that are looked up by another field have entries of their own: none is called `none`."""
        for title in ("lamp", "desk"):
            Item.objects.create(title=title)
        found = [client.get(f"/titled/{title}/") for title in ("lamp", "desk", "lamp")]
        assert [answer.json()["title"] for answer in found] == ["lamp", "desk", "lamp"]
        assert [answer["X-Cache"] for answer in found] == ["MISS", "MISS", "HIT"]

    def test_users_have_entries_of_their_own(self, client: Client, member: Client, staff: Client) -> None:
        """Also of one object: what a queryset shows may depend on who asks."""
        users = list(User.objects.order_by("id"))
        for user in users:
            Item.objects.create(title=user.get_username())
        for _ in range(2):
            shown = [[row["title"] for row in each.get("/own/").json()] for each in (client, member, staff)]
            assert shown == [[], *([user.get_username()] for user in users)]
        theirs = Item.objects.get(title=users[0].get_username())
        statuses_of = [each.get(f"/own/{theirs.pk}/").status_code for each in (client, member, staff, member)]
        assert statuses_of == [404, 200, 404, 200]

    @pytest.mark.parametrize("url", ["found", "cursors"])
    def test_pages(self, client: Client, url: str) -> None:
        """Each page is an entry, and links lead to the host that was asked."""
        for number in range(5):
            Item.objects.create(title=f"item {number}")
        seen, following = [], f"/{url}/"
        while following:
            first, second = client.get(following), client.get(following)
            assert (first["X-Cache"], second["X-Cache"]) == ("MISS", "HIT")
            seen += [row["title"] for row in second.json()["results"]]
            following = second.json()["next"]
        assert seen == [f"item {number}" for number in range(5)]
        with override_settings(ALLOWED_HOSTS=["*"]):
            other = client.get(f"/{url}/", headers={"host": "other.example"})
        assert other["X-Cache"] == "MISS"
        assert other.json()["next"].startswith("http://other.example/")

    def test_filters_and_orderings(self, client: Client) -> None:
        """The parameters that filter are in the key, in whatever order they come."""
        for title in ("lamp", "desk", "desk lamp"):
            Item.objects.create(title=title)
        urls = (
            "/found/?search=lamp&ordering=title",
            "/found/?ordering=title&search=lamp",
            "/found/?search=desk",
        )
        found = [client.get(url) for url in urls]
        assert [[row["title"] for row in answer.json()["results"]] for answer in found] == [
            ["desk lamp", "lamp"],
            ["desk lamp", "lamp"],
            ["desk", "desk lamp"],
        ]
        assert [answer["X-Cache"] for answer in found] == ["MISS", "HIT", "MISS"]


class TestInvalidation:
    def test_a_change_of_a_row_outdates_lists_and_the_row(self, client: Client, item: Item) -> None:
        """Another row's detail stays."""
        other = Item.objects.create(title="desk")
        urls = ("/items/", f"/items/{item.pk}/", f"/items/{other.pk}/")
        statuses(client, *urls)
        item.title = "lantern"
        item.save()
        assert statuses(client, *urls) == ["MISS", "MISS", "HIT"]
        assert client.get(urls[1]).json()["title"] == "lantern"

    def test_new_and_deleted_rows(self, client: Client, item: Item) -> None:
        """A list shows a row from its creation to its deletion; a deleted one is not found."""
        urls = ("/items/", f"/items/{item.pk}/")
        statuses(client, *urls)
        Item.objects.create(title="desk")
        assert len(client.get("/items/").json()) == 2
        Item.objects.all().delete()
        assert client.get("/items/").json() == []
        assert client.get(urls[1]).status_code == 404

    def test_a_change_through_the_viewset(self, client: Client, item: Item) -> None:
        """What a PUT has changed is what the next GET shows."""
        url = f"/items/{item.pk}/"
        client.get(url)
        client.put(url, {"title": "lantern"}, content_type="application/json")
        assert client.get(url).json()["title"] == "lantern"

    def test_what_is_selected_and_prefetched(self, client: Client, item: Item) -> None:
        """A change of a row that came along, or of which rows come along, outdates what shows it."""
        urls = ("/items/", f"/items/{item.pk}/")
        statuses(client, *urls)
        Author.objects.get().save()
        assert statuses(client, *urls) == ["MISS", "MISS"]
        item.labels.add(Label.objects.create(slug="bright"))
        assert statuses(client, *urls) == ["MISS", "MISS"]
        assert client.get(urls[1]).json()["labels"] == ["bright"]
        Label.objects.all().delete()
        assert client.get(urls[1]).json()["labels"] == []

    def test_rows_that_nobody_has_counted(self, client: Client, item: Item) -> None:
        """What is said of a whole model outdates each of its rows."""
        urls = ("/items/", f"/items/{item.pk}/")
        statuses(client, *urls)
        invalidate(Item)
        assert statuses(client, *urls) == ["MISS", "MISS"]

    def test_a_model_that_only_get_queryset_names(self, client: Client) -> None:
        """Its changes are heard of from the first request on."""
        statuses(client, "/topics/")
        topic = Topic.objects.create(name="light")
        assert client.get("/topics/").json() == [{"name": "light"}]
        topic.delete()
        assert client.get("/topics/").json() == []

    def test_a_model_that_is_joined(self, client: Client, item: Item) -> None:
        """A queryset that filters by another model depends on it; so does one that selects all that there is."""
        assert len(client.get("/adas/").json()) == 1
        author = Author.objects.get()
        author.name = "bob"
        author.save()
        assert client.get("/adas/").json() == []
        queryset = Item.objects.all()
        queryset.query.select_related = True  # as select_related() has it, which newer releases deprecate
        assert Author in rest_mixins._models_of(queryset)

    def test_a_rollback_outdates_nothing(self, client: Client, item: Item) -> None:
        """What was not committed was never shown."""
        statuses(client, "/items/")
        with transaction.atomic():
            item.save()
            transaction.set_rollback(True)
        assert statuses(client, "/items/") == ["HIT"]

    def test_by_another_lookup_field_any_row_outdates(self, client: Client, item: Item) -> None:
        """Which row it is is known by its primary key alone."""
        statuses(client, "/titled/lamp/")
        Item.objects.create(title="desk")
        assert statuses(client, "/titled/lamp/") == ["MISS"]

    def test_more_models_than_one_entry_can_depend_on(
        self, client: Client, item: Item, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is kept then, and a line says why; the view answers."""
        monkeypatch.setattr(
            rest_mixins, "_words", lambda *_, **__: [f"model:{number}" for number in range(33)]
        )
        answers = [client.get("/list/") for _ in range(2)]
        assert [(answer.status_code, answer.headers.get("X-Cache")) for answer in answers] == [
            (200, None)
        ] * 2
        assert "it depends on 33 version words" in caplog.text

    def test_where_there_is_no_queryset_time_alone_outdates(self, client: Client) -> None:
        """A list that comes from elsewhere is cached like any."""
        assert client.get("/numbers/").json() == client.get("/numbers/").json()

    def test_tags_of_a_method(self, client: Client, item: Item) -> None:
        """`cache_tags` may be a method; with `cache_invalidate_on = None` nothing but tags and time outdates."""
        urls = ("/tagged/", "/tagged/?of=lamps")
        statuses(client, *urls)
        item.save()
        assert statuses(client, *urls) == ["HIT", "HIT"]
        cache.delete_by_tag("TaggedViewSet:lamps")
        assert statuses(client, *urls) == ["HIT", "MISS"]

    def test_a_cache_without_versions(
        self, client: Client, item: Item, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A foreign cache is used where time alone outdates; else nothing is cached, and a line says so."""
        assert statuses(client, "/foreign/", "/foreign/") == [None, None]
        assert "has no tags" in caplog.text
        assert statuses(client, "/timed/", "/timed/") == ["MISS", "HIT"]


class TestOptions:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("timeout", "soon"),
            ("timeout", -1),
            ("per_user", "yes"),
            ("tags", "all"),
            ("tags", [""]),
            ("vary_on", "Accept"),
            ("invalidate_on", [1]),
            ("alias", 1),
        ],
    )
    @pytest.mark.parametrize("mixin", [ListCacheMixin, DetailCacheMixin])
    def test_a_wrong_option_is_refused_when_the_class_is_made(
        self, mixin: type[Any], name: str, value: Any
    ) -> None:
        """The error names the class, the attribute and the value."""
        with pytest.raises((TypeError, ValueError), match=rf"Wrong\.cache_{name}: "):
            type("Wrong", (mixin, viewsets.ReadOnlyModelViewSet), {f"cache_{name}": value})

    def test_a_mixin_that_comes_too_late_is_refused(self) -> None:
        """Behind the viewset it would never be asked."""
        with pytest.raises(
            TypeError, match="ListCacheMixin must stand before ListModelMixin in the bases of Late"
        ):
            type("Late", (viewsets.ReadOnlyModelViewSet, ListCacheMixin), {})

    def test_a_subclass_has_options_of_its_own(self) -> None:
        """The nearest class that says something counts, and both mixins hear it."""
        longer = type("Longer", (ItemViewSet,), {"cache_timeout": 7200})
        plain = type("Plain", (longer,), {})
        caches = [rest_mixins._cache_of(kind, ListCacheMixin, {}) for kind in (ItemViewSet, longer, plain)]
        assert [cache.ttl for cache in caches] == [1800, 7200, 7200]

    def test_without_the_framework(self) -> None:
        """The package imports without it, and asking for a mixin says what to install."""
        code = (
            "import sys; sys.modules['rest_framework'] = None\n"
            "from django.conf import settings; settings.configure(); import django; django.setup()\n"
            "import oxicache.django.responses as responses\n"
            "try:\n    responses.ListCacheMixin\n"
            "except ImportError as error:\n    print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert (
            done.stdout.strip() == 'ListCacheMixin needs Django REST framework: pip install "oxicache[drf]"'
        )

    def test_the_framework_is_not_imported_before_it_is_needed(self) -> None:
        """Importing `oxicache.django.responses` and decorating a view import nothing of the framework."""
        code = (
            "import sys\n"
            "from django.conf import settings; settings.configure(); import django; django.setup()\n"
            "from oxicache.django.responses import cached_view\n"
            "from django.http import HttpResponse\nfrom django.test import RequestFactory\n"
            "settings.CACHES['default'] = {'BACKEND': 'oxicache.django.backends.NativeCache'}\n"
            "view = cached_view()(lambda request: HttpResponse('x'))\n"
            "request = RequestFactory().get('/')\n"
            "print([view(request)['X-Cache'] for _ in range(2)], [m for m in sys.modules if 'rest_framework' in m])\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "['MISS', 'HIT'] []"
