"""What is shared out is put together again, for any number of replicas: workers in this process, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_models import Family, save_filler

from steepest.models.local import open_local
from steepest.models.local.infilling import MARKS
from steepest.models.replicas.crew import Job
from steepest.models.replicas.model import InfillingReplicas, Replicas
from steepest.models.replicas.worker import Facts, Worker
from steepest.types import Gap, Infill, Objective, Request, Row

PROMPT = "Think step by step and answer"
ROWS = [
    Row(f"There are {n // 2} apples in {n % 3} boxes. ", "" if n % 2 else "\nGo!", f"So {n} is" * (n % 4), f" {n}")
    for n in range(11)
]


@dataclass(frozen=True)
class Method:
    """An actor's method, called as Ray has it, answered here."""

    call: Callable[..., Any]

    def options(self, num_returns: str) -> Method:
        assert num_returns == "streaming"
        return self

    def remote(self, *arguments: Any) -> Any:
        return self.call(*arguments)


class Crew:
    """One worker that plays so many, the last one first."""

    def __init__(self, count: int, name: str, **options: Any) -> None:
        self._count = count
        self._worker = Worker(name, options)
        self.facts: Facts = self._worker.facts()

    def __len__(self) -> int:
        return self._count

    def put(self, value: Any) -> Any:
        return value

    def work(self, jobs: Sequence[Job], begin: Callable[[Any, list[int]], Any]) -> Iterator[tuple[Job, Any]]:
        names = ("generate", "infill", "logprobs", "propose", "gradient", "loss")
        actor = SimpleNamespace(**{name: Method(vars(Worker)[name].__get__(self._worker)) for name in names})
        for job in reversed(jobs):
            for found in begin(actor, list(job.items)):
                yield job, found


def shared(count: int, family: Family) -> Replicas:
    crew: Any = Crew(count, str(family.folder), threads=1)
    return Replicas(crew)


@pytest.mark.parametrize("count", [3, 8])
def test_white_box_results_and_accounts_are_those_of_one(family: Family, count: int) -> None:
    ours, one = shared(count, family), family.local
    ids = one.encode(PROMPT, ROWS[0].before)
    assert ours.encode(PROMPT, ROWS[0].before) == ids and ours.decode(ids) == one.decode(ids)
    for objective in (Objective(), Objective(fluency=0.3, fluency_form="perplexity", reduction="mean")):
        weights = np.linspace(0.1, 2, len(ROWS)).tolist()
        asked = ROWS, ids, [2, 4], [range(30), range(40, 100)], weights, objective
        found, expected = ours.gradient(*asked), one.gradient(*asked)
        assert found.tokens == expected.tokens
        for some, same in zip([*found.values, found.loss], [*expected.values, expected.loss], strict=True):
            scale = max(1.0, float(np.abs(same).max()))
            np.testing.assert_allclose(some / scale, same / scale, atol=1e-4)
        prompts = [ids[n % 2 :] for n in range(len(ROWS) + 3)]
        losses, expected_losses = (m.loss([*ROWS, *ROWS[:3]], prompts, objective) for m in (ours, one))
        assert losses.tokens == expected_losses.tokens
        np.testing.assert_allclose(losses.loss, expected_losses.loss, rtol=1e-3)
        assert (losses.correct == expected_losses.correct).all()
    proposals, expected_proposals = (m.propose(ROWS, ids, 3, 4) for m in (ours, one))
    assert proposals.tokens == expected_proposals.tokens
    np.testing.assert_allclose(proposals.logprobs, expected_proposals.logprobs, atol=1e-4)


@pytest.mark.parametrize("count", [3, 8])
def test_texts_and_likelihoods_are_those_of_one(family: Family, count: int) -> None:
    ours, one = shared(count, family), family.local
    requests = [Request(f"{row.before}\n{PROMPT}", max_tokens=4 + n) for n, row in enumerate(ROWS)]
    requests += [Request(row.before, 1.0, 6, seed=n) for n, row in enumerate(ROWS)]
    assert dict(ours.generate(requests)) == dict(one.generate(requests))
    pairs = [(row.before, row.reply + row.target) for row in ROWS]
    for found, expected in zip(ours.logprobs(pairs), one.logprobs(pairs), strict=True):
        assert found.tokens == expected.tokens
        np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-4)


def test_gaps_are_filled_alike(tmp_path: Path) -> None:
    folder = save_filler(tmp_path / "filler", MARKS[0])
    crew: Any = Crew(3, str(folder), threads=1, infill=True)
    requests = [Infill(Gap(row.before, row.after), max_tokens=8) for row in ROWS]
    one: Any = open_local(str(folder), infill=True)
    assert dict(InfillingReplicas(crew).infill(requests)) == dict(one.infill(requests))


def test_work_is_shared_out_by_length(llama: Family) -> None:
    crew: Any = Crew(2, str(llama.folder), threads=1)
    rows = [*ROWS[:4], Row(ROWS[5].before * 4, "", "", " 1")]
    begun = Replicas(crew)._sharded([row.before for row in rows], lambda actor, part: [part])
    assert sorted(part for _, part in begun) == [[0, 1, 2, 3], [4]]
