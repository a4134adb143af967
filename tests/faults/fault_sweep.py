"""Kills runs of every method at random moments, resumes them, and says what became of them: `make test-faults`."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from fault_harness import KINDS, Forks, killed
from fault_worlds import WORLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of each method, at least")
    parser.add_argument("--full-disks", type=int, default=10, help="of each method")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kinds = [f"kills: {kind}" for kind in KINDS]
    columns = ["method", "calls of a run", "runs", *kinds, "full disks", "torn lines", "calls asked again"]
    print(f"| {' | '.join(columns)} |\n|---{'|---:' * (len(columns) - 1)}|")
    kills, full, started = 0, 0, time.perf_counter()
    with Forks() as forks:
        for world in WORLDS:
            with tempfile.TemporaryDirectory() as place:
                found = killed(forks, Path(place), world, given.kills, given.seed, given.full_disks)
            kills, full = kills + found.kills.total(), full + found.full
            figures = [found.calls, found.runs, *(found.kills[kind] for kind in KINDS)]
            figures += [found.full, found.torn, found.lost]
            print(f"| {world} | {' | '.join(map(str, figures))} |", flush=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{kills} kills and {full} full disks; each run ended as if nothing had happened.")
    print(f"{time.perf_counter() - started:.0f} s, {spent.ru_utime + spent.ru_stime:.0f} s of one core.")


if __name__ == "__main__":
    main()
