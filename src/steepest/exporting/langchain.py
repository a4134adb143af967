"""A LangChain ChatPromptTemplate, as a Python file."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path

from steepest.exporting.pieces import format_text
from steepest.exporting.rebuilding import OWN, Rebuilt, assignments, is_installed, literal, release
from steepest.exporting.subject import Subject
from steepest.types import Example, Message, Role

HEAD = '''"""A measured prompt as a LangChain template; written by `steepest export`. Needs langchain-core.

    messages = PROMPT.invoke({"input": "..."}).to_messages()
    chain = PROMPT | model.bind(**DECODING)

Where FOLLOW_UP is not None and no answer could be found in the output, the model was asked to go on after the output
and FOLLOW_UP["text"].
"""

from langchain_core.prompts import ChatPromptTemplate

'''
TAIL = """
PROMPT = ChatPromptTemplate(MESSAGES, template_format="f-string")
"""
_NAMES: Mapping[Role, str] = {"system": "system", "user": "human", "assistant": "ai"}
_ROLES = {name: role for role, name in _NAMES.items()}


def write(subject: Subject) -> Mapping[str, str]:
    """The file. Braces that are no slots are doubled."""
    literals = assignments(
        {
            "MESSAGES": [(_NAMES[turn.role], format_text(turn.pieces)) for turn in subject.turns],
            "DECODING": {"temperature": 0.0, "max_tokens": subject.source.task.max_tokens},
            "FOLLOW_UP": subject.follow_up,
            "PROVENANCE": subject.provenance,
        }
    )
    return {"prompt_template.py": HEAD + literals + TAIL}


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """What LangChain makes of the file; without it, what `str.format` makes of its templates."""
    if not is_installed("langchain_core"):
        turns = literal(path, "MESSAGES")
        filled = [
            tuple(Message(_ROLES[name], text.format(**subject.columns(row))) for name, text in turns) for row in rows
        ]
        return Rebuilt(filled, OWN)
    prompt = runpy.run_path(str(path))["PROMPT"]
    said = [prompt.invoke(subject.columns(row)).to_messages() for row in rows]
    filled = [tuple(Message(_ROLES[message.type], message.content) for message in messages) for messages in said]
    return Rebuilt(filled, release("langchain-core"))
