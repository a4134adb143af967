"""Prompts and rows that break what is filled carelessly, as exports of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import steepest
from steepest.exporting.pieces import turns_of
from steepest.exporting.subject import Subject, subject_of
from steepest.tasks.task import Template
from steepest.types import Example

HOSTILE = (
    "Think.",
    "Use {braces}, {{ double }}, {% raw %}, {# note #}, {0}, {}, {x!r:>{y}}, 100% %s %(x)s ${HOME} \"quoted\" 'single'",
    'line\nline\r\n\ttab \\ \\n \\" """ \'\'\' """ + __import__("os").abort() + """',
    "请一步一步思考。{答案} “引号” 🙂 e\u0301 \u2028\u2029\x85\ufeff\x7f \x1b[31m",
    "{% endraw %}{{ input }}{input}{prompt}{{{{ }}}} }} %} #} {{ '{{' }} {-",
    "\n trailing and leading: # - ? & * ! | > @ ` yes no null ~ \n\n",
    '`${require("fs")}` // */ <script> file:///etc/passwd !!python/object/apply:os.abort []',
)
"""Prompts; rows are made of them too."""
TEMPLATES = (
    Template("{input}\n{prompt}"),
    Template("{{{input}}} 100% {prompt} \\n {% if %} {note}{not}", system='You {add} {{ numbers }} "well" \\ {input}.'),
    Template("{prompt}"),
)
LISTED = "Answer {input} by {note}, {{note}} and {not}; keep {} {0} {a b} {{ x }} {% y %} \\ \n🙂"
"""A prompt with slots of its own."""
ROWS = tuple(
    Example(f"row-{n}", text, f"target {n}", {"note": HOSTILE[-n], "not": text[::-1]}) for n, text in enumerate(HOSTILE)
)

SAID = """\
import hashlib


def answer(request):
    digest = hashlib.sha256(f"{request.prompt} {request.seed}".encode()).hexdigest()
    return digest[: 10 + int(digest[0], 16)]
"""


def finished_run(folder: Path, **changed: Any) -> Path:
    """A small run whose prompts and rows are hostile, and whose model is in a file."""
    (folder / "metric.py").write_text("def judge(example, output):\n    return len(output) % 7 / 7\n")
    (folder / "said.py").write_text(SAID)
    rows = [{"input": f"{n} {HOSTILE[n % 7]}", "target": str(n), "note": HOSTILE[-n % 7] + "."} for n in range(48)]
    result = steepest.optimize(
        **{
            "prompt": HOSTILE[1],
            "data": rows,
            "layout": "{{note}} {input} {{ x }}\n{prompt} {% if %}",
            "method": "testing_methods:Adder",
            "model": "scripted",
            "options": {"answer": f"{folder / 'said.py'}:answer"},
            "answer": f"{folder / 'metric.py'}:judge",
            "runs": folder / "runs",
            "steps": 1,
            "quiet": True,
            **changed,
        }
    )
    return result.folder


def subject(folder: Path, prompt: str, template: Template, rows: Sequence[Example] = ROWS) -> Subject:
    """What a run would export had it found this prompt on these rows."""
    run = subject_of(folder)
    task = replace(run.source.task, template=template, dev=rows, seeds=(prompt,))
    more = (replace(row, id=f"{row.id}-{n}", input=f"{row.input}{n}") for n in range(8) for row in rows)
    source = replace(run.source, task=task, test=tuple(more))
    return replace(run, prompt=prompt, turns=turns_of(template, prompt), source=source, rows=rows)


def cases() -> list[tuple[Template, str]]:
    """Every hostile prompt in a layout, and one that has the slots itself."""
    return [(template, prompt) for template in TEMPLATES[:2] for prompt in HOSTILE] + [(TEMPLATES[2], LISTED)]
