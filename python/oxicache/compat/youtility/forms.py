"""The forms of document 004: the tenant is the session's where the settings name nobody. Beneath: django/forms.py."""

from django.forms import Form, ModelForm

from oxicache.django import forms
from oxicache.django.scope import SESSION

__all__ = ["CachedDropdownMixin", "OptimizedDropdownForm", "OptimizedModelForm"]


class CachedDropdownMixin(forms.CachedDropdownMixin):
    """`oxicache.django.forms.CachedDropdownMixin`. Where a session has no tenant its choices are not kept."""

    dropdown_scope = SESSION


class OptimizedModelForm(CachedDropdownMixin, ModelForm):  # type: ignore[type-arg]
    """A ModelForm with cached dropdowns."""


class OptimizedDropdownForm(CachedDropdownMixin, Form):
    """A Form with cached dropdowns."""
