"""GPO: prompt optimization by analogy with gradient descent (Tang et al., AAAI 2025, arXiv 2402.17564).

p is the current prompt, s(p) its score on the eval split (dev), H the prompts chosen so far with their scores.

    H <- [initial prompt]
    repeat T times:
        1. reflect      (if asked for) why p fails on the wrong rows of the next batch of train
        2. momentum     the k of H most similar to p, the most similar last; or the latest; the best; a summary; none
        3. learning rate  how many words may change: 50 at first, 10 at last, along a cosine, without warm-up
        4. update       write 8 prompts from one meta-prompt, at temperature 1: anew ("generate") or by editing p
        5. accept       the best of the 8 on dev becomes p, even if it is worse than p was, and joins H
    return the best of H by its score on dev

Directions (what is known of p), momentum, learning rate and update are the paper's design space, and each is a field;
the defaults are its choice: prompt and performance, relevance, cosine decay, generation, no reflection.

    APE    direction "prompt", no memory, no control, generate
    APO    direction "prompt+reflection", no memory, no control, edit
    OPRO   direction "prompt+performance", memory recent, no control, generate
    PE2    direction "prompt+performance+reflection", memory recent, constant control, generate
    SGDM   direction "prompt+performance", summary, no control, edit

**Deviations:**
- The best prompt of the run is returned, the initial one included. The paper does not say, its code returns nothing;
  the current prompt may get worse.
- Scores are whole numbers from 0 to 100, as the meta-prompt says; the code shows fractions.
- Prompts that were chosen before are refused when they are proposed (the initial one too), and asked for anew; the
  code sorts them out afterwards, and falls back to one of them where nothing else is left. Here p stays.
- Replies must hold the prompt in closed tags, copy no row and carry no tag (parts/text.py).
- The word budget is a request in the paper and its code. Changes are measured here (word-level edit distance) and
  counted in the step's record; `enforce_budget` refuses what exceeds it. The budget stays at its end value when a run
  is longer than `steps_planned`.
- Summary and reflection go by one rule where paper and code differ or are silent: a summary is renewed in each step
  from the last one and the current prompt with what is known of it, and stands in the place of the trajectory (the
  code's attaches the score of one prompt to another); with reflection, each prompt of the past is shown with its
  problems.
- Train batches follow each other in the order of the rows; they are run only where there is reflection.
- Similarity is by spelling unless `memory.embedder` says otherwise (paper: BGE, code: Llama-2-7b).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from steepest.context import Context
from steepest.costs import Costs, per_row
from steepest.models import Generates
from steepest.parts.directions import shown_errors
from steepest.parts.memory import Recall, Relevant
from steepest.parts.schedules import Cosine, Schedule
from steepest.parts.schedules import words as whole_words
from steepest.parts.selection import Full, Select, ask_ahead, finalists, finalists_cost, informed
from steepest.parts.text import (
    Gate,
    MetaPrompt,
    Reading,
    Replies,
    Unusable,
    ask,
    changed_words,
    percent,
    read_prompt,
    read_tagged,
)
from steepest.parts.trajectories import (
    SCORE,
    first_best,
    joined,
    place,
    shown_exemplars,
    shown_prompt,
    trials,
)
from steepest.parts.updates import attempts, slots_rule
from steepest.tasks.task import Task
from steepest.types import Candidate, Response, Scored

Direction = Literal["prompt", "prompt+reflection", "prompt+performance", "prompt+performance+reflection"]


@dataclass(frozen=True)
class Wording:  # size: each part of the messages can be changed alone
    """The parts of GPO's meta-prompt, in the order in which they are sent, and what is asked before it."""

    task: MetaPrompt = MetaPrompt(
        en="A model answers inputs. Improve the prompt that replaces <slot>, {place}, so that more answers are right.",
        zh="模型要回答输入。请改进替换<slot>的提示词（{place}），使模型答对更多。",
    )
    past: MetaPrompt = MetaPrompt(en="Earlier prompts:\n\n{prompts}", zh="以前的提示词：\n\n{prompts}")
    scored_past: MetaPrompt = MetaPrompt(
        en="Earlier prompts with scores from 0 to 100 (higher is better):\n\n{prompts}",
        zh="以前的提示词，附有0到100的分数（越高越好）：\n\n{prompts}",
    )
    """In place of `past` where the direction has performance."""
    summary: MetaPrompt = MetaPrompt(en="Summary of earlier prompts: {summary}", zh="对以前提示词的总结：{summary}")
    current: MetaPrompt = MetaPrompt(en="Current prompt: {prompt}", zh="当前提示词：{prompt}")
    problems: MetaPrompt = MetaPrompt(en="Problems: {problems}", zh="问题：{problems}")
    exemplars: MetaPrompt = MetaPrompt(
        en="The prompt replaces <slot>, the model reads the input and answers. Only these answers are right:"
        "\n\n{exemplars}",
        zh="提示词替换<slot>，模型读输入并回答。只有这些答案是对的：\n\n{exemplars}",
    )
    generate: MetaPrompt = MetaPrompt(
        en="Learn from what is above and write a new, better prompt for <slot>.{slots}",
        zh="请借鉴上面的内容，为<slot>写一条新的、更好的提示词。{slots}",
    )
    edit: MetaPrompt = MetaPrompt(
        en="Learn from what is above and edit the current prompt into a better one for <slot>.{slots}",
        zh="请借鉴上面的内容，把当前提示词修改得更适合<slot>。{slots}",
    )
    budget: MetaPrompt = MetaPrompt(
        en="Change at most {words} words of the current prompt.", zh="当前提示词最多改动{words}个字。"
    )
    end: MetaPrompt = MetaPrompt(
        en="Put the new prompt in <prompt>...</prompt>.", zh="把新的提示词写在<prompt>...</prompt>里。"
    )
    reflect: MetaPrompt = MetaPrompt(
        en="With this prompt, a model got some answers wrong.\n{prompt}\n\n{errors}\n\n"
        "Why did the prompt fail? Put the reason, one or two sentences long, in <reason>...</reason>.",
        zh="模型照着这条提示词作答，有些答错了。\n{prompt}\n\n{errors}\n\n"
        "这条提示词为什么不行？把原因用一两句话写在<reason>...</reason>里。",
    )
    summarize: MetaPrompt = MetaPrompt(
        en="Summary of earlier prompts: {summary}\n\nThe latest prompt:\n{latest}\n\n"
        "Sum up in at most three sentences what helps and what does not, the latest prompt included. "
        "Put the summary in <summary>...</summary>.",
        zh="对以前提示词的总结：{summary}\n\n最近的提示词：\n{latest}\n\n"
        "用至多三句话总结什么有用、什么没有用，把最近的提示词也算上。把总结写在<summary>...</summary>里。",
    )
    nothing: MetaPrompt = MetaPrompt(en="none yet", zh="还没有")
    """The summary before the first."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A prompt that was chosen, and what was found wrong with it."""

    scored: Scored
    problems: str = ""


@dataclass(frozen=True)
class GPO:  # size: the arguments are the axes of the paper's design space
    """GPO: write the next prompt from similar ones of the past, within a word budget that shrinks."""

    direction: Direction = "prompt+performance"
    """What is known of a prompt: itself, its score, why it fails (paper: without reflection)."""
    memory: Recall | None = field(default_factory=Relevant)
    """Which of the past is shown (paper: relevant; also recent, important), or none."""
    summarize: bool = False
    """Whether a running summary of the past is shown (the paper's other kind of momentum; then memory=none)."""
    k: int = 3
    """Prompts that memory shows, the current one included (code: 3)."""
    update: Literal["generate", "edit"] = "generate"
    """Write a new prompt (paper), or edit the current one."""
    control: Schedule | None = field(default_factory=Cosine)
    """Words that may change, by step (paper: cosine decay to a fifth, from 50 to 10 in the code), or none."""
    steps_planned: int = 18
    """T of the control (the code's run on BBH: 18 steps, MMLU 9, GSM8K and WebNLG 39)."""
    enforce_budget: bool = False
    """Whether prompts that change more words are refused (paper: no)."""
    candidates: int = 8
    """Prompts written per step (code: 8)."""
    select: Select = field(default_factory=Full)
    """How the best of them is found (paper: all rows for all)."""
    exemplars: int = 3
    """Training rows shown, drawn once (code: 3)."""
    batch: int = 8
    """Training rows per step that reflection looks at (code: 8)."""
    temperature: float = 1.0
    """Of the optimizer when it writes prompts (code: 1); it reflects and summarizes at 0."""
    max_tokens: int = 512
    """Of one reply of the optimizer (code: 512)."""
    wording: Wording = field(default_factory=Wording)
    """What the optimizer is told."""

    version: ClassVar[int] = 1
    needs: ClassVar[Mapping[str, type]] = {"task": Generates, "optimizer": Generates}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {"candidates": 6, "steps_planned": 6}}
    """"small": six candidates a step, the word budget spent in six steps."""

    @dataclass(frozen=True, slots=True)
    class State:
        """The prompts that were chosen, one per step, the current one last."""

        history: tuple[Attempt, ...]
        exemplars: tuple[str, ...]
        """Ids of the rows that are shown."""
        summary: str = ""

        @property
        def current(self) -> Attempt:
            """The prompt that the next step starts from."""
            return self.history[-1]

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        least = {"k": self.k, "steps_planned": self.steps_planned, "candidates": self.candidates, "batch": self.batch}
        for name, value in least.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the authors' value")
        if self.exemplars < 0:
            raise ValueError(f"exemplars must be at least 0, got {self.exemplars}; use 0 for none")
        if self.summarize and self.memory:
            raise ValueError("a summary stands in the place of the trajectory, got both; set memory=none")
        if self.enforce_budget and not self.control:
            raise ValueError("a word budget can only be enforced where there is one, got control=none; set control")

    def init(self, ctx: Context) -> State:
        """Score the initial prompts, start from the best one; draw the rows to show."""
        train = list(ctx.task.train)
        scored = ctx.score([Candidate(seed) for seed in dict.fromkeys(ctx.task.seeds)], ctx.task.dev)
        rows = ctx.rng("exemplars").sample(train, min(self.exemplars, len(train)))
        return self.State((Attempt(first_best(scored)),), tuple(row.id for row in rows))

    def step(self, state: State, ctx: Context) -> State:
        """One round of the paper's loop."""
        state = self._reflected(state, ctx)
        state = self._summarized(state, ctx)
        parent, children = state.current.scored, dict[int, Candidate]()
        select = informed(self.select, [attempt.scored for attempt in state.history])
        for written in self._write(self.message(state, ctx), state, ctx):
            children[written.slot] = Candidate(written.value, (parent.candidate.id,), "write")
            ask_ahead(select, [children[written.slot]], ctx.task.dev, self.candidates, ctx)
        scored = finalists(select, [children[slot] for slot in sorted(children)], ctx.task.dev, 1, ctx)
        if not scored:
            return state
        winner = first_best(scored)
        self._measure(parent, scored, winner, ctx)
        return self.State((*state.history, Attempt(winner)), state.exemplars, state.summary)

    def best(self, state: State) -> Scored:
        """The prompt of the highest mean score on dev among those chosen; of equal ones the earliest."""
        return first_best(attempt.scored for attempt in state.history)

    def costs(self, task: Task) -> Costs:
        """A step writes m prompts, each asked for up to three times, and scores each on dev; reflection answers one
        batch of train, and it and the summary take one call each."""
        each = len(task.dev) * per_row(task)
        batch = min(self.batch, len(task.train)) * per_row(task) if self._reflects else 0
        compared = finalists_cost(self.select, self.candidates, len(task.dev), 1) * per_row(task)
        writing = self.candidates * attempts(self.temperature) + self._reflects + self.summarize
        return Costs({"task": len(set(task.seeds)) * each}, {"optimizer": writing, "task": compared + batch})

    def message(self, state: State, ctx: Context) -> str:
        """2., 3. The meta-prompt of a step."""
        say, task, language = self.wording, ctx.task, ctx.task.language
        budget, asked = self._budget(ctx), say.generate if self.update == "generate" else say.edit
        recalled = self._recalled(state, ctx)
        return joined(
            [
                say.task.fill(language, place=place(task)),
                self._momentum(state, recalled, task),
                self._current(state, recalled, task),
                self._exemplars(state, task),
                "\n".join(
                    [
                        asked.fill(language, slots=slots_rule(task)),
                        *([] if budget is None else [say.budget.fill(language, words=str(budget))]),
                        say.end.fill(language),
                    ]
                ),
            ]
        )

    @property
    def _performs(self) -> bool:
        return "performance" in self.direction

    @property
    def _reflects(self) -> bool:
        return "reflection" in self.direction

    def _reflected(self, state: State, ctx: Context) -> State:
        """1. The state with the current prompt's problems; without any where the batch has no error."""
        if not self._reflects:
            return state
        train, size, current = ctx.task.train, min(self.batch, len(ctx.task.train)), state.current
        start = (ctx.step - 1) * size
        rows = [train[i % len(train)] for i in range(start, start + size)]
        errors = ctx.evaluate([current.scored.candidate], rows)[0].errors
        if not errors:
            return state
        message = self.wording.reflect.fill(
            ctx.task.language,
            prompt=shown_prompt(current.scored.candidate, ctx.task),
            errors=shown_errors(ctx.task, errors),
        )
        problems = self._said(message, "reason", ctx)
        return self.State(
            (*state.history[:-1], Attempt(current.scored, problems or current.problems)), state.exemplars, state.summary
        )

    def _summarized(self, state: State, ctx: Context) -> State:
        """2. The state with its summary renewed, where there is one; an unusable reply leaves the last one."""
        if not self.summarize:
            return state
        language = ctx.task.language
        message = self.wording.summarize.fill(
            language,
            summary=state.summary or self.wording.nothing.fill(language),
            latest=self._shown(state.current, ctx.task),
        )
        summary = self._said(message, "summary", ctx)
        return self.State(state.history, state.exemplars, summary or state.summary)

    def _said(self, message: str, tag: str, ctx: Context) -> str:
        """What the optimizer says in a tag, greedily; nothing where its reply cannot be used."""
        said = ask(
            ctx,
            "optimizer",
            [message],
            lambda response: read_tagged(response, tag)[0],
            temperature=0.0,
            max_tokens=self.max_tokens,
        )
        return said[0][0] if said[0] else ""

    def _recalled(self, state: State, ctx: Context) -> list[Attempt]:
        """2. What memory picks from the past."""
        if not self.memory:
            return []
        attempts = {attempt.scored.candidate.id: attempt for attempt in state.history}
        history = [attempt.scored for attempt in state.history]
        recalled = self.memory(history, state.current.scored.candidate, self.k, ctx)
        return [attempts[scored.candidate.id] for scored in recalled]

    def _momentum(self, state: State, recalled: Sequence[Attempt], task: Task) -> str:
        """2. The past as it is shown."""
        if self.summarize:
            return self.wording.summary.fill(task.language, summary=state.summary) if state.summary else ""
        if not recalled:
            return ""
        say = self.wording.scored_past if self._performs else self.wording.past
        return say.fill(task.language, prompts="\n\n".join(self._shown(attempt, task) for attempt in recalled))

    def _shown(self, attempt: Attempt, task: Task) -> str:
        """A prompt with what the direction knows of it, as labelled lines."""
        lines = [shown_prompt(attempt.scored.candidate, task)]
        if self._performs and attempt.scored.scores:
            lines.append(SCORE.fill(task.language, score=percent(attempt.scored.mean)))
        if attempt.problems:
            lines.append(self.wording.problems.fill(task.language, problems=attempt.problems))
        return "\n".join(lines)

    def _current(self, state: State, recalled: Sequence[Attempt], task: Task) -> str:
        """The current prompt: with its score where no list before it has one, with its problems wherever known."""
        current = state.current
        lines = [self.wording.current.fill(task.language, prompt=current.scored.candidate.text)]
        if self._performs and current not in recalled and current.scored.scores:
            lines.append(SCORE.fill(task.language, score=percent(current.scored.mean)))
        if current.problems:
            lines.append(self.wording.problems.fill(task.language, problems=current.problems))
        return "\n".join(lines)

    def _exemplars(self, state: State, task: Task) -> str:
        rows = {row.id: row for row in task.train}
        shown = shown_exemplars([rows[id] for id in state.exemplars], task)
        return self.wording.exemplars.fill(task.language, exemplars=shown) if shown else ""

    def _budget(self, ctx: Context) -> int | None:
        """3. How many words may change in this step."""
        return whole_words(self.control, ctx.step, self.steps_planned) if self.control else None

    def _write(self, message: str, state: State, ctx: Context) -> Iterator[Reading[str]]:
        """4. New prompts as they come, without those that are refused."""
        texts = [attempt.scored.candidate.text for attempt in state.history]
        gate, budget = Gate(ctx.task, texts), self._budget(ctx)

        def read(response: Response) -> str:
            if self.enforce_budget and budget is not None:
                proposed = read_tagged(response, "prompt")[0]
                if changed_words(texts[-1], proposed) > budget:
                    raise Unusable("over the word budget")
            return read_prompt(response, gate)

        temperature, n = self.temperature, self.candidates
        replies = Replies(ctx, "optimizer", read, temperature=temperature, n=n, max_tokens=self.max_tokens)
        replies.add([message])
        return replies.readings()

    def _measure(self, parent: Scored, scored: Sequence[Scored], winner: Scored, ctx: Context) -> None:
        """Keep what was tried in the step's record, and how many words it changed."""
        for trial in trials(parent, scored, winner):
            ctx.note(trial)
        old, budget = parent.candidate.text, self._budget(ctx)
        ctx.tally("words changed by the accepted prompt", changed_words(old, winner.candidate.text))
        if budget is not None:
            over = sum(changed_words(old, each.candidate.text) > budget for each in scored)
            ctx.tally("over the word budget", over)
