"""What does everything around the model cost: the import, the engine and its journal, the report, memory?

A search by OPRO with a model that answers at once makes `--calls` calls: what it takes is the engine's and the
journal's own. Its folder is then opened again and reported on, each in a process of its own. Searches with the
bundled model say which share of a run's processor time passes outside the model.

    python bench/overhead.py [--calls 100000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from steepest import spec
from steepest.engine import Run
from steepest.ledger import Limits
from steepest.models.opening import Opened, opened
from steepest.models.scripted import Scripted, text_of
from steepest.plan import Plan
from steepest.reporting import html
from steepest.tasks.judge import Judge
from steepest.tasks.metrics import ExactMatch
from steepest.tasks.task import Task, Template
from steepest.types import Example, Request, Row, content_id

CLOCK = time.process_time
"""Of searches: processor time, since shares of it do not depend on what else the machine does."""
ROWS = 100
"""Training rows."""
ENDPOINT = 32 / 0.5
"""Calls a second of a fast endpoint: 32 at a time, each answered in half a second."""
SCRIPT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
IMPORTS = {"import steepest": "0.3 s", "from steepest import optimize": ""}


@dataclass
class Timed:
    """A model whose own time is kept."""

    model: Any
    seconds: float = 0.0
    calls: int = 0

    @property
    def id(self) -> str:
        """Of the model."""
        return str(self.model.id)

    def generate(self, requests: Sequence[Request]) -> Iterator[Any]:
        """As the model's."""
        answers = self._timed(lambda: self.model.generate(requests))
        while (answer := self._timed(lambda: next(answers, None))) is not None:
            self.calls += 1
            yield answer

    def _timed(self, run: Callable[[], Any]) -> Any:
        started = CLOCK()
        try:
            return run()
        finally:
            self.seconds += CLOCK() - started


@dataclass
class TimedWhiteBox(Timed):
    """The same with gradients. A vocabulary and a context are no work."""

    vocabulary: Sequence[str] = field(default_factory=list)
    context: int = 0

    def __post_init__(self) -> None:
        self.vocabulary, self.context = self.model.vocabulary, self.model.context

    def encode(self, text: str, before: str = "") -> Any:
        """As the model's."""
        return self._timed(lambda: self.model.encode(text, before))

    def decode(self, ids: Sequence[int]) -> Any:
        """As the model's."""
        return self._timed(lambda: self.model.decode(ids))

    def propose(self, rows: Sequence[Row], *args: Any) -> Any:
        """As the model's."""
        return self._timed(lambda: self.model.propose(rows, *args))

    def gradient(self, rows: Sequence[Row], *args: Any) -> Any:
        """As the model's."""
        return self._timed(lambda: self.model.gradient(rows, *args))

    def loss(self, rows: Sequence[Row], *args: Any) -> Any:
        """As the model's."""
        return self._timed(lambda: self.model.loss(rows, *args))


def said(request: Request) -> str:
    """An answer that costs nothing: right or wrong by a hash, and a new prompt where one is asked for."""
    asked = text_of(request.prompt)
    if "<prompt>" in asked:
        return f"<prompt>Think about step {content_id(asked, str(request.seed))} and answer.</prompt>"
    a, _, b = asked.partition("\n")[0].removeprefix("What is ").rstrip("?").partition(" + ")
    return str(int(a) + int(b) + int(content_id(asked), 16) % 2)


def sums(train: int, dev: int, test: int) -> tuple[Task, tuple[Example, ...]]:
    """Rows that differ, and the task of adding."""
    rows = tuple(Example(f"row-{n}", f"What is {n} + {n * n}?", str(n + n * n)) for n in range(train + dev + test))
    task = Task("sums", rows[:train], rows[train : train + dev], Template(), ExactMatch(), max_tokens=32)
    return task, rows[train + dev :]


def memory() -> float:
    """Most memory that this process has held so far, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if platform.system() == "Darwin" else 1e3)


@dataclass(frozen=True)
class Search:
    """What a search with the instant model took."""

    calls: int
    steps: int
    seconds: float
    """Outside the model."""
    finishing: float
    begun: float
    """MB before the first step."""
    half: float
    """MB after half of the calls."""
    full: float
    """MB at the end."""


def search(folder: Path, calls: int) -> Search:
    """A run of so many calls, to its result."""
    task, test = sums(ROWS, 200, 500)
    model = Timed(Scripted(said, "instant"))
    named = Opened("scripted", model)
    method = spec.build({"use": "opro", "rows": ROWS})
    plan = Plan(method, task, test, {"task": named, "optimizer": named}, limits=Limits(steps=10**6))
    begun, half, started = memory(), 0.0, CLOCK()
    with Run.create(folder, plan) as run:
        for _ in run.until():
            if model.calls >= calls / 2 and not half:
                half = memory()
            if model.calls >= calls:
                break
        searched = CLOCK() - started - model.seconds
        ended, before = CLOCK(), model.seconds
        run.finish(f"{calls:,} calls")
        finishing = CLOCK() - ended - (model.seconds - before)
        return Search(model.calls, len(run.records), searched, finishing, begun, half, memory())


@dataclass(frozen=True)
class Took:
    """Seconds, and the memory before and at most."""

    seconds: float
    before: float
    most: float


def report(folder: Path) -> Took:
    """Write the report."""
    before, started = memory(), time.perf_counter()
    html.write(folder)
    return Took(time.perf_counter() - started, before, memory())


def reopen(folder: Path) -> Took:
    """Open the run to go on with it."""
    model = Scripted(said, "instant")
    before, started = memory(), time.perf_counter()
    Run.open(folder, models={"task": model, "optimizer": model}).close()
    return Took(time.perf_counter() - started, before, memory())


@dataclass(frozen=True)
class Shared:
    """A run with the bundled model."""

    seconds: float
    model: float
    calls: int


def bundled(method: dict[str, Any], steps: int, folder: Path) -> Shared:
    """Some steps of a method, and the end."""
    from steepest.bundled import source

    rows = source("arithmetic", test=100)
    named = opened("bundled", {"threads": 1})
    model = TimedWhiteBox(named.model)
    roles = {role: Opened(named.name, model, named.options) for role in ("task", "optimizer")}
    built = spec.build(method)
    plan = Plan(built, rows.task, rows.test, {role: roles[role] for role in built.needs}, limits=Limits(steps=steps))
    started = CLOCK()
    with Run.create(folder, plan) as run:
        for _ in run.until():
            pass
        run.finish()
    return Shared(CLOCK() - started, model.seconds, model.calls)


def reading(folder: Path) -> float:
    """CPU seconds to find and compare the number in an answer, over the task's answers of a run."""
    from steepest.bundled import source

    rows = source("arithmetic", test=100)
    with (folder / "calls.jsonl").open(encoding="utf-8") as lines:
        texts = [call["response"]["text"] for call in map(json.loads, lines) if call["role"] == "task"]
    metric, row, took = rows.task.metric, rows.task.train[0], []
    assert not isinstance(metric, Judge)
    for _ in range(5):
        started = CLOCK()
        for text in texts:
            metric(row, text)
        took.append((CLOCK() - started) / len(texts))
    return min(took)


def alone(run: Callable[..., Any], *args: Any) -> Any:
    """The result of a call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, *args).result()


def imports(statement: str, times: int = 9) -> list[float]:
    """Seconds of an import in fresh processes."""
    command = [sys.executable, "-c", SCRIPT.format(statement)]
    return [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(times)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=6, help="of the searches with the bundled model")
    parser.add_argument("--quick", action="store_true", help="10,000 calls, two steps with the bundled model")
    args = parser.parse_args()
    calls, steps = (10_000, 2) if args.quick else (args.calls, args.steps)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today().isoformat()}\n")
    print("| what | measured | target |\n|---|---|---|")
    for statement, target in IMPORTS.items():
        taken = imports(statement)
        line(f"`{statement}`, median (least)", f"{statistics.median(taken):.3f} s ({min(taken):.3f} s)", target)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        instant(folder / "instant", calls)
        for name, method in (
            ("greater", {"use": "greater"}),
            ("greater, preset=paper", {"use": "greater", "preset": "paper"}),
            ("opro", {"use": "opro", "preset": "small"}),
        ):
            found = alone(bundled, method, steps, folder / name)
            outside = found.seconds - found.model
            text = f"{100 * outside / found.seconds:.1f} % of {found.seconds:.1f} s, {found.calls:,} answers"
            line(f"outside the bundled model, {name}, {steps} steps", text, "5 %")
        line("reading a number out of such an answer", f"{1e6 * alone(reading, folder / 'opro'):.0f} µs", "")


def instant(folder: Path, calls: int) -> None:
    """The lines about the search with the instant model."""
    found = alone(search, folder, calls)
    each, name = found.seconds / found.calls, f"{found.calls:,} calls in {found.steps:,} steps"
    line(f"engine and journal, {name}", f"{1e6 * each:.0f} µs a call", "")
    line("... their share beside an endpoint of 64 calls a second", f"{100 * each * ENDPOINT:.1f} %", "5 %")
    line("... finishing", f"{found.finishing:.2f} s", "")
    grown = 1e3 * (found.full - found.half) / (found.calls / 2)
    line("... memory at the end", f"{found.full:.0f} MB, {found.begun:.0f} MB before", "")
    line("... its growth over the second half", f"{grown:.2f} kB a call", "")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    line("... the run folder", f"{size / 1e6:.0f} MB", "")
    took = alone(report, folder)
    line(f"report, {name}", f"{took.seconds:.2f} s, {took.most - took.before:.0f} MB more", "5 s")
    took = alone(reopen, folder)
    line(f"opening again, {name}", f"{took.seconds:.2f} s, {took.most - took.before:.0f} MB more", "")


def line(what: str, measured: str, target: str) -> None:
    """One line of the table."""
    print(f"| {what} | {measured} | {target} |", flush=True)


if __name__ == "__main__":
    main()
