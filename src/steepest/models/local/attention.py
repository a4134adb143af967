"""Attention for rows that have read differently much: each row's queries stand where its own text goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "steepest"
"""Under which models are told to use it."""


class Ragged(Cache):  # type: ignore[misc]
    """A cache that says of every row where its queries and its keys stand in the text."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers=layers)
        self.queries: Any = None
        """[rows, new tokens], the position of each."""
        self.keys: Any = None
        """[rows or 1, keys], the position of each key; -1 where there is none."""

    def get_query_offset(self, layer_idx: int = 0) -> Any:
        """See transformers: there it is one number for all rows."""
        return self.queries

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """What models go by that were not told positions; they are, here."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, Any]:
        """How many keys there are, and where they stand."""
        return self.keys.shape[-1], self.keys


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: Any = 0,
    mask_function: Callable[..., Any] | None = None,
    dtype: Any = torch.float32,
    **others: Any,
) -> Any:
    """[rows, 1, queries, keys], 0 where the model's own `mask_function` lets a query see a key, else -inf."""
    if not isinstance(kv_offset, torch.Tensor):
        others["allow_is_causal_skip"] = False
        seen = sdpa_mask(batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, **others)
        return _added(seen, dtype)
    assert mask_function is not None
    device = kv_offset.device
    rows = torch.arange(batch_size, device=device)[:, None, None, None]
    heads = torch.zeros((1, 1, 1, 1), dtype=torch.long, device=device)
    keys = kv_offset[:, None, None, :]
    return _added(mask_function(rows, heads, q_offset[:, None, :, None], keys) & (keys >= 0), dtype)


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Any = None,
    **others: Any,
) -> tuple[Any, None]:  # size: the arguments are those that transformers passes
    """softmax(scaling * query key + mask) value, [rows, queries, heads, dim].

    query [rows, heads, queries, dim], key and value [rows, heads that are kept, keys, dim]. Heads that share keys are
    taken as one head with more queries, so that keys are not copied for each.
    """
    rows, heads, queries, dim = query.shape
    kept = key.shape[1]
    shared = heads // kept
    packed = query.reshape(rows, kept, shared * queries, dim)
    if shared > 1 and queries > 1:
        attention_mask = attention_mask.repeat(1, 1, shared, 1)
    if softcap is None and s_aux is None:
        out = scaled_dot_product_attention(packed, key, value, attention_mask, scale=scaling)
    else:
        scores = (packed @ key.transpose(2, 3)) * (dim**-0.5 if scaling is None else scaling)
        scores = scores if softcap is None else (scores / softcap).tanh() * softcap
        scores = scores + attention_mask
        if s_aux is not None:
            sink = s_aux.view(1, kept, shared, 1).expand(rows, -1, -1, queries).reshape(rows, kept, -1, 1)
            scores = torch.cat([scores, sink], -1)
        out = scores.softmax(-1, dtype=torch.float32)[..., : key.shape[2]].to(value.dtype) @ value
    return out.reshape(rows, heads, queries, value.shape[-1]).transpose(1, 2).contiguous(), None


def _added(seen: Any, dtype: Any) -> Any:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, mask)
