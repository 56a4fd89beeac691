"""Where the parts are."""

from django.urls import path

from . import showcase, views

urlpatterns = [
    path("parts/", showcase.index, name="parts"),
    path("parts/form/", views.form, name="parts-form"),
    path("parts/fragment/", views.fragment, name="parts-fragment"),
    path("parts/queryset/", views.queryset, name="parts-queryset"),
    path("parts/grow/", views.grow, name="parts-grow"),
    path("api/parts/", showcase.api_index, name="api-parts"),
]
