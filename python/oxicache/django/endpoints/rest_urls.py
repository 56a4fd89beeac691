"""Where the views of Django REST framework are: `path("api/core/", include("oxicache.django.endpoints.rest_urls"))`."""

from django.urls import path

from oxicache.django.endpoints import rest_views

__all__ = ["app_name", "urlpatterns"]

app_name = "oxicache_endpoints"
urlpatterns = [
    path("cache-stats/", rest_views.CacheStatsView.as_view(), name="cache-stats"),
    path("cache-health/", rest_views.CacheHealthView.as_view(), name="cache-health"),
    path("cache-clear/", rest_views.CacheClearView.as_view(), name="cache-clear"),
    path("cache-reset-stats/", rest_views.CacheResetStatsView.as_view(), name="cache-reset-stats"),
]
