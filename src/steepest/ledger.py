"""What a step pays for: limits, and the account that does not depend on crashes or on what the journal holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steepest.calls import Call, CallLog
from steepest.codec import JSON
from steepest.errors import BudgetSpent, SpecError
from steepest.types import Usage


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends; None is unlimited. Calls and tokens are the method's own, referee and test apart."""

    steps: int | None = None
    """Steps after step 0, the beginning."""
    calls: int | None = None
    """Never passed: a batch that would pass it is not sent."""
    tokens: int | None = None
    """Read and written. No batch is sent once it is reached; the last batch may pass it."""
    seconds: float | None = None
    """Of committed steps. No step begins once it is reached."""
    patience: int | None = None
    """Steps in a row without a better score on dev."""

    def __post_init__(self) -> None:
        given = {"calls": self.calls, "tokens": self.tokens, "seconds": self.seconds, "patience": self.patience}
        for name, value in given.items():
            if value is not None and not value > 0:
                raise SpecError(f"the limit on {name} must be above 0, got {value}; leave it out for no limit")
        if self.steps is not None and self.steps < 0:
            raise SpecError(f"the limit on steps must be at least 0, got {self.steps}; leave it out for no limit")


UNLIMITED = Limits()


class Ledger:
    """One step's account with the journal.

    A call answered by a line of this very step was paid by it, even where a crash came in between; one answered
    by a line of another step costs nothing and counts as reused. Each call counts once.
    """

    def __init__(
        self, log: CallLog, step: int, limits: Limits, spent: Usage, elsewhere: frozenset[str] = frozenset()
    ) -> None:
        """`spent`: what earlier steps paid, against `limits`; `elsewhere`: keys this step paid on another account."""
        self.step = step
        self.usage = Usage()
        self._log = log
        self._limits = limits
        self._spent = spent
        self._elsewhere = elsewhere
        self._settled: set[str] = set()

    @property
    def settled(self) -> frozenset[str]:
        """Keys of the calls accounted for so far."""
        return frozenset(self._settled)

    def missing(self, keys: Sequence[str], cost: Callable[[JSON], Usage]) -> list[str]:
        """Account for a batch; which of its calls must be made, each once. BudgetSpent before any is counted."""
        open_keys = [key for key in dict.fromkeys(keys) if key not in self._settled]
        paid = [key for key in open_keys if not self._was_paid_elsewhere(key)]
        self._admit(len(paid))
        self.usage += Usage(reused=len(open_keys) - len(paid))
        self._settled.update(open_keys)
        absent = []
        for key in paid:
            answer = self._log.get(key)
            if answer is None:
                absent.append(key)
            else:
                self.usage += cost(answer.response)
        return absent

    def record(self, call: Call, cost: Callable[[JSON], Usage]) -> None:
        """Write a finished call into the journal and pay for it."""
        self._log.append(call)
        self.usage += cost(call.response)

    def response(self, key: str) -> JSON:
        """The answer to a call that has been made."""
        answer = self._log.get(key)
        assert answer is not None, f"call {key} was neither found nor made"
        return answer.response

    def _was_paid_elsewhere(self, key: str) -> bool:
        answer = self._log.get(key)
        return key in self._elsewhere or (answer is not None and answer.step != self.step)

    def _admit(self, calls: int) -> None:
        spent = self._spent + self.usage
        limits = self._limits
        if limits.calls is not None and spent.calls + calls > limits.calls:
            raise BudgetSpent(
                f"the limit of {limits.calls:,} calls would be passed: {spent.calls:,} spent, {calls:,} needed next; "
                "continue with a higher limit on calls"
            )
        if limits.tokens is not None and calls and spent.tokens >= limits.tokens:
            raise BudgetSpent(
                f"the limit of {limits.tokens:,} tokens is reached: {spent.tokens:,} spent; "
                "continue with a higher limit on tokens"
            )
