"""How hard hypothesis looks: a little by default, more where CI is set."""

import os

from hypothesis import HealthCheck, settings

_MORE = bool(os.environ.get("CI"))

# Speed is nobody's business here (deadline, too_slow): the machine may be busy with other builds.
MODEL = settings(
    max_examples=500 if _MORE else 150,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
