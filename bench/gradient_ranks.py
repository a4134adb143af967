"""Where do the two gradients put helpful and harmful words, and do they predict what a swap really does?

For each bundled task the neutral prompt's tokens are swapped, one position at a time, for every word of the
instruction lexicon. Printed per task and gradient: the mean rank (1 = most helpful, chance = half the number of
words) of words that suit the task and of words that harm, and Spearman's rank correlation of the promised change
of the loss with (a) the answer loss and (b) the expected reward after the swap, with fresh reasoning, over `--swaps`
words at `--position`.

    python bench/gradient_ranks.py --tasks counting lies --rows 24 --samples 8
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from steepest.bundled import lexicon, source
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import UNLIMITED, Ledger
from steepest.models import open_model
from steepest.parts.signals import answer_row, answer_signal, expected, reason, sample
from steepest.parts.tokens import text_of
from steepest.types import Candidate, Example, Objective, Usage


@dataclass(frozen=True)
class Ranks:
    """One task under one gradient."""

    task: str
    gradient: str
    words: int
    helpful: float
    harmful: float
    first: tuple[str, ...]
    with_loss: float
    with_reward: float


def measure(task: str, gradient: str, model: object, args: argparse.Namespace, folder: Path) -> Ranks:
    """Rank every lexicon word at every position of the prompt, and swap some of them in for real."""
    task_source = source(task, seed=args.seed)
    log = CallLog(folder / f"{task}-{gradient}.jsonl")
    world = World(task_source.task, {"task": model}, log, args.seed, lambda _: None)
    ctx = Context(world, Ledger(log, 1, UNLIMITED, Usage()))
    prompt, train = Candidate(world.task.seeds[0]), world.task.train[: args.rows]
    white, before = ctx.whitebox("task"), world.task.template.row(train[0]).before
    ids = tuple(white.encode(prompt.text, before))
    by_text = {text[1:]: i for i, text in enumerate(white.vocabulary) if text.startswith(" ")}
    words = {word: by_text[word] for word in lexicon.words() if word in by_text}
    positions = range(len(ids) - 1)
    if gradient == "sampled":
        signal = sample(ctx, prompt, train, args.samples, args.temperature).signal
    else:
        signal = answer_signal(ctx, prompt.text, train, True, Objective(0.2))
    tokens = list(words.values())
    found = white.gradient(signal.rows, ids, positions, [tokens] * len(positions), signal.weights, signal.objective)
    values = np.mean(found.values, axis=0)
    ranks = dict(zip(words, (np.argsort(np.argsort(values)) + 1).tolist(), strict=True))
    strong = [w for w, weight in lexicon.SUITED[task].items() if weight >= 1.0 and w in ranks]
    harmful = [w for w, weight in lexicon.HARMFUL.items() if weight >= 0.8 and w in ranks]
    swaps = random.Random(args.seed).sample(sorted(words), min(args.swaps, len(words)))
    swapped = [(*ids[: args.position], words[w], *ids[args.position + 1 :]) for w in swaps]
    candidates = [Candidate(text_of(white, each, before)) for each in swapped]
    loss = answer_losses(ctx, candidates, swapped, train)
    reward = [s.mean for s in expected(ctx, candidates, train, args.samples, args.temperature)]
    promised = found.values[args.position][[list(words).index(w) for w in swaps]]
    order = sorted(ranks, key=lambda w: ranks[w])
    return Ranks(
        task,
        gradient,
        len(words),
        float(np.mean([ranks[w] for w in strong])),
        float(np.mean([ranks[w] for w in harmful])),
        tuple(order[:6]),
        float(spearmanr(promised, loss).statistic),
        float(spearmanr(-promised, reward).statistic),
    )


def answer_losses(
    ctx: Context, candidates: Sequence[Candidate], ids: Sequence[Sequence[int]], train: Sequence[Example]
) -> list[float]:
    """Mean answer loss under each candidate, by fresh greedy reasoning."""
    texts = reason(ctx, [c.text for c in candidates], train)
    rows = [answer_row(ctx, e, t) for e, t in zip(list(train) * len(ids), texts, strict=True)]
    loss = ctx.whitebox("task").loss(rows, [each for each in ids for _ in train]).loss
    return [float(mean) for mean in loss.reshape(len(ids), len(train)).mean(1)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["arithmetic", "counting", "lies", "dates"])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--swaps", type=int, default=60)
    parser.add_argument("--position", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = open_model("bundled")
    print("| task | gradient | words | helpful | harmful | rho with loss | rho with reward | first words |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for task in args.tasks:
            for gradient in ("answer", "sampled"):
                r = measure(task, gradient, model, args, Path(folder))
                print(
                    f"| {r.task} | {r.gradient} | {r.words} | {r.helpful:.0f} | {r.harmful:.0f} | "
                    f"{r.with_loss:+.2f} | {r.with_reward:+.2f} | {', '.join(r.first)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
