"""The bundled model's tokens: every word of its world is one, every digit is one, and four mark the turns."""

from __future__ import annotations

import json
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from steepest.bundled import lexicon, world

PAD, USER, ASSISTANT, END = SPECIALS = ("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
PIECES = r" ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]+|\s+"
# A system message is an instruction like any other, so it goes where instructions go: behind the question.
TEMPLATE = (
    "{%- set ns = namespace(system='') -%}"
    "{%- for m in messages -%}"
    "{%- if m['role'] == 'system' -%}{%- set ns.system = ' ' + m['content'] -%}"
    "{%- elif m['role'] == 'user' -%}{{- '<|user|>' + m['content'] + ns.system -}}{%- set ns.system = '' -%}"
    "{%- else -%}{{- '<|assistant|>' + m['content'] + '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def tokenizer(sample: int = 6000) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every word of the world is one token, and every digit."""
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    rng = Random("tokenizer")
    found: dict[str, None] = {}
    for word in (*lexicon.words(), *lexicon.capitals()):
        found[split.pre_tokenize_str(f" {word}")[0][0]] = None
    for _ in range(sample):
        question, _, response = world.training_text(rng)
        for text in (question, response):
            found.update(dict.fromkeys(piece for piece, _ in split.pre_tokenize_str(text)))
    small = Tokenizer(models.BPE())
    small.pre_tokenizer = split
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    small.train_from_iterator(
        [f" {word}" for word in lexicon.words()],
        trainers.BpeTrainer(vocab_size=len(alphabet) + 160, initial_alphabet=alphabet, show_progress=False),
    )
    merges = [tuple(pair) for pair in json.loads(small.to_str())["model"]["merges"]]
    pieces = dict.fromkeys((*SPECIALS, *alphabet, *(left + right for left, right in merges), *found))
    # Words are looked up whole before any merge is tried; merges only serve words of other texts.
    whole = Tokenizer(
        models.BPE(vocab={piece: at for at, piece in enumerate(pieces)}, merges=merges, ignore_merges=True)
    )
    whole.pre_tokenizer, whole.decoder = split, decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=whole,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = TEMPLATE
    return made
