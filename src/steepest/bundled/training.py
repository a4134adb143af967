"""The recipe of the bundled model: a tokenizer, a small Llama, and one pass over endless rows of the world.

First it learns the tasks, then, with tasks among them, the lessons of optimising. ``python -m
steepest.bundled.training --out FOLDER`` trains from scratch, ``--start FOLDER`` goes on from a model that knows the
tasks, ``--measure FOLDER`` only measures. This is the only place where the package trains anything.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from steepest.bundled.material import Batch, lesson_batches, task_batches
from steepest.bundled.measuring import card, measure, measure_lessons
from steepest.bundled.tokens import CONTEXT, tokenizer

WORKERS = 2
LESSONS = 400
"""Replies to measure."""


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
    lesson_tokens: int = 16_000_000
    lesson_minutes: float = 240.0
    lesson_batch: int = 4800
    lesson_rate: float = 3e-3
    lesson_weight: float = 4.0
    seed: str = "bundled"
    compiled: bool = True
    muon: bool = True


@dataclass(frozen=True)
class Phase:
    """A part of the training: what is learned, for how long, how fast."""

    name: str
    tokens: int
    minutes: float
    rate: float


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
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=3,
            pad_token_id=0,
            use_cache=False,
            initializer_range=0.04,
        )
    )


def _optimizers(model: torch.nn.Module, recipe: Recipe, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest."""
    inside = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if not (p.ndim == 2 and "embed" not in name)]
    if not recipe.muon:
        return [torch.optim.AdamW(inside + rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)]
    return [
        torch.optim.Muon(inside, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(recipe: Recipe, done: float) -> float:
    """Warm-up, plateau, linear decay, by the share of the run that is done."""
    return min(1.0, (done + 1e-4) / recipe.warm, max(0.01, (1.0 - done) / recipe.decay))


def train(recipe: Recipe, out: Path, start: Path | None = None) -> dict[str, Any]:
    """Train, save into a folder now and then and at the end, and say what it took.

    From scratch, or from the folder `start` of a model that knows the tasks. Two processes of one thread each share
    a step: layers this small leave a second thread idle.
    """
    phases = [Phase("lessons", recipe.lesson_tokens, recipe.lesson_minutes, recipe.lesson_rate)]
    if start is None:
        phases.insert(0, Phase("tasks", recipe.tokens, recipe.minutes, recipe.rate))
    report: dict[str, Any] = (
        {} if start is None else {"tasks": json.loads((start / "training.json").read_text())["tasks"]}
    )
    for phase in phases:
        with tempfile.TemporaryDirectory() as folder:
            args = (recipe, phase, start, out, f"file://{folder}/meet")
            multiprocessing.spawn(_work, args, nprocs=WORKERS)
        report[phase.name] = json.loads((out / "training.json").read_text())
        start = out
    return report


def _work(rank: int, recipe: Recipe, phase: Phase, start: Path | None, out: Path, meeting: str) -> None:
    """One of the processes: the same model and batches in each, its own part of every step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=WORKERS)
    coder = tokenizer()
    model = network(recipe, len(coder))
    if start:
        _load(model, start)
    optimizers = _optimizers(model, recipe, phase.rate)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    mean = {name: p.detach().clone() for name, p in model.named_parameters()}
    if recipe.compiled:
        for layer in model.model.layers:
            layer.compile()
    clock = Clock(phase)
    for parts in _material(phase, recipe, coder):
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


def _material(phase: Phase, recipe: Recipe, coder: PreTrainedTokenizerFast) -> Iterator[tuple[Batch, ...]]:
    """Endless steps of a phase."""
    if phase.name == "tasks":
        return task_batches(recipe.seed, coder, recipe.batch, recipe.prompt_weight)
    return lesson_batches(recipe.seed, coder, recipe.lesson_batch, recipe.prompt_weight, recipe.lesson_weight)


def _load(model: LlamaForCausalLM, folder: Path) -> None:
    """The weights of a folder; tokens that its tokenizer did not have yet keep the embeddings they were born with."""
    before = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    known = before["model.embed_tokens.weight"]
    grown = model.state_dict()["model.embed_tokens.weight"].clone()
    grown[: len(known)] = known
    model.load_state_dict({**before, "model.embed_tokens.weight": grown, "lm_head.weight": grown})
    model.tie_weights()


class Clock:
    """What a run has done so far, the same in every process."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.started = self.saved = time.monotonic()
        self.tokens = self.steps = 0
        self.loss = 0.0

    def done(self) -> float:
        """Share of the run that is done, by tokens or by time, agreed among the processes."""
        share = max(self.tokens / self.phase.tokens, self._minutes() / self.phase.minutes)
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
            print(f"{self.phase.name}: {shown}, loss {self.loss:.4f}", flush=True)

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
    return float(losses.detach()[share >= 1].mean())


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
    parser.add_argument("--start", type=Path, help="a folder with a model that knows the tasks, to go on from")
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
        measure_lessons(args.measure, LESSONS)
        return
    report = {"recipe": asdict(recipe), "machine": args.machine, "date": date.today().isoformat(), "rows": args.rows}
    report |= train(recipe, args.out, args.start)
    report["table"] = measure(args.out, args.rows)
    report["replies"] = measure_lessons(args.out, LESSONS)
    (args.out / "training.json").write_text(json.dumps(report, indent=1) + "\n")
    (args.out / "MODEL_CARD.md").write_text(card(report))


if __name__ == "__main__":
    main()
