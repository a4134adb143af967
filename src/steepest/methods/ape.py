"""APE: large language models are human-level prompt engineers (Zhou et al., ICLR 2023, arXiv 2211.01910).

Given rows D, a proposer, a task model and a score f(prompt, row):

    init
        1. induce      m instructions ~ proposer(. | demonstrations drawn from one part of D)
        2. select      score all on a small subset of the other part, keep the better ones, draw a new subset, ...;
                       the few that are left are scored on all of it, and the k best survive
    each step: one round of iterative Monte Carlo search (off by default in the paper: --steps 0)
        3. resample    variants ~ proposer(. | "the same in other words", a survivor), until there are m again
        4. select      among survivors and variants, as in 2
    return the best survivor

`score = "accuracy"` is the paper's execution accuracy, f = the task's metric on the greedy answer. `score = "logprob"`
is its log-probability, f = exp(mean log p(token)) over the tokens of the expected answer: the geometric mean of their
probabilities, which lies in [0, 1] and rises with the mean log-probability of one row. It needs a model that scores
given text.

**Deviations** from the paper, and from the authors' code (keirp/automatic_prompt_engineer):
- The forward mode asks a chat model for a whole instruction in <prompt> tags, instead of having a sentence continued
  that begins to state it: continuations are often fragments. A reply that cannot be read or used is asked for again.
- The reverse mode has gaps filled by optimizers that can; on chat models it is emulated, and its candidates say so
  (parts/updates.py).
- The initial prompts enter the first pool, so what is found has beaten them under the same selection.
- The paper gives neither subset sizes, thresholds nor k; the code has no filtering and no rounds. Here: subsets of
  10 rows, the better half each time, all rows for the last ones; k is a fifth of m, at least 5, at most half of m.
  Parents stay in the pool. A round is a step, so the run's patience is the convergence test.
- All candidates of a stage answer the same rows; in the code each draws its own, so that its luck counts too.
- Demonstrations and scoring never share a row, as in the code's induction script; its simple entry uses one set.
- Greedy answers when scoring (code: temperature 0.7). Duplicates are dropped in the order in which they came
  (code: through a set, in another order each time). The mean is the only aggregate.
- log p is averaged over the answer's tokens, as in the code; the paper writes their sum. The mean over rows is that
  of probabilities, not of logarithms. Where the task has an extractor, the answer is scored behind it.
- No top_p (code: 0.9), and prompts are limited by `max_words`, not by 50 tokens of output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

from steepest.context import Context
from steepest.costs import Costs, per_row
from steepest.errors import TaskError
from steepest.models import Generates, ScoresText
from steepest.parts.selection import Filter, Select, most
from steepest.parts.text import Gate
from steepest.parts.updates import Induce, Paraphrase
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Message, Prompt, Scored


@dataclass(frozen=True)
class APE:  # size: every field has a default
    """Guesses many instructions from demonstrations, keeps the best, and looks around them in other words."""

    induce: Induce = field(default_factory=Induce)
    """How instructions are proposed; sets * n of them are m, the size of the pool (paper: 50)."""
    select: Select = field(default_factory=Filter)
    """How the best are found; the paper's filtering by default, "ucb" for the code's bandit."""
    paraphrase: Paraphrase = field(default_factory=Paraphrase)
    """How survivors are varied in each step."""
    keep: float = 0.2
    """Share of the pool that survives."""
    least: int = 5
    """Survivors at least, as long as that is no more than half of the pool."""
    score: Literal["accuracy", "logprob"] = "accuracy"
    """What a prompt is chosen by: the task's metric, or the probability of the expected answers."""
    score_on: Literal["train", "dev"] = "train"
    """Rows that prompts are chosen by. "train": those that are not demonstrations; "dev": all of
    dev, and all of train for demonstrations."""
    demo_share: float = 0.5
    """Share of train that demonstrations are drawn from, where the rest is for scoring."""
    demo_rows: int = 100
    """Rows that demonstrations are drawn from, at most."""
    max_words: int = 100
    """Words of a prompt, at most (code: 50 tokens)."""

    needs: ClassVar[Mapping[str, type]] = {"task": Generates, "optimizer": Generates}
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"induce": {"sets": 3, "n": 30}, "select": {"use": "uniform", "budget": 1820}},
        "simple": {"select": {"use": "ucb", "budget": 1600, "samples": 5, "arms": 16, "c": 1.0}},
        "small": {"induce": {"sets": 4, "n": 6}},
    }
    """"code": the authors' script for instruction induction, 90 proposals on 20 rows each (more where fewer are
    distinct). "simple": their `simple_ape`, 50 proposals by a bandit of 20 rounds. Both have no rounds of resampling:
    --steps 0. "small": the paper's loop with 24 proposals, for budgets of some hundred calls."""

    @dataclass(frozen=True, slots=True)
    class State:
        """The survivors, best first, and what must not be repeated."""

        pool: tuple[Scored, ...]
        tried: tuple[str, ...]
        """Every prompt that was ever scored."""
        demonstrations: tuple[str, ...]
        """Ids of the train rows that proposals were made from."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be above 0 and at most 1, got {self.keep}; leave it out for a fifth")
        if not 0 < self.demo_share < 1:
            raise ValueError(f"demo_share must lie between 0 and 1, got {self.demo_share}; leave it out for a half")
        if self.least < 1 or self.demo_rows < 1 or self.max_words < 1:
            raise ValueError(
                f"least, demo_rows and max_words must be at least 1, got {self.least}, {self.demo_rows} and "
                f"{self.max_words}; leave them out for 5, 100 and 100"
            )

    @property
    def size(self) -> int:
        """m: how many prompts are proposed, and how many a round restores."""
        return self.induce.sets * self.induce.n

    @property
    def survivors(self) -> int:
        """k: how many of them go on."""
        return max(1, min(max(self.least, math.ceil(self.keep * self.size)), self.size // 2))

    def init(self, ctx: Context) -> State:
        """Proposals from demonstrations, filtered together with the initial prompts."""
        self._check(ctx)
        demonstrations = self._demonstrations(ctx)
        seeds = [Candidate(text) for text in dict.fromkeys(ctx.task.seeds)]
        # 1. induce
        proposals = self.induce(demonstrations, ctx, self._gate(ctx, [seed.text for seed in seeds]))
        # 2. select
        return self._selected([*seeds, *proposals], (), tuple(row.id for row in demonstrations), ctx)

    def step(self, state: State, ctx: Context) -> State:
        """One round of resampling around the survivors."""
        parents = [scored.candidate for scored in state.pool]
        # 3. resample
        missing = max(0, self.size - len(parents))
        asked = [parents[i % len(parents)] for i in range(math.ceil(missing / self.paraphrase.n))]
        variants = self.paraphrase(asked, ctx, self._gate(ctx, state.tried))[:missing]
        # 4. select
        return self._selected([*parents, *variants], state.tried, state.demonstrations, ctx)

    def best(self, state: State) -> Scored:
        """The first of the survivors."""
        return state.pool[0]

    def costs(self, task: Task) -> Costs:
        """m proposals; m - k variants a round; what the selection asks of a pool of m and the initial prompts."""
        rows = len(task.dev) if self.score_on == "dev" else len(task.train) - self._demo_count(task)
        seeds = len(set(task.seeds))
        each = per_row(task) if self.score == "accuracy" else 1

        def selection(pool: int) -> int:
            return each * most(self.select, pool, rows, self.survivors)

        # Where most replies were unusable, a single parent may be left to restore the pool.
        variants = self.paraphrase.calls(math.ceil((self.size - 1) / self.paraphrase.n))
        return Costs(
            {"optimizer": self.induce.calls(), "task": selection(self.size + seeds)},
            {"optimizer": variants, "task": selection(self.size)},
        )

    def _check(self, ctx: Context) -> None:
        """What can be known before anything is paid."""
        if self.score == "logprob":
            ctx.model("task", ScoresText)
        if self.score_on == "train" and len(ctx.task.train) < 2:
            raise TaskError(
                f"demonstrations and scoring need a row of train each, got {len(ctx.task.train)}; give more rows or "
                "set score_on=dev"
            )
        if unanswered := [row.id for row in (*ctx.task.train, *ctx.task.dev) if not row.target]:
            raise TaskError(
                f"demonstrations are inputs with their answers, got row {unanswered[0]!r} without one; give answers, "
                "or choose a method that needs none, such as gradsum"
            )

    def _demo_count(self, task: Task) -> int:
        if self.score_on == "dev":
            return min(self.demo_rows, len(task.train))
        return min(self.demo_rows, max(1, int(self.demo_share * len(task.train))))

    def _demonstrations(self, ctx: Context) -> list[Example]:
        return ctx.rng("split").sample(list(ctx.task.train), self._demo_count(ctx.task))

    def _gate(self, ctx: Context, known: Sequence[str]) -> Gate:
        return Gate(ctx.task, known, self.max_words)

    def _selected(
        self, candidates: Sequence[Candidate], tried: tuple[str, ...], demonstrations: tuple[str, ...], ctx: Context
    ) -> State:
        if self.score_on == "dev":
            rows = list(ctx.task.dev)
        else:
            rows = [row for row in ctx.task.train if row.id not in demonstrations]
        judge = ctx if self.score == "accuracy" else ctx.scored_by(partial(likelihoods, ctx))
        best = self.select(candidates, rows, self.survivors, judge)
        seen = dict.fromkeys([*tried, *(candidate.text for candidate in candidates)])
        return self.State(tuple(best), tuple(seen), demonstrations)


def likelihoods(ctx: Context, candidates: Sequence[Candidate], examples: Sequence[Example]) -> list[Scored]:
    """How probable the expected answers are, as the geometric mean of their tokens' probabilities."""
    pairs = [expected(ctx.task, candidate.text, example) for candidate in candidates for example in examples]
    found = iter(ctx.logprobs("task", pairs))
    return [
        Scored(candidate, {example.id: math.exp(float(next(found).mean())) for example in examples})
        for candidate in candidates
    ]


def expected(task: Task, prompt: str, example: Example) -> tuple[Prompt, str]:
    """A row under a prompt, and the answer that should follow: in the assistant's turn, behind the extractor if any."""
    asked = task.template.render(prompt, example)
    if task.extractor:
        return (*asked, Message("assistant", task.extractor)), f" {example.target}"
    return asked, example.target
