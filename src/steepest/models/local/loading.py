"""From a folder or hub id to a frozen model, its tokenizer, and what is known of them."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicLayer
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from steepest.errors import ModelError, nearest
from steepest.models.local import Placement, attention, quantising, quiet
from steepest.models.local.drafts import Drafts
from steepest.models.local.loaded import Loaded
from steepest.models.local.prefixes import Prefixes
from steepest.models.local.quantising import Scheme
from steepest.models.local.slots import Shapes, Slots

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PLACEMENTS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Ways to spread layers over devices, by their names in accelerate."""
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
_KV_SHARE, _MEMORY_SHARE = 0.3, 0.2
"""Of an accelerator's free memory, for keys and values in use and for those remembered; activations take the rest."""
_KV_BYTES, _MEMORY_BYTES = 2**30, 2**30
"""On the CPU."""
_FEWEST_TOKENS, _MOST_TOKENS = 4096, 65_536
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}
"""How far logits may be apart, in standard deviations, and still be called the same."""
_ENDS = np.arange(2), np.asarray([5, 2])


def load(
    name: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    batch_tokens: int | None,
    trust_remote_code: bool,
    device_map: Placement | None = None,
    quantize: str | None = None,
) -> Loaded:
    """Open `name`; see `open_local`."""
    if threads is not None:
        torch.set_num_threads(threads)
    target = _device(device)
    told = {"dtype": _dtype(dtype, target), "device_map": _placement(device, device_map) or {"": target}}
    scheme = None if quantize is None else quantising.chosen(quantize, target)
    folder = _folder(name)
    where = str(folder or name)
    with _as_model_errors(name):
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=trust_remote_code)
        config = AutoConfig.from_pretrained(where, trust_remote_code=trust_remote_code)
        origin = folder or Path(cached_file(where, "config.json")).parent
    _check(name, tokenizer)
    model = _model(name, where, config, scheme, {**told, "trust_remote_code": trust_remote_code})
    place = _entrance(model)
    shapes = _shapes(model, place)
    room = _room(shapes)
    return Loaded(
        id=_id(folder.name if folder else name, origin, model, scheme),
        model=model,
        tokenizer=tokenizer,
        device=place,
        context=_context(model),
        width=model.get_output_embeddings().weight.shape[0],
        ends=_ends(model, tokenizer),
        batch_tokens=batch_tokens or _batch_tokens(place, room.held),
        shapes=shapes,
        prefixes=Prefixes(shapes, room.remembered),
        drafts=Drafts(),
        ragged=_ragged(name, model, shapes, place),
    )


def _model(name: str, where: str, config: Any, scheme: Scheme | None, told: Mapping[str, Any]) -> Any:
    """The model at `where`, frozen and in its place."""
    before = quantising.method(config)
    if scheme and before:
        raise ModelError(
            f"weights are quantised once, got {name!r}, which {before} has quantised already; leave quantize out"
        )
    if scheme:
        told = {**told, "quantization_config": quantising.settings(scheme)}
    # bitsandbytes tells of kernels that are not used here.
    with _as_weight_errors(name), _no_progress_bars(), quiet("bitsandbytes.backends.cpu.ops"):
        model, info = AutoModelForCausalLM.from_pretrained(
            where, use_safetensors=True, output_loading_info=True, **told
        )
    if info["missing_keys"]:
        raise ModelError(
            f"a checkpoint must hold all weights of a causal language model, got {name!r} without "
            f"{min(info['missing_keys'])!r}; choose a generative checkpoint"
        )
    if scheme:
        quantising.check(name, model)
    if quantising.method(model.config) == "bitsandbytes":
        quantising.let_gradients_pass(model)
    return model.requires_grad_(False).eval()


def _id(name: str, origin: Path, model: Any, scheme: Scheme | None) -> str:
    """See `Generates.id`. What was quantised before it was saved is told by the fingerprint."""
    dtype = str(model.dtype).removeprefix("torch.")
    return f"{name}@{fingerprint(origin)}/{dtype}" + (f"/{scheme.name}" if scheme else "")


def _entrance(model: Any) -> Any:
    """The device where ids go into a model; its layers may be elsewhere."""
    embed = model.get_input_embeddings()
    if embed.weight.device.type != "meta":
        return embed.weight.device
    with torch.inference_mode():
        return embed(torch.zeros((1, 1), dtype=torch.long)).device


def _ragged(name: str, model: Any, shapes: Shapes, device: Any) -> bool:
    """Whether texts that go on from different lengths in one pass come out as each alone; if so, they will."""
    texts = [np.arange(count) * 7 % model.get_input_embeddings().weight.shape[0] for count in (13, 7)]
    before = model.config._attn_implementation
    with torch.inference_mode():
        alone = torch.cat([model(input_ids=torch.from_numpy(text)[None].to(device)).logits[0, -1:] for text in texts])
        try:
            model.set_attn_implementation(attention.NAME)
            slots = Slots(model, shapes, device)
            slots.reserve(2, 1)
            slots.read(np.arange(2), np.stack([text[:6] for text in texts]), np.asarray([6, 3]), _ENDS)
            rest = np.zeros((2, 7), np.int64)
            rest[0], rest[1, :4] = texts[0][6:], texts[1][3:]
            found = slots.read(np.arange(2), rest, np.asarray([7, 4]), (np.arange(2), np.asarray([12, 6])))
            apart = float((found - alone.float()).abs().max() / alone.float().std())
        except Exception as error:  # Whatever an architecture of its own stumbles over.
            logging.getLogger("steepest").debug("no ragged reading: %s", error)
            apart = math.inf
        if apart > _TOLERANCE[alone.dtype]:
            model.set_attn_implementation(before)
            logging.getLogger("steepest").warning(
                "%s: a %s model reads every text whole, which is slower", name, model.config.model_type
            )
            return False
    return True


def _batch_tokens(device: Any, affordable: int) -> int:
    # Beyond some size a batch only outgrows a processor's caches.
    return max(affordable if device.type == "cuda" else min(affordable, _MOST_TOKENS), _FEWEST_TOKENS)


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
        asked = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
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


def _placement(device: str | None, asked: Placement | None) -> Placement | None:
    """`device_map`, checked."""
    if asked is None:
        return None
    if device is not None:
        raise ModelError(f"a model is placed by device or by device_map, got {device!r} and {asked!r}; leave one out")
    if find_spec("accelerate") is None:
        raise ModelError(
            f"device_map needs accelerate, got {asked!r} in an environment without it; pip install 'steepest[local]'"
        )
    if isinstance(asked, str) and asked not in PLACEMENTS:
        raise ModelError(
            f"device_map must be one of {', '.join(PLACEMENTS)} or a mapping from modules to devices, "
            f"got {asked!r}; {nearest(asked, PLACEMENTS)}"
        )
    return asked


def _check(name: str, tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        raise ModelError(
            f"a local model needs a fast tokenizer (one with offsets), got {type(tokenizer).__name__} for {name!r}; "
            "save tokenizer.json beside the weights"
        )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


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
        most = int(config.max_position_embeddings)
    except AttributeError as missing:
        raise ModelError(
            f"a local model must say how many tokens fit, got no max_position_embeddings in a {config.model_type} "
            "configuration; add it to config.json"
        ) from missing
    known = config.to_dict()
    if (known.get("rope_parameters") or {}).get("rope_type") == "longrope":
        # Beyond it, frequencies go by the longest text of a batch.
        most = min(most, int(known["rope_parameters"]["original_max_position_embeddings"]))
    if known.get("attn_temperature_tuning"):
        # It goes by columns of a batch instead of positions, from this one on.
        most = min(most, int(known["floor_scale"]) - 1)
    return most


def _shapes(model: Any, device: Any) -> Shapes:
    """What is kept of one token, by trying one."""
    hidden: list[Any] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    with torch.inference_mode():
        out = model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device), use_cache=True)
    hook.remove()
    past = out.get("past_key_values")
    layers = [] if past is None else past.layers
    if not layers or not all(isinstance(layer, DynamicLayer) and layer.keys is not None for layer in layers):
        raise ModelError(
            f"a local model must keep keys and values in every layer, got a {model.config.model_type} model that "
            "does not; choose one of plain attention"
        )
    pairs = [(layer.keys[0, :, 0].clone(), layer.values[0, :, 0].clone()) for layer in layers]
    return Shapes(pairs, hidden[0][0].clone())


@dataclass(frozen=True, slots=True)
class _Room:
    """What memory is for."""

    held: int
    """Tokens whose keys and values may be in use at once."""
    remembered: int
    """Bytes of keys and values to remember."""


def _room(shapes: Shapes) -> _Room:
    """How much there is; of several devices the fullest decides."""
    weights = Counter[Any]()
    for like in shapes.each:
        weights[like.device] += like.nbytes
    held, remembered = [], []
    for device, weight in weights.items():
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        held.append(int(_KV_BYTES if free is None else _KV_SHARE * free) // weight)
        remembered.append(int(_MEMORY_BYTES if free is None else _MEMORY_SHARE * free) * weights.total() // weight)
    return _Room(min(held), min(remembered))


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
def _as_weight_errors(name: str) -> Iterator[None]:
    """As above, of what is found when weights are put in their place."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"weights must fit in memory, got too little for {name!r} ({_first_line(error)}); "
            "try device_map='auto', quantize='4bit' or a smaller dtype"
        ) from error
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"weights must be loadable here as they are saved and placed as asked, got {name!r} "
            f"({_first_line(error)}); install or change what is named there"
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
