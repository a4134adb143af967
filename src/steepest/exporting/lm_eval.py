"""A task of the LM Evaluation Harness: a YAML file, rows, and the run's metric."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from steepest import codec
from steepest.exporting.pieces import Turn, jinja_text, yaml_text
from steepest.exporting.rebuilding import OWN, Rebuilt, is_installed, release
from steepest.exporting.scoring import FILE as SCORING
from steepest.exporting.scoring import LM_EVAL, example_json, has_rule, scoring_file
from steepest.exporting.subject import Subject
from steepest.types import Example, Message, Role

FILE, ROWS = "task.yaml", "rows.jsonl"
HEAD = """\
# Written by `steepest export`. Call it from this folder, its rows are found by a relative path:
#   lm_eval --include_path . --tasks {name} --model ... --apply_chat_template
# The system's turn is `description`, which lm-eval sends as such with --apply_chat_template only. Outputs in which no
# answer can be found are not asked about again, as the run did where its task has an extractor.
"""


def write(subject: Subject) -> Mapping[str, str]:
    """The task file, the rows, and the scores of a rule."""
    by_role = {turn.role: _template(turn) for turn in subject.turns}
    name = re.sub(r"\W", "_", f"steepest_{subject.info.task.name}", flags=re.ASCII)
    values: dict[str, Any] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": ROWS}},
        "test_split": "test",
        "output_type": "generate_until",
        "num_fewshot": 0,
        "description": by_role.get("system", ""),
        "doc_to_text": by_role["user"],
        "doc_to_target": "{{ column_target }}",
        "target_delimiter": "",
        "generation_kwargs": {
            "until": [],
            "do_sample": False,
            "temperature": 0.0,
            "max_gen_toks": subject.source.task.max_tokens,
        },
        "metric_list": [{"metric": "score", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0, **{key: str(value) for key, value in subject.provenance.items()}},
    }
    functions = "process_docs: !function scoring.process_docs\nprocess_results: !function scoring.process_results\n"
    if not has_rule(subject):
        values["metric_list"] = [{"metric": "bypass"}]
        functions = "process_docs: !function scoring.process_docs\n"
    lines = [_row(subject, row) for row in subject.rows]
    return {
        FILE: HEAD.format(name=name) + yaml_text(values) + functions,
        ROWS: "".join(codec.dumps(line) + "\n" for line in lines),
        SCORING: scoring_file(subject, LM_EVAL),
    }


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """What the templates of the file become, by Jinja set up as lm-eval does; without it, by a filler of our own."""
    text = (path / FILE).read_text(encoding="utf-8")
    values = {key: json.loads(value) for key, value in re.findall(r'^(\w+): (".*")$', text, re.MULTILINE)}
    turns: list[tuple[Role, str]] = [("user", values["doc_to_text"])]
    if values["description"]:
        turns.insert(0, ("system", values["description"]))
    shown = [json.loads(_row(subject, row)["shown"]) for row in rows]
    if not is_installed("jinja2"):
        filled = [tuple(Message(role, _filled(template, row)) for role, template in turns) for row in shown]
        return Rebuilt(filled, OWN)
    jinja2 = import_module("jinja2")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    compiled = [(role, environment.from_string(template)) for role, template in turns]
    filled = [tuple(Message(role, template.render(**row)) for role, template in compiled) for row in shown]
    return Rebuilt(filled, release("jinja2"))


def _template(turn: Turn) -> str:
    return jinja_text(turn.pieces, _column)


def _column(name: str) -> str:
    """A column's name in the rows: none that Jinja has taken."""
    return f"column_{name}"


def _row(subject: Subject, row: Example) -> dict[str, str]:
    """A line of the rows: two columns of JSON text, which no reader takes for anything else."""
    shown = {_column(name): value for name, value in subject.columns(row).items()}
    shown.setdefault(_column("target"), row.target)
    return {"shown": codec.dumps(shown), "example": codec.dumps(example_json(row))}


def _filled(template: str, row: Mapping[str, str]) -> str:
    """A template that holds texts and columns only, as `jinja_text` writes them."""

    def value(match: re.Match[str]) -> str:
        return str(json.loads(match[1])) if match[1] else row[match[2]]

    return re.sub(r'\{\{ (?:("(?:[^"\\]|\\.)*")|(\w+)) \}\}', value, template)
