"""What the bundled model learns of optimising: the calls of real runs, answered by the teacher.

Every text method is run on the bundled tasks with a stand-in for the task model, which answers by the world's law,
and the teacher as optimizer and judge. Each question to the teacher, with its answer, is a lesson; so the model
learns the very meta-prompts that it will be asked.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from steepest import bundled, spec
from steepest.bundled import world
from steepest.bundled.puzzles import Puzzle
from steepest.bundled.teacher import Teacher
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.events import Audience
from steepest.ledger import UNLIMITED, Ledger
from steepest.tasks.judge import Judge
from steepest.tasks.task import Task
from steepest.types import Example, Message, Request, Response, Usage, content_id

RIGHT: Mapping[str, float] = {world.DIRECT: 0.15, world.TERSE: 0.55, world.FULL: 0.97}
"""How often the stand-in is right in each style."""
OF_A_KIND = 5
"""At most so many lessons of a kind are taken from one run."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question to the optimizer or the judge, and a good answer."""

    task: str
    turns: tuple[Message, ...]
    reply: str

    @property
    def kind(self) -> str:
        """What was asked for: the last tag of the reply, or "thoughts" where it has none."""
        tags = re.findall("</([a-z]+)>", self.reply)
        return tags[-1] if tags else "thoughts"


@dataclass(frozen=True, slots=True)
class StandIn:
    """Plays the task model by the world's law: the instruction's words set the style, the style the accuracy."""

    puzzles: Mapping[str, Puzzle]
    """By question."""
    id: str = "stand-in"

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """In order; the same question under the same instruction is answered alike."""
        for at, request in enumerate(requests):
            yield at, Response(self._answer(request), 1, 1)

    def _answer(self, request: Request) -> str:
        turns = request.prompt
        asked = turns if isinstance(turns, str) else turns[0].content
        question = next(question for question in self.puzzles if asked.startswith(question))
        puzzle, rng = self.puzzles[question], Random(content_id(asked))
        odds = world.style_odds(puzzle.task, asked[len(question) :])
        style = rng.choices(tuple(odds), [share**3 for share in odds.values()])[0]
        said = world.respond(puzzle, style, rng)
        if rng.random() < RIGHT[style]:
            return said
        others = [other.answer for other in self.puzzles.values() if other.answer != puzzle.answer]
        return said.replace(f" is {puzzle.answer}.", f" is {rng.choice(others)}.")


@dataclass(frozen=True, slots=True)
class Notebook:
    """The teacher, with a note of every lesson."""

    teacher: Teacher
    lessons: list[Lesson] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The teacher's."""
        return self.teacher.id

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """The teacher's answers."""
        for at, response in self.teacher.generate(requests):
            asked = requests[at].prompt
            turns = (Message("user", asked),) if isinstance(asked, str) else asked
            self.lessons.append(Lesson(self.teacher.task, turns, response.text))
            yield at, response


def lessons(seed: str) -> Iterator[Lesson]:
    """Endless lessons, every method and task alike often; the same for the same seed."""
    rng = Random(f"lessons/{seed}")
    names = tuple(_SETTINGS)
    while True:
        found = [lesson for name in rng.sample(names, len(names)) for lesson in _of_run(name, rng)]
        yield from rng.sample(found, len(found))


def _of_run(name: str, rng: Random) -> list[Lesson]:
    """Lessons from a short run of a method on a task, both with small settings drawn anew."""
    task_name = rng.choice(world.TASKS)
    puzzles = world.puzzles(task_name, 22, f"{rng.random()}/lesson")
    rows = [Example(content_id(p.question, p.answer), p.question, p.answer) for p in puzzles]
    start = world.NEUTRAL if rng.random() < 0.4 else world.instruction(task_name, rng) or world.NEUTRAL
    task = replace(_task(task_name), train=tuple(rows[:14]), dev=tuple(rows[14:]), seeds=(start,))
    method = spec.build({"use": name, **_SETTINGS[name](rng)})
    if name == "gradsum" and rng.random() < 0.7:
        task = replace(task, metric=Judge(criteria=rng.choice(_CRITERIA)))
    teacher = Notebook(Teacher(task_name))
    roles = {"task": StandIn({p.question: p for p in puzzles}), "optimizer": teacher, "judge": teacher}
    _follow(method, task, roles, rng)
    kinds: dict[str, list[Lesson]] = {}
    for lesson in dict.fromkeys(teacher.lessons):
        kinds.setdefault(lesson.kind, []).append(lesson)
    return [each for found in kinds.values() for each in rng.sample(found, min(OF_A_KIND, len(found)))]


def _follow(method: Any, task: Task, roles: Mapping[str, Any], rng: Random) -> None:
    """The beginning of a run, up to four steps."""
    with tempfile.TemporaryDirectory() as folder, CallLog(Path(folder) / "calls.jsonl") as log:
        surroundings = World(task, roles, log, rng.getrandbits(32), Audience())
        state = method.init(Context(surroundings, Ledger(log, 0, UNLIMITED, Usage())))
        for step in range(1, rng.randint(2, 5)):
            state = method.step(state, Context(surroundings, Ledger(log, step, UNLIMITED, Usage())))


def _ape(rng: Random) -> dict[str, Any]:
    blank = rng.random() < 0.3
    demos = {"sets": rng.randint(2, 3), "demos": rng.randint(3, 5), "n": 3, "mode": "reverse" if blank else "forward"}
    return {"induce": {"use": "steepest.parts.updates:Induce", **demos}, "demo_rows": 8}


def _protegi(rng: Random) -> dict[str, Any]:
    groups = rng.choice((1, 2))
    numbers = {"error_groups": groups, "errors_per_group": rng.randint(2, 4), "gradients_per_group": 4 // groups}
    return {**numbers, "minibatch": 12, "beam": rng.randint(1, 3), "max_successors": 4, "select": "full"}


def _opro(rng: Random) -> dict[str, Any]:
    return {"samples": 4, "trajectory": rng.randint(4, 20), "exemplars": rng.randint(2, 3)}


def _pe2(rng: Random) -> dict[str, Any]:
    return {"beam": 2, "proposals": 2, "batch_size": rng.randint(1, 2), "history": rng.random() < 0.3}


def _gpo(rng: Random) -> dict[str, Any]:
    direction = rng.choice(("prompt+performance", "prompt+performance", "prompt+performance+reflection"))
    past: dict[str, Any] = {"k": rng.randint(2, 5)} if rng.random() < 0.75 else {"memory": None, "summarize": True}
    return {"candidates": 4, "direction": direction, **past}


def _gradsum(rng: Random) -> dict[str, Any]:
    return {"beam": rng.randint(1, 2), "rows": rng.randint(4, 12), "summarize": rng.random() < 0.8}


_SETTINGS: Mapping[str, Callable[[Random], dict[str, Any]]] = {
    "ape": _ape,
    "protegi": _protegi,
    "opro": _opro,
    "pe2": _pe2,
    "gpo": _gpo,
    "gradsum": _gradsum,
}
_CRITERIA = (
    "the answer equals the expected answer",
    "The answer is right.",
    "1 if the final answer matches the expected answer, 0 if not.",
    "The model's answer agrees with the expected one.",
)


@cache
def _task(name: str) -> Task:
    return bundled.source(name, train=1, dev=1, test=1).task
