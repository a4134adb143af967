"""Weights in 8 or 4 bits. They stay frozen; activations do not lose bits, so that gradients are those of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig, TorchAoConfig
from transformers.utils.quantization_config import QuantizationMethod

from steepest.errors import ModelError, nearest


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to write weights in fewer bits."""

    name: str
    """Part of a model's id."""
    package: str
    """What does it."""


SCHEMES: Mapping[str, Scheme] = {"8bit": Scheme("int8", "torchao"), "4bit": Scheme("nf4", "bitsandbytes")}
_DEVICES = ("cpu", "cuda")


def chosen(asked: str, device: Any) -> Scheme:
    """The scheme that is asked for; ModelError where there is none, or not here."""
    if asked not in SCHEMES:
        raise ModelError(f"quantize must be one of {', '.join(SCHEMES)}, got {asked!r}; {nearest(str(asked), SCHEMES)}")
    if device.type not in _DEVICES:
        raise ModelError(
            f"quantised weights need a device of type {' or '.join(_DEVICES)}, got {device.type!r}; "
            "choose another device or leave quantize out"
        )
    scheme = SCHEMES[asked]
    if find_spec(scheme.package) is None:
        raise ModelError(
            f"quantize={asked!r} needs {scheme.package}, got an environment without it; "
            "pip install 'steepest[local,quantize]'"
        )
    return scheme


def settings(scheme: Scheme) -> Any:
    """A scheme as transformers is told it."""
    if scheme.package == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


def method(config: Any) -> str | None:
    """By what the weights of a configuration are quantised."""
    found = config.to_dict().get("quantization_config")
    return QuantizationMethod(found["quant_method"]).value if found else None


def check(name: str, model: Any) -> None:
    """Raise ModelError where a model was to be quantised that has nothing to quantise."""
    head = model.get_output_embeddings()
    if not any(isinstance(module, torch.nn.Linear) and module is not head for module in model.modules()):
        raise ModelError(
            f"8-bit weights are those of linear layers, got a {model.config.model_type} model without any in {name!r}; "
            "try quantize='4bit' or leave it out"
        )


def let_gradients_pass(model: Any) -> None:
    """Compute with bitsandbytes' 4-bit weights in the model's dtype, in ways that can be gone back."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.compute_dtype = model.dtype
            # Else the first pass without gradients packs weights in a form that has no backward pass.
            module.support_avx512bf16_for_cpu = False
