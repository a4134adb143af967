"""A task file of Steepest's own that evaluates the prompt again, with its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from steepest import codec
from steepest.errors import TaskError
from steepest.exporting.rebuilding import Rebuilt
from steepest.exporting.subject import Subject
from steepest.objects import files_named
from steepest.tasks.loading import TaskSpec, load_task, read_task_file
from steepest.tasks.source import SPLITS, TaskSource
from steepest.types import Example

FILE = "task.yaml"
SAME = "# steepest eval --task task.yaml --split test\n# The rows fall into the splits of the run.\n"
MIXED = """\
# steepest eval --task task.yaml --split test
# The run's splits cannot be made again from the rows: some rows of test were seen by the search here, and the score is
# optimistic. For the run's own held-out rows: steepest eval RUN
"""
FRESH = """\
# steepest eval --task task.yaml --split test
# The run's splits cannot be made again from the rows, so these are its held-out rows alone, split anew.
"""


def write(subject: Subject) -> Mapping[str, str]:
    """The task file and its rows: all of the run where they fall into the same splits again, else those of test.

    Where the latter cannot be split, all rows, with a warning.
    """
    source = subject.source
    rows = [row for split in SPLITS for row in source.rows(split)]
    everything = _files(subject, rows, SAME)
    if (again := _loaded(everything)) and _splits_alike(again, source):
        return everything
    held_out = _files(subject, source.test, FRESH)
    return held_out if _loaded(held_out) else _files(subject, rows, MIXED)


def rebuild(path: Path, subject: Subject, rows: Sequence[Example]) -> Rebuilt:
    """What the task in the file asks, read by Steepest."""
    task = load_task(_asking(read_task_file(path / FILE))).task
    return Rebuilt([task.template.render(task.seeds[0], row) for row in rows], "steepest")


def _asking(spec: TaskSpec) -> TaskSpec:
    """The task without its metric where that is code: what is asked, and of which rows, does not depend on it."""
    return replace(spec, answer="exact_match") if any(files_named(spec.answer)) else spec


def _files(subject: Subject, rows: Sequence[Example], head: str) -> dict[str, str]:
    from ruamel.yaml import YAML

    task, taken = subject.source.task, {name for row in rows for name in row.meta}
    names = {key: _free(key, taken) for key in ("input", "target", "id")}
    content: dict[str, Any] = {
        "name": task.name,
        "data": "rows.jsonl",
        **names,
        "layout": task.template.layout,
        "system": task.template.system,
        "answer": subject.metric,
        "description": task.description,
        "language": task.language,
        "prompt": subject.prompt,
        "max_tokens": task.max_tokens,
        "splits": {
            f"most_{split}": max(2, len(subject.source.rows(split) if head == SAME else rows)) for split in SPLITS
        },
    }
    written = StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.allow_unicode, yaml.sort_base_mapping_type_on_output = False, True, False
    yaml.dump(content, written)
    lines = [{names["id"]: row.id, names["input"]: row.input, names["target"]: row.target, **row.meta} for row in rows]
    # A path may hold a line end, and what follows it would be no comment.
    named = [f"# The metric is named beside the file: --answer {json.dumps(n)}\n" for n in files_named(subject.metric)]
    return {
        FILE: head + "".join(named) + written.getvalue(),
        "rows.jsonl": "".join(codec.dumps(line) + "\n" for line in lines),
    }


def _free(name: str, taken: set[str]) -> str:
    """A name for one of the row's own columns that none of its further columns has."""
    return name if name not in taken else _free(f"{name}_", taken)


def _splits_alike(again: TaskSource, source: TaskSource) -> bool:
    """Whether rows fell into the splits of the run."""
    return all([row.id for row in again.rows(s)] == [row.id for row in source.rows(s)] for s in SPLITS)


def _loaded(files: Mapping[str, str]) -> TaskSource | None:
    """The task that Steepest reads from the files; None where it cannot, such as of too few rows."""
    with TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_bytes(text.encode())
        try:
            return load_task(_asking(read_task_file(Path(folder) / FILE)))
        except TaskError:
            return None
