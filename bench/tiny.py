"""Random Llama models of two sizes, rows for them, and what the benchmarks of local models share.

A word of the vocabulary is one token and stands between spaces, so that ids survive decoding and encoding. Weights
are random, and wide enough that texts wander: answers of neighbouring prompts soon part.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from steepest.tasks.metrics import Contains
from steepest.tasks.task import Task, Template
from steepest.types import Example

PAD, USER, ASSISTANT, END = SPECIALS = ("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
RESERVED = 252
"""Further special tokens, none of which is written but those that end an answer."""
VOCABULARY = 4096
PROMPT_TOKENS = 16
EXTRACTOR_TOKENS = 29
"""With the answer's one token as many as behind the reasoning of GReaTer's own tasks."""
TEMPLATE = (
    "{%- for m in messages -%}{{- ('<|user|>' if m['role'] == 'user' else '<|assistant|>') + m['content'] -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@dataclass(frozen=True)
class Size:
    """The shape of a model."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int


SIZES = {"small": Size(128, 352, 4, 4, 2), "large": Size(512, 1408, 8, 8, 4)}
"""1.8 M and 27.8 M parameters."""


def words() -> list[str]:
    """As many different words as the vocabulary holds beside the special tokens; the first is "a"."""
    syllables = ["".join(pair) for pair in product("bdfghklmnprstvwz", "aeio")]
    return ["a", *("".join(pair) for pair in product(syllables, repeat=2))][: VOCABULARY - len(SPECIALS) - RESERVED]


def random_model(folder: Path, size: str, ends: int = 0, seed: int = 0) -> Path:
    """A model folder. `ends` tokens, up to 252, end an answer; with none, every answer runs to its limit."""
    torch.manual_seed(seed)
    shape = SIZES[size]
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=1024, tie_word_embeddings=False, initializer_range=1.6 / shape.hidden**0.5,
        pad_token_id=0, bos_token_id=None, eos_token_id=3,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        # A logit of 0 is never the largest of 4,096: what must not be written is not.
        model.lm_head.weight[: len(SPECIALS)] = 0
        model.lm_head.weight[VOCABULARY - RESERVED + ends :] = 0
    model.generation_config.eos_token_id = [3, *range(VOCABULARY - RESERVED, VOCABULARY - RESERVED + ends)]
    model.save_pretrained(folder)
    reserved = [f"<|{i}|>" for i in range(RESERVED)]
    vocabulary = {word: i for i, word in enumerate((*SPECIALS, *words(), *reserved))}
    coder = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    coder.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    saved = PreTrainedTokenizerFast(
        tokenizer_object=coder, pad_token=PAD, eos_token=END, additional_special_tokens=[USER, ASSISTANT, *reserved],
        padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    saved.chat_template = TEMPLATE
    saved.save_pretrained(folder)
    return folder


def random_task(rows: int, answer_tokens: int, seed: int = 0, layout: str = "{input} {prompt}") -> Task:
    """Questions of 16 to 36 words, answers of one, a prompt of 16."""
    dice, vocabulary = random.Random(seed), words()

    def said(count: int) -> str:
        return " ".join(dice.choices(vocabulary, k=count))

    examples = tuple(Example(f"row-{i}", said(dice.randint(16, 36)), said(1)) for i in range(rows))
    return Task(
        name="random",
        train=examples,
        dev=examples[:1],
        template=Template(layout),
        metric=Contains(),
        extractor=said(EXTRACTOR_TOKENS),
        seeds=(said(PROMPT_TOKENS),),
        max_tokens=answer_tokens,
    )


@dataclass(frozen=True)
class Passed:
    """What went through a model."""

    calls: int = 0
    """Forward calls."""
    steps: int = 0
    """Those of them that read one token a row: decode steps."""
    tokens: int = 0
    """Tokens forward, padding included."""
    traced: int = 0
    """Tokens backward: once for the gradient of inputs, once more where weights have theirs computed."""
    logits: int = 0
    """Rows of logits."""

    def __add__(self, other: Passed) -> Passed:
        return Passed(*(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __sub__(self, other: Passed) -> Passed:
        return Passed(*(a - b for a, b in zip(self.values, other.values, strict=True)))

    @property
    def values(self) -> tuple[int, ...]:
        """All of it, in order."""
        return self.calls, self.steps, self.tokens, self.traced, self.logits

    @property
    def weight(self) -> int:
        """Token passes, forward and backward."""
        return self.tokens + self.traced


class Counter:
    """Counts what goes through a model, by hooks on its first layer and its output layer."""

    def __init__(self, model: Any) -> None:
        self.passed = Passed()
        model.get_decoder().layers[0].mlp.register_forward_pre_hook(self._layer)
        # What comes out: other hooks may let only some tokens in.
        model.get_output_embeddings().register_forward_hook(self._head)

    def _layer(self, layer: Any, inputs: tuple[Any, ...]) -> None:
        hidden = inputs[0]
        tokens = hidden[..., 0].numel()
        one = hidden.shape[-2] == 1
        trained = next(layer.parameters()).requires_grad
        self.passed += Passed(1, int(one), tokens, (1 + trained) * tokens if hidden.requires_grad else 0)

    def _head(self, _: Any, inputs: Any, logits: Any) -> None:
        self.passed += Passed(logits=logits[..., 0].numel())


@dataclass(frozen=True)
class Spent:
    """Seconds, and what went through a model in them."""

    wall: float
    cpu: float
    passed: Passed


def spent(run: Callable[[], object], counter: Counter) -> Spent:
    """What a call took."""
    before, wall, cpu = counter.passed, time.perf_counter(), time.process_time()
    run()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu, counter.passed - before)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """theirs / ours of the rounds' medians, and the spread of the rounds."""
    each = [b / a for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(theirs) / statistics.median(ours):.2f} ({min(each):.2f} to {max(each):.2f})"


def layer_weights(model: Any) -> list[Any]:
    """The matrices that every token passes."""
    layers = model.get_decoder().layers
    return [weight for layer in layers for weight in layer.parameters() if weight.ndim == 2]


def matrix_rate(model: Any, seconds: float = 2.0) -> float:
    """Floating-point operations a second of the model's own matrices, at the best of some batch sizes."""
    weights = layer_weights(model)[: len(layer_weights(model)) // len(model.get_decoder().layers)]
    best = 0.0
    with torch.inference_mode():
        for rows in (64, 128, 256, 512, 1024):
            inputs = [torch.randn(rows, w.shape[1]).to(w) for w in weights]
            flops, rounds, started = 2 * rows * sum(w.numel() for w in weights), 0, time.process_time()
            while (taken := time.process_time() - started) < seconds / 5 or rounds < 3:
                for x, weight in zip(inputs, weights, strict=True):
                    torch.nn.functional.linear(x, weight)
                rounds += 1
            best = max(best, flops * rounds / taken)
    return best


def operations(model: Any, passes: int, logits: int) -> int:
    """Floating-point operations of so many token passes and rows of logits, attention apart."""
    head = model.get_output_embeddings().weight.numel()
    return 2 * passes * sum(w.numel() for w in layer_weights(model)) + 2 * logits * head


def machine() -> str:
    """Where and when this was measured."""
    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        name = next((line.split(":")[1].strip() for line in cpu.open() if line.startswith("model name")), name)
    return (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} thread, torch {torch.__version__}, "
        f"{date.today().isoformat()}"
    )
