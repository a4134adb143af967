"""Tiny random models of six families, saved as folders, and opened as users open them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GptOssConfig,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from steepest.models.local import open_local
from steepest.models.local.model import LocalModel

FAMILIES = ("llama", "gemma2", "qwen3", "mistral", "phi3", "gpt2")
OTHERS = ("bloom", "falcon", "qwen2", "gpt_oss", "llama4_text", "gemma3_text")
"""Linear biases instead of positions (twice), grouped heads with tied embeddings, attention sinks, attention in chunks,
windows on some layers only."""
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
CORPUS = (
    "Think step by step and answer the question with a number .",
    "Answer Answer Answer the question. How many apples are there? There are 12 apples in 3 boxes.",
    "Therefore, the final answer is $ 42. Use only addition, then give the actual correct answer.",
    "So the answer is True. So the answer is False. False False True True Yes No",
    "一共有多少个苹果？三个盒子里有十二个苹果。",
)
SPECIAL = ("<|start|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")


@dataclass(frozen=True)
class Family:
    """A saved model: as we open it, and as transformers does."""

    name: str
    folder: Path
    local: LocalModel
    reference: Any


def train_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|start|>", eos_token="<|end|>", chat_template=template
    )


def save_filler(folder: Path, marks: Sequence[str]) -> Path:
    """A llama whose tokenizer has tokens for gaps."""
    tokenizer = train_tokenizer(TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
    build("llama", len(tokenizer), tokenizer.eos_token_id).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build(name: str, width: int, ends: int) -> Any:
    shared = {
        "vocab_size": width, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 320,
        "bos_token_id": 0, "eos_token_id": ends, "pad_token_id": None, "tie_word_embeddings": False,
        "initializer_range": 0.15,
    }  # fmt: skip
    configs: dict[str, Any] = {
        "llama": lambda: LlamaConfig(**shared),
        "gemma2": lambda: Gemma2Config(
            **{**shared, "tie_word_embeddings": True}, sliding_window=12, query_pre_attn_scalar=32
        ),
        "qwen3": lambda: Qwen3Config(**shared),
        "mistral": lambda: MistralConfig(**shared, sliding_window=10),
        "phi3": lambda: Phi3Config(**{k: v for k, v in shared.items() if k != "head_dim"}),
        "gpt2": lambda: GPT2Config(
            vocab_size=width, n_embd=64, n_layer=2, n_head=2, n_positions=320, initializer_range=0.15,
            bos_token_id=0, eos_token_id=ends,
        ),
    }  # fmt: skip
    grouped = {**shared, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    plain = {k: v for k, v in shared.items() if k not in ("num_key_value_heads", "head_dim", "intermediate_size")}
    configs |= {
        # It has no positions to run out of; a context must be said anyway.
        "bloom": lambda: BloomConfig(**plain),
        "falcon": lambda: FalconConfig(**plain, alibi=True, multi_query=False, parallel_attn=False),
        "qwen2": lambda: Qwen2Config(**{**grouped, "tie_word_embeddings": True}),
        "gpt_oss": lambda: GptOssConfig(**grouped, num_local_experts=4, num_experts_per_tok=2, sliding_window=12),
        "llama4_text": lambda: Llama4TextConfig(
            **grouped, intermediate_size_mlp=96, num_local_experts=2, attention_chunk_size=16, no_rope_layers=[1, 0]
        ),
        "gemma3_text": lambda: Gemma3TextConfig(
            **{**grouped, "tie_word_embeddings": True}, sliding_window=12, query_pre_attn_scalar=16,
            layer_types=["sliding_attention", "full_attention"],
        ),
    }  # fmt: skip
    torch.manual_seed(sum(map(ord, name)))
    return AutoModelForCausalLM.from_config(configs[name]())


def save(name: str, folder: Path) -> Path:
    template = {"gpt2": None, "gemma2": NO_SYSTEM}.get(name, TEMPLATE)
    tokenizer = train_tokenizer(template)
    # A few logits more than tokens, as published checkpoints have.
    model = build(name, len(tokenizer) + 3, tokenizer.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def opened(name: str, folder: Path) -> Family:
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return Family(name, folder, open_local(str(folder)), reference)
