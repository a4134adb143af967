"""Forward passes over rows whose beginnings are read once and whose ends are looked at closely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from steepest.models.local.batching import Padded, distinct, padded
from steepest.models.local.loading import Loaded


@dataclass(frozen=True, slots=True)
class Past:
    """What rows have read already, padded at the left."""

    cache: Any
    """A transformers cache; None where nothing was read."""
    mask: Any
    """[rows, columns]"""
    lengths: Any
    """[rows]"""
    tokens: int
    """Tokens that passed through the model for it."""


def read(loaded: Loaded, prefixes: Sequence[Sequence[int]]) -> Past:
    """Read each different prefix once, without gradients, and hand every row its copy. Prefixes may be empty."""
    device = loaded.device
    different, which = distinct(prefixes)
    index = torch.from_numpy(which).to(device)
    tokens = sum(map(len, different))
    inputs = padded(different, device, left=True)
    if not tokens:
        return Past(None, inputs.mask[index], inputs.lengths[index], 0)
    with torch.no_grad():
        cache = loaded.model(
            input_ids=inputs.ids,
            attention_mask=inputs.mask,
            position_ids=inputs.positions,
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=1,
        ).past_key_values
        if len(different) < len(prefixes):
            cache.batch_select_indices(index)
    return Past(cache, inputs.mask[index], inputs.lengths[index], tokens)


def logits_at(loaded: Loaded, past: Past, suffix: Padded, embeddings: Any, rows: Any, columns: Any) -> Any:
    """[wanted, width] float32 logits behind the tokens at (rows, columns) of `suffix`.

    `embeddings` [rows, columns, hidden] stand for the suffix's ids, as the input embedding would give them.
    """
    with _only(loaded.model.get_output_embeddings(), rows, columns):
        logits = loaded.model(
            inputs_embeds=embeddings,
            attention_mask=torch.cat([past.mask, suffix.mask], 1),
            position_ids=past.lengths[:, None] + suffix.positions,
            past_key_values=past.cache,
            use_cache=past.cache is not None,
        ).logits
    return logits[0].float()


@contextmanager
def _only(head: Any, rows: Any, columns: Any) -> Iterator[None]:
    """Let only these hidden states into the output layer: [1, wanted, hidden] in place of [rows, columns, hidden]."""

    def narrow(_: Any, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden[0][rows, columns][None],)

    hook = head.register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        hook.remove()
