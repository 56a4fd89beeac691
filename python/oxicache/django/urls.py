"""Where the pages of views.py are: `path("", include("oxicache.django.urls"))` in a project's urls."""

from django.urls import path

from oxicache.django import views

__all__ = ["app_name", "urlpatterns"]

app_name = "oxicache"
urlpatterns = [
    path("cache/health/", views.health, name="health"),
    path("cache/health/detail/", views.health_detail, name="health_detail"),
    path("cache/metrics/", views.prometheus_metrics, name="metrics"),
]
