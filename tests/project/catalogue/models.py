"""Rows of every kind: parents and children with tables of their own, proxies, and primary keys of several types.

Every cached value also counts its computations in `computed`.
"""

import uuid
from collections import Counter

from django.db import models
from django.utils import timezone, translation

from oxicache import cached_method, ttl_cached_property

computed: Counter[str] = Counter()


class Author(models.Model):
    """Its primary key is a UUID, which is there before the row is."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)

    @ttl_cached_property(depends_on=["items", "Catalogue.ITEM"])
    def worth(self) -> int:
        """What all items of this author cost."""
        computed["worth"] += 1
        return sum(item.price for item in self.items.all())


class Label(models.Model):
    """Its primary key is text."""

    slug = models.SlugField(primary_key=True)

    @cached_method(depends_on="item_set")
    def count(self) -> int:
        """How many items carry this label."""
        computed["count"] += 1
        return self.item_set.count()


class Item(models.Model):
    """Something for sale."""

    title = models.CharField(max_length=50)
    price = models.IntegerField(default=0)
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="items")
    whole = models.ForeignKey("self", models.CASCADE, null=True, related_name="parts")
    labels = models.ManyToManyField(Label)

    @ttl_cached_property(ttl=300)
    def doubled(self) -> int:
        """Twice the price."""
        computed["doubled"] += 1
        return self.price * 2

    @ttl_cached_property(fresh=False)
    def as_given(self) -> int:
        """The price of the very instance that computes it."""
        computed["as_given"] += 1
        return self.price

    @ttl_cached_property(depends_on="author")
    def byline(self) -> str:
        """The author's name."""
        computed["byline"] += 1
        return self.author.name if self.author else "nobody"

    @ttl_cached_property(depends_on=("self", "labels"))
    def siblings(self) -> int:
        """How many other items there are."""
        computed["siblings"] += 1
        return Item.objects.exclude(pk=self.pk).count()

    @cached_method(vary=("language", "timezone"))
    def greeting(self) -> str:
        """The title, in words of the active language and time zone."""
        computed["greeting"] += 1
        return f"{self.title} ({translation.get_language()}, {timezone.get_current_timezone_name()})"

    @cached_method
    def times(self, factor: int) -> int:
        """A multiple of the price."""
        computed["times"] += 1
        return self.price * factor

    @cached_method
    def priced(self) -> str:
        """The price, in words that a proxy may change."""
        computed["priced"] += 1
        return f"{self.price} {self.unit()}"

    def unit(self) -> str:
        """What prices are counted in."""
        return "each"

    @ttl_cached_property
    async def awaited(self) -> int:
        """Twice the price, some time later."""
        computed["awaited"] += 1
        return self.price * 2

    @cached_method(fresh=False)
    async def awaited_times(self, factor: int) -> int:
        """A multiple of the price of the very instance, some time later."""
        computed["awaited_times"] += 1
        return self.price * factor

    @ttl_cached_property
    def annotated(self) -> int:
        """What only a queryset's annotation can tell."""
        return self.extra  # type: ignore[attr-defined]


class Dozen(Item):
    """A proxy that overrides what a cached method of its parent calls."""

    class Meta:
        proxy = True

    def unit(self) -> str:
        """What prices are counted in."""
        return "a dozen"


class Book(Item):
    """An item with a table of its own."""

    pages = models.IntegerField(default=0)

    @ttl_cached_property(depends_on="parts")
    def weight(self) -> int:
        """A page weighs 5."""
        computed["weight"] += 1
        return self.pages * 5


class Atlas(Book):
    """A book with a table of its own."""

    maps = models.IntegerField(default=0)


class Stock(models.Model):
    """How many there are of something."""

    number = models.BigAutoField(primary_key=True)
    amount = models.IntegerField(default=0)


class Crate(Item, Stock):
    """Two parents, only one of which has the same primary key."""

    @ttl_cached_property
    def total(self) -> int:
        """What the whole crate costs."""
        computed["total"] += 1
        return self.price * self.amount


class Shelf(models.Model):
    """Its primary key has two parts."""

    pk = models.CompositePrimaryKey("room", "place")
    room = models.IntegerField()
    place = models.CharField(max_length=5)
    width = models.IntegerField(default=0)

    @ttl_cached_property
    def area(self) -> int:
        """The width, squared."""
        computed["area"] += 1
        return self.width**2


class Topic(models.Model):
    """A topic may stand below several others."""

    name = models.CharField(max_length=20)
    narrower = models.ManyToManyField("self", symmetrical=False, related_name="broader")
    related = models.ManyToManyField("self")
