from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripted_optimizer import Asked, asking
from steepest import codec
from steepest.engine import Run
from steepest.errors import BudgetSpent, ModelError, TaskError
from steepest.ledger import Limits
from steepest.methods.greater import Greater
from steepest.models.opening import Opened
from steepest.models.scripted import Scripted, text_of
from steepest.plan import Plan, check
from steepest.tasks import TaskSpec, describe_metric, load_task, open_metric
from steepest.tasks.judge import Judge
from steepest.tasks.metaprompt import MetaPrompt, Unusable
from steepest.tasks.source import restore_task
from steepest.tasks.task import Task
from steepest.testing.toy import toy_model, toy_world
from steepest.types import Candidate, Example, Request, Response
from testing_methods import Adder
from toy_whitebox import ToyWhiteBox, toy_task

RATES = "<explanation>Fine.</explanation><rating>{}</rating>"
CRITERIA = "The answer is polite."
ROWS = [{"input": f"Say hello to guest {n}."} for n in range(40)]


def judged_task(**fields: Any) -> Task:
    return replace(toy_world().task, metric=Judge(CRITERIA), **fields)


def is_verdict(request: Request) -> bool:
    return "<rating>" in text_of(request.prompt)


def verdicts(*replies: str | Response) -> Asked:
    """Answers rows with 7, and questions for a verdict with these, one after the other."""
    waiting = iter(replies)
    return Asked(lambda request: next(waiting) if is_verdict(request) else "7")


def rated(model: Asked, rows: int = 1, **fields: Any) -> tuple[list[float | None], dict[str, int]]:
    task = judged_task(**fields)
    with asking(model, task) as ctx:
        evaluation = ctx.evaluate([Candidate("Add.")], task.train[:rows])[0]
        return [outcome.score for outcome in evaluation.outcomes], ctx.counts


class TestReading:
    @pytest.mark.parametrize(
        ("scale", "rating", "score"),
        [
            (1, "1", 1.0),
            (1, " 0 ", 0.0),
            (1, "1.0", 1.0),
            (1, "1/1", 1.0),
            (4, "3", 0.75),
            (4, "3 out of 4", 0.75),
            (10, "10.", 1.0),
        ],
    )
    def test_ratings_become_scores(self, scale: int, rating: str, score: float) -> None:
        verdict = Judge(CRITERIA, scale).read(Response(RATES.format(rating)))
        assert verdict.score == score and verdict.explanation == "Fine."

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Response(RATES.format("2")), "off the scale"),
            (Response(RATES.format("0.5")), "off the scale"),
            (Response(RATES.format("-1")), "off the scale"),
            (Response(RATES.format("1/5")), "off the scale"),
            (Response(RATES.format("good")), "off the scale"),
            (Response("It deserves a 1."), "no tags"),
            (Response("<explanation>So", finish="length"), "cut off"),
            (Response(RATES.format("1"), finish="failed"), "no reply"),
        ],
    )
    def test_what_is_no_rating_is_refused(self, reply: Response, reason: str) -> None:
        with pytest.raises(Unusable, match=reason):
            Judge(CRITERIA).read(reply)

    def test_an_explanation_may_lack(self) -> None:
        assert Judge(CRITERIA).read(Response("<rating>1</rating>")).explanation == ""

    def test_the_last_rating_counts(self) -> None:
        assert Judge(CRITERIA).read(Response("<rating>0</rating> no: <rating>1</rating>")).score == 1.0


class TestEvaluating:
    def test_verdicts_are_scores_with_their_explanations(self) -> None:
        model = verdicts(RATES.format(1), RATES.format(0))
        task = judged_task()
        with asking(model, task) as ctx:
            right, wrong = ctx.evaluate([Candidate("Add.")], task.train[:2])[0].outcomes
        assert (right.score, wrong.score) == (1.0, 0.0)
        assert (right.output, right.answer, right.explanation) == ("7", "7", "Fine.")

    def test_answers_are_asked_in_one_batch_and_verdicts_in_another(self) -> None:
        model, task = Asked(lambda request: RATES.format(1) if is_verdict(request) else "7"), judged_task()
        with asking(model, task) as ctx:
            ctx.evaluate([Candidate("Add."), Candidate("Sum.")], task.train[:3])
            assert ctx.usage.calls == 6 + 3, "the same answer to the same row is judged once"
        assert [{is_verdict(request) for request in batch} for batch in model.batches] == [{False}, {True}]

    def test_the_second_attempt_is_sampled(self) -> None:
        model = verdicts("I would say it is fine.", RATES.format(1))
        assert rated(model) == ([1.0], {"no verdict: no tags": 1})
        first, second = [request for request in model.requests if is_verdict(request)]
        assert first.prompt == second.prompt
        assert (first.temperature, first.seed) == (0.0, None)
        assert second.temperature > 0 and second.seed is not None

    def test_an_answer_without_a_verdict_is_left_out_never_wrong(self) -> None:
        model = verdicts("?", RATES.format(1), "?")
        scores, counts = rated(model, rows=2)
        assert scores == [None, 1.0]
        assert counts == {"no verdict: no tags": 2, "unjudged": 1}

    def test_an_unanswered_row_is_not_judged(self) -> None:
        model = Asked(lambda request: Response("", finish="failed"))
        scores, counts = rated(model)
        assert scores == [None] and "unjudged" not in counts
        assert not any(is_verdict(request) for request in model.requests)

    def test_a_verdict_is_the_same_at_every_step(self) -> None:
        seeds = []
        for step in (1, 2):
            model, task = verdicts("?", "?"), judged_task()
            with asking(model, task, step) as ctx:
                ctx.evaluate([Candidate("Add.")], task.train[:1])
            seeds.append([request.seed for request in model.requests])
        assert seeds[0] == seeds[1]

    def test_verdicts_count_against_the_budget(self) -> None:
        model, task = verdicts(RATES.format(1)), judged_task()
        with asking(model, task, limits=Limits(calls=1)) as ctx, pytest.raises(BudgetSpent, match="limit of 1 calls"):
            ctx.evaluate([Candidate("Add.")], task.train[:1])
        assert not any(is_verdict(request) for request in model.requests)

    def test_a_rule_cannot_be_had_of_a_judge(self) -> None:
        with pytest.raises(TaskError, match="a rule can check, got a judge"):
            judged_task().rule(toy_world().task.train[0], "7")


class TestMessage:
    def asked(self, judge: Judge, **fields: Any) -> str:
        model = verdicts(RATES.format(1))
        task = replace(judged_task(), metric=judge, **fields)
        with asking(model, task) as ctx:
            ctx.evaluate([Candidate("Add.")], task.train[:1])
        return model.texts[-1]

    def test_the_explanation_comes_before_the_rating(self) -> None:
        text = self.asked(Judge(CRITERIA))
        assert text.index("<explanation>") < text.index("<rating>")

    def test_a_row_without_an_answer_shows_none(self) -> None:
        row = Example("a", "Say hello.", "")
        assert "Expected answer" not in self.asked(Judge(CRITERIA), train=(row,))
        assert "Expected answer: hello" in self.asked(Judge(CRITERIA), train=(replace(row, target="hello"),))

    def test_without_a_description_nothing_is_said_of_the_task(self) -> None:
        assert not self.asked(Judge(CRITERIA)).startswith("Task:")

    def test_braces_in_an_answer_are_text(self) -> None:
        assert "Model answer: {x} {criteria}\n" in Judge(CRITERIA).ask("en", "", "q", "", "{x} {criteria}")

    def test_boilerplate_is_short_enough_for_a_small_model(self) -> None:
        assert len(Judge("c").ask("en", "d", "i", "t", "a").split()) < 70


class TestSpec:
    def test_it_can_be_written_down_and_opened_again(self) -> None:
        judge = Judge(
            CRITERIA,
            5,
            message=MetaPrompt(
                en="{task}{input}{expected}{answer}{criteria}{scale}",
                zh="{task}{input}{expected}{answer}{criteria}{scale}",
            ),
        )
        assert open_metric(json.loads(codec.dumps(describe_metric(judge)))) == judge

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ({"judge": {}}, "'criteria' is missing"),
            ({"judge": {"criteria": " "}}, "needs criteria"),
            ({"judge": {"criteria": "c", "scale": 0}}, "at least 1, got 0"),
            ({"judge": {"criteria": "c", "temperature": 0}}, "second attempt is sampled, got temperature 0"),
            ({"judge": {"criteria": "c", "scal": 2}}, "no field 'scal'"),
            ({"use": "judge", "criteria": "c", "scale": "many"}, "scale"),
        ],
    )
    def test_what_is_no_judge_is_refused(self, answer: dict[str, Any], message: str) -> None:
        with pytest.raises(TaskError, match=message) as refused:
            open_metric(answer)
        assert "\n" not in str(refused.value)

    def test_criteria_make_the_judge_and_rows_need_no_target(self) -> None:
        source = load_task(TaskSpec(ROWS, criteria=CRITERIA, description="Greet."))
        assert source.task.metric == Judge(CRITERIA) and source.task.description == "Greet."
        assert {row.target for row in source.task.train} == {""}

    def test_targets_that_are_there_are_kept(self) -> None:
        rows = [{**row, "reply": "Hello!" if n % 2 else ""} for n, row in enumerate(ROWS)]
        source = load_task(TaskSpec(rows, target="reply", criteria=CRITERIA))
        assert {row.target for row in (*source.task.train, *source.task.dev)} == {"Hello!", ""}

    def test_a_target_column_that_was_named_must_be_there(self) -> None:
        with pytest.raises(TaskError, match="there is no column 'repl'"):
            load_task(TaskSpec(ROWS, target="repl", criteria=CRITERIA))

    def test_without_a_judge_targets_are_needed(self) -> None:
        with pytest.raises(TaskError, match="there is no column 'target'"):
            load_task(TaskSpec(ROWS))

    def test_criteria_and_a_rule_are_one_too_many(self) -> None:
        with pytest.raises(TaskError, match="criteria make a judge the metric, got answer 'text' beside them"):
            TaskSpec(ROWS, criteria=CRITERIA, answer="text")

    def test_a_task_file_can_say_it(self, tmp_path: Path) -> None:
        (tmp_path / "rows.json").write_text(json.dumps(ROWS))
        file = tmp_path / "greet.yaml"
        file.write_text("data: rows.json\ndescription: Greet.\nanswer: {judge: {criteria: Polite?, scale: 3}}\n")
        task = load_task(file).task
        assert (task.metric, task.description) == (Judge("Polite?", 3), "Greet.")
        file.write_text("data: rows.json\ncriteria: Polite?\nlanguage: zh\n")
        task = load_task(file).task
        assert (task.metric, task.language) == (Judge("Polite?"), "zh")


class TestRun:
    def plan(self, roles: tuple[str, ...] = ("task", "judge"), **fields: Any) -> Plan:
        judge = Scripted(lambda request: RATES.format(int("stepwise" in text_of(request.prompt))), "judge")
        models = {"task": Opened("", toy_model()), "judge": Opened("", judge)}
        world = toy_world()
        task = replace(judged_task(), description="Add.", language="zh", **fields)
        chosen = {role: models[role] for role in roles}
        return Plan(Adder(), task, world.test, chosen, limits=Limits(steps=2))

    def test_a_judge_needs_a_model(self) -> None:
        with pytest.raises(ModelError, match="the role 'judge' needs a model"):
            check(self.plan(("task",)))

    def test_a_run_without_targets_ends_in_a_verdict_and_its_folder_gives_the_task_again(self, tmp_path: Path) -> None:
        train, dev = ([replace(row, target="") for row in rows] for rows in (judged_task().train, judged_task().dev))
        plan = self.plan(train=tuple(train), dev=tuple(dev))
        with Run.create(tmp_path / "run", plan) as run:
            assert len(list(run.until())) == 3
            assert run.finish().verdict in ("better", "no_difference", "worse")
        assert restore_task(tmp_path / "run").task == plan.task
        calls = [json.loads(line) for line in (tmp_path / "run" / "calls.jsonl").read_text().splitlines()]
        assert {call["role"] for call in calls} == {"task", "judge"}

    def test_gradients_of_answers_need_answers(self) -> None:
        task = toy_task(train=4, dev=4)
        model = {"task": Opened("", ToyWhiteBox()), "judge": Opened("", toy_model())}
        plan = Plan(Greater(), replace(task, metric=Judge(CRITERIA)), toy_world().test, model)
        with pytest.raises(TaskError, match="greater follows the gradient of right answers, got a judge"):
            check(plan)


def test_a_rating_without_end_is_off_the_scale() -> None:
    with pytest.raises(Unusable, match="off the scale"):
        Judge(CRITERIA).read(Response(f"<rating>{'1' * 5000}</rating>"))
