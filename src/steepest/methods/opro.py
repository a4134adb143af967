"""OPRO: Optimization by PROmpting (Yang et al., ICLR 2024, arXiv 2309.03409).

A scorer model answers the task, an optimizer model sees which prompts scored how and writes the next ones.

    rows <- a fixed subset of train
    score the initial prompts on rows
    repeat T times:
        1. trajectory  the 20 best prompts so far with their scores, ascending, so that the best stands last
        2. exemplars   3 of the rows, drawn anew, with a mark where the prompt goes and the right answer
        3. propose     8 prompts from one meta-prompt, at temperature 1
        4. filter      repeats, over-long ones and unusable replies; what is lost is not replaced
        5. score       the rest on all rows, and add them to the past
    return the prompt of the highest score on rows

**Deviations:**
- Replies must hold the prompt in closed tags; one that does not is asked for again, twice at most, then dropped and
  counted (parts/text.py). The authors' code takes what it finds, the empty text included.
- Further refusals before anything is paid: prompts that copy a training row, lost slots, leftover tags.
- A repeat is told by its words, whatever case and white space; the code capitalises first letters instead.
- With 20 buckets the meta-prompt says that scores go to 20; the code goes on saying 100.
- Exemplars by errors (`exemplars_by`) are only called wrong where they were, and fewer are shown where fewer were.
- No second round of scoring and no rounding of numeric answers: extracting and judging answers is the task's.
- The prompt's position is the template's: before or after the input. The paper's third position, the opening of the
  answer, is not offered: templates put the prompt into the user's turn.
- The paper's table of best prompts goes by test accuracy; here, as in its text, the best is that of the highest
  accuracy on rows (of equal ones the earliest), and the run measures it on dev and test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from steepest.context import Context
from steepest.costs import Costs, per_row
from steepest.models import Generates
from steepest.parts.schedules import Schedule
from steepest.parts.selection import Full, Select, ask_ahead, finalists, finalists_cost, informed
from steepest.parts.text import ATTEMPTS, Gate, MetaPrompt, Reading, Replies, Unusable, cleaned, read_tagged
from steepest.parts.trajectories import (
    ascending,
    first_best,
    joined,
    place,
    shown_exemplars,
    shown_prompts,
    trials,
)
from steepest.parts.updates import attempts, slots_rule
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Response, Scored

Order = Literal["ascending", "descending", "random"]

ORDERS: Mapping[Order, MetaPrompt] = {
    "ascending": MetaPrompt(en="the best last", zh="最好的在最后"),
    "descending": MetaPrompt(en="the best first", zh="最好的在最前"),
    "random": MetaPrompt(en="in no order", zh="顺序随机"),
}


@dataclass(frozen=True)
class Wording:
    """The parts of OPRO's meta-prompt, in the order in which they are sent."""

    task: MetaPrompt = MetaPrompt(
        en="A model answers inputs. Write the prompt that replaces <slot>, {place}, so that the answers are right.",
        zh="模型要回答输入。请写出替换<slot>的提示词（{place}），使模型答对。",
    )
    past: MetaPrompt = MetaPrompt(
        en="Earlier prompts with scores from 0 to {top} (higher is better), {order}:\n\n{prompts}",
        zh="以前的提示词，附有0到{top}的分数（越高越好），{order}：\n\n{prompts}",
    )
    exemplars: MetaPrompt = MetaPrompt(
        en="Examples, with <slot> where the prompt goes and with the right answer:\n\n{exemplars}",
        zh="例子，其中<slot>是提示词的位置，并附正确答案：\n\n{exemplars}",
    )
    missed: MetaPrompt = MetaPrompt(
        en="Earlier prompts got these wrong; <slot> is where the prompt goes, the answers are right:\n\n{exemplars}",
        zh="以前的提示词答错了这些；<slot>是提示词的位置，所附的是正确答案：\n\n{exemplars}",
    )
    """In place of `exemplars` where these are chosen by errors."""
    request: MetaPrompt = MetaPrompt(
        en="Write one new prompt that differs from all above and scores higher than all above. It should be short, "
        "clear and useful for any input.{slots}\nPut the new prompt in <prompt>...</prompt>.",
        zh="请写一条新的提示词，与上面的都不同，得分比上面的都高。它要简短、清楚，对任何输入都有用。{slots}\n"
        "把新的提示词写在<prompt>...</prompt>里。",
    )


@dataclass(frozen=True)
class OPRO:  # size: the arguments are the paper's hyper-parameters and its ablations
    """OPRO: write the next prompts from the best ones so far and their scores."""

    samples: int = 8
    """Prompts proposed per step (paper: 8, of 1 to 16)."""
    trajectory: int = 20
    """Best prompts shown with their scores (paper: 20); 0 for none."""
    order: Order = "ascending"
    """How they are ordered (paper: ascending, so that the best is last)."""
    buckets: int | None = 100
    """Scores are shown as whole numbers from 0 to this (paper: 100; ablated: 20), or none for three decimals."""
    threshold: float = 0.0
    """Prompts that score less are not shown (code: 0.3 for GPT scorers, 0 for others)."""
    exemplars: int = 3
    """Training rows shown (paper: 3; ablated: 0, 10)."""
    exemplars_by: Literal["random", "constant", "current_most_frequent", "accumulative_most_frequent"] = "random"
    """Drawn anew in each step (paper), the same in every step, those that the shown prompts miss most often, or any
    that some prompt ever missed (what the code does by this name)."""
    temperature: float = 1.0
    """Of the optimizer (paper: 1)."""
    cooling: Schedule | None = None
    """The temperature by step, in place of `temperature`."""
    steps_planned: int = 200
    """Steps of the cooling (paper: 200 steps)."""
    rows: int | None = None
    """Training rows that prompts are scored on, drawn once; none for all (paper: 261 of GSM8K, 50 of BBH tasks)."""
    select: Select = field(default_factory=Full)
    """Which prompts of a step are scored on all rows and join the past (paper: all)."""
    keep: int = 2
    """How many that are, where `select` is not full (ours)."""
    max_length: int = 500
    """Characters beyond which a prompt is refused (code: 500)."""
    forbid_digits: bool = False
    """Whether prompts with digits are refused (code: for GSM8K, against leaked answers)."""
    max_tokens: int = 512
    """Of one reply of the optimizer (code: 512)."""
    wording: Wording = field(default_factory=Wording)
    """What the optimizer is told."""

    version: ClassVar[int] = 1
    needs: ClassVar[Mapping[str, type]] = {"task": Generates, "optimizer": Generates}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {"rows": 32}}
    """"small": scores on 32 rows, some 260 calls a step."""

    @dataclass(frozen=True, slots=True)
    class State:
        """The best prompts so far and what was tried."""

        rows: tuple[str, ...]
        """Ids of the rows that prompts are scored on, in the order drawn."""
        past: tuple[Scored, ...]
        """The prompts of the trajectory: the best so many, ascending."""
        best: Scored
        known: tuple[str, ...]
        """Every prompt that was scored."""
        missed: tuple[str, ...]
        """Ids of the rows that some prompt missed."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        least = {
            "samples": self.samples,
            "keep": self.keep,
            "max_length": self.max_length,
            "steps_planned": self.steps_planned,
        }
        for name, value in least.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the paper's value")
        if self.trajectory < 0 or self.exemplars < 0:
            raise ValueError(
                f"trajectory and exemplars must be at least 0, got {self.trajectory} and {self.exemplars}; "
                "use 0 for none"
            )
        if (self.buckets is not None and self.buckets < 1) or (self.rows is not None and self.rows < 1):
            raise ValueError(
                f"buckets and rows must be at least 1, got {self.buckets} and {self.rows}; "
                "use none for exact scores and all rows"
            )
        if self.cooling and not 0 <= (first := self.cooling(1, self.steps_planned)) <= 2:
            raise ValueError(
                f"a cooling goes from 0 to 2, got {first} at the first step; set cooling.initial and cooling.final, "
                "for example 1 and 0.5"
            )

    def init(self, ctx: Context) -> State:
        """Draw the rows and score the initial prompts on them."""
        train = ctx.task.train
        rows = ctx.rng("rows").sample(list(train), self._size(ctx.task))
        scored = ctx.score([Candidate(seed) for seed in dict.fromkeys(ctx.task.seeds)], rows)
        empty = self.State(tuple(row.id for row in rows), (), scored[0], (), ())
        return self._with(empty, scored)

    def step(self, state: State, ctx: Context) -> State:
        """One round of the paper's loop."""
        rows = self._rows(state, ctx)
        message = self.message(state, rows, ctx)
        children, select = dict[int, Candidate](), informed(self.select, state.past)
        for proposal in self._propose(message, state, ctx):
            children[proposal.slot] = Candidate(proposal.value, origin="write")
            ask_ahead(select, [children[proposal.slot]], rows, self.samples, ctx)
        scored = finalists(select, [children[slot] for slot in sorted(children)], rows, self.keep, ctx)
        after = self._with(state, scored)
        for trial in trials(state.best, scored, after.best):
            ctx.note(trial)
        return after

    def best(self, state: State) -> Scored:
        """The prompt of the highest mean score on the rows."""
        return state.best

    def costs(self, task: Task) -> Costs:
        """I initial prompts on all rows; 8 proposals a step, each asked for up to three times, and scored on all."""
        each = self._size(task) * per_row(task)
        # A cooling may reach 0 at its end, but is above it at some step.
        asked = self.samples * (attempts(self.temperature) if self.cooling is None else ATTEMPTS)
        compared = finalists_cost(self.select, self.samples, self._size(task), self.keep) * per_row(task)
        return Costs({"task": len(set(task.seeds)) * each}, {"optimizer": asked, "task": compared})

    def message(self, state: State, rows: Sequence[Example], ctx: Context) -> str:
        """1., 2. The meta-prompt of a step."""
        say, task = self.wording, ctx.task
        shown = self._ordered(self._shown(state), ctx)
        prompts = shown_prompts(shown, task, self.buckets)
        order = ORDERS[self.order].fill(task.language)
        parts = [
            say.task.fill(task.language, place=place(task)),
            shown and say.past.fill(task.language, top=str(self.buckets or 1), order=order, prompts=prompts),
            self._exemplars(state, rows, ctx),
            say.request.fill(task.language, slots=slots_rule(task)),
        ]
        return joined(part for part in parts if part)

    def _shown(self, state: State) -> list[Scored]:
        """1. The best so far, ascending, those above the threshold."""
        return [scored for scored in state.past if scored.mean >= self.threshold]

    def _ordered(self, shown: list[Scored], ctx: Context) -> list[Scored]:
        if self.order == "random":
            return ctx.rng("order").sample(shown, len(shown))
        return shown[::-1] if self.order == "descending" else shown

    def _exemplars(self, state: State, rows: Sequence[Example], ctx: Context) -> str:
        """2. Rows as the wording shows them; nothing where none are wanted."""
        missed = self._missed(state, rows, ctx)
        chosen = missed or self._drawn(rows, ctx)
        if not chosen:
            return ""
        say = self.wording.missed if missed else self.wording.exemplars
        return say.fill(ctx.task.language, exemplars=shown_exemplars(chosen, ctx.task))

    def _drawn(self, rows: Sequence[Example], ctx: Context) -> list[Example]:
        k = min(self.exemplars, len(rows))
        return list(rows[:k]) if self.exemplars_by == "constant" else ctx.rng("exemplars").sample(list(rows), k)

    def _missed(self, state: State, rows: Sequence[Example], ctx: Context) -> list[Example]:
        """Rows chosen by errors; none where they are not, or where there was no error."""
        if self.exemplars_by == "current_most_frequent":
            often = Counter(missed for scored in self._shown(state) for missed in _missed_by(scored))
            return sorted((row for row in rows if row.id in often), key=lambda row: -often[row.id])[: self.exemplars]
        if self.exemplars_by == "accumulative_most_frequent":
            ever = [row for row in rows if row.id in state.missed]
            return ctx.rng("exemplars").sample(ever, min(self.exemplars, len(ever)))
        return []

    def _propose(self, message: str, state: State, ctx: Context) -> Iterator[Reading[str]]:
        """3., 4. New prompts as they come, without those that are refused."""
        gate = Gate(ctx.task, state.known)

        def read(response: Response) -> str:
            text = cleaned(read_tagged(response, "prompt")[0])
            if len(text) > self.max_length:
                raise Unusable("too long")
            if self.forbid_digits and any(letter.isdigit() for letter in text):
                raise Unusable("digits")
            return gate.admit(text)

        temperature = self.cooling(ctx.step, self.steps_planned) if self.cooling else self.temperature
        replies = Replies(ctx, "optimizer", read, temperature=temperature, n=self.samples, max_tokens=self.max_tokens)
        replies.add([message])
        return replies.readings()

    def _with(self, state: State, scored: Sequence[Scored]) -> State:
        """5. The state with further prompts in it."""
        return self.State(
            state.rows,
            tuple(ascending([*state.past, *scored], self.trajectory)),
            first_best([state.best, *scored]),
            (*state.known, *(each.candidate.text for each in scored)),
            tuple(dict.fromkeys([*state.missed, *(missed for each in scored for missed in _missed_by(each))])),
        )

    def _rows(self, state: State, ctx: Context) -> list[Example]:
        by_id = {row.id: row for row in ctx.task.train}
        return [by_id[id] for id in state.rows]

    def _size(self, task: Task) -> int:
        return len(task.train) if self.rows is None else min(self.rows, len(task.train))


def _missed_by(scored: Scored) -> Iterable[str]:
    return (id for id, score in scored.scores.items() if score < 1.0)
