"""What a run will cost, before anything is paid: calls by the method's formula, tokens by a rehearsal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.costs import Costs, per_row
from steepest.errors import SteepestError
from steepest.ledger import UNLIMITED, Ledger
from steepest.models import WhiteBox
from steepest.models.scripted import text_of
from steepest.plan import Plan
from steepest.tasks.judge import Judge
from steepest.tasks.task import Task
from steepest.types import Request, Response, Usage

REHEARSED = 20_000
"""More calls than this in the first two steps are not rehearsed."""
SHOWN = 50
"""Dev rows by which the length of questions is judged."""
BYTES_PER_TOKEN = 4
"""Of English text, about."""
MADE_UP = "(a made-up answer)"
_WORDS = ("carefully", "slowly", "briefly", "exactly", "twice", "first", "again", "aloud", "kindly", "plainly")


@dataclass(frozen=True, slots=True)
class Part:
    """What one role does in a run."""

    role: str
    model: str
    init: int
    """The most calls at step 0."""
    step: int
    """The most calls at each further step."""
    request: Usage | None
    """What a call reads, about, and writes at most, with its price; None where that is not known beforehand."""

    def total(self, steps: int) -> Usage:
        """The most of it, after so many steps; without tokens where these are not known."""
        calls, each = self.init + steps * self.step, self.request or Usage()
        return Usage(calls, calls * each.prompt_tokens, calls * each.output_tokens, dollars=calls * each.dollars)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run costs at most, before anything is paid."""

    search: Sequence[Part]
    """Role by role: what limits count."""
    measuring: Sequence[Part]
    """Dev rows at every step; on top."""
    test: Sequence[Part]
    """Both prompts on the test rows; once, at the end."""
    message: str
    """The first message to the optimizer; empty where there is none or it could not be rehearsed."""


def forecast(plan: Plan) -> Forecast:
    """What a run by this plan costs at most. Asks no model and writes nothing."""
    costs = with_judge(plan.method.costs(plan.task), plan.task)
    heard = _rehearsed(plan, costs)
    each = per_row(plan.task)
    asked = heard or {"task": _initial(plan)}
    dev, test = each * len(plan.task.dev), 2 * each * len(plan.test)
    return Forecast(
        search=_parts(plan, costs, heard),
        measuring=_parts(plan, with_judge(Costs({"task": 2 * dev}, {"task": dev}), plan.task), asked),
        test=_parts(plan, with_judge(Costs({"task": test}, {}), plan.task), asked),
        message=heard["optimizer"].first if "optimizer" in heard else "",
    )


def with_judge(costs: Costs, task: Task) -> Costs:
    """The same with the judge's calls, at most two to each answer, where the method does not tell them."""
    if not isinstance(task.metric, Judge) or "judge" in {*costs.init, *costs.step}:
        return costs
    init, step = ({**calls, "judge": 2 * calls.get("task", 0)} for calls in (costs.init, costs.step))
    return Costs(init, step)


@dataclass
class _Rehearsal:
    """A model that takes note of what it is asked and says something usable, at no cost."""

    role: str
    slots: str
    """What its prompts must hold."""
    first: str = ""
    calls: int = 0
    read: int = 0
    written: int = 0

    @property
    def id(self) -> str:
        return f"rehearsal of {self.role}"

    def hear(self, request: Request) -> None:
        turns = [request.prompt] if isinstance(request.prompt, str) else [turn.content for turn in request.prompt]
        asked = "\n\n".join(turns)
        self.first = self.first or asked
        self.calls += 1
        self.read += len(asked.encode())
        self.written += request.max_tokens

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        for index, request in enumerate(requests):
            self.hear(request)
            said = MADE_UP if self.role == "task" else _reply(f"{text_of(request.prompt)} {request.seed}", self.slots)
            yield index, Response(said)


def _reply(asked: str, slots: str) -> str:
    """Something usable in every tag, another prompt for each request."""
    digest = hashlib.sha256(asked.encode()).digest()
    prompt = " ".join(_WORDS[byte % len(_WORDS)] for byte in digest[:12])
    said = {"reason": "It is vague.", "feedback": "Be exact.", "summary": "Be exact.", "explanation": "It is vague."}
    tags = {**said, "rating": "0", "prompt": f"Read it and answer {prompt}. {slots}"}
    return "".join(f"<{tag}>{text}</{tag}>" for tag, text in tags.items())


def _rehearsed(plan: Plan, costs: Costs) -> dict[str, _Rehearsal]:
    """Role -> what its model was asked in the first two steps; nobody where they cannot be rehearsed."""
    white = any(capability is WhiteBox for capability in plan.method.needs.values())
    if white or sum(costs.init.values()) + sum(costs.step.values()) > REHEARSED:
        return {}
    slots = " ".join(f"{{{slot}}}" for slot in plan.task.template.prompt_slots(plan.task.seeds[0]))
    players = {role: _Rehearsal(role, slots) for role in plan.models}
    with TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        world = World(plan.task, players, log, plan.seed, lambda event: None)
        try:
            state = plan.method.init(Context(world, Ledger(log, 0, UNLIMITED, Usage())))
            plan.method.step(state, Context(world, Ledger(log, 1, UNLIMITED, Usage())))
        except SteepestError:
            pass  # What was asked until then is told all the same.
    return {role: player for role, player in players.items() if player.calls}


def _initial(plan: Plan) -> _Rehearsal:
    """What the task's model is asked under the initial prompt, where nothing was rehearsed."""
    player = _Rehearsal("task", "")
    for example in plan.task.dev[:SHOWN]:
        prompt = plan.task.template.render(plan.task.seeds[0], example)
        player.hear(Request(prompt, max_tokens=plan.task.max_tokens))
    return player


def _parts(plan: Plan, costs: Costs, heard: Mapping[str, _Rehearsal]) -> list[Part]:
    return [
        Part(
            role, plan.models[role].name, costs.init.get(role, 0), costs.step.get(role, 0), _request(plan, role, heard)
        )
        for role in plan.models
        if role in costs.init or role in costs.step
    ]


def _request(plan: Plan, role: str, heard: Mapping[str, _Rehearsal]) -> Usage | None:
    """What one request costs, by the mean of the rehearsal."""
    if role not in heard:
        return None
    player = heard[role]
    read = round(player.read / player.calls / BYTES_PER_TOKEN)
    usage = Usage(1, read, round(player.written / player.calls))
    dollars = plan.prices[role].of(usage) if role in plan.prices else 0.0
    return Usage(1, usage.prompt_tokens, usage.output_tokens, dollars=dollars)
