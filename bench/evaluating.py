"""How fast are neighbouring prompts evaluated, beside transformers' own generation in its best fixed batch size?

Some prompts that differ by a word, each on all rows, greedily. Ours is one call of `generate`; theirs is sorted by
length and generated in fixed batches, left padded, of the size that was the fastest on a sample of the requests (of
8, 16, 32, 64, 128 and 256). Answers of the random model end at words chosen by chance, one in `--mean` on average, or
at `--tokens`; the bundled model answers a bundled task as it does.

    python bench/evaluating.py [--size small large bundled] [--prompts 8] [--rows 500] [--rounds 3] [--quick]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from steepest import spec
from steepest.bundled import lexicon, source
from steepest.models import open_model
from steepest.tasks.task import Task
from steepest.types import Message, Request
from tiny import VOCABULARY, Counter, Spent, machine, random_model, random_task, ratio, spent, words

BUNDLED = Path(spec.__file__).parent / "bundled" / "model"
FIRST = "Use proper logical reasoning and think step by step. Finally give the actual correct answer."
SIZES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Work:
    """What is to be answered, and by which weights."""

    folder: Path
    dtype: str
    requests: Sequence[Request]


class Theirs:
    """transformers' generation in fixed batches, sorted by length."""

    def __init__(self, work: Work) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(work.folder, dtype=getattr(torch, work.dtype))
        self.model.requires_grad_(False).eval()
        self._coder = AutoTokenizer.from_pretrained(work.folder)
        ends = self.model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])
        self._limit = work.requests[0].max_tokens
        self.texts: dict[int, str] = {}

    def run(self, requests: Sequence[Request], batch: int) -> None:
        """Answer all of them."""
        ids = [self._ids(request) for request in requests]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            inputs = self._coder.pad({"input_ids": [ids[i] for i in chosen]}, return_tensors="pt", padding_side="left")
            with torch.inference_mode():
                out = self.model.generate(
                    **inputs, max_new_tokens=self._limit, do_sample=False, pad_token_id=0, use_cache=True
                )
            for i, row in zip(chosen, out[:, inputs.input_ids.shape[1] :].tolist(), strict=True):
                end = next((at for at, token in enumerate(row) if token in self._ends), len(row))
                self.texts[i] = self._coder.decode(row[:end], skip_special_tokens=True)

    def best(self, requests: Sequence[Request], counter: Counter) -> int:
        """The fastest batch size on a sample of the requests."""
        seconds = {size: spent(lambda size=size: self.run(requests, size), counter).cpu for size in SIZES}
        return min(seconds, key=seconds.__getitem__)

    def _ids(self, request: Request) -> list[int]:
        assert not isinstance(request.prompt, str)
        turns = [{"role": turn.role, "content": turn.content} for turn in request.prompt]
        text = self._coder.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self._coder(text, add_special_tokens=False).input_ids
        return ids


def neighbours(prompt: str, vocabulary: Sequence[str], count: int) -> list[str]:
    """The prompt, and others that differ from it by one word."""
    dice, said = random.Random(0), prompt.split()
    found = [prompt]
    while len(found) < count:
        at, word = dice.randrange(len(said)), dice.choice(vocabulary)
        found.append(" ".join([*said[:at], word, *said[at + 1 :]]))
    return found


def requests_of(task: Task, prompts: Sequence[str], rows: int) -> list[Request]:
    """Every prompt on every row."""
    asked: list[tuple[Message, ...]] = [task.template.render(p, e) for p in prompts for e in task.train[:rows]]
    return [Request(turns, 0.0, task.max_tokens) for turns in asked]


def work(size: str, dtype: str, args: argparse.Namespace, folder: Path) -> Work:
    """Models and requests by the name of a line."""
    if size == "bundled":
        task, path, vocabulary = source("arithmetic", train=args.rows).task, BUNDLED, list(lexicon.words())
        return Work(path, dtype, requests_of(task, neighbours(FIRST, vocabulary, args.prompts), args.rows))
    path = random_model(folder / size, size, ends=VOCABULARY // args.mean)
    task = random_task(args.rows, args.tokens, layout=args.layout)
    return Work(path, dtype, requests_of(task, neighbours(task.seeds[0], words(), args.prompts), args.rows))


def ours(given: Work, texts: dict[int, str]) -> Spent:
    """All requests in one call, answered by a model that has seen none of them."""
    model: Any = open_model(f"hf:{given.folder}", threads=1, dtype=given.dtype)
    return spent(
        lambda: texts.update({i: r.text for i, r in model.generate(given.requests)}), Counter(model._loaded.model)
    )


def measured(name: str, given: Work, rounds: int) -> None:
    """Take turns, and print a line of the table."""
    theirs = Theirs(given)
    counter, texts = Counter(theirs.model), dict[int, str]()
    batch = theirs.best(given.requests[:: max(1, len(given.requests) // 512)], counter)
    mine: list[Spent] = []
    other: list[Spent] = []
    for _ in range(rounds):
        mine.append(ours(given, texts))
        other.append(spent(lambda: theirs.run(given.requests, batch), counter))
    same = statistics.fmean(texts[i].strip() == theirs.texts[i].strip() for i in range(len(given.requests)))
    print(
        f"| {name}, {given.dtype} | {len(given.requests):,} | {batch} | "
        f"{statistics.median(s.cpu for s in other):.1f} | {statistics.median(s.cpu for s in mine):.1f} | "
        f"{ratio([s.cpu for s in mine], [s.cpu for s in other])} | "
        f"{ratio([s.wall for s in mine], [s.wall for s in other])} | "
        f"{other[0].passed.weight:,} / {mine[0].passed.weight:,} | "
        f"{other[0].passed.calls:,} / {mine[0].passed.calls:,} | {100 * same:.1f} % |",
        flush=True,
    )


HEADER = (
    "model", "requests", "best batch", "transformers, CPU s", "ours, CPU s", "CPU ratio (rounds)",
    "wall ratio (rounds)", "token passes", "forward calls", "same texts",
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["large", "bundled"])
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--mean", type=int, default=48)
    parser.add_argument("--layout", default="{input} {prompt}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="50 rows, one round, the small model and the bundled one")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.rounds, args.size = 50, 1, ["small", "bundled"]
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"{machine()}; {args.rounds} rounds, pairs are transformers / ours\n")
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|", flush=True)
    for size in args.size:
        for dtype in args.dtype:
            with tempfile.TemporaryDirectory() as folder:
                measured(size, work(size, dtype, args, Path(folder)), args.rounds)


if __name__ == "__main__":
    main()
