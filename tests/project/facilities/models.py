"""The models that the examples of documents 002 and 004 name."""

from typing import Any

from django.db import models
from django.http import HttpRequest


class OfTenantManager(models.Manager[Any]):
    """What the forms of document 004 choose from."""

    def filter_for_dropdown(self, request: HttpRequest, *, sitewise: bool = False) -> models.QuerySet[Any]:
        """Return the rows of a request's tenant; with `sitewise`, of its business unit, after which they are named."""
        rows = self.filter(tenant_id=request.session["tenant_id"])
        return rows.filter(name__startswith=f"bu {request.session['bu_id']}") if sitewise else rows

    filter_for_dd_people_field = filter_for_dropdown


class OfTenant(models.Model):
    """Whose rows belong to a tenant, as those of document 004 do."""

    tenant_id = models.IntegerField(null=True)
    name = models.CharField(max_length=50, default="")

    objects = OfTenantManager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Location(OfTenant):
    """004, "Example 2": a place."""


class People(OfTenant):
    """004: a person."""


class Asset(OfTenant):
    """004: a thing, and who may use it."""

    users = models.ManyToManyField(People)


class PeopleEventlog(OfTenant):
    """004: who came when."""


class Job(OfTenant):
    """004: what is to be done."""


class NewModel(OfTenant):
    """004, "Best Practices"."""


class YourModel(OfTenant):
    """004, "Issue: Stale Cached Data"."""


class Material(models.Model):
    """002: something to learn from. No tenants."""

    title = models.CharField(max_length=50, default="")
    popular = models.BooleanField(default=False)
