"""A number for each step: how many words may change, how warm to sample.

Steps count from 1 to `steps`, as in GPO (arXiv 2402.17564), whose word budget these are: linear or cosine decay from
`initial` to `final`, after a linear warm-up where one is asked for (its authors found warm-up harmful). Values stay
between `initial` and `final`; GPO's code has linear decay end below zero where warm-up is off but its steps are set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """A number that depends on how far a run is."""

    def __call__(self, step: int, steps: int) -> float:
        """The value at `step`, counted from 1, of a run of `steps`."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same value at every step."""

    value: float = 50.0

    def __call__(self, step: int, steps: int) -> float:
        """See `Schedule`."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """Evenly from `initial` to `final`: initial - s * (initial - final) / T."""

    initial: float = 50.0
    final: float = 10.0
    warmup: int = 0
    """Steps w before the decay; step s < w has initial * s / w, and the decay counts s and T from w."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        _check_warmup(self.warmup)

    def __call__(self, step: int, steps: int) -> float:
        """See `Schedule`."""
        if step < self.warmup:
            return _between(self.initial * step / self.warmup, self.initial, self.final)
        since, length = step - self.warmup, max(steps - self.warmup, 1)
        return _between(self.initial - since * (self.initial - self.final) / length, self.initial, self.final)


@dataclass(frozen=True)
class Cosine:
    """From `initial` to `final` along half a cosine: final + (initial - final) * (1 + cos(pi * s / T)) / 2."""

    initial: float = 50.0
    final: float = 10.0
    warmup: int = 0
    """Steps w before the decay; step s < w has initial * s / w, and the decay counts s and T from w."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        _check_warmup(self.warmup)

    def __call__(self, step: int, steps: int) -> float:
        """See `Schedule`."""
        if step < self.warmup:
            return _between(self.initial * step / self.warmup, self.initial, self.final)
        # Past the last step the cosine would rise again.
        done = min((step - self.warmup) / max(steps - self.warmup, 1), 1.0)
        value = self.final + (self.initial - self.final) * 0.5 * (1 + math.cos(math.pi * done))
        return _between(value, self.initial, self.final)


def words(schedule: Schedule, step: int, steps: int) -> int:
    """The schedule's value as a number of words, rounded down as in GPO's code."""
    return int(schedule(step, steps))


def _between(value: float, one: float, other: float) -> float:
    return min(max(value, min(one, other)), max(one, other))


def _check_warmup(warmup: int) -> None:
    if warmup < 0:
        raise ValueError(f"warmup must be at least 0 steps, got {warmup}; leave it out for none")
