"""What a white-box gradient is taken of: rows with weights, made from the model's own reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steepest.context import Context
from steepest.types import Candidate, Example, Message, Objective, Row, Scored


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
    rows: list[Row] = []
    weights: list[float] = []
    for example, drawn in zip(examples, _drawn(ctx, [prompt], examples, samples, temperature), strict=True):
        mean = sum(d.reward for d in drawn) / samples
        for each in drawn:
            if each.text and each.reward != mean:
                rows.append(ctx.task.template.row(example, "", each.text))
                weights.append((each.reward - mean) / ((samples - 1) * len(examples)))
    return Signal(tuple(rows), tuple(weights), Objective())


def expected(
    ctx: Context, candidates: Sequence[Candidate], examples: Sequence[Example], samples: int, temperature: float
) -> list[Scored]:
    """Mean reward of sampled responses, per candidate and example."""
    drawn = _drawn(ctx, [c.text for c in candidates], examples, samples, temperature)
    means = [sum(d.reward for d in of_pair) / samples for of_pair in drawn]
    n = len(examples)
    return [
        Scored(c, {e.id: m for e, m in zip(examples, means[i * n : (i + 1) * n], strict=True)})
        for i, c in enumerate(candidates)
    ]


@dataclass(frozen=True, slots=True)
class _Drawn:
    text: str
    reward: float


def _drawn(
    ctx: Context, prompts: Sequence[str], examples: Sequence[Example], samples: int, temperature: float
) -> list[list[_Drawn]]:
    """Sampled responses with their rewards, one list per (prompt, example), prompt-major."""
    pairs = [(p, e) for p in prompts for e in examples]
    asked = [ctx.task.template.render(p, e) for p, e in pairs]
    answers = [r.text for r in ctx.generate("task", asked, temperature=temperature, n=samples)]
    return [
        [_Drawn(t, ctx.task.metric(e, t).score) for t in answers[i * samples : (i + 1) * samples]]
        for i, (_, e) in enumerate(pairs)
    ]


def reason(ctx: Context, prompts: Sequence[str], examples: Sequence[Example]) -> list[str]:
    """Greedy reasoning of the task model, prompt-major: all examples under prompts[0], then prompts[1], ..."""
    asked: list[tuple[Message, ...]] = [ctx.task.template.render(p, e) for p in prompts for e in examples]
    return [response.text for response in ctx.generate("task", asked)]
