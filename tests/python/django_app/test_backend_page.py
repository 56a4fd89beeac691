"""docs/backend.md: its tables say what the code has."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from oxicache.django.backends import NativeCache, options

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "backend.md").read_text()
TABLE = PAGE.partition("<!-- options: begin")[2].partition("<!-- options: end")[0]
ROWS = re.findall(r"^\| `(\w+)` \| (?:`(.*?)` )?\| (.+) \|$", TABLE, re.MULTILINE)

# The table of calls.
COHERENCE = PAGE.partition("## What other workers see")[2].partition("\n\nA `set` counts")[0]


class TestOptions:
    def test_the_page_lists_the_options_there_are(self) -> None:
        """Every option has a row, in the order of the code, and none is listed that does not exist."""
        assert [name for name, _, _ in ROWS] == [*options.CHECKS, *sorted(options.IGNORED)]

    def test_an_option_that_is_not_listed_is_refused(self) -> None:
        """The error of an unknown option lists what the page lists."""
        with pytest.raises(ImproperlyConfigured) as caught:
            NativeCache("backend page", {"OPTIONS": {"MAX_ENTRYS": 1}})
        listed = re.findall(r"[A-Z_]{4,}", str(caught.value).partition("its keys are")[2])
        assert sorted(listed) == sorted(name for name, _, _ in ROWS)

    @pytest.mark.parametrize(("name", "default", "_doc"), ROWS, ids=[row[0] for row in ROWS])
    def test_a_default_is_that_of_the_code(self, name: str, default: str, _doc: str) -> None:
        """What stands beside an option is what holds where it is not given; an option that does nothing has none."""
        if name in options.IGNORED:
            assert default == ""
            return
        said: Any = ast.literal_eval(default)
        defaults = options.StoreOptions()
        assert said == (
            options.deploy_version({}) if name == "DEPLOY_VERSION" else getattr(defaults, name.lower())
        )


class TestCalls:
    def test_every_call_of_the_table_exists(self) -> None:
        """The calls of which the page says what other workers see are methods of the backend, sync and async."""
        cells = re.findall(r"^\| (`.*?) \|", COHERENCE, re.MULTILINE)
        calls = [name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)]
        assert len(set(calls)) == 20  # else the pattern above no longer fits the page
        missing = [name for name in calls if not hasattr(NativeCache, name)]
        missing += [f"a{name}" for name in calls if name != "lock" and not hasattr(NativeCache, f"a{name}")]
        assert missing == []
