"""The long fuzzing: every target with so many inputs, guided by coverage where atheris is installed; crashes are kept.

    python tests/hostile/fuzz.py [--inputs 1000000] [--seconds 600] [--seed 0] [--out fuzz] [--blind] [TARGET ...]

Each target runs until it has read so many inputs or so many seconds have passed, in a process of its own. Prints a
line for each: inputs, inputs a second, what was covered, different crashes; exits with 1 where anything crashed. What
crashes belongs into tests/hostile/crashes/, named TARGET-WORDS, where the suite reads it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SLOW = 1.0
"""Seconds of processor time for one input that count as a crash."""
HANGS = 60
"""Seconds after which an input is given up."""
SHORT = 256
"""Bytes of an input, or a few more than the longest valid one has."""
LONG = 9_000
"""Bytes of the inputs that repeat themselves, which show what takes more time than in proportion."""
REPEATING = 400
"""So many of these."""
_KEPT = 500


@dataclass
class Watched:
    """A target that never raises: what it would raise is kept, one input for each place."""

    target: Any
    folder: Path
    limit: int
    """The most inputs."""
    count: int = 0
    crashes: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, data: bytes) -> bool:
        """Whether the input was read or refused, and in time."""
        self.count += 1
        began, fault = time.process_time(), ""
        try:
            self.target(data, self.folder)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.name}:{frame.lineno}"
        if time.process_time() - began > SLOW:
            fault = fault or "slow"
        if fault and (fault not in self.crashes or len(data) < len(self.crashes[fault])):
            self.crashes[fault] = data
        return not fault

    def write(self, out: Path) -> None:
        """The count, and the crashes as files."""
        for number, data in enumerate(self.crashes.values()):
            (out / str(number)).write_bytes(data)
        (out / "found.json").write_text(json.dumps({"count": self.count, "crashes": list(self.crashes)}))


def length_of(target: Any) -> int:
    """The most bytes of an input."""
    return max(SHORT, 64 + max(map(len, target.seeds)))


def repeating(watched: Watched, dice: random.Random, tokens: tuple[bytes, ...]) -> None:
    """Long inputs of one to three pieces over and over, in front of, behind or instead of a valid one."""
    for _ in range(min(REPEATING, watched.limit)):
        seed = dice.choice(watched.target.seeds)
        pieces = [*tokens, *(seed[at : at + 3] for at in range(0, len(seed), 7)), b" ", b"a", b"1"]
        pattern = b"".join(dice.choice(pieces)[:40] for _ in range(dice.choice((1, 2, 3))))
        many = (pattern * (LONG // len(pattern) + 1))[:LONG]
        at = dice.choice((0, 1, len(seed) // 2, len(seed)))
        watched(seed[:at] + many + seed[at:])


def blindly(watched: Watched, given: argparse.Namespace, dice: random.Random) -> None:
    """Random changes of valid inputs, which pile up: some results are begun from again."""
    pool, end = list(watched.target.seeds), time.monotonic() + given.seconds
    seeds, most = len(pool), length_of(watched.target)
    while watched.count < watched.limit and time.monotonic() < end:
        data = watched.target.change(dice.choice(pool), dice)[:most]
        if watched(data) and dice.random() < 0.05:
            pool[dice.randrange(seeds, _KEPT) if len(pool) >= _KEPT else len(pool) :] = [data]
            del pool[_KEPT:]


def guided(watched: Watched, given: argparse.Namespace, out: Path) -> None:
    """Inputs that led to new places in the code are begun from again; does not return."""
    atheris: Any = import_module("atheris")
    corpus = out / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(watched.target.seeds):
        (corpus / str(number)).write_bytes(seed)
    end = time.monotonic() + given.seconds

    def one(data: bytes) -> None:
        watched(data)
        if watched.count >= watched.limit or time.monotonic() > end:
            watched.write(out)
            # The engine says what it covered, and ends the process, once it is asked for no more.
            os.kill(os.getpid(), signal.SIGUSR1)

    def change(data: bytes, size: int, seed: int) -> bytes:
        dice = random.Random(seed)
        changed: bytes = atheris.Mutate(data, size) if dice.random() < 0.4 else watched.target.change(data, dice)
        return changed[:size]

    flags = [f"-max_len={length_of(watched.target)}", f"-timeout={HANGS}", f"-seed={given.seed + 1}", "-rss_limit_mb=0"]
    flags += [f"-artifact_prefix={out}/hang-", "-handle_usr1=1", str(corpus)]
    atheris.Setup([sys.argv[0], *flags], one, custom_mutator=change)
    atheris.Fuzz()


def child(name: str, given: argparse.Namespace, out: Path) -> None:
    """One target, in this process."""
    if given.blind:
        targets = import_module("hostile.targets").TARGETS
    else:
        atheris: Any = import_module("atheris")
        with atheris.instrument_imports(include=["steepest"]):
            targets = import_module("hostile.targets").TARGETS
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        watched = Watched(targets[name], Path(place), given.inputs)
        for seed in watched.target.seeds:
            watched.target(seed, watched.folder)  # what is imported late takes its time once
        dice = random.Random(f"{given.seed} {name}")
        repeating(watched, dice, import_module("hostile.mutations").TOKENS)
        if given.blind:
            blindly(watched, given, dice)
            watched.write(out)
        else:
            guided(watched, given, out)


def fuzzed(name: str, given: argparse.Namespace) -> tuple[int, int]:
    """One target in a process of its own, told: inputs and crashes."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, __file__, "--child", place, "--inputs", str(given.inputs), name]
        command += ["--seconds", str(given.seconds), "--seed", str(given.seed), *(["--blind"] if given.blind else [])]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        out, wall = Path(place), time.monotonic() - began
        found = {"count": 0, "crashes": []}
        if (out / "found.json").is_file():
            found = json.loads((out / "found.json").read_text())
        faults = {fault: (out / str(number)).read_bytes() for number, fault in enumerate(found["crashes"])}
        faults |= {f"ended: {path.name}": path.read_bytes() for path in out.glob("hang-*")}
        if not found["count"] and not faults:
            faults["nothing was read"] = done.stderr.encode()
        covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
        said = "{} places, {} features, {} kept".format(*covered[-1]) if covered else ""
        rate = found["count"] / wall
        told = f"{found['count']:>10,} inputs {rate:>7,.0f}/s  {said:<42}"
        print(f"{name:<12} {told} {len(faults):>2} crashes", flush=True)
        for number, (fault, data) in enumerate(sorted(faults.items())):
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / f"{name}-{number}").write_bytes(data)
            print(f"    {name}-{number}: {fault}", flush=True)
    return found["count"], len(faults)


def main() -> int:
    """Fuzz what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="of those in targets.py [all]")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each target [1,000,000]")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each target at most [600]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="where inputs that crash are kept [fuzz]")
    parser.add_argument("--blind", action="store_true", help="random changes alone [where atheris is not installed]")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.blind = given.blind or find_spec("atheris") is None
    if given.child:
        child(given.targets[0], given, given.child)
        return 0
    print("random changes alone" if given.blind else "guided by coverage", flush=True)
    names = given.targets or list(import_module("hostile.targets").TARGETS)
    ends = [fuzzed(name, given) for name in names]
    broken = sum(faults for _, faults in ends)
    print(f"{'together':<12} {sum(count for count, _ in ends):>10,} inputs, {broken} crashes")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
