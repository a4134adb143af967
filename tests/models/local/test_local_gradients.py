"""Losses and gradients against finite differences of a plain double-precision forward pass."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import Family

from steepest.errors import ModelError
from steepest.models.local.drafts import Drafts
from steepest.models.local.layout import Layout, Placed
from steepest.models.local.model import LocalModel
from steepest.models.local.prefixes import Prefixes
from steepest.types import Objective, Row

ROWS = [
    Row("There are 12 apples in 3 boxes. ", "", "So the answer is $ ", "True"),
    Row("How many apples are there? ", "\nGo!", "Therefore, the final answer is", " 42"),
    Row("三个盒子里有十二个苹果。 ", " Now.", "There are 12 apples in 3 boxes. So it is ", "十二"),
]
PROMPT = "Think step by step and answer"
OBJECTIVES = [
    Objective(),
    Objective(temperature=0.2, reduction="mean"),
    Objective(fluency=0.3),
    Objective(fluency=0.3, fluency_form="nll", temperature=0.5),
]
SPREAD = [11, 60, 133, 290, 400]


def prompt_ids(model: LocalModel) -> list[int]:
    return model.encode(PROMPT, ROWS[0].before)


def place(family: Family, row: Row, ids: list[int]) -> Placed:
    return Layout(family.local._loaded.tokenizer).place([(row, ids)])[0]


def loss_by_hand(
    model: Any, placed: Placed, objective: Objective, swap: tuple[int, int, float] | None = None
) -> tuple[float, float, bool]:
    """(loss, prompt term, all correct) by one plain forward pass.

    With `swap` = (position, token, share): that share of the position's indicator is moved to the token.
    """
    ids = [*placed.left, *placed.prompt, *placed.right, *placed.target]
    embeddings = model.get_input_embeddings()(torch.tensor([ids])).clone()
    start, end = len(placed.left), len(placed.left) + len(placed.prompt)
    indicator = torch.zeros((len(placed.prompt), model.config.vocab_size), dtype=embeddings.dtype)
    indicator[range(len(placed.prompt)), placed.prompt] = 1.0
    if swap is not None:
        position, token, share = swap
        other = model.get_input_embeddings()(torch.tensor([token]))[0]
        embeddings[0, start + position] = (1 - share) * embeddings[0, start + position] + share * other
        indicator[position, placed.prompt[position]] -= share
        indicator[position, token] += share
    with torch.no_grad():
        logits = model(inputs_embeds=embeddings).logits[0]
    first = len(ids) - len(placed.target)
    targets = torch.tensor(placed.target)
    scores = logits[first - 1 : -1]
    surprise = -(scores / objective.temperature).log_softmax(-1)[range(len(targets)), targets]
    target = surprise.sum() if objective.reduction == "sum" else surprise.mean()
    nll = -(indicator * logits[start - 1 : end - 1].log_softmax(-1)).sum(-1).mean()
    fluency = nll.exp() if objective.fluency_form == "perplexity" else nll
    loss = target + objective.fluency * fluency
    return float(loss), float(fluency), bool((scores.argmax(-1) == targets).all())


def relative(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_equals_hand_computation(family: Family, objective: Objective) -> None:
    model = family.local
    prompts = [prompt_ids(model), model.encode("Use only addition", ROWS[0].before)]
    pairs = [(row, prompt) for prompt in prompts for row in ROWS]
    found = model.loss([r for r, _ in pairs], [p for _, p in pairs], objective)
    hand = [loss_by_hand(family.reference, place(family, *pair), objective) for pair in pairs]
    np.testing.assert_allclose(found.loss, [h[0] for h in hand], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(found.fluency, [h[1] for h in hand], rtol=2e-5)
    assert found.correct.tolist() == [h[2] for h in hand]


def test_correct_is_seen(family: Family) -> None:
    """A target that is the model's own greedy answer is correct."""
    model, row = family.local, ROWS[0]
    ids = prompt_ids(model)
    placed = place(family, row, ids)
    with torch.no_grad():
        logits = family.reference(torch.tensor([[*placed.left, *ids, *placed.right]])).logits[0, -1]
    vocabulary = model.vocabulary
    best = next(int(i) for i in logits.argsort(descending=True) if vocabulary[int(i)].strip().isalpha())
    target = replace(row, reply=row.reply.rstrip() + " ok", target=vocabulary[best])
    found = model.loss([target, row], [ids, ids])
    expected = [loss_by_hand(family.reference, place(family, r, ids), Objective())[2] for r in (target, row)]
    assert found.correct.tolist() == expected


def test_identical_pairs_are_computed_once(llama: Family) -> None:
    ids = prompt_ids(llama.local)
    once = llama.local.loss(ROWS[:1], [ids])
    often = llama.local.loss(ROWS[:1] * 4, [ids] * 4)
    assert often.tokens == once.tokens
    np.testing.assert_allclose(often.loss, np.repeat(once.loss, 4))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradient_equals_finite_differences(family: Family, objective: Objective) -> None:
    model, ids = family.local, prompt_ids(family.local)
    positions = list(range(len(ids)))
    weights, tokens = [1.0, 0.5, -0.7], SPREAD[::2]
    found = model.gradient(ROWS, ids, positions, [tokens] * len(ids), weights, objective)
    exact = deepcopy(family.reference).double()
    measure = partial(loss_by_hand, exact)
    placed = [place(family, row, ids) for row in ROWS]
    step = 1e-3  # norms compute in float32 even here
    expected = np.zeros((len(ids), len(tokens)))
    for i in positions:
        for j, token in enumerate(tokens):
            for p, weight in zip(placed, weights, strict=True):
                up, down = (measure(p, objective, (i, token, s))[0] for s in (step, -step))
                expected[i, j] += weight * (up - down) / (2 * step)
    assert relative(np.stack(found.values), expected) < 1e-3
    np.testing.assert_allclose(found.loss, [measure(p, objective)[0] for p in placed], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_position_at_a_time_equals_all_at_once(family: Family, objective: Objective) -> None:
    model, ids = family.local, prompt_ids(family.local)
    every = model.gradient(ROWS, ids, range(len(ids)), [SPREAD] * len(ids), None, objective)
    for position in range(len(ids)):
        one = model.gradient(ROWS, ids, [position], [SPREAD], None, objective)
        np.testing.assert_allclose(one.values[0], every.values[position], rtol=1e-3, atol=2e-5)
        np.testing.assert_allclose(one.loss, every.loss, rtol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES[::2])
def test_batches_change_nothing(family: Family, objective: Objective) -> None:
    model, ids = family.local, prompt_ids(family.local)
    single = LocalModel(replace(model._loaded, batch_tokens=1))
    among = [SPREAD, [ids[2], *SPREAD]]
    whole = model.gradient(ROWS, ids, [0, 2], among, None, objective)
    parts = single.gradient(ROWS, ids, [0, 2], among, None, objective)
    for a, b in zip(whole.values, parts.values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(whole.loss, parts.loss, rtol=2e-5)
    rows_losses = model.loss(ROWS, [ids] * 3, objective), single.loss(ROWS, [ids] * 3, objective)
    np.testing.assert_allclose(rows_losses[0].loss, rows_losses[1].loss, rtol=2e-5)


def test_the_token_that_stands_there_has_zero(llama: Family) -> None:
    ids = prompt_ids(llama.local)
    found = llama.local.gradient(ROWS, ids, [1], [[ids[1], 60, ids[1]]], None, Objective(fluency=0.2))
    assert found.values[0][0] == found.values[0][2] == 0
    assert found.values[0][1] != 0


def test_gradients_leave_nothing_behind(llama: Family) -> None:
    ids = prompt_ids(llama.local)
    llama.local.gradient(ROWS, ids, [0], [SPREAD])
    parameters = list(llama.local._loaded.model.parameters())
    assert not any(p.requires_grad for p in parameters)
    assert all(p.grad is None for p in parameters)
    assert not llama.local._loaded.model.get_output_embeddings()._forward_pre_hooks


def test_gradients_can_be_had_where_gradients_are_off(llama: Family) -> None:
    ids = prompt_ids(llama.local)
    expected = llama.local.gradient(ROWS, ids, [0], [SPREAD]).values[0]
    with torch.no_grad():
        np.testing.assert_allclose(llama.local.gradient(ROWS, ids, [0], [SPREAD]).values[0], expected)


def test_tokens_are_counted_as_passed(family: Family) -> None:
    """Forward once, and what carries a gradient twice; padding and the last target token never."""
    ids = prompt_ids(family.local)
    placed = [place(family, row, ids) for row in ROWS]
    forward = sum(len(p) - 1 for p in placed)
    assert family.local.loss(ROWS, [ids] * 3).tokens == forward
    suffix = sum(len(p) - len(p.left) - 2 for p in placed) + len(placed)
    found = family.local.gradient(ROWS, ids, [1, 3], [SPREAD, SPREAD])
    assert found.tokens == forward + suffix
    assert family.local.propose(ROWS, ids, 2, 3).tokens == sum(len(p.left) + 2 for p in placed)


def test_a_shared_beginning_is_read_once(llama: Family) -> None:
    ids = prompt_ids(llama.local)
    rows = [replace(ROWS[0], target=t) for t in ("True", "False")]
    both = llama.local.loss(rows, [ids, ids])
    singles = [llama.local.loss([row], [ids]) for row in rows]
    left = len(place(llama, ROWS[0], ids).left)
    assert both.tokens == sum(s.tokens for s in singles) - (left - 1)
    np.testing.assert_allclose(both.loss, [s.loss[0] for s in singles], rtol=2e-5)


@pytest.mark.parametrize("position", [0, 2, 6])
def test_proposals_equal_a_plain_forward_pass(family: Family, position: int) -> None:
    model, ids = family.local, prompt_ids(family.local)
    found = model.propose([*ROWS, ROWS[0]], ids, position, 5)
    assert found.ids.shape == found.logprobs.shape == (4, 5)
    for i, row in enumerate([*ROWS, ROWS[0]]):
        prefix = [*place(family, row, ids).left, *ids[:position]]
        with torch.no_grad():
            scores = family.reference(torch.tensor([prefix])).logits[0, -1].log_softmax(-1)
        best = scores.topk(5)
        assert found.ids[i].tolist() == best.indices.tolist()
        np.testing.assert_allclose(found.logprobs[i], best.values, atol=2e-5)


def test_proposals_keep_to_what_is_allowed(llama: Family) -> None:
    ids = prompt_ids(llama.local)
    free = llama.local.propose(ROWS, ids, 1, 4)
    allowed = np.ones(llama.local._loaded.width, np.bool_)
    allowed[free.ids[:, 0]] = False
    found = llama.local.propose(ROWS, ids, 1, 4, allowed)
    assert allowed[found.ids].all()
    assert found.ids[0, 0] == next(t for t in free.ids[0] if allowed[t])
    few = np.zeros_like(allowed)
    few[[60, 61]] = True
    assert set(llama.local.propose(ROWS, ids, 1, 4, few).ids[0]) == {60, 61}


def test_an_empty_prompt_can_be_begun(llama: Family) -> None:
    found = llama.local.propose(ROWS, [], 0, 3)
    assert found.ids.shape == (3, 3)
    losses = llama.local.loss(ROWS[:1], [[]], Objective(fluency_form="nll"))
    assert losses.fluency[0] == 0


def test_a_row_without_target_is_refused(llama: Family) -> None:
    with pytest.raises(ModelError, match="needs a target"):
        llama.local.loss([replace(ROWS[0], target="")], [prompt_ids(llama.local)])


def test_a_row_that_does_not_fit_is_refused(llama: Family) -> None:
    row = replace(ROWS[0], reply="apples " * 320)
    with pytest.raises(ModelError, match=r"context of 320 tokens, got \d+ tokens"):
        llama.local.gradient([row], prompt_ids(llama.local), [0], [SPREAD])


def test_first_order_scores_rank_swaps_when_embeddings_lie_close(
    llama: Family, record_property: pytest.RecordProperty
) -> None:
    """With embeddings drawn together the linear model holds, and its ranking is that of the true losses."""
    from scipy.stats import spearmanr

    close = deepcopy(llama.local._loaded.model)
    weight = close.get_input_embeddings().weight
    weight.copy_(weight.mean(0) + 0.3 * torch.randn(weight.shape[1]) + 0.1 * weight)
    correlations = {}
    for name, network in (("close", close), ("as drawn", llama.local._loaded.model)):
        shapes = llama.local._loaded.shapes
        fresh = {"prefixes": Prefixes(shapes, 2**20), "drafts": Drafts(), "spare": []}
        model = LocalModel(replace(llama.local._loaded, model=network, **fresh))
        ids, row = prompt_ids(model), ROWS[1]
        swaps = list(range(40, 400, 3))
        predicted = model.gradient([row], ids, [2], [swaps]).values[0]
        true = model.loss([row] * len(swaps), [[*ids[:2], s, *ids[3:]] for s in swaps]).loss
        correlations[name] = spearmanr(predicted, true).statistic
        record_property(f"rank correlation, embeddings {name}", float(correlations[name]))
    print(correlations)
    assert correlations["close"] > 0.9
