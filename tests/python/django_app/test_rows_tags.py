"""Tags of values of rows: their words beside those of the row."""

import json
from typing import Any

import pytest
from django.db import models
from django.test import TestCase
from django.test.utils import isolate_apps
from project.catalogue.models import Item

from oxicache import cached_method, ttl_cached_property
from oxicache.django import invalidate
from oxicache.live import answer
from oxicache.tags import moved_words
from oxicache.versions import version_words

computed: list[Any] = []


class Tagged(Item):
    """A row whose values carry tags."""

    class Meta:
        app_label = "catalogue"
        proxy = True

    @ttl_cached_property(tags=["all"])
    def fixed(self) -> int:
        """Tags that are the same for all rows."""
        computed.append("fixed")
        return len(computed)

    @cached_method(tags=lambda self, kind: [f"title:{self.title}", f"kind:{kind}"])
    def made(self, kind: str) -> int:
        """Tags that are made of the row as it is."""
        computed.append("made")
        return len(computed)

    @cached_method(tags=lambda self: [f"many:{number}" for number in range(40)])
    def many(self) -> int:
        """More tags than there is room for beside the row's words."""
        computed.append("many")
        return len(computed)

    @cached_method(tags=lambda self: self.touched())
    def moved(self) -> int:
        """A value whose row changes while its tags are asked for."""
        computed.append("moved")
        return len(computed)

    def touched(self) -> list[str]:
        if len(computed) == 0:
            invalidate(Item, self.pk)
        return ["touched"]


class TestTagsOfRows(TestCase):
    def setUp(self) -> None:
        self.item = Tagged.objects.create(title="one", price=1)
        computed.clear()

    def test_by_tag(self) -> None:
        """What another process does that invalidates a tag reaches the values of rows that carry it."""
        item = self.item
        found = [item.fixed, item.made("a"), item.made("b"), item.many()]
        for tags in (["all"], ["kind:b"], ["title:one"], ["many:39"]):
            before = [item.fixed, item.made("a"), item.made("b"), item.many()]
            assert before == found
            version_words.bump(moved_words(tags))
            now = [item.fixed, item.made("a"), item.made("b"), item.many()]
            changed = [one != other for one, other in zip(now, before, strict=True)]
            wanted = [tags == ["all"], tags == ["title:one"], tags in (["kind:b"], ["title:one"]), True]
            assert changed == wanted, tags
            found = now

    def test_by_row(self) -> None:
        """The words of the row are there as well, however many tags there are."""
        found = [self.item.fixed, self.item.made("a"), self.item.many()]
        self.item.save()
        now = [self.item.fixed, self.item.made("a"), self.item.many()]
        assert all(one != other for one, other in zip(now, found, strict=True))

    def test_a_row_that_changes_meanwhile(self) -> None:
        """A row that changes between its being read and its tags being known outdates the value."""
        assert [self.item.moved(), self.item.moved(), self.item.moved()] == [1, 2, 2]

    def test_the_tags_of_the_row_as_it_is(self) -> None:
        """Tags are made of the row as it is in the database, not of an instance that somebody edits."""
        self.item.title = "edited"
        found = self.item.made("a")
        invalidate(tags=["title:edited"])
        assert self.item.made("a") == found
        invalidate(tags=["title:one"])
        assert self.item.made("a") != found

    def test_explained(self) -> None:
        """`explain` names the tag that outdated a value, and who moved it."""
        assert self.item.made("a") == 1
        invalidate(tags=["kind:a"], aliases=(), caches=["nobody's"])
        request = json.dumps({"key": f"catalogue.Tagged:{self.item.pk}", "cache": Tagged.made.cache.name})
        found = json.loads(answer("explain", request))["found"]
        told = [one["why"] for one in found if one["state"] == "outdated"]
        assert len(told) == 1
        assert told[0].startswith("tag:kind:a was moved by invalidate at ")

    def test_a_member_without_room(self) -> None:
        """A member that depends on as many models as there is room for takes no tags: the class statement says so."""
        with isolate_apps("project.catalogue"):
            others = [
                type(
                    f"Other{number}",
                    (models.Model,),
                    {"__module__": __name__, "Meta": type("Meta", (), {"app_label": "catalogue"})},
                )
                for number in range(28)
            ]

            def declare(**options: Any) -> None:
                class Full(models.Model):
                    class Meta:
                        app_label = "catalogue"

                    @cached_method(depends_on=others, **options)
                    def one(self) -> int:
                        return 1

            declare()
            with pytest.raises(ValueError, match="makes 32 version words, parents included; 31 is the limit"):
                declare(tags=["a"])
