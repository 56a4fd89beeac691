"""How hard hypothesis looks: a little by default, more where CI is set, as little as OXICACHE_EXAMPLES says.

What it draws is another thing in each run, unless `--hypothesis-seed` says what: `make test SEED=...` does.
"""

import os

from hypothesis import HealthCheck, settings

_ASKED = os.environ.get("OXICACHE_EXAMPLES")

# Speed is nobody's business here (deadline, too_slow): the machine may be busy with other builds. Where CI is set,
# hypothesis would choose by a digest of each test's source (derandomize), and a SEED would say nothing.
settings.register_profile(
    "oxicache",
    max_examples=int(_ASKED or 100),  # hypothesis's own
    deadline=None,
    derandomize=False,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("oxicache")

MODEL = settings(
    max_examples=int(_ASKED or (500 if os.environ.get("CI") else 150)),
    stateful_step_count=60,
)
