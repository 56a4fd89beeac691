"""The admin's list of projects shows a cached method, decorated with `admin.display` too."""

from django.contrib import admin

from oxicache import cached_method
from project.projects.models import Project, computed


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list whose second column is a cached method of the ModelAdmin itself."""

    list_display = ("title", "shouted_title", "label")

    @admin.display(description="Shouted", ordering="title", empty_value="-")
    @cached_method(ttl=300)
    def shouted_title(self, project: Project) -> str:
        """The title in capitals."""
        computed["shouted_title"] += 1
        return project.title.upper()
