"""What a white-box gradient is taken of: rows with weights, made from the model's own reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steepest.context import Context
from steepest.types import Example, Message, Objective, Row


@dataclass(frozen=True, slots=True)
class Signal:
    """Rows and weights: the loss is the sum over rows of weight * loss(row)."""

    rows: tuple[Row, ...]
    weights: tuple[float, ...]
    objective: Objective


def answer_row(ctx: Context, example: Example, reasoning: str) -> Row:
    """The gold answer after question, prompt, reasoning and extractor."""
    reply = f"{reasoning} {ctx.task.extractor}" if reasoning else ctx.task.extractor
    return ctx.task.template.row(example, reply, f" {example.target}")


def answer_signal(
    ctx: Context, prompt: str, examples: Sequence[Example], reasoning: bool, objective: Objective
) -> Signal:
    """GReaTer's loss: cross-entropy of the gold answer, the greedy reasoning held fixed (arXiv 2412.09722, 3.2)."""
    texts = reason(ctx, [prompt], examples) if reasoning else [""] * len(examples)
    rows = tuple(answer_row(ctx, e, text) for e, text in zip(examples, texts, strict=True))
    return Signal(rows, (1.0 / len(rows),) * len(rows), objective)


def sampled_signal(
    ctx: Context, prompt: str, examples: Sequence[Example], samples: int, temperature: float
) -> Signal:
    """The expected reward of sampled reasoning, as a score-function (REINFORCE) surrogate loss.

    Per example, `samples` whole responses are drawn and rewarded by the task's metric; the advantage is the reward
    minus the mean reward of the *other* samples of that example (leave-one-out baseline, unbiased). The gradient of
    sum(advantage * -log p(response)) is then minus that of the expected reward, reasoning included. Examples whose
    samples were all right or all wrong carry no signal and are left out.
    """
    asked = [ctx.task.template.render(prompt, e) for e in examples]
    answers = ctx.generate("task", asked, temperature=temperature, n=samples)
    rows: list[Row] = []
    weights: list[float] = []
    for i, example in enumerate(examples):
        texts = [r.text for r in answers[i * samples : (i + 1) * samples]]
        rewards = [ctx.task.metric(example, text).score for text in texts]
        mean = sum(rewards) / samples
        for text, reward in zip(texts, rewards, strict=True):
            if text and reward != mean:
                rows.append(ctx.task.template.row(example, "", text))
                weights.append((reward - mean) * samples / (samples - 1) / (samples * len(examples)))
    return Signal(tuple(rows), tuple(weights), Objective())


def reason(ctx: Context, prompts: Sequence[str], examples: Sequence[Example]) -> list[str]:
    """Greedy reasoning of the task model, prompt-major: all examples under prompts[0], then prompts[1], ..."""
    asked: list[tuple[Message, ...]] = [ctx.task.template.render(p, e) for p in prompts for e in examples]
    return [response.text for response in ctx.generate("task", asked)]
