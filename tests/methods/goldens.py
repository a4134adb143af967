"""Golden files: texts as they were sent, so that any change of them is seen.

After a change that is meant, write them again with `STEEPEST_WRITE_GOLDENS=1 pytest tests/methods`, and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

from steepest.types import Prompt

FOLDER = Path(__file__).parent / "golden"


def check_golden(name: str, prompt: Prompt) -> None:
    """The prompt is, to the letter, what the golden file of this name holds."""
    turns = [("user", prompt)] if isinstance(prompt, str) else [(turn.role, turn.content) for turn in prompt]
    text = "\n".join(f"--- {role}\n{content}" for role, content in turns) + "\n"
    file = FOLDER / f"{name}.txt"
    if os.environ.get("STEEPEST_WRITE_GOLDENS"):
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file} is missing; write it with STEEPEST_WRITE_GOLDENS=1"
    assert text == file.read_text(encoding="utf-8")
