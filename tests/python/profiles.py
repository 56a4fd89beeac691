"""How hard hypothesis looks: a little by default, more where CI is set, as little as OXICACHE_EXAMPLES says."""

import os

from hypothesis import HealthCheck, settings

_EXAMPLES = 500 if os.environ.get("CI") else 150

# Speed is nobody's business here (deadline, too_slow): the machine may be busy with other builds.
MODEL = settings(
    max_examples=int(os.environ.get("OXICACHE_EXAMPLES", _EXAMPLES)),
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
