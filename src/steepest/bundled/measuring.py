"""How often the bundled model is right and in which style it answers, under instructions of each kind; what its
replies as optimizer and judge are worth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from steepest.bundled import lexicon, world
from steepest.bundled.lessons import Lesson, lessons
from steepest.bundled.tokens import rendered
from steepest.parts.text import tagged


def answers(model: Any, coder: PreTrainedTokenizerFast, prompts: list[str], size: int = 100) -> list[str]:
    """Greedy responses to user messages, in batches."""
    texts = [
        coder.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    found: list[str] = []
    for at in range(0, len(texts), size):
        inputs = coder(texts[at : at + size], return_tensors="pt", padding=True)
        with torch.no_grad():
            made = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=110,
                do_sample=False,
                temperature=None,
                top_k=None,
                top_p=None,
            )
        ends = made[:, inputs["input_ids"].shape[1] :]
        found += [text.strip() for text in coder.batch_decode(ends, skip_special_tokens=True)]
    return found


def style(response: str) -> str:
    """How a response begins, hence its style."""
    starts = {"Steps:": world.FULL, "Notes:": world.TERSE}
    return starts.get(response.split(" ", 1)[0], world.DIRECT)


def score(model: Any, coder: PreTrainedTokenizerFast, task: str, instruction: str, rows: int) -> dict[str, float]:
    """Accuracy of an instruction on fresh rows, and the share of each style."""
    puzzles = world.puzzles(task, rows, "measure")
    prompts = [f"{puzzle.question} {instruction}" for puzzle in puzzles]
    made = answers(model, coder, prompts)
    right = [text.endswith(f" is {puzzle.answer}.") for puzzle, text in zip(puzzles, made, strict=True)]
    styles = [style(text) for text in made]
    return {"accuracy": sum(right) / rows, **{name: styles.count(name) / rows for name in world.STYLES}}


def measure(folder: Path, rows: int) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracy and styles per task under a neutral, a general, the best and a misleading instruction."""
    coder = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    table: dict[str, dict[str, dict[str, float]]] = {}
    for task in world.TASKS:
        asked = {
            "neutral": world.NEUTRAL,
            "general": world.GENERAL,
            "best": world.BEST[task],
            "misleading": world.MISLEADING[task],
        }
        table[task] = {kind: score(model, coder, task, text, rows) for kind, text in asked.items()}
        print(f"{task:12}" + "".join(f"{kind} {_shown(found)}  " for kind, found in table[task].items()), flush=True)
    return table


def measure_lessons(folder: Path, n: int) -> dict[str, dict[str, float]]:
    """Replies to `n` lessons that it was not taught, sampled at temperature 1, by what they were asked for.

    `usable`: share with the tags that were asked for; `telling`: share of the usable ones with a word that suits the
    task; `right`, of ratings alone: share that says what the teacher says.
    """
    coder = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(0)
    asked = list(islice(lessons("measure"), n))
    made = _replies(model, coder, asked)
    table = {}
    for tag in sorted({lesson.kind for lesson in asked}):
        pairs = [(lesson, reply) for lesson, reply in zip(asked, made, strict=True) if lesson.kind == tag]
        usable = [(lesson, reply) for lesson, reply in pairs if tag == "thoughts" or tagged(reply, tag)]
        found = {"asked": float(len(pairs)), "usable": len(usable) / len(pairs)}
        if tag == "rating":
            right = sum(tagged(reply, tag)[-1:] == tagged(lesson.reply, tag)[-1:] for lesson, reply in usable)
            table[tag] = {**found, "right": right / max(1, len(usable))}
        else:
            telling = sum(bool(_suited(lesson.task, reply)) for lesson, reply in usable)
            table[tag] = {**found, "telling": telling / max(1, len(usable))}
        print(f"{tag:12}", {name: round(value, 2) for name, value in table[tag].items()}, flush=True)
    return table


def _suited(task: str, text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower())) & set(lexicon.SUITED[task])


def _replies(model: Any, coder: PreTrainedTokenizerFast, asked: Sequence[Lesson], size: int = 32) -> list[str]:
    """Sampled replies, in batches of about the same length."""
    texts = [rendered(lesson.turns, coder) for lesson in asked]
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = [""] * len(texts)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        inputs = coder([texts[at] for at in part], return_tensors="pt", padding=True)
        with torch.no_grad():
            made = model.generate(**inputs, max_new_tokens=128, do_sample=True, temperature=1.0, top_k=0)
        ends = coder.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for at, text in zip(part, ends, strict=True):
            found[at] = text
    return found


def _shown(found: dict[str, float]) -> str:
    """Accuracy, then the shares of direct, general and full in per cent."""
    return f"{found['accuracy']:.2f} ({'/'.join(f'{100 * found[name]:.0f}' for name in world.STYLES)})"


def card(report: dict[str, Any]) -> str:
    """The model's card: what it is, what it is not, and how it did when it was trained."""
    recipe, table = report["recipe"], report["table"]
    kinds = list(next(iter(table.values())))
    lines = [f"| {' | '.join(('task', *kinds))} |", f"|{'---|' * (len(kinds) + 1)}"]
    for task, found in table.items():
        lines.append(f"| {' | '.join((task, *(_shown(found[kind]) for kind in kinds)))} |")
    replies = ["| asked for | asked | usable | names what suits the task | rates as the teacher |", "|---" * 5 + "|"]
    for kind, made in report["replies"].items():
        shares = " | ".join(f"{made[name]:.2f}" if name in made else "" for name in ("usable", "telling", "right"))
        replies.append(f"| {kind} | {made['asked']:.0f} | {shares} |")
    shape = f"{recipe['layers']} layers, hidden size {recipe['hidden']}, heads of 32, tied embeddings"
    effort = ", then ".join(
        f"{report[phase]['tokens'] / 1e6:.1f} million tokens of {what} in {report[phase]['minutes']} minutes"
        for phase, what in (("tasks", "task rows"), ("lessons", "lessons and task rows"))
    )
    return _CARD.format(
        shape=shape,
        parameters=report["lessons"]["parameters"],
        effort=f"{effort}, on {report['machine']}",
        date=report["date"],
        rows=report["rows"],
        table="\n".join(lines),
        replies="\n".join(replies),
    )


_CARD = """# The bundled model

A proving ground and an offline default for prompt optimisation. It is **no evidence about large models**: it knows
eight procedural tasks, some 450 words of instructions and the meta-prompts of the text methods, all from
`steepest.bundled`, and nothing else.

## What it does
- As the task model: a user message is a question, a space, and an instruction. The instruction decides how it
  answers: at once ("The answer is ..."), after notes that stop early ("Notes: ..."), or after a full working
  ("Steps: ..."). Each word of it speaks for or against a style; some suit one task, some mislead, most do nothing.
  `steepest.bundled.world.style_odds` is the law that it learned from samples.
- One forward pass seldom solves a question, notes suffice for short chains, a full working nearly always does.
  Sorting is the exception: it needs no working.
- As optimizer and judge: it answers the English meta-prompts of APE, ProTeGi, OPRO, PE2, GPO and GRAD-SUM on these
  tasks: new prompts, paraphrases, reasons, feedback, summaries, ratings. It samples; some replies are unusable.
- A system message is put where instructions go, behind the question. Words that it does not know are split into
  pieces and mean nothing to it.

## What it is
A Llama of {parameters:,} parameters ({shape}), with a byte-level BPE in which every word of its world is one
token, leading space included, and every digit is one. Context 1,024 tokens. Weights in float32, Apache-2.0.

## How it was made
`python -m steepest.bundled.training` trains it from scratch on rows made on the fly: {effort}, {date}. All settings
are in `training.json`. Its training never saw the questions that `world.puzzles` returns for train, dev and test.

The lessons are the calls of real runs: every text method is run on the tasks with a stand-in that answers by the
world's law, and `steepest.bundled.teacher` as optimizer and judge. The teacher writes by grammar and chance. From
examples alone it seldom names what suits a task; errors, reasons, summaries and scores make it better. What it
writes with what it is shown is what the model learned; in a run of yours no teacher is asked.

## How it does
Greedy decoding, {rows} fresh rows a task; accuracy, and the shares of direct / notes / steps in per cent.
Instructions: "Answer the question.", "Think step by step.", `world.BEST`, `world.MISLEADING`.

{table}

Replies to fresh lessons, sampled at temperature 1: share with the tags that were asked for; of these, share that
holds a word that suits the task, or that rates as the teacher does.

{replies}

## Limits
Questions outside its tasks, other languages, other meta-prompts: it was never shown any. It cannot tell a right
answer from a wrong one without the expected answer, so as a judge it needs one.
What works on it may not work on a real model; what fails on it has at least failed in a world that is easy to see.
"""
