"""The countries as a viewset of Django REST framework: a list and a detail that are cached by two mixins."""

from typing import Any

from rest_framework import serializers, viewsets

from oxicache.demo.site.atlas.models import Country
from oxicache.django.responses import DetailCacheMixin, ListCacheMixin


class CountrySerializer(serializers.ModelSerializer):  # type: ignore[misc]  # the framework has no types
    """What a country's row says."""

    class Meta:
        model = Country
        fields = ("iso", "name", "population", "area_km2", "currency")


class CountryViewSet(ListCacheMixin, DetailCacheMixin, viewsets.ReadOnlyModelViewSet):  # type: ignore[misc]  # as above
    """Countries; `?continent=EU` those of one continent."""

    queryset = Country.objects.order_by("name")
    serializer_class = CountrySerializer
    lookup_field = "iso"
    cache_timeout = 60

    def get_queryset(self) -> Any:
        """Return the countries that are asked for."""
        code = self.request.query_params.get("continent")
        found = super().get_queryset()
        return found.filter(continent__code=code.upper()) if code else found
