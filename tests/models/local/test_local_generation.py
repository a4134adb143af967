"""Batched decoding answers as transformers' own unbatched generation does, and samples by seed alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import Family

from steepest.errors import ModelError
from steepest.models.local.choosing import uniform
from steepest.models.local.layout import Layout
from steepest.models.local.loading import load
from steepest.models.local.model import LocalModel
from steepest.types import Message, Request, Response

PROMPTS = (
    "How many apples are there?",
    "Think",
    "There are 12 apples in 3 boxes. Use only addition, then give the actual correct answer.",
    "一共有多少个苹果？",
    "Answer the question with a number. " * 3,
)


def answers(model: LocalModel, requests: Sequence[Request]) -> list[Response]:
    found = dict(model.generate(requests))
    return [found[i] for i in range(len(requests))]


def prompt_ids(family: Family, prompt: str) -> list[int]:
    layout = Layout(family.local._loaded.tokenizer)
    return layout.ids([layout.text(prompt)])[0]


def slow_answer(family: Family, request: Request, end: int | None = None) -> list[int]:
    """Token ids of transformers' own greedy generation, one prompt at a time."""
    ids = torch.tensor([prompt_ids(family, str(request.prompt))])
    with torch.no_grad():
        out = family.reference.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.max_tokens,
            do_sample=False,
            eos_token_id=family.local._loaded.ends[0] if end is None else end,
            pad_token_id=0,
        )
    return out[0, ids.shape[1] :].tolist()


def with_end(family: Family, end: int) -> LocalModel:
    return LocalModel(replace(family.local._loaded, ends=(end,)))


@contextmanager
def embedded(model: LocalModel) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of all ids that pass through the model."""
    shapes: list[tuple[int, ...]] = []
    embedding = model._loaded.model.get_input_embeddings()
    hook = embedding.register_forward_hook(lambda _m, args, _o: shapes.append(tuple(args[0].shape)))
    try:
        yield shapes
    finally:
        hook.remove()


def test_greedy_answers_equal_unbatched_generation(family: Family) -> None:
    # Different limits make rows finish at different times, so that the batch is compacted on the way.
    requests = [Request(p, max_tokens=limit) for p in PROMPTS for limit in (3, 11, 40)]
    layout = Layout(family.local._loaded.tokenizer)
    for request, answer in zip(requests, answers(family.local, requests), strict=True):
        expected = slow_answer(family, request)
        assert answer.text == layout.answers([expected])[0]
        assert answer.output_tokens == len(expected)
        assert answer.prompt_tokens == len(prompt_ids(family, str(request.prompt)))
        assert answer.finish == ("stop" if expected[-1] in family.local._loaded.ends else "length")


def test_an_end_token_stops_an_answer_and_is_not_shown(family: Family) -> None:
    free = slow_answer(family, Request(PROMPTS[0], max_tokens=12))
    end = free[4]
    expected = free[: free.index(end) + 1]
    model = with_end(family, end)
    answer, other = answers(model, [Request(PROMPTS[0], max_tokens=12), Request(PROMPTS[2], max_tokens=12)])
    assert (answer.output_tokens, answer.finish) == (len(expected), "stop")
    assert other.output_tokens == len(slow_answer(family, Request(PROMPTS[2], max_tokens=12), end))


def test_growing_beyond_the_spare_room_changes_nothing(llama: Family) -> None:
    request = Request(PROMPTS[1], max_tokens=150)
    (answer,) = answers(llama.local, [request])
    expected = slow_answer(llama, request)
    assert answer.output_tokens == len(expected)
    assert answer.text == Layout(llama.local._loaded.tokenizer).answers([expected])[0]


def test_small_batches_give_the_same_answers(folders: dict[str, object], llama: Family) -> None:
    requests = [Request(p, max_tokens=9) for p in PROMPTS]
    small = LocalModel(replace(llama.local._loaded, batch_tokens=40))
    assert answers(small, requests) == answers(llama.local, requests)


def test_every_index_comes_once(llama: Family) -> None:
    requests = [Request(p, max_tokens=n) for n in (1, 2, 5) for p in PROMPTS] * 2
    indices = [i for i, _ in llama.local.generate(requests)]
    assert sorted(indices) == list(range(len(requests)))


def test_samples_depend_on_their_seed_alone(family: Family) -> None:
    sampled = [Request(p, temperature=0.9, max_tokens=8, seed=s) for p in PROMPTS for s in (1, 2**70 + 5)]
    alone = [answers(family.local, [r])[0] for r in sampled]
    assert answers(family.local, sampled) == alone
    mixed = [*reversed(sampled), Request(PROMPTS[0], max_tokens=20)]
    assert answers(family.local, mixed)[-2::-1] == alone
    assert len({a.text for a in alone}) > 5


def test_greedy_rows_beside_sampled_ones_stay_greedy(llama: Family) -> None:
    greedy = Request(PROMPTS[0], max_tokens=8)
    sampled = [Request(PROMPTS[0], temperature=2.0, max_tokens=8, seed=s) for s in range(5)]
    assert answers(llama.local, [greedy, *sampled])[0] == answers(llama.local, [greedy])[0]


def test_samples_follow_the_models_distribution(llama: Family) -> None:
    ids = torch.tensor([prompt_ids(llama, PROMPTS[0])])
    with torch.no_grad():
        expected = (llama.reference(ids).logits[0, -1] / 0.7).softmax(-1).numpy()
    layout = Layout(llama.local._loaded.tokenizer)
    requests = [Request(PROMPTS[0], temperature=0.7, max_tokens=1, seed=s) for s in range(2000)]
    texts = [a.text for a in answers(llama.local, requests)]
    likeliest = np.argsort(-expected)[:5]
    for token in likeliest:
        (text,) = layout.answers([[int(token)]])
        same = [i for i, t in enumerate(layout.answers([[i] for i in range(len(expected))])) if t == text]
        share = texts.count(text) / len(texts)
        p = expected[same].sum()
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / len(texts)) + 1e-3


def test_a_sampled_request_needs_a_seed(llama: Family) -> None:
    with pytest.raises(ModelError, match="needs a seed, got None at temperature 0.5"):
        answers(llama.local, [Request("Think", temperature=0.5)])


def test_identical_prompts_are_read_once(llama: Family) -> None:
    requests = [Request(PROMPTS[2], temperature=1.0, max_tokens=1, seed=s) for s in range(6)]
    with embedded(llama.local) as shapes:
        answers(llama.local, [*requests, Request(PROMPTS[1], max_tokens=1)])
    assert sum(rows for rows, _ in shapes) == 2


def test_answers_end_before_a_stop_string(family: Family) -> None:
    free = answers(family.local, [Request(PROMPTS[0], max_tokens=30)])[0].text
    stop = free[6:9]
    (cut,) = answers(family.local, [Request(PROMPTS[0], max_tokens=30, stop=("never there", stop))])
    assert cut.text == free[: free.index(stop)]
    assert cut.finish == "stop"
    assert cut.output_tokens < 30


def test_an_opened_reply_is_continued(family: Family) -> None:
    """The answer to user + half an answer is the other half."""
    whole = slow_answer(family, Request(PROMPTS[0], max_tokens=10))
    layout = Layout(family.local._loaded.tokenizer)
    half, rest = layout.answers([whole[:4], whole[4:]])
    prompt = (Message("user", PROMPTS[0]), Message("assistant", half))
    if layout.ids([layout.text(prompt)])[0] == prompt_ids(family, PROMPTS[0]) + whole[:4]:
        assert answers(family.local, [Request(prompt, max_tokens=6)])[0].text == rest
    assert layout.text(prompt).endswith(half)


def test_a_prompt_beyond_the_context_fails_alone_with_both_numbers(llama: Family) -> None:
    short = Request("apples", max_tokens=4)
    long, answer = answers(llama.local, [Request("apples " * 400, max_tokens=4), short])
    assert (long.finish, long.text, long.output_tokens) == ("failed", "", 0)
    assert re.fullmatch(r"context overflow: \d{3,} tokens do not fit in 320", long.reason)
    assert answer == answers(llama.local, [short])[0]


def test_an_answer_ends_at_the_contexts_end(llama: Family) -> None:
    room = 320 - len(prompt_ids(llama, "apples " * 150))
    (answer,) = answers(llama.local, [Request("apples " * 150, max_tokens=1000)])
    assert (answer.output_tokens, answer.finish) == (room, "length")


def test_rows_that_reach_the_context_do_not_disturb_the_others(family: Family) -> None:
    long, short = Request("apples " * 290, max_tokens=100), Request("Think", max_tokens=60)
    (alone,) = answers(family.local, [short])
    found = answers(family.local, [short, Request("No", max_tokens=60), Request("Yes", max_tokens=60), short, long])
    assert found[0] == found[3] == alone
    assert found[4].prompt_tokens + found[4].output_tokens <= 320


def test_nothing_asked_is_nothing_answered(llama: Family) -> None:
    assert answers(llama.local, []) == []


def test_inference_mode_does_not_leak_to_the_consumer(llama: Family) -> None:
    for _ in llama.local.generate([Request(p, max_tokens=3) for p in PROMPTS]):
        assert not torch.is_inference_mode_enabled()


def uniforms(seeds: Sequence[int], count: int) -> np.ndarray:
    seeds_and_steps = np.meshgrid(np.asarray(seeds, np.uint64), np.arange(count), indexing="ij")
    return uniform(*seeds_and_steps)


def test_uniforms_are_functions_of_seed_and_step() -> None:
    many = uniforms(range(500), 40)
    assert many.dtype == np.float32
    assert many.min() >= 0
    assert many.max() < 1
    assert many[7, 3] == uniform(np.asarray([7], np.uint64), np.asarray([3]))[0]
    assert abs(many.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(many[:-1].ravel(), many[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(many[:, :-1].ravel(), many[:, 1:].ravel())[0, 1]) < 0.02


def test_bfloat16_answers_too(folders: dict[str, object]) -> None:
    loaded = load(str(folders["llama"]), "cpu", "bfloat16", None, None, False)
    assert loaded.id.endswith("/bfloat16")
    (answer,) = answers(LocalModel(loaded), [Request("Think", max_tokens=4)])
    assert answer.output_tokens == 4
