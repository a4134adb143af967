"""Opening models, and being told in one line why one cannot be opened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import Family
from transformers import AutoModelForCausalLM, MambaConfig

from steepest.errors import ModelError
from steepest.models import Generates, ScoresText, WhiteBox
from steepest.models.local import loading, open_local
from steepest.models.local.model import LocalModel
from steepest.models.local.slots import Shapes
from steepest.types import Objective, Request, Row


def refusal(name: str, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        open_local(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_local_model_has_every_capability(family: Family) -> None:
    assert isinstance(family.local, Generates)
    assert isinstance(family.local, ScoresText)
    assert isinstance(family.local, WhiteBox)
    assert family.local.context == 320


def test_weights_are_frozen_float32_in_eval_mode(family: Family) -> None:
    model = family.local._loaded.model
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in model.parameters())


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert "folder must exist" in refusal(str(tmp_path / "nowhere"))
    assert "folder must exist" in refusal("./nowhere")


def test_a_folder_without_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["llama"], tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    assert "must hold *.safetensors" in refusal(str(tmp_path / "model"))


def test_a_folder_without_tokenizer(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["llama"], tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    assert "config, safetensors and tokenizer" in refusal(str(tmp_path / "model"))


def test_a_tokenizer_without_offsets(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["llama"], tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    assert "needs a fast tokenizer (one with offsets), got ByT5Tokenizer" in refusal(str(tmp_path / "model"))


def test_a_name_that_cannot_be_found_offline() -> None:
    assert "got 'nobody/no-such-model'" in refusal("nobody/no-such-model")


def test_a_checkpoint_without_all_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["llama"], tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(folders["llama"]).model.save_pretrained(tmp_path / "model")
    config = json.loads((folders["llama"] / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert "without 'lm_head.weight'" in refusal(str(tmp_path / "model"))


def test_an_unknown_dtype_or_device(folders: dict[str, Path]) -> None:
    assert "did you mean bfloat16" in refusal(str(folders["llama"]), dtype="bfloat").replace("'", "")
    assert "usable by torch here, got 'warp'" in refusal(str(folders["llama"]), device="warp")


def test_the_id_follows_content_and_dtype(folders: dict[str, Path], tmp_path: Path, llama: Family) -> None:
    copy = Path(shutil.copytree(folders["llama"], tmp_path / "elsewhere" / "llama"))
    assert open_local(str(copy)).id == llama.local.id
    assert open_local(str(copy), dtype="bfloat16").id != llama.local.id
    model = AutoModelForCausalLM.from_pretrained(copy)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    model.save_pretrained(copy)
    assert open_local(str(copy)).id != llama.local.id


def test_large_files_are_known_by_their_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_WHOLE", 1000)
    monkeypatch.setattr(loading, "_EDGE", 100)
    header = b'{"a":1}'

    def written(data: bytes) -> str:
        (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
        return loading.fingerprint(tmp_path)

    plain = written(bytes(2000))
    assert written(bytes(2000)) == plain
    assert written(bytes(2001)) != plain
    assert written(b"x" + bytes(1999)) != plain
    assert written(bytes(1999) + b"x") != plain
    assert written(bytes(1000) + b"x" + bytes(999)) == plain


PARTS = ("model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb", "lm_head")
ROWS = [
    Row("There are 12 apples in 3 boxes. ", "", "So the answer is $ ", "True"),
    Row("How many apples are there? ", "\nGo!", "Therefore, the final answer is", " 42"),
]


def done(model: LocalModel) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Answers, losses and gradients, twice: the second time beginnings are known."""
    prompts = [Request(prompt, max_tokens=12) for prompt in ("Think", "How many apples are there?" * 3)]
    ids = model.encode("Think step by step", ROWS[0].before)
    texts, found = [], []
    for _ in range(2):
        texts += [response.text for _, response in sorted(model.generate(prompts), key=lambda pair: pair[0])]
        found.append(model.gradient(ROWS, ids, [0, 2], [[11, 60], [133]]))
        found.append(model.gradient(ROWS, ids, [0, 2], [[11, 60], [133]], objective=Objective(fluency=0.3)))
    return texts, [each.loss for each in found], [np.concatenate(each.values) for each in found]


@pytest.mark.parametrize("away", [["model.layers.1"], ["model.embed_tokens", "lm_head"]], ids=["layer", "ends"])
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_layers_may_lie_in_different_places(
    families: dict[str, Family], folders: dict[str, Path], name: str, away: list[str]
) -> None:
    spread = open_local(str(folders[name]), device_map={part: "disk" if part in away else "cpu" for part in PARTS})
    places = {parameter.device.type for parameter in spread._loaded.model.parameters()}
    assert places == {"cpu", "meta"}
    assert spread._loaded.ragged and spread.id == families[name].local.id
    assert {like.device.type for like in spread._loaded.shapes.each} == {"cpu"}
    found, expected = done(spread), done(families[name].local)
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-3, atol=1e-5)


def test_a_rule_for_placing_layers(folders: dict[str, Path], llama: Family) -> None:
    for rule in loading.PLACEMENTS:
        assert open_local(str(folders["llama"]), device_map=rule).id == llama.local.id


def test_a_placement_that_cannot_be_is_refused(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(folders["llama"])
    assert "did you mean 'balanced'?" in refusal(folder, device_map="balance")
    assert "by device or by device_map, got 'cpu' and 'auto'; leave one out" in refusal(
        folder, device="cpu", device_map="auto"
    )
    assert "placed as asked, got " in refusal(folder, device_map={"": "cpu", "lm_head": "disk"})
    monkeypatch.setattr(loading, "find_spec", lambda _: None)
    assert "device_map needs accelerate, got 'auto' in an environment without it; pip install" in refusal(
        folder, device_map="auto"
    )


def test_weights_that_do_not_fit_are_said_with_the_remedy(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...\nand more")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    assert "weights must fit in memory, got too little for" in refusal(str(folders["llama"]))


def test_room_is_that_of_the_fullest_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ((1 + device.index) * 10**9, 0))
    monkeypatch.setattr(loading, "_KV_SHARE", 0.5)
    monkeypatch.setattr(loading, "_MEMORY_SHARE", 0.25)

    def layer(device: int) -> tuple[Like, Like]:
        return (Like(torch.device("cuda", device), 50),) * 2

    def shapes(*devices: int) -> Shapes:
        return Shapes([layer(device) for device in devices], Like(torch.device("cuda", 1), 0))

    one = loading._room(shapes(1, 1, 1, 1))
    assert (one.held, one.remembered) == (10**9 // 400, 5 * 10**8)
    # A quarter of the layers on the smaller card, so that the larger one decides; then half of them.
    assert loading._room(shapes(0, 1, 1, 1)).held == 10**9 // 300
    two = loading._room(shapes(0, 0, 1, 1))
    assert (two.held, two.remembered) == (5 * 10**8 // 200, 5 * 10**8)


@dataclass(frozen=True)
class Like:
    device: Any
    nbytes: int


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_on_the_cpu(families: dict[str, Family], folders: dict[str, Path], dtype: str) -> None:
    """Likelihoods and gradients are those in float32, up to the dtype's rounding."""
    tolerance = {"float16": 0.02, "bfloat16": 0.15}[dtype]
    for name in ("llama", "gemma2", "gpt2"):
        model = open_local(str(folders[name]), dtype=dtype)
        plain = families[name].local
        assert model._loaded.ragged
        pairs = [("Think", " There are 12 apples"), ("How many apples are there?" * 4, " 42")]
        for found, expected in zip(model.logprobs(pairs), plain.logprobs(pairs), strict=True):
            np.testing.assert_allclose(found.logprobs, expected.logprobs, rtol=tolerance, atol=tolerance)
        ids = model.encode("Think step by step", ROWS[0].before)
        among = list(range(10, 200))
        found, expected = (np.concatenate(m.gradient(ROWS, ids, [1], [among]).values) for m in (model, plain))
        assert np.linalg.norm(found - expected) < 2 * tolerance * np.linalg.norm(expected)
        assert {r.output_tokens for _, r in model.generate([Request(t, max_tokens=5) for t in ("Think", "No no")])}


def test_threads_are_those_asked_for(folders: dict[str, Path]) -> None:
    before = torch.get_num_threads()
    try:
        open_local(str(folders["llama"]), threads=2)
        assert torch.get_num_threads() == 2
        open_local(str(folders["llama"]))
        assert torch.get_num_threads() == 2
        open_local(str(folders["llama"]), threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_batch_tokens_can_be_chosen(folders: dict[str, Path]) -> None:
    assert open_local(str(folders["llama"]), batch_tokens=77)._loaded.batch_tokens == 77


def test_memory_that_is_never_enough_is_said_with_the_remedy(folders: dict[str, Path]) -> None:
    model = open_local(str(folders["llama"]))

    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    model._loaded.model.register_forward_pre_hook(full)
    with pytest.raises(ModelError, match="a text must fit in memory.*choose a smaller model"):
        list(model.generate([Request("Think")]))
    with pytest.raises(ModelError, match="a text must fit in memory"):
        model.logprobs([("Think", " a")])


def test_a_model_without_keys_and_values_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=422, hidden_size=32, num_hidden_layers=1, state_size=4, eos_token_id=4)
    shutil.copytree(folders["llama"], tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    assert "must keep keys and values" in refusal(str(tmp_path / "model"))


def test_importing_is_light_and_quietens_waiting_threads() -> None:
    code = "import os, sys, steepest.models.local; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["PASSIVE", "False"]
