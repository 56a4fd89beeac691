"""Instructions an operation costs, counted by valgrind: the same from run to run, where nanoseconds are not.

    python benches/instructions.py                        every row of the table
    python benches/instructions.py --only 'get hit' --where 12    and the functions that cost most

Each contender of a row runs in two children that differ only in how often the loop runs; the difference, divided by
the operations, leaves out start-up and imports. The empty loop is counted likewise. Instructions are not time: a
cache miss of the processor and an addition weigh the same.

valgrind hides the kernel's vDSO, where the clock is read: a clock reading counts here as the call alone. For names of
functions, and not only of files, `_native` needs its symbols:

    CARGO_PROFILE_RELEASE_DEBUG=1 cargo build --release --lib --features python

and `lib_native.so` from there in place of the installed `_native`.
"""

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cache_rows
from rows import TimedRow
from timing import OVERHEAD, Contender

FEW = 4  # passes of the shorter child: enough for CPython to specialise the loop's bytecode
COUNTED = 60_000  # operations that the longer child runs more, so that start-up's small differences fade
HASH_SEED = "0"  # str hashes and with them the probes of every table are then the same in each child


@dataclass(frozen=True)
class Count:
    """Instructions an operation of one contender takes, in all and by function, the loop included."""

    contender: str
    total: float
    by_function: Counter[str]


def rows() -> dict[str, TimedRow]:
    """The rows that can be counted, by name."""
    import decorator_rows  # here, so that children of cache_rows do not import Django under valgrind
    import version_rows

    every = (*cache_rows.ROWS, *decorator_rows.ROWS, *version_rows.ROWS)
    return {row.name: row for row in every if row.countable and not row.slow}


def row_named(name: str) -> TimedRow:
    """One row by its name."""
    return next((row for row in cache_rows.ROWS if row.name == name), None) or rows()[name]


def contenders(row: TimedRow) -> dict[str, Contender]:
    """The contenders of `row` by name, the empty loop first and oxicache's second."""
    made = row.build()
    empty = Contender(OVERHEAD, "pass", made[0].names, made[0].items)
    return {contender.name: contender for contender in (empty, *made)}


def run_child(row: str, name: str, passes: int) -> None:
    """What a child does: run one contender's loop. It ends without tearing down, whose cost varies."""
    loop = contenders(row_named(row))[name].compile()
    gc.collect()
    gc.disable()
    loop(passes)
    os._exit(0)


def _counted(row: str, name: str, passes: int) -> Counter[str]:
    """Instructions by function of one child."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "callgrind.out"
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={written}",
            sys.executable,
            __file__,
        ]
        command += ["--child", json.dumps([row, name, passes])]
        # The child ends without tidying up, so what it makes goes with this folder.
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED, "TMPDIR": folder}
        child = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)  # noqa: S603
        if child.returncode:
            message = f"{row}, {name}: the child ended with {child.returncode}:\n{child.stderr}"
            raise RuntimeError(message)
        return self_costs(written.read_text(encoding="utf-8", errors="replace").splitlines())


_NAMED = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$")  # what starts with c names a callee


def self_costs(lines: list[str]) -> Counter[str]:
    """Sum callgrind's self costs by function; a function without a symbol goes by its object file.

    In the format, names are written in full once and by number afterwards, and the line after `calls=` is what
    a callee cost, which its own lines count already.
    """
    names: dict[tuple[str, str], str] = {}
    costs: Counter[str] = Counter()
    binary = function = ""
    skip = False
    for line in lines:
        if found := _NAMED.match(line):
            of_callee, kind, number, written = found.groups()
            name = names.setdefault((kind, number), written or "")
            if of_callee:
                continue
            if kind == "ob":
                binary = Path(name).name
            else:
                function = name
        elif line.startswith("calls="):
            skip = True
        elif line and line[0] in "+-*0123456789":
            if not skip:
                shown = binary if function.startswith(("0x", "???")) else f"{function} ({binary})"
                costs[shown] += int(line.split()[1])
            skip = False
    return costs


def count(row: str, name: str) -> Count:
    """Count one contender of one row."""
    items = len(contenders(row_named(row))[name].items)
    more = max(1, COUNTED // items)
    few, many = _counted(row, name, FEW), _counted(row, name, FEW + more)
    operations = more * items
    many.subtract(few)
    by_function = Counter({function: cost / operations for function, cost in many.items()})
    return Count(name, sum(many.values()) / operations, by_function)


def report(row: str, counts: dict[str, Count], where: int) -> Iterator[str]:
    """The lines about one row; the ratio is net of the empty loop on both sides."""
    loop = counts[OVERHEAD].total
    ours, *_ = (count for name, count in counts.items() if name != OVERHEAD)
    yield f"{row}  (empty loop {loop:.0f})"
    for name, counted in counts.items():
        if name == OVERHEAD:
            continue
        net = counted.total - loop
        ratio = "" if counted is ours else f"   oxicache {(ours.total - loop) / net:.2f}x of it"
        yield f"  {name:28} {counted.total:8.0f} gross {net:8.0f} net{ratio}"
        if where:
            for function, cost in counted.by_function.most_common(where):
                yield f"      {cost:8.1f}  {function}"


def main(arguments: list[str]) -> int:
    """Count and print. 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="benches/instructions.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="TEXT", default="", help="only rows whose name contains TEXT")
    parser.add_argument(
        "--against", metavar="TEXT", default="", help="only contenders whose name contains TEXT, and ours"
    )
    parser.add_argument(
        "--where", metavar="N", type=int, default=0, help="the N functions that cost most, for each"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=int, default=os.cpu_count() or 1, help="children at a time"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the counts as JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        run_child(*json.loads(options.child))
        return 0
    if not shutil.which("valgrind"):
        print("valgrind is not installed; Debian has it in the package of that name", file=sys.stderr)
        return 2
    written: dict[str, dict[str, float]] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in (row for row in rows() if options.only in row):
            found = contenders(row_named(row))
            _, ours, *_ = found
            names = [name for name in found if name in (OVERHEAD, ours) or options.against in name]
            counts = dict(zip(names, pool.map(partial(count, row), names), strict=True))
            written[row] = {name: round(counted.total, 1) for name, counted in counts.items()}
            print("\n".join(report(row, counts, options.where)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
