"""Log-probabilities of given continuations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import Family

from steepest.errors import ModelError
from steepest.models.local.layout import Layout
from steepest.models.local.model import LocalModel
from steepest.types import Message

PAIRS = [
    ("How many apples are there?", "There are 12 apples."),
    ("How many apples are there?", "No"),
    ("Think", "So the answer is True. So the answer is False."),
    ((Message("system", "Use only addition"), Message("user", "一共有多少个苹果？")), "十二个"),
    ((Message("user", "Is it so?"), Message("assistant", "The answer is $ ")), "False"),
]


def by_hand(family: Family, before: list[int], after: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = family.reference(torch.tensor([before + after])).logits[0].log_softmax(-1)
    places = range(len(before) - 1, len(before) + len(after) - 1)
    return np.asarray([logits[p, t] for p, t in zip(places, after, strict=True)], np.float32)


def test_logprobs_equal_a_plain_forward_pass(family: Family) -> None:
    layout = Layout(family.local._loaded.tokenizer)
    for (prompt, text), found in zip(PAIRS, family.local.logprobs(PAIRS), strict=True):
        before, after = layout.split([(layout.text(prompt), text)])[0]
        assert before + after == layout.ids([layout.text(prompt) + text])[0]
        np.testing.assert_allclose(found.logprobs, by_hand(family, before, after), atol=2e-5)
        assert found.tokens == len(before) + len(after)


def test_a_continuation_keeps_the_token_that_swallows_the_prompts_space(family: Family) -> None:
    (found,) = family.local.logprobs([PAIRS[-1]])
    assert len(found.logprobs) == 1


def test_an_empty_continuation_has_no_tokens(llama: Family) -> None:
    first, second = llama.local.logprobs([("Think", ""), ("Think", " a")])
    assert first.logprobs.shape == (0,) and first.tokens == 0
    assert second.logprobs.shape[0] >= 1


def test_batches_change_nothing(llama: Family) -> None:
    small = LocalModel(replace(llama.local._loaded, batch_tokens=1))
    for one, many in zip(small.logprobs(PAIRS), llama.local.logprobs(PAIRS), strict=True):
        np.testing.assert_allclose(one.logprobs, many.logprobs, atol=2e-5)


def test_what_does_not_fit_is_refused(llama: Family) -> None:
    with pytest.raises(ModelError, match="context of 320 tokens"):
        llama.local.logprobs([("Think", "apples " * 320)])
