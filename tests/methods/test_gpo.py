from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, get_args

import pytest
from goldens import check_golden
from text_runs import follow, models

from steepest import spec
from steepest.costs import Costs
from steepest.methods.gpo import GPO, Direction
from steepest.models.scripted import Scripted, text_of
from steepest.parts.memory import Important, Recent
from steepest.parts.schedules import Constant, Cosine, Linear
from steepest.tasks.task import Language, Template
from steepest.testing.contract import MethodCase, MethodContract
from steepest.testing.toy import toy_world
from steepest.types import Request

TASK = toy_world(train=4, dev=4).task

# GPO's released scheduler for 50 to 10 words in 18 steps, run with the settings of the authors' script.
COSINE_18 = [49, 48, 47, 45, 42, 40, 36, 33, 30, 26, 23, 20, 17, 14, 12, 11, 10, 10]
COSINE_9 = [48, 45, 40, 33, 26, 20, 14, 11, 10]
COSINE_18_WARM = [25, 50, 49, 48, 46, 44, 41, 37, 33, 30, 26, 22, 18, 15, 13, 11, 10, 10]
LINEAR_18 = [47, 45, 43, 41, 38, 36, 34, 32, 30, 27, 25, 23, 21, 18, 16, 14, 12, 10]


class TestGPO(MethodContract):
    @pytest.fixture(params=["paper", "all on"])
    def case(self, request: pytest.FixtureRequest) -> MethodCase:
        world = toy_world(train=4, dev=4, test=8)
        method = GPO(candidates=4, batch=2, steps_planned=3)
        if request.param == "all on":
            method = replace(method, direction="prompt+performance+reflection", memory=None, summarize=True)
        return MethodCase(method, world.task, world.test, models, steps=3, gain=0.25, every=11)


def reply(text: str) -> str:
    return f"<prompt>{text}</prompt>"


def shown(message: str, label: str) -> list[str]:
    """What stands behind a label at the beginning of a line."""
    return [line.removeprefix(label) for line in message.splitlines() if line.startswith(label)]


def writing(*texts: str) -> Any:
    """An optimizer that writes these prompts, one after another, and remarks on nothing."""
    left = list(texts)
    return lambda request: reply(left.pop(0)) if left else "nothing more"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("step2", GPO(candidates=3)),
        ("reflection", GPO(candidates=3, batch=2, direction="prompt+performance+reflection", control=None)),
        ("summary", GPO(candidates=3, memory=None, summarize=True, update="edit")),
    ],
)
def test_the_meta_prompts(name: str, method: GPO, language: Language) -> None:
    messages = follow(method, 2, replace(TASK, language=language)).messages(2)
    assert len(messages) == (1 if name == "step2" else 2)
    check_golden(f"gpo-{name}.{language}", messages[-1])
    if len(messages) == 2:
        check_golden(f"gpo-{name}-before.{language}", messages[0])


@pytest.mark.parametrize(
    ("control", "steps", "budgets"),
    [
        (Cosine(), 18, COSINE_18),
        (Cosine(), 9, COSINE_9),
        (Cosine(warmup=2), 18, COSINE_18_WARM),
        (Linear(), 18, LINEAR_18),
        (Constant(50), 18, [50] * 18),
    ],
)
def test_the_word_budget_that_is_asked_for(control: Any, steps: int, budgets: list[int]) -> None:
    run = follow(GPO(control=control, steps_planned=steps, candidates=1), steps, TASK)
    asked = [re.findall(r"at most (\d+) words", "\n".join(run.messages(step))) for step in range(1, steps + 1)]
    assert asked == [[str(budget)] for budget in budgets]


def test_a_longer_run_stays_at_the_end_of_the_budget() -> None:
    run = follow(GPO(control=Cosine(9, 3), steps_planned=2, candidates=1), 4, TASK)
    assert ["at most 3 words" in run.messages(step)[0] for step in (1, 2, 3, 4)] == [False, True, True, True]


def test_candidates_come_from_one_meta_prompt_at_temperature_one() -> None:
    requests = follow(GPO(), 1, TASK).asked[1]
    assert len(requests) >= 8 and len({text_of(r.prompt) for r in requests}) == 1
    assert {r.temperature for r in requests} == {1.0} and len({r.seed for r in requests}) == len(requests)


def test_three_prompts_are_recalled_the_current_one_among_them_and_last() -> None:
    run = follow(GPO(), 5, TASK)
    message, current = run.messages(5)[0], run.states[4].current.scored
    recalled, past = shown(message, "Prompt: "), [each.scored.candidate.text for each in run.states[4].history]
    assert len(past) == 5 and len(recalled) == 3 and set(recalled) < set(past)
    assert recalled[-1] == current.candidate.text == shown(message, "Current prompt: ")[0]
    assert len(shown(message, "Score: ")) == 3, "the current prompt has its score in the list"


def test_the_history_holds_one_prompt_per_step() -> None:
    run = follow(GPO(), 3, TASK)
    assert [len(state.history) for state in run.states] == [1, 2, 3, 4]
    for before, after in zip(run.states, run.states[1:], strict=False):
        assert after.history[:-1] == before.history
        assert after.current.scored.candidate.parents == (before.current.scored.candidate.id,)


def test_a_worse_prompt_is_accepted_and_a_better_one_returned() -> None:
    run = follow(GPO(candidates=1), 3, TASK, writing("Try units", "Try check and units", "Try soon"))
    means = [attempt.scored.mean for attempt in run.states[3].history]
    assert means == [0.0, 0.25, 0.5, 0.0], "the last step made it worse, and it is the current one"
    assert GPO().best(run.states[3]).candidate.text == "Try check and units"


def test_the_initial_prompt_is_returned_where_nothing_beats_it() -> None:
    task = replace(TASK, seeds=("Try units",))
    run = follow(GPO(candidates=1), 2, task, writing("Try soon", "Try check"))
    assert run.states[2].current.scored.candidate.text == "Try check"
    assert GPO().best(run.states[2]).candidate.text == "Try units", "of equal ones the earliest"


def test_chosen_prompts_are_not_chosen_again_and_others_may_come_back() -> None:
    said = ["Try units", "Try soon", "Answer the question.", "Try units", "Try soon", "Try soon", "Try units"]
    run = follow(GPO(candidates=2), 2, TASK, writing(*said))
    texts = [attempt.scored.candidate.text for attempt in run.states[2].history]
    assert texts == ["Answer the question.", "Try units", "Try soon"]
    assert run.contexts[2].counts["unusable: duplicate"] == 4
    assert run.contexts[2].usage.calls == len(run.asked[2]), "what was scored before is not asked again"


def test_without_a_usable_reply_the_current_prompt_stays() -> None:
    run = follow(GPO(candidates=2), 1, TASK, lambda request: "no tags")
    assert run.states[1] == run.states[0]
    assert (run.contexts[1].counts["unusable: no tags"], run.contexts[1].counts["dropped"]) == (6, 2)


def test_changes_are_measured_and_excess_is_counted() -> None:
    written = writing("Answer the first question.", "Try units now")
    run = follow(GPO(candidates=2, control=Constant(2)), 1, TASK, written)
    assert run.states[1].current.scored.candidate.text == "Try units now"
    assert run.contexts[1].counts["words changed by the accepted prompt"] == 3
    assert run.contexts[1].counts["over the word budget"] == 1


def test_the_budget_can_be_enforced() -> None:
    far, near = "Try units and then check all of it", "Answer the question carefully"
    free = follow(GPO(candidates=2, control=Constant(2)), 1, TASK, writing(far, near))
    assert free.contexts[1].counts["over the word budget"] == 1
    assert {trial.new for trial in free.contexts[1].trials} == {far, near}
    strict = follow(GPO(candidates=2, control=Constant(2), enforce_budget=True), 1, TASK, writing(far, near))
    assert {trial.new for trial in strict.contexts[1].trials} == {near}
    assert strict.contexts[1].counts["unusable: over the word budget"] == 1


def test_no_budget_no_sentence() -> None:
    assert "at most" not in follow(GPO(control=None), 1, TASK).messages(1)[0]


@pytest.mark.parametrize("direction", get_args(Direction))
@pytest.mark.parametrize("momentum", ["none", "recent", "summary"])
def test_every_direction_with_every_momentum(direction: Direction, momentum: str) -> None:
    method = GPO(direction, Recent() if momentum == "recent" else None, momentum == "summary", candidates=2, batch=4)
    message = follow(method, 2, TASK).messages(2)[-1]
    assert len(shown(message, "Current prompt: ")) == 1
    assert len(shown(message, "Prompt: ")) == (2 if momentum == "recent" else 0)
    assert ("Summary of earlier prompts: Short prompts help." in message) == (momentum == "summary")
    scores = 2 if momentum == "recent" else 1
    assert len(shown(message, "Score: ")) == (scores if "performance" in direction else 0)
    assert ("Problems: It says nothing of the units." in message) == ("reflection" in direction)


def test_recency_and_importance_recall_others() -> None:
    said = ["Try units check", "Try units", "Try soon", "Try often", "Try maybe"]
    recent, important = (
        follow(GPO(memory=memory, candidates=1, k=2), 5, TASK, writing(*said)).messages(5)[0]
        for memory in (Recent(), Important())
    )
    assert shown(recent, "Prompt: ") == ["Try soon", "Try often"]
    assert shown(important, "Prompt: ") == ["Try units", "Try units check"]


def test_editing_and_generation_ask_for_different_things() -> None:
    anew, edited = (
        follow(spec.build({"use": "gpo", "update": u}), 1, TASK).messages(1)[0] for u in ("generate", "edit")
    )
    assert "write a new, better prompt" in anew and "edit the current prompt" in edited
    assert anew.splitlines()[:-3] == edited.splitlines()[:-3], "nothing else differs"


def test_without_reflection_no_train_batch_is_run() -> None:
    dev = {row.input for row in TASK.dev}
    seen: set[str] = set()

    def spy(request: Request) -> str:
        seen.add(text_of(request.prompt).splitlines()[0])
        return "1"

    follow(GPO(candidates=2), 3, TASK, task_model=Scripted(spy))
    assert seen == dev


def test_reflection_sees_the_errors_of_the_next_train_batch_greedily() -> None:
    run = follow(GPO("prompt+performance+reflection", batch=3, candidates=1), 2, TASK, writing("Try soon", "Try often"))
    inputs = [row.input for row in TASK.train]
    first, second = (shown(run.messages(step)[0], "Input: ") for step in (1, 2))
    assert first == inputs[:3] and second == [inputs[3], *inputs[:2]], "it goes on from the beginning"
    assert run.asked[1][0].temperature == 0.0


def test_without_errors_there_is_nothing_to_reflect_on() -> None:
    task = replace(TASK, seeds=("carefully stepwise check units",))
    run = follow(GPO("prompt+reflection"), 1, task)
    assert len(run.messages(1)) == 1 and "Problems" not in run.messages(1)[0]


def test_problems_are_kept_with_the_prompts_of_the_past() -> None:
    run = follow(GPO("prompt+performance+reflection", memory=Recent(), candidates=2), 3, TASK)
    message = run.messages(3)[-1]
    assert message.count("Problems: It says nothing of the units.") == 4, "three recalled, and the current one"


def test_the_summary_goes_on_from_the_last_one() -> None:
    run = follow(GPO(memory=None, summarize=True, candidates=1), 2, TASK)
    assert "Summary of earlier prompts: none yet" in run.messages(1)[0]
    assert "Summary of earlier prompts: Short prompts help." in run.messages(2)[0]
    assert shown(run.messages(2)[0], "Prompt: ") == [run.states[1].current.scored.candidate.text]
    assert run.asked[1][0].temperature == 0.0


def test_an_unusable_summary_leaves_the_last_one() -> None:
    method = GPO(memory=None, summarize=True, candidates=1)
    run = follow(method, 1, TASK, writing("Not a summary", "Try units"))
    assert run.states[1].summary == "" and "Summary" not in run.messages(1)[1]
    assert run.states[1].current.scored.candidate.text == "Try units"


def test_exemplars_are_train_rows_the_same_in_every_step() -> None:
    task = toy_world(train=8).task
    run = follow(GPO(), 3, task)
    rows = [shown(run.messages(step)[0], "Input: ") for step in (1, 2, 3)]
    assert len(set(rows[0])) == 3 and rows[0] == rows[1] == rows[2]
    assert set(rows[0]) <= {row.input for row in task.train}
    assert shown(follow(GPO(exemplars=0), 1, task).messages(1)[0], "Input: ") == []


def test_the_position_is_the_templates() -> None:
    before = follow(GPO(), 1, replace(TASK, template=Template("{prompt}\n{input}"))).messages(1)[0]
    assert "before the input" in before and "Input: <slot>\nLevel" in before


def test_columns_in_the_prompt_are_asked_for() -> None:
    inside = replace(TASK, template=Template("{prompt}"), seeds=("Please answer: {input}",))
    run = follow(GPO(candidates=1), 1, inside, writing("Answer it", "Carefully: {input}"))
    assert "braces included: {input}" in run.messages(1)[0]
    assert run.states[1].current.scored.candidate.text == "Carefully: {input}"


def test_the_best_initial_prompt_is_the_first_current_one() -> None:
    run = follow(GPO(), 0, replace(TASK, seeds=("Try soon", "Try check", "Try units")))
    assert [attempt.scored.candidate.text for attempt in run.states[0].history] == ["Try check"]


def test_what_it_costs() -> None:
    task = toy_world(train=8, dev=12).task
    assert GPO().costs(task) == Costs({"task": 12}, {"optimizer": 24, "task": 96})
    full = GPO("prompt+reflection", None, summarize=True, batch=5)
    assert full.costs(task) == Costs({"task": 12}, {"optimizer": 26, "task": 101})
    assert GPO(temperature=0).costs(replace(task, extractor="So:")) == Costs(
        {"task": 24}, {"optimizer": 8, "task": 192}
    )


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (["k=0"], "at least 1"),
        (["exemplars=-1"], "at least 0"),
        (["summarize=true"], "set memory=none"),
        (["control=none", "enforce_budget=true"], "set control"),
    ],
)
def test_values_without_meaning_are_refused(wrong: list[str], rule: str) -> None:
    with pytest.raises(spec.SpecError, match=rule):
        spec.build(spec.with_settings("gpo", wrong))


def test_cells_of_the_papers_grid_on_the_command_line() -> None:
    cells = {
        ("control=none", "memory=none", "update=edit"): GPO(control=None, memory=None, update="edit"),
        ("control=linear", "control.warmup=1"): GPO(control=Linear(warmup=1)),
        ("control=constant", "memory=important"): GPO(control=Constant(), memory=Important()),
        ("memory=none", "summarize=true"): GPO(memory=None, summarize=True),
        ("direction=prompt+performance+reflection",): GPO("prompt+performance+reflection"),
    }
    for settings, method in cells.items():
        built = spec.build(spec.with_settings("gpo", list(settings)))
        assert built == method
        assert spec.build(json.loads(json.dumps(spec.describe(built)))) == built


def test_the_current_prompt_has_its_score_even_where_memory_leaves_it_out() -> None:
    said = ["Try units check", "Try units", "Try soon"]
    run = follow(GPO(memory=Important(), candidates=1, k=2), 3, TASK, writing(*said))
    assert "Current prompt: Try units\n\n" in run.messages(3)[0], "in the list before it, with its score"
    run = follow(GPO(memory=Important(), candidates=1, k=1), 3, TASK, writing(*said))
    assert shown(run.messages(3)[0], "Prompt: ") == ["Try units check"]
    assert "Current prompt: Try units\nScore: 25\n\n" in run.messages(3)[0]
