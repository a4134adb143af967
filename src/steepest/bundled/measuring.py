"""How often the bundled model is right, and in which style it answers, under instructions of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from steepest.bundled import world


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
    shape = f"{recipe['layers']} layers, hidden size {recipe['hidden']}, heads of 32, tied embeddings"
    effort = f"{report['tokens'] / 1e6:.1f} million tokens in {report['minutes']} minutes on {report['machine']}"
    return _CARD.format(
        shape=shape,
        parameters=report["parameters"],
        effort=effort,
        date=report["date"],
        rows=report["rows"],
        table="\n".join(lines),
    )


_CARD = """# The bundled model

A proving ground and an offline default for prompt optimisation. It is **no evidence about large models**: it knows
eight procedural tasks and some 450 words, all from `steepest.bundled.world`, and nothing else.

## What it does
- A user message is a question, a space, and an instruction. The instruction decides how it answers: at once
  ("The answer is ..."), after notes that stop early ("Notes: ..."), or after a full working ("Steps: ...").
- Each word of the instruction speaks for or against a style; some suit one task, some mislead, most do nothing.
  `steepest.bundled.world.style_odds` is the law that it learned from samples.
- One forward pass seldom solves a question, notes suffice for short chains, a full working nearly always does.
  Sorting is the exception: it needs no working.
- A system message is put where instructions go, behind the question. Words that it does not know are split into
  pieces and mean nothing to it.

## What it is
A Llama of {parameters:,} parameters ({shape}), with a byte-level BPE in which every word of its world is one
token, leading space included, and every digit is one. Context 512 tokens. Weights in float32, Apache-2.0.

## How it was made
`python -m steepest.bundled.training` trains it from scratch on rows made on the fly: {effort}, {date}.
All settings are in `training.json`. Its training never saw the questions that `world.puzzles` returns.

## How it does
Greedy decoding, {rows} fresh rows a task; accuracy, and the shares of direct / notes / steps in per cent.
Instructions: "Answer the question.", "Think step by step.", `world.BEST`, `world.MISLEADING`.

{table}

## Limits
Questions outside its tasks, other languages, conversations of several turns, long prompts: it was never shown any.
What works on it may not work on a real model; what fails on it has at least failed in a world that is easy to see.
"""
