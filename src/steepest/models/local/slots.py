"""Keys and values of many texts side by side, each text as long as it happens to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicLayer

from steepest.models import Ints
from steepest.models.local.attention import Ragged

Shapes = Sequence[tuple[Any, Any]]
"""For each layer a key and a value of one token, [heads, dim]: what they are like, not what they say."""


class Layer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values: [slots, heads, columns, dim], where token t of a text is in column t."""

    def __init__(self, like: tuple[Any, Any]) -> None:
        super().__init__()
        self.is_initialized = True
        self.heads = like[0].shape[0]
        self._memory = [each.new_empty(0) for each in like]
        self._dims = [each.shape[1] for each in like]
        self.stores: list[Any] = []
        self.into: Any = None
        """[rows * tokens * heads], where in the stores, flattened to [-1, dim], the next tokens belong."""
        self.slots: Any = None
        """[rows], the slots that the next tokens belong to; None for the first ones."""
        self.rows = 0
        """How many slots the next tokens belong to."""
        self.width = 0
        """How many columns the next tokens may look at."""

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Write one forward pass's keys and values, and give those that its queries may look at."""
        seen = []
        for store, states in zip(self.stores, (key_states, value_states), strict=True):
            flat = states.transpose(1, 2).flatten(0, 2)
            store.flatten(0, 2).index_copy_(0, self.into.to(store.device), flat)
            which = slice(self.rows) if self.slots is None else self.slots.to(store.device)
            seen.append(store[which, :, : self.width])
        return seen[0], seen[1]

    def resize(self, slots: int, columns: int, kept: int, width: int) -> None:
        """Have so many, in the memory that is there if it suffices; the first `kept` slots keep `width` columns."""
        # Outside inference mode: gradients may be taken of what is read after it.
        with torch.inference_mode(False), torch.no_grad():
            old = [store[:kept, :, :width].clone() for store in self.stores] if kept else []
            self.stores = []
            for i, dim in enumerate(self._dims):
                size = slots * self.heads * columns * dim
                if size > len(self._memory[i]):
                    like = self._memory[i]
                    self._memory[i] = like.new_empty(0)  # Given back before more is taken.
                    # What is masked must still be finite.
                    self._memory[i] = like.new_zeros(size)
                self.stores.append(self._memory[i][:size].view(slots, self.heads, columns, dim))
            for store, before in zip(self.stores, old, strict=False):
                store[:kept, :, :width] = before


class Slots:
    """Room for texts, each in a slot of its own.

    A text is read in pieces. It may be cut short at any time by setting its length: what lies behind is overwritten.
    """

    def __init__(self, model: Any, shapes: Shapes, device: Any) -> None:
        self._model = model
        self._device = device
        self._layers = [Layer(pair) for pair in shapes]
        self._cache = Ragged(self._layers)
        self.lengths: Ints = np.zeros(0, np.int64)
        """[slots], tokens that were read."""
        self.columns = 0
        """One more than the longest text that there is room for."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def stores(self) -> list[Any]:
        """Keys, values, keys ... of all layers, [slots, heads, columns, dim]."""
        return [store for layer in self._layers for store in layer.stores]

    def reserve(self, slots: int, columns: int) -> None:
        """Have so many slots and columns. What was read is kept in the slots that remain."""
        kept = min(slots, len(self))
        width = int(self.lengths[:kept].max(initial=0))
        for layer in self._layers:
            layer.resize(slots, columns, kept if width else 0, width)
        self.columns = columns
        self.lengths = np.concatenate([self.lengths[:kept], np.zeros(slots - kept, np.int64)])

    def copy(self, sources: Ints, targets: Ints) -> None:
        """Let each target have read what its source has."""
        self.lengths[targets] = self.lengths[sources]
        width = int(self.lengths[sources].max(initial=0))
        for store in self.stores:
            from_, to = (torch.from_numpy(each).to(store.device) for each in (sources, targets))
            store[to, :, :width] = store[from_, :, :width]

    def flat(self, slots: Ints, columns: Ints, heads: int) -> Any:
        """[tokens * heads], where tokens at (slot, column) lie in stores flattened to [-1, dim]."""
        places = (slots[:, None] * heads + np.arange(heads)) * self.columns + columns[:, None]
        return torch.from_numpy(places.ravel())

    def read(self, slots: Ints, tokens: Ints, widths: Ints, wanted: tuple[Ints, Ints]) -> Any:
        """[wanted, vocabulary] float32 logits behind tokens.

        Args:
            slots: [rows], the slot that each row goes on in.
            tokens: [rows, columns], filled up with anything.
            widths: [rows], how many of a row's tokens are real.
            wanted: Rows and columns of `tokens` whose logits are wanted.
        """
        starts = self.lengths[slots]
        positions = starts[:, None] + np.arange(tokens.shape[1])
        width = int((starts + widths).max())
        if width >= self.columns:
            self.reserve(len(self), width + 1)
        self.lengths[slots] = starts + widths
        # Fillers behind the longest text share the last column, which nobody looks at.
        places = slots.repeat(tokens.shape[1]), np.minimum(positions, width).ravel()
        into = {heads: self.flat(*places, heads).to(self._device) for heads in {layer.heads for layer in self._layers}}
        in_order = bool((slots == np.arange(len(slots))).all())
        for layer in self._layers:
            layer.into, layer.rows, layer.width = into[layer.heads], len(slots), width
            layer.slots = None if in_order else torch.from_numpy(slots)
        # They must see something, though (nothing at all would be no number), and leave the context alone.
        self._cache.queries = torch.from_numpy(np.minimum(positions, width - 1)).to(self._device)
        self._cache.keys = torch.arange(width, device=self._device)[None]
        inputs = {"input_ids": torch.from_numpy(tokens).to(self._device)}
        return forward(self._model, inputs, self._cache, self._cache.queries, wanted)


def forward(model: Any, inputs: dict[str, Any], cache: Any, positions: Any, wanted: tuple[Any, Any]) -> Any:
    """[wanted, vocabulary] float32 logits; `positions` [rows, columns] of the inputs' tokens in their texts."""
    rows, columns = (torch.as_tensor(each) for each in wanted)

    def narrow(_: Any, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
        # Let only these hidden states into the output layer.
        return (hidden[0][rows.to(hidden[0].device), columns.to(hidden[0].device)][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        out = model(**inputs, position_ids=positions, past_key_values=cache, use_cache=cache is not None)
        return out.logits[0].float()
    finally:
        hook.remove()
