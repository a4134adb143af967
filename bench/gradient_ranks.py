"""Where do the two gradients put helpful and harmful words, and do they predict what a swap really does?

For each bundled task the neutral prompt's tokens are swapped, one position at a time, for every word of the
instruction lexicon. Printed per task and gradient: the mean rank (1 = most helpful, chance = half the number of
words) of words that suit the task and of words that harm, and Spearman's rank correlation of the promised change
of the loss with (a) the answer loss and (b) the accuracy after the swap, with fresh reasoning, over `--swaps` words.

    python bench/gradient_ranks.py --tasks counting lies --rows 24 --samples 8
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from steepest.bundled import lexicon, source
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import Ledger, Limits
from steepest.methods.greater import Greater
from steepest.models import open_model
from steepest.types import Candidate, Usage


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
    with_accuracy: float


def measure(task: str, gradient: str, model: object, args: argparse.Namespace, folder: Path) -> Ranks:
    """Rank every lexicon word at every position of the prompt, and swap some of them in for real."""
    origin = source(task, seed=args.seed)
    world = World(origin.task(), {"task": model}, CallLog(folder / f"{task}-{gradient}.jsonl"), args.seed, lambda _: None)
    ctx = Context(world, Ledger(world.log, 1, Limits(), Usage()))
    method = Greater(rows=args.rows, gradient=gradient, samples=args.samples, temperature=args.temperature)
    state = method.init(ctx)
    white = ctx.whitebox("task")
    by_text = {text.strip().lower(): i for i, text in enumerate(white.vocabulary) if text.startswith(" ")}
    words = {word: by_text[word] for word in lexicon.words() if word in by_text}
    positions = range(len(state.ids) - 1)
    signal = method._signal(state.current.candidate.text, ctx)
    if not signal.rows:
        return Ranks(task, gradient, len(words), *[float("nan")] * 2, ("no signal",), *[float("nan")] * 2)
    tokens = list(words.values())
    found = white.gradient(
        signal.rows, state.ids, positions, [tokens] * len(positions), signal.weights, signal.objective
    )
    values = np.mean(found.values, axis=0)
    ranks = dict(zip(words, (np.argsort(np.argsort(values)) + 1).tolist(), strict=True))
    strong = [w for w, weight in lexicon.SUITED[task].items() if weight >= 1.0 and w in ranks]
    harmful = [w for w, weight in lexicon.HARMFUL.items() if weight >= 0.8 and w in ranks]
    swaps = random.Random(args.seed).sample(sorted(words), min(args.swaps, len(words)))
    loss, accuracy = exhaustive(method, state, [words[w] for w in swaps], ctx)
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
        float(spearmanr(-promised, accuracy).statistic),
    )


def exhaustive(
    method: Greater, state: Greater.State, tokens: Sequence[int], ctx: Context, position: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Answer loss and accuracy after each swap, by fresh greedy reasoning."""
    prompts = [(*state.ids[:position], t, *state.ids[position + 1 :]) for t in tokens]
    candidates = [Candidate(method._text(p, ctx)) for p in prompts]
    by_loss = replace(method, select="loss", fluency=0.0)._rescore(candidates, prompts, ctx)
    by_metric = replace(method, select="metric")._rescore(candidates, prompts, ctx)
    return np.array([-s.mean for s in by_loss]), np.array([s.mean for s in by_metric])


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
    print("| task | gradient | words | helpful | harmful | rho with loss | rho with accuracy | first words |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for task in args.tasks:
            for gradient in ("answer", "sampled"):
                r = measure(task, gradient, model, args, Path(folder))
                print(
                    f"| {r.task} | {r.gradient} | {r.words} | {r.helpful:.0f} | {r.harmful:.0f} | "
                    f"{r.with_loss:+.2f} | {r.with_accuracy:+.2f} | {', '.join(r.first)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
