"""How long does one GReaTer step take, beside the schedule of the published code?

The schedule is made again with transformers alone, as its authors' code runs it (psunlpgroup/GreaTer): reasoning by
`generate` in batches of 9 for the current prompt and for every shortlisted one, a full forward pass per row for
proposals with all logits kept, a full forward and backward pass per row with the gradients of all weights, a full
forward pass for every re-scored row, nothing reused. What it counts is checked against the formulas

    generate calls   ceil(Q/9) + 2 mu ceil(Q/2/9)        decode steps  calls * R
    read             (1 + mu) Q L0                       written       (1 + mu) Q R
    proposals        Q L        gradient  Q L            re-scoring    mu Q L

with Q rows, mu candidates, L0 tokens of question, prompt and template, R of reasoning, and L of the whole row. Only
its calls of the garbage collector are left out. Ours is `greater` with preset=paper behind the journal, in a steady
state: the incumbent's reasoning is known from the step before, and the position moves on by one. Beside it the same
steps without drafts from earlier answers.

All take turns in one process on one thread. The floor is what no implementation of the step can leave out, at the
best rate at which this machine multiplies the model's matrices; attention and everything else count as nothing.

    python bench/greater_step.py [--size small large bundled] [--dtype float32 bfloat16] [--rounds 3] [--quick]
"""

# size: two schedules of one step, ours and the published one, and their counts
from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy, one_hot
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from steepest import spec
from steepest.bundled import source
from steepest.calls import CallLog
from steepest.context import Context, World
from steepest.ledger import UNLIMITED, Ledger
from steepest.methods.greater import Greater
from steepest.models import open_model
from steepest.models.alike import Alike
from steepest.models.local.drafts import Draft, Drafts
from steepest.tasks.task import Task
from steepest.types import Example, Usage
from tiny import Counter, Passed, Spent, machine, matrix_rate, operations, random_model, random_task, ratio, spent

BATCH = 9
BUNDLED = Path(spec.__file__).parent / "bundled" / "model"
FIRST = "Use proper logical reasoning and think step by step. Finally give the actual correct answer."
"""The initial prompt of the published code; the bundled model reasons under it."""


@dataclass(frozen=True)
class Settings:
    """What both sides are given."""

    rows: int
    reasoning: int
    forced: bool
    """Whether no answer ends before its limit."""
    mu: int = 3
    k: int = 10


@dataclass(frozen=True)
class Asked:
    """A row as ids around prompt and reasoning."""

    left: list[int]
    right: list[int]
    """The template between prompt and reasoning."""
    extractor: list[int]
    answer: list[int]

    def begun(self, prompt: Sequence[int]) -> list[int]:
        """Up to where the model reasons."""
        return [*self.left, *prompt, *self.right]

    def whole(self, prompt: Sequence[int], reasoning: Sequence[int]) -> list[int]:
        """To the last token of the answer."""
        return [*self.begun(prompt), *reasoning, *self.extractor, *self.answer]


def asked(coder: Any, task: Task, example: Example) -> Asked:
    """A row as the model's chat template writes it."""
    content = task.template.render("\n\n", example)[-1].content
    turn = [{"role": "user", "content": content}]
    left, right = coder.apply_chat_template(turn, tokenize=False, add_generation_prompt=True).split("\n\n")
    parts = (left.rstrip(" "), right, f" {task.extractor}", f" {example.target}")
    return Asked(*(coder(part, add_special_tokens=False).input_ids for part in parts))


class Published:
    """One step by the published schedule."""

    def __init__(self, model: Any, coder: Any, task: Task, settings: Settings, counter: Counter) -> None:
        self._model = model
        self._task = task
        self._settings = settings
        self._counter = counter
        self.rows = [asked(coder, task, example) for example in task.train[: settings.rows]]
        ends = model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])
        self.count: Tally[str] = Tally()
        """Real tokens, without padding, and calls of `generate`, by what they were for."""
        self.padded: dict[str, Passed] = {}
        """What went through the model, by what it was for."""
        self.reasoning: list[list[int]] = []
        """Under the current prompt."""

    def step(self, prompt: Sequence[int], position: int) -> None:
        """Reasoning, proposals, gradient, and every shortlisted prompt with fresh reasoning."""
        self.count.clear()
        self.padded.clear()
        rows = self.rows
        self.reasoning = self._reason(rows, prompt)
        whole = [row.whole(prompt, r) for row, r in zip(rows, self.reasoning, strict=True)]
        tokens = self._propose(whole, position)
        total = sum(self._gradient(row, ids, prompt, position, tokens) for row, ids in zip(rows, whole, strict=True))
        half = ceil(len(rows) / 2)
        for place in total.topk(self._settings.mu, largest=False).indices.tolist():
            edited = [*prompt[:position], tokens[place], *prompt[position + 1 :]]
            for part in (rows[:half], rows[half:]):
                self._rescore(part, edited, self._reason(part, edited))

    @contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        before = self._counter.passed
        yield
        self.padded[what] = self.padded.get(what, Passed()) + (self._counter.passed - before)

    def _reason(self, rows: Sequence[Asked], prompt: Sequence[int]) -> list[list[int]]:
        found = []
        for at in range(0, len(rows), BATCH):
            begun = [row.begun(prompt) for row in rows[at : at + BATCH]]
            ids, mask = _rectangle(begun, left=True)
            with self._counted("reasoning"), torch.no_grad():
                out = self._model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=self._settings.reasoning,
                    do_sample=False, pad_token_id=0, use_cache=True,
                )  # fmt: skip
            written = [self._cut(row) for row in out[:, ids.shape[1] :].tolist()]
            self.count["generate calls"] += 1
            self.count["decode steps"] += out.shape[1] - ids.shape[1]
            self.count["read"] += sum(map(len, begun))
            self.count["written"] += sum(map(len, written))
            found += written
        return found

    def _cut(self, ids: list[int]) -> list[int]:
        return ids[: next((at for at, token in enumerate(ids) if token in self._ends), len(ids))]

    def _propose(self, whole: Sequence[list[int]], position: int) -> list[int]:
        """The tokens likeliest on average; every row's logits are kept until all rows have passed."""
        kept = []
        with self._counted("proposals"), torch.no_grad():
            for row, ids in zip(self.rows, whole, strict=True):
                logits = self._model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
                kept.append((logits, len(row.left) - 1 + position))
                self.count["proposals"] += len(ids)
        likely = torch.stack([logits[at].float().softmax(-1) for logits, at in kept])
        return likely.mean(0).topk(self._settings.k).indices.tolist()

    def _gradient(
        self, row: Asked, ids: list[int], prompt: Sequence[int], position: int, tokens: Sequence[int]
    ) -> torch.Tensor:
        """Change of one row's loss with each token's indicator. Weights gather gradients that nobody reads."""
        table = self._model.get_input_embeddings().weight
        at = len(row.left) + position
        chosen = one_hot(torch.tensor([0]), len(tokens)).to(table.dtype).requires_grad_()
        fixed = table[torch.tensor(ids)].detach()
        inputs = torch.cat([fixed[:at], chosen @ table[list(tokens)], fixed[at + 1 :]])[None]
        with self._counted("gradient"):
            logits = self._model(inputs_embeds=inputs, use_cache=False).logits[0].float()
        answer = cross_entropy(logits[-1 - len(row.answer) : -1] / 0.2, torch.tensor(row.answer))
        spoken = logits[len(row.left) - 1 : len(row.left) - 1 + len(prompt)]
        (answer + 0.2 * cross_entropy(spoken, torch.tensor(list(prompt)))).backward()
        self.count["gradient"] += len(ids)
        assert chosen.grad is not None
        return chosen.grad[0]

    def _rescore(self, rows: Sequence[Asked], prompt: Sequence[int], reasoning: Sequence[list[int]]) -> None:
        for at in range(0, len(rows), BATCH):
            batch = rows[at : at + BATCH]
            whole = [r.whole(prompt, said) for r, said in zip(batch, reasoning[at : at + BATCH], strict=True)]
            ids, mask = _rectangle(whole, left=False)
            with self._counted("re-scoring"), torch.no_grad():
                logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            for row, of_row, full in zip(batch, logits, whole, strict=True):
                said = of_row[len(full) - 1 - len(row.answer) : len(full) - 1]
                (said.argmax(-1) == torch.tensor(row.answer)).all().item()
                spoken = of_row[len(row.left) - 1 : len(row.left) - 1 + len(prompt)]
                cross_entropy(spoken.float(), torch.tensor(list(prompt))).item()
            self.count["re-scoring"] += sum(map(len, whole))

    def check(self, prompt: Sequence[int]) -> None:
        """What the last step counted against the formulas, where every reasoning has the same length."""
        q, mu, r = self._settings.rows, self._settings.mu, self._settings.reasoning
        begun = sum(len(row.begun(prompt)) for row in self.rows)
        whole = sum(len(row.whole(prompt, [0] * r)) for row in self.rows)
        calls = ceil(q / BATCH) + 2 * mu * ceil(ceil(q / 2) / BATCH)
        expected = {
            "generate calls": calls, "decode steps": calls * r, "read": (1 + mu) * begun,
            "written": (1 + mu) * q * r, "proposals": whole, "gradient": whole, "re-scoring": mu * whole,
        }  # fmt: skip
        assert dict(self.count) == expected, (dict(self.count), expected)
        assert self.padded["reasoning"].calls == calls * r, self.padded
        assert self.padded["proposals"].tokens == self.padded["gradient"].tokens == whole, self.padded
        assert self.padded["gradient"].traced == 2 * whole, self.padded


def _rectangle(sequences: Sequence[list[int]], left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, sequences))
    ids = [[0] * (width - len(s)) + s if left else s + [0] * (width - len(s)) for s in sequences]
    mask = [[0] * (width - len(s)) + [1] * len(s) if left else [1] * len(s) + [0] * (width - len(s)) for s in sequences]
    return torch.tensor(ids), torch.tensor(mask)


class NoDrafts(Drafts):
    """Nothing is guessed."""

    def find(self, prompt: Sequence[int]) -> Draft | None:
        """None, whatever was answered before."""
        return None

    def waits(self, prompt: Sequence[int], written: Alike) -> bytes | None:
        """Nobody waits for what will not be used."""
        return None


class Ours:
    """The method itself, step by step."""

    def __init__(self, model: Any, task: Task, settings: Settings, folder: Path, agreement: str, start: int) -> None:
        given = {"preset": "paper", "rows": settings.rows, "k": settings.k, "mu": settings.mu, "agreement": agreement}
        self.method: Greater = spec.build({"use": "greater", **given})
        folder.mkdir()
        self._log = CallLog(folder / "calls.jsonl")
        self._world = World(task, {"task": model}, self._log, 0, lambda event: None)
        self._settings = settings
        self.last = self._context(0)
        self.state = replace(self.method.init(self.last), position=start)

    def _context(self, number: int) -> Context:
        return Context(self._world, Ledger(self._log, number, UNLIMITED, Usage()))

    def step(self) -> None:
        """The next step."""
        self.last = self._context(self.last.step + 1)
        self.state = self.method.step(self.state, self.last)

    def reasoning(self) -> list[str]:
        """The incumbent's, as the journal has it."""
        task, text = self._world.task, self.state.current.candidate.text
        rows = task.train[: self._settings.rows]
        return [r.text for r in self._context(10**6).generate("task", [task.template.render(text, e) for e in rows])]

    @property
    def edits(self) -> int:
        """Candidates that the last step re-scored."""
        return len(self.last.trials)


@dataclass(frozen=True)
class Round:
    """One step of each."""

    ours: Spent
    undrafted: Spent
    """Ours without drafts."""
    published: Spent
    guessed: int
    """Tokens of drafts that were tried."""
    right: int
    """And that the model would have written."""
    floor: int
    """Floating-point operations that cannot be left out."""
    same: float
    """Share of rows with the same reasoning under the current prompt."""


class Contest:
    """Both, with the same weights, on the same rows."""

    def __init__(self, size: str, dtype: str, settings: Settings, rounds: int, folder: Path) -> None:
        if size == "bundled":
            path, task = BUNDLED, replace(source("arithmetic").task, seeds=(FIRST,), max_tokens=settings.reasoning)
        else:
            path, task = random_model(folder / size, size), random_task(settings.rows, settings.reasoning)
        self.settings = settings
        self.coder = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).eval()
        self._theirs = Counter(self.model)
        self._published = Published(self.model, self.coder, task, settings, self._theirs)
        # Random weights agree on nothing, so that intersections of rows would stay empty; means cost the same.
        agreement = "union" if size == "bundled" else "mean"
        self._opened = open_model(f"hf:{path}", threads=1, dtype=dtype)
        self._counted = Counter(self._opened._loaded.model)
        self._ours = Ours(self._opened, task, settings, folder / "drafts", agreement, start=8 - rounds // 2)
        without = open_model(f"hf:{path}", threads=1, dtype=dtype)
        without._loaded.drafts = NoDrafts()
        self._undrafted = Ours(without, task, settings, folder / "none", agreement, start=8 - rounds // 2)
        self._counted_undrafted = Counter(without._loaded.model)
        self._ours.step()
        self._undrafted.step()

    def round(self) -> Round:
        """The next step of ours, and the same step by the published schedule."""
        settings, state, known = self.settings, self._ours.state, self._ours.reasoning()
        prompt, position = list(state.ids), state.position % len(state.ids)
        before = self._opened.work
        ours = spent(self._ours.step, self._counted)
        after = self._opened.work
        undrafted = spent(self._undrafted.step, self._counted_undrafted)
        edits, written = self._ours.edits, self._ours.last.usage.output_tokens
        assert edits == settings.mu, f"{edits} edits were re-scored, not {settings.mu}"
        assert ours.passed.tokens >= written - edits * settings.rows, "tokens were written that no hook has seen"
        published = spent(lambda: self._published.step(prompt, position), self._theirs)
        if settings.forced:
            assert written == edits * settings.rows * settings.reasoning, "answers ended before their limit"
            self._published.check(prompt)
        theirs = [self.coder.decode(ids).strip() for ids in self._published.reasoning]
        same = statistics.fmean(a.strip() == b for a, b in zip(known, theirs, strict=True))
        read = sum(map(len, self._published.reasoning))
        floor = self._unavoidable(len(prompt), position, read, written)
        guessed, right = after.guessed - before.guessed, after.right - before.right
        return Round(ours, undrafted, published, guessed, right, floor, same)

    def _unavoidable(self, prompt: int, position: int, known: int, written: int) -> int:
        """Floating-point operations of a step that keeps all that it knows.

        Read: the token before the position (earlier steps read what stands before it), the rest of the prompt for
        every candidate, each token that it writes, and extractor and answer behind them. Forward and backward: all
        behind the position under the current prompt. Logits: where a token is chosen, proposed, or in the loss.
        """
        rows, mu = self._published.rows, self.settings.mu
        q, behind = len(rows), prompt - position
        rest = sum(behind + len(row.right) for row in rows)
        ends = sum(len(row.extractor) + len(row.answer) - 1 for row in rows)
        answers = sum(len(row.answer) for row in rows)
        passed = written if self.settings.forced else written - mu * q
        passes = q * (position > 0) + mu * (rest + ends) + passed + 2 * (rest + known + ends)
        logits = q + written + (mu + 2) * (answers + q * behind)
        return operations(self.model, passes, logits)


def table(name: str, done: Sequence[Round], rate: float) -> None:
    """One line of each table, and what stands behind it."""
    ours, theirs = [r.ours for r in done], [r.published for r in done]
    cpu = statistics.median(o.cpu for o in ours)
    floor = statistics.median(r.floor for r in done) / rate
    print(
        f"| {name} | {statistics.median(t.cpu for t in theirs):.2f} | {cpu:.2f} | "
        f"{ratio([o.cpu for o in ours], [t.cpu for t in theirs])} | "
        f"{ratio([o.wall for o in ours], [t.wall for t in theirs])} | "
        f"{_middle(theirs, 'weight'):,} / {_middle(ours, 'weight'):,} | "
        f"{_middle(theirs, 'calls'):,} / {_middle(ours, 'calls'):,} | "
        f"{_middle(theirs, 'steps'):,} / {_middle(ours, 'steps'):,} | "
        f"{_middle(theirs, 'logits'):,} / {_middle(ours, 'logits'):,} | "
        f"{floor:.2f} | {100 * floor / cpu:.0f} % | {rate / 1e9:.0f} | "
        f"{100 * statistics.fmean(r.same for r in done):.0f} % | "
        f"{_share(sum(r.right for r in done), sum(r.guessed for r in done))} | "
        f"{statistics.median(r.undrafted.cpu for r in done):.2f} | {_middle([r.undrafted for r in done], 'calls'):,} |",
        flush=True,
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} % of {whole:,}" if whole else "none tried"


def _middle(spendings: Sequence[Spent], what: str) -> int:
    return int(statistics.median(getattr(s.passed, what) for s in spendings))


HEADER = (
    "model", "published, CPU s", "ours, CPU s", "CPU ratio (rounds)", "wall ratio (rounds)", "token passes",
    "forward calls", "decode steps", "logit rows", "floor, s", "share of the floor", "GFLOP/s", "same reasoning",
    "drafts right", "without drafts, CPU s", "its forward calls",
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["small", "large", "bundled"])
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the smaller of the two settings, two rounds")
    args = parser.parse_args()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    rounds = 2 if args.quick else args.rounds
    print(f"{machine()}; {rounds} rounds, pairs are published / ours\n")
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|", flush=True)
    for size in args.size:
        for dtype in args.dtype:
            for rows, reasoning in ((30, 64), (50, 128))[: 1 if args.quick else 2]:
                forced = size != "bundled"
                settings = Settings(rows, reasoning if forced else 96, forced)
                with tempfile.TemporaryDirectory() as folder:
                    contest = Contest(size, dtype, settings, rounds, Path(folder))
                    done = [contest.round() for _ in range(rounds)]
                    length = f"R={reasoning}" if forced else "its own reasoning"
                    table(f"{size}, {dtype}, Q={rows}, {length}", done, matrix_rate(contest.model))


if __name__ == "__main__":
    main()
