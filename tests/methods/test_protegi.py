from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from goldens import check_golden

from scripted_optimizer import Asked, asking
from steepest.context import Context
from steepest.costs import per_row
from steepest.errors import SpecError
from steepest.methods.protegi import ProTeGi
from steepest.models.scripted import Scripted, text_of
from steepest.parts.bandits import UCB
from steepest.parts.selection import Full, Uniform
from steepest.parts.text import ATTEMPTS
from steepest.spec import build
from steepest.tasks.task import Language, Task, Template
from steepest.testing.contract import MethodCase, MethodContract
from steepest.testing.toy import HELPFUL, IDLE, toy_answer, toy_model, toy_world
from steepest.types import Candidate, Example, Request, Response, Scored

WORDS = (*HELPFUL, *IDLE)
PERFECT = " ".join(HELPFUL)


def kind(request: Request) -> str:
    asked = text_of(request.prompt)
    if "<reason>" in asked:
        return "gradient"
    if "<prompt>" not in asked:
        return "task"
    return "edit" if "What is wrong with the prompt: " in asked else "paraphrase"


def optimizer_answer(request: Request) -> str:
    """Reasons name words; edits put the named word in; paraphrases put any word in; all by the seed."""
    asked, seed = text_of(request.prompt), request.seed or 0
    if kind(request) == "gradient":
        count = int(re.search(r"give: (\d+)", asked)[1])
        return " ".join(f"<reason>It lacks {WORDS[(seed + i) % len(WORDS)]}.</reason>" for i in range(count + 1))
    prompt = re.search(r"^Prompt: (.*)$", asked, re.MULTILINE)[1]
    lacks = re.search(r"It lacks (\w+)\.", asked)
    word = lacks[1] if lacks else WORDS[seed % len(WORDS)]
    number = f" v{seed % 97}" if kind(request) == "paraphrase" else ""
    return f"Here it is: <prompt>{prompt} {word}{number}</prompt>"


def both(request: Request) -> str:
    return toy_answer(request) if kind(request) == "task" else optimizer_answer(request)


def toy_task(**fields: Any) -> Task:
    return replace(toy_world(train=8, dev=8).task, **fields)


@dataclass(frozen=True)
class Everyone:
    """A selection that drops nobody."""

    def __call__(
        self, candidates: Sequence[Candidate], examples: Sequence[Example], keep: int, ctx: Context
    ) -> list[Scored]:
        return ctx.score(candidates, examples)

    def evaluations(self, candidates: int, examples: int, keep: int) -> int:
        return candidates * examples


class Stepped:
    """One step of a method on the toy task, with everything that was asked."""

    def __init__(
        self,
        method: ProTeGi,
        *beam: str,
        task: Task | None = None,
        answer: Callable[[Request], str | Response] = both,
    ) -> None:
        self.model = Asked(answer)
        with asking(self.model, task or toy_task()) as ctx:
            prompts = beam or ("Answer the question.",)
            state = method.State(tuple(Scored(Candidate(text), {"toy-0": 0.5}) for text in prompts))
            self.state = method.step(state, ctx)
            self.counts = ctx.counts

    def of(self, what: str) -> list[str]:
        return [text_of(request.prompt) for request in self.model.requests if kind(request) == what]


class TestProTeGi(MethodContract):
    @pytest.fixture
    def case(self) -> MethodCase:
        world = toy_world(train=6, dev=6, test=8)
        method = ProTeGi(
            gradients_per_group=2, paraphrases=1, beam=2, max_successors=2, select=UCB(budget=40, samples=3, c=2.0)
        )
        models = {"task": toy_model(), "optimizer": Scripted(optimizer_answer, "toy-optimizer")}
        return MethodCase(method, world.task, world.test, lambda: models, steps=2, gain=0.1, every=50)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_messages_to_the_letter(language: Language) -> None:
    def answer(request: Request) -> str:
        asked = text_of(request.prompt)
        if "<reason>" in asked:
            return "<reason>It does not say how to add.</reason>"
        return "<prompt>Add with care.</prompt>" if "<prompt>" in asked else "3 and 4 are 8."

    task = toy_task(language=language)
    run = Stepped(ProTeGi(errors_per_group=2, select=Full()), "Add the numbers.", task=task, answer=answer)
    edits = [text for text in run.model.texts if "<prompt>" in text and "It does not say how to add." in text]
    check_golden(f"protegi-gradient.{language}", next(text for text in run.model.texts if "<reason>" in text))
    check_golden(f"protegi-edit.{language}", edits[0])


def test_the_papers_numbers() -> None:
    run = Stepped(ProTeGi())
    assert len(run.of("gradient")) == 1
    assert len(set(run.of("edit"))) == 4, "four reasons from one group, though the optimizer gave five"
    assert len(run.of("paraphrase")) >= 2 * (1 + 4), "two of every edit and of the parent"
    assert {request.temperature for request in run.model.requests} == {0.0, 1.0}
    assert run.of("gradient")[0].count("Expected answer: ") == 4


def test_the_codes_numbers() -> None:
    method = build({"use": "protegi", "preset": "code"})
    assert (method.error_groups, method.gradients_per_group, method.temperature) == (4, 1, 0.7)
    assert isinstance(method.select, Uniform)
    run = Stepped(method)
    assert len(run.of("gradient")) == 4
    assert len(set(run.of("edit"))) <= 4


def test_reasons_meet_the_errors_they_were_given_for() -> None:
    run = Stepped(ProTeGi(error_groups=3, errors_per_group=1, gradients_per_group=1), "Answer.", "Reply.")
    reasons_for = {re.search(r"Prompt: .*\n\n(Input: .*\n.*\n.*)", text)[1] for text in run.of("gradient")}
    assert len(reasons_for) > 1
    for text in run.of("edit"):
        assert re.search(r"Prompt: .*\n\n(Input: .*\n.*\n.*)", text)[1] in reasons_for
        assert re.search(r"It lacks \w+\.", text)


def test_a_prompt_without_errors_is_only_paraphrased() -> None:
    run = Stepped(ProTeGi(), PERFECT)
    assert run.of("gradient") == run.of("edit") == []
    assert len(run.of("paraphrase")) == 2
    assert run.counts["prompts without errors"] == 1
    assert len(run.state.beam) == 3


def test_unanswered_rows_are_no_errors() -> None:
    def failing(request: Request) -> str | Response:
        is_first_row = "Level 1: what is 3 + 2?" in text_of(request.prompt)
        return Response("", finish="failed") if is_first_row and kind(request) == "task" else both(request)

    run = Stepped(ProTeGi(paraphrases=1), PERFECT, answer=failing)
    assert run.of("gradient") == []
    assert run.counts["prompts without errors"] == 1


def test_an_unclosed_tag_gives_no_reason_and_is_counted() -> None:
    def unclosed(request: Request) -> str:
        return "<reason>It lacks check." if kind(request) == "gradient" else both(request)

    run = Stepped(ProTeGi(), answer=unclosed)
    assert len(run.of("gradient")) == ATTEMPTS
    assert run.of("edit") == []
    assert run.counts["unusable: no tags"] == ATTEMPTS
    assert run.counts["dropped"] == 1
    assert run.of("paraphrase"), "the step goes on with paraphrases"


def test_the_beam_shares_a_minibatch() -> None:
    run = Stepped(ProTeGi(minibatch=3, paraphrases=0, select=Full()), "Answer.", "Reply.")
    minibatch = run.model.batches[0]
    assert len(minibatch) == 6
    asked = [text_of(request.prompt).partition("\n") for request in minibatch]
    rows = {prompt: [row for row, _, p in asked if p == prompt] for _, _, prompt in asked}
    assert set(rows) == {"Answer.", "Reply."}
    assert rows["Answer."] == rows["Reply."]


def test_successors_are_limited_per_parent() -> None:
    method = ProTeGi(max_successors=3, select=Everyone())
    run = Stepped(method, "Answer.", "Reply.")
    assert len(run.state.beam) == 2 + 2 * 3
    for parent in ("Answer.", "Reply."):
        assert sum(scored.candidate.text.startswith(parent) for scored in run.state.beam) == 1 + 3


def test_successors_may_be_rejected_on_the_errors_of_their_parent() -> None:
    numbers = {"gradients_per_group": 8, "paraphrases": 1, "max_successors": 2, "select": Everyone()}
    by_chance, by_errors = (Stepped(ProTeGi(reject_on_errors=way, **numbers), "Say carefully") for way in (False, True))

    def helped(run: Stepped) -> int:
        return sum(len(set(scored.candidate.text.split()) & set(HELPFUL)) > 1 for scored in run.state.beam)

    assert helped(by_errors) == 2 > helped(by_chance)


def test_children_name_their_parents() -> None:
    run = Stepped(ProTeGi(max_successors=99, select=Everyone()))
    by_id = {scored.candidate.id: scored.candidate for scored in run.state.beam}
    assert {candidate.origin for candidate in by_id.values()} == {"seed", "edit", "paraphrase"}
    for candidate in by_id.values():
        assert set(candidate.parents) <= set(by_id)
        assert all(candidate.text.startswith(by_id[parent].text) for parent in candidate.parents)


def test_selection_is_on_training_rows_unless_dev_is_asked_for() -> None:
    task = toy_task()
    rows = {"train": {row.id for row in task.train}, "dev": {row.id for row in task.dev}}
    for where in ("train", "dev"):
        run = Stepped(ProTeGi(select=Full(), select_on=where))
        assert all(set(scored.scores) == rows[where] for scored in run.state.beam)


def test_parents_compete_with_their_children() -> None:
    run = Stepped(ProTeGi(beam=2, select=Full()), PERFECT, "Answer.")
    assert run.state.beam[0].candidate.text == PERFECT
    assert run.state.beam[0].mean == 1.0


def test_prompts_keep_the_columns_they_must_hold() -> None:
    task = toy_task(template=Template("{prompt}"), seeds=("Work out {input}",))

    def careless(request: Request) -> str:
        if kind(request) == "edit" and (request.seed or 0) % 2:
            return "<prompt>Work it out carefully.</prompt>"
        return both(request)

    run = Stepped(ProTeGi(gradients_per_group=6, select=Everyone()), "Work out {input}", task=task, answer=careless)
    assert "It must hold, braces included: {input}." in run.of("edit")[0]
    assert run.counts["unusable: slots lost"] > 0
    assert all("{input}" in scored.candidate.text for scored in run.state.beam)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"error_groups": 4, "gradients_per_group": 1, "edits_per_gradient": 2},
        {"paraphrases": 0, "reject_on_errors": True, "max_successors": 1, "gradients_per_group": 3},
        {"error_groups": 0, "select_on": "dev", "select": Full()},
        {"temperature": 0.0},
        {"select": Uniform(budget=24), "paraphrases": 0, "gradients_per_group": 1},
    ],
)
def test_a_step_never_costs_more_than_it_says(fields: dict[str, Any]) -> None:
    method, task = ProTeGi(beam=2, **fields), toy_task()
    costs = method.costs(task)

    def tagless(request: Request) -> str:
        return toy_answer(request) if kind(request) == "task" else "No."

    for answer in (both, tagless):
        run = Stepped(method, "Answer.", "Reply.", answer=answer)
        asked = [kind(request) == "task" for request in run.model.requests]
        assert sum(asked) <= costs.step["task"]
        assert len(asked) - sum(asked) <= costs.step["optimizer"]
    if not fields:
        assert costs.step["optimizer"] == ATTEMPTS * 2 * (1 + 4 + 2 * (4 + 1))
        assert costs.step["task"] == per_row(task) * (2 * 8 + method.select.evaluations(18, 8, 2)) == 2 * 8 + 18 * 8
        assert costs.init == {"task": 8}


@pytest.mark.parametrize("field", ["minibatch", "errors_per_group", "max_successors", "beam"])
def test_impossible_numbers_are_refused(field: str) -> None:
    with pytest.raises(SpecError, match=f"{field} must be at least 1, got 0"):
        build({"use": "protegi", field: 0})


def test_a_step_must_make_something() -> None:
    with pytest.raises(ValueError, match="not be negative or both 0, got 0 and 0"):
        ProTeGi(error_groups=0, paraphrases=0)


def test_a_budget_that_a_later_step_would_exceed_is_known_from_the_costs() -> None:
    # 1 prompt and its 8 successors can share 30 evaluations; a beam of 4 with theirs cannot.
    with pytest.raises(SpecError, match="at least one evaluation per candidate, got 30 for 36"):
        ProTeGi(select=UCB(budget=30)).costs(toy_task())
    few = ProTeGi(select=UCB(budget=30), gradients_per_group=1, paraphrases=0)
    assert few.costs(toy_task()).step["task"] == 4 * 8 + 30


def test_replies_have_a_limit_of_their_own() -> None:
    run = Stepped(ProTeGi(max_tokens=77), "Answer.")
    asked = [request for request in run.model.requests if kind(request) != "task"]
    assert {kind(request) for request in asked} == {"gradient", "edit", "paraphrase"}
    assert {request.max_tokens for request in asked} == {77}
