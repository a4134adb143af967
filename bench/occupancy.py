"""How busy does a whole run keep an endpoint's slots?

A stub server answers after a time that the request's content decides: log-normal around MEDIAN for answers to rows,
several times longer for what an optimizer writes. A few replies cannot be used and are asked for again. Whole runs at
the papers' settings, the referee's questions included, journal on; occupancy is the busy time of all slots over slots
times wall time, by the server's clock. Idle slots are put down to what the oldest request under way was for: that is
what the others waited for.

Time is virtual unless `--median` is given: the clock jumps to the next answer whenever the program waits, so that
the program's own time counts as nothing and the figures are the same on any machine. With `--median` the server is a
process of its own on loopback, and seconds are real.

What could be reached is told by the same run with endless slots, whose time is the longest chain of questions of which
each needs the answer before: 32 slots can be busy for no more than packed time / max(packed time, chain). Beside it
stands the same where the referee's questions would be asked beside the next step, which the program does not do.

    python bench/occupancy.py [--steps 3] [--median 0.1] [--methods protegi opro pe2 gradsum]
"""

# size: a server, a clock, the runs and their bound, read from top to bottom
from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import multiprocessing
import random
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from aiohttp import web

from steepest import api, asking, spec
from steepest.engine import Limits, Run
from steepest.events import CallsAnswered, Event, StepCommitted
from steepest.models import open_model
from steepest.models.opening import Opened
from steepest.tasks.judge import Judge
from steepest.tasks.loading import TaskSpec, load_task
from steepest.tasks.source import TaskSource
from steepest.types import Request, Response

SLOTS = 32
METHODS = ("protegi", "opro", "pe2", "gradsum", "gradsum by a rule")
"""GRAD-SUM's rows are rated by a judge, as in its paper; "by a rule" they cost one short call each."""
ENDLESS = 512
"""Slots that a run cannot fill."""
TARGET = 0.6
SPREAD = 0.5
"""Of the logarithm of service times."""
LENGTHS: Mapping[str, float] = {"row": 1, "rating": 2, "critique": 4, "summary": 4, "prompt": 4, "reasoning": 8}
"""Service times, in medians of an answer to a row."""
UNUSABLE = 0.02
"""Share of the optimizer's replies whose tags are not closed."""
MARKS: Mapping[str, str] = {
    "row": "Question ",
    "rating": "in <rating> tags",
    "critique": "Number of different reasons|in <feedback> tags",
    "summary": "in <summary> tags",
    "prompt": "in <prompt>|<prompt> tags|Put the new prompt|Write the new prompt|Put the prompt",
}
"""What the last message holds, by kind; anything else is reasoning."""
WORDS = re.findall(
    r"\w+",
    "read carefully think stepwise count check every unit before you write down the final number "
    "slowly list known facts name what is asked then add each part twice keep order say result once",
)


@dataclass(frozen=True)
class Busy:
    """One request as the server saw it."""

    start: float
    end: float
    kind: str


@dataclass(frozen=True)
class Occupied:
    """How busy a run kept the slots."""

    wall: float
    calls: int
    busy: float
    """Slot-seconds."""
    waste: Mapping[str, float]
    """Idle slot-seconds, by what was waited for."""
    spent: Mapping[str, float]
    """Busy slot-seconds by kind."""

    @property
    def share(self) -> float:
        """Mean occupancy."""
        return self.busy / (SLOTS * self.wall)


def kind_of(text: str) -> str:
    """What a message asks for, by its end."""
    tail = text[-400:]
    for kind in ("rating", "critique", "summary", "prompt"):
        if any(mark in tail for mark in MARKS[kind].split("|")):
            return kind
    return "row" if MARKS["row"] in text and "Answer: " not in text and "<" not in text else "reasoning"


def dice(body: Mapping[str, Any], what: str) -> random.Random:
    """Dice that fall by what is asked, and not by when."""
    content = json.dumps([body["messages"], body.get("seed"), what])
    return random.Random(hashlib.sha256(content.encode()).digest())


def reply(body: Mapping[str, Any], kind: str) -> str:
    """An answer to a row, right more often under some prompts than under others; or every tag at once."""
    if kind == "row":
        turn = body["messages"][-1]["content"]
        question, _, prompt = turn.partition("\n")
        skill = 0.45 + 0.4 * random.Random(prompt).random()
        return question.split()[1] if dice(body, "right").random() < skill else "-1"
    words = dice(body, "words")
    if kind == "rating":
        message = body["messages"][-1]["content"]
        asked, answer = (re.search(rf"{label} (?:Question )?(-?\d+)", message) for label in ("Input:", "Model answer:"))
        right = bool(asked and answer and asked.group(1) == answer.group(1))
        return f"<explanation>{' '.join(words.choices(WORDS, k=20))}</explanation><rating>{right:d}</rating>"
    said = {tag: " ".join(words.choices(WORDS, k=28)) for tag in ("feedback", "prompt")}
    reasons = "".join(f"<reason>{' '.join(words.choices(WORDS, k=16))}</reason>" for _ in range(4))
    summary = " ".join(words.choices(WORDS, k=60))
    if kind == "reasoning":
        return " ".join(words.choices(WORDS, k=200))
    if words.random() < UNUSABLE:
        return "I cannot put this into tags."
    return (
        f"{reasons}<feedback>{said['feedback']}</feedback><summary>{summary}</summary><prompt>{said['prompt']}</prompt>"
    )


def service(body: Mapping[str, Any], kind: str) -> float:
    """How long an answer takes, in medians of an answer to a row."""
    return LENGTHS[kind] * math.exp(SPREAD * NormalDist().inv_cdf(dice(body, "time").random()))


def serve(told: Connection, median: float) -> None:
    """Answer chat completions after their time, and tell when each began and ended."""
    log: list[Busy] = []

    async def chat(request: web.Request) -> web.Response:
        start = time.monotonic()
        body = json.loads(await request.read())
        kind = kind_of(body["messages"][-1]["content"])
        length = median * service(body, kind)
        message = {"role": "assistant", "content": reply(body, kind)}
        usage = {"prompt_tokens": 90, "completion_tokens": 60, "total_tokens": 150}
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        await asyncio.sleep(max(0.0, start + length - time.monotonic()))
        log.append(Busy(start, time.monotonic(), kind))
        return web.json_response(answer)

    async def seen(_: web.Request) -> web.Response:
        rows = [[each.start, each.end, each.kind] for each in log]
        log.clear()
        return web.json_response(rows)

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", chat), web.get("/seen", seen)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def task(train: int, dev: int, is_judged: bool) -> TaskSource:
    """Rows whose answer is told, so that the stub can be right."""
    rows = [
        {"id": f"r{i}", "input": f"Question {1000 + i} ?", "target": str(1000 + i)} for i in range(train + dev + 200)
    ]
    source = load_task(TaskSpec(rows, layout="{input}\n{prompt}"), "Answer the question.")
    every = [*source.task.train, *source.task.dev, *source.test]
    parts = {"train": tuple(every[:train]), "dev": tuple(every[train : train + dev])}
    judge = {"metric": Judge("The number is that of the question."), "extractor": ""} if is_judged else {}
    return replace(source, task=replace(source.task, **parts, **judge), test=tuple(every[train + dev :]))


def occupied(log: Sequence[Busy]) -> Occupied:
    """Busy and idle slot-seconds of a run."""
    begin, end = min(each.start for each in log), max(each.end for each in log)
    edges = sorted(
        [(each.start, 1, i) for i, each in enumerate(log)] + [(each.end, 0, i) for i, each in enumerate(log)]
    )
    running: dict[int, None] = {}
    waste: dict[str, float] = defaultdict(float)
    spent: dict[str, float] = defaultdict(float)
    before = begin
    for now, is_start, i in edges:
        oldest = log[next(iter(running))].kind if running else "the client"
        waste[oldest] += (now - before) * max(0, SLOTS - len(running))
        before = now
        if is_start:
            running[i] = None
        else:
            del running[i]
            spent[log[i].kind] += log[i].end - log[i].start
    return Occupied(end - begin, len(log), sum(spent.values()), waste, spent)


def run(name: str, url: str, steps: int, source: TaskSource, slots: int = SLOTS) -> tuple[Occupied, str]:
    """A run of a method, and what its states are, as a hash."""
    with TemporaryDirectory() as folder, closing(open_model(f"openai:stub@{url}", concurrency=slots)) as model:
        plan = api.make_plan(
            spec.build({"use": name.split()[0]}),
            source,
            {"task": Opened(f"openai:stub@{url}", model)},
            0,
            Limits(steps=steps),
            {},
        )
        urlopen(url.replace("/v1", "/seen")).read()
        with Run.create(Path(folder) / "run", plan) as search:
            for _ in search.until():
                pass
            states = hashlib.sha256(repr([record.state for record in search.records]).encode()).hexdigest()[:12]
        log = [Busy(*row) for row in json.load(urlopen(url.replace("/v1", "/seen")))]
    return occupied(log), states


class Clock:
    """Virtual time: requests under way, and those that wait for a slot."""

    def __init__(self, slots: int) -> None:
        self.now = 0.0
        self.log: list[Busy] = []
        self.referee = self.last = self._decided = 0.0
        """Time in which the referee asked, in all and in the last step."""
        self._slots = slots
        self._running: list[tuple[float, int, Busy, Callable[[], None]]] = []
        self._waiting: deque[tuple[float, str, Callable[[], None]]] = deque()
        self._begun = count()

    def begin(self, length: float, kind: str, answer: Callable[[], None]) -> None:
        """Take a request, first come, first served; `answer` gives its answer when its time has come."""
        self._waiting.append((length, kind, answer))
        self._fill()

    def jump(self) -> None:
        """To the next answer."""
        self.now, _, busy, answer = heappop(self._running)
        self.log.append(busy)
        self._fill()
        answer()

    def observe(self, event: Event) -> None:
        """Add up the referee's time."""
        match event:
            case CallsAnswered(phase="step"):
                self._decided = self.now
            case StepCommitted():
                self.last = self.now - self._decided
                self.referee += self.last
            case _:
                pass

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            length, kind, answer = self._waiting.popleft()
            end = self.now + length
            heappush(self._running, (end, next(self._begun), Busy(self.now, end, kind), answer))


class Virtual:
    """The stub as a model in this process that answers by a virtual clock."""

    id = "stub"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Nobody asks so."""
        raise NotImplementedError

    def begin(
        self,
        requests: Sequence[Request],
        answered: Callable[[int, Response], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        """See `Overlaps`."""
        for index, request in enumerate(requests):
            turns = [request.prompt] if isinstance(request.prompt, str) else [m.content for m in request.prompt]
            body = {"messages": [{"content": turn} for turn in turns], "seed": request.seed}
            kind = kind_of(turns[-1])
            self._clock.begin(service(body, kind), kind, partial(answered, index, Response(reply(body, kind), 90, 60)))
        return lambda: None


class Waiting(SimpleQueue[Any]):
    """A queue whose emptiness moves a virtual clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next item."""
        while self.empty():
            self._clock.jump()
        return super().get()


def imagined(name: str, steps: int, source: TaskSource, slots: int = SLOTS) -> tuple[Occupied, str, Clock]:
    """A run in virtual time."""
    clock = Clock(slots)
    model = Virtual(clock)
    # Where the program waits is the one place in which virtual time can pass.
    asking.SimpleQueue = lambda: Waiting(clock)  # type: ignore[assignment, misc]
    method = spec.build({"use": name.split()[0]})
    plan = api.make_plan(method, source, {"task": Opened("", model)}, 0, Limits(steps=steps), {})
    with TemporaryDirectory() as folder, Run.create(Path(folder) / "run", plan, [clock.observe]) as search:
        for _ in search.until():
            pass
        states = hashlib.sha256(repr([record.state for record in search.records]).encode()).hexdigest()[:12]
    return occupied(clock.log), states, clock


def imagine(name: str, steps: int, source: TaskSource) -> str:
    """What is printed of a run in virtual time, in medians of an answer to a row."""
    found, states, _ = imagined(name, steps, source)
    endless, same, clock = imagined(name, steps, source, ENDLESS)
    assert states == same, "states must not depend on time"
    packed = found.busy / SLOTS
    beside = endless.wall - clock.referee + clock.last
    most, beyond = (packed / max(packed, chain) for chain in (endless.wall, beside))
    return (
        f"{told(name, found, states)}\n"
        f"           longest chain {endless.wall:.0f}: at most {most:.0%}, of which {found.share / most:.0%} is "
        f"reached; with the referee beside the next step at most {beyond:.0%}"
    )


def told(name: str, of: Occupied, states: str) -> str:
    """What is printed of a run."""
    lines = [
        f"{name} occupancy {of.share:4.0%} of {SLOTS} slots{'' if of.share >= TARGET else f' (target {TARGET:.0%})'}: "
        f"{of.calls:,} calls, {of.wall:.1f} s, packed without a gap {of.busy / SLOTS:.1f} s; states {states}"
    ]
    for kind in sorted(of.waste, key=lambda kind: -of.waste[kind]):
        idle = of.waste[kind] / (SLOTS * of.wall)
        busy = of.spent.get(kind, 0.0) / (SLOTS * of.wall)
        lines.append(f"           {kind:10} busy {busy:4.0%}   others idle, waiting for it {idle:4.0%}")
    return "\n".join(lines)


def main() -> None:
    """Print each method's occupancy and where it waits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--median", type=float, help="seconds of an answer to a row; real time")
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--dev", type=int, default=150)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    args = parser.parse_args()
    if args.median is None:
        for name in args.methods:
            print(imagine(name, args.steps, task(args.train, args.dev, name == "gradsum")), flush=True)
        return
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, args.median), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/v1"
    try:
        for name in args.methods:
            source = task(args.train, args.dev, name == "gradsum")
            found, states = run(name, url, args.steps, source)
            print(told(name, found, states), flush=True)
            if found.share < TARGET:
                # What no number of slots makes faster: the longest reply of each stage, one stage after another.
                chain = run(name, url, args.steps, source, slots=ENDLESS)[0].wall
                most = found.busy / SLOTS / max(chain, found.busy / SLOTS)
                print(f"           with {ENDLESS} slots {chain:.1f} s: {SLOTS} are {most:.0%} busy at most")
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
