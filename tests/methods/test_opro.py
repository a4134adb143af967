from __future__ import annotations

import json
from dataclasses import replace

import pytest
from goldens import check_golden
from text_runs import Followed, follow, models

from steepest import codec, spec
from steepest.costs import Costs
from steepest.methods.opro import OPRO
from steepest.models.scripted import Scripted, text_of
from steepest.parts.schedules import Linear
from steepest.tasks.task import Language, Task, Template
from steepest.testing.contract import MethodCase, MethodContract
from steepest.testing.toy import toy_world
from steepest.types import Candidate, Scored


class TestOPRO(MethodContract):
    @pytest.fixture
    def case(self) -> MethodCase:
        world = toy_world(train=4, dev=4, test=8)
        return MethodCase(OPRO(samples=4), world.task, world.test, models, steps=3, gain=0.25, every=11)


def saying(*texts: str) -> Scripted:
    """An optimizer that says these, one after another."""
    left = list(texts)
    return Scripted(lambda request: left.pop(0) if left else "nothing more")


def reply(text: str) -> str:
    return f"<prompt>{text}</prompt>"


def first_reply(method: OPRO, *texts: str, task: Task | None = None) -> Followed:
    """One step in which the optimizer says these, one after another."""
    return follow(method, 1, task, saying(*texts).answer)


def past_of(run: Followed) -> list[str]:
    return [scored.candidate.text for scored in run.states[-1].past]


def scores_in(message: str) -> list[str]:
    return [line.removeprefix("Score: ") for line in message.splitlines() if line.startswith("Score: ")]


def inputs_in(message: str) -> list[str]:
    return [line.removeprefix("Input: ") for line in message.splitlines() if line.startswith("Input: ")]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_meta_prompt(language: Language) -> None:
    task = replace(toy_world(train=4, dev=4).task, language=language)
    run = follow(OPRO(samples=3), 2, task)
    assert len(run.messages(2)) == 1, "one meta-prompt a step"
    check_golden(f"opro-step2.{language}", run.messages(2)[0])


def test_all_samples_come_from_one_meta_prompt_at_temperature_one() -> None:
    requests = follow(OPRO(), 1).asked[1]
    assert len(requests) >= 8 and len({text_of(r.prompt) for r in requests}) == 1
    assert {r.temperature for r in requests} == {1.0} and {r.max_tokens for r in requests} == {512}
    assert len({r.seed for r in requests}) == len(requests)


def test_the_trajectory_is_the_best_twenty_ascending() -> None:
    run = follow(OPRO(), 4)
    shown = [int(score) for score in scores_in(run.messages(4)[0])]
    state = run.states[3]
    assert len(state.known) > 20 and len(shown) == 20
    assert shown == sorted(shown) and shown[-1] == round(100 * state.best.mean)


def test_other_orders() -> None:
    falling, mixed = follow(OPRO(order="descending"), 3), follow(OPRO(order="random"), 3)
    shown = [int(score) for score in scores_in(falling.messages(3)[0])]
    assert "the best first" in falling.messages(3)[0] and shown == sorted(shown, reverse=True) and len(set(shown)) > 1
    shown = [int(score) for score in scores_in(mixed.messages(3)[0])]
    assert "in no order" in mixed.messages(3)[0]
    assert sorted(shown) == [round(100 * scored.mean) for scored in mixed.states[2].past] != shown


def test_scores_are_shown_in_buckets() -> None:
    task = toy_world(train=8).task
    shown = {n: follow(OPRO(buckets=n), 2, task).messages(2)[0] for n in (100, 20, None)}
    assert "from 0 to 100 " in shown[100] and "25" in scores_in(shown[100])
    assert "from 0 to 20 " in shown[20] and "5" in scores_in(shown[20])
    assert "from 0 to 1 " in shown[None] and "0.250" in scores_in(shown[None])


def test_the_threshold_hides_weak_prompts_and_may_hide_all() -> None:
    run = follow(OPRO(threshold=0.3), 3)
    assert scores_in(run.messages(1)[0]) == [] and "Earlier prompts" not in run.messages(1)[0]
    assert all(int(score) >= 30 for score in scores_in(run.messages(3)[0]))


def test_no_trajectory_and_no_exemplars() -> None:
    blind = follow(OPRO(trajectory=0), 2).messages(2)[0]
    assert "Earlier prompts" not in blind and "Examples" in blind
    bare = follow(OPRO(exemplars=0), 2).messages(2)[0]
    assert "Earlier prompts" in bare and inputs_in(bare) == []


def test_exemplars_are_drawn_anew_and_constant_ones_are_not() -> None:
    fresh, same = follow(OPRO(), 4), follow(OPRO(exemplars_by="constant"), 4)
    assert len({tuple(inputs_in(fresh.messages(step)[0])) for step in (1, 2, 3, 4)}) > 1
    assert len({tuple(inputs_in(same.messages(step)[0])) for step in (1, 2, 3, 4)}) == 1
    assert all(len(set(inputs_in(fresh.messages(step)[0]))) == 3 for step in (1, 2, 3, 4))


def test_exemplars_are_paired_with_their_own_answers() -> None:
    targets = {row.input: row.target for row in toy_world().task.train}
    run = follow(OPRO(), 3)
    for step in (1, 2, 3):
        lines = run.messages(step)[0].splitlines()
        for at, line in enumerate(lines):
            if line.startswith("Input: "):
                assert lines[at + 2] == f"Answer: {targets[line.removeprefix('Input: ')]}"


def test_the_rows_missed_most_often_come_first() -> None:
    run = follow(OPRO(exemplars_by="current_most_frequent", exemplars=4), 3)
    message = run.messages(3)[0]
    assert "got these wrong" in message
    misses = {row.input: sum(s.scores[row.id] < 1 for s in run.states[2].past) for row in toy_world().task.train}
    shown = [misses[text] for text in inputs_in(message)]
    assert shown == sorted(misses.values(), reverse=True)[:4]


def test_rows_ever_missed_stay_missed() -> None:
    run = follow(OPRO(exemplars_by="accumulative_most_frequent"), 3)
    assert "got these wrong" in run.messages(3)[0]
    assert set(run.states[3].missed) == {row.id for row in toy_world().task.train}, "the initial prompt missed all"


def test_without_errors_the_exemplars_are_random_and_not_called_wrong() -> None:
    task = replace(toy_world(train=4).task, seeds=("carefully stepwise check units",))
    message = follow(OPRO(exemplars_by="current_most_frequent"), 1, task).messages(1)[0]
    assert "wrong" not in message and len(inputs_in(message)) == 3


def test_prompts_are_scored_on_the_same_train_rows_in_every_step() -> None:
    world = toy_world(train=8)
    run = follow(OPRO(rows=5), 3, world.task)
    ids = set(run.states[0].rows)
    assert len(ids) == 5 and ids <= {row.id for row in world.task.train}
    assert all(set(scored.scores) == ids for state in run.states for scored in (*state.past, state.best))
    assert {inputs for step in (1, 2, 3) for inputs in inputs_in(run.messages(step)[0])} <= {
        row.input for row in world.task.train if row.id in ids
    }


def test_the_best_is_that_of_the_highest_score_and_the_earliest() -> None:
    run = first_reply(OPRO(samples=3), reply("Try units"), reply("Try check"), reply("Try soon"))
    assert OPRO().best(run.states[1]).candidate.text == "Try units"
    assert [t.accepted for t in run.contexts[1].trials] == [True, False, False]


def test_lost_samples_are_not_replaced() -> None:
    run = first_reply(OPRO(samples=3), reply("Try units"), "untagged", "<prompt>Try\n", *["no"] * 4)
    assert past_of(run) == ["Answer the question.", "Try units"]
    assert run.contexts[1].counts["dropped"] == 2
    assert len(run.asked[1]) == 7, "two are asked for twice more"


def test_a_step_may_add_nothing() -> None:
    run = first_reply(OPRO(samples=2), *["no tags at all"] * 6)
    assert run.states[1] == run.states[0]


def test_multi_line_and_curly_replies_are_prompts_and_empty_ones_are_not() -> None:
    lines, curly = "First add.\nThen check.", "Don’t skip “units”"
    run = first_reply(OPRO(samples=3), reply(lines), reply(curly), reply(" "))
    assert run.states[1].known == ("Answer the question.", lines, curly)


def test_repeats_are_refused_even_of_prompts_that_left_the_trajectory() -> None:
    task = toy_world(train=4).task
    said = [reply("Try units"), reply("Try check"), reply("answer THE question."), *["no"] * 2]
    run = follow(OPRO(samples=1, trajectory=1), 3, task, saying(*said).answer)
    assert run.states[3].known == ("Answer the question.", "Try units", "Try check")
    assert run.contexts[3].counts["unusable: duplicate"] == 1


def test_long_prompts_and_digits_are_refused() -> None:
    long = first_reply(OPRO(samples=1), reply("a" * 501), reply("a" * 500))
    assert past_of(long)[-1] == "a" * 500 and long.contexts[1].counts["unusable: too long"] == 1
    digits = first_reply(OPRO(samples=1, forbid_digits=True), reply("It is 42"), reply("It is three"))
    assert "It is three" in past_of(digits) and digits.contexts[1].counts["unusable: digits"] == 1
    assert "It is 42" in past_of(first_reply(OPRO(samples=1), reply("It is 42")))


def test_the_position_is_the_templates() -> None:
    task = toy_world().task
    before = follow(OPRO(), 1, replace(task, template=Template("{prompt}\n{input}"))).messages(1)[0]
    assert "before the input" in before and "Input: <slot>\nLevel" in before
    after = follow(OPRO(), 1, task).messages(1)[0]
    assert "after the input" in after and "?\n<slot>\nAnswer" in after


def test_columns_in_the_prompt_are_asked_for() -> None:
    task = toy_world().task
    inside = replace(task, template=Template("{prompt}"), seeds=("Please answer: {input}",))
    run = first_reply(OPRO(samples=1), reply("Answer it"), reply("Carefully: {input}"), task=inside)
    assert "{input}" in run.messages(1)[0]
    assert run.states[1].known[-1] == "Carefully: {input}" and run.contexts[1].counts["unusable: slots lost"] == 1


def test_the_temperature_may_fall() -> None:
    run = follow(OPRO(cooling=Linear(1.0, 0.5), steps_planned=2), 2)
    assert [{request.temperature for request in run.asked[step]} for step in (1, 2)] == [{0.75}, {0.5}]


def test_what_it_costs() -> None:
    task = toy_world(train=8).task
    assert OPRO().costs(task) == Costs({"task": 8}, {"optimizer": 24, "task": 64})
    assert OPRO(rows=5, temperature=0).costs(task) == Costs({"task": 5}, {"optimizer": 8, "task": 40})
    extracted = replace(task, extractor="The answer is", seeds=("One.", "Two."))
    assert OPRO().costs(extracted) == Costs({"task": 32}, {"optimizer": 24, "task": 128})


def test_several_initial_prompts_are_all_scored() -> None:
    run = follow(OPRO(), 0, replace(toy_world().task, seeds=("Try soon", "Try check", "Try soon")))
    assert run.states[0].known == ("Try soon", "Try check")
    assert OPRO().best(run.states[0]).candidate.text == "Try check"


def test_unanswered_prompts_are_neither_best_nor_shown() -> None:
    state = follow(OPRO(), 0).states[0]
    lost = Scored(Candidate("lost"), {})
    after = OPRO()._with(state, [lost])
    assert after.best == state.best and after.past == state.past and after.known[-1] == "lost"
    assert codec.read(OPRO.State, codec.dumps(after), "state") == after


@pytest.mark.parametrize("wrong", ["samples=0", "rows=0", "buckets=0", "trajectory=-1", "steps_planned=0"])
def test_values_out_of_range_are_refused(wrong: str) -> None:
    with pytest.raises(spec.SpecError, match="at least"):
        spec.build(spec.with_settings("opro", [wrong]))


def test_settings_on_the_command_line() -> None:
    built = spec.build(
        spec.with_settings(
            "opro", ["buckets=none", "cooling=linear", "cooling.initial=1", "cooling.final=0.2", "rows=4"]
        )
    )
    assert built == OPRO(buckets=None, cooling=Linear(1.0, 0.2), rows=4)
    assert spec.build(json.loads(json.dumps(spec.describe(built)))) == built


def test_a_cooling_is_a_temperature() -> None:
    with pytest.raises(spec.SpecError, match="a cooling goes from 0 to 2, got 49.8 at the first step"):
        spec.build(spec.with_settings("opro", ["cooling=linear"]))
