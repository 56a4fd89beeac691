"""Rows that are written in bulk: their managers invalidate. Every cached value also counts in `computed`."""

from collections import Counter

from django.db import models

from oxicache import ttl_cached_property
from oxicache.django import InvalidatingManager, InvalidatingQuerySet

computed: Counter[str] = Counter()


class ParcelQuerySet(InvalidatingQuerySet["Parcel"]):
    """What a project adds to a queryset."""

    def lost(self) -> int:
        """Take the weight from all of these."""
        return self.update(grams=0)


class Sender(models.Model):
    """Somebody who sends parcels."""

    name = models.CharField(max_length=50)

    objects = InvalidatingManager()

    @ttl_cached_property(depends_on="parcels")
    def grams(self) -> int:
        """What all parcels of this sender weigh."""
        computed["grams"] += 1
        return sum(parcel.grams for parcel in self.parcels.all())


class Depot(models.Model):
    """Where parcels are."""

    name = models.CharField(max_length=50)

    objects = InvalidatingManager()

    @ttl_cached_property
    def parcels_here(self) -> int:
        """How many parcels stop here; what stands at the ends of a relation needs no `depends_on`."""
        computed["parcels_here"] += 1
        return self.parcels.count()


class Parcel(models.Model):
    """Something sent."""

    sender = models.ForeignKey(Sender, models.CASCADE, null=True, related_name="parcels")
    code = models.CharField(max_length=20, unique=True)
    grams = models.IntegerField(default=0)
    depots = models.ManyToManyField(Depot, through="Stop", related_name="parcels")

    objects = InvalidatingManager.from_queryset(ParcelQuerySet)()

    @ttl_cached_property
    def kilograms(self) -> float:
        """The weight in another unit."""
        computed["kilograms"] += 1
        return self.grams / 1_000


class Express(Parcel):
    """A proxy."""

    class Meta:
        proxy = True


class Stop(models.Model):
    """A parcel at a depot."""

    parcel = models.ForeignKey(Parcel, models.CASCADE)
    depot = models.ForeignKey(Depot, models.CASCADE)

    objects = InvalidatingManager()


class Slip(models.Model):
    """A note of which nothing is computed: Django deletes it by one statement, without a signal."""

    parcel = models.ForeignKey(Parcel, models.CASCADE, null=True)
    text = models.CharField(max_length=50)

    objects = InvalidatingManager()

    class Meta:
        base_manager_name = "objects"
