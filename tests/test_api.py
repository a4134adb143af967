from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import steepest
from steepest.api import task_source
from steepest.errors import ModelError, SpecError, StateError, TaskError
from steepest.models.scripted import Scripted, text_of
from steepest.roles import open_models, written_options
from steepest.tasks.judge import Judge
from steepest.testing.toy import toy_answer, toy_model, toy_world
from steepest.types import Example, Request
from testing_methods import Adder, Asker

WORLD = toy_world(20, 20, 40)
ROWS = [{"question": e.input, "answer": e.target} for e in (*WORLD.task.train, *WORLD.task.dev, *WORLD.test)]
COLUMNS: dict[str, Any] = {"input": "question", "target": "answer", "answer": "exact_match"}


def close(example: Example, output: str) -> float:
    return 1.0 if output == example.target else 0.5


def optimized(folder: Path, **changed: Any) -> steepest.Result:
    arguments = {
        "data": ROWS,
        "model": toy_model(),
        "method": Adder(),
        "steps": 4,
        "runs": folder / "runs",
        "quiet": True,
        **COLUMNS,
    }
    return steepest.optimize("Say it.", **{**arguments, **changed})


def test_one_call_finds_a_better_prompt_and_proves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = optimized(tmp_path)
    assert result.verdict == "better"
    assert result.prompt.initial == "Say it."
    assert result.prompt.best.startswith("Say it. ")
    assert result.test.initial.mean < result.test.best.low < result.test.best.mean < result.test.best.high
    assert result.test.p_value < 0.05
    assert result.folder.parent == tmp_path / "runs"
    assert json.loads((result.folder / "result.json").read_text())["prompt"]["best"] == result.prompt.best
    assert (result.folder / "report.html").is_file()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    first, second, other = (optimized(tmp_path, seed=seed) for seed in (5, 5, 6))
    assert first.prompt == second.prompt
    assert first.test == second.test
    assert (first.usage.calls, first.usage.tokens) != (other.usage.calls, other.usage.tokens)


def test_rows_come_from_a_file_a_spec_or_an_earlier_run_alike(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    spec = steepest.TaskSpec(ROWS, input="question", target="answer", answer="exact_match", prompt="Say it.")
    from_rows = optimized(tmp_path)
    none = dict.fromkeys(COLUMNS)
    assert optimized(tmp_path, data=tmp_path / "rows.json").test == from_rows.test
    assert optimized(tmp_path, data=spec, **none).test == from_rows.test
    assert optimized(tmp_path, data=from_rows.folder, **none).test == from_rows.test


def test_progress_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimized(tmp_path, quiet=False, steps=1)
    said = capsys.readouterr()
    assert said.out == ""
    assert "step 1 of 1" in said.err


def test_resume_goes_on(tmp_path: Path) -> None:
    whole, begun = optimized(tmp_path), optimized(tmp_path, model="scripted", options=toy_options(), steps=1)
    resumed = steepest.resume(begun.folder, steps=4, quiet=True)
    assert resumed.prompt == optimized(tmp_path, model="scripted", options=toy_options()).prompt
    assert resumed.steps == whole.steps == 4


def toy_options() -> dict[str, str]:
    return {"answer": "steepest.testing.toy:toy_answer"}


def test_a_run_without_limits_is_given_one(tmp_path: Path) -> None:
    result = optimized(tmp_path, steps=None)
    assert json.loads((result.folder / "run.json").read_text())["limits"]["steps"] == 30


def test_a_run_ends_once_every_dev_row_is_right(tmp_path: Path) -> None:
    result = optimized(tmp_path, steps=None)
    assert result.dev.best.mean == 1.0
    assert result.stopped == "reached 1 on dev"
    assert result.steps < 30


def test_methods_come_by_name_by_settings_or_as_they_are(tmp_path: Path) -> None:
    by_settings = optimized(tmp_path, method={"use": "testing_methods:Adder", "batch": 6})
    assert by_settings.test == optimized(tmp_path, method=Adder(batch=6)).test
    passed = json.loads((by_settings.folder / "run.json").read_text())["passed"]
    assert passed["set"] == ["batch=6"]
    assert optimized(tmp_path, method="testing_methods:Adder").test == optimized(tmp_path).test


def test_a_function_can_be_the_metric(tmp_path: Path) -> None:
    result = optimized(tmp_path, answer=close, steps=0)
    assert result.test.initial.mean == 0.5
    spec = json.loads((result.folder / "run.json").read_text())["task"]["metric"]
    assert spec == {"use": f"{Path(__file__).resolve()}:close"}


@pytest.mark.parametrize("method", ["protegi", "pe2", "gradsum"])
def test_what_a_metric_explains_is_shown_to_optimizers(tmp_path: Path, method: str) -> None:
    heard = list[str]()

    def optimizer(request: Request) -> str:
        heard.append(text_of(request.prompt))
        return "<reason>It is too short.</reason><feedback>Be longer.</feedback><prompt>Say it at length.</prompt>"

    def terse(example: Example, output: str) -> steepest.Judgement:
        return steepest.Judgement(0.0, output, f"A sum of {output} characters is terse.")

    optimized(tmp_path, method=method, answer=terse, optimizer=Scripted(optimizer, "writer"), steps=1)
    assert any("Explanation: A sum of" in text for text in heard)


def test_evaluate_measures_a_prompt() -> None:
    spec = steepest.TaskSpec(ROWS, input="question", target="answer", answer="exact_match")
    good = steepest.evaluate("carefully stepwise check units", data=spec, model=toy_model())
    assert (good.score.mean, good.split, good.answers.truncated) == (1.0, "test", 0)
    assert good.score.low < 1.0 == good.score.high
    with pytest.raises(SpecError, match="did you mean 'train'"):
        steepest.evaluate("Say it.", data=spec, model=toy_model(), split="trian")


def test_evaluate_takes_what_optimize_takes_of_rows() -> None:
    spec = steepest.TaskSpec(ROWS, input="question", target="answer", answer="exact_match")
    from_rows = steepest.evaluate("carefully", data=ROWS, model=toy_model(), **COLUMNS)
    assert from_rows.score == steepest.evaluate("carefully", data=spec, model=toy_model()).score

    judge = Scripted(lambda request: f"<rating>{int('Add.' in request.messages[-1]['content'])}</rating>", "judge")
    rated = steepest.evaluate(
        data=ROWS, input="question", criteria="It is right.", description="Add.", model=toy_model(), judge=judge
    )
    assert rated.score.mean == 1.0

    bad = [*ROWS, {"question": "", "answer": "x"}]
    with pytest.raises(TaskError, match="row 81, column 1: the column 'question' must not be empty"):
        steepest.evaluate(data=bad, model=toy_model(), **COLUMNS)
    assert "1 bad row skipped" in steepest.evaluate(data=bad, model=toy_model(), skip_bad_rows=True, **COLUMNS).notes[0]
    with pytest.raises(SpecError, match="target is for rows of your own"):
        steepest.evaluate(data="arithmetic", target="answer")


@pytest.mark.parametrize("function", [steepest.evaluate, steepest.diagnose])
def test_rows_are_described_alike_everywhere(function: Any) -> None:
    there, here = inspect.signature(steepest.optimize).parameters, inspect.signature(function).parameters
    about_rows = [*there][[*there].index("input") : [*there].index("seed")]
    assert {name: there[name] for name in about_rows} == {name: here[name] for name in about_rows if name in here}


def test_roles_have_models_of_their_own_or_the_task_model(tmp_path: Path) -> None:
    def recorded(**roles: Any) -> dict[str, dict[str, Any]]:
        result = optimized(tmp_path, method=Asker(), steps=1, **roles)
        found: dict[str, dict[str, Any]] = json.loads((result.folder / "run.json").read_text())["models"]
        return found

    assert recorded() == {
        role: {"name": "steepest.models.scripted:Scripted", "options": {}, "id": "toy"}
        for role in ("task", "optimizer")
    }
    own = recorded(optimizer="scripted", options={"optimizer.answer": "steepest.testing.toy:toy_answer"})
    assert own["optimizer"]["name"] == "scripted" and own["optimizer"]["options"] != {} == own["task"]["options"]


def test_equal_names_and_options_open_one_model() -> None:
    models = open_models({"task": "scripted", "optimizer": "scripted", "judge": None}, {})
    assert [*models] == ["task", "optimizer"] and models["task"].model is models["optimizer"].model
    options = {"optimizer.answer": "steepest.testing.toy:toy_answer"}
    models = open_models({"task": "scripted", "optimizer": "scripted"}, options)
    assert models["task"].model is not models["optimizer"].model
    assert written_options(models) == options


def test_further_keywords_are_settings_of_the_method(tmp_path: Path) -> None:
    by_keyword = optimized(tmp_path, method="testing_methods:Adder", batch=6)
    assert by_keyword.test == optimized(tmp_path, method=Adder(batch=6)).test
    passed = json.loads((by_keyword.folder / "run.json").read_text())["passed"]
    assert passed["set"] == ["batch=6"]


def test_a_task_may_be_described_in_words(tmp_path: Path) -> None:
    for words in ({"description": "Add."}, {"task_description": "Add."}):
        result = optimized(tmp_path, steps=0, language="zh", **words)
        task = json.loads((result.folder / "run.json").read_text())["task"]
        assert (task["description"], task["language"]) == ("Add.", "zh")
    named = task_source("arithmetic", {"description": "Add.", "language": "zh"}).task
    assert (named.description, named.language) == ("Add.", "zh")


def test_dollars_are_in_the_result_and_in_the_command_to_have_it_again(tmp_path: Path) -> None:
    result = optimized(tmp_path, method=Asker(), steps=None, dollars=1.0, price={"task": (1, 2), "optimizer": (3, 4)})
    assert 0 < result.usage.dollars <= 1.0
    passed = json.loads((result.folder / "run.json").read_text())["passed"]
    assert passed["price"] == ["task=1/2", "optimizer=3/4"] and passed["dollars"] == 1.0
    both = optimized(tmp_path, method=Asker(), price=(1, 2), steps=1)
    assert {*both.accounts} == {"task", "optimizer"} and all(used.dollars for used in both.accounts.values())


def test_a_judge_rates_by_criteria(tmp_path: Path) -> None:
    def rate(request: Request) -> str:
        return f"<rating>{int('carefully' in text_of(request.prompt))}</rating>"

    rows = [{"question": f"{e.input} Be quick."} for e in (*WORLD.task.train, *WORLD.task.dev, *WORLD.test)]
    words = Scripted(lambda request: "carefully" if "carefully" in text_of(request.prompt) else toy_answer(request))
    result = optimized(
        tmp_path, data=rows, input="question", target=None, answer=None, criteria="It is careful.",
        model=words, judge=Scripted(rate, "judge"), steps=8,
    )  # fmt: skip
    assert {*result.accounts} == {"task", "judge"} and {*result.models} == {"task", "judge"}
    assert result.test.best.mean == 1.0 > result.test.initial.mean == 0.0


def test_a_named_task_can_be_judged_too() -> None:
    task = task_source("arithmetic", {"criteria": "It is right.", "description": "Sums."}).task
    assert (task.metric, task.extractor, task.description) == (Judge("It is right."), "", "Sums.")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"data": ROWS[:1]}, TaskError, "got 1 in the rows"),
        ({"data": "arithmetik", **dict.fromkeys(COLUMNS)}, TaskError, "did you mean 'arithmetic'"),
        ({"data": "arithmetic"}, SpecError, "is for rows of your own"),
        ({"input": "qestion"}, TaskError, "did you mean 'question'"),
        ({"method": "greatr"}, SpecError, "did you mean 'greater'"),
        ({"model": "bundeld"}, ModelError, "did you mean 'bundled'"),
        ({"calls": 0}, SpecError, "must be above 0"),
        ({"optimizer": toy_model()}, SpecError, "got one as 'optimizer', which nobody asks here; leave it out"),
        ({"judge": toy_model()}, SpecError, "give criteria for it to judge by"),
        ({"method": "testing_methods:Adder", "bach": 3}, SpecError, "has 'bach'; did you mean 'batch'"),
        ({"method": "testing_methods:Adder", "optimiser": 3}, SpecError, "did you mean 'optimizer'"),
        ({"batch": 3}, SpecError, "settings are for a method given by name"),
        ({"options": {"optimizer.url": "x"}}, SpecError, "an option for a role needs that role's model"),
        ({"dollars": 2.0}, SpecError, "a limit on dollars needs a price for every role"),
        ({"price": {"optimizer": (1, 2)}}, SpecError, "a price is that of a role of this run"),
        ({"price": (1, -2)}, SpecError, "at least 0, got -2"),
        ({"fail_on": 2}, SpecError, "a share of requests from 0 to 1"),
        ({"language": "eng"}, SpecError, "did you mean 'en'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        optimized(tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_help_explains_every_argument() -> None:
    text = inspect.getdoc(steepest.optimize) or ""
    arguments = text.partition("Args:")[2].partition("Returns:")[0]
    for name in inspect.signature(steepest.optimize).parameters:
        assert f"    {name}: " in arguments


def test_a_method_is_written_as_in_compare(tmp_path: Path) -> None:
    result = optimized(tmp_path, method="testing_methods:Adder:wide,batch=6", steps=1, tags=["a", "b"])
    method = json.loads((result.folder / "run.json").read_text())["method"]
    assert (method["batch"], method["tags"]) == (6, ["a", "b"])


def test_settings_beside_a_spec_without_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="needs the key 'use'"):
        optimized(tmp_path, method={"batch": 2}, tags=["a"])


def test_a_result_is_told_in_three_lines(tmp_path: Path) -> None:
    result = optimized(tmp_path)
    assert str(result).splitlines() == [
        result.sentence,
        f"prompt: {result.prompt.best!r}",
        f"folder: {result.folder}",
    ]


class Notebook:
    """What IPython hands to a value that ends a cell."""

    def __init__(self, value: Any) -> None:
        self.shown = ""
        value._repr_pretty_(self, False)

    def text(self, text: str) -> None:
        self.shown += text


def test_a_cell_that_ends_in_a_result_shows_its_text(tmp_path: Path) -> None:
    result = optimized(tmp_path)
    assert Notebook(result).shown == str(result)


def test_a_measured_prompt_is_told_in_three_lines() -> None:
    measured = steepest.evaluate("Say it.\n\x1b[31m\u202e", data=ROWS, model=toy_model(), **COLUMNS)
    assert str(measured).splitlines() == [
        "0.0 % (0.0 to 6.9) on 52 test rows of rows",
        r"prompt: 'Say it.\n\x1b[31m\u202e'",
        "model: steepest.models.scripted:Scripted",
    ]
    assert Notebook(measured).shown == str(measured)


def test_a_result_is_read_again_from_its_folder(tmp_path: Path) -> None:
    result = optimized(tmp_path)
    for folder in (result.folder, str(result.folder)):
        again = steepest.load_result(folder)
        assert (again.to_json(), again.folder) == (result.to_json(), result.folder)


def test_what_has_no_result_is_told_so(tmp_path: Path) -> None:
    result = optimized(tmp_path)
    (result.folder / "result.json").unlink()
    with pytest.raises(StateError, match=r"has a result when it has ended, got .* without result\.json; resume it"):
        steepest.load_result(result.folder)
    with pytest.raises(StateError, match=r"a run folder holds run\.json, and .* does not"):
        steepest.load_result(tmp_path)


def test_rows_may_come_in_three_splits(tmp_path: Path) -> None:
    split = {"train": ROWS[:20], "dev": ROWS[20:40], "test": ROWS[40:]}
    result = optimized(tmp_path, data=split)
    assert (result.dev.best.n, result.test.best.n) == (20, 40)
    assert steepest.evaluate("Say it.", data=split, model=toy_model(), **COLUMNS).score == result.test.initial
    passed = json.loads((result.folder / "run.json").read_text())["passed"]
    assert passed["task"] == str(result.folder) and "data" not in passed
    assert steepest.load_result(result.folder).test == result.test


def test_rows_may_be_a_table(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    result = optimized(tmp_path, data=pandas.DataFrame(ROWS))
    assert result.test == optimized(tmp_path).test
