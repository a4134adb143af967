from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import Ledger, Limits
from steepest.parts.signals import answer_signal, expected, importance, sample
from steepest.types import Candidate, Objective, Usage
from toy_whitebox import ToyWhiteBox, difficulty, effect, toy_task

SEED = Candidate("Answer the question.")
BETTER = Candidate("think the question.")
WORSE = Candidate("guess the question.")


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    with CallLog(tmp_path / "calls.jsonl") as log:
        world = World(toy_task(), {"task": ToyWhiteBox()}, log, 0, lambda event: None)
        yield Context(world, Ledger(log, 1, Limits(), Usage()))


def true_reward(ctx: Context, prompt: str) -> float:
    """The toy's exact probability of a right answer, averaged over rows: the slow twin of every estimate here."""
    surplus = [effect(prompt) - difficulty(e.input.removesuffix("?")) for e in ctx.task.train]
    return sum(1 / (1 + math.exp(-2 * s)) for s in surplus) / len(surplus)


def test_fresh_samples_estimate_the_expected_reward(ctx: Context) -> None:
    for candidate, scored in zip([SEED, BETTER], expected(ctx, [SEED, BETTER], ctx.task.train, 200, 1.0), strict=True):
        assert scored.mean == pytest.approx(true_reward(ctx, candidate.text), abs=0.02)


def test_importance_weights_estimate_other_prompts_from_one_prompts_samples(ctx: Context) -> None:
    samples = sample(ctx, SEED, ctx.task.train, 200, 1.0)
    ids = [ctx.whitebox("task").encode(c.text, "Why? ") for c in (SEED, BETTER, WORSE)]
    same, better, worse = importance(ctx, samples, ids[0], [SEED, BETTER, WORSE], ids)
    assert same.mean == pytest.approx(samples.scored.mean, abs=1e-6)
    assert better.mean == pytest.approx(true_reward(ctx, BETTER.text), abs=0.04)
    assert worse.mean == pytest.approx(true_reward(ctx, WORSE.text), abs=0.04)


def test_importance_draws_no_new_samples(ctx: Context) -> None:
    samples = sample(ctx, SEED, ctx.task.train, 4, 1.0)
    before = ctx.usage
    ids = [ctx.whitebox("task").encode(c.text, "Why? ") for c in (SEED, BETTER)]
    importance(ctx, samples, ids[0], [BETTER], ids[1:])
    assert ctx.usage.calls == before.calls + 1
    assert ctx.usage.output_tokens == before.output_tokens


def test_advantages_of_an_example_cancel_and_examples_without_contrast_are_left_out(ctx: Context) -> None:
    samples = sample(ctx, SEED, ctx.task.train, 8, 1.0)
    sums: dict[str, float] = defaultdict(float)
    for owner, weight in zip(samples.owners, samples.signal.weights, strict=True):
        sums[owner] += weight
    assert all(abs(total) < 1e-12 for total in sums.values())
    mixed = {e for e, mean in samples.scored.scores.items() if 0 < mean < 1}
    assert set(sums) == mixed
    assert 0 < len(mixed) < len(ctx.task.train)
    assert len(samples.signal.rows) == 8 * len(mixed)


def test_the_surrogates_gradient_is_that_of_the_expected_reward(ctx: Context) -> None:
    """d/d surplus of sum(weight * -log p(response)) against the exact derivative of the expected reward."""
    samples = sample(ctx, SEED, ctx.task.train, 400, 1.0)
    slope = 0.0
    for row, weight in zip(samples.signal.rows, samples.signal.weights, strict=True):
        surplus = effect(SEED.text) - difficulty(row.before.split("?")[0])
        right = 1 / (1 + math.exp(-2 * surplus))
        is_right = row.before.split("?")[0].split()[-1] in row.target
        slope += weight * (-2 * (1 - right) if is_right else 2 * right)
    step = 1e-4
    exact = np.mean(
        [
            (1 / (1 + math.exp(-2 * (s + step))) - 1 / (1 + math.exp(-2 * (s - step)))) / (2 * step)
            for s in (effect(SEED.text) - difficulty(e.input.removesuffix("?")) for e in ctx.task.train)
        ]
    )
    assert -slope == pytest.approx(exact, rel=0.1)


def test_the_answer_signal_puts_the_gold_answer_after_reasoning_and_extractor(ctx: Context) -> None:
    signal = answer_signal(ctx, SEED.text, ctx.task.train[:2], True, Objective(0.2))
    for row, example in zip(signal.rows, ctx.task.train, strict=False):
        assert row.reply.startswith("Hm. The answer is")
        assert row.reply.endswith(" So the answer is")
        assert row.target == f" {example.target}"
    bare = answer_signal(ctx, SEED.text, ctx.task.train[:2], False, Objective())
    assert [row.reply for row in bare.rows] == ["So the answer is"] * 2
    assert sum(signal.weights) == pytest.approx(1.0)
