"""A task of the LM Evaluation Harness: a YAML file, rows, and the run's metric."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from steepest import codec
from steepest.exporting.pieces import Turn, fill_jinja, jinja_text, with_names, yaml_text
from steepest.exporting.rebuilding import OWN, Rebuilt, alone, is_installed, release, turns_said
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
    by_role = {turn.role: _template(turn) for turn in with_names(subject.turns, _column)}
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
    """The requests that lm-eval makes of the task and its rows; without it, the task's templates, filled."""
    if not is_installed("lm_eval"):
        return Rebuilt(_filled(path, [json.loads(_row(subject, row)["shown"]) for row in rows]), OWN)
    with TemporaryDirectory() as place, alone(path, HF_DATASETS_CACHE=place):
        manager = import_module("lm_eval.tasks").TaskManager(include_path=".", include_defaults=False)
        (name,) = manager.all_tasks
        task = manager.load(name)["tasks"][name]
        # A chat template that shows the very turns it is given.
        task.build_all_requests(
            apply_chat_template=True,
            fewshot_as_multiturn=True,
            chat_template=lambda turns, **_: json.dumps(turns),
        )
    asked = {json.loads(each.doc["example"])["id"]: turns_said(json.loads(each.args[0])) for each in task.instances}
    return Rebuilt([asked[row.id] for row in rows], release("lm-eval"))


def _filled(path: Path, rows: Sequence[Mapping[str, str]]) -> list[tuple[Message, ...]]:
    text = (path / FILE).read_text(encoding="utf-8")
    values = {key: json.loads(value) for key, value in re.findall(r'^(\w+): (".*")$', text, re.MULTILINE)}
    turns: list[tuple[Role, str]] = [("user", values["doc_to_text"])]
    if values["description"]:
        turns.insert(0, ("system", values["description"]))
    return [tuple(Message(role, fill_jinja(template, row)) for role, template in turns) for row in rows]


def _template(turn: Turn) -> str:
    template = jinja_text(turn.pieces)
    # lm-eval takes a bare word for a column where there is one of that name.
    return template if "{{" in template else template + '{{ "" }}'


def _column(name: str) -> str:
    """A column's name in the rows: none that Jinja has taken."""
    return f"column_{name}"


def _row(subject: Subject, row: Example) -> dict[str, str]:
    """A line of the rows: two columns of JSON text, which no reader takes for anything else."""
    shown = {_column(name): value for name, value in subject.columns(row).items()}
    shown.setdefault(_column("target"), row.target)
    return {"shown": codec.dumps(shown), "example": codec.dumps(example_json(row))}
