"""`manage_cache invalidate --schedule` and `--cancel` as an operator meets them, in this process."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django_app.test_manage_cache import manage, refused

from oxicache import TTLCache, cache_manager, jobs


@pytest.fixture
def users() -> Iterator[TTLCache[Any, Any]]:
    """A named cache with three entries."""
    cache = cache_manager.get_cache("test.later", max_size=10, ttl=60)
    for number in range(3):
        cache.set(f"user:{number}", number, tags=["user"])
    yield cache
    cache_manager.remove("test.later")


class TestLater:
    def test_a_job_is_taken_on_and_taken_back(self, users: TTLCache[Any, Any]) -> None:
        """003 runs it in a thread that ends with the command; here it is a live worker's, which tells its id."""
        said = json.loads(manage("invalidate", "--tags", "user", "--schedule", "5", "--json"))
        (waiting,) = [one for one in jobs.waiting() if one.id == said["scheduled"]]
        assert (waiting.what, said["what"], said["delay_seconds"]) == (
            "tag 'user'",
            "invalidation of tag 'user'",
            300,
        )
        assert manage("invalidate", "--cancel", said["scheduled"]).startswith(
            f"Cancelled job {said['scheduled']} of worker "
        )
        assert len(users) == 3

    def test_a_job_that_nobody_has(self) -> None:
        """Exit code 1: it may have been done meanwhile."""
        error = refused("invalidate", "--cancel", "nobodys")
        assert (str(error), error.returncode) == ("No live worker that answered has the job nobodys", 1)

    def test_the_text_of_a_job(self) -> None:
        """What, when, who, and what may become of it."""
        said = manage("invalidate", "--model", "auth.user", "--schedule", "5").splitlines()
        assert said[0] == "Scheduled invalidation of model 'auth.User' in 5.0 min"
        found = re.fullmatch(r"  job (\S+) of worker \d+, lost if that ends before", said[1])
        assert found is not None
        assert jobs.cancel(found[1])

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (("--tags", "a", "--schedule", "5", "--dry-run"), "--schedule and --dry-run do not go together"),
            (("--schedule", "5", "--cancel", "x"), "--cancel and --schedule do not go together"),
            (("--tags", "a", "--schedule", "5", "--process", "self"), "--schedule needs a worker that stays"),
            (("--schedule", "5"), "nothing is selected"),
            (("--model", "Nobody", "--schedule", "5"), "'Nobody' is no model"),
            (("--pattern", "(", "--schedule", "5"), "pattern"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_what_is_wrong_is_said_now(self, given: tuple[str, ...], why: str) -> None:
        """Not by a worker's log in five minutes."""
        before = jobs.waiting()
        error = refused("invalidate", *given)
        assert why in str(error)
        assert error.returncode == 2
        assert jobs.waiting() == before
