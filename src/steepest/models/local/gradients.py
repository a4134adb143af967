"""The white-box side: likely tokens, the loss of a row, and its gradient with respect to the prompt's tokens.

The loss of a row is -log p(target) (at the objective's temperature and reduction) + fluency * prompt term, where the
prompt term is the mean negative log-likelihood of the prompt's tokens after all that stands before them, or its
exponential.

The gradient is that of the one-hot relaxation, exact and complete: a token at position i acts as context, through
its input embedding, on every later target token and prompt token; and with fluency > 0 it is itself one of the
predicted tokens, whose term -log p(v | before i) is linear in its indicator. Both are included. Weights are frozen;
tokens before the first position asked for are read without gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from steepest.errors import ModelError
from steepest.models import Bools, Floats, Gradient, Losses, Proposals
from steepest.models.local import accounts, passes
from steepest.models.local.batching import batches, check_fits, distinct, padded
from steepest.models.local.choosing import likeliest
from steepest.models.local.layout import Layout, Placed
from steepest.models.local.loaded import Loaded, in_memory
from steepest.types import Objective, Row

_PART = 8192
"""Tokens embedded at once: a whole vocabulary may be asked for."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rows of one batch lose."""

    loss: Any
    """[rows], the objective; carries the graph."""
    slope: Any
    """[rows], d fluency / d mean negative log-likelihood."""
    prompt_logits: Any
    """[all prompt tokens of all rows, width]; empty where the prompt term was not asked for."""


def propose(
    loaded: Loaded,
    layout: Layout,
    rows: Sequence[Row],
    ids: Sequence[int],
    position: int,
    k: int,
    allowed: Bools | None,
) -> Proposals:
    """The k likeliest allowed tokens at `position`; see `WhiteBox.propose`."""
    prefixes = [[*p.left, *ids[:position]] for p in layout.place([(row, list(ids)) for row in rows])]
    check_fits(loaded, [len(p) for p in prefixes])
    different, which = distinct(prefixes)
    k = k if allowed is None else min(k, int(allowed.sum()))
    tokens = np.empty((len(different), k), np.int64)
    scores = np.empty((len(different), k), np.float32)
    banned = None if allowed is None else torch.from_numpy(~allowed).to(loaded.device)

    def use(batch: list[int], logits: Any) -> None:
        scored = logits.log_softmax(-1)
        best = (scored if banned is None else scored.masked_fill(banned, -torch.inf)).topk(k)
        tokens[batch], scores[batch] = best.indices.cpu().numpy(), best.values.cpu().numpy()

    passes.logits(loaded, different, [[len(text) - 1] for text in different], use)
    return Proposals(tokens[which], scores[which], accounts.to_propose(different))


def loss(
    loaded: Loaded,
    layout: Layout,
    rows: Sequence[Row],
    prompts: Sequence[Sequence[int]],
    objective: Objective,
) -> Losses:
    """Loss of rows[i] under prompts[i], each different pair once; see `WhiteBox.loss`."""
    pairs: dict[tuple[Row, tuple[int, ...]], int] = {}
    which = [pairs.setdefault((row, tuple(prompt)), len(pairs)) for row, prompt in zip(rows, prompts, strict=True)]
    placed = _placed(loaded, layout, [(row, list(prompt)) for row, prompt in pairs])
    said: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    # Where rows differ behind the prompt alone, it is equally unexpected in all of them.
    alike = [said.setdefault((tuple(p.left), tuple(p.prompt)), i) for i, p in enumerate(placed)]
    spans = [_spans(p, objective)[: 2 if alike[i] == i else 1] for i, p in enumerate(placed)]
    found = _surprises(loaded, [[*p.left, *p.prompt, *p.right, *p.target] for p in placed], spans)
    answered = [of_text[0] for of_text in found]
    fluency = np.asarray([found[i][1].mean for i in alike])
    if objective.fluency_form == "perplexity":
        fluency = np.exp(fluency)
    total = np.asarray([each.mean if objective.reduction == "mean" else each.total for each in answered])
    # An infinite perplexity that does not count leaves the loss alone.
    total = total + objective.fluency * fluency if objective.fluency > 0 else total
    values = np.stack([total, fluency]).astype(np.float32)[:, which]
    correct = np.asarray([each.first for each in answered])[which]
    return Losses(values[0], correct, values[1], accounts.to_lose(placed))


@dataclass(frozen=True, slots=True)
class Surprise:
    """How unexpected some tokens are."""

    total: float
    """Negative log-likelihood."""
    mean: float
    """Per token."""
    first: bool
    """Whether each is the likeliest."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Some tokens of a text, which the logits before them, divided by the temperature, make likely or not."""

    start: int
    end: int
    temperature: float = 1.0


def _spans(placed: Placed, objective: Objective) -> list[_Span]:
    """The target and the prompt."""
    begin, end = len(placed.left), len(placed.left) + len(placed.prompt)
    answer = end + len(placed.right)
    return [_Span(answer, answer + len(placed.target), objective.temperature), _Span(begin, end)]


def _surprises(
    loaded: Loaded, texts: Sequence[Sequence[int]], spans: Sequence[Sequence[_Span]]
) -> list[list[Surprise]]:
    """How unexpected spans of texts are after all that stands before them; the first of each ends its text."""
    found: list[list[Surprise]] = [[] for _ in texts]

    def use(batch: list[int], logits: Any) -> None:
        of = [(i, span) for i in batch for span in spans[i]]
        counts = [span.end - span.start for _, span in of]
        ids = np.asarray([*chain.from_iterable(texts[i][span.start : span.end] for i, span in of)])
        firsts = likeliest(logits) == ids
        heat = np.repeat(np.asarray([span.temperature for _, span in of], np.float32), counts)
        if (heat != 1).any():
            logits = logits / torch.from_numpy(heat).to(logits.device)[:, None]
        lost = cross_entropy(logits, torch.from_numpy(ids).to(logits.device), reduction="none").cpu().numpy()
        cuts = np.cumsum(counts)[:-1]
        parts = map(_surprise, np.split(lost, cuts), np.split(firsts, cuts))
        for i in batch:
            found[i] = [next(parts) for _ in spans[i]]

    places = [[place - 1 for span in each for place in range(span.start, span.end)] for each in spans]
    passes.logits(loaded, [text[:-1] for text in texts], places, use)
    return found


def _surprise(losses: Floats, firsts: Bools) -> Surprise:
    total = float(losses.sum())
    return Surprise(total, total / max(len(losses), 1), bool(firsts.all()))


def gradient(
    loaded: Loaded,
    layout: Layout,
    rows: Sequence[Row],
    ids: Sequence[int],
    positions: Sequence[int],
    among: Sequence[Sequence[int]],
    weights: Sequence[float],
    objective: Objective,
) -> Gradient:
    """Gradient of sum over rows of weight * loss; see `WhiteBox.gradient`."""
    prompt, embed = list(ids), loaded.model.get_input_embeddings()
    fluent = objective.fluency > 0
    first = accounts.first_changed(positions, fluent)
    placed = _placed(loaded, layout, [(row, prompt) for row in rows])
    losses = np.empty(len(rows), np.float32)
    slot = embed(torch.tensor([prompt[first:]], device=loaded.device)).detach()
    parts: list[_Part] = []

    def part(batch: list[int]) -> None:
        weight = torch.tensor([weights[i] for i in batch], dtype=torch.float32, device=loaded.device)
        with torch.enable_grad():
            leaf = slot.clone().requires_grad_()
            terms = _terms(loaded, [placed[i] for i in batch], objective, fluent, first, leaf)
            (found,) = torch.autograd.grad((weight * terms.loss).sum(), leaf)
        losses[batch] = terms.loss.detach().cpu().numpy()
        own = torch.zeros((len(positions), 0), device=loaded.device)
        if fluent:
            scored = terms.prompt_logits.detach().view(len(batch), len(prompt), -1)[:, list(positions)]
            share = -objective.fluency / len(prompt) * weight * terms.slope.detach()
            own = torch.einsum("r,rpv->pv", share, scored.log_softmax(-1))
        parts.append(_Part(found[0].float(), own))

    in_memory(loaded, range(len(rows)), lambda left: _batches(loaded, placed, left), part)
    along = torch.stack([each.along for each in parts]).sum(0)[[p - first for p in positions]]
    own = torch.stack([each.own for each in parts]).sum(0)
    with torch.no_grad():
        values = _changes(embed, along, own, [prompt[p] for p in positions], among)
    return Gradient(values, losses, accounts.to_descend(placed, first))


def _changes(embed: Any, along: Any, own: Any, here: Sequence[int], among: Sequence[Sequence[int]]) -> list[Floats]:
    """For each position, what each token of its set would change relative to the token that stands there."""
    tokens, where = np.unique(np.concatenate([here, *among]).astype(np.int64), return_inverse=True)
    index = torch.from_numpy(tokens).to(along.device)
    scores = torch.cat([embed(part).float() @ along.T for part in index.split(_PART)])  # [tokens, positions]
    if own.shape[1]:
        scores = scores + own[:, index].T
    found = scores.cpu().numpy()
    current = found[where[: len(here)], np.arange(len(here))]
    sets = np.split(where[len(here) :], np.cumsum([len(a) for a in among])[:-1])
    return [found[chosen, i] - current[i] for i, chosen in enumerate(sets)]


def _placed(loaded: Loaded, layout: Layout, pairs: Sequence[tuple[Row, list[int]]]) -> list[Placed]:
    placed = layout.place(pairs)
    for (row, _), place in zip(pairs, placed, strict=True):
        if not place.target:
            raise ModelError(
                f"a row needs a target to have a loss, got {row.target!r} after {row.reply[-40:]!r}; give its answer"
            )
    check_fits(loaded, [len(p) for p in placed])
    return placed


def _batches(loaded: Loaded, placed: Sequence[Placed], left: Iterable[int]) -> Iterator[list[int]]:
    # Rows with the same beginning next to each other: it is then read once.
    order = sorted(left, key=lambda i: (len(placed[i]) - len(placed[i].left), placed[i].left))
    return batches(order, lambda i: len(placed[i]), loaded.pass_tokens)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one batch adds to the gradient."""

    along: Any
    """[prompt tokens from the first one asked for on, hidden], through the embeddings."""
    own: Any
    """[positions, vocabulary], how the prompt's own likelihood changes with its tokens; empty where it does not
    count."""


def _terms(
    loaded: Loaded, placed: Sequence[Placed], objective: Objective, fluent: bool, first: int, slot: Any
) -> Terms:
    """The losses of a batch; `slot` [1, prompt tokens from `first` on, hidden] stands for the prompt's embeddings."""
    device = loaded.device
    heads = [[*p.left, *p.prompt[:first]] for p in placed]
    suffix = padded(
        [[head[-1], *p.prompt[first:], *p.right, *p.target[:-1]] for head, p in zip(heads, placed, strict=True)],
        device,
        left=False,
    )
    embeddings = loaded.model.get_input_embeddings()(suffix.ids)
    slots = slot.expand(len(placed), -1, -1)
    embeddings = torch.cat([embeddings[:, :1], slots, embeddings[:, 1 + slot.shape[1] :]], 1)
    spoken = _Places([0] * len(placed), [p.prompt if fluent else [] for p in placed], device)
    asked = _Places([len(p.prompt) - first + len(p.right) for p in placed], [p.target for p in placed], device)
    wanted = torch.cat([spoken.rows, asked.rows]), torch.cat([spoken.columns, asked.columns])
    found = passes.behind(loaded, [head[:-1] for head in heads], embeddings, wanted)
    prompt_logits, target_logits = found[: len(spoken.ids)], found[len(spoken.ids) :]
    surprise = asked.total(cross_entropy(target_logits / objective.temperature, asked.ids, reduction="none"))
    if objective.reduction == "mean":
        surprise = surprise / asked.counts
    fluency = spoken.total(cross_entropy(prompt_logits, spoken.ids, reduction="none")) / spoken.counts.clamp(min=1)
    slope = torch.ones_like(fluency)
    if objective.fluency_form == "perplexity":
        fluency = fluency.exp()
        slope = fluency.detach()
    total = surprise + objective.fluency * fluency if fluent else surprise
    return Terms(total, slope, prompt_logits)


class _Places:
    """Where tokens of a batch are predicted: `ids[i]` of row i from column `starts[i]` on."""

    def __init__(self, starts: Sequence[int], ids: Sequence[Sequence[int]], device: Any) -> None:
        counts = np.asarray([len(i) for i in ids], np.int64)
        rows = np.repeat(np.arange(len(ids)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        flat = np.fromiter(chain.from_iterable(ids), np.int64, len(rows))
        arrays = (rows, np.asarray(starts, np.int64)[rows] + within, flat, counts)
        self.rows, self.columns, self.ids, self.counts = (torch.from_numpy(a).to(device) for a in arrays)

    def total(self, values: Any) -> Any:
        """[rows] sums of [tokens] values."""
        return torch.zeros(len(self.counts), device=values.device).index_add(0, self.rows, values)
