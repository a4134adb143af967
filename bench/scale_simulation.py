"""How much faster are a GReaTer step and an evaluation over 1 to 64 replicas, where does that bend, and why?

Everything is simulated from costs measured here, in seconds of CPU, so that other work on the machine does not enter:

1. A search on the bundled model, and an evaluation of its prompt, are run in this process; every call is recorded with
   its texts, the tokens it wrote and what it took. Costs are fitted to that: of a call, of a decoding step, of a token.
2. What the driver pays is measured: sharing texts out, an answer that comes over Ray, its line in the journal.
3. The recorded calls are done again by 1 and 2 real replicas. The simulation must say what that takes.
4. The calls are simulated over up to 64 replicas, by the very code that shares work out, with replicas that are not
   equally fast from call to call (`--noise`), one call after the other, as a step's barriers will have it.

The last table is a supposition, not a measurement: the same calls with the costs of a larger model on a GPU.

    python bench/scale_simulation.py [--rows 300] [--noise 0.1] [--quick]
"""

# size: what is fitted, what is simulated and what is measured, side by side
from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from steepest import api, cluster
from steepest.calls import Call as Line
from steepest.calls import CallLog
from steepest.codec import encode
from steepest.engine import Run
from steepest.ledger import Limits
from steepest.models import open_model
from steepest.models.opening import Opened
from steepest.models.replicas.homes import Homes
from steepest.models.replicas.model import _CHARACTERS, _READ, _portions, _text
from steepest.spec import build
from steepest.tasks.loading import load_task
from steepest.types import Request, Response
from tiny import machine

REPLICAS = (1, 2, 4, 8, 16, 32, 64)
SEEDS = 5


@dataclass(frozen=True)
class Call:
    """A call of a model, as it was recorded."""

    kind: str
    arguments: tuple[Any, ...]
    texts: Sequence[str]
    """What is shared out."""
    written: Sequence[int] = ()
    """Tokens of each answer."""
    cpu: float = 0.0

    @cached_property
    def read(self) -> Sequence[float]:
        """Tokens to read of each text, about."""
        return [len(text) / _CHARACTERS for text in self.texts]

    @cached_property
    def sizes(self) -> Sequence[float]:
        """By which texts are shared out."""
        if self.kind != "generate":
            return self.read
        usual = statistics.fmean(self.written)
        return [_READ * len(text) + usual for text in self.texts]


class Workload:
    """Calls that follow one another, and how they are shared out."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self._shares: dict[int, list[list[list[int]]]] = {}

    def shares(self, count: int) -> list[list[list[int]]]:
        """Call by call and replica by replica, which texts it gets."""
        if count not in self._shares:
            homes = Homes()
            self._shares[count] = [homes.share_out(call.texts, call.sizes, count) for call in self.calls]
        return self._shares[count]


class Recorder:
    """A model that writes down what it is asked, and what that took."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.id, self.context, self.vocabulary = model.id, model.context, model.vocabulary
        self.encode, self.decode = model.encode, model.decode

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """See `Generates.generate`."""
        began = time.process_time()
        found = dict(self.model.generate(requests))
        took = time.process_time() - began
        texts, written = [_text(r.prompt) for r in requests], [found[i].output_tokens for i in range(len(requests))]
        self.calls.append(Call("generate", (requests,), texts, written, took))
        yield from found.items()

    def propose(self, rows: Any, ids: Any, position: int, k: int, allowed: Any = None) -> Any:
        """See `WhiteBox.propose`."""
        return self._timed("propose", [row.before for row in rows], (rows, ids, position, k, allowed))

    def gradient(self, rows: Any, ids: Any, positions: Any, among: Any, weights: Any = None, *more: Any) -> Any:
        """See `WhiteBox.gradient`."""
        texts = [row.before + row.after + row.reply + row.target for row in rows]
        return self._timed("gradient", texts, (rows, ids, positions, among, weights, *more))

    def loss(self, rows: Any, prompts: Any, *more: Any) -> Any:
        """See `WhiteBox.loss`."""
        texts = [row.before + row.after + row.reply + row.target for row in rows]
        return self._timed("loss", texts, (rows, prompts, *more))

    def _timed(self, kind: str, texts: Sequence[str], arguments: tuple[Any, ...]) -> Any:
        began = time.process_time()
        found = carry_out(self.model, Call(kind, arguments, texts))
        self.calls.append(Call(kind, arguments, texts, (), time.process_time() - began))
        return found


def carry_out(model: Any, call: Call) -> Any:
    """Have a recorded call done."""
    done: Callable[..., Any] = {
        "generate": lambda requests: list(model.generate(requests)),
        "propose": model.propose,
        "gradient": model.gradient,
        "loss": model.loss,
    }[call.kind]
    return done(*call.arguments)


@dataclass(frozen=True)
class Costs:
    """Seconds."""

    call: float
    """Of a replica, for each call."""
    step: float
    """For each decoding step."""
    token: float
    """For each token of an answer."""
    read: float
    """For each token read."""
    kinds: dict[str, tuple[float, float]]
    """White-box calls: for each, and for each token."""
    room: int
    """Texts that are written side by side."""
    portion: int
    """Texts below which no portion is cut."""
    share: float
    """Of the driver, to share a text out and send it."""
    message: float
    """Of the driver, for an answer that comes."""
    row: float
    """Of the driver, for a row of a white-box call; while replicas work."""
    journal: float
    """Of the driver, for a line of the journal."""


def fitted(columns: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Costs, none below 0, so that sums of them are the seconds, relative errors weighing alike."""
    weights = 1 / np.maximum(np.asarray(seconds), 1e-3)
    return list(nnls(np.asarray(columns) * weights[:, None], np.asarray(seconds) * weights)[0])


def costs_of(calls: Sequence[Call], room: int, driver: dict[str, float]) -> Costs:
    generate = [call for call in calls if call.kind == "generate"]
    columns = [[1.0, max(c.written), sum(c.written), sum(c.read)] for c in generate]
    each, step, token, read = fitted(columns, [call.cpu for call in generate])
    kinds = {}
    for kind in ("propose", "gradient", "loss"):
        some = [call for call in calls if call.kind == kind]
        if some:
            kinds[kind] = tuple(fitted([[1.0, sum(call.read)] for call in some], [call.cpu for call in some]))
    return Costs(each, step, token, read, kinds, room, room, **driver)


@dataclass
class Spent:
    """Where a call's seconds go."""

    total: float = 0.0
    ideal: float = 0.0
    """What replicas would take if work could be cut at will and a call cost nothing itself."""
    driver: float = 0.0
    """While no replica works."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.total + other.total, self.ideal + other.ideal, self.driver + other.driver)


@dataclass
class Cluster:
    """Simulated replicas and their driver."""

    costs: Costs
    count: int
    noise: float
    dice: random.Random

    def took(self, call: Call, shares: Sequence[list[int]]) -> Spent:
        """A call's time, up to the last answer in the journal."""
        speed = [self.dice.lognormvariate(0.0, self.noise) for _ in range(self.count)]
        begin = self.costs.share * len(call.texts)
        if call.kind == "generate":
            return self._generate(call, shares, speed, begin)
        ends = [speed[i] * self._shard(call, share) for i, share in enumerate(shares) if share]
        accounts = self.costs.row * len(call.texts)
        after = self.costs.message * len(ends) + self.costs.journal
        busy = max(max(ends), accounts)
        ideal = self.costs.kinds[call.kind][1] * sum(call.read) / self.count
        return Spent(begin + busy + after, ideal, begin + busy - max(ends) + after)

    def _shard(self, call: Call, share: Sequence[int]) -> float:
        each, token = self.costs.kinds[call.kind]
        return each + token * sum(call.read[i] for i in share)

    def _job(self, call: Call, job: Sequence[int]) -> float:
        costs, written = self.costs, [call.written[i] for i in job]
        # Where more texts than fit wait for room, steps go on for them.
        steps = max(max(written), sum(written) / costs.room)
        reading = costs.read * sum(call.read[i] for i in job)
        return costs.call + costs.step * steps + costs.token * sum(written) + reading

    def _generate(self, call: Call, shares: Sequence[list[int]], speed: Sequence[float], begin: float) -> Spent:
        queues = [deque(_portions(share, self.costs.portion)) for share in shares]
        free, arrivals = [begin] * self.count, list[float]()
        while any(queues):
            replica = min((i for i in range(self.count) if queues[i] or max(map(len, queues))), key=free.__getitem__)
            own = queues[replica]
            job = own.popleft() if own else max(queues, key=len).pop()
            took = speed[replica] * self._job(call, job)
            longest = max(call.written[i] for i in job)
            arrivals += [free[replica] + took * call.written[i] / longest for i in job]
            free[replica] += took
        handled = 0.0
        for arrival in sorted(arrivals):
            handled = max(handled, arrival) + self.costs.message + self.costs.journal
        costs = self.costs
        work = costs.token * sum(call.written) + costs.read * sum(call.read)
        # Steps are shared only as far as batches are full.
        work += costs.step * max(max(call.written), sum(call.written) / costs.room)
        return Spent(handled, work / self.count, begin + handled - max(arrivals))


def simulated(work: Workload, costs: Costs, count: int, noise: float) -> Spent:
    """Calls one after the other, the mean of some seeds."""
    runs = []
    for seed in range(SEEDS if noise else 1):
        cluster_ = Cluster(costs, count, noise, random.Random(seed))
        runs.append(sum(map(cluster_.took, work.calls, work.shares(count)), Spent()))
    return Spent(
        *(statistics.fmean(values) for values in zip(*((r.total, r.ideal, r.driver) for r in runs), strict=True))
    )


@dataclass(frozen=True)
class Recorded:
    """A search of one step and an evaluation of its prompt, by a model that had read nothing before."""

    before: Sequence[Call]
    """What came before the step."""
    step: Sequence[Call]
    evaluation: Sequence[Call]
    batch_tokens: int


def recorded(rows: int, share: float) -> Recorded:
    """With so many rows in the evaluation, and a share of those that the task has in the step."""
    source = load_task("arithmetic")
    model = open_model("bundled", threads=1)
    recorder = Recorder(model)
    train, dev = (some[: round(share * len(some))] for some in (source.task.train, source.task.dev))
    source = replace(source, task=replace(source.task, train=train, dev=dev))
    method = replace(build("greater"), rows=round(share * build("greater").rows))
    plan = api.make_plan(method, source, {"task": Opened("bundled", recorder)}, 0, Limits(steps=1), {})
    with tempfile.TemporaryDirectory() as folder, Run.create(Path(folder) / "run", plan) as run:
        run.advance()
        first = len(recorder.calls)
        run.advance()
        last = len(recorder.calls)
        prompt = run.records[-1].best.candidate
    examples = [*source.test, *load_task("arithmetic").task.dev][:rows]
    asked = [Request(source.task.template.render(prompt.text, example), max_tokens=256) for example in examples]
    list(recorder.generate(asked))
    calls = recorder.calls
    return Recorded(calls[:first], calls[first:last], calls[last:], model.loaded.batch_tokens)


def driver_costs(calls: Sequence[Call], replay: Sequence[Replayed]) -> dict[str, float]:
    """What the driver pays, by its CPU while it had the calls done, and by timing the journal."""
    written = [each for each in replay if each.call.kind == "generate"]
    homes = Homes()
    began = time.process_time()
    for call in calls:
        homes.share_out(call.texts, call.read, 8)
    share = (time.process_time() - began) / sum(len(call.texts) for call in calls)
    answers = sum(len(each.call.texts) for each in written)
    message = max(0.0, sum(each.driver for each in written) / answers - share)
    others = [each for each in replay if each.call.kind != "generate"]
    row = max(0.0, sum(each.driver for each in others) / sum(len(each.call.texts) for each in others) - share)
    return {"share": share, "message": message, "row": row, "journal": journal_cost(written[0].call)}


def journal_cost(call: Call) -> float:
    request, response = encode(call.arguments[0][0]), encode(Response("x" * 150, 60, 60))
    with tempfile.TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        began = time.process_time()
        for n in range(2000):
            log.append(Line(f"{n:016d}", 0, "task", "model", "generate", request, response))
        return (time.process_time() - began) / 2000


@dataclass(frozen=True)
class Replayed:
    """A call that real replicas have done."""

    call: Call
    longest: float
    """CPU of the replica that had most to do."""
    driver: float
    wall: float


def replayed(what: Recorded, count: int) -> list[Replayed]:
    """The step and the evaluation done again by new replicas, once these have done what came before."""
    model = open_model("bundled", replicas=count, threads=1)
    pids, found = model.pids, []
    for call in what.before:
        carry_out(model, call)
    calls = [*what.step, *what.evaluation]
    for call in calls:
        before, began, wall = [cpu_of(pid) for pid in pids], time.process_time(), time.perf_counter()
        carry_out(model, call)
        driver, passed = time.process_time() - began, time.perf_counter() - wall
        worked = max(cpu_of(pid) - b for pid, b in zip(pids, before, strict=True))
        found.append(Replayed(call, worked, driver, passed))
    return found


def cpu_of(pid: int) -> float:
    """Seconds of CPU that all threads of a process have had."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def validate(name: str, work: Workload, costs: Costs, replays: dict[int, list[Replayed]]) -> None:
    for count, replay in replays.items():
        mine = [each for each in replay if any(each.call is call for call in work.calls)]
        real = sum(each.longest for each in mine)
        quiet = replace(costs, share=0.0, message=0.0, row=0.0, journal=0.0)
        found = simulated(work, quiet, count, 0.0).total
        wall = sum(each.wall for each in mine)
        print(
            f"{name:<12}{count:>9}{real:>12.2f}{found:>12.2f}{found / real - 1:>+9.0%}"
            f"{sum(each.driver for each in mine):>12.2f}{wall:>10.2f}"
        )


def table(title: str, work: Workload, costs: Costs, noise: float) -> None:
    print(f"\n{title}\n{'replicas':>8}{'seconds':>10}{'speed-up':>10}{'shared':>9}{'unshared':>9}{'driver':>9}")
    first = simulated(work, costs, 1, noise).total
    for count in REPLICAS:
        found = simulated(work, costs, count, noise)
        # What each replica pays itself, a call's own costs and decoding steps of batches that are not full, and waiting
        # for the slowest.
        unshared = found.total - found.ideal - found.driver
        shares = "".join(f"{part / found.total:>9.0%}" for part in (found.ideal, unshared, found.driver))
        print(f"{count:>8}{found.total:>10.2f}{first / found.total:>10.1f}{shares}")


def remedies(name: str, work: Workload, costs: Costs, noise: float) -> None:
    """The speed-up at 16 and 64 replicas if one thing were otherwise."""
    larger = [
        replace(c, texts=[f"{i} {t}" for i in range(4) for t in c.texts], written=[*c.written] * 4) for c in work.calls
    ]
    changes: list[tuple[str, Workload, Costs, float]] = [
        ("as it is", work, costs, noise),
        ("all replicas equally fast", work, costs, 0.0),
        ("answers in messages of ten", work, replace(costs, message=costs.message / 10), noise),
        ("portions of a fourth of a batch", work, replace(costs, portion=max(1, costs.room // 4)), noise),
        ("no driver at all", work, replace(costs, share=0.0, message=0.0, row=0.0, journal=0.0), noise),
        ("four times the rows", Workload(larger), costs, noise),
    ]
    print(f"\n{name}: speed-up if{'16':>24}{'64':>8}")
    for what, some, changed, uneven in changes:
        first = simulated(some, costs, 1, noise).total
        ups = "".join(f"{first / simulated(some, changed, count, uneven).total:>8.1f}" for count in (16, 64))
        print(f"  {what:<34}{ups}")


def main() -> None:  # size: options, and three tables one after another
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300, help="of the evaluation")
    parser.add_argument("--noise", type=float, default=0.1, help="of a replica's speed, log-normal, call by call")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    print(machine())
    cluster.connect(cores=4)
    sizes = (0.25, 0.5) if given.quick else (0.25, 0.5, 1.0)
    runs = [recorded(round(share * given.rows), share) for share in sizes]
    step, evaluation = runs[-1].step, runs[-1].evaluation
    replays = {count: replayed(runs[-1], count) for count in (1, 2)}
    every = [call for run in runs for call in (*run.before, *run.step, *run.evaluation)]
    longest = max(len(text) / _CHARACTERS for call in every for text in call.texts)
    driver = driver_costs([*step, *evaluation], replays[1])
    costs = costs_of(every, int(runs[-1].batch_tokens / (longest + 256)), driver)
    kinds = ", ".join(
        f"{len([c for c in step if c.kind == kind])} {kind}" for kind in dict.fromkeys(c.kind for c in step)
    )
    print(
        f"\nThe step: {kinds}; {sum(len(c.texts) for c in step):,} texts. The evaluation: {len(evaluation[0].texts):,}."
    )
    print(
        f"Costs, ms: call {1e3 * costs.call:.1f}, decoding step {1e3 * costs.step:.2f}, token {1e3 * costs.token:.3f}, "
        f"token read {1e3 * costs.read:.3f}; "
        + "; ".join(f"{kind} {1e3 * a:.1f} and {1e3 * b:.3f} a token" for kind, (a, b) in costs.kinds.items())
    )
    print(
        f"Driver, ms: a text shared out {1e3 * costs.share:.3f}, an answer {1e3 * costs.message:.3f}, a row "
        f"{1e3 * costs.row:.3f}, a line of the journal {1e3 * costs.journal:.3f}"
    )
    print(f"\n{'':<12}{'replicas':>9}{'real, s':>12}{'simulated':>12}{'error':>9}{'driver, s':>12}{'wall, s':>10}")
    works = {"step": Workload(step), "evaluation": Workload(evaluation)}
    for name, work in works.items():
        validate(name, work, costs, replays)
    for name, work in works.items():
        table(f"{name}, simulated", work, costs, given.noise)
        remedies(name, work, costs, given.noise)
    supposed = replace(costs, call=0.02, step=0.025, token=1e-4, read=3e-5, room=256, portion=256)
    supposed = replace(supposed, kinds={kind: (0.02, 3e-4 if kind == "gradient" else 1e-4) for kind in costs.kinds})
    for name, work in works.items():
        table(f"{name}, supposing a GPU, 25 ms a decoding step of up to 256 texts", work, supposed, given.noise)


if __name__ == "__main__":
    main()
