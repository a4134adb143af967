"""Questions that belong together: how they are asked, and how many of them may go unanswered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from steepest.errors import ModelError
from steepest.types import Request, Response

FEW = 4
"""So many unanswered requests of a batch are no reason to stop, however small it is."""

Kind = Literal["generate", "infill"]


@runtime_checkable
class Overlaps(Protocol):
    """A model that can be asked further questions while it answers others."""

    @property
    def id(self) -> str:
        """See `Generates.id`."""
        ...

    def begin(
        self,
        requests: Sequence[Request],
        answered: Callable[[int, Response], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        """Begin to answer and return at once, with a function that cancels what is not answered yet.

        `answered` hears of (index, response), each index once; `failed` of an error, which ends it. Both are called
        in any thread.
        """
        ...


@dataclass(slots=True)
class Lot:
    """Questions that belong together: one batch of a method, sent whole or bit by bit."""

    role: str
    kind: Kind
    model: Any
    """Has the capability for the kind."""
    size: int = 0
    """Distinct questions so far."""
    needed: int = 0
    """Answers that must come from the model."""
    answered: int = 0
    under_way: int = 0
    """Questions sent and not answered."""
    is_whole: bool = False
    """Whether no question is to follow."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why questions went unanswered."""

    @property
    def overlaps(self) -> bool:
        """Whether its questions can be sent while others are under way."""
        return self.kind == "generate" and isinstance(self.model, Overlaps)

    def check(self, share: float) -> None:
        """ModelError where more than a share of it went unanswered, once it is whole and all sent is written down."""
        failed = self.reasons.total()
        if self.is_whole and not self.under_way and failed > max(share * self.size, FEW if share else 0):
            raise ModelError(
                f"at most {share:.0%} of a batch may go unanswered, got {failed:,} of {self.size:,} from "
                f"{self.model.id!r} in the role {self.role!r}, mostly: {self.reasons.most_common(1)[0][0]}; "
                "put that right, or allow more with fail_on"
            )
