"""Steepest turns rows and a metric into a better prompt for a language model, and proves that it is better.

    import steepest

    result = steepest.optimize("Answer the question.", data="arithmetic")
    print(result.sentence)
    print(result.prompt.best)

`help(steepest.optimize)` says the rest. Names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steepest._version import __version__

if TYPE_CHECKING:
    from steepest.api import evaluate, load_result, optimize, resume
    from steepest.comparing.comparison import compare
    from steepest.comparing.transferring import transfer
    from steepest.diagnosing.diagnosis import diagnose
    from steepest.engine import Run
    from steepest.errors import SteepestError
    from steepest.exporting import export
    from steepest.ledger import Limits
    from steepest.models import open_model
    from steepest.plan import Method, Plan
    from steepest.results import Result
    from steepest.tasks import Judgement, Task, TaskSpec, Template, load_task
    from steepest.types import Candidate, Example, Scored

__all__ = [
    "Candidate",
    "Example",
    "Judgement",
    "Limits",
    "Method",
    "Plan",
    "Result",
    "Run",
    "Scored",
    "SteepestError",
    "Task",
    "TaskSpec",
    "Template",
    "__version__",
    "compare",
    "diagnose",
    "evaluate",
    "export",
    "load_result",
    "load_task",
    "open_model",
    "optimize",
    "resume",
    "transfer",
]

_MODULES = {
    "Candidate": "steepest.types",
    "Example": "steepest.types",
    "Judgement": "steepest.tasks",
    "Limits": "steepest.ledger",
    "Method": "steepest.plan",
    "Plan": "steepest.plan",
    "Result": "steepest.results",
    "Run": "steepest.engine",
    "Scored": "steepest.types",
    "SteepestError": "steepest.errors",
    "Task": "steepest.tasks",
    "TaskSpec": "steepest.tasks",
    "Template": "steepest.tasks",
    "compare": "steepest.comparing.comparison",
    "diagnose": "steepest.diagnosing.diagnosis",
    "evaluate": "steepest.api",
    "export": "steepest.exporting",
    "load_result": "steepest.api",
    "load_task": "steepest.tasks",
    "open_model": "steepest.models",
    "optimize": "steepest.api",
    "resume": "steepest.api",
    "transfer": "steepest.comparing.transferring",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'steepest' has no attribute {name!r}")
    return vars(import_module(_MODULES[name]))[name]


def __dir__() -> list[str]:
    return sorted(__all__)
