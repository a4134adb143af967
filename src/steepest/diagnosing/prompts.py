"""The prompts that are tried: the initial one, none at all, and some that ask for very different things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from steepest.context import Context
from steepest.parts.text import Gate
from steepest.parts.updates import Induce, Paraphrase
from steepest.tasks.judge import Judge
from steepest.tasks.task import Language, Task
from steepest.types import Candidate

VARIED: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "stepwise": "Work through it one step at a time, write every step down, and say the answer only at the end.",
        "answer only": "Reply with the answer alone. No explanation, nothing else.",
        "restate": "First say in your own words what is given and what is wanted. Then solve it.",
        "expert": "You know this subject well. Read every word, look out for what is easy to miss, and give the answer "
        "you are surest of.",
        "check": "Find the answer in two different ways. Where they disagree, look for the mistake and correct it.",
    },
    "zh": {
        "stepwise": "请一步一步地做，把每一步都写出来，最后才给出答案。",
        "answer only": "只回答答案本身，不要解释，也不要写别的内容。",
        "restate": "先用自己的话说明已知什么、要求什么，然后再解答。",
        "expert": "你精通这方面的内容。请逐字读题，留意容易忽略的地方，给出你最有把握的答案。",
        "check": "请用两种不同的方法求出答案。如果两者不一致，就找出错误并改正。",
    },
}
"""Language -> name -> prompt."""

WRITTEN = 14
"""Prompts that the optimizer is asked for; those of the list above know nothing of the task."""


@dataclass(frozen=True, slots=True)
class Named:
    """A prompt with its name in the table."""

    name: str
    text: str


def fixed(task: Task) -> Iterator[Named]:
    """The initial prompt, the rows without any, and the varied ones, with the columns that the task's prompts hold."""
    initial = task.seeds[0]
    slots = "\n".join(f"{{{name}}}" for name in task.template.prompt_slots(initial))
    yield Named("initial", initial)
    for name, text in {"none": "", **VARIED[task.language]}.items():
        whole = "\n".join(filter(None, (text, slots)))
        if whole != initial:
            yield Named(name, whole)


def written(ctx: Context) -> Iterator[Named]:
    """What the role "optimizer" writes: guessed from train rows, or where a judge decides, the initial one reworded."""
    task = ctx.task
    seed = Candidate(task.seeds[0])
    gate = Gate(task, [each.text for each in fixed(task)])
    if isinstance(task.metric, Judge):
        found = Paraphrase(n=WRITTEN)([seed], ctx, gate)
    else:
        found = Induce(sets=WRITTEN, n=1)(task.train, ctx, gate)
    for number, candidate in enumerate(found, 1):
        yield Named(f"written {number}", candidate.text)


def most_written(task: Task) -> int:
    """The most calls that `written` takes."""
    return Paraphrase(n=WRITTEN).calls(1) if isinstance(task.metric, Judge) else Induce(sets=WRITTEN, n=1).calls()
