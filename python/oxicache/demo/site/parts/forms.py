"""A form whose two dropdowns are cached: their choices are made of rows, and hold until one of these is saved."""

from typing import Any

from django import forms

from oxicache.demo.site.atlas.models import City, Country
from oxicache.django.forms import OptimizedDropdownForm


class CountryField(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's own class takes no argument at run time
    """Countries, with as many people as they have."""

    def label_from_instance(self, obj: Any) -> str:
        """Return what the dropdown says."""
        return f"{obj.name} ({obj.population:,} people)"


class CityField(forms.ModelChoiceField):  # type: ignore[type-arg]  # as above
    """Cities, with the countries that they are in."""

    def label_from_instance(self, obj: Any) -> str:
        """Return what the dropdown says."""
        return f"{obj.name}, {obj.country.name}"


class TripForm(OptimizedDropdownForm):
    """From a country to a city. What is chosen is looked for in the database, as in any form."""

    country = CountryField(Country.objects.all(), label="From")
    city = CityField(City.objects.none(), label="To")

    cached_dropdown_fields = {  # noqa: RUF012 -- as every project writes it
        "country": {"model": Country},
        "city": {"model": City, "filter_method": "asked_for"},
    }
    dropdown_cache_timeout = 60 * 60
