"""A DSPy program whose adapter sends the very messages that were scored, as a Python file."""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from steepest.exporting.pieces import fill, free_name, from_data, slots_in, with_names
from steepest.exporting.rebuilding import OWN, Rebuilt, alone, assignments, is_installed, literal, release, turns_said
from steepest.exporting.script import literals_of
from steepest.exporting.subject import Subject
from steepest.types import Example

HEAD = '''"""A prompt whose score was measured, as a DSPy program; written by `steepest export`. Needs dspy.

    dspy.configure(lm=dspy.LM("openai/..."))
    output = Program()(input="...").output

The program's adapter sends the messages of MESSAGES as they are: no signature, no instructions of DSPy's. Where
FOLLOW_UP is not None and no answer could be found in the output, the model was asked to go on after the output and
FOLLOW_UP["text"].
"""

import dspy

'''
BODY = '''

def build(row):
    """The messages that ask a row, a mapping of column names to text."""
    return [{"role": t["role"], "content": "".join(_text(piece, row) for piece in t["content"])} for t in MESSAGES]


def _text(piece, row):
    return piece if isinstance(piece, str) else row[piece["slot"]]


class AsScored(dspy.Adapter):
    """Sends MESSAGES with the row's columns in their slots, and takes the reply as it is."""

    def format(self, signature, demos, inputs):
        """The messages."""
        return build({name: inputs["column_" + name] for name in COLUMNS})

    def parse(self, signature, completion):
        """The reply, whole."""
        return {"output": completion}


class Program(dspy.Module):
    """Answers one row, whose columns are its keyword arguments."""

    def __init__(self):
        super().__init__()
        # The prefix keeps columns apart from names that DSPy has taken.
        fields = {"column_" + name: (str, dspy.InputField()) for name in COLUMNS}
        signature = dspy.Signature({**fields, "output": (str, dspy.OutputField())}, "")
        self.predict = dspy.Predict(signature, temperature=DECODING["temperature"], max_tokens=DECODING["max_tokens"])

    def forward(self, **row):
        """The answer, as `output`."""
        with dspy.context(adapter=AsScored()):
            return self.predict(**{"column_" + name: row[name] for name in COLUMNS})
'''


def write(subject: Subject) -> Mapping[str, str]:
    """The file."""
    turns = with_names(subject.turns, _keyword)
    columns = assignments({"COLUMNS": list(slots_in(turns))})
    return {"program.py": HEAD + literals_of(subject, turns) + columns + BODY}


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """What the program sends through DSPy to a model that only listens; without DSPy, the file's messages, filled."""
    columns = [{_keyword(name): value for name, value in subject.columns(row).items()} for row in rows]
    if not is_installed("dspy"):
        turns = from_data(literal(path, "MESSAGES"))
        return Rebuilt([fill(turns, row) for row in columns], OWN)
    file = path.resolve()
    with TemporaryDirectory() as place, alone(Path(place), DSPY_CACHEDIR=place):
        dspy = import_module("dspy")
        program = runpy.run_path(str(file))["Program"]()
        model = dspy.utils.DummyLM([{"output": "heard"}] * len(rows))
        with dspy.context(lm=model):
            for row in columns:
                program(**row)
    return Rebuilt([turns_said(call["messages"]) for call in model.history], release("dspy"))


def _keyword(name: str) -> str:
    """A column's name as an argument of the program."""
    return free_name(name, ("self", "instance"))
