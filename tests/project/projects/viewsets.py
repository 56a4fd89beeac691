"""Projects over DRF, with cached methods and a cached action."""

from collections.abc import Mapping
from typing import Any

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from oxicache import cached_method
from project.projects.models import Project, computed


class ProjectSerializer(ModelSerializer[Project]):
    """The fields that the tests read."""

    class Meta:
        model = Project
        fields = ("id", "title", "budget")


class ProjectViewSet(ModelViewSet[Project]):
    """`identity="class"`: a view's instance lives for one request, so its entries belong to the class."""

    queryset = Project.objects.order_by("id")
    serializer_class = ProjectSerializer

    @cached_method(ttl=300, max_size=20, identity="class")
    def titles(self, filters: Mapping[str, Any]) -> list[str]:
        """Titles of the projects that `filters` let through; the filters are keyed by their content."""
        computed["titles"] += 1
        return list(self.get_queryset().filter(**filters).values_list("title", flat=True))

    @action(detail=False)
    def active(self, request: Request) -> Response:
        """The titles of active projects."""
        return Response(self.titles({"status": "A"}))

    @action(detail=False)
    @cached_method(ttl=60, identity="class")
    def version(self, request: Request) -> Response:
        """A cached action: each request is a key of its own, so that it is computed anew for each."""
        computed["version"] += 1
        return Response({"version": 1})
