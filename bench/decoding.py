"""How fast does a local model decode, beside transformers' own batched generation of the same prompts?

Both decode greedily the same number of tokens for every row, in one process; the last line is the ratio. Without a
model, a random Llama (hidden 128, 4 layers, vocabulary 2048) with the bundled tokenizer is measured.

    python bench/decoding.py --rows 256 --tokens 64 [--model FOLDER] [--threads 1]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from steepest.models.local import open_local
from steepest.models.local.model import LocalModel
from steepest.types import Request

WORDS = ("think", "step", "by", "answer", "the", "question", "with", "a", "number", "only", "give", "result", "12")


def random_model(folder: Path) -> Path:
    """A Llama with random weights, and the bundled model's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    import steepest

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=128, intermediate_size=344, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, head_dim=32, max_position_embeddings=512, initializer_range=0.1,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(Path(steepest.__file__).parent / "bundled" / "model").save_pretrained(folder)
    return folder


def fastest(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """(wall seconds, processor seconds) of the fastest of `repeats` runs."""
    taken = []
    for _ in range(repeats):
        wall, busy = time.perf_counter(), time.process_time()
        run()
        taken.append((time.perf_counter() - wall, time.process_time() - busy))
    return min(t[0] for t in taken), min(t[1] for t in taken)


def reference(model: LocalModel, prompts: list[str], tokens: int) -> Callable[[], object]:
    """transformers' generation of all prompts in one left-padded batch."""
    import torch

    ids = model._layout.ids([model._layout.text(p) for p in prompts])
    width = max(map(len, ids))
    inputs = torch.tensor([[0] * (width - len(i)) + i for i in ids], device=model._loaded.device)
    mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids], device=model._loaded.device)

    def run() -> object:
        with torch.inference_mode():
            return model._loaded.model.generate(
                input_ids=inputs, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens,
                do_sample=False, pad_token_id=0, use_cache=True,
            )  # fmt: skip

    return run


def main() -> None:
    """Print tokens per second of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    dice = random.Random(0)
    prompts = [" ".join(dice.choices(WORDS, k=dice.randint(30, 60))) for _ in range(args.rows)]
    with tempfile.TemporaryDirectory() as folder:
        opened = open_local(args.model or str(random_model(Path(folder))), threads=args.threads)
    # An end that is never chosen, so that both decode the same number of tokens.
    model = LocalModel(replace(opened._loaded, ends=(opened._loaded.width - 1,)))
    requests = [Request(p, max_tokens=args.tokens) for p in prompts]
    rates = []
    for name, run in (
        ("steepest", lambda: list(model.generate(requests))),
        ("transformers", reference(model, prompts, args.tokens)),
    ):
        wall, busy = fastest(run, args.repeats)
        rates.append(args.rows * args.tokens / busy)
        print(f"{name:12} {args.rows * args.tokens / wall:8.0f} tokens/s  {rates[-1]:8.0f} tokens/s of processor time")
    print(f"ratio {rates[0] / rates[1]:.2f} (processor time)")


if __name__ == "__main__":
    main()
