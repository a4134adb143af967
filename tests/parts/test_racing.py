from __future__ import annotations

import itertools
import json
import math
import random

import numpy as np
import pytest
from bandit_world import Bandit, arms, context_of
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest import spec
from steepest.errors import SpecError
from steepest.parts.racing import ROW_SHRINK, SHRINK, Racing, chance_of_lead, difference, merits
from steepest.parts.selection import Full, ask_ahead, finalists, finalists_cost, informed, ranked
from steepest.types import Candidate, Scored


def scored(*scores: float) -> Scored:
    return Scored(Candidate("a"), {f"row {i}": score for i, score in enumerate(scores)})


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_whatever_the_sizes_the_budget_holds_and_exactly_so_many_survive(data: st.DataObject) -> None:
    n, rows, keep = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 20)), data.draw(st.integers(1, 14))
    budget = data.draw(st.none() | st.integers(n, n * rows + 10))
    race = Racing(budget, data.draw(st.integers(1, 9)), data.draw(st.floats(1.1, 4)), data.draw(st.floats(0, 0.99)))
    failing = data.draw(st.frozensets(st.tuples(st.integers(0, n - 1), st.integers(0, rows - 1)), max_size=9))
    bandit = Bandit(
        arms(*(i / n for i in range(n))), rows, failing=frozenset((f"arm {a:02}", f"row {r}") for a, r in failing)
    )
    with context_of(bandit) as ctx:
        found = race(bandit.candidates, bandit.examples, keep, ctx)
    assert len(bandit.pairs) == len(set(bandit.pairs)) <= race.evaluations(n, rows, keep) <= n * rows
    assert len(found) == min(keep, n) and (budget or found == ranked(found))
    asked = {arm: bandit.asked(arm) for arm in bandit.chances}
    longest = max(asked.values(), key=len)
    assert all(sorted(each) == sorted(longest[: len(each)]) for each in asked.values()), "rows are not shared"
    assert min(map(len, asked.values())) >= race.certain(n, rows) >= race.certain(n + 1, rows) >= 1


@pytest.mark.parametrize(("rows", "budget"), [(12, 100), (12, 2048), (100, 500), (100, 2048)])
def test_what_is_certain_for_many_is_certain_for_fewer(rows: int, budget: int) -> None:
    certain = [Racing(budget).certain(n, rows) for n in range(1, 33)]
    assert certain == sorted(certain, reverse=True) and 1 <= certain[-1] <= certain[0] <= rows


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9), st.integers(1, 40), st.integers(1, 4), st.integers(0, 10**6))
def test_infinite_patience_chooses_as_full_does(n: int, rows: int, keep: int, seed: int) -> None:
    chances = arms(*(random.Random(seed + i).random() for i in range(n)))
    found = []
    for how in (Full(), Racing(delta=0.0, block=3)):
        bandit = Bandit(chances, rows, seed)
        with context_of(bandit) as ctx:
            found.append(how(bandit.candidates, bandit.examples, min(keep, n - 1), ctx))
    assert found[0] == found[1]


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 0.25, 0.5, 1.0)])
def test_a_lead_is_as_probable_as_all_signs_say_or_less(values: tuple[float, ...]) -> None:
    dice = random.Random(1)
    for _ in range(40):
        one, other = ([dice.choice(values) for _ in range(9)] for _ in range(2))
        differences = [a - b for a, b in zip(one, other, strict=True)]
        lead = sum(differences)
        flips = [
            sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in itertools.product((1, -1), repeat=len(differences))
        ]
        exact = sum(flipped >= lead - 1e-12 for flipped in flips) / len(flips)
        chance = chance_of_lead(scored(*one), scored(*other))
        assert chance >= exact - 1e-12
        if len(values) == 2 and lead > 0:
            assert math.isclose(chance, exact)


@pytest.mark.slow
def test_the_best_is_dropped_no_more_often_than_said() -> None:
    dropped = 0
    for seed in range(150):
        bandit = Bandit(arms(0.5, 0.5, 0.5, 0.5), 60, seed)
        with context_of(bandit) as ctx:
            Racing(delta=0.3, block=5)(bandit.candidates, bandit.examples, 2, ctx)
        dropped += len(bandit.asked("arm 00")) < 60
    assert dropped / 150 <= 0.3


def test_evidence_saves_what_is_hopeless() -> None:
    bandit = Bandit(arms(0.95, 0.05, 0.05, 0.05), 100)
    with context_of(bandit) as ctx:
        found = Racing()(bandit.candidates, bandit.examples, 1, ctx)
    assert found[0].candidate.text == "arm 00"
    assert len(bandit.pairs) < 200


def test_a_budget_goes_to_the_better_half() -> None:
    bandit = Bandit(arms(*(0.1 + 0.1 * i for i in range(8))), 100)
    with context_of(bandit) as ctx:
        Racing(budget=240)(bandit.candidates, bandit.examples, 2, ctx)
    assert len(bandit.pairs) <= 240
    assert len(bandit.asked("arm 07")) > 2 * len(bandit.asked("arm 00"))


def test_merits_are_those_of_the_least_squares_that_shrink_both_ways() -> None:
    dice = random.Random(3)
    for _ in range(30):
        arms_, rows = dice.randrange(2, 9), dice.randrange(1, 30)
        scores = [
            {f"row {r}": float(dice.random() < 0.6) for r in range(dice.randrange(1, rows + 1))} for _ in range(arms_)
        ]
        cells = [(a, int(row[4:]), score) for a, each in enumerate(scores) for row, score in each.items()]
        design, right = np.zeros((len(cells), arms_ + rows + 1)), np.array([score for *_, score in cells])
        for i, (a, r, _) in enumerate(cells):
            design[i, [a, arms_ + r, -1]] = 1
        ridge = design.T @ design + np.diag([float(SHRINK)] * arms_ + [float(ROW_SHRINK)] * rows + [0.0])
        solved = np.linalg.solve(ridge, design.T @ right)
        assert np.allclose(merits(scores), solved[-1] + solved[:arms_], atol=0.01)


def test_merit_is_not_fooled_by_few_or_by_easy_rows() -> None:
    hard, easy = [f"hard {i}" for i in range(20)], [f"easy {i}" for i in range(4)]
    strong = dict.fromkeys(hard[:14], 1.0) | dict.fromkeys(hard[14:], 0.0) | dict.fromkeys(easy, 1.0)
    weak = dict.fromkeys(hard, 0.0) | dict.fromkeys(easy, 1.0)
    lucky = dict.fromkeys(easy, 1.0)
    found = merits([strong, weak, lucky, {}])
    assert found[0] > found[2] > found[1] and found[3] == -math.inf


def test_rows_on_which_earlier_candidates_differed_come_first() -> None:
    bandit = Bandit(arms(0.5, 0.6, 0.7, 0.8), 30)
    told = {f"row {i}" for i in range(5)}
    known = [Scored(Candidate(f"old {n}"), {f"row {i}": float(i >= 5 or n % 2) for i in range(30)}) for n in range(6)]
    with context_of(bandit) as ctx:
        race = informed(Racing(budget=60), known)
        ask_ahead(race, bandit.candidates, bandit.examples, 4, ctx)
        found = race(bandit.candidates, bandit.examples, 1, ctx)
    assert all(set(bandit.asked(arm)[:5]) == told for arm in bandit.chances)
    assert len(bandit.pairs) == len(set(bandit.pairs)) <= 60 and len(found) == 1
    assert informed(Full(), known) == Full()


def test_what_is_not_known_of_a_row_counts_as_difference() -> None:
    assert difference("new", []) == 0.25
    same = [scored(1.0)] * 4
    assert difference("row 0", same) == 0.05
    assert difference("row 0", [scored(1.0), scored(0.0)]) == 0.25


def test_a_third_of_the_calls_chooses_nearly_as_well_as_all() -> None:
    """Eight candidates, of which the best is right ten points more often than the next."""
    chances = arms(*(0.4 + 0.05 * i for i in range(7)), 0.85)
    chosen = []
    for seed in range(30):
        bandit = Bandit(chances, 100, seed)
        with context_of(bandit) as ctx:
            chosen.append(Racing(budget=266)(bandit.candidates, bandit.examples, 1, ctx)[0].candidate.text)
        assert len(bandit.pairs) <= 266
    assert chosen.count("arm 07") >= 26


def test_a_second_race_goes_on_where_the_first_ended() -> None:
    bandit = Bandit(arms(0.6, 0.5, 0.4), 40)
    with context_of(bandit) as ctx:
        Racing(budget=30)(bandit.candidates, bandit.examples, 1, ctx)
        before = len(bandit.pairs)
        Racing(budget=60)(bandit.candidates, bandit.examples, 1, ctx)
    assert len(bandit.pairs) <= 60 and len(bandit.pairs) > before
    assert len(set(bandit.pairs)) == len(bandit.pairs)


def test_finalists_stand_in_their_order_with_all_rows() -> None:
    bandit = Bandit(arms(0.2, 0.9, 0.1, 0.8), 30)
    with context_of(bandit) as ctx:
        race = Racing(budget=60)
        found = finalists(race, bandit.candidates, bandit.examples, 2, ctx)
    assert [each.candidate.text for each in found] == ["arm 01", "arm 03"]
    assert {each.n for each in found} == {30}
    assert len(bandit.pairs) <= finalists_cost(race, 4, 30, 2) == 120


@pytest.mark.parametrize(
    "settings", [{"block": 0}, {"growth": 1.0}, {"delta": 1.0}, {"delta": -0.1}, {"budget": 0}], ids=str
)
def test_values_that_no_race_could_use_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        spec.build({"use": "racing", **settings})


@pytest.mark.parametrize("name", ["ape", "protegi", "opro", "pe2", "gpo", "gradsum"])
def test_every_method_takes_it_by_name(name: str) -> None:
    method = spec.build({"use": name, "select": {"use": "racing", "budget": 300}})
    assert method.select == Racing(budget=300)
    assert spec.build(json.loads(json.dumps(spec.describe(method)))) == method
