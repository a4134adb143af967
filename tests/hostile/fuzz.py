"""The long fuzzing: random changes of valid inputs, every target for so many seconds, crashes kept as files.

    python tests/hostile/fuzz.py [--seconds 40] [--seed 0] [--out fuzz] [TARGET ...]

Prints a line a target: inputs, inputs a second, different crashes; exits with 1 where anything crashed. What crashes
belongs into tests/hostile/crashes/, named TARGET-WORDS, where the suite reads it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile.mutations import mutated
from hostile.targets import TARGETS, Target

_SLOW = 2.0
"""Seconds for one input that count as a crash."""
_KEPT = 500


def fuzzed(target: Target, seconds: float, dice: random.Random, folder: Path) -> tuple[int, dict[str, bytes]]:
    """How many inputs were read, and one input for each place where something was raised."""
    pool, count, crashes = list(target.seeds), 0, dict[str, bytes]()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(dice.choice(pool), dice)[:6_000]
        began, fault = time.process_time(), ""
        try:
            target(data, folder)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.name}:{frame.lineno}"
        if time.process_time() - began > _SLOW:
            fault = fault or "slow"
        if fault and (fault not in crashes or len(data) < len(crashes[fault])):
            crashes[fault] = data
        count += 1
        # Changes pile up: some results are begun from again.
        if not fault and dice.random() < 0.05:
            pool[dice.randrange(len(target.seeds), _KEPT) if len(pool) >= _KEPT else len(pool) :] = [data]
            del pool[_KEPT:]
    return count, crashes


def main() -> int:
    """Fuzz what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} [all]")
    parser.add_argument("--seconds", type=float, default=40.0, help="for each target [40]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="where inputs that crash are kept [fuzz]")
    given = parser.parse_args()
    total = broken = 0
    for name in given.targets or TARGETS:
        with tempfile.TemporaryDirectory() as place:
            count, crashes = fuzzed(TARGETS[name], given.seconds, random.Random(f"{given.seed} {name}"), Path(place))
        total, broken = total + count, broken + len(crashes)
        print(f"{name:<12} {count:>10,} inputs {count / given.seconds:>8,.0f}/s {len(crashes):>4} crashes", flush=True)
        for number, (fault, data) in enumerate(sorted(crashes.items())):
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / f"{name}-{number}").write_bytes(data)
            print(f"    {name}-{number}: {fault}", flush=True)
    print(f"{'together':<12} {total:>10,} inputs, {broken} crashes")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
