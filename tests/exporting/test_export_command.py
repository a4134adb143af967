from __future__ import annotations

import json
from pathlib import Path

import pytest
from subjects import finished_run

import steepest
from steepest.cli import main
from steepest.exporting import FORMATS
from steepest.exporting.verifying import verify


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose prompt every format can say."""
    return finished_run(tmp_path_factory.mktemp("plain"), prompt="Think {twice}.", layout="{note} {input}\n{prompt} \\")


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_an_export_is_verified_by_the_run_s_model(
    to: str, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [
        "export",
        str(plain),
        "--to",
        to,
        "--out",
        str(tmp_path / "out"),
        "--verify",
        "--split",
        "test",
        "--rows",
        "5",
    ]
    assert main(call) == 0
    said = capsys.readouterr()
    assert " on 5 test rows, as in the run; rebuilt by " in said.out
    assert "wrote " in said.err and (tmp_path / "out").exists()
    assert main(call) == 2
    assert "replaces nothing" in capsys.readouterr().err


def test_all_rows_are_verified_without_a_file(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(plain), "--to", "json", "--verify"]) == 0
    n = len(json.loads((plain / "steps" / "00000.json").read_text())["referee"]["scores"])
    assert f" on {n} dev rows, as in the run" in capsys.readouterr().out


def test_a_file_that_asks_something_else_is_told(plain: Path, tmp_path: Path) -> None:
    path = steepest.export(plain, "json", out=tmp_path / "prompt.json").path
    assert path is not None
    path.write_text(path.read_text().replace("{twice}", "{thrice}"))
    found = verify(plain, "json", path)
    assert "is asked something else: in the user's turn, 'hrice}" in found.difference and "\n" not in found.difference


def test_a_score_that_is_not_the_run_s_is_told(
    plain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from steepest.exporting.subject import Subject

    real = Subject.recorded
    monkeypatch.setattr(Subject, "recorded", lambda self, split: {row: 0.99 for row in real(self, split)})
    assert main(["export", str(plain), "--to", "text", "--verify"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the score differs: 99.0 % on ") and said.count("\n") == 1


def test_without_a_place_the_file_is_printed(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(plain), "--to", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["run"] == plain.name


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--to", "yml"], "there is no export to 'yml'; did you mean 'yaml'?"),
        (["--to", "yaml"], "name one with --out"),
        (["--to", "text", "--which", "worst"], "a prompt is best or initial"),
        (["--to", "text", "--split", "train"], "got 'train'"),
        (["--to", "text", "--verify", "--rows", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_is_said_on_one_line(
    plain: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["export", str(plain), *options]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_nothing_is_written_through_a_link(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(steepest.SteepestError, match="replaces nothing"):
        steepest.export(plain, "text", out=tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_an_unfinished_run_gives_its_best_prompt_so_far(plain: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(plain, copy)
    (copy / "result.json").unlink()
    (copy / "test.jsonl").unlink()
    told = json.loads(steepest.export(copy, "json").text)
    assert told["provenance"]["finished"] is False and told["provenance"]["dev"]["best"]["mean"] >= 0
    with pytest.raises(steepest.SteepestError, match="no scores of its best prompt on test rows"):
        verify(copy, "text", tmp_path / "none", split="test")
