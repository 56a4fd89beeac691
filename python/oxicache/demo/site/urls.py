"""The pages, the JSON endpoints beside them, and the static files."""

from pathlib import Path

from django.urls import include, path
from django.views.static import serve

from .atlas import views

STATIC = Path(__file__).parent / "atlas" / "static"

urlpatterns = [
    path("", views.world, name="world"),
    path("continent/<str:code>/", views.continent, name="continent"),
    path("country/<str:iso>/", views.country, name="country"),
    path("country/<str:iso>/edit/", views.edit, name="edit"),
    path("search/", views.search, name="search"),
    path("api/", views.api_index, name="api"),
    path("api/world/", views.api_world, name="api-world"),
    path("api/continents/<str:code>/", views.api_continent, name="api-continent"),
    path("api/countries/<str:iso>/", views.api_country, name="api-country"),
    path("api/route/<str:start>/<str:end>/", views.api_route, name="api-route"),
    path("api/search/", views.api_search, name="api-search"),
    path("api/cache/", views.api_cache, name="api-cache"),
    path("", include("oxicache.demo.site.features.urls")),
    path("", include("oxicache.demo.site.parts.urls")),
    path("api/core/", include("oxicache.django.endpoints.urls")),  # for Ada, who looks after the site
    # Two small files on localhost; a real site has whitenoise or nginx do this.
    path("static/<path:path>", serve, {"document_root": STATIC}, name="static"),
]

handler404 = views.not_found
