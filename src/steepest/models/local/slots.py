"""Keys and values of many texts side by side, each text as long as it happens to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicLayer

from steepest.models import Ints
from steepest.models.local.attention import Ragged

BLOCK = 8
"""Columns come in blocks of so many tokens."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """What is kept of one token: what it is like, not what it says."""

    layers: Sequence[tuple[Any, Any]]
    """For each layer a key and a value, [heads, dim]."""
    hidden: Any
    """What goes into the output layer, [1, dim]: with it, logits can be had again without reading."""

    @property
    def each(self) -> list[Any]:
        """Keys, values, keys ... of all layers, and what goes into the output layer."""
        return [*chain.from_iterable(self.layers), self.hidden]


class Kept:
    """Something of every token: [slots, heads, columns, dim], where token t of a text is in column t."""

    def __init__(self, likes: Sequence[Any]) -> None:
        """`likes`: what is kept of one token, all of as many heads."""
        self.heads = likes[0].shape[0]
        self._memory = [each.new_empty(0) for each in likes]
        self._dims = [each.shape[1] for each in likes]
        self.stores: list[Any] = []
        self.into: Any = None
        """[rows * tokens * heads], where in the stores, flattened to [-1, dim], the next tokens belong."""

    def write(self, *states: Any) -> None:
        """Keep one forward pass's, [rows, heads, tokens, dim] each."""
        for store, each in zip(self.stores, states, strict=True):
            flat = each.transpose(1, 2).flatten(0, 2)
            store.flatten(0, 2).index_copy_(0, self.into.to(store.device), flat)

    def resize(self, slots: int, columns: int, kept: int, width: int) -> None:
        """Have so many, in the memory that is there if it suffices; the first `kept` slots keep `width` columns."""
        # Outside inference mode: gradients may be taken of what is read after it.
        with torch.inference_mode(False), torch.no_grad():
            old = [store[:kept, :, :width].clone() for store in self.stores] if kept else []
            self.stores = []
            for i, dim in enumerate(self._dims):
                size = slots * self.heads * columns * dim
                if size > len(self._memory[i]):
                    self._memory[i] = self._memory[i].new_empty(0)  # Given back before more is taken.
                    # What is masked must still be finite.
                    self._memory[i] = zeros(self._memory[i], (size,))
                self.stores.append(self._memory[i][:size].view(slots, self.heads, columns, dim))
            for store, before in zip(self.stores, old, strict=False):
                store[:kept, :, :width] = before


class Layer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values."""

    def __init__(self, like: tuple[Any, Any]) -> None:
        super().__init__()
        self.is_initialized = True
        self.kept = Kept(like)
        self.slots: Any = None
        """[rows], the slots that the next tokens belong to; or all of them in order."""
        self.width = 0
        """How many columns the next tokens may look at."""

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Write one forward pass's keys and values, and give those that its queries may look at."""
        self.kept.write(key_states, value_states)
        keys, values = (self._chosen(store[:, :, : self.width]) for store in self.kept.stores)
        return keys, values

    def _chosen(self, store: Any) -> Any:
        return store[self.slots] if isinstance(self.slots, slice) else chosen(store, self.slots)


class Slots:
    """Room for texts, each in a slot of its own.

    A text is read in pieces. It may be cut short at any time by setting its length: what lies behind is overwritten.
    """

    def __init__(self, model: Any, shapes: Shapes, device: Any) -> None:
        self._model = model
        self._device = device
        self._layers = [Layer(pair) for pair in shapes.layers]
        self._hidden = Kept([shapes.hidden])
        self._kept = [*(layer.kept for layer in self._layers), self._hidden]
        self._cache = Ragged(self._layers)
        self.lengths: Ints = np.zeros(0, np.int64)
        """[slots], tokens that were read."""
        self.columns = 0
        """More than the longest text that there is room for has tokens."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def stores(self) -> list[Any]:
        """As `Shapes.each`, [slots, heads, columns, dim]."""
        return [store for kept in self._kept for store in kept.stores]

    def reserve(self, slots: int, columns: int) -> None:
        """Have so many slots, and columns or a few more. What was read is kept in the slots that remain."""
        columns = -(-columns // BLOCK) * BLOCK
        kept = min(slots, len(self))
        width = int(self.lengths[:kept].max(initial=0))
        for each in self._kept:
            each.resize(slots, columns, kept if width else 0, width)
        self.columns = columns
        self.lengths = np.concatenate([self.lengths[:kept], np.zeros(slots - kept, np.int64)])

    def copy(self, sources: Ints, targets: Ints) -> None:
        """Let each target have read what its source has."""
        self.lengths[targets] = self.lengths[sources]
        width = int(self.lengths[sources].max(initial=0))
        for store in self.stores:
            within = store[:, :, :width]
            within.index_copy_(0, torch.from_numpy(targets).to(store.device), chosen(within, torch.from_numpy(sources)))

    def flat(self, slots: Ints, columns: Ints, heads: int, of: int = 1) -> Any:
        """[pieces * heads], where pieces `of` so many columns lie in stores flattened to [-1, of * dim].

        Piece i is number columns[i] of slot slots[i].
        """
        places = (slots[:, None] * heads + np.arange(heads)) * (self.columns // of) + columns[:, None]
        return torch.from_numpy(places.ravel())

    def read(self, slots: Ints, tokens: Ints, widths: Ints, wanted: tuple[Ints, Ints]) -> Any:
        """[wanted, vocabulary] float32 logits behind tokens.

        Args:
            slots: [rows], the slot that each row goes on in.
            tokens: [rows, columns], filled up with anything.
            widths: [rows], how many of a row's tokens are real.
            wanted: Slots, and places in their texts, of the tokens that logits are wanted behind; read now or before.
        """
        starts = self.lengths[slots]
        positions = starts[:, None] + np.arange(tokens.shape[1])
        width = int((starts + widths).max())
        if width >= self.columns:
            self.reserve(len(self), width + 1)
        self.lengths[slots] = starts + widths
        # Fillers behind the longest text share the last column, which nobody looks at.
        places = slots.repeat(tokens.shape[1]), np.minimum(positions, width).ravel()
        into = {heads: self.flat(*places, heads).to(self._device) for heads in {kept.heads for kept in self._kept}}
        for kept in self._kept:
            kept.into = into[kept.heads]
        in_order = bool((slots == np.arange(slots[0], slots[0] + len(slots))).all())
        for layer in self._layers:
            layer.width = width
            layer.slots = slice(slots[0], slots[-1] + 1) if in_order else torch.from_numpy(slots)
        # They must see something, though (nothing at all would be no number), and leave the context alone.
        self._cache.queries = torch.from_numpy(np.minimum(positions, width - 1)).to(self._device)
        self._cache.keys = torch.arange(width, device=self._device)[None]
        inputs = {"input_ids": torch.from_numpy(tokens).to(self._device)}

        def choose(hidden: Any) -> Any:
            self._hidden.write(hidden[:, None])
            slot, column = (torch.from_numpy(each).to(hidden.device) for each in wanted)
            return self._hidden.stores[0][slot, 0, column]

        return forward(self._model, inputs, self._cache, self._cache.queries, choose)


def forward(model: Any, inputs: dict[str, Any], cache: Any, positions: Any, choose: Callable[[Any], Any]) -> Any:
    """[chosen, vocabulary] float32 logits.

    Args:
        model: A causal language model.
        inputs: What it reads, [rows, columns] tokens.
        cache: Keys and values to go on from, or None.
        positions: [rows, columns] of the tokens in their texts.
        choose: Turns what goes into the output layer [rows, columns, hidden] into what of it shall, [chosen, hidden].
    """

    def narrow(_: Any, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
        return (choose(hidden[0])[None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        out = model(**inputs, position_ids=positions, past_key_values=cache, use_cache=cache is not None)
        return out.logits[0].float()
    finally:
        hook.remove()


def chosen(store: Any, rows: Any) -> Any:
    """A copy of some rows of the first dimension, several times as fast as `store[rows]` on CPUs."""
    return store.index_select(0, rows.to(store.device))


def zeros(like: Any, shape: tuple[int, ...]) -> Any:
    """`like.new_zeros(shape)`, on CPUs from memory that the system gives as it is used, in zeros."""
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    return torch.from_numpy(np.zeros(prod(shape) * like.element_size(), np.uint8)).view(like.dtype).view(shape)


def at(rows: Any, columns: Any) -> Callable[[Any], Any]:
    """For `forward`: the tokens at these rows and columns of what is read."""
    rows, columns = (torch.as_tensor(each) for each in (rows, columns))
    return lambda hidden: hidden[rows.to(hidden.device), columns.to(hidden.device)]
