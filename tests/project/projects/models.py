"""Projects in a hierarchy. Every cached value also counts its computations in `computed`."""

from collections import Counter
from typing import Any

from django.db import models
from django.db.models import Sum

from oxicache import DELETION_SET, cached_method, ttl_cached_property

computed: Counter[str] = Counter()


class Budgeted(models.Model):
    """An abstract model, so that a cached property is inherited from one."""

    budget = models.IntegerField(default=0)

    class Meta:
        abstract = True

    @ttl_cached_property(ttl=300, max_size=100)
    def doubled_budget(self) -> int:
        """Twice the budget."""
        computed["doubled_budget"] += 1
        return self.budget * 2


class Project(Budgeted):
    """A project; its deletion is tracked as the documents have it, with `deleting`."""

    title = models.CharField(max_length=100)
    status = models.CharField(max_length=1, default="A")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")

    def __str__(self) -> str:
        return self.title

    @ttl_cached_property(ttl=1800, max_size=100)
    def children_budget(self) -> int:
        """The sum of the children's budgets: one query."""
        computed["children_budget"] += 1
        return self.children.aggregate(total=Sum("budget"))["total"] or 0

    @cached_method(ttl=900, max_size=50)
    def cheaper_children(self, limit: int, status: str = "A") -> list[str]:
        """Titles of the children with less than `limit`: one query."""
        computed["cheaper_children"] += 1
        return list(
            self.children.filter(budget__lt=limit, status=status)
            .order_by("title")
            .values_list("title", flat=True)
        )

    @cached_method
    def label(self) -> str:
        """What a list shows."""
        computed["label"] += 1
        return f"{self.title} ({self.status})"

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete, and have the id tracked while it lasts."""
        with DELETION_SET.deleting(self):
            return super().delete(*args, **kwargs)


class ArchivedProject(Project):
    """A proxy model whose cached method calls the one it overrides."""

    class Meta:
        proxy = True

    @cached_method
    def label(self) -> str:
        """What a list of archived projects shows."""
        computed["archived label"] += 1
        return f"archived: {super().label()}"


class FundedProject(Project):
    """A model with a table of its own besides its parent's."""

    funder = models.CharField(max_length=100)
