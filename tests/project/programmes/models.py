"""A hierarchy of projects, each with results, their indicators, and the periods of those."""

from django.db import models


class Organisation(models.Model):
    """Who is responsible."""

    name = models.CharField(max_length=50)


class Programme(models.Model):
    """A project, with the relations that document 000 names."""

    title = models.CharField(max_length=100)
    status = models.CharField(max_length=1, default="A")
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")
    primary_organisation = models.ForeignKey(Organisation, models.CASCADE, null=True)


class Result(models.Model):
    """What a project wants to reach."""

    project = models.ForeignKey(Programme, models.CASCADE, related_name="results")


class Indicator(models.Model):
    """What shows whether it is reached."""

    result = models.ForeignKey(Result, models.CASCADE, related_name="indicators")


class Period(models.Model):
    """When it is measured; its value is the sum of those of the children's periods."""

    indicator = models.ForeignKey(Indicator, models.CASCADE, related_name="periods")
    parent_period = models.ForeignKey("self", models.CASCADE, null=True, related_name="child_periods")
    value = models.IntegerField(default=0)
