"""Cached properties and methods on Django models: saved, unsaved, deferred, proxy, inherited, deleted."""

import copy
import pickle

import pytest
from django.db import transaction
from django.test import TestCase
from project.projects.models import ArchivedProject, FundedProject, Project, computed

from oxicache import DELETION_SET


class ModelTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.parent = Project.objects.create(title="Water", budget=10)
        for number, title in enumerate(("Wells", "Pumps", "Tanks"), start=1):
            Project.objects.create(title=title, budget=number, parent=cls.parent)

    def setUp(self) -> None:
        computed.clear()


class TestProperties(ModelTestCase):
    def test_a_saved_instance_computes_once(self) -> None:
        """The first read loads a copy of the row and computes on it; the second costs no query."""
        with self.assertNumQueries(2):
            assert [self.parent.children_budget, self.parent.children_budget] == [6, 6]

    def test_an_unsaved_instance_computes_for_itself(self) -> None:
        """Two unsaved instances, which are not equal and share no pk, have a value each."""
        one, two = Project(budget=1), Project(budget=2)
        assert [one.doubled_budget, two.doubled_budget, one.doubled_budget] == [2, 4, 2]
        assert computed["doubled_budget"] == 2

    def test_saving_an_instance_makes_it_one_of_its_row(self) -> None:
        """An unsaved instance's value is its own; once saved, the value is the row's, and computed for it."""
        project = Project(title="New", budget=7)
        assert project.doubled_budget == 14
        project.save()
        assert [project.doubled_budget, Project.objects.get(pk=project.pk).doubled_budget] == [14, 14]
        assert computed["doubled_budget"] == 2

    def test_deferred_fields_are_loaded_by_the_computation_alone(self) -> None:
        """Neither the lookup nor a hit touches a deferred field."""
        project = Project.objects.only("title").get(pk=self.parent.pk)
        with self.assertNumQueries(1):
            assert project.doubled_budget == 20
        project = Project.objects.only("title").get(pk=self.parent.pk)
        _ = project.doubled_budget
        with self.assertNumQueries(0):
            assert project.doubled_budget == 20

    def test_a_property_of_an_abstract_model_is_inherited(self) -> None:
        """Project, its proxy and its child with a table of its own all have Budgeted's property."""
        archived = ArchivedProject.objects.get(pk=self.parent.pk)
        funded = FundedProject.objects.create(title="Funded", budget=3, funder="Ann")
        assert (self.parent.doubled_budget, archived.doubled_budget, funded.doubled_budget) == (20, 20, 6)

    def test_del_computes_again(self) -> None:
        """`del instance.property` is how a caller who has changed the instance says so."""
        project = Project(budget=1)
        assert project.doubled_budget == 2
        project.budget = 5
        assert project.doubled_budget == 2
        del project.doubled_budget
        assert project.doubled_budget == 10

    def test_a_copy_of_an_unsaved_instance_is_another(self) -> None:
        """copy.copy and pickle give instances of their own, which may be edited apart."""
        project = Project(budget=10)
        assert project.doubled_budget == 20
        for other in (copy.copy(project), pickle.loads(pickle.dumps(project))):  # noqa: S301 -- made in this line
            other.budget = 1
            assert other.doubled_budget == 2
        assert project.doubled_budget == 20

    def test_a_class_sees_a_property(self) -> None:
        """Django's model checks and admin look at class attributes: it is a property to them, and no field."""
        assert isinstance(Project.children_budget, property)
        assert not Project.check()
        assert "children_budget" in Project._meta._property_names

    def test_a_property_cannot_be_passed_to_a_constructor(self) -> None:
        """Model(**kwargs) sets properties that have a setter; this one has none, as an uncached property has none."""
        with pytest.raises((AttributeError, TypeError)):
            Project(children_budget=3)


class TestMethods(ModelTestCase):
    def test_each_combination_of_parameters_is_computed_once(self) -> None:
        """Positional, keyword and default spelling of one call are one query."""
        with self.assertNumQueries(2):
            assert self.parent.cheaper_children(3) == ["Pumps", "Wells"]
            assert self.parent.cheaper_children(limit=3, status="A") == ["Pumps", "Wells"]
        with self.assertNumQueries(2):
            assert self.parent.cheaper_children(2) == ["Wells"]

    def test_an_override_calls_the_method_it_overrides(self) -> None:
        """Both are cached, each under its own name, and super() works."""
        archived = ArchivedProject(title="Old", status="A")
        assert [archived.label(), archived.label()] == ["archived: Old (A)"] * 2
        assert (computed["archived label"], computed["label"]) == (1, 1)
        assert Project.label(archived) == "Old (A)"
        assert computed["label"] == 1

    def test_invalidate_forgets_what_a_method_holds_for_a_row(self) -> None:
        """`Project.cheaper_children.invalidate(row, limit)` forgets its other calls too, but no other row's."""
        other = Project.objects.get(title="Wells")
        for project, limit in ((self.parent, 2), (self.parent, 3), (other, 2)):
            project.cheaper_children(limit)
        assert Project.cheaper_children.invalidate(self.parent, 2)
        with self.assertNumQueries(4):
            self.parent.cheaper_children(3)
            self.parent.cheaper_children(2)
        with self.assertNumQueries(0):
            other.cheaper_children(2)

    def test_a_template_calls_it(self) -> None:
        """A template renders a cached method without arguments, and a cached property, as it renders plain ones."""
        from django.template import Context, Template

        template = Template("{{ project.label }}: {{ project.doubled_budget }}")
        for _ in range(2):
            assert template.render(Context({"project": self.parent})) == "Water (A): 20"
        assert (computed["label"], computed["doubled_budget"]) == (1, 1)


class TestDeletions(ModelTestCase):
    def test_a_deletion_is_tracked_while_it_lasts_and_leaves_nothing(self) -> None:
        """Django sets pk to None after delete(); the id is tracked until then, and forgotten after."""
        from django.db.models.signals import post_delete

        tracked: list[bool] = []
        pk = self.parent.pk

        def seen(instance: Project, **kwargs: object) -> None:
            tracked.append(pk in DELETION_SET)

        post_delete.connect(seen, sender=Project)
        try:
            project = Project.objects.get(pk=pk)
            project.delete()
        finally:
            post_delete.disconnect(seen, sender=Project)
        assert tracked == [True] * 4
        assert project.pk is None
        assert (pk in DELETION_SET, len(DELETION_SET._timestamps)) == (False, 0)

    def test_a_refused_deletion_leaves_nothing_tracked(self) -> None:
        """When delete() raises, the id is not tracked any more either."""
        from django.db.models.signals import pre_delete

        def refuse(**kwargs: object) -> None:
            raise RuntimeError("not this one")

        pre_delete.connect(refuse, sender=Project)
        try:
            with pytest.raises(RuntimeError, match="not this one"), transaction.atomic():
                self.parent.delete()
        finally:
            pre_delete.disconnect(refuse, sender=Project)
        assert self.parent.pk not in DELETION_SET
