"""What observers see of a run: frozen values, one union. An observer is a callable that takes one event.

Observers cannot change anything; one that fails is logged and not called again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from steepest.ledger import Limits
from steepest.types import Scored, Trial, Usage

Phase = Literal["step", "referee", "finish"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run folder was made, or opened again."""

    run: str
    """Name of the folder."""
    method: str
    task: str
    models: Mapping[str, str]
    """Role -> name of its model."""
    prompt: str
    seed: int
    limits: Limits
    committed: int
    """Steps in the folder; 0 for a new run."""


@dataclass(frozen=True, slots=True)
class JournalRepaired:
    """The journal's last line was torn by a crash and has been cut off; that call is made again."""

    path: str
    removed: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins; a step that a crash interrupted begins again."""

    step: int


@dataclass(frozen=True, slots=True)
class CallsAnswered:
    """One more answer (or white-box result) of a batch is in the journal."""

    step: int
    phase: Phase
    answered: int
    """Of this batch, so far."""
    batch: int
    """Answers that this batch needs from the model."""
    usage: Usage
    """Of this step and phase, so far."""
    status: str = ""
    """What models say of themselves, such as replicas at work."""


@dataclass(frozen=True, slots=True)
class TrialNoted:
    """A method tried an edit."""

    step: int
    trial: Trial


@dataclass(frozen=True, slots=True)
class StepCommitted:
    """A step is in the run folder."""

    step: int
    best: Scored
    """The method's incumbent, with the scores by which the method chose it."""
    referee: Scored
    """The same candidate on all dev rows."""
    usage: Usage
    """Of this step."""
    total: Usage
    """Of all committed steps: what limits count."""
    seconds: float
    elapsed: float
    """Seconds of all committed steps."""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The result is in the run folder."""

    run: str
    verdict: str
    sentence: str
    stopped: str


Event = RunStarted | JournalRepaired | StepStarted | CallsAnswered | TrialNoted | StepCommitted | RunFinished
Observer = Callable[[Event], None]


class Audience:
    """The observers of one run. Call it with an event to tell them all."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)

    def __call__(self, event: Event) -> None:
        """Tell every observer."""
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:
                self._observers.remove(observer)
                logging.getLogger("steepest").exception(
                    "an observer failed on %s and is not called again: %r", type(event).__name__, observer
                )
