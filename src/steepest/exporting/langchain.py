"""A LangChain ChatPromptTemplate, as a Python file."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path

from steepest.exporting.pieces import format_text, free_name, with_names
from steepest.exporting.rebuilding import OWN, Rebuilt, alone, assignments, is_installed, literal, release
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
            "MESSAGES": [(_NAMES[turn.role], format_text(turn.pieces)) for turn in with_names(subject.turns, _key)],
            "DECODING": {"temperature": 0.0, "max_tokens": subject.source.task.max_tokens},
            "FOLLOW_UP": subject.follow_up,
            "PROVENANCE": subject.provenance,
        }
    )
    return {"prompt_template.py": HEAD + literals + TAIL}


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """What LangChain makes of the file; without it, what `str.format` makes of its templates."""
    columns = [{_key(name): value for name, value in subject.columns(row).items()} for row in rows]
    if not is_installed("langchain_core"):
        turns = literal(path, "MESSAGES")
        filled = [tuple(Message(_ROLES[name], text.format(**row)) for name, text in turns) for row in columns]
        return Rebuilt(filled, OWN)
    with alone(path.parent):
        prompt = runpy.run_path(path.name)["PROMPT"]
        said = [prompt.invoke(row).to_messages() for row in columns]
    filled = [tuple(Message(_ROLES[message.type], message.content) for message in messages) for messages in said]
    return Rebuilt(filled, release("langchain-core"))


def _key(name: str) -> str:
    """A column's name in the template."""
    return free_name(name, ("self",))
