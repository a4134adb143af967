"""Batched decoding: greedy, or sampled so that a sample depends on its own seed and logits alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from steepest.errors import ModelError
from steepest.models import Bools, Floats, Ints
from steepest.models.local.batching import batches, distinct, padded
from steepest.models.local.buffers import growing
from steepest.models.local.layout import Layout
from steepest.models.local.loading import Loaded
from steepest.types import Request, Response

# Finished rows are dropped when they are this share of a batch: a drop copies the cache once.
_IDLE = 0.25


def generate(loaded: Loaded, layout: Layout, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
    """Yield (index, response) as requests finish."""
    yield from go_on(loaded, layout, requests, layout.ids([layout.text(r.prompt) for r in requests]))


def go_on(
    loaded: Loaded, layout: Layout, requests: Sequence[Request], prompts: Sequence[list[int]]
) -> Iterator[tuple[int, Response]]:
    """Yield (index, response) as these ids are gone on with: the shortest first, in batches as large as fit.

    What leaves no room for a token is answered first, as failed.
    """
    for request in requests:
        if request.temperature > 0 and request.seed is None:
            raise ModelError(f"a sampled request needs a seed, got None at temperature {request.temperature}; give one")

    def size(index: int) -> int:
        return min(len(prompts[index]) + requests[index].max_tokens, loaded.context)

    for index, prompt in enumerate(prompts):
        if len(prompt) >= loaded.context:
            reason = f"context overflow: {len(prompt):,} tokens do not fit in {loaded.context:,}"
            yield index, Response("", finish="failed", reason=reason)
    fitting = [i for i, prompt in enumerate(prompts) if len(prompt) < loaded.context]
    order = sorted(fitting, key=lambda i: (len(prompts[i]), prompts[i]))
    for batch in batches(order, size, loaded.batch_tokens):
        decoding = Decoding(loaded, layout, [requests[i] for i in batch], [prompts[i] for i in batch])
        for row, response in decoding.run():
            yield batch[row], response


def uniforms(seeds: Sequence[int | None], count: int) -> Floats:
    """[seeds, count] numbers in [0, 1), each a function of its seed and its column alone (SplitMix64)."""
    state = np.asarray([(seed or 0) & (2**64 - 1) for seed in seeds], np.uint64)[:, None]
    state = _mixed(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (_mixed(state) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Decoding:
    """One batch on its way. Rows share a rectangle: their prompts end in the same column."""

    def __init__(
        self, loaded: Loaded, layout: Layout, requests: Sequence[Request], prompts: Sequence[list[int]]
    ) -> None:
        self._loaded = loaded
        self._layout = layout
        self._prompts = prompts
        self._read = np.asarray([len(p) for p in prompts])
        self._limits = np.minimum([r.max_tokens for r in requests], loaded.context - self._read)
        self._written = np.zeros((len(requests), int(self._limits.max())), np.int64)
        self._rows = np.arange(len(requests))  # which request each row of the rectangle answers
        self._running = np.ones(len(requests), np.bool_)  # which rows of the rectangle are unfinished
        self._ending = np.zeros(loaded.width, np.bool_)
        self._ending[list(loaded.ends)] = True
        self._dice = _Dice(requests, self._written.shape[1], loaded.device)
        self._stops = _Stops(layout, requests, loaded.width)
        width = int(self._read.max())
        mask = np.arange(width + self._written.shape[1]) >= width - self._read[:, None]
        self._mask = torch.from_numpy(mask).to(loaded.device)
        self._lengths = torch.from_numpy(self._read).to(loaded.device)[:, None]
        self._used = width

    def run(self) -> Iterator[tuple[int, Response]]:
        """Yield (row, response) as rows finish."""
        with torch.inference_mode():
            tokens = self._dice.choose(self._prefill(), 0)
        for step in range(self._written.shape[1]):
            yield from self._finished(tokens.cpu().numpy(), step)
            if not self._running.any():
                return
            with torch.inference_mode():
                if self._running.mean() <= 1 - _IDLE:
                    tokens = self._compact(tokens)
                tokens = self._dice.choose(self._forward(tokens, step), step + 1)

    def _prefill(self) -> Any:
        """Read every distinct prompt once, in batches that suit a pass; the next token's logits of every row."""
        loaded = self._loaded
        different, which = distinct(self._prompts)
        logits = torch.empty((len(which), loaded.width), dtype=torch.float32, device=loaded.device)
        self._cache: Any = None
        for batch in batches(range(len(different)), lambda i: len(different[i]), loaded.pass_tokens):
            # Prompts come sorted, so the rows that share one follow each other.
            rows = np.flatnonzero((which >= batch[0]) & (which <= batch[-1]))
            share = torch.from_numpy(which[rows] - batch[0]).to(loaded.device)
            read = padded([different[i] for i in batch], loaded.device, left=True)
            out = loaded.model(
                input_ids=read.ids,
                attention_mask=read.mask,
                position_ids=read.positions,
                past_key_values=DynamicCache(),
                use_cache=True,
                logits_to_keep=1,
            )
            logits[rows[0] : rows[-1] + 1] = out.logits[:, -1][share]
            layers = out.past_key_values.layers
            if self._cache is None:
                self._cache = growing(len(layers))
                for new, layer in zip(self._cache.layers, layers, strict=True):
                    new.start(layer.keys, layer.values, len(which), self._used)
            for new, layer in zip(self._cache.layers, layers, strict=True):
                new.put(layer.keys[share], layer.values[share], int(rows[0]))
        return logits

    def _forward(self, tokens: Any, step: int) -> Any:
        """[rows, width] logits of the token after `tokens`, which were chosen at `step`."""
        self._used += 1
        out = self._loaded.model(
            input_ids=tokens[:, None],
            attention_mask=self._mask[:, : self._used],
            # Finished rows go along for a while, past the context's end if need be.
            position_ids=(self._lengths + step).clamp(max=self._loaded.context - 1),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1]

    def _finished(self, tokens: Ints, step: int) -> Iterator[tuple[int, Response]]:
        """Note the tokens chosen at `step`, and yield the rows that they finish."""
        self._written[self._rows, step] = tokens
        ended = self._ending[tokens]
        stopped = self._stops.reached(self._rows, self._written, step)
        done = self._running & (ended | stopped | (step + 1 >= self._limits[self._rows]))
        if not done.any():
            return
        self._running &= ~done
        places = np.flatnonzero(done)
        texts = self._layout.answers([self._written[self._rows[p], : step + 1].tolist() for p in places])
        for place, text in zip(places, texts, strict=True):
            row = int(self._rows[place])
            stop = bool(ended[place] or stopped[place])
            yield (
                row,
                Response(self._stops.cut(row, text), int(self._read[row]), step + 1, "stop" if stop else "length"),
            )

    def _compact(self, tokens: Any) -> Any:
        """Drop finished rows, and columns that are padding for all that remain."""
        kept = np.flatnonzero(self._running)
        self._rows, self._running = self._rows[kept], self._running[kept]
        keep = torch.from_numpy(kept).to(tokens.device)
        first = int((~self._mask[keep]).sum(-1).min())
        for layer in self._cache.layers:
            layer.take(keep, first)
        self._mask = self._mask[keep, first:]
        self._lengths = self._lengths[keep]
        self._used -= first
        self._dice.take(keep)
        return tokens[keep]


class _Dice:
    """Which token comes next, row by row."""

    def __init__(self, requests: Sequence[Request], steps: int, device: Any) -> None:
        self._temperatures = torch.tensor([[r.temperature] for r in requests], device=device)
        self._sampled = any(r.temperature > 0 for r in requests)
        if self._sampled:
            self._uniforms = torch.from_numpy(uniforms([r.seed for r in requests], steps)).to(device)

    def choose(self, logits: Any, step: int) -> Any:
        """[rows] tokens from [rows, width] logits: the likeliest, or by inverting the distribution function."""
        likeliest = logits.argmax(-1)
        if not self._sampled:
            return likeliest
        temperatures = self._temperatures
        scaled = logits.float() / torch.where(temperatures > 0, temperatures, 1.0)
        below = scaled.softmax(-1).cumsum(-1)
        # Rounding may leave the total short of 1.
        thrown = self._uniforms[:, step : step + 1] * below[:, -1:]
        sample = torch.searchsorted(below, thrown, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return torch.where(temperatures[:, 0] > 0, sample, likeliest)

    def take(self, rows: Any) -> None:
        """Keep these rows."""
        self._temperatures = self._temperatures[rows]
        if self._sampled:
            self._uniforms = self._uniforms[rows]


class _Stops:
    """Looks for stop strings, only where the token just written could have completed one."""

    def __init__(self, layout: Layout, requests: Sequence[Request], width: int) -> None:
        self._layout = layout
        self._stops = [r.stop for r in requests]
        self._watched = np.asarray([bool(r.stop) for r in requests])
        self._closing = np.zeros(width, np.bool_)
        if self._watched.any():
            last = {stop[-1] for stops in self._stops for stop in stops}
            for i, text in enumerate(layout.vocabulary[:width]):
                self._closing[i] = not text or not last.isdisjoint(text)

    def reached(self, rows: Ints, written: Ints, step: int) -> Bools:
        """For each of `rows`, whether what it has written up to `step` holds one of its stop strings."""
        reached = np.zeros(len(rows), np.bool_)
        places = np.flatnonzero(self._watched[rows] & self._closing[written[rows, step]])
        texts = self._layout.answers([written[rows[p], : step + 1].tolist() for p in places])
        for place, text in zip(places, texts, strict=True):
            reached[place] = any(stop in text for stop in self._stops[rows[place]])
        return reached

    def cut(self, row: int, text: str) -> str:
        """The text before its first stop string."""
        found = [text.find(stop) for stop in self._stops[row]]
        return text[: min((f for f in found if f >= 0), default=len(text))]
