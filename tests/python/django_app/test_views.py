"""Cached methods in the admin and in DRF viewsets, over HTTP."""

from django.contrib.auth.models import User
from django.test import TestCase
from project.projects.admin import ProjectAdmin
from project.projects.models import Project, computed
from project.projects.viewsets import ProjectViewSet


class TestAdmin(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_superuser("ann")
        Project.objects.create(title="Water")

    def setUp(self) -> None:
        computed.clear()
        self.client.force_login(self.user)

    def test_admin_display_decorates_a_cached_method(self) -> None:
        """@admin.display sets attributes on the method; the changelist uses them and shows the value."""
        method = ProjectAdmin.shouted_title
        assert (method.short_description, method.admin_order_field, method.empty_value_display) == (
            "Shouted",
            "title",
            "-",
        )
        page = self.client.get("/admin/projects/project/?o=2").content.decode()
        assert "WATER" in page
        assert "Shouted" in page
        assert "Water (A)" in page

    def test_the_checks_of_the_admin_accept_it(self) -> None:
        """`list_display` names a cached method of the ModelAdmin and one of the model."""
        from django.contrib import admin

        assert not ProjectAdmin(Project, admin.site).check()


class TestViewSet(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Project.objects.create(title="Water")
        Project.objects.create(title="Old", status="H")

    def setUp(self) -> None:
        computed.clear()

    def test_a_method_of_a_viewset_is_cached_across_requests(self) -> None:
        """Each request has a viewset of its own, so the entries belong to the class; filters are keyed by content."""
        for _ in range(3):
            assert self.client.get("/api/projects/active/").json() == ["Water"]
        assert computed["titles"] == 1
        assert ProjectViewSet().titles({"status": "H"}) == ["Old"]
        assert computed["titles"] == 2

    def test_a_cached_method_can_be_an_action(self) -> None:
        """@action reads and sets attributes of the cached method, and the router finds it."""
        assert [action.url_path for action in ProjectViewSet.get_extra_actions()] == ["active", "version"]
        assert self.client.get("/api/projects/version/").json() == {"version": 1}

    def test_the_plain_views_work_beside_it(self) -> None:
        """The list is served as ever."""
        assert len(self.client.get("/api/projects/").json()) == 2
