"""Foreign keys, relations between many, a parent with a table of its own, generic relations: what querysets join."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models

from oxicache.django import InvalidatingManager


class Managed(models.Model):
    """What is written past signals is noticed too."""

    class Meta:
        abstract = True
        base_manager_name = "objects"

    objects = InvalidatingManager()


class Remark(Managed):
    """Something said about a row of any model."""

    text = models.CharField(max_length=20)
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.IntegerField()
    target = GenericForeignKey()


class Writer(Managed):
    """Who writes works."""

    name = models.CharField(max_length=20)
    remarks = GenericRelation(Remark)


class Subject(Managed):
    """What a work is about; its primary key is text."""

    slug = models.SlugField(primary_key=True)
    weight = models.IntegerField(default=0)


class Work(Managed):
    """Something written."""

    title = models.CharField(max_length=20)
    rank = models.IntegerField(default=0)
    facts = models.JSONField(default=dict)
    written_at = models.DateTimeField(null=True)
    writer = models.ForeignKey(Writer, models.CASCADE, null=True, related_name="works")
    sequel = models.ForeignKey("self", models.SET_NULL, null=True, related_name="prequels")
    subjects = models.ManyToManyField(Subject, related_name="works")
    readers = models.ManyToManyField(Writer, through="Reading", related_name="read")
    remarks = GenericRelation(Remark)


class Novel(Work):
    """A work with a table of its own."""

    pages = models.IntegerField(default=0)


class Reading(Managed):
    """Who has read a work, and what he thought of it."""

    work = models.ForeignKey(Work, models.CASCADE)
    reader = models.ForeignKey(Writer, models.CASCADE)
    stars = models.IntegerField(default=0)
