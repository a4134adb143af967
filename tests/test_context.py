from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from steepest.calls import CallLog
from steepest.context import Context, World, derive, require
from steepest.errors import BudgetSpent, ModelError
from steepest.events import CallsAnswered, Event, TrialNoted
from steepest.ledger import UNLIMITED, Ledger, Limits, bound
from steepest.models import Generates, Infills, WhiteBox
from steepest.models.scripted import Scripted, text_of
from steepest.tasks.metrics import Contains, ExactMatch
from steepest.tasks.task import Judgement, Task
from steepest.testing.taps import Tap, tapped
from steepest.testing.toy import toy_answer, toy_world
from steepest.types import Candidate, Example, Gap, Infill, Message, Request, Response, Trial, Usage

NOTHING = Usage()


@dataclass
class Recorder:
    """A scripted model that remembers its batches and answers them backwards."""

    answer: Any = toy_answer
    id: str = "recorder"
    batches: list[list[Request]] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        self.batches.append(list(requests))
        yield from reversed(list(Scripted(self.answer).generate(requests)))

    @property
    def asked(self) -> list[Request]:
        return [request for batch in self.batches for request in batch]


@dataclass
class Filler(Recorder):
    """One that fills gaps as well, and remembers them."""

    fill: Callable[[Infill], str | Response] = lambda asked: f"<{asked.gap.before}|{asked.gap.after}>"
    gaps: list[list[Infill]] = field(default_factory=list)

    def infill(self, requests: Sequence[Infill]) -> Iterator[tuple[int, Response]]:
        self.gaps.append(list(requests))
        for index, request in reversed(list(enumerate(requests))):
            said = self.fill(request)
            yield index, Response(said, 10, 2) if isinstance(said, str) else said


@dataclass
class Bench:
    """A world to make contexts in."""

    path: Path
    model: Any
    task: Task = field(default_factory=lambda: toy_world().task)
    seed: int = 0
    events: list[Event] = field(default_factory=list)
    fail_on: float = 0.2

    def __post_init__(self) -> None:
        self.log = CallLog(self.path / "calls.jsonl")

    def context(self, step: int = 1, limits: Limits = UNLIMITED, spent: Usage = NOTHING) -> Context:
        models = {"task": self.model}
        world = World(self.task, models, self.log, self.seed, self.events.append, fail_on=self.fail_on)
        return Context(world, Ledger(self.log, step, limits, spent))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.path.read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, Recorder())
    yield bench
    bench.log.close()


def test_dice_depend_on_seed_step_and_label_and_nothing_else(bench: Bench) -> None:
    roll = bench.context().rng("a").random()
    assert bench.context().rng("a").random() == roll
    assert bench.context(step=2).rng("a").random() != roll
    assert bench.context().rng("b").random() != roll
    bench.seed = 1
    assert bench.context().rng("a").random() != roll


def test_derived_numbers_never_change() -> None:
    assert derive(7, "rng", "3", "minibatch") == 6519454327058892315
    assert derive(1, "2") != derive(12)


def test_answers_come_in_the_order_of_prompts_n_to_each(bench: Bench) -> None:
    bench.model.answer = lambda request: f"{text_of(request.prompt)} {request.seed}"
    answers = bench.context().generate("task", ["a", "b"], temperature=1.0, n=3)
    assert [answer.text.split()[0] for answer in answers] == ["a", "a", "a", "b", "b", "b"]
    assert len({answer.text for answer in answers}) == 6
    assert len(bench.model.batches) == 1


def test_greedy_repeats_are_one_call(bench: Bench) -> None:
    ctx = bench.context()
    answers = ctx.generate("task", ["a", "a"], n=2)
    assert len(answers) == 4 and len(set(answers)) == 1
    assert ctx.usage.calls == len(bench.model.asked) == 1
    assert bench.model.asked[0] == Request("a", 0.0, 32)


def test_settings_reach_the_request(bench: Bench) -> None:
    bench.context().generate("task", ["a"], temperature=0.5, max_tokens=3, stop=["x"])
    request = bench.model.asked[0]
    assert (request.temperature, request.max_tokens, request.stop) == (0.5, 3, ("x",))
    assert request.seed is not None and 0 <= request.seed < 2**31


def test_sampling_seeds_differ_by_run_step_content_and_occurrence(bench: Bench) -> None:
    def seeds(ctx: Context, prompt: str = "a") -> list[int | None]:
        bench.model.batches.clear()
        ctx.generate("task", [prompt], temperature=1.0, n=2)
        return [request.seed for request in bench.model.asked]

    ctx = bench.context(1)
    found = [*seeds(ctx), *seeds(ctx), *seeds(ctx, "b"), *seeds(bench.context(2))]
    bench.seed = 1
    found += seeds(bench.context(1))
    assert len(set(found)) == len(found) == 10


def test_a_step_done_again_is_answered_from_the_journal(bench: Bench) -> None:
    first = bench.context()
    said = first.generate("task", ["a", "b"], temperature=1.0, n=2)
    again = bench.context()
    assert again.generate("task", ["a", "b"], temperature=1.0, n=2) == said
    assert again.usage == first.usage
    assert len(bench.model.batches) == 1


def test_a_later_step_reuses_greedy_answers_for_nothing(bench: Bench) -> None:
    bench.context(1).generate("task", ["a"])
    later = bench.context(2)
    later.generate("task", ["a", "b"])
    assert later.usage.calls == 1 and later.usage.reused == 1
    assert [request.prompt for request in bench.model.asked] == ["a", "b"]


def test_candidates_and_examples_go_out_as_one_batch(bench: Bench) -> None:
    ctx = bench.context()
    evaluations = ctx.evaluate([Candidate("carefully"), Candidate("carefully stepwise")], ctx.task.train)
    assert [len(batch) for batch in bench.model.batches] == [2 * len(ctx.task.train)]
    assert [evaluation.scored.mean for evaluation in evaluations] == [0.25, 0.5]
    assert [outcome.example for outcome in evaluations[1].outcomes] == list(ctx.task.train)
    assert evaluations[0].outcomes[0].answer == evaluations[0].outcomes[0].output
    assert bench.context().score([Candidate("carefully")], ctx.task.train) == [evaluations[0].scored]


@dataclass(frozen=True)
class Bracketed:
    """Right where "[target" is in the output; no answer without a bracket."""

    def __call__(self, example: Example, output: str) -> Judgement:
        _, bracket, answer = output.rpartition("[")
        return Judgement(float(answer == example.target), answer) if bracket else Judgement(0.0, None)


def test_a_missing_answer_is_asked_for_once_after_the_extractor(bench: Bench) -> None:
    rows = bench.task.train[:2]

    def answer(request: Request) -> str:
        if request.prompt[-1].role == "assistant":  # type: ignore[union-attr]
            return rows[0].target
        return "thinking" if rows[0].input in text_of(request.prompt) else f"so [{rows[1].target}"

    bench.model.answer = answer
    bench.task = replace(bench.task, metric=Bracketed(), extractor="is [")
    ctx = bench.context()
    outcomes = ctx.evaluate([Candidate("go")], rows)[0].outcomes
    assert [len(batch) for batch in bench.model.batches] == [2, 1]
    asked = bench.model.batches[1][0]
    assert asked.prompt[-1] == Message("assistant", "thinking is [") and asked.max_tokens == 16
    assert [o.score for o in outcomes] == [1.0, 1.0]
    assert outcomes[0].output == f"thinking is [{rows[0].target}"
    assert outcomes[0].answer == rows[0].target


@pytest.mark.parametrize(("said", "begun"), [("So", "So is ["), ("So\n", "So\nis ["), ("", "is [")])
def test_output_and_extractor_are_apart(bench: Bench, said: str, begun: str) -> None:
    bench.model.answer = lambda request: "7" if request.max_tokens == 16 else said
    bench.task = replace(bench.task, metric=Bracketed(), extractor="is [")
    outcome = bench.context().evaluate([Candidate("go")], bench.task.train[:1])[0].outcomes[0]
    assert bench.model.asked[-1].prompt[-1] == Message("assistant", begun)
    assert (outcome.output, outcome.answer) == (begun + "7", "7")


def test_without_an_extractor_a_missing_answer_stays_missing(bench: Bench) -> None:
    bench.model.answer = lambda _: "thinking"
    bench.task = replace(bench.task, metric=Bracketed())
    outcome = bench.context().evaluate([Candidate("go")], bench.task.train[:1])[0].outcomes[0]
    assert (outcome.score, outcome.answer, outcome.output) == (0.0, None, "thinking")
    assert len(bench.model.batches) == 1


def test_unanswered_is_not_wrong(bench: Bench) -> None:
    bench.model.answer = lambda _: Response("", 3, 0, "failed")
    bench.task = replace(bench.task, metric=Bracketed(), extractor=" is [")
    rows = bench.task.train[:4]
    evaluation = bench.context().evaluate([Candidate("go")], rows)[0]
    assert [o.score for o in evaluation.outcomes] == [None] * len(rows)
    assert evaluation.scored.n == 0 and not evaluation.errors
    assert len(bench.model.batches) == 1


def test_the_budget_is_checked_before_a_batch_is_sent(bench: Bench) -> None:
    ctx = bench.context(limits=Limits(calls=10), spent=Usage(calls=5))
    ctx.generate("task", ["a", "b"])
    with pytest.raises(BudgetSpent):
        ctx.evaluate([Candidate("x")], ctx.task.train)
    assert ctx.usage.calls == len(bench.model.asked) == 2


def test_tokens_and_dollars_are_never_passed_and_batches_go_out_in_portions(bench: Bench) -> None:
    bench.model.answer = lambda request: Response("hm", len(text_of(request.prompt)), 2)
    prompts = [f"question {n:02}" for n in range(60)]
    ctx = bench.context(limits=Limits(tokens=1000))
    ctx.generate("task", prompts, max_tokens=40)
    sizes = [len(batch) for batch in bench.model.batches]
    assert sum(sizes) == 60 and len(sizes) > 1
    assert ctx.usage.tokens == 60 * 13
    with pytest.raises(BudgetSpent, match="1,000 tokens would be passed"):
        ctx.generate("task", [f"another {n:02}" for n in range(60)], max_tokens=40)
    assert sum(len(batch) for batch in bench.model.batches) == 60
    batches = [e for e in bench.events if isinstance(e, CallsAnswered)]
    assert [e.answered for e in batches] == list(range(1, 61)) and {e.batch for e in batches} == {60}


def test_the_most_a_request_costs_is_its_bytes_and_its_limit() -> None:
    asked = Request((Message("system", "é" * 10), Message("user", "abc")), max_tokens=7)
    assert bound(asked) == Usage(1, 20 + 3 + 2 * 16 + 128, 7)
    assert bound(Infill(Gap("é" * 10, "abc"), max_tokens=7)) == bound(asked)


class TestInfill:
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        bench = Bench(tmp_path, Filler())
        yield bench
        bench.log.close()

    def test_gaps_are_filled_in_order_n_times_each(self, bench: Bench) -> None:
        ctx = bench.context()
        found = ctx.infill("task", [Gap("a", "b"), Gap("c", "d")], temperature=0.5, n=2, max_tokens=9)
        assert [each.text for each in found] == ["<a|b>", "<a|b>", "<c|d>", "<c|d>"]
        ((*asked,),) = bench.model.gaps
        assert {(each.temperature, each.max_tokens) for each in asked} == {(0.5, 9)}
        assert len({each.seed for each in asked}) == 4 and None not in {each.seed for each in asked}
        assert ctx.usage == Usage(4, 40, 8) and bench.model.batches == []

    def test_greedy_repeats_are_one_call_of_the_tasks_length(self, bench: Bench) -> None:
        ctx = bench.context()
        assert len(ctx.infill("task", [Gap("a", "b")], n=3)) == 3
        assert bench.model.gaps == [[Infill(Gap("a", "b"), 0.0, ctx.task.max_tokens)]]

    def test_the_journal_answers_what_was_asked_before(self, bench: Bench) -> None:
        first, again = bench.context(), bench.context()
        said = first.infill("task", [Gap("a", "b")], temperature=1.0, n=2)
        assert again.infill("task", [Gap("a", "b")], temperature=1.0, n=2) == said
        assert again.usage == first.usage and len(bench.model.gaps) == 1
        other = bench.context(2).infill("task", [Gap("a", "b")], temperature=1.0)
        assert len(bench.model.gaps) == 2 and len(other) == 1
        line, _, _ = bench.lines()
        assert line["kind"] == "infill" and line["role"] == "task"
        assert line["request"]["gap"] == {"before": "a", "after": "b"}

    def test_the_role_pays_and_no_limit_is_passed(self, bench: Bench) -> None:
        ctx = bench.context(limits=Limits(tokens=1000))
        ctx.infill("task", [Gap("a", str(n)) for n in range(40)], max_tokens=40)
        assert len(bench.model.gaps) > 1 and ctx.usage.tokens == 40 * 12
        with pytest.raises(BudgetSpent, match="1,000 tokens would be passed: 480 spent"):
            ctx.infill("task", [Gap("b", str(n)) for n in range(60)], max_tokens=40)
        assert sum(len(batch) for batch in bench.model.gaps) == 40

    def test_unanswered_gaps_are_counted_and_asked_again_later(self, bench: Bench) -> None:
        bench.model.fill = lambda asked: Response("", finish="failed", reason="timeout")
        ctx = bench.context()
        assert ctx.infill("task", [Gap("a", "b")])[0].finish == "failed"
        assert ctx.counts == {"unanswered: task: timeout": 1}
        bench.log.close()
        with CallLog(bench.log.path) as log:
            assert len(log) == 0

    def test_a_model_that_miscounts_is_named_by_its_method(self, bench: Bench) -> None:
        bench.model.infill = lambda requests: iter([(0, Response("x")), (0, Response("x"))])
        with pytest.raises(ModelError, match="correct its `infill`"):
            bench.context().infill("task", [Gap("a", "b"), Gap("c", "d")])

    def test_only_some_models_can(self, bench: Bench) -> None:
        ctx = bench.context()
        assert ctx.offers("task", Infills) and not ctx.offers("task", WhiteBox) and not ctx.offers("judge", Infills)
        bench.model = Recorder()
        assert not bench.context().offers("task", Infills)
        with pytest.raises(ModelError, match="the capability Infills, got 'recorder'.*api=completions"):
            bench.context().infill("task", [Gap("a", "b")])

    def test_a_tap_keeps_the_capability_and_counts(self, bench: Bench) -> None:
        assert not isinstance(tapped(Recorder(), Tap()), Infills)
        bench.model = tapped(Filler(), tap := Tap())
        ctx = bench.context()
        ctx.infill("task", [Gap("a", "b"), Gap("c", "d")])
        ctx.generate("task", ["a"])
        assert tap.given == 3 and bench.model.id == "recorder"


def down(n: int) -> Any:
    """Answers all but every n-th prompt, which ends in a multiple of n."""

    def answer(request: Request) -> str | Response:
        number = int(text_of(request.prompt).split()[-1])
        return Response("", 0, 0, "failed", "timeout") if number % n == 0 else "fine"

    return answer


def test_unanswered_requests_are_counted_and_not_asked_twice_in_a_step(bench: Bench) -> None:
    bench.model.answer = down(10)
    ctx, prompts = bench.context(), [f"q {n}" for n in range(1, 31)]
    answers = ctx.generate("task", prompts)
    assert ctx.generate("task", prompts) == answers
    assert [a.finish for a in answers].count("failed") == 3 == ctx.counts["unanswered: task: timeout"]
    assert ctx.usage.calls == 30 == len(bench.model.asked)
    assert sum(line["response"]["finish"] == "failed" for line in bench.lines()) == 3
    bench.log.forget_unanswered()
    bench.model.answer = down(1000)
    assert {a.finish for a in bench.context(2).generate("task", prompts)} == {"stop"}
    assert len(bench.model.asked) == 33


def test_too_many_unanswered_requests_end_the_step_once_all_the_answers_are_kept(bench: Bench) -> None:
    bench.model.answer = down(3)
    said = "at most 20% of a batch may go unanswered, got 10 of 30 from 'recorder' in the role 'task', mostly: timeout"
    with pytest.raises(ModelError, match=said):
        bench.context().generate("task", [f"q {n}" for n in range(1, 31)])
    kept = [line for line in bench.lines() if line["response"]["finish"] == "stop"]
    assert len(kept) == 20 and len(bench.lines()) == 30


@pytest.mark.parametrize(
    ("share", "asked", "raises"), [(0.2, 4, False), (0.2, 5, True), (1.0, 30, False), (0.0, 1, True)]
)
def test_a_few_unanswered_requests_are_no_reason_to_stop(bench: Bench, share: float, asked: int, raises: bool) -> None:
    bench.model.answer = down(1)
    bench.fail_on = share
    outcome = pytest.raises(ModelError, match="unanswered") if raises else nullcontext()
    with outcome:
        bench.context().generate("task", [f"q {n}" for n in range(asked)])


@pytest.mark.parametrize("indices", [[0], [0, 0], [0, 1, 1], [0, 2], [-1, 0]])
def test_a_model_that_miscounts_its_answers_is_an_error(bench: Bench, indices: list[int]) -> None:
    class Careless:
        id = "careless"

        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
            yield from ((index, Response("hm")) for index in indices)

    bench.model = Careless()
    with pytest.raises(ModelError, match="must answer every request once.*'careless'"):
        bench.context().generate("task", ["a", "b"])


def test_an_error_keeps_what_was_answered_before_it(bench: Bench) -> None:
    def answer(request: Request) -> str:
        if request.prompt == "b":
            raise ModelError("down")
        return "fine"

    bench.model = Scripted(answer)
    with pytest.raises(ModelError, match="down"):
        bench.context().generate("task", ["a", "b", "c"])
    assert [line["request"]["prompt"] for line in bench.lines()] == ["a"]


def test_the_journal_says_who_asked_what_when(bench: Bench) -> None:
    bench.context(step=4).generate("task", [(Message("user", "hi"),)])
    (line,) = bench.lines()
    assert line["step"] == 4 and line["role"] == "task" and line["model"] == "recorder" and line["kind"] == "generate"
    assert line["request"]["prompt"] == [{"role": "user", "content": "hi"}]
    assert set(line["response"]) == {"text", "prompt_tokens", "output_tokens", "finish", "reason"}


def test_observers_hear_of_every_answer_and_trial(bench: Bench) -> None:
    ctx = bench.context()
    ctx.generate("task", ["a", "b"])
    trial = Trial(0, "a", "b", 1, -0.5, 0.25, 0.5, True)
    ctx.note(trial)
    assert [(e.answered, e.batch, e.usage.calls) for e in bench.events if isinstance(e, CallsAnswered)] == [
        (1, 2, 1),
        (2, 2, 2),
    ]
    assert bench.events[-1] == TrialNoted(1, trial)
    assert ctx.trials == (trial,)


def test_a_role_without_model_or_capability_is_refused_with_a_remedy(bench: Bench) -> None:
    ctx = bench.context()
    assert ctx.model("task", Generates) is bench.model
    with pytest.raises(ModelError, match="the role 'optimizer' needs a model, got none; known: task"):
        ctx.generate("optimizer", ["a"])
    with pytest.raises(ModelError, match="'task' needs a model with the capability WhiteBox, got 'recorder'.*bundled"):
        ctx.whitebox("task")
    with pytest.raises(ModelError, match="choose one that generates text"):
        require({"task": Mute()}, "task", Generates)
    assert not isinstance(bench.model, WhiteBox)


class Mute:
    id = "mute"


def test_metrics_see_the_example_and_the_output(bench: Bench) -> None:
    bench.task = replace(bench.task, metric=Contains())
    bench.model.answer = lambda request: f"It is {toy_answer(request)}."
    assert bench.context().score([Candidate("carefully")], bench.task.train)[0].mean == 0.25
    assert ExactMatch()(bench.task.train[0], bench.task.train[0].target).score == 1.0
