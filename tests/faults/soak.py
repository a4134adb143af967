"""An hour of runs against servers that fail: nothing lost, nothing paid twice, nothing grows. `make soak`.

Cycle after cycle, the runs of every text method in `fault_worlds`, plain ones and some under a limit, are carried out
in this process, several at once, and meanwhile others in processes that are killed and resumed. Each must end as the
same run with the same models in memory, and the servers' own count of answers must agree with the journals.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fault_harness import left_behind
from fault_storm import calm
from fault_worlds import WORLDS
from soak_servers import POISON

from steepest import api
from steepest.engine import Run
from steepest.errors import BudgetSpent
from steepest.ledger import Limits
from steepest.models.endpoint import Settings, open_endpoint
from steepest.models.opening import opened
from steepest.plan import Plan

TEXT = [name for name in WORLDS if not name.startswith("greater")]
AT_ONCE = 3
"""Runs in this process."""
CONCURRENCY = 16
OPTIONS: Mapping[str, Any] = {"concurrency": CONCURRENCY, "retries": 8, "timeout": 10.0, "key_env": "NO_SUCH_KEY"}
GROWTH = 50.0
"""Kilobytes a minute: what the memory in the second half may grow by, where a cycle makes hundreds of calls."""
RESUME = "import sys; from steepest.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Servers:
    """Where the servers are, and who counts."""

    urls: list[str]
    account: str

    def answers(self, model: str) -> dict[str, int]:
        """What was answered by that name: "answers", and "questions", each of which is counted once."""
        with urllib.request.urlopen(f"{self.account}?{model}", timeout=60) as reply:
            found: dict[str, int] = json.load(reply)
            return found


@dataclass
class Tally:
    """What happened."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    quiet: threading.Lock = field(default_factory=threading.Lock)
    """Held by what opens files in this process beside the runs of a cycle, so that none are open between cycles."""
    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def add(self, **counts: int) -> None:
        """Count, in any thread."""
        with self.lock:
            self.counts.update(counts)


@dataclass(frozen=True)
class Sample:
    """This process at the beginning of a cycle, when nothing runs in it."""

    minutes: float
    kilobytes: int
    files: int
    threads: int


def sampled(begun: float) -> Sample:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    kilobytes = int(status.partition("VmRSS:")[2].split()[0])
    return Sample(
        (time.monotonic() - begun) / 60, kilobytes, len(os.listdir("/proc/self/fd")), threading.active_count()
    )


@contextmanager
def serving(seconds: float, seed: int) -> Iterator[Servers]:
    """The servers, until the block ends."""
    command = [sys.executable, str(Path(__file__).with_name("soak_servers.py")), str(seconds), str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        yield Servers(**json.loads(process.stdout.readline()))
        process.stdin.close()
        process.wait(60)


def planned(world: str, models: Mapping[str, Any], limits: Limits | None, seed: int) -> Plan:
    plan = WORLDS[world].plan(models)
    return replace(plan, limits=limits or plan.limits, fail_on=1.0, seed=seed)


def as_in_a_calm(place: Path, world: str, limits: Limits | None, seed: int) -> Any:
    """What the run leaves behind with models that never fail, but for poisoned rows."""
    models = calm(POISON)
    plan = planned(world, {role: models[role] for role in WORLDS[world].models()}, limits, seed)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        with Run.create(Path(folder, "run"), plan) as run:
            api.carry_out(run)
        return comparable(Path(folder, "run"))


def comparable(folder: Path) -> Any:
    """What a run left, save what differs with the names of its models, and with how much they take at once."""
    left = left_behind(folder)
    del left[1]["models"], left[1]["unfinished"]
    left[1]["stopped"] = left[1]["stopped"].partition(" would be passed")[0]
    return left


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_bytes().splitlines()]


def compare(folder: Path, whole: Any) -> int:
    """As in a calm, and no call that was answered stands twice; how many were."""
    assert comparable(folder) == whole, f"{folder} ended otherwise"
    keys = [call["key"] for call in journal(folder) if call["response"]["finish"] != "failed"]
    assert len(keys) == len(set(keys)), f"{folder} has calls twice"
    return len(keys)


def carried(place: Path, servers: Servers, world: str, limits: Limits | None, seed: int, tally: Tally) -> None:
    """A run in this process, compared; the servers have answered what is in its journal and nothing else."""
    name = f"{world.replace(', ', '_')}-{seed}-{'limited' if limits else 'whole'}"
    try:
        whole = as_in_a_calm(place, world, limits, seed)
    except BudgetSpent:  # not even the beginning fits
        return
    folder = place / name
    with ExitStack() as stack:
        models = {
            role: stack.enter_context(
                closing(open_endpoint(Settings(f"{role}-{name}", ",".join(servers.urls), **OPTIONS)))
            )
            for role in WORLDS[world].models()
        }
        with Run.create(folder, planned(world, models, limits, seed)) as run:
            result = api.carry_out(run)
        for model in models.values():
            for counts in model.counts.values():
                with tally.lock:
                    tally.refusals.update(counts)
    answered = compare(folder, whole)
    told = [servers.answers(f"{role}-{name}") for role in models]
    assert sum(each["answers"] for each in told) == answered, f"{folder}: {told} answered, {answered} in the journal"
    if limits:
        for what in ("calls", "tokens"):
            spent = sum(each.tokens if what == "tokens" else each.calls for each in (result.usage, result.unfinished))
            most = limits.calls if what == "calls" else limits.tokens
            assert most is None or spent <= most, f"{folder}: {spent} {what} of {most}"
    tally.add(runs=1, limited=int(limits is not None), calls=answered)
    shutil.rmtree(folder)


def killed(place: Path, servers: Servers, world: str, seed: int, tally: Tally) -> None:
    """A run in processes of its own that are ended at random, resumed and compared."""
    dice = random.Random(f"{world} {seed}")
    name = f"{world.replace(', ', '_')}-{seed}-killed"
    folder, roles = place / name, list(WORLDS[world].models())
    with tally.quiet:
        whole = as_in_a_calm(place, world, None, seed)
        models = {role: opened(f"openai:{role}-{name}@{','.join(servers.urls)}", OPTIONS) for role in roles}
        plan = planned(world, {role: each.model for role, each in models.items()}, None, seed)
        Run.create(folder, replace(plan, models=models)).close()
    kills = 0
    for patience in (*(dice.uniform(1.5, 12) for _ in range(dice.randint(1, 4))), None):
        kills += ended(folder, patience, dice.choice([signal.SIGKILL, signal.SIGTERM]), tally)
        if (folder / "result.json").exists():
            break
    with tally.quiet:
        answered = compare(folder, whole)
        told = sum(servers.answers(f"{role}-{name}")["answers"] for role in roles)
    under_way = kills * CONCURRENCY * len(servers.urls) * len(roles)
    assert 0 <= told - answered <= under_way, f"{folder}: {told} answered, {answered} in the journal, {kills} kills"
    tally.add(runs=1, killed=1, kills=kills, calls=answered, asked_again=told - answered)
    with tally.quiet:
        shutil.rmtree(folder)


def ended(folder: Path, patience: float | None, how: signal.Signals, tally: Tally) -> bool:
    """Go on with a run in a process; whether that was ended after so many seconds."""
    log = folder.with_suffix(".log")
    with tally.quiet, log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", RESUME, "resume", folder], stdout=out, stderr=out)
    try:
        code = process.wait(patience)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
        code = process.wait()
    assert code in (0, -how, 128 + how), f"{folder}: exit code {code}, see {log}"
    return code != 0


def limits_of(dice: random.Random) -> Limits:
    """A limit that ends a run before its end."""
    return Limits(calls=dice.randint(20, 70)) if dice.random() < 0.5 else Limits(tokens=dice.randint(1_500, 5_000))


def soak(seconds: float, seed: int, place: Path) -> tuple[list[Sample], Tally]:
    begun, tally, samples, over = time.monotonic(), Tally(), list[Sample](), threading.Event()
    failures: list[BaseException] = []

    def victims() -> None:
        number = 0
        try:
            while not over.is_set():
                killed(place, servers, TEXT[number % len(TEXT)], seed + number, tally)
                number += 1
        except BaseException as failure:
            failures.append(failure)

    with serving(seconds, seed) as servers:
        thread = threading.Thread(target=victims)
        thread.start()
        try:
            while time.monotonic() - begun < seconds and not failures:
                with tally.quiet:
                    samples.append(sampled(begun))
                tell(samples[-1], tally)
                number = seed + 1000 * len(samples)
                jobs: list[tuple[str, Limits | None, int]] = [(world, None, number) for world in TEXT]
                dice = random.Random(number)
                jobs += [(world, limits_of(dice), number) for world in dice.sample(TEXT, 3)]
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    list(pool.map(lambda job: carried(place, servers, *job, tally), jobs))
            with tally.quiet:
                samples.append(sampled(begun))
        finally:
            over.set()
            thread.join()
    if failures:
        raise failures[0]
    return samples, tally


def tell(sample: Sample, tally: Tally) -> None:
    state = f"{sample.minutes:6.1f} min  {sample.kilobytes:,} kB  {sample.files} files  {sample.threads} threads"
    print(f"{state}  {dict(tally.counts)}", flush=True)


def growth(samples: list[Sample]) -> float:
    """Kilobytes a minute in the second half, by least squares."""
    half = [each for each in samples if each.minutes >= samples[-1].minutes / 2]
    slope = np.polyfit([each.minutes for each in half], [each.kilobytes for each in half], 1)[0]
    return float(slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.getLogger("steepest").setLevel(logging.ERROR)  # rests are counted
    place = Path(tempfile.mkdtemp(prefix="soak-"))  # stays where something is to be looked at
    samples, tally = soak(60 * given.minutes, given.seed, place)
    tell(samples[-1], tally)
    print(f"requests sent, by what became of them: {dict(tally.refusals)}")
    slope = growth(samples)
    files = {each.files for each in samples}
    print(f"memory in the second half: {slope:+.1f} kB/min; open files at the beginning of a cycle: {sorted(files)}")
    assert len(files) == 1, "open files were left"
    assert slope < GROWTH, "memory grew"
    shutil.rmtree(place)
    print("Nothing lost, nothing paid twice, every limit kept, nothing grew.")


if __name__ == "__main__":
    main()
