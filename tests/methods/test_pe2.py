from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from goldens import check_golden

from scripted_optimizer import Asked, asking
from steepest.costs import per_row
from steepest.errors import SpecError
from steepest.methods.pe2 import PE2, Node
from steepest.methods.pe2_messages import Messages
from steepest.models.scripted import Scripted, text_of
from steepest.parts.text import ATTEMPTS, words
from steepest.parts.updates import Induce
from steepest.spec import build
from steepest.tasks.metrics import ExactMatch
from steepest.tasks.task import Judgement, Language, Task, Template
from steepest.testing.contract import MethodCase, MethodContract
from steepest.testing.toy import HELPFUL, IDLE, toy_answer, toy_model, toy_world
from steepest.types import Candidate, Example, Message, Outcome, Request, Response, Scored

WORDS = (*HELPFUL, *IDLE)
PERFECT = " ".join(HELPFUL)
START = "Answer the question."


def kind(request: Request) -> str:
    asked = text_of(request.prompt)
    if "<summary>" in asked:
        return "summary"
    if "<prompt>" in asked:
        return "write" if "at your reasoning" in asked else "paraphrase" if "other words" in asked else "induce"
    return "reason" if "The expected answers are right" in asked else "task"


def optimizer_answer(request: Request) -> str:
    """Reasoning of a line; new prompts with one more word, by the seed."""
    asked, seed = text_of(request.prompt), request.seed or 0
    if kind(request) == "reason":
        return "1. No, it is wrong. 5. It should name a word."
    if kind(request) == "summary":
        return f"<summary>It lacked something; I changed it ({seed % 89}).</summary>"
    if kind(request) == "induce":
        return f"<prompt>Add {WORDS[seed % len(WORDS)]} v{seed % 97}</prompt>"
    prompt = re.findall(r"^Prompt: (.*)$", asked, re.MULTILINE)[-1]
    return f"<prompt>{prompt} {WORDS[seed % len(WORDS)]}</prompt>"


def both(request: Request) -> str:
    return toy_answer(request) if kind(request) == "task" else optimizer_answer(request)


def toy_task(train: int = 8, dev: int = 6, **fields: Any) -> Task:
    return replace(toy_world(train=train, dev=dev).task, **fields)


class Stepped:
    """Init or one step of the method on the toy task, with everything that was asked."""

    def __init__(
        self,
        method: PE2,
        state: PE2.State | None = None,
        task: Task | None = None,
        answer: Callable[[Request], str | Response] = both,
        step: int = 1,
    ) -> None:
        self.model = Asked(answer)
        with asking(self.model, task or toy_task(), step) as ctx:
            self.state = method.step(state or known(START), ctx) if step else method.init(ctx)
            self.counts = ctx.counts

    def of(self, what: str) -> list[Request]:
        return [request for request in self.model.requests if kind(request) == what]

    def conversations(self) -> list[tuple[Message, ...]]:
        return [request.prompt for request in self.of("reason") if not isinstance(request.prompt, str)]

    @property
    def new(self) -> list[Node]:
        return [node for node in self.state.nodes if node.step]


def known(*texts: str, step: int = 0, scores: Sequence[float] = ()) -> PE2.State:
    """Prompts with their scores on the dev rows."""
    given = [*scores, *[0.5] * len(texts)]
    return PE2.State(
        tuple(Node(Scored(Candidate(text), {"toy-8": score}), step) for text, score in zip(texts, given, strict=False))
    )


class TestPE2(MethodContract):
    @pytest.fixture
    def case(self) -> MethodCase:
        world = toy_world(train=6, dev=6, test=8)
        models = {"task": toy_model(), "optimizer": Scripted(optimizer_answer, "toy-optimizer")}
        method = PE2(beam=2, proposals=3)
        return MethodCase(method, world.task, world.test, lambda: models, steps=3, gain=0.15, every=100)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("variant", ["paper", "everything", "ablated"])
def test_the_conversation_to_the_letter(language: Language, variant: str) -> None:
    task = toy_task(language=language)
    rows = [
        Outcome(task.train[0], "3 plus 2 is 6. The answer is 6.", 0.0, "6"),
        Outcome(task.train[1], "Hard to say.", 0.0, None),
    ]
    opening: dict[str, Any] = {}
    closing: dict[str, Any] = {"max_words": 50}
    if variant == "everything":
        past = Messages().shown_past(Scored(Candidate("Add."), {"a": 1.0, "b": 0.0}), "", task)
        opening, closing = {"tutorial": True}, {"max_words": 50, "step_size": 5, "past": past}
    elif variant == "ablated":
        opening = {"description": False, "context": False, "template": False}
    turns = Messages().opening("Add the numbers.", rows, task, **opening)
    reasoning = Message("assistant", "...")
    check_golden(
        f"pe2-{variant}.{language}", (*turns, reasoning, Messages().closing("Add the numbers.", task, **closing))
    )


def test_the_conversation_is_short_enough_for_small_models() -> None:
    row = Outcome(Example("a", "", ""), "", 0.0, "")
    bare = toy_task(template=Template("{input}{prompt}"))
    turns = [*Messages().opening("", [row, row], bare), Messages().closing("", bare, max_words=50)]
    assert sum(len(words(turn.content)) for turn in turns) <= 220


def test_two_generations_with_a_fixed_turn_between_the_users() -> None:
    run = Stepped(PE2())
    assert [turn.role for turn in run.conversations()[0]] == ["user", "assistant", "user"]
    write = run.of("write")[0].prompt
    assert [turn.role for turn in write] == ["user", "assistant", "user", "assistant", "user"]
    assert write[3].content == "1. No, it is wrong. 5. It should name a word."
    assert {request.temperature for request in run.of("reason")} == {0.0}
    assert {request.temperature for request in run.of("write")} == {0.7}
    assert {request.max_tokens for request in run.of("write")} == {300}
    assert len(run.of("write")) >= 4, "m = 4"


def test_the_examples_are_failures() -> None:
    task = toy_task()
    easy = [row.input for row in task.train if row.input.startswith("Level 1")]
    told = "\n".join(turns[-1].content for turns in Stepped(PE2(), known("Answer carefully")).conversations())
    assert all(row not in told for row in easy), "one helpful word is enough for level 1"
    any_row = Stepped(PE2(batching="random", proposals=8), known("Answer carefully"))
    told = "\n".join(turns[-1].content for turns in any_row.conversations())
    assert any(row in told for row in easy)


def test_partly_right_answers_are_failures_and_the_worse_are_drawn_more_often() -> None:
    class Graded:
        def __call__(self, example: Example, output: str) -> Judgement:
            return Judgement(0.95 if example.input.startswith("Level 1") else 0.0, output)

    counts = {}
    for batching in ("hard", "hard_weighted"):
        run = Stepped(PE2(batching=batching, proposals=24, batch_size=1, beam=1), task=toy_task(metric=Graded()))
        told = [turns[-1].content for turns in run.conversations()]
        drafts = [request.prompt[2].content for request in run.of("write")]
        assert told
        counts[batching] = sum("Input: Level 1" in text for text in drafts)
    assert counts["hard"] > counts["hard_weighted"]
    assert counts["hard"] > 0


def test_every_step_looks_through_the_rows_in_another_order() -> None:
    task = toy_task(train=48)
    method = PE2(beam=1, proposals=1)
    first = [[text_of(r.prompt) for r in Stepped(method, task=task, step=step).model.batches[0]] for step in (1, 2)]
    assert first[0] != first[1]
    assert len(first[0]) == 20, "no more rows than it takes to find the failures"


def test_rows_are_looked_through_until_there_are_failures_enough() -> None:
    task = toy_task(train=48)
    almost = " ".join(HELPFUL[:3])  # wrong on one row in four
    run = Stepped(PE2(beam=1, batch_size=4), known(almost), task)
    asked = [len(batch) for batch in run.model.batches if kind(batch[0]) == "task"]
    assert asked[:2] == [20, 20]
    assert len(run.conversations()[0][2].content.split("Example ")) == 1 + 4


def test_a_parent_without_failures_is_paraphrased() -> None:
    run = Stepped(PE2(beam=2, proposals=2), known(PERFECT, START))
    assert run.counts["prompts without errors"] == 1
    assert {request.prompt for request in run.of("paraphrase")} == {run.of("paraphrase")[0].prompt}
    assert PERFECT in text_of(run.of("paraphrase")[0].prompt)
    assert all(START in turns[-1].content for turns in run.conversations())
    assert {node.scored.candidate.origin for node in run.new} == {"paraphrase", "edit"}


def test_parents_are_the_best_of_all_steps_or_of_the_newest() -> None:
    state = PE2.State(known("old good", "old bad", scores=(0.9, 0.1)).nodes + known("new", step=3, scores=(0.5,)).nodes)
    for back_tracking, expected in ((True, ["old good", "new"]), (False, ["new"])):
        run = Stepped(PE2(beam=2, proposals=1, back_tracking=back_tracking), state, step=4)
        told = [turns[-1].content for turns in run.conversations()]
        assert [re.search("Prompt: (.*)", text)[1] for text in told] == expected


def test_new_prompts_are_scored_on_dev_and_the_best_of_all_is_returned() -> None:
    task = toy_task()
    run = Stepped(PE2(), task=task)
    assert all(set(node.scored.scores) == {row.id for row in task.dev} for node in run.new)
    state = PE2.State(known("good", scores=(0.9,)).nodes + known("worse", step=1, scores=(0.5,)).nodes)
    assert PE2().best(state).candidate.text == "good"


@pytest.mark.parametrize(
    ("field", "gone"),
    [
        ("two_step_description", "Step 1"),
        ("context_specification", "<input>"),
        ("reasoning_template", "3. Does the prompt describe the task"),
    ],
)
def test_components_can_be_switched_off(field: str, gone: str) -> None:
    with_it, without = Stepped(PE2()), Stepped(PE2(**{field: False}))

    def said(run: Stepped) -> str:
        return "\n".join(turn.content for turn in run.conversations()[0])

    assert gone in said(with_it)
    assert gone not in said(without)
    assert "Expected answer: " in said(without)
    assert said(without).count("\nPrompt: ") + said(without).startswith("Prompt: ") == 1


def test_without_a_description_the_tutorial_opens_the_one_turn() -> None:
    run = Stepped(PE2(two_step_description=False, tutorial=True))
    (turn,) = run.conversations()[0]
    assert turn.role == "user"
    assert turn.content.startswith("How to write good prompts.")


@pytest.mark.parametrize(
    ("layout", "shown"),
    [
        ("{input}\n{prompt}", f"You add numbers.\n\n<input>\n{START}\n\nExample 1"),
        ("{prompt}\n\nQ: {input}\nA:", f"You add numbers.\n\n{START}\n\nQ: <input>\nA:\n\nExample 1"),
    ],
)
def test_the_full_text_has_the_prompt_where_the_template_has_it(layout: str, shown: str) -> None:
    task = toy_task(template=Template(layout, system="You add numbers."))
    assert shown in Stepped(PE2(beam=1), task=task, answer=both).conversations()[0][2].content


def test_columns_of_a_row_are_named_in_the_full_text() -> None:
    rows = [Example(f"r{i}", f"Is {i} odd?", "yes", {"hint": f"look at {i}"}) for i in range(6)]
    task = Task("odd", rows[:3], rows[3:], Template("{hint} {input} {prompt}"), ExactMatch(), seeds=("Say.",))
    run = Stepped(PE2(beam=1), known("Say."), task, answer=lambda r: "no" if kind(r) == "task" else optimizer_answer(r))
    content = run.conversations()[0][2].content
    assert "<hint> <input> Say." in content
    assert "Expected answer: yes" in content


def test_the_place_of_the_input_does_not_get_into_prompts() -> None:
    def copied(request: Request) -> str:
        return f"<prompt>Read <input> {request.seed}</prompt>" if kind(request) == "write" else both(request)

    run = Stepped(PE2(beam=1, proposals=1), answer=copied)
    assert run.new == []
    assert run.counts["unusable: leftover tags"] == ATTEMPTS


@pytest.mark.parametrize("reply", [Response("1. No, it", finish="length"), Response("  "), Response("<think>Hm.")])
def test_a_conversation_without_a_whole_reasoning_is_dropped(reply: Response) -> None:
    run = Stepped(PE2(beam=1, proposals=3), answer=lambda r: reply if kind(r) == "reason" else both(r))
    assert run.of("write") == []
    assert run.counts["dropped"] == 3


def test_prompts_beyond_the_length_limit_are_refused() -> None:
    def long(request: Request) -> str:
        return f"<prompt>{'word ' * 51} {request.seed}</prompt>" if kind(request) == "write" else both(request)

    assert Stepped(PE2(beam=1, proposals=1), answer=long).counts["unusable: too long"] == ATTEMPTS
    assert "at most 50 words" in text_of(Stepped(PE2()).of("write")[0].prompt)


def test_a_step_size_is_asked_for_and_what_goes_beyond_is_counted() -> None:
    def rewriting(request: Request) -> str:
        if kind(request) == "write":
            return f"<prompt>All of it is quite different now {request.seed}</prompt>"
        return both(request)

    run = Stepped(PE2(beam=1, step_size=3), answer=rewriting)
    assert "Change at most 3 words." in text_of(run.of("write")[0].prompt)
    assert run.counts["edits beyond the step size"] == len(run.new) == 4
    assert "edits beyond the step size" not in Stepped(PE2(beam=1, step_size=3)).counts


def test_the_history_shows_earlier_prompts_their_dev_scores_and_summaries() -> None:
    method, task = PE2(beam=1, proposals=2, history=True), toy_task()
    first = Stepped(method, known(START, scores=(0.29,)), task)
    assert len(first.of("summary")) == len(first.new) == 2
    assert all(node.summary.startswith("It lacked something") for node in first.new)
    asked = text_of(first.of("write")[0].prompt)
    assert f"Prompt: {START}\nScore: 29\nSummary: -" in asked
    child = first.new[0]
    better = replace(child, scored=Scored(child.scored.candidate, {"toy-8": 1.0}))
    state = PE2.State((*known(START, scores=(0.29,)).nodes, better))
    assert state.lineage(better.scored.candidate) == list(state.nodes)
    asked = text_of(Stepped(method, state, task, step=2).of("write")[0].prompt)
    text = child.scored.candidate.text
    assert f"Score: 29\nSummary: -\n\nPrompt: {text}\nScore: 100\nSummary: {child.summary}" in asked
    assert "Summary" not in text_of(Stepped(PE2(beam=1), state, task, step=2).of("write")[0].prompt)


def test_a_missing_summary_does_not_cost_the_prompt() -> None:
    run = Stepped(PE2(beam=1, history=True), answer=lambda r: "None." if kind(r) == "summary" else both(r))
    assert len(run.new) == 4
    assert {node.summary for node in run.new} == {""}


def test_induction_starts_from_demonstrations() -> None:
    run = Stepped(PE2(start="induction", induce=Induce(sets=2, n=3)), step=0)
    assert len(run.of("induce")) >= 6
    assert {node.scored.candidate.origin for node in run.state.nodes} == {"induce"}
    nothing = Stepped(PE2(start="induction"), step=0, answer=lambda r: "No." if kind(r) == "induce" else both(r))
    assert [node.scored.candidate.text for node in nothing.state.nodes] == [START], "a run must start somewhere"


@pytest.mark.parametrize(
    "fields",
    [{}, {"history": True}, {"batching": "random"}, {"reasoning_temperature": 0.5, "proposals": 1}, {"temperature": 0}],
)
def test_a_step_never_costs_more_than_it_says(fields: dict[str, Any]) -> None:
    method, task = PE2(beam=2, **fields), toy_task(train=24)
    costs = method.costs(task)

    def tagless(request: Request) -> str:
        return toy_answer(request) if kind(request) == "task" else "No."

    for answer in (both, tagless):
        run = Stepped(method, known(PERFECT, START), task, answer)
        asked = [kind(request) == "task" for request in run.model.requests]
        assert sum(asked) <= costs.step["task"]
        assert len(asked) - sum(asked) <= costs.step["optimizer"]
    if not fields:
        assert costs.step["optimizer"] == 2 * 4 * (1 + ATTEMPTS)
        assert costs.step["task"] == per_row(task) * (2 * 4 * 6 + 2 * 24)
        assert costs.init == {"task": 6, "optimizer": 0}


def test_it_can_be_written_as_settings() -> None:
    method = build({"use": "pe2", "preset": "code", "tutorial": True, "induce": {"sets": 1, "n": 2}})
    assert (method.beam, method.proposals, method.back_tracking, method.tutorial) == (2, 2, False, True)
    assert method.induce.n == 2


@pytest.mark.parametrize("field", ["beam", "proposals", "batch_size", "max_words", "step_size"])
def test_impossible_numbers_are_refused(field: str) -> None:
    with pytest.raises(SpecError, match=f"{field} must be at least 1, got 0"):
        build({"use": "pe2", field: 0})


def test_a_prompt_without_any_answer_on_dev_has_no_score_in_the_history() -> None:
    state = PE2.State((Node(Scored(Candidate(START), {}), 0),))
    run = Stepped(PE2(beam=1, history=True), state)
    assert f"Prompt: {START}\nScore: -\nSummary: -" in text_of(run.of("write")[0].prompt)


def test_a_copied_place_of_a_column_is_refused() -> None:
    rows = [replace(row, meta={"hint": "now"}) for row in toy_task().train]
    layout = Template("{hint}\n{input}\n{prompt}")
    task = replace(toy_task(), template=layout, train=tuple(rows), dev=tuple(rows[:3]))

    def copying(request: Request) -> str:
        return "<prompt>Use <hint> well.</prompt>" if kind(request) == "write" else both(request)

    run = Stepped(PE2(beam=1, proposals=1), task=task, answer=copying)
    assert "<hint>" in text_of(run.of("reason")[0].prompt)
    assert not run.new and run.counts["unusable: leftover tags"] == ATTEMPTS
