"""The pages of the test project: the admin, and projects over DRF."""

from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import SimpleRouter

from project import live
from project.projects.viewsets import ProjectViewSet

router = SimpleRouter()
router.register("projects", ProjectViewSet)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
    path("live/work/", live.work_view),
    path("live/hang/", live.hang_view),
    path("live/fork/", live.fork_view),
    path("", include("oxicache.django.urls")),
]
