from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from goldens import check_golden

from scripted_optimizer import Asked, asking
from steepest.context import Context
from steepest.errors import SpecError
from steepest.methods.gradsum import GradSum
from steepest.models.scripted import Scripted, text_of
from steepest.parts.bandits import UCB
from steepest.parts.selection import Uniform
from steepest.parts.text import ATTEMPTS, words
from steepest.spec import build, describe
from steepest.tasks.judge import Judge
from steepest.tasks.task import Language, Task, Template
from steepest.testing.contract import MethodCase, MethodContract
from steepest.testing.toy import HELPFUL, toy_answer, toy_model, toy_world
from steepest.types import Candidate, Example, Outcome, Request, Response, Scored

CRITERIA = "1 if the sum is right, 0 if it is wrong."
PERFECT = "Answer " + " ".join(HELPFUL)
Answer = Callable[[Request], str | Response]


def kind(request: Request) -> str:
    tags = re.findall(r"<(rating|feedback|summary|prompt)>", text_of(request.prompt))
    return {"rating": "judge", "feedback": "gradient", "summary": "summary", "prompt": "edit"}[tags[-1]] if tags else ""


def optimizer(request: Request) -> str:
    """Feedback names the word that a row's level needs; summaries keep all words; edits put some of them in."""
    asked, seed = text_of(request.prompt), request.seed or 0
    if kind(request) == "gradient":
        level = int(re.search(r"Level (\d)", asked)[1])
        return f"<feedback>Ask for {HELPFUL[level - 1]}.</feedback>"
    named = list(dict.fromkeys(re.findall(r"Ask for (\w+)", asked)))
    if kind(request) == "summary":
        return f"<summary>{' '.join(f'Ask for {word}.' for word in named)}</summary>"
    prompt = re.search(r"(?:Prompt: |提示词：)(.*)", asked)[1]
    return f"<prompt>{prompt} {' '.join(named[: 1 + seed % 3])} v{seed % 101}</prompt>"


def judge(request: Request) -> str:
    """Rates by the sum itself, so it needs no expected answer."""
    asked = text_of(request.prompt)
    a, b, said = map(int, re.search(r"what is (\d+) \+ (\d+)\?(?:\n.*)*?\nModel answer: (\d+)", asked).groups())
    why = "The sum is right." if a + b == said else "The sum is too high."
    return f"<explanation>{why}</explanation><rating>{int(a + b == said)}</rating>"


def everyone(request: Request) -> str | Response:
    return {"judge": judge, "": toy_answer}.get(kind(request), optimizer)(request)


def toy_task(**fields: Any) -> Task:
    return replace(toy_world(train=8, dev=8).task, **fields)


def unanswered(task: Task) -> Task:
    """The task without targets, with a judge."""
    train, dev = ([replace(row, target="") for row in rows] for rows in (task.train, task.dev))
    return replace(task, train=tuple(train), dev=tuple(dev), metric=Judge(CRITERIA))


@dataclass
class Stepped:
    """Init and some steps of a method, with everything that was asked in the last one."""

    method: GradSum
    task: Task | None = None
    answer: Answer = everyone
    steps: int = 1

    def __post_init__(self) -> None:
        self.states: list[Any] = []
        self.models: list[Asked] = []
        for step in range(self.steps + 1):
            self.models.append(Asked(self.answer))
            self.model = self.models[-1]
            with asking(self.model, self.task or toy_task(), step) as ctx:
                state = self.method.step(self.states[-1], ctx) if step else self.method.init(ctx)
                self.states.append(state)
                self.counts = ctx.counts

    @property
    def state(self) -> Any:
        return self.states[-1]

    def of(self, what: str) -> list[Request]:
        return [request for request in self.model.requests if kind(request) == what]

    def texts(self, what: str) -> list[str]:
        return [text_of(request.prompt) for request in self.of(what)]


class TestGradSum(MethodContract):
    @pytest.fixture(params=["judge", "rule"])
    def case(self, request: pytest.FixtureRequest) -> MethodCase:
        world = toy_world(train=5, dev=5, test=6)
        models = {"task": toy_model(), "optimizer": Scripted(optimizer, "toy-optimizer")}
        task, test = world.task, world.test
        if request.param == "judge":
            models["judge"] = Scripted(judge, "toy-judge")
            task, test = unanswered(task), [replace(row, target="") for row in test]
        method = GradSum(beam=2, rows=4, candidates=2, subset=4)
        return MethodCase(method, task, test, lambda: models, steps=2, gain=0.1, every=60)


class TestMessages:
    TASK = Task(
        name="guests",
        train=(Example("a", "Who is there?", "Ann", {"context": "Ann and {Bob}."}),),
        dev=(Example("b", "Who is it?", "Bob", {"context": "Bob is it."}),),
        template=Template("{prompt}"),
        metric=Judge("Names are right.", 5),
        seeds=("From {context}, answer: {input}",),
        description="Answer questions about guests.",
    )

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_to_the_letter(self, language: Language) -> None:
        def answer(request: Request) -> str:
            told = {
                "judge": "<explanation>Bob is missing.</explanation><rating>3</rating>",
                "gradient": "<feedback>Ask for all names.</feedback>",
                "summary": "<summary>The prompt should ask for all names.</summary>",
                "edit": "<prompt>From {context}, name all: {input}</prompt>",
            }
            return told.get(kind(request), "Ann.")

        run = Stepped(GradSum(), replace(self.TASK, language=language), answer)
        for what in ("judge", "gradient", "summary", "edit"):
            name = "judge-graded" if what == "judge" else f"gradsum-{what}"
            check_golden(f"{name}.{language}", run.texts(what)[0])

    def test_a_rule_has_no_explanations(self) -> None:
        run = Stepped(GradSum())
        assert all("Explanation:" not in text and "Expected answer: " in text for text in run.texts("gradient"))

    def test_a_judge_explains_and_needs_no_answer(self) -> None:
        run = Stepped(GradSum(), unanswered(toy_task()))
        assert run.texts("gradient")
        for text in run.texts("gradient"):
            assert "Explanation: The sum is too high.\n" in text and "Expected answer" not in text

    def test_the_description_is_the_tasks_unless_set(self) -> None:
        task = toy_task(description="Add numbers.")
        for method, told in ((GradSum(), "Add numbers."), (GradSum(task_description="Sums."), "Sums.")):
            run = Stepped(method, task)
            for what in ("gradient", "summary", "edit"):
                assert all(text.startswith(f"Task: {told}\n\n") for text in run.texts(what))

    def test_boilerplate_is_short_enough_for_a_small_model(self) -> None:
        messages, error = GradSum().messages, Outcome(self.TASK.train[0], "Ann.", 0.6, "Ann.", "stop", "No.")
        asked = (
            messages.ask_gradient(self.TASK, "", "p", error),
            messages.ask_summary(self.TASK, "", "p", ["f"]),
            messages.ask_edit(self.TASK, "", "p", ["f"]),
        )
        assert all(len(words(text)) < 110 for text in asked)

    def test_a_long_response_is_shown_from_its_end(self) -> None:
        error = Outcome(self.TASK.train[0], "no " * 2000 + "the end", 0.0, None)
        asked = GradSum().messages.ask_gradient(self.TASK, "", "p", error)
        assert "the end" in asked and len(asked) < 2500


class TestStep:
    def test_the_papers_numbers(self) -> None:
        method = GradSum()
        assert (method.beam, method.rows, method.summarize) == (3, 30, True)

    def test_each_imperfect_response_has_one_gradient_and_each_prompt_one_summary(self) -> None:
        run = Stepped(GradSum(rows=6))
        assert len(run.of("gradient")) == len(set(run.texts("gradient"))) == 6
        (summary,) = run.texts("summary")
        assert summary.count("- Ask for") == 6
        assert len(run.of("edit")) == 3 and len(set(run.texts("edit"))) == 1
        assert {request.temperature for request in run.of("gradient")} == {0.0}
        assert {request.temperature for request in (*run.of("summary"), *run.of("edit"))} == {0.7}
        assert len({request.seed for request in run.of("edit")}) == 3

    def test_the_editor_sees_the_summary_alone(self) -> None:
        (asked,) = set(Stepped(GradSum()).texts("edit"))
        assert asked.count("Ask for") == 4, "every word once, though it was named by several gradients"

    def test_without_the_summary_it_sees_the_gradients(self) -> None:
        run = Stepped(GradSum(summarize=False))
        assert not run.of("summary")
        assert all(text.count("- Ask for") == 8 for text in run.texts("edit"))

    def test_without_the_summary_long_gradients_take_turns(self) -> None:
        def wordy(request: Request) -> str | Response:
            if kind(request) != "gradient":
                return everyone(request)
            return optimizer(request).replace("</feedback>", " and so on" * 15 + "</feedback>")

        shown = Stepped(GradSum(summarize=False, gradient_words=100), answer=wordy).texts("edit")
        assert len(set(shown)) > 1 and all(text.count("- Ask for") == 2 for text in shown)

    def test_a_perfect_prompt_costs_the_optimizer_nothing(self) -> None:
        run = Stepped(GradSum(), toy_task(seeds=(PERFECT,)))
        assert not run.of("gradient") and not run.of("summary") and not run.of("edit")
        assert [scored.candidate.text for scored in run.state.beam] == [PERFECT]

    def test_responses_without_a_verdict_get_no_gradient(self) -> None:
        def shy(request: Request) -> str | Response:
            is_first = "what is 3 + 2?" in text_of(request.prompt)
            return "Hard to say." if kind(request) == "judge" and is_first else everyone(request)

        run = Stepped(GradSum(), unanswered(toy_task()), shy)
        assert len(run.of("gradient")) == 7 and run.counts["unjudged"] == 1

    def test_the_rows_stay_and_the_subset_changes(self) -> None:
        run = Stepped(GradSum(rows=3, subset=4), steps=3)
        assert len({state.rows for state in run.states}) == 1 and len(run.state.rows) == 3
        assert len({frozenset(state.beam[-1].scores) for state in run.states}) > 1

    def test_all_candidates_answer_the_same_rows(self) -> None:
        run = Stepped(GradSum(subset=4))
        new = [scored for scored in run.state.beam if scored.candidate.origin == "edit"]
        assert new and len({frozenset(scored.scores) for scored in new}) == 1 and new[0].n == 4
        assert all(scored.candidate.parents == (run.states[0].beam[0].candidate.id,) for scored in new)

    def test_any_selector_may_compare_them(self) -> None:
        run = Stepped(build({"use": "gradsum", "subset": 0, "select": {"use": "ucb", "budget": 24}}))
        assert isinstance(run.method.select, UCB) and len(run.state.beam) == 3

    def test_the_beam_keeps_the_better_and_the_best_comes_first(self) -> None:
        run = Stepped(GradSum(), steps=3)
        assert len(run.state.beam) == 3
        assert run.method.best(run.state).mean >= run.states[0].beam[0].mean + 0.5

    def test_the_recommended_prompt_stays_until_it_is_beaten(self) -> None:
        def idle(request: Request) -> str | Response:
            return f"<prompt>Nothing {request.seed}</prompt>" if kind(request) == "edit" else everyone(request)

        run = Stepped(GradSum(), answer=idle, steps=2)
        assert run.method.best(run.state).candidate.text == "Answer the question."
        assert len(run.state.beam) == 3, "though others are as good"


class TestSummaries:
    def run(self, task: Task, limit: int) -> Stepped:
        def wordy(request: Request) -> str | Response:
            said = everyone(request)
            return said.replace("</feedback>", " over and over" * 13 + "</feedback>")

        return Stepped(GradSum(gradient_words=limit), task, wordy)

    @pytest.mark.parametrize(("limit", "sizes"), [(450, [8]), (130, [3, 3, 2, 3]), (50, [2, 2, 2, 2, 4])])
    def test_many_gradients_are_summed_up_in_groups(self, limit: int, sizes: list[int]) -> None:
        run = self.run(toy_task(), limit)
        assert [text.count("- Ask for") for text in run.texts("summary")] == sizes
        assert len(run.of("edit")) == 3

    def test_no_message_is_longer_than_the_limit_allows(self) -> None:
        for text in self.run(toy_task(), 130).texts("summary"):
            assert len(words(text)) < 130 + 110

    def test_two_go_together_however_long(self) -> None:
        method = GradSum(gradient_words=50)
        assert [len(group) for group in method._groups(["word " * 100] * 5)] == [2, 2, 1]

    def test_a_summary_that_never_comes_leaves_the_prompt_as_it_is(self) -> None:
        def mute(request: Request) -> str | Response:
            return "I cannot." if kind(request) == "summary" else everyone(request)

        run = Stepped(GradSum(), answer=mute)
        assert len(run.of("summary")) == ATTEMPTS and not run.of("edit")
        assert run.state.beam == run.states[0].beam or run.state.beam[0].candidate == run.states[0].beam[0].candidate
        assert run.counts["dropped"] == 1


class TestSlots:
    def test_a_new_prompt_must_keep_them(self) -> None:
        task = toy_task(template=Template("{prompt}"), seeds=("{input} Answer {hint}",))
        task = replace(task, train=with_hint(task.train), dev=with_hint(task.dev))
        replies = iter(
            ["{input} check", "{input} {hint} {more}", "{hint}: {input} carefully", "{hint} {input} stepwise"]
        )

        def careless(request: Request) -> str | Response:
            if kind(request) != "edit":
                return everyone(request)
            return f"<prompt>{next(replies, '{hint} {input} units')}</prompt>"

        run = Stepped(GradSum(), task, careless)
        assert run.counts["unusable: slots lost"] == run.counts["unusable: slots invented"] == 1
        assert {scored.candidate.text for scored in run.state.beam} <= {
            "{input} Answer {hint}",
            "{hint}: {input} carefully",
            "{hint} {input} stepwise",
            "{hint} {input} units",
        }
        assert "Keep {input}, {hint} in it exactly so" in run.texts("edit")[0]

    def test_gradients_show_the_prompt_unfilled_and_the_row_by_columns(self) -> None:
        task = toy_task(template=Template("{prompt}"), seeds=("{input} Answer {hint}",))
        task = replace(task, train=with_hint(task.train), dev=with_hint(task.dev))
        for text in Stepped(GradSum(), task).texts("gradient"):
            assert "Prompt: {input} Answer {hint}\n" in text
            assert re.search(r"\nInput: input: Level \d: what is \d+ \+ \d+\?\nhint: now\n", text)


def with_hint(rows: Any) -> tuple[Example, ...]:
    return tuple(replace(row, meta={"hint": "now"}) for row in rows)


class TestCosts:
    @pytest.mark.parametrize("is_judged", [False, True])
    @pytest.mark.parametrize(
        "method", [GradSum(), GradSum(gradient_words=50, subset=0), GradSum(summarize=False, gradient_temperature=1.0)]
    )
    def test_a_run_never_costs_more(self, method: GradSum, is_judged: bool) -> None:
        task = unanswered(toy_task()) if is_judged else toy_task()

        def hard(request: Request) -> str | Response:
            """Nothing is usable at the first attempt."""
            return "?" if kind(request) and (request.seed or 0) % 3 else everyone(request)

        costs = method.costs(task)
        for step, model in enumerate(Stepped(method, task, hard, steps=2).models):
            kinds = Counter({"": "task", "judge": "judge"}.get(kind(each), "optimizer") for each in model.requests)
            most = costs.step if step else costs.init
            assert all(kinds[role] <= most.get(role, 0) for role in kinds), (step, kinds, most)

    def test_fewer_prompts_may_cost_a_selector_more(self) -> None:
        method = GradSum(beam=3, rows=5, subset=0, select=Uniform(100))
        costs = method.costs(toy_world(train=5, dev=60).task)
        assert [method.select.evaluations(n, 60, 3) for n in (12, 10)] == [96, 100]
        assert costs.step["task"] == 3 * 5 + 100 + 60

    def test_the_papers_formula(self) -> None:
        world = toy_world(train=40, dev=40).task
        costs = GradSum().costs(replace(world, metric=Judge(CRITERIA)))
        assert costs.init == {"task": 12, "judge": 24}
        assert costs.step["task"] == 3 * 30 + 12 * 12 + 12 and costs.step["judge"] == 2 * costs.step["task"]
        assert costs.step["optimizer"] == 3 * (30 + 30 * ATTEMPTS + 3 * ATTEMPTS)
        assert "judge" not in GradSum().costs(world).step


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"beam": 0}, "beam must be at least 1, got 0"),
            ({"rows": 0}, "rows must be at least 1"),
            ({"candidates": 0}, "candidates must be at least 1"),
            ({"subset": -1}, "subset must be at least 0"),
            ({"gradient_words": 10}, "gradient_words must be at least 50"),
            ({"temperature": 0.0}, "temperature must be above 0"),
        ],
    )
    def test_values_of_no_use_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(SpecError, match=message):
            build({"use": "gradsum", **settings})

    def test_its_messages_are_settings(self) -> None:
        described = describe(GradSum())
        described["messages"]["summary"]["en"] += " Be brief."
        assert Stepped(build(described)).texts("summary")[0].endswith(" Be brief.")


def scored(text: str, **scores: float) -> Scored:
    return Scored(Candidate(text), scores)


def test_scores_of_earlier_subsets_count_where_both_answered() -> None:
    """A prompt that was ahead by chance on this subset does not replace one that was ahead on the others."""

    @dataclass(frozen=True)
    class Chosen:
        results: tuple[Scored, ...] = ()

        def __call__(self, candidates: Any, examples: Any, keep: int, ctx: Context) -> list[Scored]:
            return list(self.results)

        def evaluations(self, candidates: int, examples: int, keep: int) -> int:
            return candidates * examples

    old, rival = scored("old", a=1.0, b=1.0), scored("rival", a=0.0, b=0.0)
    method = GradSum(select=Chosen((scored("rival", c=1.0), scored("old", c=0.0))))
    task = toy_task()
    with asking(Asked(lambda request: "?" if kind(request) else toy_answer(request)), task) as ctx:
        after = method.step(GradSum.State((old, rival), (task.train[0].id,)), ctx)
    assert [each.candidate.text for each in after.beam] == ["old", "rival"]
    assert dict(after.beam[0].scores) == {"a": 1.0, "b": 1.0, "c": 0.0}
