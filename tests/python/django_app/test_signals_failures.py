"""What happens when a receiver of ours fails."""

import pytest
from django.test import TestCase
from project.catalogue.models import Item, Label

from oxicache import store
from oxicache.django import signals


class TestFailures(TestCase):
    def test_a_failing_receiver_never_reaches_the_code_that_saves(self) -> None:
        """It is one line in the log and a count."""
        before = store.failure_counts().get("row signals", 0)
        with pytest.MonkeyPatch.context() as patch, self.assertLogs("oxicache.store", "WARNING") as lines:
            patch.setattr(signals.words, "row_words", lambda *_: 1 / 0)
            item = Item.objects.create()
            item.labels.add(Label.objects.create(slug="a"))
            item.delete()
        assert store.failure_counts()["row signals"] == before + 4
        assert len([line for line in lines.output if "row signals" in line]) >= 1
