"""The cells of a comparison as run folders: made once, each carried to its result from wherever it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steepest import api, processes
from steepest.comparing.on_ray import Cluster, carried_out
from steepest.engine import Run
from steepest.errors import StateError, SteepestError
from steepest.lock import Lock
from steepest.plan import Plan
from steepest.records import StepRecord
from steepest.reporting.comparison import CELLS, Cell
from steepest.reporting.text import clean

STDERR = "stderr.txt"
"""What is known of a failed cell's error, in the cell's folder."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A cell that came to its end."""

    cell: Cell
    error: str
    """Why it failed; empty where it has a result."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who carries cells out."""

    count: int
    models: Mapping[str, Any] | None = None
    """Role -> model, to be shared by threads of this process; None: each cell in a process of its own, which opens
    its models by name."""
    cluster: Cluster | None = None
    """Where such processes are, if not on this machine."""


def not_made(out: Path, plans: Mapping[Cell, Plan]) -> dict[Cell, Plan]:
    """Those of the cells that have no run folder yet."""
    return {cell: plan for cell, plan in plans.items() if not (out / CELLS / cell.folder / "run.json").is_file()}


def make(out: Path, plans: Mapping[Cell, Plan]) -> None:
    """A run folder for each cell."""
    if not plans:
        return
    with Lock(out):
        # Another process may have made them in the meantime.
        for cell, plan in not_made(out, plans).items():
            folder = out / CELLS / cell.folder
            if folder.exists():
                # Cut off while it was made: run.json comes last.
                shutil.rmtree(folder)
            Run.create(folder, plan).close()


def carry_out(out: Path, cells: Sequence[Cell], workers: Workers) -> Iterator[Ended]:
    """Bring every cell to its result; yields each as it ends. A cell that fails does not stop the others."""
    halt = _Halt()
    with Lock(out), ThreadPoolExecutor(workers.count) as pool:
        todo = [cell for cell in cells if not (out / CELLS / cell.folder / "result.json").is_file()]
        waiting = {pool.submit(_attempt, out / CELLS / cell.folder, workers, halt): cell for cell in todo}
        try:
            for done in as_completed(waiting):
                yield Ended(waiting[done], done.result())
        finally:
            for future in waiting:
                future.cancel()
            halt.now()


class _Halt:
    """Ends what is under way: processes at once, threads after the step they are in."""

    def __init__(self) -> None:
        self._is_on = False
        self._ends: set[Callable[[], None]] = set()

    def now(self) -> None:
        self._is_on = True
        for end in tuple(self._ends):
            end()

    def __call__(self, records: Sequence[StepRecord]) -> None:
        """As a stop of a run."""
        if self._is_on:
            raise StateError("interrupted; the same command goes on")

    @contextmanager
    def ended_by(self, end: Callable[[], None]) -> Iterator[None]:
        """While something runs elsewhere that `end` ends."""
        self._ends.add(end)
        if self._is_on:
            end()
        try:
            yield
        finally:
            self._ends.discard(end)


def _attempt(folder: Path, workers: Workers, halt: _Halt) -> str:
    """One cell; why it failed, or nothing."""
    cluster = workers.cluster
    try:
        (folder / STDERR).unlink(missing_ok=True)  # a link that came with the folder would lead errors elsewhere
        if workers.models is None and cluster is None:
            return _in_process(folder, workers.count, halt)
        if cluster is not None:
            task = cluster.begin(carried_out, folder.resolve())
            with halt.ended_by(lambda: cluster.end([task])):
                cluster.results([task])
        else:
            with Run.open(folder, models=workers.models) as run:
                api.carry_out(run, halt)
    except SteepestError as error:
        return _line(str(error))
    except Exception as error:
        with suppress(OSError):  # it may be that nothing can be written there
            (folder / STDERR).write_text(traceback.format_exc(), "utf-8", errors="replace")
        return _line(f"{type(error).__name__}: {error}")
    return ""


def _in_process(folder: Path, workers: int, halt: _Halt) -> str:
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    said = folder / STDERR
    with said.open("wb") as errors:
        # Its standard input ends when this process does, however it dies; then the cell ends too.
        child = subprocess.Popen(
            processes.command("steepest.comparing.process", str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=processes.environment(OMP_NUM_THREADS=threads, OMP_WAIT_POLICY="PASSIVE"),
        )
        with child, halt.ended_by(child.terminate):
            code = child.wait()
    lines = said.read_text("utf-8", errors="replace").strip().splitlines()
    if code == 0:
        said.unlink()
        return ""
    return _line(lines[-1] if lines else f"its process ended with code {code}")


def _line(text: str) -> str:
    return " ".join(clean(text).split())
