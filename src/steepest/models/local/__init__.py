"""A transformers model in this process: the only part of the package that needs torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steepest.models.local.model import LocalModel
    from steepest.models.replicas.model import Replicas

Placement = str | Mapping[str, str | int]
"""How layers are spread over devices: by rule, or module by module."""

# Waiting OpenMP threads spin by default, which starves other processes on the same cores; read when torch starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Without the warnings of loggers that, while their packages are imported, tell of what does not matter here."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def open_local(  # noqa: PLR0913  # size: every option has a default
    name_or_folder: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    batch_tokens: int | None = None,
    trust_remote_code: bool = False,
    infill: bool = False,
    device_map: Placement | None = None,
    quantize: str | None = None,
    replicas: int | None = None,
    ray_address: str | None = None,
    timeout: float | None = None,
) -> LocalModel | Replicas:
    """A causal language model from a folder or a Hugging Face id, frozen, with all capabilities.

    Args:
        name_or_folder: A folder that exists, else a Hugging Face id.
        device: "cpu", "cuda", "cuda:1", "mps"; the best that there is by default.
        dtype: "float32", "bfloat16" or "float16"; by default float32 on the CPU and the checkpoint's own elsewhere.
        threads: CPU threads for the whole process; torch's own choice by default.
        batch_tokens: How many tokens (prompt and answer, padding included) are decoded at once; forward and
            backward passes take a sixteenth of it. By default what fits comfortably. Lower it when memory runs out.
        trust_remote_code: Run code that the model's repository brings along.
        infill: Have it fill gaps too, for models that were trained to, such as Qwen2.5-Coder's base models. That a
            tokenizer has the tokens for it does not show it: Qwen3's has them as well.
        device_map: Instead of `device`, for models larger than one card: "auto", "balanced", "balanced_low_0" or
            "sequential", as in accelerate, or a mapping from modules to devices; what no card holds is in the CPU's
            memory or on disk.
        quantize: "8bit" or "4bit" weights, quantised when they are loaded. Part of the model's id.
        replicas: So many copies of it that share the work, as Ray actors; none or 0: this process alone.
        ray_address: The Ray cluster for them, HOST:PORT; one is started on this machine unless given.
        timeout: Seconds after which one of them that works and says nothing is taken to hang, and is begun again; two
            hours unless given.

    Raises:
        ModelError: nothing to open, an unusable tokenizer, an unknown device, dtype, device_map or quantize, no torch
            or quantiser installed, no tokens for gaps; no Ray, or not enough of it for the replicas.
    """
    if replicas or (ray_address and replicas is None):
        from steepest.models.replicas import open_replicas

        options: dict[str, Any] = {
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "batch_tokens": batch_tokens,
            "infill": infill,
        }
        options |= {"trust_remote_code": trust_remote_code, "device_map": device_map, "quantize": quantize}
        return open_replicas(name_or_folder, replicas, ray_address, timeout, options)
    try:
        # With transformers comes torchao, where it is installed.
        with quiet("torchao", "torch.utils._pytree"):
            from steepest.models.local.infilling import InfillingModel
            from steepest.models.local.loading import load
            from steepest.models.local.model import LocalModel
    except ModuleNotFoundError as missing:
        from steepest.errors import ModelError

        raise ModelError(
            f"local models need torch and transformers, got {missing}; pip install 'steepest[local]'"
        ) from missing

    kind = InfillingModel if infill else LocalModel
    return kind(load(name_or_folder, device, dtype, threads, batch_tokens, trust_remote_code, device_map, quantize))
