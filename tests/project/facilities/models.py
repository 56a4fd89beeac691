"""The models that the examples of documents 002 and 004 name."""

from django.db import models


class OfTenant(models.Model):
    """Whose rows belong to a tenant, as those of document 004 do."""

    tenant_id = models.IntegerField(null=True)
    name = models.CharField(max_length=50, default="")

    class Meta:
        abstract = True


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
