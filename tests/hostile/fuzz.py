"""The long fuzzing: every target with so many inputs, guided by coverage where atheris is installed; crashes are kept.

    python tests/hostile/fuzz.py [--inputs 1000000] [--guided 300] [--seconds 3600] [--seed 0] [--out fuzz] [TARGET ...]

Each target reads inputs guided by coverage for at most `--guided` seconds, and then, without the instruments that make
every reader several times slower, random changes of those that had led to new places, until there were as many inputs
as asked for or `--seconds` have passed, each in a process of its own. Prints a line for each target: inputs, how many
of them guided, inputs a second, what was covered, different crashes; exits with 1 where anything crashed. What crashes
belongs into tests/hostile/crashes/, named TARGET-WORDS, where the suite reads it again.
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


def blindly(watched: Watched, given: argparse.Namespace, out: Path, dice: random.Random) -> None:
    """Random changes of valid inputs and of those that led to new places; some results are begun from again."""
    begun = [*watched.target.seeds, *(path.read_bytes() for path in sorted((out / "corpus").iterdir()))]
    changed: list[bytes] = []
    most, end = length_of(watched.target), time.monotonic() + given.seconds
    while watched.count < watched.limit and time.monotonic() < end:
        data = watched.target.change(dice.choice(dice.choice((begun, changed or begun))), dice)[:most]
        if watched(data) and dice.random() < 0.05:
            if len(changed) < _KEPT:
                changed.append(data)
            else:
                changed[dice.randrange(_KEPT)] = data
    watched.write(out)


def guided(watched: Watched, given: argparse.Namespace, out: Path) -> None:
    """Inputs that led to new places in the code are begun from again; does not return."""
    atheris: Any = import_module("atheris")
    corpus = out / "corpus"
    for number, seed in enumerate(watched.target.seeds):
        (corpus / str(number)).write_bytes(seed)
    end = time.monotonic() + given.guided

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
    """One target, in this process, begun with or gone on with."""
    if given.guided:
        atheris: Any = import_module("atheris")
        with atheris.instrument_imports(include=["steepest"]):
            targets = import_module("hostile.targets").TARGETS
    else:
        targets = import_module("hostile.targets").TARGETS
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        watched = Watched(targets[name], Path(place), given.inputs)
        for seed in watched.target.seeds:
            watched.target(seed, watched.folder)  # what is imported late takes its time once
        dice = random.Random(f"{given.seed} {name}")
        if not (out / "corpus").exists():
            (out / "corpus").mkdir()
            repeating(watched, dice, import_module("hostile.mutations").TOKENS)
        if given.guided:
            guided(watched, given, out)
        else:
            blindly(watched, given, out, dice)


@dataclass
class Told:
    """What came of a target."""

    count: int = 0
    guided: int = 0
    covered: str = ""
    faults: dict[str, bytes] = field(default_factory=dict)

    def stage(self, name: str, given: argparse.Namespace, guided: float, out: Path) -> None:
        """Go on in a process of its own, and add what it has found."""
        command = [sys.executable, __file__, "--child", str(out), "--inputs", str(given.inputs - self.count), name]
        command += ["--guided", str(guided), "--seconds", str(given.seconds), "--seed", str(given.seed)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        told, found = out / "found.json", {"count": 0, "crashes": []}
        if told.is_file():
            found = json.loads(told.read_text())
            told.unlink()
        self.count += found["count"]
        self.guided += found["count"] if guided else 0
        self.faults |= {fault: (out / str(number)).read_bytes() for number, fault in enumerate(found["crashes"])}
        hangs = sorted(out.glob("hang-*"))
        self.faults |= {f"ended: {path.name}": path.read_bytes() for path in hangs}
        if not found["count"] and not hangs:
            self.faults["nothing was read"] = done.stderr.encode()
        covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
        self.covered = "{} places, {} features, {} kept".format(*covered[-1]) if covered else self.covered


def fuzzed(name: str, given: argparse.Namespace) -> Told:
    """One target, told: inputs and crashes."""
    began, told = time.monotonic(), Told()
    with tempfile.TemporaryDirectory() as place:
        for guided in (given.guided, 0.0) if given.guided else (0.0,):
            if told.count < given.inputs:
                told.stage(name, given, guided, Path(place))
    rate = told.count / (time.monotonic() - began)
    counts = f"{told.count:>10,} inputs {told.guided:>10,} guided {rate:>7,.0f}/s"
    print(f"{name:<12} {counts}  {told.covered:<42} {len(told.faults):>2} crashes", flush=True)
    for number, (fault, data) in enumerate(sorted(told.faults.items())):
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / f"{name}-{number}").write_bytes(data)
        print(f"    {name}-{number}: {fault}", flush=True)
    return told


def main() -> int:
    """Fuzz what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="of those in targets.py [all]")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each target [1,000,000]")
    parser.add_argument("--guided", type=float, default=300.0, help="seconds of each target guided by coverage [300]")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of each target at most behind these [3600]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="where inputs that crash are kept [fuzz]")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if find_spec("atheris") is None:
        given.guided = 0.0
    if given.child:
        child(given.targets[0], given, given.child)
        return 0
    print("guided by coverage" if given.guided else "random changes alone", flush=True)
    names = given.targets or list(import_module("hostile.targets").TARGETS)
    ends = [fuzzed(name, given) for name in names]
    broken = sum(len(told.faults) for told in ends)
    print(f"{'together':<12} {sum(told.count for told in ends):>10,} inputs, {broken} crashes")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
