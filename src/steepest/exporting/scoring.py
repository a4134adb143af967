"""The run's metric for other frameworks: a file that scores an output by the very rule of the run."""

from __future__ import annotations

from steepest import codec
from steepest.exporting.rebuilding import assignments
from steepest.exporting.subject import Subject
from steepest.types import Example

FILE = "scoring.py"
_HEAD = '''"""Scores outputs as the run did; written by `steepest export`. Needs steepest: pip install steepest."""

import json
from pathlib import Path

'''
_BODY = '''

def score(row, output):
    """The score of an output in [0, 1]."""
    from steepest.tasks.metrics import open_metric
    from steepest.types import Example

    return open_metric(METRIC)(Example(row["id"], row["input"], row["target"], row["meta"]), output).score
'''
LM_EVAL = '''

def process_docs(dataset):
    """Columns as the text that they are: readers of JSON lines take some columns for dates."""
    return dataset.map(lambda doc: json.loads(doc["shown"]))


def process_results(doc, results):
    """For lm-eval."""
    return {"score": score(json.loads(doc["example"]), results[0])}
'''
PROMPTFOO = '''

def get_assert(output, context):
    """For promptfoo."""
    rows = json.loads((Path(__file__).parent / "rows.json").read_text(encoding="utf-8"))
    return score(rows[int(context["vars"]["row"])]["example"], output)
'''


def scoring_file(subject: Subject, entry: str) -> str:
    """The file, with the entry point of one framework."""
    return _HEAD + assignments({"METRIC": subject.metric}) + _BODY + entry


def has_rule(subject: Subject) -> bool:
    """Whether a rule scores outputs, not a judge."""
    return bool(subject.metric["use"] != "judge")


def example_json(example: Example) -> codec.JSON:
    """A row as `score` takes it."""
    return codec.encode(example)
