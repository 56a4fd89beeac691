"""Where the plain views are: `path("api/core/", include("oxicache.django.endpoints.urls"))`."""

from django.urls import path

from oxicache.django.endpoints import views

__all__ = ["app_name", "urlpatterns"]

app_name = "oxicache_endpoints"
urlpatterns = [
    path("cache-stats/", views.CacheStatsView.as_view(), name="cache-stats"),
    path("cache-health/", views.CacheHealthView.as_view(), name="cache-health"),
    path("cache-clear/", views.CacheClearView.as_view(), name="cache-clear"),
    path("cache-reset-stats/", views.CacheResetStatsView.as_view(), name="cache-reset-stats"),
]
