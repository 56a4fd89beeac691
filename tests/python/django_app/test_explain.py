"""`explain` of Django's caches and rows: keys as their users write them, words by name, and who moved them."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import TestCase, TransactionTestCase, override_settings
from project.catalogue.models import Dozen, Item, Label
from row_worker import SAVING_LINE, RowWorker

from oxicache import _native, live, walks
from oxicache.django.backends.words import key_word, store_word, tag_word, tags_word
from oxicache.django.queries import cached_queryset
from oxicache.trail import trail, word_numbers

BACKEND = "oxicache.django.backends.NativeCache"
CACHES: dict[str, dict[str, Any]] = {
    "explained": {"BACKEND": BACKEND, "LOCATION": "explain"},
    "prefixed": {"BACKEND": BACKEND, "LOCATION": "explain-prefixed", "KEY_PREFIX": "shop", "VERSION": 3},
    "made": {
        "BACKEND": BACKEND,
        "LOCATION": "explain-made",
        "KEY_PREFIX": "x",
        "KEY_FUNCTION": "cache_worker.spelt",
    },
    "process": {"BACKEND": BACKEND, "LOCATION": "explain-process", "OPTIONS": {"COHERENCE": "process"}},
}


def ask(verb: str, **given: Any) -> dict[str, Any]:
    """What this process answers an operator."""
    answer: dict[str, Any] = json.loads(live.answer(verb, json.dumps(given)))
    return answer


def named(entry: dict[str, Any]) -> set[str]:
    return {word["name"] for word in entry["words"] if "name" in word}


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    trail.clear()
    yield
    walks.conceal([])
    trail.clear()


@override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}, **CACHES})
class TestKeys(TestCase):
    def setUp(self) -> None:
        for alias in CACHES:
            caches[alias].clear()
            caches[alias].set("user:5", {"name": "Ann"}, tags=["people"])

    @staticmethod
    def entry(alias: str, key: str = "user:5", **given: Any) -> dict[str, Any]:
        (entry,) = ask("explain", key=key, cache=f"django:{alias}", **given)["found"]
        assert isinstance(entry, dict)
        return entry

    def test_a_key_is_found_as_its_user_writes_it(self) -> None:
        """Whatever prefix and version the alias adds."""
        for alias in ("explained", "prefixed", "process"):
            entry = self.entry(alias)
            assert (entry["alias"], entry["key"], entry["state"]) == (alias, "user:5", "fresh")
            assert entry["pattern"] == "user:*"
        assert self.entry("made")["key"] == "<x|user:5|1>"

    def test_a_key_of_another_version_or_prefix_is_found_when_it_is_named(self) -> None:
        """`--version` and `--prefix` are for those, and so is the key as Django makes it."""
        caches["explained"].set("user:5", "two", version=2)
        assert self.entry("explained", version=2)["key"] == ":2:user:5"
        assert self.entry("explained", ":2:user:5")["key"] == ":2:user:5"
        assert self.entry("prefixed", "shop:3:user:5")["key"] == "user:5"
        assert self.entry("prefixed", prefix="shop", version=3)["key"] == "user:5"
        assert ask("explain", key="user:5", cache="django:prefixed", version=4)["found"] == []

    def test_keys_are_listed_as_their_users_write_them(self) -> None:
        """Those of another version as Django makes them."""
        caches["explained"].set("user:5", "two", version=2)
        caches["prefixed"].set("user:6", "one", version=1)
        assert sorted(ask("keys", cache="django:explained")["keys"]) == [":2:user:5", "user:5"]
        assert sorted(ask("keys", cache="django:prefixed")["keys"]) == ["shop:1:user:6", "user:5"]

    def test_the_words_of_an_entry_have_names(self) -> None:
        """Python spells them as the native half does: the key's, the store's and the tags'."""
        for alias, params in CACHES.items():
            entry = self.entry(alias)
            if alias == "process":
                assert entry["words"] == []
                continue
            location = params["LOCATION"]
            store = caches[alias]._memory
            word = key_word(location, caches[alias]._key("user:5"))
            assert word in named(entry), alias
            assert tag_word(location, "people") in named(entry)
            assert all("name" in found for found in entry["words"])
            before = word_numbers([store_word(location), tags_word(location), word])
            stamps = {name: _native.capture([name]) for name in before}
            store.delete_by_tag("people")
            assert not stamps[tags_word(location)].is_current()
            assert stamps[word].is_current()
            store.clear()
            assert not stamps[store_word(location)].is_current()

    def test_a_key_that_was_cleared_away_tells_by_whom(self) -> None:
        """A missing entry's trail is that of its own word and of its store's."""
        caches["explained"].clear()
        found = ask("explain", key="user:5", cache="django:explained")
        assert found["found"] == []
        assert found["missing"] == ["django:explained"]
        own = [event for event in found["trail"] if event["where"]]  # others are orders of other tests
        assert [event["kind"] for event in own] == ["clear", "clear"]
        assert all(__file__.rpartition("/")[2] in event["where"] for event in own)

    def test_a_sensitive_alias_tells_neither_keys_nor_tags(self) -> None:
        """Neither in what is found nor in the trail."""
        walks.conceal(["django:explained"])
        caches["explained"].delete_by_tag("people")
        shown = json.dumps([ask("explain", key="user:5", cache="django:explained"), ask("trail")])
        assert "people" not in shown
        assert "user" not in shown

    def test_a_wrong_cache_is_named(self) -> None:
        """As for any verb."""
        with pytest.raises(LookupError, match="no cache 'django:nope'"):
            ask("explain", key="user:5", cache="django:nope")


@override_settings(CACHES={"default": {"BACKEND": BACKEND, "LOCATION": "explain-queries"}})
class TestQueries(TransactionTestCase):
    def test_a_cached_queryset_tells_which_line_changed_its_model(self) -> None:
        """The words of its entry have the names of models."""
        item = Item.objects.create(title="tea", price=4)
        assert len(cached_queryset(Item.objects.all())) == 1
        (key,) = caches["default"].keys()
        (entry,) = ask("explain", key=key)["found"]
        assert (entry["state"], entry["why"]) == ("fresh", None)
        assert "model:catalogue.item" in named(entry)
        item.save()
        (entry,) = ask("explain", key=key)["found"]
        assert entry["state"] == "outdated"
        assert entry["why"].startswith("model:catalogue.item was moved by save at ")
        assert Path(__file__).name in entry["why"]

    def test_a_key_that_is_not_there_is_not_every_models(self) -> None:
        """What happened to models does not tell of it."""
        caches["default"].set("another", 1)
        Item.objects.create(title="tea", price=4)
        found = ask("explain", key="user:5", cache="django:default")
        assert found["missing"] == ["django:default"]
        assert [event for event in found["trail"] if "model:catalogue.item" in event["names"]] == []


class TestRows(TestCase):
    def setUp(self) -> None:
        self.item = Item.objects.create(title="tea", price=4)

    def test_a_rows_values_are_found_by_label_and_primary_key(self) -> None:
        """All that is held for the row, in whichever member's cache, in any case of the label."""
        assert (self.item.doubled, self.item.times(3), self.item.times(4)) == (8, 12, 16)
        for text in (f"catalogue.Item:{self.item.pk}", f"catalogue.item:{self.item.pk}"):
            found = ask("explain", key=text)["found"]
            assert {entry["key"] for entry in found} == {
                f"catalogue.Item:{self.item.pk}",
                f"catalogue.Item:{self.item.pk}(3)",
                f"catalogue.Item:{self.item.pk}(4)",
            }
        (entry,) = ask("explain", key=f"catalogue.Item:{self.item.pk}(3)")["found"]
        assert entry["cache"].endswith("Item.times")
        assert entry["type"] == "int"

    def test_the_words_of_a_row_have_names(self) -> None:
        """The row's own, those of its model and of what it depends on."""
        label = Label.objects.create(slug="hot")
        assert label.count() == 0
        (entry,) = ask("explain", key="catalogue.Label:hot")["found"]
        assert {"row:catalogue.label:hot", "rows:catalogue.label", "model:catalogue.item"} <= named(entry)

    def test_a_stale_value_tells_which_line_saved_the_row(self) -> None:
        """Which word moved, and who moved it."""
        assert self.item.doubled == 8
        line = sys._getframe().f_lineno + 1
        self.item.save()
        found = ask("explain", key=f"catalogue.Item:{self.item.pk}")
        (entry,) = found["found"]
        assert entry["state"] == "outdated"
        assert "was moved by save at " in entry["why"]
        assert f"{Path(__file__).name}:{line}" in entry["why"]

    def test_a_row_that_is_not_held_tells_who_changed_it(self) -> None:
        """What is missing was perhaps invalidated, and has been loaded by nobody since."""
        line = sys._getframe().f_lineno + 1
        self.item.save()
        found = ask("explain", key=f"catalogue.Item:{self.item.pk}")
        assert found["found"] == []
        assert any(event["where"].endswith(f"{Path(__file__).name}:{line}") for event in found["trail"])

    def test_a_proxys_row_is_its_own_key(self) -> None:
        """Values of a proxy are told under the proxy's label, and their words are the model's."""
        dozen = Dozen.objects.create(title="eggs", price=2)
        assert dozen.priced()
        (entry,) = ask("explain", key=f"catalogue.Dozen:{dozen.pk}")["found"]
        assert f"row:catalogue.item:{dozen.pk}" in named(entry)

    def test_what_is_no_row_is_no_error(self) -> None:
        """A key that merely looks like a row is missing everywhere."""
        for text in (
            "catalogue.Nothing:5",
            "catalogue.Item:x",
            "catalogue.Author:5",
            "a.b.c:d",
            ":",
            "catalogue.Item:",
        ):
            assert ask("explain", key=text)["found"] == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as sockets need one."""
    with tempfile.TemporaryDirectory(prefix="ox") as name:
        yield Path(name)


@pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only")
class TestProcesses:
    def test_a_row_saved_elsewhere_tells_the_line_there(self, folder: Path) -> None:
        """Process B holds a stale value; that A saved its row, and on which line, comes from A's trail."""
        with RowWorker(folder) as first, RowWorker(folder) as second:
            first.ask("create_tables")
            pk = first.ask("make", "tea", 4)
            assert second.ask("doubled", pk) == 8
            first.ask("save", pk, 5)
            held = second.operator("explain", key=f"catalogue.Item:{pk}")
            (entry,) = held["found"]
            assert entry["state"] == "outdated"
            assert "who moved it is not remembered" in entry["why"]
            events = first.operator("trail", words=live.moved_words([entry]))["events"]
            (told,) = live.attributed([entry], events)
            assert f"row_worker.py:{SAVING_LINE} (process {first.pid})" in told["why"]
            assert second.ask("doubled", pk) == 10
            (entry,) = second.operator("explain", key=f"catalogue.Item:{pk}")["found"]
            assert entry["state"] == "fresh"

    def test_a_tag_deleted_elsewhere_tells_by_whom(self, folder: Path) -> None:
        """The same for an entry of Django's cache, whose tags only its holder knows."""
        with RowWorker(folder) as first, RowWorker(folder) as second:
            second.ask("tag", "page", "text", ["red"])
            first.ask("cache", "delete_by_tag", "red")
            (entry,) = second.operator("explain", key="page")["found"]
            assert entry["state"] == "outdated"
            events = first.operator("trail", words=live.moved_words([entry]))["events"]
            (told,) = live.attributed([entry], events)
            assert told["why"].startswith("tag:rows:red was moved by tag at ")
            assert told["why"].endswith(f"(process {first.pid})")
