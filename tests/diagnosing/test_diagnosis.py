"""Whole diagnoses of scripted models: what is asked, what is kept, what is said."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import steepest
from steepest import TaskSpec
from steepest.diagnosing import diagnosis
from steepest.diagnosing.findings import Diagnosis, Fit
from steepest.diagnosing.prompts import VARIED, WRITTEN
from steepest.errors import ModelError, SpecError, TaskError
from steepest.models.scripted import Scripted, text_of
from steepest.testing.taps import Crash, Tap, TappedText
from steepest.types import Request, Response

METHODS = (Fit("greater", "no gradients"), Fit("opro:small", "", 100))
ROWS = [{"input": f"Is {n} odd?", "target": "yes" if n % 2 else "no"} for n in range(400)]
SMALL = 470


@pytest.fixture
def no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what methods would cost, which takes longer than all the rest."""
    monkeypatch.setattr(diagnosis, "fits", lambda *_: METHODS)


quick = pytest.mark.usefixtures("no_forecast")


class Model:
    """Answers yes or no, right as often as its skill under a prompt says; as optimizer it writes what it is told."""

    def __init__(self, skill: Callable[[str], float], writes: str = "I cannot do that.") -> None:
        self.asked: list[Request] = []
        self.model = Scripted(self._say, "odd")
        self._skill, self._writes = skill, writes

    def _say(self, request: Request) -> str:
        self.asked.append(request)
        said = text_of(request.prompt)
        row = re.search(r"Is (\d+) odd\?\n?(.*)", said, re.DOTALL)
        if row is None or "<prompt>" in said:
            return self._writes.replace("#", str(request.seed))
        luck = int(hashlib.sha256(f"{said}{request.seed}".encode()).hexdigest()[:8], 16) / 16**8
        is_right = luck < self._skill(row[2])
        return "yes" if (int(row[1]) % 2 == 1) == is_right else "no"


def diagnosed(model: Model, out: Path, rows: Any = ROWS, **given: Any) -> Diagnosis:
    spec = TaskSpec(rows, name="odd", answer="yes_no:yes,no", layout="{input}\n{prompt}")
    return steepest.diagnose("Answer yes or no.", data=spec, model=model.model, out=out, **{"calls": 1000, **given})


def stepwise(prompt: str) -> float:
    return 0.95 if "step" in prompt else 0.5


def test_prompts_that_matter_are_worth_a_search(tmp_path: Path) -> None:
    model = Model(stepwise, "<prompt>Go step by step, way #.</prompt>")
    found = diagnosed(model, tmp_path)
    assert found.verdict in ("yes", "more_rows") and found.spread.p_value < 0.001 and found.headroom.gain > 0.2
    names = [each.name for each in found.tried]
    assert names == ["initial", "none", *VARIED["en"], *(f"written {n + 1}" for n in range(WRITTEN))]
    better = {each.name for each in found.tried if each.adjusted < 0.05 and each.difference.mean > 0}
    assert better and all("step" in each.text for each in found.tried if each.name in better)
    assert any("Begin with it" in said for said in found.cautions)
    assert found.majority is not None and found.majority.kinds == 2
    assert [each.rows is None for each in found.needed] == [False] * 4
    runnable = {fit.method for fit in found.methods if not fit.refused}
    assert "opro:small" in runnable and "greater" not in runnable
    assert found.advice.method in runnable


@quick
def test_prompts_that_do_not_matter_are_not(tmp_path: Path) -> None:
    found = diagnosed(Model(lambda prompt: 0.5), tmp_path / "chance")
    assert found.verdict in ("no_difference", "unclear") and found.headroom.gain < 0.2
    assert len(found.tried) == 2 + len(VARIED["en"]), "replies without a prompt are no prompts"
    perfect = diagnosed(Model(lambda prompt: 1.0), tmp_path / "right")
    assert perfect.verdict == "solved" and perfect.headroom.gain == 0.0 and perfect.spread.p_value == 1.0
    assert all(each.rows is None for each in perfect.needed)


@quick
def test_rows_are_told_of_as_in_optimize(tmp_path: Path) -> None:
    model = Model(lambda prompt: 0.9)
    rows = [{"q": row["input"], "a": row["target"]} for row in ROWS]
    found = steepest.diagnose(
        "Answer yes or no.", data=rows, input="q", target="a", layout="{input}\n{prompt}", answer="yes_no:yes,no",
        model=model.model, out=tmp_path,
    )  # fmt: skip
    assert found.tried == diagnosed(model, tmp_path).tried


@quick
def test_the_same_again_is_free_and_says_the_same(tmp_path: Path) -> None:
    first, again = (Model(stepwise, "<prompt>Do it step by step #.</prompt>") for _ in range(2))
    found = diagnosed(first, tmp_path)
    assert found.asked == found.usage.calls == len(first.asked) > 0
    told = diagnosed(again, tmp_path)
    assert again.asked == [] and told.asked == 0 and told.usage.calls == found.usage.calls
    assert (told.tried, told.spread, told.sentence) == (found.tried, found.spread, found.sentence)
    more = Model(stepwise, "<prompt>Do it step by step #.</prompt>")
    larger = diagnosed(more, tmp_path, calls=1200)
    assert larger.initial.score.n > found.initial.score.n and len(more.asked) == larger.asked < larger.usage.calls


@quick
def test_nothing_paid_is_lost_in_a_crash(tmp_path: Path) -> None:
    whole = diagnosed(Model(stepwise), tmp_path / "whole")
    first, second = Model(stepwise), Model(stepwise)
    first.model = TappedText(first.model, Tap(fail_at=200))  # type: ignore[assignment]
    with pytest.raises(Crash):
        diagnosed(first, tmp_path / "crashed")
    found = diagnosed(second, tmp_path / "crashed")
    assert found.asked == whole.asked - 200 and found.tried == whole.tried


@pytest.mark.parametrize("calls", [SMALL, 700, 1000])
@quick
def test_the_budget_is_used_and_never_passed(tmp_path: Path, calls: int) -> None:
    model = Model(lambda prompt: 0.7, "<prompt>Try # now.</prompt>")
    found = diagnosed(model, tmp_path, calls=calls)
    assert calls - 400 < found.usage.calls == len(model.asked) <= calls
    assert found.initial.score.n >= 10


@quick
def test_repeats_are_sampled_with_seeds_of_their_own(tmp_path: Path) -> None:
    model = Model(lambda prompt: 0.6)
    found = diagnosed(model, tmp_path, repeats=4, temperature=1.2)
    sampled = [request for request in model.asked if request.temperature == 1.2]
    assert len({request.seed for request in sampled}) == len(sampled) == 4 * found.initial.score.n
    assert found.resampling is not None and found.resampling.repeats == 4
    assert found.resampling.mean == pytest.approx(0.6, abs=0.15) and 0 < found.resampling.observed < 0.2


@quick
def test_slots_of_the_prompt_are_in_every_prompt(tmp_path: Path) -> None:
    model = Model(lambda prompt: 0.5)
    rows = [{"number": str(n), "target": "yes" if n % 2 else "no"} for n in range(200)]
    spec = TaskSpec(rows, name="odd", answer="yes_no:yes,no", layout="{prompt}")
    found = steepest.diagnose("Is {number} odd?", data=spec, model=model.model, out=tmp_path)
    assert all("{number}" in each.text for each in found.tried)


@quick
def test_chinese_rows_get_chinese_prompts(tmp_path: Path) -> None:
    rows = [{"input": f"{n}是奇数吗？", "target": "是" if n % 2 else "否"} for n in range(200)]
    model = Scripted(lambda request: "是", "zh")
    found = steepest.diagnose("请回答是或否。", data=TaskSpec(rows, name="奇数"), model=model, out=tmp_path)
    assert {each.text for each in found.tried} >= set(VARIED["zh"].values())
    assert found.majority is not None and found.majority.answer in "是否"


def test_a_judge_rates_and_decides_the_method(tmp_path: Path) -> None:
    def say(request: Request) -> str:
        text = text_of(request.prompt)
        return "<explanation>So so.</explanation><rating>1</rating>" if "<rating>" in text else f"Hello, {len(text)}."

    rows = [{"input": f"Greet guest {n}."} for n in range(120)]
    spec = TaskSpec(rows, name="greetings", answer={"judge": {"criteria": "The greeting is polite."}})
    found = steepest.diagnose("Say hello.", data=spec, model=Scripted(say, "host"), out=tmp_path)
    assert found.verdict == "solved" and found.majority is None and found.advice.method == "gradsum:small"
    with pytest.raises(SpecError, match="a rule checks"):
        steepest.diagnose("Say hello.", data=spec, model=Scripted(say, "host"), out=tmp_path, repeats=2)


@quick
def test_answers_that_cannot_be_read_come_first(tmp_path: Path) -> None:
    found = steepest.diagnose(
        data=TaskSpec(ROWS, name="odd", answer="yes_no:yes,no"), model=Scripted(lambda r: "hm", "mute"), out=tmp_path
    )
    assert found.verdict == "fix_answers" and found.initial.answers.unextracted == found.initial.score.n


@quick
def test_a_model_that_does_not_answer_is_an_error_not_a_verdict(tmp_path: Path) -> None:
    silent = Scripted(lambda request: Response("", finish="failed", reason="down"), "silent")
    with pytest.raises(ModelError, match="unanswered"):
        steepest.diagnose(data=TaskSpec(ROWS, name="odd"), model=silent, out=tmp_path)


def test_prices_make_dollars(tmp_path: Path) -> None:
    found = diagnosed(Model(stepwise), tmp_path, price=(1.0, 2.0))
    assert found.usage.dollars > 0
    assert all(fit.dollars for fit in found.methods if not fit.refused and fit.tokens is not None)


@quick
def test_a_diagnosis_is_told_in_a_few_lines(tmp_path: Path) -> None:
    found = diagnosed(Model(lambda prompt: 0.5), tmp_path)
    method = "method: none; no method can run with these models on this task"
    assert str(found).splitlines() == [found.sentence, *found.cautions, method, f"folder: {tmp_path}"]


@quick
def test_the_folder_holds_the_same_as_json_and_as_a_page(tmp_path: Path) -> None:
    model = Model(lambda prompt: 0.5, "<prompt>Try <script>alert(1)</script> \x1b[31m\u202e #</prompt>")
    found = diagnosed(model, tmp_path)
    written = json.loads((tmp_path / "diagnosis.json").read_text())
    assert written["verdict"] == found.verdict and len(written["tried"]) == len(found.tried) == 7 + WRITTEN
    page = (tmp_path / "diagnosis.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and "\x1b" not in page and "\u202e" not in page
    assert found.sentence.split(":")[0] in page
    assert '<td class="text">(none)</td>' in page


@quick
def test_what_cannot_be_diagnosed_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    model = Model(stepwise)
    for given, message in (
        ({"calls": 50}, r"may take \d+ calls, got a limit of 50"),
        ({"repeats": 1}, "at least 2 repeats"),
        ({"repeats": 2, "temperature": 0.0}, "temperature above 0"),
    ):
        with pytest.raises(SpecError, match=message):
            diagnosed(model, tmp_path, **given)
    with pytest.raises(TaskError, match="at least 10 dev rows"):
        diagnosed(model, tmp_path, ROWS[:30])
    assert model.asked == []
