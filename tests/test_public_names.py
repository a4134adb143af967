from __future__ import annotations

import inspect
import subprocess
import sys

import steepest

NAMES = {
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
}


def test_public_names_are_these_and_no_others() -> None:
    assert set(steepest.__all__) == NAMES == set(dir(steepest))


def test_every_public_name_is_there_and_documented() -> None:
    for name in NAMES - {"__version__"}:
        assert inspect.getdoc(vars(steepest).get(name) or steepest.__getattr__(name)), name


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(steepest, "optimise")


def test_import_is_light() -> None:
    heavy = ("numpy", "scipy", "torch", "transformers", "typer", "rich", "pydantic")
    code = f"import sys, steepest; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
