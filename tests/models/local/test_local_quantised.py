"""Weights in 8 and 4 bits: the answers of the quantised model itself, and gradients of the loss that it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import Family
from transformers import AutoModelForCausalLM

from steepest.errors import ModelError
from steepest.models.local import open_local, quantising
from steepest.models.local.layout import Layout
from steepest.types import Objective, Request, Row

pytest.importorskip("torchao")
pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.slow

CASES = [
    *((name, bits) for name in ("llama", "gemma2", "qwen3", "mistral", "phi3") for bits in ("8bit", "4bit")),
    ("gpt2", "4bit"),
]
ROWS = [
    Row("There are 12 apples in 3 boxes. ", "", "So the answer is $ ", "True"),
    Row("How many apples are there? ", "\nGo!", "Therefore, the final answer is", " 42"),
]
PROMPTS = ("How many apples are there?", "Think", "Answer the question with a number. " * 3)
AMONG = [11, 60, 133, 290, 400]


def read_by_transformers(folder: Path, bits: str | None) -> Family:
    """A quantised model as we open it and as transformers does."""
    told = {"quantization_config": quantising.settings(quantising.SCHEMES[bits])} if bits else {}
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map={"": "cpu"}, **told)
    if bits != "8bit":
        quantising.let_gradients_pass(reference)
    return Family(folder.name, folder, open_local(str(folder), quantize=bits), reference.eval())


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def quantised(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Family:
    torch.set_num_threads(1)
    name, bits = request.param
    return read_by_transformers(folders[name], bits)


def slow_answers(family: Family) -> list[str]:
    """Transformers' own greedy generation, one prompt at a time."""
    layout = Layout(family.local._loaded.tokenizer)
    found = []
    for ids in layout.ids([layout.text(prompt) for prompt in PROMPTS]):
        read = torch.tensor([ids])
        with torch.no_grad():
            out = family.reference.generate(
                input_ids=read, attention_mask=torch.ones_like(read), max_new_tokens=12, do_sample=False,
                eos_token_id=family.local._loaded.ends[0], pad_token_id=0,
            )  # fmt: skip
        found.append(layout.answers([out[0, len(ids) :].tolist()])[0])
    return found


def answers(family: Family) -> list[str]:
    found = dict(family.local.generate([Request(prompt, max_tokens=12) for prompt in PROMPTS]))
    return [found[i].text for i in range(len(PROMPTS))]


def loss_by_hand(family: Family, row: Row, ids: Sequence[int], position: int, token: int, share: float) -> float:
    """The loss by one plain forward pass, with a share of a position's indicator moved to another token."""
    (placed,) = Layout(family.local._loaded.tokenizer).place([(row, list(ids))])
    embed = family.reference.get_input_embeddings()
    with torch.no_grad():
        inputs = embed(torch.tensor([[*placed.left, *placed.prompt, *placed.right, *placed.target]])).clone()
        other = embed(torch.tensor([token]))[0]
        inputs[0, len(placed.left) + position].lerp_(other, share)
        logits = family.reference(inputs_embeds=inputs).logits[0, -len(placed.target) - 1 : -1].double()
    return -float(logits.log_softmax(-1)[range(len(placed.target)), placed.target].sum())


def test_answers_are_those_of_the_quantised_model(quantised: Family) -> None:
    assert quantised.local._loaded.ragged
    assert answers(quantised) == slow_answers(quantised)


def test_answers_and_gradients_take_turns(quantised: Family) -> None:
    """Neither leaves weights behind in a form that the other cannot use."""
    before = answers(quantised)
    gradient_by(quantised)
    quantised.local._loaded.prefixes.clear()
    assert answers(quantised) == before


def gradient_by(family: Family) -> tuple[list[int], np.ndarray]:
    ids = family.local.encode("Think step by step", ROWS[0].before)
    found = family.local.gradient(ROWS, ids, [1, 2], [AMONG, AMONG], objective=Objective())
    return ids, np.stack(found.values)


def test_gradients_are_those_of_finite_differences(quantised: Family) -> None:
    ids, found = gradient_by(quantised)
    step = 1e-2

    def slope(position: int, token: int) -> float:
        up, down = (
            sum(loss_by_hand(quantised, row, ids, position, token, share) for row in ROWS) for share in (step, -step)
        )
        return (up - down) / (2 * step)

    expected = np.asarray([[slope(position, token) for token in AMONG] for position in (1, 2)])
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_weights_are_quantised_and_frozen(quantised: Family) -> None:
    model = quantised.local._loaded.model
    assert not any(parameter.requires_grad for parameter in model.parameters())
    kinds = {type(parameter).__name__ for parameter in model.parameters()}
    assert kinds & {"Int8Tensor", "Params4bit"}


def test_the_id_follows_quantisation(folders: dict[str, Path], llama: Family) -> None:
    ids = [open_local(str(folders["llama"]), quantize=bits).id for bits in ("8bit", "4bit")]
    assert ids == [f"{llama.local.id}/int8", f"{llama.local.id}/nf4"]


def test_quantised_weights_change_the_loss(folders: dict[str, Path], llama: Family) -> None:
    prompt = llama.local.encode("Think step by step", ROWS[0].before)
    losses = [
        model.loss(ROWS, [prompt] * 2).loss
        for model in (llama.local, *(open_local(str(folders["llama"]), quantize=bits) for bits in ("8bit", "4bit")))
    ]
    apart = [float(np.abs(each - losses[0]).max()) for each in losses[1:]]
    assert 0 < 2 * apart[0] < apart[1]


def test_bfloat16_with_quantised_weights(folders: dict[str, Path]) -> None:
    for bits in ("8bit", "4bit"):
        model = open_local(str(folders["llama"]), quantize=bits, dtype="bfloat16")
        assert model.id.endswith(f"/bfloat16/{quantising.SCHEMES[bits].name}")
        ids = model.encode("Think step by step", ROWS[0].before)
        found = model.gradient(ROWS, ids, [1], [AMONG])
        assert np.isfinite(found.values[0]).all() and np.isfinite(found.loss).all()


def test_a_checkpoint_saved_with_quantised_weights_simply_loads(folders: dict[str, Path], tmp_path: Path) -> None:
    ours = open_local(str(folders["llama"]), quantize="4bit")
    ours._loaded.model.save_pretrained(tmp_path / "llama")
    ours._loaded.tokenizer.save_pretrained(tmp_path / "llama")
    saved = read_by_transformers(tmp_path / "llama", None)
    assert "/nf4" not in saved.local.id
    assert answers(saved) == slow_answers(saved)
    assert answers(saved) == [a.text for _, a in sorted(ours.generate([Request(p, max_tokens=12) for p in PROMPTS]))]
    _, found = gradient_by(saved)
    assert np.isfinite(found).all()
    with pytest.raises(ModelError, match="quantised once, got .*bitsandbytes has quantised already; leave quantize"):
        open_local(str(tmp_path / "llama"), quantize="8bit")


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        open_local(str(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_quantised_is_said(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "one of 8bit, 4bit, got '8bits'; did you mean '8bit'?" in refusal(folders["llama"], quantize="8bits")
    assert "need a device of type cpu or cuda, got 'meta'" in refusal(folders["llama"], quantize="8bit", device="meta")
    assert "got 8; known: 4bit, 8bit" in refusal(folders["llama"], quantize=8)
    assert "8-bit weights are those of linear layers, got a gpt2 model" in refusal(folders["gpt2"], quantize="8bit")
    monkeypatch.setattr(quantising, "find_spec", lambda _: None)
    assert "needs torchao" in refusal(folders["llama"], quantize="8bit")
    assert "needs bitsandbytes, got an environment without it; pip install 'steepest[local,quantize]'" in refusal(
        folders["llama"], quantize="4bit"
    )


def test_layers_on_disk_and_quantised_weights(folders: dict[str, Path]) -> None:
    spread = {"model": "cpu", "model.layers.1": "disk", "lm_head": "cpu"}
    with pytest.raises(ModelError, match="weights must be loadable here .* dispatched on the CPU or the disk"):
        open_local(str(folders["llama"]), quantize="4bit", device_map=spread)
