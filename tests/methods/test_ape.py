from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import check_golden

from scripted_optimizer import Asked, asking, text_task
from steepest import spec
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.costs import per_row
from steepest.engine import Run
from steepest.errors import BudgetSpent, ModelError, SpecError, TaskError
from steepest.ledger import UNLIMITED, Ledger, Limits
from steepest.methods.ape import APE, expected, likelihoods
from steepest.models import Likelihood
from steepest.models.scripted import Scripted, text_of
from steepest.parts.bandits import UCB
from steepest.parts.selection import Filter, Full, Select
from steepest.parts.updates import Induce, Paraphrase
from steepest.tasks.task import Task
from steepest.testing.contract import MethodCase, MethodContract
from steepest.testing.taps import Tap
from steepest.testing.toy import HELPFUL, IDLE, toy_answer, toy_model, toy_world
from steepest.types import Candidate, Example, Message, Prompt, Request, Response, Scored, Usage

WORDS = HELPFUL + IDLE


def writer(request: Request) -> str:
    """Writes prompts of a few words, or adds one to the prompt it was shown, by the seed; sometimes without tags."""
    seed, asked = request.seed or 0, text_of(request.prompt)
    if seed % 7 == 0:
        return "I cannot say."
    if asked.startswith("Prompt: "):
        parent = asked.partition("\n")[0].removeprefix("Prompt: ")
        return f"<prompt>{parent} {WORDS[seed % len(WORDS)]}</prompt>"
    return f"<prompt>Answer {WORDS[seed % len(WORDS)]} {WORDS[seed // 16 % len(WORDS)]}</prompt>"


def either(request: Request) -> str:
    """Answers rows as the toy model does, and writes prompts."""
    return toy_answer(request) if text_of(request.prompt).startswith("Level") else writer(request)


def small(**changes: Any) -> APE:
    """An APE that fits the toy world."""
    induce = Induce(sets=2, demos=2, n=3)
    return APE(**{"induce": induce, "select": Filter(subset=2, final=2), "least": 2, **changes})


class TestAPE(MethodContract):
    @pytest.fixture
    def case(self) -> MethodCase:
        world = toy_world(train=12, dev=8, test=4)
        models = {"task": toy_model(), "optimizer": Scripted(writer, "writer")}
        return MethodCase(small(), world.task, world.test, lambda: models, steps=2, gain=0.2, every=17)


class TestReverseBandit(MethodContract):
    @pytest.fixture
    def case(self) -> MethodCase:
        world = toy_world(train=12, dev=8, test=4)
        models = {"task": toy_model(), "optimizer": Scripted(writer, "writer")}
        method = small(induce=Induce("reverse", sets=2, demos=2, n=2), select=UCB(20, 2, 2), score_on="dev")
        return MethodCase(method, world.task, world.test, lambda: models, steps=2, every=17)


def asked_rows(model: Asked, task: Task) -> dict[str, set[str]]:
    """Prompt -> ids of the rows it was asked."""
    ids = {row.input: row.id for row in (*task.train, *task.dev)}
    found: dict[str, set[str]] = {}
    for text in model.texts:
        if text.startswith("Level"):
            row, _, prompt = text.partition("\n")
            found.setdefault(prompt, set()).add(ids[row])
    return found


class TestSteps:
    def test_demonstrations_and_scoring_share_no_row_in_any_step(self) -> None:
        task, model, method = toy_world(train=12).task, Asked(either), small(select=Full())
        with asking(model, task, step=0) as ctx:
            state = method.init(ctx)
        shown = set(state.demonstrations)
        assert len(shown) == 6
        rest = {row.id for row in task.train} - shown
        assert {frozenset(rows) for rows in asked_rows(model, task).values()} == {frozenset(rest)}
        inputs = {row.id: row.input for row in task.train}
        proposals = [text for text in model.texts if text.startswith("Somebody")]
        assert proposals and not any(inputs[row] in text for row in rest for text in proposals)
        again = Asked(either)
        with asking(again, task, step=1) as ctx:
            assert method.step(state, ctx).demonstrations == state.demonstrations
        assert {frozenset(rows) for rows in asked_rows(again, task).values()} == {frozenset(rest)}

    def test_scoring_on_dev_leaves_all_of_train_to_demonstrations(self) -> None:
        task, model = toy_world(train=12).task, Asked(either)
        with asking(model, task, step=0) as ctx:
            state = small(score_on="dev", select=Full(), demo_rows=10).init(ctx)
        assert len(state.demonstrations) == 10
        assert set().union(*asked_rows(model, task).values()) == {row.id for row in task.dev}

    def test_the_initial_prompts_compete(self) -> None:
        task, model = replace(toy_world().task, seeds=(" ".join(HELPFUL), "Seed.", "Seed.")), Asked(either)
        with asking(model, task, step=0) as ctx:
            state = small().init(ctx)
        assert state.pool[0].candidate == Candidate(" ".join(HELPFUL)) and state.pool[0].mean == 1.0
        assert state.tried[:2] == (" ".join(HELPFUL), "Seed.") and state.tried.count("Seed.") == 1

    def test_without_a_usable_proposal_the_initial_prompt_is_the_best(self) -> None:
        model = Asked(lambda request: toy_answer(request) if "Level" in text_of(request.prompt)[:5] else "no tags")
        with asking(model, toy_world().task, step=0) as ctx:
            method = small()
            state = method.init(ctx)
            assert method.best(state).candidate.text == "Answer the question."
            assert len(state.pool) == 1 and ctx.counts["dropped"] == 6

    def test_a_round_keeps_the_parents_and_restores_the_pool(self) -> None:
        task, model, method = toy_world(train=12).task, Asked(either), small()
        pool = tuple(Scored(Candidate(text), {"x": 1.0}) for text in ("Answer soon", "Answer check"))
        state = method.State(pool, ("Answer soon", "Answer check"), ())
        with asking(model, task) as ctx:
            after = method.step(state, ctx)
        asked = [text for text in model.texts if text.startswith("Prompt: ")]
        first = asked[: method.size - 2]
        assert ["soon" in text for text in first] == [True, False, True, False]
        scored = asked_rows(model, task)
        assert {"Answer soon", "Answer check"} < set(scored) and len(scored) <= method.size
        assert set(after.tried) == set(scored) and len(after.pool) == method.survivors
        children = [each.candidate for each in after.pool if each.candidate.origin == "paraphrase"]
        assert all(child.parents[0] in {each.candidate.id for each in pool} for child in children)

    def test_what_was_tried_is_not_tried_again(self) -> None:
        def repeat(request: Request) -> str:
            return toy_answer(request) if text_of(request.prompt).startswith("Level") else "<prompt>Old one</prompt>"

        task, method = toy_world().task, small()
        state = method.State((Scored(Candidate("New one"), {"x": 1.0}),), ("New one", "Old one"), ())
        with asking(Asked(repeat), task) as ctx:
            after = method.step(state, ctx)
        assert [each.candidate.text for each in after.pool] == ["New one"]

    @pytest.mark.parametrize("n", [1, 2, 4])
    def test_paraphrases_are_no_more_than_are_missing(self, n: int) -> None:
        task, model, method = toy_world(train=12).task, Asked(either), small(paraphrase=Paraphrase(n=n), select=Full())
        state = method.State((Scored(Candidate("Answer soon"), {}),), ("Answer soon",), ())
        with asking(model, task) as ctx:
            method.step(state, ctx)
        assert len(asked_rows(model, task)) <= method.size

    @pytest.mark.parametrize(
        ("sets", "n", "keep", "least", "survivors"),
        [(5, 10, 0.2, 5, 10), (5, 50, 0.2, 5, 50), (2, 5, 0.2, 5, 5), (2, 2, 0.2, 5, 2), (1, 1, 0.2, 5, 1)],
    )
    def test_a_fifth_survives_at_least_five_at_most_half(
        self, sets: int, n: int, keep: float, least: int, survivors: int
    ) -> None:
        assert APE(induce=Induce(sets=sets, n=n), keep=keep, least=least).survivors == survivors

    def test_prompts_are_limited_in_length(self) -> None:
        model = Asked(lambda request: toy_answer(request) if "Level" in text_of(request.prompt)[:5] else LONG)
        with asking(model, toy_world().task, step=0) as ctx:
            assert len(small(max_words=5).init(ctx).pool) == 1
            assert ctx.counts["unusable: too long"] == 18


LONG = "<prompt>one two three four five six</prompt>"


def conversations(model: Asked) -> list[str]:
    """What was asked, all turns together."""
    prompts = [request.prompt for request in model.requests]
    return [each if isinstance(each, str) else "".join(turn.content for turn in each) for each in prompts]


class TestCosts:
    @pytest.mark.parametrize("select", [Full(), Filter(subset=2, final=3), UCB(budget=16, samples=2, arms=2)])
    @pytest.mark.parametrize("train", [2, 8, 13])
    @pytest.mark.parametrize("extractor", ["", "So the answer is"])
    def test_no_step_costs_more_than_it_says(self, select: Select, train: int, extractor: str) -> None:
        task = replace(toy_world(train=train).task, extractor=extractor, metric=silent if extractor else exact)
        method = small(select=select, induce=Induce(sets=2, demos=2, n=3))
        costs = method.costs(task)
        state = None
        for step in range(3):
            model = Asked(either)
            with asking(model, task, step=step) as ctx:
                state = method.init(ctx) if state is None else method.step(state, ctx)
            rows = sum("Level" in text and not text.startswith("Somebody") for text in conversations(model))
            limits = costs.step if step else costs.init
            assert rows <= limits["task"]
            assert len(model.requests) - rows <= limits["optimizer"]

    def test_the_papers_formula(self) -> None:
        task = toy_world(train=120).task
        flat = APE(select=Full())
        assert flat.costs(task).init == {"optimizer": 50 * 3, "task": 51 * 60 * per_row(task)}
        assert flat.costs(task).step == {"optimizer": 49 * 3, "task": 50 * 60}
        assert APE().costs(task).init["task"] < 51 * 60 / 2


def exact(example: Example, output: str) -> Any:
    from steepest.tasks.metrics import ExactMatch

    return ExactMatch()(example, output)


def silent(example: Example, output: str) -> Any:
    """Finds no answer at first, so that it is asked for after the extractor."""
    found = exact(example, output)
    return found if "So the answer is" in output else replace(found, answer=None)


@dataclass
class Likely:
    """A model whose tokens of the answer are as probable as `p` says of the prompt's text and the row."""

    p: Mapping[str, Sequence[float]]
    id: str = "likely"
    asked: list[tuple[Prompt, str]] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        yield from Asked(either).generate(requests)

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        self.asked += pairs
        with np.errstate(divide="ignore"):
            return [Likelihood(np.log(np.float32(self._of(prompt))), 10) for prompt, _ in pairs]

    def _of(self, prompt: Prompt) -> Sequence[float]:
        text = text_of(prompt)
        return next((values for word, values in self.p.items() if word in text), (0.1,))


class TestLogprob:
    def test_a_score_is_the_geometric_mean_of_the_answers_tokens(self) -> None:
        model = Likely({"good": (0.9, 0.4), "never": (0.5, 0.0)})
        task = text_task(rows=2)
        with asking(model, task) as ctx:
            found = likelihoods(ctx, [Candidate("good"), Candidate("bad"), Candidate("never")], task.train)
        assert found[0].scores == pytest.approx({"row0": 0.6, "row1": 0.6})
        assert [scored.mean for scored in found[1:]] == pytest.approx([0.1, 0.0])

    @pytest.mark.parametrize("extractor", ["", "So the answer is"])
    def test_the_answer_is_what_is_scored_and_it_is_the_assistants(self, extractor: str) -> None:
        task = replace(text_task(), extractor=extractor)
        prompt, continuation = expected(task, "Say it.", task.train[0])
        user = Message("user", "hot\nSay it.")
        if extractor:
            assert (prompt, continuation) == ((user, Message("assistant", extractor)), " cold")
        else:
            assert (prompt, continuation) == ((user,), "cold")

    def test_it_chooses_by_probability_and_calls_are_journaled_and_paid(self, tmp_path: Path) -> None:
        model, task = Likely({"check": (0.9,), "units": (0.8,)}), toy_world(train=12).task
        method = small(score="logprob", select=Full())
        world = World(task, {"task": model, "optimizer": model}, CallLog(tmp_path / "calls.jsonl"), 0, lambda e: None)
        with world.log as log:
            ctx = Context(world, Ledger(log, 0, UNLIMITED, Usage()))
            state = method.init(ctx)
            best = method.best(state)
            assert "check" in best.candidate.text and best.mean == pytest.approx(0.9)
            lines = [json.loads(line) for line in log.path.read_text().splitlines()]
            kinds = [line["kind"] for line in lines]
            assert kinds.count("logprobs") == len(model.asked) == 6 * len(state.tried)
            assert ctx.usage.calls == len(lines) <= sum(method.costs(task).init.values())
            again = Context(world, Ledger(log, 0, UNLIMITED, Usage()))
            assert method.init(again) == state and again.usage == ctx.usage
            assert kinds.count("logprobs") == len(model.asked)

    def test_a_pair_asked_twice_is_paid_once_and_limits_hold_before_anything_is_asked(self, tmp_path: Path) -> None:
        model = Likely({})
        pairs: list[tuple[Prompt, str]] = [("a", "x"), ("b", "x"), ("a", "x")]
        with CallLog(tmp_path / "calls.jsonl") as log:
            world = World(text_task(), {"task": model}, log, 0, lambda event: None)
            tight = Context(world, Ledger(log, 1, Limits(calls=1), Usage()))
            with pytest.raises(BudgetSpent):
                tight.logprobs("task", pairs)
            assert model.asked == [] and tight.usage.calls == 0
            ctx = Context(world, Ledger(log, 1, UNLIMITED, Usage()))
            found = ctx.logprobs("task", pairs)
            assert [array.tolist() for array in found] == [[pytest.approx(math.log(0.1))]] * 3
            assert ctx.usage == Usage(2, 20, 0, 0) and model.asked == pairs[:2]
            assert ctx.logprobs("task", []) == []

    def test_a_model_that_scores_no_text_is_refused_before_anything_is_paid(self) -> None:
        model = Asked(either)
        with asking(model, toy_world().task, step=0) as ctx, pytest.raises(ModelError, match="ScoresText"):
            small(score="logprob").init(ctx)
        assert model.batches == []


class TestPitfalls:
    def test_no_prompt_that_was_never_asked_is_ranked_by_the_bandit(self) -> None:
        """60 arms, few pulls, scores far below 0 in the logarithm: unseen ones must not come first."""
        arms = [Candidate(f"arm {i}") for i in range(60)]
        task, model = text_task(rows=6), Likely({"arm 7": (0.2,)})
        with asking(model, task) as ctx:
            judge = ctx.scored_by(lambda candidates, rows: likelihoods(ctx, candidates, rows))
            best = UCB(budget=100, samples=1, arms=8)(arms, task.train, 5, judge)
        assert best[0].candidate.text == "arm 7" and all(scored.n for scored in best)

    @pytest.mark.parametrize("preset", ["code", "simple"])
    def test_two_unique_prompts_are_both_evaluated(self, preset: str) -> None:
        def same(request: Request) -> str:
            return toy_answer(request) if text_of(request.prompt).startswith("Level") else "<prompt>check</prompt>"

        method, model, task = spec.build({"use": "ape", "preset": preset}), Asked(same), toy_world(train=12).task
        with asking(model, task, step=0) as ctx:
            state = method.init(ctx)
        assert set(asked_rows(model, task)) == {"check", "Answer the question."}
        assert [each.candidate.text for each in state.pool] == ["check", "Answer the question."]

    def test_all_prompts_of_a_stage_are_asked_the_same_rows(self) -> None:
        model, task = Asked(either), toy_world(train=40).task
        with asking(model, task, step=0) as ctx:
            small(select=Filter(subset=4, final=2)).init(ctx)
        rows = sorted(asked_rows(model, task).values(), key=len)
        assert all(fewer <= more for fewer, more in zip(rows, rows[1:], strict=False))
        assert len(rows[0]) == 4 and len(rows[-1]) == 20

    def test_duplicates_are_dropped_in_the_order_they_came(self) -> None:
        replies = iter(["b", "a", "B", "c", "a"] + list("defghij"))

        def repeating(request: Request) -> str:
            return "x" if text_of(request.prompt).startswith("Level") else f"<prompt>prompt {next(replies)}</prompt>"

        with asking(Asked(repeating), toy_world().task, step=0) as ctx:
            state = small(induce=Induce(sets=1, n=5)).init(ctx)
        assert list(state.tried) == ["Answer the question.", *(f"prompt {letter}" for letter in "badce")]

    def test_too_few_rows_to_keep_apart_are_refused(self) -> None:
        model = Asked(either)
        with asking(model, toy_world(train=1).task, step=0) as ctx:
            with pytest.raises(TaskError, match="score_on=dev"):
                small().init(ctx)
            assert model.batches == []
            assert small(score_on="dev").init(ctx).pool

    def test_rows_without_answers_are_refused(self) -> None:
        task, model = toy_world().task, Asked(either)
        task = replace(task, train=(*task.train[:-1], replace(task.train[-1], target="")))
        with asking(model, task, step=0) as ctx, pytest.raises(TaskError, match="toy-7"):
            small().init(ctx)
        assert model.batches == []


class TestSettings:
    @pytest.mark.parametrize(
        "wrong",
        [{"keep": 0.0}, {"keep": 1.5}, {"demo_share": 0.0}, {"demo_share": 1.0}, {"least": 0}, {"max_words": 0}],
    )
    def test_values_that_no_run_could_use_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(SpecError, match=next(iter(wrong))):
            spec.build({"use": "ape", **wrong})

    def test_nested_settings_are_reached_by_name(self) -> None:
        given = ["induce.mode=reverse", "induce.n=4", "select=ucb", "select.budget=300", "paraphrase.temperature=0.5"]
        method = spec.build(spec.with_settings("ape", given))
        expected = APE(induce=Induce("reverse", n=4), select=UCB(300), paraphrase=Paraphrase(temperature=0.5))
        assert method == expected

    def test_presets_are_the_codes(self) -> None:
        code, simple = (spec.build({"use": "ape", "preset": name}) for name in ("code", "simple"))
        assert code.size == 90 and simple.size == 50
        assert code.select.evaluations(91, 20, 18) == 91 * 20
        assert simple.select.evaluations(51, 1000, 10) == 20 * 16 * 5


class TestRun:
    def test_no_rounds_is_plain_ape(self, tmp_path: Path) -> None:
        world = toy_world(train=12, dev=8, test=4)
        models = {"task": toy_model(), "optimizer": Scripted(writer, "writer")}
        plan = MethodCase(small(), world.task, world.test, lambda: models, steps=0).plan(Tap())
        with Run.create(tmp_path / "run", plan) as run:
            assert [record.step for record in run.until()] == [0]
            assert run.finish().prompt


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("what", ["forward", "reverse", "paraphrase"])
def test_messages_are_the_golden_ones(language: Any, what: Any) -> None:
    task = text_task(rows=4, language=language)
    if language == "zh":
        pairs = [("热", "冷"), ("高", "低"), ("快", "慢"), ("大", "小")]
        task = replace(task, train=[Example(f"row{i}", *pair) for i, pair in enumerate(pairs)], seeds=("请说反义词。",))
    model = Asked(lambda request: "")
    with asking(model, task, step=0) as ctx:
        if what == "paraphrase":
            method = APE()
            method.step(method.State((Scored(Candidate(task.seeds[0]), {}),), task.seeds, ()), ctx)
        else:
            APE(induce=Induce(what, sets=1, demos=3, n=1), score_on="dev").init(ctx)
    check_golden(f"ape-{what}.{language}", model.requests[0].prompt)
