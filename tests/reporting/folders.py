"""Run folders written by hand, field by field, as the format says; the tests' only source of them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HOSTILE = "\x1b[31m<script>alert(1)</script>\x1b[0m \"quoted\" & 'single' \u202egnp.exe\x00 {input}"
START = "Answer the question."
PATH = [
    START,
    "Answer the chain question.",
    "Answer the chain step by step.",
    "Verify the chain step by step.",
]
DEV = [0.49, 0.60, 0.81, 0.87]


def write_run(
    folder: Path,
    *,
    prompts: Sequence[str] = PATH,
    dev: Sequence[float] = DEV,
    fixed: int = 40,
    broken: int = 3,
    finished: bool = True,
    trials: Sequence[Sequence[Mapping[str, Any]]] | None = None,
) -> Path:
    """One step per prompt; of 100 held-out rows `fixed` are gained, `broken` lost, 45 right and the rest wrong."""
    (folder / "steps").mkdir(parents=True)
    (folder / "data").mkdir()
    put(folder / "run.json", run_json(prompts[0]))
    for part, n in (("train", 60), ("dev", 200), ("test", 100)):
        rows = [{"id": f"{part}-{i}", "input": f"Q{i}\u2028?", "target": f"{i}", "meta": {}} for i in range(n)]
        put_lines(folder / "data" / f"{part}.jsonl", rows)
    for step, (prompt, share) in enumerate(zip(prompts, dev, strict=True)):
        tried = trials[step] if trials is not None else noted(step, prompts)
        put(folder / "steps" / f"{step:05d}.json", step_json(step, prompt, share, tried))
    put_lines(folder / "calls.jsonl", [])
    if finished:
        finish(folder, prompts, dev, fixed, broken)
    return folder


def run_json(prompt: str) -> dict[str, Any]:
    return {
        "format": 1,
        "steepest": "0.1.0",
        "created": "2026-11-20T10:00:00+00:00",
        "method": {"use": "greater", "k": 10, "mu": 3, "gradient": "sampled"},
        "method_version": 1,
        "passed": {
            "task": "lies",
            "model": "bundled",
            "prompt": prompt,
            "seed": 7,
            "max_tokens": 96,
            "set": ["gradient=sampled", "mu=3"],
        },
        "task": {
            "name": "lies",
            "layout": "{input}\n{prompt}",
            "system": "",
            "extractor": "The answer is",
            "metric": {"use": "choice"},
            "max_tokens": 96,
            "origin": "lies",
        },
        "models": {"task": {"name": "bundled", "options": {}, "id": "bundled-3f2a"}},
        "prompt": prompt,
        "seed": 7,
        "limits": {"steps": 40, "calls": None, "tokens": None, "seconds": None},
        "versions": {"python": "3.11.7", "numpy": "2.3.1", "torch": "2.13.0"},
        "git": None,
    }


def candidate(text: str) -> dict[str, Any]:
    return {"text": text, "parents": [], "origin": "swap"}


def step_json(step: int, prompt: str, share: float, trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = {f"dev-{i}": float(i < round(200 * share)) for i in range(200)}
    return {
        "step": step,
        "state": {"ids": [1, 2, 3], "position": step},
        "best": {"candidate": candidate(prompt), "scores": {"train-0": 0.5, "train-1": 1.0}},
        "referee": {"candidate": candidate(prompt), "scores": scores},
        "trials": list(trials),
        "usage": {"calls": 100, "prompt_tokens": 9000, "output_tokens": 3000, "reused": 4},
        "referee_usage": {"calls": 200, "prompt_tokens": 18000, "output_tokens": 6000, "reused": 0},
        "seconds": 2.5,
    }


def trial(position: int, old: str, new: str, **changed: Any) -> dict[str, Any]:
    values = {
        "position": position,
        "old": old,
        "new": new,
        "rank": 1,
        "predicted": -0.42,
        "before": 0.5,
        "after": 0.6,
        "accepted": False,
    }
    return {**values, **changed}


def noted(step: int, prompts: Sequence[str]) -> list[dict[str, Any]]:
    if step == 0:
        return []
    return [
        trial(step, " question", " chain", accepted=prompts[step] != prompts[step - 1]),
        trial(step, " question", " quickly", rank=2, predicted=-0.11, after=0.3),
        trial(step, "", " now", rank=0, predicted="NaN", after=0.5),
    ]


def finish(folder: Path, prompts: Sequence[str], dev: Sequence[float], fixed: int, broken: int) -> None:
    best = prompts[max(range(len(prompts)), key=lambda i: (dev[i], -i))]
    both = 45
    table = [(0, 1)] * fixed + [(1, 0)] * broken + [(1, 1)] * both + [(0, 0)] * (100 - fixed - broken - both)
    random.Random(0).shuffle(table)
    rows = [test_row(i, a, b) for i, (a, b) in enumerate(table)]
    put_lines(folder / "test.jsonl", rows)
    put(folder / "result.json", result_json(folder.name, prompts[0], best, fixed, broken))


def side(right: int, i: int) -> dict[str, Any]:
    said = f"A lies. B says A lies, so B is true. The answer is {'yes' if right else 'no'}."
    return {"output": said, "answer": "yes" if right else "no", "score": float(right), "finish": "stop"}


def test_row(i: int, a: int, b: int) -> dict[str, Any]:
    question = f"Is person {i} telling the truth?"
    return {"id": f"test-{i}", "input": question, "target": "yes", "initial": side(a, i), "best": side(b, i)}


def result_json(name: str, initial: str, best: str, fixed: int, broken: int) -> dict[str, Any]:
    gain = (fixed - broken) / 100
    verdict = "no_difference" if abs(gain) < 0.1 else "better" if gain > 0 else "worse"
    a, b = 0.45 + broken / 100, 0.45 + fixed / 100
    contest = {
        "initial": {"mean": a, "low": a - 0.1, "high": a + 0.09, "n": 100},
        "best": {"mean": b, "low": b - 0.08, "high": b + 0.06, "n": 100},
        "difference": {"mean": gain, "low": gain - 0.11, "high": gain + 0.1},
        "p_value": 2.1e-9 if abs(gain) >= 0.1 else 0.62,
    }
    return {
        "format": 1,
        "verdict": verdict,
        "sentence": "A sentence of the engine's.",
        "prompt": {"initial": initial, "best": best},
        "test": contest,
        "dev": contest,
        "usage": spent(1400, 126000, 42000, 161.0),
        "measuring": spent(1200, 90000, 30000, 12.0),
        "method": "greater",
        "task": "lies",
        "models": {"task": "bundled"},
        "seed": 7,
        "steps": 3,
        "stopped": "steps: 3 of 3",
        "answers": {
            "initial": {"unextracted": 4, "unanswered": 0, "truncated": 2},
            "best": {"unextracted": 0, "unanswered": 1, "truncated": 0},
        },
        "run": name,
    }


def spent(calls: int, read: int, written: int, seconds: float) -> dict[str, Any]:
    tokens = {"prompt_tokens": read, "output_tokens": written, "tokens": read + written}
    return {"calls": calls, **tokens, "reused": 0, "seconds": seconds}


def put(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False), "utf-8")


def put_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
