"""What a white-box gradient is taken of: rows with weights, made from the model's own reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from steepest.context import Context
from steepest.types import Candidate, Example, Message, Objective, Row, Scored


@dataclass(frozen=True, slots=True)
class Signal:
    """Rows and weights: the loss is the sum over rows of weight * loss(row)."""

    rows: tuple[Row, ...]
    weights: tuple[float, ...]
    objective: Objective


@dataclass(frozen=True, slots=True)
class Samples:
    """Sampled reasoning under one prompt, as a loss whose gradient is minus that of the expected reward."""

    scored: Scored
    """The prompt with its mean reward per example."""
    signal: Signal
    """Responses with their advantages as weights."""
    owners: tuple[str, ...]
    """Example id of each row of the signal."""


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


def sample(ctx: Context, candidate: Candidate, examples: Sequence[Example], k: int, temperature: float) -> Samples:
    """Draw k responses per example and reward them: the score-function (REINFORCE) surrogate of expected reward.

    The advantage of a response is its reward by the task's metric minus the mean reward of the *other* responses to
    the same example (leave-one-out baseline, unbiased). The gradient of sum(weight * -log p(response)), with the
    advantages as weights, is minus that of the expected reward, reasoning included. Examples whose responses were
    all right or all wrong carry no signal and give no rows.
    """
    drawn = _drawn(ctx, [candidate.text], examples, k, temperature)
    rows: list[Row] = []
    weights: list[float] = []
    owners: list[str] = []
    for example, responses in zip(examples, drawn, strict=True):
        mean = sum(r.reward for r in responses) / k
        for each in responses:
            if each.text and each.reward != mean:
                rows.append(ctx.task.template.row(example, "", each.text))
                weights.append((each.reward - mean) / ((k - 1) * len(examples)))
                owners.append(example.id)
    scored = Scored(candidate, {e.id: _mean(d) for e, d in zip(examples, drawn, strict=True)})
    return Samples(scored, Signal(tuple(rows), tuple(weights), Objective()), tuple(owners))


def importance(
    ctx: Context,
    samples: Samples,
    ids: Sequence[int],
    candidates: Sequence[Candidate],
    of_candidates: Sequence[Sequence[int]],
    most: float = 10.0,
) -> list[Scored]:
    """Mean reward per example that other prompts would have, from one prompt's samples and no new ones.

    Each response counts by p(response | candidate) / p(response | prompt sampled from), at most `most`; `ids` are the
    tokens of the prompt sampled from. Unbiased up to the cap, and the same samples serve every candidate, so their
    differences are far less noisy than fresh samples of each.
    """
    rows, n = samples.signal.rows, len(samples.signal.rows)
    prompts = [ids, *of_candidates]
    losses = ctx.whitebox("task").loss(list(rows) * len(prompts), [p for p in prompts for _ in rows], Objective())
    here, *there = losses.loss.astype(float).reshape(len(prompts), n)
    scored = []
    for candidate, loss in zip(candidates, there, strict=True):
        scores = dict(samples.scored.scores)
        ratios = np.minimum(np.exp(here - loss), most)
        for owner, weight, ratio in zip(samples.owners, samples.signal.weights, ratios.tolist(), strict=True):
            scores[owner] += len(scores) * weight * ratio
        scored.append(Scored(candidate, scores))
    return scored


def expected(
    ctx: Context, candidates: Sequence[Candidate], examples: Sequence[Example], k: int, temperature: float
) -> list[Scored]:
    """Mean reward of k fresh samples, per candidate and example."""
    drawn = _drawn(ctx, [c.text for c in candidates], examples, k, temperature)
    n = len(examples)
    return [
        Scored(c, {e.id: _mean(d) for e, d in zip(examples, drawn[i * n : (i + 1) * n], strict=True)})
        for i, c in enumerate(candidates)
    ]


@dataclass(frozen=True, slots=True)
class _Response:
    text: str
    reward: float


def _mean(responses: Sequence[_Response]) -> float:
    return sum(r.reward for r in responses) / len(responses)


def _drawn(
    ctx: Context, prompts: Sequence[str], examples: Sequence[Example], k: int, temperature: float
) -> list[list[_Response]]:
    """Sampled responses with their rewards, one list per (prompt, example), prompt-major."""
    pairs = [(p, e) for p in prompts for e in examples]
    asked = [ctx.task.template.render(p, e) for p, e in pairs]
    texts = [r.text for r in ctx.generate("task", asked, temperature=temperature, n=k)]
    return [
        [_Response(t, ctx.task.rule(e, t).score) for t in texts[i * k : (i + 1) * k]] for i, (_, e) in enumerate(pairs)
    ]


def reason(ctx: Context, prompts: Sequence[str], examples: Sequence[Example]) -> list[str]:
    """Greedy reasoning of the task model, prompt-major: all examples under prompts[0], then prompts[1], ..."""
    asked: list[tuple[Message, ...]] = [ctx.task.template.render(p, e) for p in prompts for e in examples]
    return [response.text for response in ctx.generate("task", asked)]
