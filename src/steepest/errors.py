"""The errors a user can meet. Each states the rule, the value and the remedy, on one line.

SteepestError
├── SpecError     an unknown name or a value out of range, in a command, a call or a config file
├── TaskError     data, template or metric that cannot be used
├── ModelError    a model that cannot be opened, lacks a capability, or stayed down
├── StateError    a run folder that cannot be read, or belongs to another version
└── BudgetSpent   the next batch of calls would pass the limit; the run ends at its last commit
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SteepestError(Exception):
    """Anything that the user, not a programmer, can put right. The command line exits with `code`."""

    code = 2


class SpecError(SteepestError):
    """An unknown name or a value out of range."""


class TaskError(SteepestError):
    """Data, template or metric that cannot be used."""


class ModelError(SteepestError):
    """A model that cannot be opened, lacks a capability, or stayed down."""


class StateError(SteepestError):
    """A run folder that cannot be read, or belongs to another version."""


class BudgetSpent(SteepestError):
    """The next batch of calls would pass the limit."""

    code = 3


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: "; did you mean X?" or the list of what is known."""
    names = sorted(known)
    folded = {each.casefold(): each for each in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[close[0]]!r}?" if close else f"known: {', '.join(names)}"
