"""Which token comes next, and whether it was the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from steepest.models import Floats, Ints
from steepest.models.local.layout import Layout
from steepest.types import Request, Response

_STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a call, and what is known of it from the start."""

    index: int
    request: Request
    prompt: list[int]
    most: int
    """Tokens of prompt and answer together, at most."""
    written: list[int] = field(default_factory=list)
    """What was written before memory ran out; the answer goes on from there."""


def uniform(seeds: NDArray[np.uint64], steps: Ints) -> Floats:
    """Numbers in [0, 1), each a function of its seed and its step alone (SplitMix64)."""
    state = _mixed(seeds) + (steps.astype(np.uint64) + np.uint64(1)) * _STEP
    return (_mixed(state) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def likeliest(logits: Any) -> Ints:
    """[lines], the first token with the largest of each line's logits [lines, vocabulary]."""
    # On a processor torch's search takes twenty times as long as numpy's.
    found: Ints = logits.numpy().argmax(-1) if logits.device.type == "cpu" else logits.argmax(-1).cpu().numpy()
    return found


class Dice:
    """The next token of each request: the likeliest, or by inverting the distribution function."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._temperatures = np.asarray([r.temperature for r in requests], np.float32)
        self._seeds = np.asarray([(r.seed or 0) & (2**64 - 1) for r in requests], np.uint64)

    def choose(self, logits: Any, which: Ints, steps: Ints) -> Ints:
        """A token for each line of logits [lines, vocabulary]: for request which[i] as its token number steps[i]."""
        tokens = likeliest(logits)
        (sampled,) = np.nonzero(self._temperatures[which] > 0)
        if len(sampled):
            of = which[sampled]
            temperatures = torch.from_numpy(self._temperatures[of]).to(logits.device)[:, None]
            below = (logits[torch.from_numpy(sampled)].float() / temperatures).softmax(-1).cumsum(-1)
            thrown = torch.from_numpy(uniform(self._seeds[of], steps[sampled])).to(logits.device)[:, None]
            # Rounding may leave the total short of 1.
            found = torch.searchsorted(below, thrown * below[:, -1:], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
            tokens[sampled] = found.cpu().numpy()
        return tokens


class Stops:
    """Looks for stop strings, only where the token just written could have completed one."""

    def __init__(self, layout: Layout, requests: Sequence[Request], width: int, ends: Sequence[int]) -> None:
        self._layout = layout
        self._ends = frozenset(ends)
        self._stops = [r.stop for r in requests]
        self.watched = np.asarray([bool(r.stop) for r in requests])
        """[requests], whether there is anything to look for."""
        self._closing = np.zeros(width, np.bool_)
        if self.watched.any():
            last = {stop[-1] for stops in self._stops for stop in stops}
            for i, text in enumerate(layout.vocabulary[:width]):
                self._closing[i] = not text or not last.isdisjoint(text)

    def reached(self, request: int, written: Sequence[int]) -> bool:
        """Whether the request's answer so far holds one of its stop strings."""
        if not self._closing[written[-1]]:
            return False
        (text,) = self._layout.answers([list(written)])
        return any(stop in text for stop in self._stops[request])

    def response(self, request: int, asked: Asked, written: list[int], stopped: bool) -> Response:
        """The answer, up to its first stop string, without the token that ended it."""
        (text,) = self._layout.answers([written[:-1] if written[-1] in self._ends else written])
        found = [text.find(stop) for stop in self._stops[request]]
        cut = text[: min((f for f in found if f >= 0), default=len(text))]
        return Response(cut, len(asked.prompt), len(written), "stop" if stopped else "length")
