"""Messages as text and slots, apart from any template language, and the same written in the languages of others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from steepest.codec import JSON
from steepest.tasks.task import Template, slots_of
from steepest.types import Message, Role


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a column of the row."""

    name: str


Piece = str | Slot


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, before it is filled."""

    role: Role
    pieces: tuple[Piece, ...]


def turns_of(template: Template, prompt: str) -> tuple[Turn, ...]:
    """What `template` asks under `prompt`, whatever the row."""
    before, after = template.layout.split("{prompt}")
    middle = pieces_of(prompt) if template.is_filled_by_prompt else (prompt,)
    user = Turn("user", _joined((*pieces_of(before), *middle, *pieces_of(after))))
    return (Turn("system", (template.system,)), user) if template.system else (user,)


def pieces_of(text: str) -> tuple[Piece, ...]:
    """Text with slots in braces, taken apart."""
    names = slots_of(text)
    if not names:
        return (text,)
    parts = re.split(r"\{(" + "|".join(names) + r")\}", text)
    return _joined(Slot(part) if at % 2 else part for at, part in enumerate(parts))


def slots_in(turns: Sequence[Turn]) -> tuple[str, ...]:
    """Names of the slots, each once, in order."""
    return tuple(dict.fromkeys(piece.name for turn in turns for piece in turn.pieces if isinstance(piece, Slot)))


def fill(turns: Sequence[Turn], row: Mapping[str, str]) -> tuple[Message, ...]:
    """The messages that ask a row."""
    return tuple(Message(turn.role, written(turn.pieces, str, row.__getitem__)) for turn in turns)


def written(pieces: Iterable[Piece], text: Callable[[str], str], slot: Callable[[str], str]) -> str:
    """Pieces in some template language, given how it writes text and how it writes a slot."""
    return "".join(slot(piece.name) if isinstance(piece, Slot) else text(piece) for piece in pieces)


def with_names(turns: Sequence[Turn], name: Callable[[str], str]) -> tuple[Turn, ...]:
    """The turns with other names for their slots."""
    return tuple(Turn(t.role, tuple(p if isinstance(p, str) else Slot(name(p.name)) for p in t.pieces)) for t in turns)


def free_name(name: str, taken: Collection[str]) -> str:
    """A column's name where a library has taken some for itself; no two columns get the same."""
    return f"column_{name}" if name in taken or name.startswith("column_") else name


def as_data(turns: Sequence[Turn]) -> JSON:
    """Turns as plain data: [{"role": ..., "content": ["text", {"slot": "input"}, ...]}]."""
    return [
        {
            "role": turn.role,
            "content": [{"slot": piece.name} if isinstance(piece, Slot) else piece for piece in turn.pieces],
        }
        for turn in turns
    ]


def from_data(data: JSON) -> tuple[Turn, ...]:
    """The turns that `as_data` wrote."""
    return tuple(
        Turn(turn["role"], tuple(piece if isinstance(piece, str) else Slot(piece["slot"]) for piece in turn["content"]))
        for turn in data
    )


def _joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Neighbouring texts as one, without empty ones."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, str) and isinstance(last, str):
            found[-1] = last + piece
        elif piece != "":
            found.append(piece)
    return tuple(found) or ("",)


# -- languages of others --------------------------------------------------------------------------------------------


def format_text(pieces: Iterable[Piece]) -> str:
    """For `str.format`, which LangChain's "f-string" templates are."""
    return written(pieces, lambda text: text.replace("{", "{{").replace("}", "}}"), lambda name: "{" + name + "}")


def jinja_text(pieces: Iterable[Piece]) -> str:
    """For Jinja. Everything special there begins with a brace; carriage returns would become line feeds."""
    return written(pieces, jinja_literal, lambda name: "{{ " + name + " }}")


def jinja_literal(text: str) -> str:
    """Text that Jinja gives back as it is."""
    return re.sub(r"\{+|\r", lambda m: "{{ " + json.dumps(m.group()) + " }}", text)


def fill_jinja(template: str, row: Mapping[str, str]) -> str:
    """A template that holds texts and columns only, as `jinja_text` writes them, filled without Jinja."""

    def value(match: re.Match[str]) -> str:
        return str(json.loads(match[1])) if match[1] else row[match[2]]

    return re.sub(r'\{\{ (?:("(?:[^"\\]|\\.)*")|(\w+)) \}\}', value, template)


def yaml_text(values: Mapping[str, JSON]) -> str:
    """A mapping as YAML that every reader, of YAML 1.1 or 1.2, takes the same way: each value is quoted as in JSON."""
    return "".join(f"{key}: {_quoted(value)}\n" for key, value in values.items())


def _quoted(value: JSON) -> str:
    # Readers break lines at some of these, and refuse others, unless they are escaped.
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return re.sub("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]", lambda m: f"\\u{ord(m.group()):04x}", plain)
