"""The scored past and the task's rows as text, as the optimizer is shown them: OPRO's and GPO's material.

A trajectory is a list of prompts with their scores, as in OPRO (arXiv 2309.03409, section 4); exemplars are rows that
show, by `<slot>`, where the task's template puts the prompt, with the right answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from steepest.parts.text import MetaPrompt, shown_input
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Scored, Trial

SLOT = "<slot>"
"""Where the prompt goes."""
PROMPT = MetaPrompt(en="Prompt: {prompt}", zh="提示词：{prompt}")
SCORE = MetaPrompt(en="Score: {score}", zh="分数：{score}")
EXEMPLAR = MetaPrompt(en="Input: {input}{answer}", zh="输入：{input}{answer}")
ANSWER = MetaPrompt(en="\nAnswer: {answer}", zh="\n答案：{answer}")
BEFORE = MetaPrompt(en="before the input", zh="位于输入之前")
AFTER = MetaPrompt(en="after the input", zh="位于输入之后")
INSIDE = MetaPrompt(en="inside the input", zh="位于输入之中")
WHOLE = MetaPrompt(en="as the whole message", zh="就是整条消息")


def place(task: Task) -> str:
    """Where the task's template puts the prompt, in words: before the input, after it, ..."""
    template = task.template
    if template.is_filled_by_prompt:
        return WHOLE.fill(task.language)
    at = template.slots.index("prompt")
    before, after = template.slots[:at], template.slots[at + 1 :]
    return (INSIDE if before and after else AFTER if before else BEFORE).fill(task.language)


def points(score: float, buckets: int | None = 100) -> str:
    """A score in [0, 1] as one of the whole numbers 0 to `buckets`, or with three decimals where that is None."""
    return f"{score:.3f}" if buckets is None else str(round(score * buckets))


def shown_prompts(scored: Iterable[Scored], task: Task, buckets: int | None = 100) -> str:
    """Prompts, each with its score, a blank line between them."""
    return "\n\n".join(
        f"{shown_prompt(each.candidate, task)}\n{SCORE.fill(task.language, score=points(each.mean, buckets))}"
        for each in scored
    )


def shown_prompt(candidate: Candidate, task: Task) -> str:
    """A prompt as a labelled line."""
    return PROMPT.fill(task.language, prompt=candidate.text)


def shown_exemplars(examples: Iterable[Example], task: Task) -> str:
    """Rows with `<slot>` where the prompt goes, each with its right answer if it has one, a blank line between them."""
    return "\n\n".join(
        EXEMPLAR.fill(task.language, input=_with_slot(task, example), answer=_answer(task, example))
        for example in examples
    )


def joined(parts: Iterable[str]) -> str:
    """The parts of a message that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part)


def ascending(history: Iterable[Scored], size: int) -> list[Scored]:
    """The `size` prompts of highest mean score, the best last; of equal ones the later stands later and is kept.

    By the exact mean, not as it is shown. Prompts without any answer are left out.
    """
    ordered = sorted((each for each in history if not math.isnan(each.mean)), key=lambda each: each.mean)
    return ordered[max(len(ordered) - size, 0) :]


def first_best(history: Iterable[Scored]) -> Scored:
    """The prompt of highest mean score; of equal ones the earliest; one without any answer only where all are."""
    return max(history, key=lambda each: -math.inf if math.isnan(each.mean) else each.mean)


def trials(before: Scored, after: Sequence[Scored], accepted: Scored | None) -> list[Trial]:
    """What a step tried against `before`, for its record."""
    old = before.candidate.text
    return [
        Trial(-1, old, each.candidate.text, 0, math.nan, before.mean, each.mean, each is accepted) for each in after
    ]


def _answer(task: Task, example: Example) -> str:
    return ANSWER.fill(task.language, answer=example.target) if example.target else ""


def _with_slot(task: Task, example: Example) -> str:
    if task.template.is_filled_by_prompt:
        return shown_input(task, example)
    return task.template.render(SLOT, example)[-1].content
