"""What `operations.invalidate` asks of workers and aliases, and what it makes of their answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_site import Shared, answers, invalidated, text
from scripted_workers import says, scripted, short_folder

from oxicache import operations
from oxicache.reports import Invalidated, InvalidationPreview
from oxicache.selection import Selection
from oxicache.sites import AliasOutcome, Dependents, Site


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


class TestWhatWorkersAreAsked:
    @pytest.mark.parametrize(
        ("selection", "asked"),
        [
            (Selection(tags=("a", "b")), {"tags": ["a", "b"]}),
            (Selection(keys=("k",)), {"keys": ["k"]}),
            (Selection(globs=("a:*", "b")), {"patterns": ["a:*", "b"], "kind": "glob"}),
            (Selection(prefix="a[1]"), {"patterns": ["a\\[1]*"], "kind": "glob"}),
            (Selection(tenant=0), {"patterns": ["tenant:0:*"], "kind": "glob"}),
            (
                Selection(globs=("a:*", "tenant:1:b"), prefix="c", tenant=1),
                {"patterns": ["tenant:1:a:*", "tenant:1:b", "tenant:1:c*"], "kind": "glob"},
            ),
        ],
        ids=["tags", "keys", "globs", "prefix", "tenant", "all below a tenant"],
    )
    def test_one_request(self, folder: Path, selection: Selection, asked: dict[str, Any]) -> None:
        """Globs as they are, a prefix and a tenant as globs, in which their own wildcards are text."""
        with scripted(folder, answers(invalidated(users=2))) as (worker,):
            report = operations.invalidate(Site(folders=(folder,), shared=Shared()), selection)
        assert worker.asked == [{"v": 1, "verb": "invalidate", **asked}]
        assert report.total == 2

    def test_a_regular_expression(self, folder: Path) -> None:
        """It goes out as it is; the workers match it from a key's start."""
        with scripted(folder, answers(invalidated(users=2))) as (worker,):
            operations.invalidate(Site(folders=(folder,)), Selection(regex="^user:.*"))
        assert worker.asked == [{"v": 1, "verb": "invalidate", "patterns": ["^user:.*"], "kind": "regex"}]

    def test_a_dry_run_has_them_count(self, folder: Path) -> None:
        """Nothing is outdated either."""
        shared = Shared()
        with scripted(folder, answers(invalidated(users=2))) as (worker,):
            report = operations.invalidate(
                Site(folders=(folder,), shared=shared), Selection(tags=("a",)), dry_run=True
            )
        assert worker.asked == [{"v": 1, "verb": "invalidate", "tags": ["a"], "count": True}]
        assert isinstance(report, InvalidationPreview)
        assert text(report)[:5] == [
            "DRY RUN: Would invalidate cache entries",
            "cache     entries",
            "users           2",
            "together        2",
            "  tags: 2 entries",
        ]
        assert report.is_exact
        assert shared.done == []

    def test_a_cache_by_its_name(self, folder: Path) -> None:
        """Nothing else is asked about, and no other backend."""
        shared = Shared(redis=AliasOutcome(1))
        with scripted(folder, answers(invalidated(users=2))) as (worker,):
            operations.invalidate(
                Site(folders=(folder,), shared=shared), Selection(caches=("users",), tags=("a",))
            )
        assert [one["caches"] for one in worker.asked] == [["users"]]
        assert shared.done == [("tags", ("a",), ("users",))]

    def test_aliases_by_their_names(self, folder: Path) -> None:
        """Workers are asked about those that they hold; one that has not used it yet has nothing of it."""
        shared = Shared(redis=AliasOutcome(3), disk=AliasOutcome(1))
        unknown = (
            json.dumps({"v": 1, "ok": False, "error": "unknown_cache", "message": "none"}).encode() + b"\n"
        )
        with scripted(folder, answers(invalidated(**{"django:default": 2})), says(unknown)) as workers:
            report = operations.invalidate(
                Site(folders=(folder,), shared=shared),
                Selection(aliases=("default", "redis"), globs=("a:*",)),
            )
        assert [worker.asked[0]["caches"] for worker in workers] == [["django:default"]] * 2
        assert report.shortfall() is None
        assert report.by_strategy == {"pattern": 5}
        assert [one[0] for one in shared.done] == ["glob", "redis"]

    def test_an_alias_of_another_backend_alone(self, folder: Path) -> None:
        """No worker is asked for entries, only whether it is alive."""
        with scripted(folder, answers({"python": {}})) as (worker,):
            report = operations.invalidate(
                Site(folders=(folder,), shared=Shared(redis=AliasOutcome(3))),
                Selection(aliases=("redis",), keys=("k",)),
            )
        assert [one["verb"] for one in worker.asked] == ["health"]
        assert text(report)[:3] == [
            "Invalidated 3 cache entries",
            "  keys: 3 entries",
            "  in redis: 3 entries",
        ]


class TestWhatComesOfIt:
    def test_several_at_once(self, folder: Path) -> None:
        """Each kind is counted by itself, the sum of all workers; what they share is outdated after they counted."""
        shared = Shared()
        with scripted(folder, answers(invalidated(users=2), 1), answers(invalidated(users=3), 2)):
            report = operations.invalidate(
                Site(folders=(folder,), shared=shared), Selection(tags=("t",), keys=("k",), globs=("g",))
            )
        assert text(report)[:4] == [
            "Invalidated 15 cache entries",
            "  tags: 5 entries",
            "  keys: 5 entries",
            "  pattern: 5 entries",
        ]
        assert report.as_json()["by_strategy"] == {"tags": 5, "keys": 5, "pattern": 5}
        assert report.as_json()["invalidated"] == {"users": 15}
        assert [one[0] for one in shared.done] == ["tags", "keys", "glob"]

    def test_what_depends_on_a_model(self, folder: Path) -> None:
        """Words are moved, and what rules name goes under one heading; tags of rows that nobody named are left out."""
        names = Selection(tags=("user_list",), globs=("profile:*",))
        shared = Shared(dependents=Dependents(names, is_wider=True))
        with scripted(folder, answers(invalidated(users=2))) as (worker,):
            report = operations.invalidate(
                Site(folders=(folder,), shared=shared),
                Selection(models=("auth.User",), rows=(("auth.User", 5),)),
                cascade=True,
            )
        assert [set(one) - {"v", "verb"} for one in worker.asked] == [{"tags"}, {"patterns", "kind"}]
        assert text(report)[:5] == [
            "Invalidated 4 cache entries",
            "  dependency: 4 entries",
            "  auth.User: what was computed from its rows, and of shop.Order is outdated in every process of this host",
            "  auth.User:5: what was computed from it is outdated in every process of this host",
            "  Left out: tags that rules make of each row; name the rows with --rows",
        ]
        assert shared.done[:2] == [("row", "auth.User", 5), ("model", "auth.User", False)]

    def test_a_model_cannot_be_counted_beforehand(self, folder: Path) -> None:
        """Which is said, instead of 0."""
        shared = Shared()
        with scripted(folder, answers({"python": {}})):
            report = operations.invalidate(
                Site(folders=(folder,), shared=shared), Selection(models=("auth.User",)), dry_run=True
            )
        assert "how many entries that are, nobody knows before they are read" in "".join(text(report))
        assert report.as_json()["exact"] is False
        assert shared.done == [("model", "auth.User", True)]

    def test_who_is_not_through_is_named(self, folder: Path) -> None:
        """A worker that has the order, and walks through its caches yet."""
        with scripted(folder, answers(invalidated(users=None))):
            report = operations.invalidate(Site(folders=(folder,)), Selection(globs=("a",)))
        assert report.pending == (1,)
        assert any(line.startswith("Ordered, and not yet counted, in 1") for line in text(report))

    def test_an_alias_that_fails(self, folder: Path) -> None:
        """The others are done; the report says which was not, and why."""
        shared = Shared(redis=AliasOutcome(None, "it is down"), disk=AliasOutcome(2))
        with scripted(folder, answers(invalidated(users=1))):
            report = operations.invalidate(Site(folders=(folder,), shared=shared), Selection(tags=("t",)))
        assert report.total == 3
        assert "  redis: it is down" in text(report)
        assert report.shortfall() == "redis: it is down"
        assert report.as_json()["failures"] == {"redis": "it is down"}

    def test_an_alias_that_was_named_and_cannot(self, folder: Path) -> None:
        """Nothing is done at all."""
        shared = Shared(redis=AliasOutcome(None, "no"))
        with (
            scripted(folder, answers(invalidated(users=1))) as (worker,),
            pytest.raises(ValueError, match="cannot"),
        ):
            operations.invalidate(
                Site(folders=(folder,), shared=shared), Selection(aliases=("redis", "default"), tags=("t",))
            )
        assert (worker.asked, shared.done) == ([], [])

    def test_an_alias_that_does_not_count(self, folder: Path) -> None:
        """Its entries are an unknown number, and no 0."""
        with scripted(folder, answers({"cleared": {"users": 2}})):
            report = operations.clear_all(
                Site(folders=(folder,), shared=Shared(memcached=AliasOutcome(None)))
            )
        assert text(report)[:3] == [
            "Invalidated 2 cache entries",
            "  entries: 2 entries",
            "  in memcached: an unknown number of entries",
        ]

    def test_nobody_is_alive(self, folder: Path) -> None:
        """What processes share is outdated all the same, and said; there is no count."""
        report = operations.invalidate(Site(folders=(folder,), shared=Shared()), Selection(tags=("t",)))
        assert text(report)[:2] == [
            "Every process of this host finds none of it in django:default from now on.",
            f"No live worker of this site was found in {folder}.",
        ]
        assert isinstance(report, Invalidated)

    def test_one_worker_alone(self, folder: Path) -> None:
        """What all of them share is left alone."""
        shared = Shared(redis=AliasOutcome(1))
        with scripted(folder, answers(invalidated(users=1))):
            operations.invalidate(Site(folders=(folder,), process=1, shared=shared), Selection(tags=("t",)))
        assert shared.done == []


class TestPrivateAliases:
    def test_each_worker_is_asked(self, folder: Path) -> None:
        """What lies in the process of the command is no worker's: its 0 would say nothing."""
        shared = Shared(memory=AliasOutcome(0), redis=AliasOutcome(1))
        found = {"here": {"memory": {"count": 2, "failure": None}}}
        with scripted(folder, answers(found, 1), answers(found, 2)) as workers:
            report = operations.invalidate(
                Site(folders=(folder,), shared=shared),
                Selection(aliases=("memory", "redis"), globs=("a:*",)),
                dry_run=True,
            )
        assert [worker.asked for worker in workers] == [
            [
                {
                    "v": 1,
                    "verb": "schedule",
                    "operation": "here",
                    "aliases": ["memory"],
                    "selection": {"globs": ["a:*"]},
                    "dry_run": True,
                }
            ]
        ] * 2
        assert report.by_strategy == {"pattern": 5}
        assert report.aliases == {"redis": {"pattern": 1}, "memory": {"pattern": 4}}
        assert shared.done == [("redis", "pattern 'a:*'", True)]

    def test_one_that_fails_is_named(self, folder: Path) -> None:
        """With the worker that it failed in."""
        found = {"here": {"memory": {"count": None, "failure": "no"}}}
        with scripted(folder, answers(found)):
            report = operations.clear_all(
                Site(folders=(folder,), shared=Shared(memory=AliasOutcome(0))), ["memory"]
            )
        assert report.shortfall() == "memory: worker 1: no"


class TestWrongUse:
    def test_nothing_is_selected(self) -> None:
        """That would be everything, for which there is `clear`."""
        with pytest.raises(ValueError, match="`clear` removes everything"):
            operations.invalidate(Site(is_local=True), Selection(caches=("users",)))

    @pytest.mark.parametrize("regex", ["(", "(?=a)", r"(a)\1", "a{1000}{1000}{1000}", "a" * 10_001])
    def test_a_bad_pattern_is_refused_here(self, folder: Path, regex: str) -> None:
        """Before any worker is asked."""
        with (
            scripted(folder, answers(invalidated(users=1))) as (worker,),
            pytest.raises(ValueError, match="pattern"),
        ):
            operations.invalidate(Site(folders=(folder,)), Selection(regex=regex))
        assert worker.asked == []

    def test_a_tenant_narrows_no_regular_expression(self) -> None:
        """It is matched from the key's start, which is the tenant's."""
        with pytest.raises(ValueError, match="in a regular expression write the tenant itself"):
            operations.invalidate(Site(is_local=True, shared=Shared()), Selection(regex="a", tenant=1))

    def test_models_are_djangos(self) -> None:
        """In a process without Django there are none."""
        with pytest.raises(ValueError, match="this process has not loaded it"):
            operations.invalidate(Site(is_local=True), Selection(models=("auth.User",)))
