"""The recipe of the bundled model: a tokenizer, a small Llama, and one pass over endless rows of the world.

``python -m steepest.bundled.training --out FOLDER`` trains from scratch, ``--measure FOLDER`` only measures. This is
the only place where the package trains anything.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from steepest.bundled import world
from steepest.bundled.measuring import card, measure
from steepest.bundled.tokens import ASSISTANT, END, USER, tokenizer

WORKERS = 2

Row = tuple[list[int], list[int], list[int]]
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:  # size: the settings of a run, every one with its default
    """Every setting of a training run."""

    hidden: int = 128
    layers: int = 5
    inner: int = 384
    tokens: int = 24_000_000
    minutes: float = 240.0
    batch: int = 2400
    rate: float = 6e-3
    warm: float = 0.01
    decay: float = 0.3
    prompt_weight: float = 0.1
    average: float = 0.99
    seed: str = "bundled"
    compiled: bool = True
    muon: bool = True


def network(recipe: Recipe, vocabulary: int) -> LlamaForCausalLM:
    """A fresh model."""
    heads = recipe.hidden // 32
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=recipe.hidden,
            intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=32,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=3,
            pad_token_id=0,
            use_cache=False,
            initializer_range=0.04,
        )
    )


def batches(recipe: Recipe, coder: PreTrainedTokenizerFast) -> Iterator[tuple[Batch, ...]]:
    """Endless steps; each takes short and long rows together, so that every step has every kind of response."""
    rng = Random(f"train/{recipe.seed}")
    waiting: dict[int, list[Row]] = {}
    while True:
        rows = [world.training_text(rng) for _ in range(2048)]
        asked = [f"{USER}{question}" for question, _, _ in rows]
        told = [f" {text}".rstrip() + ASSISTANT for _, text, _ in rows]
        parts = [coder(texts)["input_ids"] for texts in (asked, told, [row[2] + END for row in rows])]
        ready = []
        for row in zip(*parts, strict=True):
            width = math.ceil(sum(len(part) for part in row) / 8) * 8
            group = waiting.setdefault(width, [])
            group.append(row)
            if len(group) == recipe.batch // width:
                ready.append(_padded(waiting.pop(width), width, recipe.prompt_weight))
        ready.sort(key=lambda batch: batch[0].shape[1])
        half = len(ready) // 2
        steps = list(zip(ready[:half], ready[-half:], strict=True))
        # Either process gets the short rows as often as the long ones.
        steps = [pair if rng.random() < 0.5 else pair[::-1] for pair in steps]
        rng.shuffle(steps)
        yield from steps


def _padded(group: list[Row], width: int, prompt_weight: float) -> Batch:
    """Rows padded on the right; questions are given, instructions and responses are learned."""
    tokens = torch.zeros(len(group), width, dtype=torch.long)
    weights = torch.zeros(len(group), width)
    for at, (asked, told, response) in enumerate(group):
        row = [*asked, *told, *response]
        tokens[at, : len(row)] = torch.tensor(row)
        weights[at, len(asked) : len(asked) + len(told)] = prompt_weight
        weights[at, len(asked) + len(told) : len(row)] = 1.0
    return tokens, weights


def _optimizers(model: torch.nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest."""
    inside = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if not (p.ndim == 2 and "embed" not in name)]
    if not recipe.muon:
        return [torch.optim.AdamW(inside + rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)]
    return [
        torch.optim.Muon(inside, lr=recipe.rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(recipe: Recipe, done: float) -> float:
    """Warm-up, plateau, linear decay, by the share of the run that is done."""
    return min(1.0, (done + 1e-4) / recipe.warm, max(0.01, (1.0 - done) / recipe.decay))


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train from scratch, save into a folder now and then and at the end, and say what it took.

    Two processes of one thread each share a step: layers this small leave a second thread idle.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_work, (recipe, out, f"file://{folder}/meet"), nprocs=WORKERS)
        found: dict[str, Any] = json.loads((out / "training.json").read_text())
    return found


def _work(rank: int, recipe: Recipe, out: Path, meeting: str) -> None:
    """One of the processes: the same model and batches in each, its own part of every step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=WORKERS)
    coder = tokenizer()
    model = network(recipe, len(coder))
    optimizers = _optimizers(model, recipe)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    mean = {name: p.detach().clone() for name, p in model.named_parameters()}
    if recipe.compiled:
        for layer in model.model.layers:
            layer.compile()
    clock = Clock(recipe)
    for parts in batches(recipe, coder):
        done = clock.done()
        if done >= 1:
            break
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * _rate(recipe, done)
        loss = _step(model, parts, rank, optimizers)
        for name, p in model.named_parameters():
            mean[name].lerp_(p.detach(), 1 - min(recipe.average, clock.steps / (clock.steps + 10)))
        clock.tick(sum(int((tokens > 0).sum()) for tokens, _ in parts), loss if rank == 0 else None)
        if rank == 0 and clock.due():
            save(model, mean, coder, out)
    if rank == 0:
        save(model, mean, coder, out)
        size = sum(p.numel() for p in model.parameters())
        (out / "training.json").write_text(json.dumps({"parameters": size, **clock.report()}))
    distributed.destroy_process_group()


class Clock:
    """What a run has done so far, the same in every process."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.started = self.saved = time.monotonic()
        self.tokens = self.steps = 0
        self.loss = 0.0

    def done(self) -> float:
        """Share of the run that is done, by tokens or by time, agreed among the processes."""
        share = max(self.tokens / self.recipe.tokens, self._minutes() / self.recipe.minutes)
        agreed = torch.tensor([share])
        distributed.broadcast(agreed, 0)
        return float(agreed)

    def tick(self, tokens: int, loss: float | None) -> None:
        """Count a step; print now and then where a loss is given."""
        self.tokens += tokens
        self.steps += 1
        if loss is None:
            return
        self.loss = loss if self.steps == 1 else self.loss + 0.03 * (loss - self.loss)
        if self.steps % 50 == 0:
            shown = f"{self.steps} {self._minutes():.1f} min {self.tokens / 1e6:.2f} M tokens"
            print(f"{shown}, loss {self.loss:.4f}", flush=True)

    def due(self) -> bool:
        """Whether it is time to save."""
        late = time.monotonic() - self.saved > 240
        if late:
            self.saved = time.monotonic()
        return late

    def report(self) -> dict[str, Any]:
        """What the run took."""
        return {"tokens": self.tokens, "steps": self.steps, "minutes": round(self._minutes(), 1)}

    def _minutes(self) -> float:
        """Minutes since the start."""
        return (time.monotonic() - self.started) / 60


def _step(model: Any, parts: tuple[Batch, ...], rank: int, optimizers: list[torch.optim.Optimizer]) -> float:
    """One step; the loss on the tokens of this process's responses."""
    whole = sum(float(weights.sum()) for _, weights in parts)
    tokens, weights = parts[rank]
    learned = weights[:, 1:] > 0
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1][learned]
        logits = hidden @ model.lm_head.weight.T
    losses = torch.nn.functional.cross_entropy(logits.float(), tokens[:, 1:][learned], reduction="none")
    share = weights[:, 1:][learned]
    ((losses * share).sum() / whole).backward()
    gradients = [p.grad for p in model.parameters()]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.view_as(gradient))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return float(losses.detach()[share == 1].mean())


def save(model: Any, mean: dict[str, torch.Tensor], coder: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the averaged weights and the tokenizer as a folder that transformers loads."""
    fresh = LlamaForCausalLM(model.config)
    fresh.load_state_dict(mean, strict=False)
    fresh.tie_weights()
    fresh.config.use_cache = True
    fresh.generation_config.update(
        use_cache=True,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=96,
        eos_token_id=3,
        pad_token_id=0,
    )
    fresh.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    model.config.use_cache = False
    coder.save_pretrained(out)


def main() -> None:
    """Read the command line, then train, or only measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--measure", type=Path, help="a folder to measure instead of training")
    parser.add_argument("--rows", type=int, default=200, help="fresh rows a task to measure on")
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores, CPU only", help="noted in training.json")
    for name, value in asdict(Recipe()).items():
        kind = (lambda text: text == "True") if isinstance(value, bool) else type(value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value)
    args = parser.parse_args()
    recipe = Recipe(**{name: getattr(args, name) for name in asdict(Recipe())})
    if args.measure:
        measure(args.measure, args.rows)
        return
    report = {"recipe": asdict(recipe), "machine": args.machine, "date": date.today().isoformat(), "rows": args.rows}
    report |= train(recipe, args.out)
    report["table"] = measure(args.out, args.rows)
    (args.out / "training.json").write_text(json.dumps(report, indent=1) + "\n")
    (args.out / "MODEL_CARD.md").write_text(card(report))


if __name__ == "__main__":
    main()
