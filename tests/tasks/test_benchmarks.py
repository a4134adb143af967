"""The readers on real benchmark files, where they are at hand: STEEPEST_BENCHMARKS names their folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from steepest.tasks import Choice, Number, TaskSpec, Text, YesNo, load_task

DATA = Path(os.environ.get("STEEPEST_BENCHMARKS", Path(__file__).parents[2].parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="benchmark files are not at hand")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("navigate", YesNo),
        ("formal_fallacies", YesNo),
        ("object_counting", Number),
        ("hyperbaton", Choice),
        ("tracking_shuffled_objects_seven_objects", Choice),
        ("dyck_languages", Text),
    ],
)
def test_bbh(name: str, kind: type[object]) -> None:
    source = load_task(TaskSpec(DATA / "bbh" / f"{name}.json"))
    assert isinstance(source.task.metric, kind)
    for row in source.test:
        assert source.task.metric(row, f"Some reasoning.\nSo the answer is {row.target}.").score == 1.0


def test_gsm8k_targets_are_numbers() -> None:
    source = load_task(TaskSpec(DATA / "gsm8k" / "train.jsonl", input="question", target="answer"))
    assert isinstance(source.task.metric, Number)
    assert all(row.target.lstrip("-").replace(".", "").isdigit() for row in source.test)


def test_folio_shows_its_premises() -> None:
    path = DATA / "folio" / "folio-train.jsonl"
    source = load_task(TaskSpec(path, input="conclusion", target="label", layout="{premises}\n{input}\n{prompt}"))
    assert source.task.metric == Choice(("False", "True", "Unknown"))
    row = source.task.train[0]
    assert row.meta["premises"] in source.task.template.render("Think.", row)[0].content
