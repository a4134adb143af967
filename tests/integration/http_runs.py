"""Small tasks for runs over HTTP, a scripted server for those that must be repeatable, and what a run leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from cli.commands import toy_rows
from methods.text_runs import WORDS, written
from models.endpoint.stub import Asked, Say, said
from steepest.tasks.loading import TaskSpec, load_task
from steepest.tasks.splitting import Splits
from steepest.testing.toy import toy_answer
from steepest.types import Request

IMPOSSIBLE = "-1"
"""A target that no answer reaches."""


def small_task(criteria: str = "") -> TaskSpec:
    """Six rows to learn from and five each to choose and to test by. A model can be right about every other one at
    most, so that there is always something to say about errors."""
    source = load_task("arithmetic")
    examples = (*source.task.train, *source.task.dev, *source.test)[:80]
    targets = [IMPOSSIBLE if i % 2 else example.target for i, example in enumerate(examples)]
    rows = [{"input": e.input, "target": target} for e, target in zip(examples, targets, strict=True)]
    answer = "auto" if criteria else "number"
    splits = Splits(most_train=6, most_dev=5, most_test=5)
    return TaskSpec(rows, name="sums", answer=answer, criteria=criteria, max_tokens=32, splits=splits)


def toy_dicts() -> list[dict[str, str]]:
    """The toy rows, as a user would give them."""
    return [{"question": question, "target": target} for question, target in toy_rows()]


def toy_reply(asked: Asked) -> Say:
    """The toy model in every role: tags where tags are asked for, otherwise the answer to the question."""
    request = Request(asked.text, asked.body["temperature"], asked.body["max_tokens"], seed=asked.body.get("seed"))
    wants_tags = re.search(r"<(prompt|reason|summary)>", asked.text)
    return said(written(request) if wants_tags else toy_answer(request))


def proposing(asked: Asked) -> Say:
    """An optimizer that does what it is told: the tag that is asked for last, around words that the seed picks."""
    tags = re.findall(r"<(prompt|reason|summary|feedback)>", asked.text)
    seed = asked.body.get("seed", 0)
    text = f"Add {WORDS[seed % 10]} {WORDS[seed // 10 % 10]} {WORDS[seed // 100 % 10]}."
    return said(f"<{tags[-1]}>{text}</{tags[-1]}>" if tags else text)


def approving(asked: Asked) -> Say:
    """A judge that likes answers with an even number of characters."""
    assert "<rating>" in asked.text
    answer = asked.text.partition("Model answer: ")[2].partition("\n")[0]
    return said(f"<explanation>Seen.</explanation><rating>{1 - len(answer) % 2}</rating>")


def journal(folder: Path) -> list[dict[str, Any]]:
    """The calls of a run, in order."""
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
