from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steepest.calls import CallLog
from steepest.codec import decode, encode
from steepest.context import Context, World
from steepest.errors import SpecError
from steepest.ledger import Ledger, Limits
from steepest.methods.greater import PAPER, REFERENCE, Greater, gains
from steepest.tasks.task import Task
from steepest.types import Candidate, Scored, Trial, Usage
from toy_whitebox import HARMFUL, WORDS, ToyWhiteBox, toy_task


class Search:
    """A method stepped by hand on the toy model, without an engine."""

    def __init__(self, method: Greater, folder: Path, task: Task | None = None, seed: int = 0) -> None:
        self.method = method
        self.model = ToyWhiteBox()
        log = CallLog(folder / "calls.jsonl")
        self.world = World(task or toy_task(), {"task": self.model}, log, seed, lambda event: None)
        self.trials: list[tuple[Trial, ...]] = []
        self.states = [method.init(self._context(0))]

    def _context(self, step: int) -> Context:
        return Context(self.world, Ledger(self.world.log, step, Limits(), Usage()))

    def run(self, steps: int) -> Greater.State:
        for _ in range(steps):
            ctx = self._context(len(self.states))
            self.states.append(self.method.step(self.states[-1], ctx))
            self.trials.append(ctx.trials)
        return self.states[-1]


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Any]:
    made: list[Search] = []

    def make(task: Task | None = None, seed: int = 0, **fields: Any) -> Search:
        folder = tmp_path / f"{len(made)}"
        folder.mkdir()
        made.append(Search(Greater(**fields), folder, task, seed))
        return made[-1]

    yield make
    for each in made:
        each.world.log.close()


BASE = {**PAPER, "k": 6, "rows": 16, "select": "both"}


@pytest.mark.parametrize("positions", ["cycle", "all"])
@pytest.mark.parametrize("gradient", ["answer", "sampled"])
@pytest.mark.parametrize("select", ["error", "loss", "both", "metric", "expected", "importance"])
def test_it_improves_the_prompt(search: Any, gradient: str, positions: str, select: str) -> None:
    found = search(**{**BASE, "gradient": gradient, "positions": positions, "select": select})
    end = found.run(12)
    assert end.best.mean > found.states[0].best.mean
    assert not any(word.strip() in end.best.candidate.text.split() for word in HARMFUL)


def test_the_gradient_spends_fewer_trials_on_harmful_words_than_chance(search: Any) -> None:
    def harmful(shortlist: str) -> int:
        run = search(**BASE, shortlist=shortlist)
        run.run(12)
        return sum(trial.new in HARMFUL for trials in run.trials for trial in trials)

    assert harmful("gradient") == 0
    assert harmful("random") > 0


def test_the_incumbent_is_replaced_only_by_a_paired_gain(search: Any) -> None:
    run = search(**{**BASE, "margin": 1.0})
    run.run(12)
    assert any(before.ids != after.ids for before, after in zip(run.states, run.states[1:], strict=False))
    for before, after in zip(run.states, run.states[1:], strict=False):
        if before.ids != after.ids:
            assert gains(before.current, after.current, 1.0)
        assert after.best.mean >= before.best.mean


def test_an_edit_that_lost_is_not_tried_again_on_the_same_incumbent(search: Any) -> None:
    run = search(**BASE)
    run.run(14)
    seen: set[tuple[Any, ...]] = set()
    for state, trials in zip(run.states, run.trials, strict=False):
        for trial in trials:
            key = (state.ids, trial.position, trial.old, trial.new)
            assert key not in seen
            seen.add(key)
    assert len(seen) > 14


def test_ids_that_do_not_survive_are_never_tried(search: Any) -> None:
    run = search(**{**BASE, "k": len(WORDS), "grow": "always"}, shortlist="all")
    run.run(10)
    texts = [s.current.candidate.text for s in run.states]
    model = run.model
    for state, text in zip(run.states, texts, strict=True):
        assert model.encode(text, "Why? ") == list(state.ids)


def test_it_grows_while_that_pays_and_in_front_of_a_full_stop(search: Any) -> None:
    run = search(**{**BASE, "grow": "always"})
    end = run.run(24)
    assert len(end.best.candidate.text.split()) > 3
    stop = WORDS.index(".")
    grown = [(a, b) for a, b in zip(run.states, run.states[1:], strict=False) if len(b.ids) > len(a.ids)]
    assert grown
    for before, after in grown:
        assert (after.ids[-1] == stop) == (before.ids[-1] == stop)


def test_a_closed_prompt_does_not_grow_by_the_papers_rule(search: Any) -> None:
    run = search(**BASE)
    run.run(12)
    for before, after in zip(run.states, run.states[1:], strict=False):
        assert len(after.ids) == len(before.ids) or WORDS[before.ids[-1]] != "."


def test_the_prompt_never_outgrows_its_limit(search: Any) -> None:
    end = search(**{**BASE, "grow": "always"}, accept="always", max_length=6).run(30)
    assert len(end.ids) == 6


def test_the_reference_preset_always_moves(search: Any) -> None:
    run = search(**{**BASE, **REFERENCE, "full_stop": "free"})
    run.run(10)
    assert all(a.ids != b.ids for a, b in zip(run.states, run.states[1:], strict=False))
    assert run.states[-1].best.mean == max(s.current.mean for s in run.states)


def test_a_forced_full_stop_is_taken_whatever_its_score(search: Any) -> None:
    task = replace(toy_task(), seeds=("think slowly step reason",))
    free = search(task, **{**BASE, "k": len(WORDS)}, shortlist="all")
    forced = search(task, **{**BASE, "k": len(WORDS)}, shortlist="all", full_stop="force")
    stop = WORDS.index(".")
    assert stop not in free.run(4).ids
    assert stop in forced.run(4).ids


def test_reasoning_off_generates_nothing(search: Any) -> None:
    run = search(**BASE, reasoning=False)
    run.run(3)
    kinds = {line.split('"kind":')[1].split(",")[0].strip(' "') for line in run.world.log.path.read_text().splitlines()}
    assert kinds == {"propose", "gradient", "loss"}


def test_the_same_seed_gives_the_same_run_and_another_seed_another(search: Any) -> None:
    runs = [search(seed=seed, k=6, rows=16) for seed in (3, 3, 4)]
    for run in runs:
        run.run(6)
    assert runs[0].states == runs[1].states
    assert runs[0].trials == runs[1].trials
    assert runs[0].trials != runs[2].trials


def test_states_survive_json(search: Any) -> None:
    run = search(k=6, rows=16)
    run.run(3)
    for state in run.states:
        assert decode(Greater.State, encode(state), "state", SpecError) == state


@pytest.mark.parametrize("field", ["k", "q", "mu", "rows", "max_length"])
def test_impossible_settings_are_refused(field: str) -> None:
    with pytest.raises(SpecError, match=f"{field} must be at least 1, got 0"):
        Greater(**{field: 0})


def test_one_sample_tells_nothing() -> None:
    with pytest.raises(SpecError, match="samples must be at least 2"):
        Greater(gradient="sampled", samples=1)


def scored(*scores: float) -> Scored:
    return Scored(Candidate("x"), {f"r{i}": s for i, s in enumerate(scores)})


@pytest.mark.parametrize(
    ("rival", "margin", "wins"),
    [((1, 1, 1, 1), 1.0, True), ((1, 0, 0, 0), 0.0, True), ((1, 0, 0, 0), 2.0, False), ((0, 0, 0, 0), 0.0, False)],
)
def test_gains_are_paired(rival: tuple[float, ...], margin: float, wins: bool) -> None:
    assert gains(scored(0, 0, 0, 0), scored(*rival), margin) is wins


def test_gains_of_several_positions_are_taken_together(search: Any) -> None:
    run = search(k=8, rows=16, mu=8, grow="never")
    run.run(6)
    joint = [t for trials in run.trials for t in trials if t.accepted and t.position == -1]
    assert joint
    assert all(len(trial.new.split()) > 1 for trial in joint)
    for state in run.states:
        assert run.model.encode(state.current.candidate.text, "Why? ") == list(state.ids)
