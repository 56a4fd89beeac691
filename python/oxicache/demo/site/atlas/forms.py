"""The form that edits a country."""

from django import forms

from .models import Country


class CountryForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own class takes no argument at run time
    """What a country's page computes with that is the country's own."""

    class Meta:
        model = Country
        fields = ("name", "population", "area_km2", "currency")
        labels = {"population": "People", "area_km2": "Area, km²", "currency": "Money"}  # noqa: RUF012 - Django's form of it

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they are
        self.fields["currency"].required = False  # the Antarctic has none
        for name in ("population", "area_km2"):
            self.fields[name].widget.attrs["min"] = "0"

    def clean(self) -> dict[str, object]:
        """Refuse negative figures, which every total would add up."""
        cleaned: dict[str, object] = super().clean() or {}
        for name in ("population", "area_km2"):
            value = cleaned.get(name)
            if isinstance(value, int | float) and value < 0:
                self.add_error(name, f"{value} is less than 0.")
        return cleaned
