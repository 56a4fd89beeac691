"""Where the features are."""

from django.urls import path

from . import showcase, views

urlpatterns = [
    path("features/", showcase.index, name="features"),
    path("features/shared/", views.shared, name="features-shared"),
    path("features/own/", views.own, name="features-own"),
    path("features/api/", views.api, name="features-api"),
    path("features/conditional/", views.conditional, name="features-conditional"),
    path("features/told/", views.told, name="features-told"),
    path("features/stale/", views.stale, name="features-stale"),
    path("features/leaking/", views.leaking, name="features-leaking"),
    path("features/saved/", views.saved, name="features-saved"),
    path("features/save/", views.save, name="features-save"),
    path("features/become/", views.become, name="features-become"),
    path("api/features/", showcase.api_index, name="api-features"),
]
if showcase.HAS_REST:
    from . import rest

    urlpatterns += [
        path("features/rest/", rest.CountryViewSet.as_view({"get": "list"}), name="features-rest-list"),
        path(
            "features/rest/<str:iso>/",
            rest.CountryViewSet.as_view({"get": "retrieve"}),
            name="features-rest-detail",
        ),
    ]
