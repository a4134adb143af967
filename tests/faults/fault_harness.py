"""Runs that something happens to, again and again until they are done, compared with one that nothing happened to."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHILD = Path(__file__).with_name("fault_child.py")
KINDS = ("call", "byte", "rename")


@dataclass(frozen=True)
class Ending:
    """How a job ended."""

    status: int
    out: str
    err: str

    @property
    def code(self) -> int:
        """The exit code; negative where a signal ended it."""
        return os.waitstatus_to_exitcode(self.status)

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def found_the_disk_full(self) -> bool:
        """Whether that was said, on one line."""
        return self.code == 2 and "No space left on device" in self.err and self.err.count("\n") == 1


class Forks:
    """A process that forks for every job; each begins with all imports done."""

    def __init__(self) -> None:
        own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **own},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __call__(self, folder: Path, **job: Any) -> Ending:
        """Do a job and wait for its end."""
        log = folder.with_name(f"{folder.name}.log")
        text = json.dumps({"folder": str(folder), "log": str(log), **job})
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        out, err = (Path(f"{log}.{name}").read_text() for name in ("out", "err"))
        return Ending(status, out, err)


@dataclass(frozen=True)
class Whole:
    """An undisturbed run: what it left behind, and how often what could go wrong."""

    left: Any
    keys: list[str]
    counts: Mapping[str, int]


@dataclass
class Tally:
    """What happened to the runs of one method."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    full: int = 0
    """Disks that were full."""
    calls: int = 0
    """Calls of the undisturbed run."""
    torn: int = 0
    """Times that half a line was left."""
    lost: int = 0
    """Calls that were asked again, for their answers had never been written down."""


def left_behind(folder: Path) -> Any:
    """States and result, clocks and names aside."""
    steps = [json.loads(file.read_text()) for file in sorted((folder / "steps").glob("*.json"))]
    result = json.loads((folder / "result.json").read_text())
    for part in (*steps, result["usage"], result["measuring"]):
        del part["seconds"]
    del result["run"]
    return [steps, result, (folder / "test.jsonl").read_text()]


def keys(folder: Path) -> list[str]:
    """The calls in a journal, by the hashes of what was asked."""
    return [json.loads(line)["key"] for line in (folder / "calls.jsonl").read_bytes().splitlines()]


def asked(folder: Path) -> int:
    """How often a model was asked, over all processes."""
    return folder.with_name(f"{folder.name}.log").stat().st_size


def undisturbed(forks: Forks, place: Path, world: str) -> Whole:
    """A run that nothing happens to."""
    folder = place / "whole"
    ended = forks(folder, world=world)
    assert ended.code == 0, ended.err
    counts = json.loads((place / "whole.json").read_text())
    found = keys(folder)
    assert counts["call"] == asked(folder) == len(found) == len(set(found))
    return Whole(left_behind(folder), found, counts)


def check(folder: Path, whole: Whole, interruptions: int) -> int:
    """As if nothing had happened; returns how many calls were asked again, at most one for every interruption."""
    assert left_behind(folder) == whole.left
    found = keys(folder)
    assert len(found) == len(set(found)) and sorted(found) == sorted(whole.keys)
    assert (folder / "report.html").is_file()
    assert not list(folder.rglob("*.tmp"))
    again = asked(folder) - len(found)
    assert 0 <= again <= interruptions
    return again


def killed(forks: Forks, place: Path, world: str, kills: int, seed: int = 0, full_disks: int = 0) -> Tally:
    """At least so many kills of runs, each resumed until it is done; and so many disks that fill up under them."""
    whole = undisturbed(forks, place, world)
    tally = Tally(calls=len(whole.keys))
    dice = random.Random(f"{seed}:{world}")
    while tally.kills.total() < kills:
        _disturbed(forks, place, world, whole, tally, list(_moments(dice, whole)))
    while tally.full < full_disks:
        moment = {"kind": "byte", "at": dice.randrange(whole.counts["byte"]), "how": "full"}
        _disturbed(forks, place, world, whole, tally, [moment])
    return tally


def _disturbed(
    forks: Forks, place: Path, world: str, whole: Whole, tally: Tally, moments: Sequence[Mapping[str, Any]]
) -> None:
    """A run, struck at these moments as far as it comes to them, then resumed and compared."""
    folder = place / f"run{tally.runs}"
    times = 0
    for moment in moments:
        ended = forks(folder, world=world, **moment)
        if ended.code == 0:
            break
        times += 1
        if moment["how"] == "full":
            assert ended.found_the_disk_full, ended.err
            tally.full += 1
        else:
            assert ended.was_killed, ended.err
            tally.kills[moment["kind"]] += 1
        tally.torn += _is_torn(folder / "calls.jsonl")
    ended = forks(folder, world=world)
    assert ended.code == 0, ended.err
    tally.lost += check(folder, whole, times)
    tally.runs += 1
    shutil.rmtree(folder)
    folder.with_name(f"{folder.name}.log").unlink()


def _moments(dice: random.Random, whole: Whole) -> Iterator[Mapping[str, Any]]:
    """One to three kills, each anywhere in what a whole run does."""
    for _ in range(dice.randint(1, 3)):
        kind = dice.choice(KINDS)
        yield {"kind": kind, "at": dice.randrange(whole.counts[kind]), "how": "SIGKILL"}


def _is_torn(journal: Path) -> bool:
    return journal.is_file() and journal.stat().st_size > 0 and not journal.read_bytes().endswith(b"\n")
