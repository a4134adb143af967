"""GReaTer: gradients over reasoning (Das et al., ICLR 2025, arXiv 2412.09722).

A frozen language model f is task model and optimizer at once. Prompt p = p_1 ... p_n, training rows (x_j, y_j),
extractor e:

    p <- initial prompt;  i <- 1
    repeat T times:
        1. propose   C_i  = tokens among the k likeliest of f(. | x_j, p_<i) for each of q sampled rows j
        2. reason    r_j  ~ f(x_j, p)                                         for every row
        3. loss      L    = sum_j  CE(f(x_j, p, r_j, e), y_j)  +  lambda * perplexity(p | x_j)
        4. gradient  g_c  = dL / d onehot_i(c)                                for c in C_i
        5. shortlist S    = the mu tokens of most negative g_c
        6. re-score  each p[i := c], c in S, with fresh reasoning; the best takes the place
        7. i <- i + 1; at the end of the prompt grow by one token, or start again behind a full stop
    return the best prompt seen

Beyond the paper, and the default because it needs fewer tokens (docs/papers/greater.md): `gradient = "sampled"`.
Above, r_j is held fixed, so the gradient cannot see that a word would change *how* the model reasons. Instead K
reasonings per row are drawn and rewarded by whether their answer is right, and in place of lines 2 to 6

        2'. sample     r_jk ~ f(x_j, p), k = 1..K, reward R_jk;  advantage A_jk = R_jk - mean of the others of row j
        4'. gradient   g_c  = d/d onehot_i(c)  of  - sum_jk A_jk log f(r_jk | x_j, p), for every position i at once
        5'. shortlist  the mu edits of most negative g_c, positions taking turns, each token once
        6'. re-score   each by  sum_jk A_jk f(r_jk | x_j, p[i:=c]) / f(r_jk | x_j, p): the expected reward of the
                       edited prompt from the same samples; the next step draws afresh

This is the score-function gradient of the expected reward through the reasoning itself (parts/signals.py).
`preset = paper` is the loop above as the paper has it.

Deviations from the paper, and from the authors' code (psunlpgroup/GreaTer):
- The incumbent always competes, on the same rows, and is replaced only by a paired gain of more than `margin`
  standard errors. The published code moves at every step, better or worse, and returns the last prompt.
- The answer's loss is its negative log-likelihood, summed over the answer's tokens, not their mean (the same for
  one-token answers); its logits are not divided by 0.2. The prompt term is the mean negative log-likelihood, as in
  the code; the paper's perplexity, its exponential, is `fluency_form = "perplexity"` and outweighs the answer.
- Greedy reasoning in the answer loss, as in the code (the paper samples it), so that a prompt has one score.
- Every row takes part in gradient and selection; q counts for proposals only, as in the code.
- A candidate whose ids do not survive decoding and encoding is dropped: ids are the truth.
- An edit that lost against the incumbent is not tried again on it; less likely tokens move up in its place.
- `grow = "always"` puts new tokens before a closing full stop; "open" is the paper's rule (no full stop at the end).
- `preset = reference` restores the code's behaviour, bugs aside: union of six intersections, always moving, a full
  stop in the second half taken at once, selection by error rate + 0.02 * mean NLL, logits divided by 0.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from steepest.context import Context
from steepest.costs import Costs
from steepest.errors import SpecError
from steepest.methods.greater_costs import most_calls
from steepest.models import WhiteBox
from steepest.parts.signals import Samples, answer_row, answer_signal, expected, importance, reason, sample
from steepest.parts.tokens import Agreement, agreed, ends_sentence, readable, retokenizes, steepest, text_of
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Objective, Scored, Trial

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where a token may change: `base` is the prompt with some token standing at `position`."""

    base: Ids
    position: int
    origin: Literal["swap", "grow"]

    def put(self, token: int) -> Ids:
        """The prompt with `token` in this place."""
        return (*self.base[: self.position], token, *self.base[self.position + 1 :])


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the prompt: one token in one slot, or several such together, and what the gradient promised."""

    ids: Ids
    """The edited prompt."""
    changes: tuple[tuple[int, int], ...]
    """(position, token)"""
    origin: Literal["swap", "grow", "joint"]
    rank: int = 0
    predicted: float = math.nan


PAPER: dict[str, Any] = {
    "k": 10,
    "mu": 3,
    "rows": 50,
    "gradient": "answer",
    "agreement": "intersection",
    "positions": "cycle",
    "joint": False,
    "grow": "open",
    "select": "loss",
    "margin": 0.0,
    "gain": 0.0,
}
REFERENCE: dict[str, Any] = {
    "agreement": "union",
    "select": "error",
    "accept": "always",
    "full_stop": "force",
    "answer_temperature": 0.2,
    "max_length": 128,
}


@dataclass(frozen=True)
class Greater:  # size: the arguments are the paper's hyper-parameters and its ablations
    """GReaTer: swap one token of the prompt at a time, guided by gradients through the model's own reasoning."""

    k: int = 50
    """Likeliest tokens per row (paper: 10)."""
    q: int = 5
    """Rows that must agree on a proposal (paper: 5)."""
    mu: int = 6
    """Shortlisted edits that are re-scored (paper: 3)."""
    rows: int = 32
    """Training rows for gradient and selection, the first so many (paper: 50)."""
    fluency: float = 0.2
    """lambda, weight of the prompt's own unlikeliness in the loss (paper: 0.2)."""
    fluency_form: Literal["nll", "perplexity"] = "nll"
    """The prompt term: mean negative log-likelihood (code) or its exponential (paper)."""
    gradient: Literal["answer", "sampled"] = "sampled"
    """The score-function gradient through sampled reasoning, or the paper's gradient of the answer loss."""
    samples: int = 8
    """K, sampled reasonings per row, for the sampled gradient."""
    temperature: float = 1.0
    """Of the sampled reasonings."""
    shortlist: Literal["gradient", "random", "all"] = "gradient"
    """Who picks the mu edits: the gradient, chance (the control), or nobody (every proposal is re-scored)."""
    reasoning: bool = True
    """False is the paper's ablation: the answer's loss right after the prompt, no reasoning in the search."""
    select: Literal["error", "loss", "both", "metric", "expected", "importance"] = "importance"
    """A candidate's score per row: 1 if right minus lambda/10 * prompt term (the code's rule); minus the loss (the
    paper's rule); the mean of 1 if right and the answer's probability; the task's own metric; the metric's mean over
    `samples` sampled answers, which moves before the greedy answer does; or the same from the incumbent's samples
    by importance weights, without new ones."""
    agreement: Agreement = "mean"
    """How rows agree on proposals: one intersection (paper), a union of six (code), or mean probability."""
    positions: Literal["cycle", "all"] = "all"
    """One position a step, in turn (paper), or the steepest edits of all positions from one backward pass."""
    joint: bool = True
    """Whether the best gains of several positions are also tried together."""
    grow: Literal["open", "always", "never"] = "always"
    """Whether a cycle ends with a new token: unless a full stop closes the prompt (paper), always, or never."""
    max_length: int = 32
    """Tokens beyond which the prompt no longer grows."""
    accept: Literal["paired", "always"] = "paired"
    """The winner replaces the incumbent if its paired gain exceeds the margin, or always (code)."""
    margin: float = 1.0
    """Standard errors of the paired difference that a gain must exceed."""
    gain: float = 0.01
    """And the least mean gain worth a change, on the scale of `select`."""
    full_stop: Literal["free", "force"] = "free"
    """"force": a full stop shortlisted in the second half is taken whatever its score (code)."""
    answer_temperature: float = 1.0
    """The answer's logits are divided by it in the gradient's loss (code: 0.2)."""

    version: ClassVar[int] = 1
    needs: ClassVar[Mapping[str, type]] = {"task": WhiteBox}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": PAPER, "reference": PAPER | REFERENCE}

    @dataclass(frozen=True, slots=True)
    class State:
        """The prompt as ids and where to work next, with the incumbent's and the best score on the training rows."""

        ids: Ids
        position: int
        tried: tuple[tuple[int, int, bool], ...]
        """Edits that lost against this incumbent: position, token, whether it was to grow the prompt."""
        current: Scored
        best: Scored

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        least = {"k": self.k, "q": self.q, "mu": self.mu, "rows": self.rows, "max_length": self.max_length}
        for name, value in least.items():
            if value < 1:
                raise SpecError(f"{name} must be at least 1, got {value}; leave it out for the paper's value")
        if self.samples < 2:
            raise SpecError(f"samples must be at least 2, to tell right from wrong, got {self.samples}; try 8")

    def init(self, ctx: Context) -> State:
        """Tokenise the initial prompt and score it."""
        seed = Candidate(ctx.task.seeds[0])
        ids = tuple(ctx.whitebox("task").encode(seed.text, self._before(ctx)))
        current = self._rescore([seed], [ids], None, ctx)[0]
        return self.State(ids, 0, (), current, current)

    def step(self, state: State, ctx: Context) -> State:
        """One round of the paper's loop."""
        drawn = self._drawn(state, ctx)
        if drawn and self.select in ("expected", "importance"):
            state = replace(state, current=drawn.scored)
        slots = self._slots(state, ctx)
        proposals = [self._propose(slot, state, ctx) for slot in slots]
        edits = self._shortlist(slots, proposals, drawn, ctx)
        rivals = self._rivals(state, edits, drawn, ctx)
        together = self._joint(state, edits, rivals, ctx)
        edits, rivals = [*edits, *together], [*rivals, *self._rivals(state, together, drawn, ctx)]
        winner = self._winner(state, edits, rivals, ctx)
        for j, (edit, rival) in enumerate(zip(edits, rivals, strict=True)):
            ctx.note(self._trial(state, edit, rival, j == winner, ctx))
        return self._advance(state, slots, edits, rivals, winner)

    def best(self, state: State) -> Scored:
        """The best prompt seen, with its scores on the training rows."""
        return state.best

    def costs(self, task: Task) -> Costs:
        """A bound; a step usually makes far fewer."""
        return most_calls(self, task)

    def _slots(self, state: State, ctx: Context) -> list[Slot]:
        """7. Where this step may change a token: at i, anywhere, or in a new place where a cycle has ended."""
        ids, i = state.ids, state.position
        closed = ends_sentence(ctx.whitebox("task").vocabulary[ids[-1]])
        may_grow = len(ids) < self.max_length and (self.grow == "always" or (self.grow == "open" and not closed))
        if i >= len(ids) and may_grow:
            at = len(ids) - closed
            if filler := self._likely(ids, at, set(ids[at - 1 : at]), ctx)[:1]:
                return [Slot((*ids[:at], *filler, *ids[at:]), at, "grow")]
        places = range(len(ids)) if self.positions == "all" else (i % len(ids),)
        return [Slot(ids, place, "swap") for place in places]

    def _propose(self, slot: Slot, state: State, ctx: Context) -> list[int]:
        """1. C_i: what the model itself finds likely there, not yet tried, and still itself when read back."""
        base, i, growing = slot.base, slot.position, slot.origin == "grow"
        banned = {token for place, token, grown in state.tried if (place, grown) == (i, growing)}
        banned.update(base[max(i - 1, 0) : i + 1 - growing])
        model, before = ctx.whitebox("task"), self._before(ctx)
        return [t for t in self._likely(base, i, banned, ctx) if retokenizes(model, slot.put(t), before)]

    def _likely(self, ids: Ids, position: int, banned: set[int], ctx: Context) -> list[int]:
        """Readable tokens after ids[:position] that sampled rows agree on."""
        model, rng = ctx.whitebox("task"), ctx.rng(f"agree {position}")
        allowed = readable(model.vocabulary)
        allowed[list(banned)] = False
        draws = 6 if self.agreement == "union" else 1
        train = list(self._train(ctx))
        rows = [ctx.task.template.row(e) for e in rng.sample(train, min(draws * self.q, len(train)))]
        deepest = self.k if self.agreement == "mean" else 5 * self.k
        proposals = model.propose(rows, ids, position, min(deepest, int(allowed.sum())), allowed)
        return agreed(proposals, self.k, self.q, 2 * self.mu, self.agreement, draws, rng)

    def _drawn(self, state: State, ctx: Context) -> Samples | None:
        """2'. K reasonings per row, where gradient or selection goes by them."""
        guided = self.gradient == "sampled" and self.shortlist == "gradient"
        if guided or self.select in ("expected", "importance"):
            return sample(ctx, state.current.candidate, self._train(ctx), self.samples, self.temperature)
        return None

    def _shortlist(
        self, slots: Sequence[Slot], proposals: Sequence[Sequence[int]], drawn: Samples | None, ctx: Context
    ) -> list[Edit]:
        """2.-5. The mu edits that the gradient, or chance, or nobody picks."""
        edits = [
            Edit(slot.put(t), ((slot.position, t),), slot.origin)
            for slot, tokens in zip(slots, proposals, strict=True)
            for t in tokens
        ]
        if self.shortlist == "all" or not edits:
            return edits
        base = slots[0].base
        if self.shortlist == "random":
            signal = None
        elif self.gradient == "sampled" and drawn:
            signal = drawn.signal
        else:
            objective = Objective(self.fluency, self.fluency_form, self.answer_temperature)
            signal = answer_signal(ctx, self._text(base, ctx), self._train(ctx), self.reasoning, objective)
        if not signal or not signal.rows:
            return ctx.rng("shortlist").sample(edits, min(self.mu, len(edits)))
        gradient = ctx.whitebox("task").gradient(
            signal.rows, base, [s.position for s in slots], proposals, signal.weights, signal.objective
        )
        picked = steepest(gradient.values, proposals, self.mu)
        starts = np.cumsum([0, *map(len, proposals)])
        return [
            replace(edits[starts[i] + j], rank=rank, predicted=float(gradient.values[i][j]))
            for rank, (i, j) in enumerate(picked, start=1)
        ]

    def _joint(self, state: State, edits: Sequence[Edit], rivals: Sequence[Scored], ctx: Context) -> list[Edit]:
        """The best gain of each position, all in one edit; none where fewer than two positions gain."""
        best: dict[int, tuple[float, int]] = {}
        for edit, rival in zip(edits, rivals, strict=True):
            (position, token), gain = edit.changes[0], rival.mean - state.current.mean
            if edit.origin == "swap" and gain > best.get(position, (0.0, 0))[0]:
                best[position] = (gain, token)
        changes = {position: token for position, (_, token) in best.items()}
        ids = tuple(changes.get(i, token) for i, token in enumerate(state.ids))
        if not self.joint or len(changes) < 2 or not retokenizes(ctx.whitebox("task"), ids, self._before(ctx)):
            return []
        return [Edit(ids, tuple(sorted(changes.items())), "joint")]

    def _rivals(self, state: State, edits: Sequence[Edit], drawn: Samples | None, ctx: Context) -> list[Scored]:
        """The edited prompts, scored."""
        if not edits:
            return []
        parent = state.current.candidate.id
        candidates = [Candidate(self._text(e.ids, ctx), (parent,), e.origin) for e in edits]
        return self._rescore(candidates, [e.ids for e in edits], drawn, ctx)

    def _rescore(
        self, candidates: Sequence[Candidate], ids: Sequence[Ids], drawn: Samples | None, ctx: Context
    ) -> list[Scored]:
        """6. Score candidates on the training rows, with fresh reasoning or by what was drawn for the incumbent."""
        examples = self._train(ctx)
        if self.select == "metric":
            return ctx.score(candidates, examples)
        if self.select == "importance" and drawn and drawn.signal.rows:
            here = ctx.whitebox("task").encode(drawn.scored.candidate.text, self._before(ctx))
            return importance(ctx, drawn, here, candidates, ids)
        if self.select in ("expected", "importance"):
            return expected(ctx, candidates, examples, self.samples, self.temperature)
        texts = [c.text for c in candidates]
        reasons = reason(ctx, texts, examples) if self.reasoning else [""] * (len(texts) * len(examples))
        pairs = [(e, c) for c in ids for e in examples]
        rows = [answer_row(ctx, e, r) for (e, _), r in zip(pairs, reasons, strict=True)]
        objective = Objective(self.fluency if self.select != "both" else 0.0, self.fluency_form)
        losses = ctx.whitebox("task").loss(rows, [c for _, c in pairs], objective)
        if self.select == "error":
            scores = losses.correct - self.fluency / 10 * losses.fluency
        elif self.select == "loss":
            scores = -losses.loss
        else:
            scores = (losses.correct + np.exp(-losses.loss)) / 2
        by_candidate = scores.reshape(len(candidates), len(examples)).tolist()
        return [
            Scored(c, {e.id: s for e, s in zip(examples, of_c, strict=True)})
            for c, of_c in zip(candidates, by_candidate, strict=True)
        ]

    def _winner(self, state: State, edits: Sequence[Edit], rivals: Sequence[Scored], ctx: Context) -> int | None:
        """6. The rival that takes the incumbent's place, or None where the incumbent stays."""
        if not rivals:
            return None
        if self.full_stop == "force":
            model = ctx.whitebox("task")
            half = len(model.encode(ctx.task.seeds[0], self._before(ctx))) // 2
            for j, edit in enumerate(edits):
                if any(position >= half and "." in model.vocabulary[token] for position, token in edit.changes):
                    return j
        j = max(range(len(rivals)), key=lambda j: rivals[j].mean)
        if self.accept == "always" or gains(state.current, rivals[j], self.margin, self.gain):
            return j
        return None

    def _advance(
        self, state: State, slots: Sequence[Slot], edits: Sequence[Edit], rivals: Sequence[Scored], winner: int | None
    ) -> State:
        """7. i <- i + 1; a prompt that grew goes on growing, one that did not starts its next cycle."""
        growing = slots[0].origin == "grow"
        if winner is None:
            tried = tuple((*e.changes[0], growing) for e in edits if e.origin != "joint")
            position = 0 if growing else state.position % len(state.ids) + 1
            return self.State(state.ids, position, state.tried + tried, state.current, state.best)
        ids, current = edits[winner].ids, rivals[winner]
        position = len(ids) if growing else state.position % len(ids) + 1
        best = current if self.accept == "paired" or current.mean > state.best.mean else state.best
        return self.State(ids, position, (), current, best)

    def _trial(self, state: State, edit: Edit, rival: Scored, accepted: bool, ctx: Context) -> Trial:
        words = ctx.whitebox("task").vocabulary
        position = edit.changes[0][0] if len(edit.changes) == 1 else -1
        old = "".join(words[state.ids[i]] for i, _ in edit.changes) if edit.origin != "grow" else ""
        new = "".join(words[token] for _, token in edit.changes)
        scores = state.current.mean, rival.mean
        return Trial(position, old, new, edit.rank, edit.predicted, *scores, accepted)

    def _train(self, ctx: Context) -> Sequence[Example]:
        return ctx.task.train[: self.rows]

    def _before(self, ctx: Context) -> str:
        return ctx.task.template.row(ctx.task.train[0]).before

    def _text(self, ids: Ids, ctx: Context) -> str:
        return text_of(ctx.whitebox("task"), ids, self._before(ctx))


def gains(incumbent: Scored, rival: Scored, margin: float, least: float = 0.0) -> bool:
    """Whether the rival's mean paired gain is positive, at least `least`, and above `margin` standard errors."""
    differences = np.array([rival.scores[e] - s for e, s in incumbent.scores.items()])
    stderr = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    gain = float(differences.mean())
    return gain > 0 and gain >= least and gain > margin * stderr
