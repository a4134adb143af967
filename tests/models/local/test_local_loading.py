"""Opening models, and being told in one line why one cannot be opened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import Family
from transformers import AutoModelForCausalLM, MambaConfig

from steepest.errors import ModelError
from steepest.models import Generates, ScoresText, WhiteBox
from steepest.models.local import loading, open_local
from steepest.types import Request


def refusal(name: str, **options: str) -> str:
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


def test_batch_tokens_can_be_chosen(folders: dict[str, Path]) -> None:
    assert open_local(str(folders["llama"]), batch_tokens=77)._loaded.batch_tokens == 77


def test_memory_that_runs_out_is_said_with_the_remedy(llama: Family) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    hook = llama.local._loaded.model.register_forward_pre_hook(full)
    try:
        with pytest.raises(ModelError, match="open the model with batch_tokens 32768"):
            list(llama.local.generate([Request("Think")]))
        with pytest.raises(ModelError, match="batch must fit in memory"):
            llama.local.logprobs([("Think", " a")])
    finally:
        hook.remove()


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
