"""Kills runs of every method at random moments, resumes them, and says what became of them: `make test-faults`."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from fault_harness import KINDS, Forks, killed
from fault_worlds import WORLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of each method, at least")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| method | calls of a run | runs | kills: " + " | ".join(KINDS) + " | torn lines | calls asked again |")
    print("|---|" + "---:|" * (4 + len(KINDS)))
    total, started = 0, time.perf_counter()
    with Forks() as forks:
        for world in WORLDS:
            with tempfile.TemporaryDirectory() as place:
                found = killed(forks, Path(place), world, given.kills, given.seed)
            total += found.kills.total()
            kinds = " | ".join(str(found.kills[kind]) for kind in KINDS)
            print(f"| {world} | {found.calls} | {found.runs} | {kinds} | {found.torn} | {found.lost} |", flush=True)
    seconds = time.perf_counter() - started
    cpu = sum(getattr(resource.getrusage(resource.RUSAGE_CHILDREN), f"ru_{kind}time") for kind in ("u", "s"))
    print(f"\n{total} kills, all runs as if nothing had happened; {seconds:.0f} s, {cpu:.0f} s of one core.")


if __name__ == "__main__":
    main()
