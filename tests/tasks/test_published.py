"""The published benchmarks: on their original files where they are at hand, and on small ones of our own making."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from steepest.errors import TaskError
from steepest.tasks import TaskSpec, benchmarks, load_task
from steepest.tasks.judge import Judge

DATA = Path(os.environ.get("STEEPEST_BENCHMARKS", Path(__file__).parents[2].parent / "shared" / "data"))


TABLE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def at_hand(name: str) -> bool:
    chosen = benchmarks.benchmark(name)
    roots = [DATA / folder for folder in chosen.folders]
    needed = chosen.splits[-1].parts
    return any(all(any([*root.glob(p)] for p in chosen.files[part]) for part in needed) for root in roots)


@pytest.mark.parametrize("name", benchmarks.names())
def test_every_benchmark_has_its_facts(name: str) -> None:
    chosen = benchmarks.benchmark(name)
    assert all((chosen.about, chosen.source, chosen.licence, chosen.cite, chosen.papers, chosen.prompt))
    assert all(part in chosen.files for shares in chosen.splits for part in shares.parts)


@pytest.mark.parametrize("name", [n for n in benchmarks.names() if at_hand(n)])
def test_a_benchmark_loads_and_its_answers_are_recovered(name: str) -> None:
    source = benchmarks.load(name, DATA)
    rows = [*source.task.train, *source.task.dev, *source.test]
    assert not {e.input for e in source.task.dev} & {e.input for e in source.test} or source.task.template.slots
    counts = " / ".join(str(len(source.rows(split))) for split in ("train", "dev", "test"))
    assert f"| `{name}` | {counts} | " in TABLE
    if isinstance(source.task.metric, Judge):
        return
    lost = [r.target for r in rows if source.task.metric(r, f"Reasons.\nThe answer is {r.target}").score < 1.0]
    assert not lost, lost[:3]


def gsm8k(folder: Path, n: int = 12) -> Path:
    inner = folder / "gsm8k"
    inner.mkdir()
    for part in ("train", "test"):
        rows = ({"question": f"{part}: what is {i} + 1?", "answer": f"Adding.\n#### {i + 1}"} for i in range(n))
        (inner / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_folder_or_the_one_around_it_may_be_given(tmp_path: Path) -> None:
    around, inside = load_task("gsm8k", data_dir=gsm8k(tmp_path)), load_task("gsm8k", data_dir=tmp_path / "gsm8k")
    assert around.test == inside.test
    assert (len(around.task.train), len(around.task.dev), len(around.test)) == (6, 6, 12)
    assert all(row.input.startswith("test") and row.target.isdigit() for row in around.test)


def test_bbh_is_split_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [{"input": f"not ( {i} ) is", "target": ("True", "False")[i % 2]} for i in range(250)]
    (tmp_path / "boolean_expressions.json").write_text(json.dumps({"canary": "x", "examples": rows}))
    source = load_task("bbh/boolean_expressions", data_dir=tmp_path)
    assert [e.input for e in source.task.train] == [row["input"] for row in rows[:50]]
    assert [e.input for e in source.test] == [row["input"] for row in rows[150:]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "q", "answr": "#### 1"}', r"train\.jsonl, line 1: .*'answer', got none; did you mean 'answr'"),
        ('{"question": "q", "answer": "many"}', r"train\.jsonl, line 1: .*must be one, got 'many'"),
        ('{"question"', r"train\.jsonl, line 1: not JSON"),
    ],
)
def test_another_file_is_one_line_or_skipped(tmp_path: Path, line: str, message: str) -> None:
    path = gsm8k(tmp_path) / "gsm8k" / "train.jsonl"
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(TaskError, match=message) as caught:
        load_task("gsm8k", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    source = load_task("gsm8k", data_dir=tmp_path, skip_bad_rows=True)
    assert source.notes[0].text == "1 bad row skipped"
    assert "line 1" in source.notes[0].rows[0]


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("svamp", "SVAMP.json", {"examples": 3}, r"SVAMP\.json: a JSON object must hold one list of rows, got none"),
        ("svamp", "SVAMP.json", [3], r"SVAMP\.json, row 1: a row is an object of columns, got int"),
        ("bbh/navigate", "navigate.json", [{"input": "q"}], r"navigate\.json: the file has a list of examples"),
        ("bbh/navigate", "navigate.json", {"examples": [{"input": "q"}]}, r"row 1: .*a column 'target', got none"),
        ("bbh/navigate", "navigate.json", {"examples": [{"input": "q", "target": "Maybe"}]}, r"row 1.*got 'Maybe'"),
        ("bigbench_ii/snarks", "task.json", {"examples": [{"input": "q", "target_scores": 1}]}, r"row 1: no row of"),
        ("bigbench_ii/snarks", "task.json", {"examples": [{"input": "q", "target_scores": {}}]}, r"row 1: no row of"),
        ("strategyqa", "train.json", [{"question": "", "answer": True}], r"row 1, column 1: .*must not be empty"),
    ],
)
def test_files_of_another_benchmark_name_row_and_remedy(
    tmp_path: Path, name: str, file: str, content: object, message: str
) -> None:
    inner = tmp_path / benchmarks.benchmark(name).folders[0]
    for part in benchmarks.benchmark(name).files.values():
        path = inner / part[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    assert [*tmp_path.rglob(file)]
    with pytest.raises(TaskError, match=message) as refused:
        load_task(name, data_dir=tmp_path)
    assert "\n" not in str(refused.value)


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="did you mean 'bbh/navigate'"):
        load_task("bbh/navigat", data_dir=None)
    with pytest.raises(TaskError, match="did you mean 'gsm8k'"):
        load_task("gsm8")
    with pytest.raises(TaskError, match=r"read from train\.jsonl and test\.jsonl, got a folder without"):
        load_task("gsm8k", data_dir=tmp_path)
    with pytest.raises(TaskError, match="got no --data-dir"):
        load_task("vicuna_bench")


def test_skipped_rows_are_named_and_lists_are_several_right_answers() -> None:
    rows = [{"input": f"q{i}", "target": [f"word{i}", f"other{i}"]} for i in range(40)]
    source = load_task(TaskSpec([*rows, {"input": "", "target": "x"}], answer="text", skip_bad_rows=True))
    assert str(source.notes[0]).startswith("1 bad row skipped: row 41, column 1")
    row = source.test[0]
    assert all(source.task.rule(row, f"The answer is {w}").score == 1.0 for w in rows[int(row.input[1:])]["target"])
