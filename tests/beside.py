"""Runs two commands at the same time: shows the first as it goes, the other when both are done. Fails if one does.

`make test` parts its runs of pytest so. On a machine with one processor they run one after the other.
"""

import os
import subprocess
import sys
import tempfile


def main(first: str, second: str) -> int:
    """Return the first exit code that is not 0."""
    if (os.cpu_count() or 1) == 1:
        return subprocess.call(first, shell=True) or subprocess.call(second, shell=True)  # noqa: S602 -- make's own
    # By a shell's `&` they would ignore SIGINT, and so would what they start: some tests send it.
    with tempfile.TemporaryFile() as said:
        beside = subprocess.Popen(second, shell=True, stdout=said, stderr=subprocess.STDOUT)  # noqa: S602
        code = subprocess.call(first, shell=True)  # noqa: S602
        other = beside.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
    return code or other


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
