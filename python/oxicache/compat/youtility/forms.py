"""The forms of document 004, `apps.core.caching.form_mixins`, whose tenant is the session's.

There a form without a request shared what it held with every tenant. Here it holds nothing where nobody says whose it
is: what its choices are is asked of the database then.
"""

from collections.abc import Mapping
from typing import ClassVar

from django.forms import Form, ModelForm

from oxicache.django import forms
from oxicache.django.scope import SESSION, Resolver

__all__ = ["CachedDropdownMixin", "OptimizedDropdownForm", "OptimizedModelForm"]


class CachedDropdownMixin(forms.CachedDropdownMixin):
    """`oxicache.django.forms.CachedDropdownMixin`: keys are `tenant:1:client:2:bu:3:form:dropdown:<Form>:<field>:...`.

    Tenant, client and unit are the session's where the settings name nobody.
    """

    dropdown_scope: ClassVar[Mapping[str, Resolver]] = SESSION


class OptimizedModelForm(CachedDropdownMixin, ModelForm):  # type: ignore[type-arg]
    """A ModelForm with cached dropdowns."""


class OptimizedDropdownForm(CachedDropdownMixin, Form):
    """A Form with cached dropdowns."""
