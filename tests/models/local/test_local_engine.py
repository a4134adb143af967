"""Every fast path agrees with its slow twin: whatever is remembered, forgotten, refilled or interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import Slow, answers, engine, little_memory, prompt_ids
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import OTHERS, Family, opened, save

from steepest.errors import ModelError
from steepest.models import Gradient
from steepest.models.local.loading import load
from steepest.models.local.model import LocalModel
from steepest.models.local.prefixes import Prefixes
from steepest.models.local.slots import BLOCK
from steepest.types import Objective, Request, Row

INSTRUCTIONS = ("Think step by step", "Think step and step", "Answer the question step by step.")
QUESTIONS = ("How many apples are there?", "There are 12 apples in 3 boxes. " * 3, "一共有多少个苹果？", "No")
LAYOUTS = ("{question} {instruction}", "{instruction}: {question}", "Answer {question} {instruction} Yes")


def prompts(layout: str) -> list[str]:
    return [layout.format(question=q, instruction=i) for i in INSTRUCTIONS for q in QUESTIONS]


@pytest.fixture(scope="module")
def slow(families: dict[str, Family]) -> dict[str, Slow]:
    return {name: Slow(family) for name, family in families.items()}


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return opened(request.param, save(request.param, tmp_path_factory.mktemp("other") / request.param))


def expected(model: LocalModel, slow: Slow, requests: Sequence[Request]) -> list[Any]:
    return [slow.answer(request, model._loaded.ends) for request in requests]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("blocks", [10_000, 3, 0])
def test_answers_with_everything_remembered_forgotten_or_never_kept(
    family: Family, slow: dict[str, Slow], layout: str, blocks: int
) -> None:
    model = engine(family, blocks, batch_tokens=1000)
    for some in (prompts(layout)[:6], prompts(layout)):
        requests = [Request(prompt, max_tokens=limit) for prompt in some for limit in (2, 12)]
        assert answers(model, requests) == expected(model, slow[family.name], requests)
    work = model.work
    assert len(model._loaded.prefixes) <= blocks
    assert (work.reused > 0) == (blocks > 0)
    assert 0 < work.right <= work.guessed


@pytest.mark.slow
def test_other_architectures_agree_or_fall_back(other: Family) -> None:
    model, slow = engine(other), Slow(other)
    for layout in LAYOUTS[:2]:
        requests = [Request(prompt, max_tokens=limit) for prompt in prompts(layout)[:6] for limit in (3, 20)]
        assert answers(model, requests) == expected(model, slow, requests)
    assert other.local._loaded.ragged == (other.name in RAGGED)
    check_white_box(other, model)


RAGGED = ("qwen2", "gpt_oss", "llama4_text", "gemma3_text")


def check_white_box(family: Family, model: LocalModel) -> None:
    """Losses, gradients, proposals and log-probabilities against plain passes, in an order that warms caches."""
    from test_local_gradients import ROWS, SPREAD, loss_by_hand, place, relative
    from test_local_scoring import PAIRS, by_hand

    from steepest.models.local.layout import Layout

    ids, objective = model.encode(INSTRUCTIONS[0], ROWS[0].before), Objective(fluency=0.3)
    layout = Layout(model._loaded.tokenizer)
    for _ in range(2):
        found = model.loss(ROWS, [ids] * 3, objective)
        hand = [loss_by_hand(family.reference, place(family, row, ids), objective) for row in ROWS]
        np.testing.assert_allclose(found.loss, [h[0] for h in hand], rtol=1e-4, atol=1e-4)
        near = model.gradient(ROWS, ids, [1, 2], [SPREAD, SPREAD], None, objective)
        np.testing.assert_allclose(near.loss, found.loss, rtol=1e-4, atol=1e-4)
        best = model.propose(ROWS, ids, 2, 3)
        for i, row in enumerate(ROWS):
            with torch.no_grad():
                read = torch.tensor([[*place(family, row, ids).left, *ids[:2]]])
                scores = family.reference(read).logits[0, -1].log_softmax(-1)
            np.testing.assert_allclose(best.logprobs[i], scores.topk(3).values, atol=1e-4)
        for (prompt, text), likely in zip(PAIRS, model.logprobs(PAIRS), strict=True):
            before, after = layout.split([(layout.text(prompt), text)])[0]
            np.testing.assert_allclose(likely.logprobs, by_hand(family, before, after), atol=1e-4)
    step, slopes = 1e-2, np.zeros(len(SPREAD))
    for row in ROWS:
        measure = partial(loss_by_hand, family.reference, place(family, row, ids), objective)
        slopes += [(measure((1, token, step))[0] - measure((1, token, -step))[0]) / (2 * step) for token in SPREAD]
    assert relative(near.values[0], slopes) < 1e-2


rows_of_requests = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from([1, 2, 9, 17]), st.sampled_from([0.0, 0.0, 0.8]), st.integers(0, 2)),
    min_size=1, max_size=14,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(rows_of_requests, min_size=1, max_size=3),
    blocks=st.sampled_from([0, 1, 4, 20, 10_000]),
    batch_tokens=st.sampled_from([1, 80, 200, 1000, 65_536]),
    layout=st.sampled_from(LAYOUTS),
)
def test_any_calls_in_any_batches(
    llama: Family,
    slow: dict[str, Slow],
    alone: Callable[[Request], Any],
    calls: Any,
    blocks: int,
    batch_tokens: int,
    layout: str,
) -> None:
    model, texts = engine(llama, blocks, batch_tokens=batch_tokens), prompts(layout)
    for call in calls:
        requests = [
            Request(texts[which], temperature=warm, max_tokens=limit, seed=seed if warm else None)
            for which, limit, warm, seed in call
        ]
        for request, found in zip(requests, answers(model, requests), strict=True):
            assert found == (
                alone(request) if request.temperature else slow["llama"].answer(request, model._loaded.ends)
            )
    check_room(model)


@pytest.fixture(scope="module")
def alone(families: dict[str, Family]) -> Callable[[Request], Any]:
    known: dict[Request, Any] = {}

    def answer(request: Request) -> Any:
        if request not in known:
            (known[request],) = answers(engine(families["llama"], 0), [request])
        return known[request]

    return answer


def check_room(model: LocalModel) -> None:
    """No more room was taken than batches may have, or a single text needs."""
    for slots in model._loaded.spare:
        token = sum(kept.heads * dim for kept in slots._kept for dim in kept._dims)
        taken = sum(len(memory) for kept in slots._kept for memory in kept._memory)
        assert taken <= token * 1.3 * max(model._loaded.batch_tokens, 321) + token * BLOCK * len(slots)


def test_many_short_texts_and_then_long_ones_take_no_more_room(llama: Family, slow: dict[str, Slow]) -> None:
    model = engine(llama, batch_tokens=600)
    requests = [Request(word, max_tokens=2) for word in ("Think", "No", "Yes", "True", "So", "Use")] * 8
    requests += [Request("apples " * n, max_tokens=30) for n in (40, 60, 90)]
    assert answers(model, requests) == expected(model, slow["llama"], requests)
    check_room(model)


@pytest.mark.slow
def test_a_consumer_may_use_the_model_meanwhile(family: Family, slow: dict[str, Slow]) -> None:
    model = engine(family, 40, batch_tokens=400)
    requests = [Request(prompt, max_tokens=limit) for prompt in prompts(LAYOUTS[0]) for limit in (3, 12)]
    inner = [Request(prompt, max_tokens=7) for prompt in prompts(LAYOUTS[1])[:3]]
    row = Row(QUESTIONS[1], "", "So the answer is $ ", "True")
    ids = model.encode(INSTRUCTIONS[0], row.before)
    loss = engine(family).loss([row], [ids]).loss
    gradient = engine(family).gradient([row], ids, [1], [[11, 60]]).values[0]
    wanted, inside = (expected(model, slow[family.name], some) for some in (requests, inner))
    for index, answer in model.generate(requests):
        assert answer == wanted[index]
        np.testing.assert_allclose(model.loss([row], [ids]).loss, loss, rtol=2e-5)
        np.testing.assert_allclose(
            model.gradient([row], ids, [1], [[11, 60]]).values[0], gradient, rtol=1e-3, atol=2e-5
        )
        if index % 5 == 0:
            assert answers(model, inner) == inside


def test_two_calls_side_by_side(llama: Family, slow: dict[str, Slow]) -> None:
    model = engine(llama, 30, batch_tokens=300)
    one, two = ([Request(p, max_tokens=9) for p in prompts(layout)] for layout in LAYOUTS[:2])
    found: list[dict[int, Any]] = [{}, {}]
    for (i, a), (j, b) in zip(model.generate(one), model.generate(two), strict=True):
        found[0][i], found[1][j] = a, b
    for requests, got in zip((one, two), found, strict=True):
        assert [got[i] for i in range(len(requests))] == expected(model, slow["llama"], requests)


def test_an_abandoned_call_leaves_the_model_usable(family: Family, slow: dict[str, Slow]) -> None:
    model = engine(family, 20, batch_tokens=500)
    requests = [Request(prompt, max_tokens=8) for prompt in prompts(LAYOUTS[0])]
    wanted = expected(model, slow[family.name], requests)
    for stop in (0, 3):
        for place, (index, answer) in enumerate(model.generate(requests)):
            assert answer == wanted[index]
            if place == stop:
                break
    assert answers(model, requests) == wanted
    assert len(model._loaded.spare) <= 2


@pytest.mark.parametrize("when", [0, 1, 4])
def test_an_error_in_between_leaves_the_model_usable(llama: Family, slow: dict[str, Slow], when: int) -> None:
    model = engine(llama, 20, batch_tokens=500)
    requests = [Request(prompt, max_tokens=8) for prompt in prompts(LAYOUTS[0])]
    count = iter(range(100))

    def fail(*_: Any) -> None:
        if next(count) == when:
            raise KeyboardInterrupt

    hook = model._loaded.model.get_decoder().layers[1].register_forward_pre_hook(fail)
    try:
        with pytest.raises(KeyboardInterrupt):
            answers(model, requests)
    finally:
        hook.remove()
    assert not model._loaded.model.get_output_embeddings()._forward_pre_hooks
    assert answers(model, requests) == expected(model, slow["llama"], requests)


@pytest.mark.parametrize("when", [0, 2])
@pytest.mark.parametrize("where", ["_copy", "_shape"])
def test_an_interrupt_while_something_is_kept_leaves_nothing_half_kept(
    llama: Family, slow: dict[str, Slow], monkeypatch: pytest.MonkeyPatch, where: str, when: int
) -> None:
    model, count = engine(llama, 400, batch_tokens=500), iter(range(10_000))
    requests = [Request(prompt, max_tokens=8) for prompt in prompts(LAYOUTS[0])]

    def fail(self: Prefixes, *given: Any, **named: Any) -> Any:
        if named.get("inwards", True) and next(count) == when:
            raise KeyboardInterrupt
        return whole(self, *given, **named)

    whole = getattr(Prefixes, where)
    monkeypatch.setattr(Prefixes, where, fail)
    with pytest.raises(KeyboardInterrupt):
        answers(model, requests)
    for _ in range(2):
        assert answers(model, requests) == expected(model, slow["llama"], requests)


ROWS = [Row(question, "", reply, "True") for question in QUESTIONS for reply in ("So the answer is $ ", "It is")]
TASKS: dict[str, Callable[[LocalModel, list[int]], list[Any]]] = {
    "loss": lambda m, ids: [m.loss(ROWS, [ids] * len(ROWS)).loss],
    "fluent loss": lambda m, ids: [m.loss(ROWS, [ids] * len(ROWS), Objective(fluency=0.5)).loss],
    "other loss": lambda m, ids: [m.loss(ROWS, [[*ids[:2], 11, *ids[2:]]] * len(ROWS)).loss],
    "gradient": lambda m, ids: of_gradient(m.gradient(ROWS, ids, [1, 3], [[11, 60, 133]] * 2)),
    "fluent gradient": lambda m, ids: of_gradient(m.gradient(ROWS, ids, [2], [[11, 60]], None, Objective(fluency=0.5))),
    "proposals": lambda m, ids: [p.logprobs for p in [m.propose(ROWS, ids, 2, 4)]],
    "logprobs": lambda m, _: [x.logprobs for x in m.logprobs([(q, INSTRUCTIONS[2]) for q in QUESTIONS])],
    "answers read": lambda m, _: [x.logprobs for x in m.logprobs(written(m, 9))],
    "answers": lambda m, _: [[a.output_tokens for a in answers(m, [Request(q, max_tokens=9) for q in QUESTIONS])]],
}


def written(model: LocalModel, most: int) -> list[tuple[str, str]]:
    """Questions with the model's own answers."""
    found = answers(model, [Request(question, max_tokens=most) for question in QUESTIONS])
    return [(question, answer.text) for question, answer in zip(QUESTIONS, found, strict=True)]


def of_gradient(found: Gradient) -> list[Any]:
    return [*found.values, found.loss]


def close(found: list[Any], wanted: list[Any]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=5e-5)


@pytest.fixture(scope="module")
def cold(families: dict[str, Family]) -> Callable[[str, str], list[Any]]:
    known: dict[tuple[str, str], list[Any]] = {}

    def find(name: str, task: str) -> list[Any]:
        if (name, task) not in known:
            model = engine(families[name], 0)
            known[name, task] = TASKS[task](model, model.encode(INSTRUCTIONS[0], QUESTIONS[0]))
        return known[name, task]

    return find


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    order=st.lists(st.sampled_from(sorted(TASKS)), min_size=1, max_size=8),
    name=st.sampled_from(["llama", "mistral", "gpt2"]),
    blocks=st.sampled_from([2, 12, 10_000]),
    batch_tokens=st.sampled_from([1, 600, 65_536]),
)
def test_any_order_of_calls_gives_the_same_values(
    families: dict[str, Family],
    cold: Callable[[str, str], list[Any]],
    order: list[str],
    name: str,
    blocks: int,
    batch_tokens: int,
) -> None:
    model = engine(families[name], blocks, batch_tokens=batch_tokens)
    ids = model.encode(INSTRUCTIONS[0], QUESTIONS[0])
    for task in order:
        close(TASKS[task](model, ids), cold(name, task))


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("ragged", [True, False])
def test_running_out_of_memory_halves_batches_and_changes_nothing(
    llama: Family, cold: Callable[[str, str], list[Any]], task: str, ragged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = engine(llama, batch_tokens=16_384, ragged=ragged)
    ids = model.encode(INSTRUCTIONS[0], QUESTIONS[0])
    most = 60 if task == "answers" else 90
    with little_memory(model, most) as sizes:
        close(TASKS[task](model, ids), cold("llama", task))
    assert max(sizes) <= most
    assert model._loaded.batch_tokens < 16_384
    assert "memory ran out; batches are now of" in caplog.text
    close(TASKS[task](model, ids), cold("llama", task))


def test_memory_that_runs_out_while_logits_are_used(
    llama: Family, cold: Callable[[str, str], list[Any]], monkeypatch: Any
) -> None:
    from steepest.models.local import gradients

    model = engine(llama, batch_tokens=16_384)
    ids = model.encode(INSTRUCTIONS[0], QUESTIONS[0])

    def greedy(logits: Any, *args: Any, **others: Any) -> Any:
        if len(logits) > 12:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.nn.functional.cross_entropy(logits, *args, **others)

    monkeypatch.setattr(gradients, "cross_entropy", greedy)
    close(TASKS["loss"](model, ids), cold("llama", "loss"))


@pytest.mark.parametrize("ragged", [True, False])
def test_what_was_written_is_not_written_again(llama: Family, slow: dict[str, Slow], ragged: bool) -> None:
    """Memory runs out in the middle, for good beyond a few texts: nothing is decoded twice, nothing answered twice."""
    model = engine(llama, batch_tokens=4096, ragged=ragged)
    requests = [Request(prompt, max_tokens=limit) for prompt in prompts(LAYOUTS[1]) for limit in (2, 30)]
    requests += [Request(QUESTIONS[0], temperature=0.9, max_tokens=25, seed=seed) for seed in range(3)]
    wanted = [*expected(model, slow["llama"], requests[:-3]), *answers(engine(llama), requests[-3:])]
    passed, chosen = iter(range(10_000)), list[int]()

    def fail(_: Any, args: Any, given: dict[str, Any]) -> None:
        rows, columns = given["input_ids"].shape
        if columns == 1 and rows > 5 and next(passed) >= 8:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def count(_: Any, args: Any, out: Any) -> None:
        chosen.append(out[0].shape[0] if ragged else out.shape[0])

    hook = model._loaded.model.register_forward_pre_hook(fail, with_kwargs=True)
    seen = model._loaded.model.get_output_embeddings().register_forward_hook(count)
    try:
        found = list(model.generate(requests))
    finally:
        hook.remove()
        seen.remove()
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    assert [answer for _, answer in sorted(found, key=lambda pair: pair[0])] == wanted
    assert model._loaded.batch_tokens < 4096
    if ragged:
        wrong = model.work.guessed - model.work.right
        # A wrong or right guess has its logits; those behind the first wrong one of a batch, and behind ends, too.
        assert sum(chosen) <= sum(answer.output_tokens for answer in wanted) + wrong + len(requests)


def test_no_memory_at_all_is_an_error_that_says_so(llama: Family) -> None:
    model = engine(llama, batch_tokens=1024)
    with little_memory(model, 0), pytest.raises(ModelError, match="a text must fit in memory, got none left on cpu"):
        answers(model, [Request("Think", max_tokens=3)])
    assert answers(engine(llama), [Request("Think", max_tokens=3)]) == answers(model, [Request("Think", max_tokens=3)])


def test_rows_of_very_different_length(family: Family, slow: dict[str, Slow]) -> None:
    model = engine(family)
    texts = ["apples " * n for n in (1, 250, 2, 120, 3)]
    requests = [Request(text, max_tokens=limit) for text in texts for limit in (2, 40)]
    assert answers(model, requests) == expected(model, slow[family.name], requests)
    assert answers(model, requests) == expected(model, slow[family.name], requests)


def test_copies_of_a_request_in_one_call(family: Family, slow: dict[str, Slow]) -> None:
    model = engine(family, batch_tokens=700)
    greedy = Request(QUESTIONS[1], max_tokens=12)
    sampled = [Request(QUESTIONS[1], temperature=0.9, max_tokens=12, seed=seed) for seed in (1, 2, 1)]
    found = answers(model, [greedy, *sampled, greedy, *sampled, greedy] * 2)
    assert found[0] == expected(model, slow[family.name], [greedy])[0]
    assert found[0::9] == found[4::9] == found[8::9] == [found[0]] * 2
    assert found[1] == found[3] == found[5] == found[7] == found[10]
    assert found[2] == found[6] == found[11]


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_bfloat16(folders: dict[str, Path], name: str) -> None:
    model = LocalModel(load(str(folders[name]), "cpu", "bfloat16", None, None, False))
    assert model._loaded.ragged
    requests = [Request(prompt, max_tokens=6) for prompt in prompts(LAYOUTS[0])]
    first = answers(model, requests)
    assert [a.output_tokens for a in first] == [6] * len(requests) or any(a.finish == "stop" for a in first)
    ids = model.encode(INSTRUCTIONS[0], QUESTIONS[0])
    for task in ("loss", "gradient", "proposals", "logprobs", "fluent gradient"):
        for one, again in zip(TASKS[task](model, ids), TASKS[task](model, ids), strict=True):
            assert np.isfinite(one).all()
            np.testing.assert_allclose(one, again, rtol=0.2, atol=0.5)


def test_work_is_counted_as_it_passes(family: Family) -> None:
    """Every token that the model's layers see is counted, fillers apart."""
    model, seen = engine(family, batch_tokens=500), [0]

    def count(_: Any, args: Any) -> None:
        seen[0] += args[0].numel()

    hook = model._loaded.model.get_input_embeddings().register_forward_pre_hook(count)
    try:
        answers(model, [Request(QUESTIONS[1], max_tokens=10)])
    finally:
        hook.remove()
    work = model.work
    assert work.read == seen[0] == len(prompt_ids(model, QUESTIONS[1])) + 9
    assert (work.steps, work.reused, work.guessed, work.right) == (9, 0, 0, 0)
    answers(model, [Request(QUESTIONS[1], max_tokens=10)])
    again = model.work
    # What follows a prompt that was read is known without reading its last token again.
    assert again.reused == len(prompt_ids(model, QUESTIONS[1]))
    assert again.read - work.read == 9
    assert (again.guessed, again.right) == (9 - 1, 9 - 1)
    seen = again.read + again.reused
    assert model.status == f"{again.reused / seen:.0%} of {seen} tokens remembered, 100% of 8 drafted tokens right"
    assert work.read < again.read  # What was handed out before does not change.
    with pytest.raises(AttributeError):
        model.work = work  # type: ignore[misc]


def test_work_of_reading_alone(llama: Family) -> None:
    model = engine(llama)
    (first,) = model.logprobs([(QUESTIONS[1], INSTRUCTIONS[0])])
    assert model.work == replace(model.work, read=first.tokens - 1, reused=0, steps=0)
    model.logprobs([(QUESTIONS[1], INSTRUCTIONS[0])])
    assert model.work.reused > 0
    assert model.work.read + model.work.reused == 2 * (first.tokens - 1)
