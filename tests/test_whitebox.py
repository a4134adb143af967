from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steepest.calls import CallLog
from steepest.codec import dumps
from steepest.context import Context, World
from steepest.errors import BudgetSpent
from steepest.ledger import UNLIMITED, Ledger, Limits, Price
from steepest.models import Gradient, Likelihood, Losses, Proposals, WhiteBox
from steepest.testing.taps import Tap, tapped
from steepest.testing.toy import toy_world
from steepest.types import Objective, Row, Usage
from steepest.whitebox import pack, unpack

ROWS = [Row("a", "b", "c", "d"), Row("e", "f", "g", "h")]


class Numbers:
    """A white-box model whose results are awkward numbers."""

    id = "numbers"
    vocabulary = ("x", "y", "z")
    context = 64

    def generate(self, requests: Sequence[Any]) -> Iterator[Any]:
        return iter(())

    def encode(self, text: str, before: str = "") -> list[int]:
        return [self.vocabulary.index(c) for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.vocabulary[i] for i in ids)

    def propose(self, rows: Any, ids: Any, position: int, k: int, allowed: Any = None) -> Proposals:
        return Proposals(np.arange(len(rows) * k).reshape(-1, k), np.full((len(rows), k), -0.1, np.float32), 7)

    def gradient(
        self, rows: Any, ids: Any, positions: Any, among: Any, weights: Any = None, objective: Any = None
    ) -> Gradient:
        values = [np.array([0.1, np.nan, -0.0, np.inf], np.float32)[: len(tokens)] for tokens in among]
        return Gradient(values, np.float32([1 / 3] * len(rows)), 11)

    def loss(self, rows: Any, prompts: Any, objective: Any = None) -> Losses:
        n = len(rows)
        return Losses(np.float32([1e-45] * n), np.array([True, False] * n)[:n], np.float32([2.0] * n), 13)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    with CallLog(tmp_path / "calls.jsonl") as log:
        yield log


def context(log: CallLog, model: Any, step: int = 1, limits: Limits = UNLIMITED) -> Context:
    world = World(toy_world().task, {"task": model}, log, 0, lambda event: None)
    return Context(world, Ledger(log, step, limits, Usage()))


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, np.nan, np.inf, -0.0, 1e-45], np.float32),
        np.array([[True, False], [False, True]]),
        np.arange(6, dtype=np.int64).reshape(2, 3)[:, ::2],
        np.zeros((0, 4), np.float32),
    ],
)
def test_arrays_come_back_bit_for_bit(array: Any) -> None:
    again = unpack(pack(array))
    assert again.dtype == array.dtype and again.shape == array.shape
    assert again.tobytes() == array.tobytes()
    assert again.flags.writeable


def test_results_come_from_the_journal_and_are_computed_once(log: CallLog) -> None:
    tap = Tap()
    model = tapped(Numbers(), tap)

    def use(ctx: Context) -> list[Any]:
        white = ctx.whitebox("task")
        mask = np.array([True, False, True])
        proposals = white.propose(ROWS, [0, 1], 1, 2, mask)
        gradient = white.gradient(ROWS, [0, 1], [0, 1], [[0, 1], [2, 1, 0]], [0.5, 1.0])
        losses = white.loss(ROWS, [[0], [1]])
        arrays = [proposals.ids, proposals.logprobs, *gradient.values, gradient.loss, losses.loss, losses.correct]
        return [a.tobytes() for a in arrays] + [proposals.tokens, gradient.tokens, losses.tokens]

    first = context(log, model)
    live = use(first)
    assert tap.given == 3
    again = context(log, model)
    assert use(again) == live and use(again) == live
    assert tap.given == 3
    assert again.usage == first.usage == Usage(calls=3, prompt_tokens=7 + 11 + 13)
    later = context(log, model, step=2)
    assert use(later) == live
    assert later.usage == Usage(reused=3)


def test_everything_that_matters_makes_another_call(log: CallLog) -> None:
    tap = Tap()
    white = context(log, tapped(Numbers(), tap)).whitebox("task")
    mask = np.array([True, False, True])
    for use in (
        lambda: white.propose(ROWS, [0], 0, 2),
        lambda: white.propose(ROWS[:1], [0], 0, 2),
        lambda: white.propose(ROWS, [1], 0, 2),
        lambda: white.propose(ROWS, [0], 1, 2),
        lambda: white.propose(ROWS, [0], 0, 3),
        lambda: white.propose(ROWS, [0], 0, 2, mask),
        lambda: white.propose(ROWS, [0], 0, 2, ~mask),
        lambda: white.loss(ROWS, [[0], [1]]),
        lambda: white.loss(ROWS, [[1], [0]]),
        lambda: white.loss(ROWS, [[0], [1]], Objective(fluency=0.2)),
        lambda: white.gradient(ROWS, [0], [0], [[0]]),
        lambda: white.gradient(ROWS, [0], [0], [[1]]),
        lambda: white.gradient(ROWS, [0], [0], [[0]], [1.0, 2.0]),
        lambda: white.gradient(ROWS, [0], [0], [[0]], None, Objective(temperature=0.2)),
    ):
        before = tap.given
        use()
        assert tap.given == before + 1


def test_reading_and_writing_tokens_is_free(log: CallLog) -> None:
    ctx = context(log, Numbers())
    white = ctx.whitebox("task")
    assert isinstance(white, WhiteBox)
    assert white.decode(white.encode("xyz")) == "xyz"
    assert (white.id, white.context, white.vocabulary) == ("numbers", 64, ("x", "y", "z"))
    assert ctx.usage == Usage() and len(log) == 0


def test_ids_may_be_numpy_numbers(log: CallLog) -> None:
    tap = Tap()
    white = context(log, tapped(Numbers(), tap)).whitebox("task")
    white.loss(ROWS, [list(np.arange(2)), [np.int64(1)]])
    white.loss(ROWS, [[0, 1], [1]])
    assert tap.given == 1


def test_the_budget_holds_for_white_box_calls(log: CallLog) -> None:
    tap = Tap()
    white = context(log, tapped(Numbers(), tap), limits=Limits(calls=1)).whitebox("task")
    white.loss(ROWS, [[0], [1]])
    with pytest.raises(BudgetSpent):
        white.loss(ROWS, [[0], [2]])
    assert tap.given == 1
    assert dumps(Objective()) in log.path.read_text()


class Vectors:
    """Embeds and scores anything, and counts what it is asked."""

    id = "vectors"

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, texts: Sequence[str]) -> Any:
        self.asked += len(texts)
        return np.ones((len(texts), 2), np.float32)

    def logprobs(self, pairs: Sequence[Any]) -> list[Likelihood]:
        self.asked += len(pairs)
        return [Likelihood(np.zeros(1, np.float32), 400)] * len(pairs)


@pytest.mark.parametrize("kind", ["embed", "logprobs"])
def test_no_batch_of_vectors_or_scores_passes_a_limit(tmp_path: Path, kind: str) -> None:
    model = Vectors()
    with CallLog(tmp_path / "calls.jsonl") as log:
        world = World(toy_world().task, {"embedder": model}, log, 0, lambda event: None)
        ledger = Ledger(log, 1, Limits(dollars=1.0), Usage(), prices={"embedder": Price(1000.0, 0.0)})
        texts = [f"{n:04} " + "x" * 395 for n in range(100)]
        ctx = Context(world, ledger)
        with pytest.raises(BudgetSpent):
            if kind == "embed":
                ctx.embed("embedder", texts)
            else:
                ctx.logprobs("embedder", [(text, "yes") for text in texts])
        assert ctx.usage.dollars <= 1.0 and model.asked <= 10
