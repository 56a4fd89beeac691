"""Hierarchies walked within limits, down and up."""

import json
import logging
from collections import Counter
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.db.utils import IntegrityError
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from project.catalogue.models import Author, Book, Item, Topic
from project.projects.models import Project
from project.projects.viewsets import ProjectSerializer

from oxicache.django import hierarchy
from oxicache.django.hierarchy import aggregate_upwards, descendants, descendants_response

LOGGER = "oxicache.django.hierarchy"


def title(project: Project) -> str:
    return project.title


def made(names: str, parent: Project | None) -> list[Project]:
    return [Project.objects.create(title=name, parent=parent) for name in names.split()]


class Family(TestCase):
    """A root; three children a, b, c; two below a and one below c; one below that."""

    def setUp(self) -> None:
        [self.root] = made("root", None)
        self.a, self.b, self.c = made("a b c", self.root)
        self.aa, self.ab = made("aa ab", self.a)
        [self.ca] = made("ca", self.c)
        [self.caa] = made("caa", self.ca)


class TestDescendants(Family):
    def test_they_come_level_by_level(self) -> None:
        """Children first, then theirs, each once; the node itself is none of them."""
        walk = descendants(self.root)
        assert [row.title for row in walk] == ["a", "b", "c", "aa", "ab", "ca", "caa"]
        assert (walk.count, walk.total_processed, walk.depth, walk.is_truncated) == (7, 7, 3, False)

    def test_each_level_is_one_query(self) -> None:
        """Three levels and the one that is empty are four queries, however many nodes each has."""
        with self.assertNumQueries(4):
            list(descendants(self.root))

    def test_the_depth_is_bounded(self) -> None:
        """`max_depth` levels are read, and no query is made for the next; that cuts nothing off."""
        with self.assertNumQueries(2):
            walk = descendants(self.root, max_depth=2)
            assert [row.title for row in walk] == ["a", "b", "c", "aa", "ab", "ca"]
        assert (walk.depth, walk.is_truncated) == (2, False)

    def test_rows_are_bounded_and_what_was_cut_off_is_told(self) -> None:
        """No more than max_rows come out; is_truncated only where there was one more."""
        for max_rows in range(1, 9):
            walk = descendants(self.root, max_rows=max_rows)
            assert len(list(walk)) == walk.count == min(max_rows, 7)
            assert walk.is_truncated is (max_rows < 7), max_rows

    def test_the_limits_are_read_for_each_walk(self) -> None:
        """RSR_MAX_DESCENDANTS_PER_REQUEST and RSR_DESCENDANTS_CHUNK_SIZE count from the next walk on."""
        walk = descendants(self.root)
        with override_settings(RSR_MAX_DESCENDANTS_PER_REQUEST=5, RSR_DESCENDANTS_CHUNK_SIZE=2):
            assert [[row.title for row in rows] for rows in walk.chunks()] == [
                ["a", "b"],
                ["c"],
                ["aa", "ab"],
            ]
            assert walk.is_truncated
        assert len(list(walk)) == 7
        assert not walk.is_truncated

    def test_a_circle_is_walked_once(self) -> None:
        """A node that is below itself ends the walk, and comes out not at all."""
        Project.objects.filter(pk=self.root.pk).update(parent=self.caa)
        assert [row.title for row in descendants(self.a)] == ["aa", "ab"]
        assert sorted(row.title for row in descendants(self.ca)) == ["a", "aa", "ab", "b", "c", "caa", "root"]
        Project.objects.filter(pk=self.b.pk).update(parent=self.b)
        assert list(descendants(self.b)) == []

    def test_several_nodes_share_a_walk(self) -> None:
        """What is below two of them comes out once, and a node that is below another one does not."""
        assert sorted(row.title for row in descendants([self.a, self.c, self.ca])) == ["aa", "ab", "caa"]
        assert list(descendants([])) == []

    def test_a_queryset_says_which_rows_count(self) -> None:
        """Its filter, order and select_related hold; what is below a row that does not count is not found."""
        visible = Project.objects.exclude(title="c").select_related("parent").order_by("-title")
        with self.assertNumQueries(3):
            assert [row.parent.title for row in descendants(self.root, queryset=visible)] == [
                "root",
                "root",
                "a",
                "a",
            ]
        assert [row.title for row in descendants(self.root, queryset=visible)] == ["b", "a", "ab", "aa"]

    def test_the_way_down_is_an_accessor_a_field_or_a_function(self) -> None:
        """`children`, the foreign key behind it, or what finds rows for primary keys."""

        def below(parents: list[int]) -> Any:
            return Project.objects.filter(parent__in=parents).exclude(title="a")

        assert len(list(descendants(self.root, "children"))) == 7
        assert len(list(descendants(self.root, "parent"))) == 7
        assert [row.title for row in descendants(self.root, below)] == ["b", "c", "ca", "caa"]

    def test_a_relation_to_another_model_is_refused(self) -> None:
        """The error names the relations that there are."""
        with pytest.raises(ValueError, match="has no relation 'childs' to itself; it has children, parent"):
            descendants(self.root, "childs")
        with pytest.raises(ValueError, match=r"'author'.*parts, whole"):
            descendants(Item.objects.create(), "author")
        with pytest.raises(ValueError, match="it has none"):
            descendants(Author.objects.create(), "items")

    def test_values_are_no_rows_to_walk_by(self) -> None:
        """A queryset of values() is a TypeError: what is below a dict is not known."""
        with pytest.raises(TypeError, match="model instances"):
            descendants(self.root, queryset=Project.objects.values("title"))

    def test_a_task_walks_too(self) -> None:
        """`async for` over the walk, or over its achunks()."""
        walk = descendants(self.root, size=2)

        async def titles() -> list[str]:
            return [row.title async for row in walk]

        async def sizes() -> list[int]:
            return [len(rows) async for rows in walk.achunks()]

        assert async_to_sync(titles)() == ["a", "b", "c", "aa", "ab", "ca", "caa"]
        assert async_to_sync(sizes)() == [2, 1, 2, 1, 1]
        assert walk.count == 7

    def test_limits_are_whole_numbers(self) -> None:
        """At least 1, and named in the error."""
        for name in ("max_rows", "max_depth", "size"):
            for value, error in [(0, ValueError), (-5, ValueError), ("5", TypeError), (True, TypeError)]:
                with pytest.raises(error, match=name):
                    descendants(self.root, **{name: value})

    def test_children_of_an_inherited_table(self) -> None:
        """A relation that the parent model has to itself leads down from a child model's rows too."""
        book = Book.objects.create(title="whole")
        Item.objects.create(title="part", whole=book)
        assert [row.title for row in descendants(Item.objects.get(pk=book.pk), "parts")] == ["part"]

    def test_many_parents_are_asked_for_in_batches(self) -> None:
        """A level of more nodes than a query takes parameters is several queries."""
        count = hierarchy.PARENTS_PER_QUERY + 1
        Project.objects.bulk_create(Project(title="x", parent=self.b) for _ in range(count))
        with self.assertNumQueries(3):
            assert len(list(descendants(self.b, max_rows=5000, size=1000, max_depth=2))) == count


class TestManyToMany(TestCase):
    def setUp(self) -> None:
        self.topics = {
            name: Topic.objects.create(name=name) for name in ("all", "art", "war", "guns", "maps")
        }
        for above, below in [
            ("all", "art"),
            ("all", "war"),
            ("art", "maps"),
            ("war", "maps"),
            ("war", "guns"),
        ]:
            self.topics[above].narrower.add(self.topics[below])
        self.topics["guns"].related.add(self.topics["maps"])

    def names(self, node: str, relation: str, **limits: int) -> list[str]:
        return [topic.name for topic in descendants(self.topics[node], relation, **limits)]

    def test_a_row_below_several_comes_once(self) -> None:
        """Many-to-many relations lead down too, with one query for each level."""
        with self.assertNumQueries(3):
            assert self.names("all", "narrower") == ["art", "war", "guns", "maps"]
        assert self.names("all", "narrower", max_rows=3) == ["art", "war", "guns"]

    def test_either_end_of_the_relation_leads_away(self) -> None:
        """The accessor of the other side leads up, and one that is its own reverse leads both ways."""
        assert sorted(self.names("maps", "broader")) == ["all", "art", "war"]
        assert self.names("maps", "related") == ["guns"]
        assert self.names("guns", "related") == ["maps"]

    def test_a_circle_ends(self) -> None:
        """A topic below itself is walked once."""
        self.topics["maps"].narrower.add(self.topics["all"])
        assert sorted(self.names("art", "narrower")) == ["all", "guns", "maps", "war"]


class TestResponse(Family):
    def answer(self, **options: Any) -> tuple[list[str], dict[str, str]]:
        response = descendants_response(self.root, title, **options)
        headers = {name: value for name, value in response.items() if name.startswith("X-")}
        return json.loads(response.content), headers

    def test_a_response_that_holds_everything(self) -> None:
        """A plain list, its length, and the protection `standard`."""
        assert self.answer() == (
            ["a", "b", "c", "aa", "ab", "ca", "caa"],
            {"X-Children-Count": "7", "X-Memory-Protection": "standard"},
        )

    def test_exactly_as_many_as_allowed_is_not_truncated(self) -> None:
        """The limit itself is no excess: nothing is missing, so nothing says that it is."""
        with override_settings(RSR_MAX_DESCENDANTS_PER_REQUEST=7):
            assert self.answer()[1] == {"X-Children-Count": "7", "X-Memory-Protection": "standard"}

    def test_one_more_than_allowed_is_truncated(self) -> None:
        """A plain list still, the protection `chunked`, and X-Truncated `true`."""
        with override_settings(RSR_MAX_DESCENDANTS_PER_REQUEST=6, RSR_DESCENDANTS_CHUNK_SIZE=2):
            body, headers = self.answer()
        assert body == ["a", "b", "c", "aa", "ab", "ca"]
        assert headers == {
            "X-Children-Count": "6",
            "X-Memory-Protection": "chunked",
            "X-Total-Processed": "7",
            "X-Truncated": "true",
        }

    def test_a_view_may_allow_more(self) -> None:
        """Past the setting, but within max_rows, it is chunked and nothing is missing."""
        with override_settings(RSR_MAX_DESCENDANTS_PER_REQUEST=2):
            body, headers = self.answer(max_rows=50)
        assert len(body) == 7
        assert (headers["X-Memory-Protection"], headers["X-Truncated"]) == ("chunked", "false")

    def test_a_serializer_of_the_framework_serializes(self) -> None:
        """A serializer class takes each chunk, with the context given."""
        response = descendants_response(self.c, ProjectSerializer, context={"request": None})
        assert [row["title"] for row in json.loads(response.content)] == ["ca", "caa"]

    def test_instances_need_something_that_serializes_them(self) -> None:
        """None is refused before anything is read."""
        with self.assertNumQueries(0), pytest.raises(TypeError, match="serialize"):
            descendants_response(self.root, None)


class TestAggregation(Family):
    def setUp(self) -> None:
        super().setUp()
        self.seen: list[str] = []

    def note(self, project: Project) -> None:
        self.seen.append(project.title)

    def climb(self, node: Any, compute: Any = None, **options: Any) -> Any:
        """Aggregate, with what was logged beside the report."""
        self.seen.clear()
        with self.caplog.at_level(logging.WARNING, logger=LOGGER):
            self.caplog.clear()
            return aggregate_upwards(node, compute or self.note, **options)

    @pytest.fixture(autouse=True)
    def _logged(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog

    def test_every_ancestor_is_computed_once(self) -> None:
        """From the node to the top; the report says which, and that nothing went wrong."""
        report = self.climb(self.caa)
        assert self.seen == ["caa", "ca", "c", "root"]
        assert report.computed == [self.caa.pk, self.ca.pk, self.c.pk, self.root.pk]
        assert (report.errors, report.is_circular, report.is_truncated) == ({}, False, False)
        assert not self.caplog.messages

    def test_a_level_costs_one_query_for_its_parent(self) -> None:
        """And the savepoint of its computation, where there is a transaction."""
        node = Project.objects.get(pk=self.caa.pk)
        with CaptureQueriesContext(connection) as queries:
            self.climb(node)
        kinds = Counter(query["sql"].split()[0] for query in queries.captured_queries)
        assert kinds == {"SAVEPOINT": 4, "RELEASE": 4, "SELECT": 3}

    def test_exactly_max_depth_computations_are_made(self) -> None:
        """The levels past it are left out, with one warning; a hierarchy just as deep is complete."""
        for depth in (1, 2, 3):
            report = self.climb(self.caa, max_depth=depth)
            assert len(self.seen) == depth
            assert report.is_truncated
            left_out = ["ca", "c", "root"][depth - 1]
            assert self.caplog.messages == [
                f"Maximum aggregation depth ({depth}) reached below <Project: {left_out}>"
            ]
        for depth in (4, 5):
            assert not self.climb(self.caa, max_depth=depth).is_truncated
            assert (len(self.seen), self.caplog.messages) == (4, [])

    def test_the_depth_is_read_at_each_call(self) -> None:
        """RSR_MAX_AGGREGATION_DEPTH, or the module's MAX_AGGREGATION_DEPTH where somebody has set it."""
        with override_settings(RSR_MAX_AGGREGATION_DEPTH=3):
            self.climb(self.caa)
            assert len(self.seen) == 3
            with mock.patch.object(hierarchy, "MAX_AGGREGATION_DEPTH", 2):
                self.climb(self.caa)
                assert len(self.seen) == 2
                self.climb(self.caa, max_depth=1)
                assert len(self.seen) == 1
        self.climb(self.caa)
        assert len(self.seen) == 4

    def test_a_circle_is_reported_and_ends(self) -> None:
        """Every node of it is computed once, with one warning."""
        Project.objects.filter(pk=self.root.pk).update(parent=self.ca)
        report = self.climb(Project.objects.get(pk=self.caa.pk))
        assert self.seen == ["caa", "ca", "c", "root"]
        assert report.is_circular
        assert not report.is_truncated
        assert self.caplog.messages == ["Circular reference detected: <Project: ca> is above itself"]

    def test_a_node_above_itself_is_computed_once(self) -> None:
        """The smallest circle."""
        self.root.parent = self.root
        assert self.climb(self.root).is_circular
        assert self.seen == ["root"]

    def test_an_error_stops_neither_the_parents_nor_the_transaction(self) -> None:
        """Its writes are undone, it is logged and reported, and those above are computed and kept."""

        def double(project: Project) -> None:
            Project.objects.filter(pk=project.pk).update(budget=2)
            if project.title == "ca":
                Project.objects.create(pk=self.root.pk)  # which is there

        with transaction.atomic():
            report = self.climb(self.caa, double)
        assert isinstance(report.errors[self.ca.pk], IntegrityError)
        assert report.computed == [self.caa.pk, self.c.pk, self.root.pk]
        budgets = dict(Project.objects.values_list("title", "budget"))
        assert (budgets["caa"], budgets["ca"], budgets["c"], budgets["root"]) == (2, 0, 2, 2)
        assert "<Project: ca> could not be computed: IntegrityError" in self.caplog.messages[0]

    def test_several_parents_are_levels_too(self) -> None:
        """A relation or a function may name several; a failing one does not stop those beside it."""
        topics = {name: Topic.objects.create(name=name) for name in ("top", "left", "right", "low")}
        for above, below in [("top", "left"), ("top", "right"), ("left", "low"), ("right", "low")]:
            topics[above].narrower.add(topics[below])

        def compute(topic: Topic) -> None:
            self.seen.append(topic.name)
            if topic.name == "left":
                raise ZeroDivisionError

        report = self.climb(topics["low"], compute, parent="broader")
        assert self.seen == ["low", "left", "right", "top"]
        assert list(report.errors) == [topics["left"].pk]
        assert not report.is_circular, "two ways to one node are no circle"

    def test_a_parent_that_is_gone_is_reported(self) -> None:
        """What the way up raises is an error of that node; what it has computed stays."""
        gone = SimpleNamespace(pk=1)
        report = self.climb(gone, lambda node: self.seen.append("gone"), parent="parent")
        assert self.seen == ["gone"]
        assert isinstance(report.errors[1], AttributeError)

    def test_plain_objects_have_hierarchies_too(self) -> None:
        """No database is needed, nor a primary key."""
        top = SimpleNamespace(title="top", above=None)
        node = SimpleNamespace(title="node", above=top)
        assert not self.climb(node, parent=lambda found: found.above).errors
        assert self.seen == ["node", "top"]
        top.above = node
        assert self.climb(node, parent="above").is_circular

    def test_a_depth_is_a_whole_number(self) -> None:
        """At least 1."""
        with pytest.raises(ValueError, match="at least 1 level"):
            aggregate_upwards(self.root, self.note, max_depth=0)
        with pytest.raises(TypeError, match="whole number"):
            aggregate_upwards(self.root, self.note, max_depth=1.5)  # type: ignore[arg-type]
