"""From a folder or hub id to a frozen model, its tokenizer, and what is known of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicLayer
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from steepest.errors import ModelError, nearest

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WHOLE = 100 * 2**20
_EDGE = 2**20
_IDENTITY = (
    "*.safetensors",
    "*config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.jinja",
    "special_tokens_map.json",
)
_KV_SHARE = 0.4
"""Of an accelerator's free memory, for cached keys and values; activations take the rest."""
_KV_BYTES = 2**30
"""On the CPU."""
_FEWEST_TOKENS, _MOST_TOKENS = 4096, 65_536


@dataclass(frozen=True, slots=True)
class Loaded:
    """A frozen model in eval mode, with its tokenizer."""

    id: str
    model: Any
    """A transformers causal language model."""
    tokenizer: Any
    """A fast tokenizer: offsets are needed."""
    device: Any
    """The torch device on which the model computes."""
    context: int
    """How many tokens fit."""
    width: int
    """How many logits there are, padding of the vocabulary included."""
    ends: tuple[int, ...]
    """Tokens that end an answer."""
    batch_tokens: int
    """Tokens decoded at once."""

    @property
    def pass_tokens(self) -> int:
        """Tokens passed forward or backward at once: activations weigh more than cached keys and values."""
        return self.batch_tokens // 16


def load(
    name: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    batch_tokens: int | None,
    trust_remote_code: bool,
) -> Loaded:
    """Open `name`; see `open_local`."""
    if threads is not None:
        torch.set_num_threads(threads)
    place = _device(device)
    precision = _dtype(dtype, place)
    folder = _folder(name)
    where = str(folder or name)
    with _as_model_errors(name), _no_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=trust_remote_code)
        model, info = AutoModelForCausalLM.from_pretrained(
            where,
            dtype=precision,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        origin = folder or Path(cached_file(where, "config.json")).parent
    _check(name, tokenizer, info["missing_keys"])
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    model.requires_grad_(False).eval().to(place)
    weight = _bytes_per_token(model, place)
    return Loaded(
        id=f"{folder.name if folder else name}@{fingerprint(origin)}/{str(model.dtype).removeprefix('torch.')}",
        model=model,
        tokenizer=tokenizer,
        device=place,
        context=_context(model),
        width=model.get_output_embeddings().weight.shape[0],
        ends=_ends(model, tokenizer),
        batch_tokens=batch_tokens or _affordable(place, weight),
    )


def fingerprint(folder: Path) -> str:
    """12 hex digits of a hash over weights, configuration and tokenizer.

    Files from 100 MB on are taken by size, safetensors header, and the first and last MB of their data.
    """
    digest = hashlib.sha256()
    for path in sorted({p for pattern in _IDENTITY for p in folder.glob(pattern)}):
        size = path.stat().st_size
        digest.update(f"{path.name}\x1f{size}\x1f".encode())
        with path.open("rb") as file:
            if size < _WHOLE:
                digest.update(file.read())
            else:
                header = int.from_bytes(file.read(8), "little")
                digest.update(file.read(header + _EDGE))
                file.seek(-_EDGE, 2)
                digest.update(file.read())
    return digest.hexdigest()[:12]


def _folder(name: str) -> Path | None:
    """The folder that `name` is, checked; None for a hub id."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise ModelError(f"a model's folder must exist, got {name!r}; give a folder or a Hugging Face id")
        return None
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"a model's folder must hold *.safetensors, got none in {name!r}; save it with safe_serialization"
        )
    return folder


def _device(asked: str | None) -> Any:
    if asked is None:
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"a device must be usable by torch here, got {asked!r} ({_first_line(error)}); try 'cpu'"
        ) from error


def _dtype(asked: str | None, device: Any) -> Any:
    if asked is None:
        return torch.float32 if device.type == "cpu" else "auto"
    if asked not in DTYPES:
        raise ModelError(f"a dtype must be one of {', '.join(DTYPES)}, got {asked!r}; {nearest(asked, DTYPES)}")
    return DTYPES[asked]


def _check(name: str, tokenizer: Any, missing: set[str]) -> None:
    if missing:
        raise ModelError(
            f"a checkpoint must hold all weights of a causal language model, got {name!r} without "
            f"{min(missing)!r}; choose a generative checkpoint"
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"a local model needs a fast tokenizer (one with offsets), got {type(tokenizer).__name__} for {name!r}; "
            "save tokenizer.json beside the weights"
        )


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    ends = sorted({end for end in (*listed, tokenizer.eos_token_id) if end is not None})
    if not ends:
        raise ModelError(
            "a model must know how an answer ends, got neither generation_config.eos_token_id nor an eos token; "
            "set one of them in the checkpoint"
        )
    return tuple(ends)


def _context(model: Any) -> int:
    config = model.config.get_text_config()
    try:
        return int(config.max_position_embeddings)
    except AttributeError as missing:
        raise ModelError(
            f"a local model must say how many tokens fit, got no max_position_embeddings in a {config.model_type} "
            "configuration; add it to config.json"
        ) from missing


def _bytes_per_token(model: Any, device: Any) -> int:
    """What the cached keys and values of one token weigh, by trying one."""
    with torch.inference_mode():
        out = model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device), use_cache=True)
    past = out.get("past_key_values")
    layers = [] if past is None else past.layers
    if not layers or not all(isinstance(layer, DynamicLayer) and layer.keys is not None for layer in layers):
        raise ModelError(
            f"a local model must keep keys and values in every layer, got a {model.config.model_type} model that "
            "does not; choose one of plain attention"
        )
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)


def _affordable(device: Any, weight: int) -> int:
    """How many tokens of `weight` bytes to hold at once."""
    if device.type == "cuda":
        return max(int(_KV_SHARE * torch.cuda.mem_get_info(device)[0]) // weight, _FEWEST_TOKENS)
    return min(max(_KV_BYTES // weight, _FEWEST_TOKENS), _MOST_TOKENS)


@contextmanager
def enough_memory(loaded: Loaded) -> Iterator[None]:
    """Say what helps where the accelerator's memory runs out."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f"a batch must fit in memory, got none left on {loaded.device} at batch_tokens {loaded.batch_tokens}; "
            f"open the model with batch_tokens {loaded.batch_tokens // 2}"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _as_model_errors(name: str) -> Iterator[None]:
    """What transformers cannot open is for the user to put right."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, json.JSONDecodeError) as error:
        raise ModelError(
            f"a local model must be a folder or a Hugging Face id with config, safetensors and tokenizer, "
            f"got {name!r} ({_first_line(error)}); check the name and the network"
        ) from error


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
