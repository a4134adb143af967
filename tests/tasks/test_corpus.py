"""Answers as models write them, each with its right reading, and gold answers of the benchmarks read back."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from steepest.tasks import Choice, YesNo
from steepest.tasks.metrics import gold_of, open_metric
from steepest.tasks.task import Metric
from steepest.types import Example

LINES = (Path(__file__).parent / "answers_corpus.jsonl").read_text(encoding="utf-8").splitlines()
DATA = Path(os.environ.get("STEEPEST_BENCHMARKS", Path(__file__).parents[2].parent / "shared" / "data"))


def test_corpus_is_large_and_has_chinese() -> None:
    texts = [json.loads(line)["text"] for line in LINES]
    assert len(set(LINES)) == len(LINES) >= 300
    assert sum(any("\u3400" <= c <= "\u9fff" for c in text) for text in texts) >= 60


@pytest.mark.parametrize("line", LINES)
def test_answer_is_read_right(line: str) -> None:
    case = json.loads(line)
    metric = open_metric(case["kind"])
    target = metric.labels[0] if isinstance(metric, Choice | YesNo) else "1"
    row = Example("r", case.get("question", "q"), target)
    assert metric(row, case["text"]).answer == case["reading"]  # type: ignore[operator]


# -- gold answers of the benchmarks ---------------------------------------------------------------------------------

SENTENCES = (
    "The answer is {}.",
    "3 + 4 = 7, so it is not 5.\n#### {}",
    "Think.\n\n**{}**",
    "答案是{}。",
    "<answer>{}</answer>",
)


def lettered(question: str, options: list[str]) -> str:
    return "\n".join([question, *(f"({letter}) {option}" for letter, option in zip("ABCDE", options, strict=False))])


def gold_answers(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Set, question, gold answer."""
    for path in folder.glob("gsm8k/*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield "gsm8k", json.loads(line)["question"], json.loads(line)["answer"]
    for path in folder.glob("bbh/*.json"):
        for each in json.loads(path.read_text(encoding="utf-8"))["examples"]:
            yield f"bbh/{path.stem}", each["input"], each["target"]
    for path in folder.glob("mmlu/test/*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for cells in csv.reader(file):
                yield "mmlu", lettered(cells[0], cells[1:5]), cells[5]
    for path in folder.glob("hotpotqa/*.json"):
        for each in json.loads(path.read_text(encoding="utf-8")):
            yield "hotpotqa", each["question"], each["answer"]
    for path in folder.glob("instruction_induction/raw/*/*.json"):
        for each in json.loads(path.read_text(encoding="utf-8"))["examples"].values():
            if "output" in each:
                yield f"induction/{path.stem}", each["input"], each["output"]
    for path in folder.glob("bigbench_ii/*/task.json"):
        for each in json.loads(path.read_text(encoding="utf-8"))["examples"]:
            if isinstance(target := each.get("target"), str):
                yield f"bigbench/{path.parent.name}", each["input"], target


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="benchmark files are not at hand")
def test_gold_answers_in_plain_sentences_are_read_back() -> None:
    sets: dict[str, list[tuple[str, str]]] = {}
    for name, question, gold in gold_answers(DATA):
        sets.setdefault(name, []).append((question, gold))
    missed = [miss for name, rows in sets.items() for miss in misread(name, rows)]
    assert len(sets) > 30 and not missed, missed[:10]


def misread(name: str, rows: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    metric = open_metric("auto", [gold for _, gold in rows])
    for question, gold in rows:
        row = Example("r", question, gold_of(metric, gold))
        for sentence in SENTENCES:
            if not scores(metric, row, output := sentence.format(row.target)):
                yield name, output


def scores(metric: object, row: Example, output: str) -> bool:
    judge: Metric = metric  # type: ignore[assignment]
    return judge(row, output).score == 1.0
