"""A key-value cache that is written in place: no copy of the past with every token."""

from __future__ import annotations

from typing import Any

from transformers.cache_utils import Cache, DynamicLayer

_SPARE = 64


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, `[rows, heads, tokens, head_dim]`, as views of larger buffers.

    Sliding-window layers are kept whole as well; the mask that transformers makes from the configuration
    narrows what they see.
    """

    def __init__(self, **unused: Any) -> None:
        super().__init__()
        self.keys: Any = None
        self.values: Any = None
        self._store: tuple[Any, Any] | None = None

    def start(self, keys: Any, values: Any, rows: int, width: int) -> None:
        """Reserve zeros for `rows` rows, of which `width` tokens count as written."""
        self.lazy_initialization(keys, values)
        empty = [t.new_zeros((rows, t.shape[1], 0, t.shape[3])) for t in (keys, values)]
        self._reserve(empty[0], empty[1], width)

    def put(self, keys: Any, values: Any, first: int) -> None:
        """Write rows from `first` on: the last tokens of them, as many as there are."""
        rows, column = slice(first, first + len(keys)), self.keys.shape[-2] - keys.shape[-2]
        self.keys[rows, :, column:] = keys
        self.values[rows, :, column:] = values

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Append one forward pass's keys and values; see `transformers.Cache`."""
        assert self._store is not None
        used = self.keys.shape[-2]
        total = used + key_states.shape[-2]
        if total > self._store[0].shape[-2]:
            self._reserve(self.keys, self.values, used)
        keys, values = self._store
        keys[:, :, used:total] = key_states
        values[:, :, used:total] = value_states
        self.keys, self.values = keys[:, :, :total], values[:, :, :total]
        return self.keys, self.values

    def take(self, rows: Any, first: int) -> None:
        """Keep these rows, and their tokens from `first` on."""
        used = self.keys.shape[-2] - first
        self._reserve(self.keys[rows, :, first:], self.values[rows, :, first:], used)

    def _reserve(self, keys: Any, values: Any, used: int) -> None:
        stores = []
        for old in (keys, values):
            rows, heads, written, width = old.shape
            new = old.new_empty((rows, heads, used + max(_SPARE, used // 2), width))
            # What is masked must still be finite.
            new[:, :, :used] = old if written == used else 0
            stores.append(new)
        self._store = (stores[0], stores[1])
        self.keys, self.values = stores[0][:, :, :used], stores[1][:, :, :used]


def growing(layers: int) -> Any:
    """An empty cache of growing layers."""
    return Cache(layers=[GrowingLayer() for _ in range(layers)])
