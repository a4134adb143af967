"""A process that forks one for every job it is given on standard input, so that each begins with all imports done.

In the forked one something goes wrong at a moment: a model call, a byte written, a file renamed.
"""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fault_worlds import WORLDS

from steepest import api
from steepest.cli import main as steepest
from steepest.engine import Run
from steepest.errors import SteepestError
from steepest.testing.taps import tapped

NOBODY = 65534
KINDS = ("call", "byte", "rename")


@dataclass
class Moments:
    """Counts what happens, and strikes where it was told to."""

    kind: str
    at: int
    how: str
    log: Path
    """Gets a byte for each model call, before it is answered."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    is_full: bool = False
    """Whether the disk takes nothing more."""

    def draw(self) -> None:
        """A call, as taps count it."""
        with self.log.open("ab") as file:
            file.write(b".")
        self.note("call", 1)

    def note(self, kind: str, n: int) -> None:
        """So much more happened."""
        before = self.counts[kind]
        self.counts[kind] = before + n
        if kind == self.kind and before <= self.at < before + n:
            self.strike()

    def strike(self) -> None:
        """It happens."""
        if self.how == "full":
            self.is_full = True
        else:
            os.kill(os.getpid(), signal.Signals[self.how])

    def room(self, n: int) -> int:
        """Of `n` bytes those that are written before the strike."""
        left = self.at - self.counts["byte"]
        return left if self.kind == "byte" and 0 <= left < n else n


class Watched:
    """A file whose bytes are counted; at the moment, only some of those that were given are written."""

    def __init__(self, file: Any, moments: Moments) -> None:
        self._file = file
        self._moments = moments

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, given: Any) -> int:
        room = self._moments.room(len(given))
        self._file.write(given[:room])
        self._file.flush()
        self._moments.note("byte", len(given))
        if self._moments.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return room + int(self._file.write(given[room:]))


def watch(moments: Moments, inside: Path) -> None:
    """Count what is written into a folder from now on."""
    opened, renamed = Path.open, os.replace

    def watched(path: Path, mode: str = "r", *given: Any, **named: Any) -> Any:
        file = opened(path, mode, *given, **named)
        is_ours = ("w" in mode or "a" in mode) and path.is_relative_to(inside)
        return Watched(file, moments) if is_ours else file

    def replace(source: Any, target: Any) -> None:
        moments.note("rename", 1)
        renamed(source, target)
        moments.note("rename", 1)

    Path.open = watched  # type: ignore[method-assign]
    os.replace = replace


def jumping(seed: int) -> None:
    """Wall clocks that jump both ways by up to a day, steady ones that jump ahead, as after a laptop's sleep."""
    dice = random.Random(seed)
    wall, steady, ahead = time.time, time.perf_counter, [0.0]

    def perf_counter() -> float:
        ahead[0] += dice.choice([0.0] * 9 + [3600.0])
        return steady() + ahead[0]

    time.time = lambda: wall() + dice.uniform(-86400, 86400)
    time.perf_counter = time.monotonic = perf_counter


def carry(job: dict[str, Any], moments: Moments) -> None:
    """The run in the job's folder, from wherever it stands to its result."""
    folder, world = Path(job["folder"]), WORLDS[job["world"]]
    models = {role: tapped(model, moments) for role, model in world.models().items()}
    if folder.exists() and not (folder / "run.json").is_file():
        shutil.rmtree(folder)  # cut off while it was made: run.json comes last
    is_new = not folder.exists()
    with Run.create(folder, world.plan(models)) if is_new else Run.open(folder, models=models) as run:
        api.carry_out(run)


def work(job: dict[str, Any]) -> int:
    """Do the job; the exit code."""
    folder = Path(job["folder"])
    moments = Moments(job.get("kind", ""), job.get("at", -1), job.get("how", ""), Path(job["log"]))
    if job.get("watched", True):
        watch(moments, folder)
    if "clock" in job:
        jumping(job["clock"])
    if "limit" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], job["limit"]))
    if job.get("nobody") and os.geteuid() == 0:
        os.setuid(NOBODY)
    if "arguments" in job:
        os.chdir(job["cwd"])
        code = steepest(job["arguments"])
    else:
        try:
            carry(job, moments)
            code = 0
        except SteepestError as error:
            sys.stderr.write(f"error: {error}\n")
            code = error.code
    Path(job["log"]).with_suffix(".json").write_text(json.dumps(moments.counts))
    return code


def forked(job: dict[str, Any]) -> int:
    """The wait status of a process that does the job."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{job['log']}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signal.signal(signal.Signals[name], signal.SIG_IGN if name in job.get("ignored", ()) else signal.SIG_DFL)
        if "SIGINT" not in job.get("ignored", ()):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = work(job)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Jobs as JSON lines in, wait statuses out."""
    with TemporaryDirectory() as place:  # once, for all that is imported late
        carry({"folder": f"{place}/run", "world": "opro"}, Moments("", -1, "", Path(place, "log")))
    for line in sys.stdin:
        sys.__stdout__.write(f"{forked(json.loads(line))}\n")
        sys.__stdout__.flush()


if __name__ == "__main__":
    serve()
