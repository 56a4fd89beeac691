"""An assessment, and what refers to it."""

from django.db import models


class Assessment(models.Model):
    """What CACHE_STRATEGIES of document 003 names, with `cascade`."""

    title = models.CharField(max_length=50, default="")


class Partner(models.Model):
    """Refers to an assessment, so that a cascade reaches it."""

    assessment = models.ForeignKey(Assessment, models.CASCADE, related_name="partners")
