"""The bundled model's tokens: every word of its world is one, every digit is one, and four mark the turns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from steepest.bundled import lexicon, world
from steepest.bundled.lessons import lessons
from steepest.types import Message

PAD, USER, ASSISTANT, END = SPECIALS = ("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
CONTEXT = 1024
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
    small = Tokenizer(models.BPE())
    small.pre_tokenizer = split
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    small.train_from_iterator(
        [f" {word}" for word in lexicon.words()],
        trainers.BpeTrainer(vocab_size=len(alphabet) + 160, initial_alphabet=alphabet, show_progress=False),
    )
    merges = [tuple(pair) for pair in json.loads(small.to_str())["model"]["merges"]]
    known = (*SPECIALS, *alphabet, *(left + right for left, right in merges), *_task_pieces(split, sample))
    # Words of the lessons come last, so that a model of the tasks alone keeps its tokens.
    pieces = dict.fromkeys((*known, *_lesson_pieces(split, sample // 2)))
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
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = TEMPLATE
    return made


def _task_pieces(split: pre_tokenizers.PreTokenizer, sample: int) -> list[str]:
    """Every word of an instruction, and all pieces of questions and responses."""
    rng = Random("tokenizer")
    found: dict[str, None] = {}
    for word in (*lexicon.words(), *lexicon.capitals()):
        found[split.pre_tokenize_str(f" {word}")[0][0]] = None
    for _ in range(sample):
        question, _, response = world.training_text(rng)
        for text in (question, response):
            found.update(dict.fromkeys(piece for piece, _ in split.pre_tokenize_str(text)))
    return list(found)


def rendered(turns: Sequence[Message], coder: PreTrainedTokenizerFast) -> str:
    """A conversation as the model reads it, up to where it answers."""
    told = [{"role": turn.role, "content": turn.content} for turn in turns]
    text: str = coder.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
    return text


def _lesson_pieces(split: pre_tokenizers.PreTokenizer, sample: int) -> list[str]:
    """Pieces that lessons hold again and again, in the order of their first appearance."""
    count: Counter[str] = Counter()
    for lesson in islice(lessons("tokenizer"), sample):
        for text in (*(turn.content for turn in lesson.turns), lesson.reply):
            count.update(piece for piece, _ in split.pre_tokenize_str(text))
    return [piece for piece, times in count.items() if times >= 30]
