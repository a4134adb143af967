from __future__ import annotations

import json
import math
from typing import Any

import pytest
from bandit_world import Bandit, arms, context_of
from hypothesis import given, settings
from hypothesis import strategies as st

from steepest import spec
from steepest.errors import SpecError
from steepest.parts.bandits import UCB, UCBE, SuccessiveHalving, SuccessiveRejects
from steepest.parts.selection import Filter, Full, Select, Uniform, most, ranked
from steepest.types import Candidate, Scored

BUDGETED = [Uniform, UCB, UCBE, SuccessiveRejects, SuccessiveHalving]


def select(how: Select, bandit: Bandit, keep: int) -> list[Scored]:
    with context_of(bandit) as ctx:
        return how(bandit.candidates, bandit.examples, keep, ctx)


def texts(found: list[Scored]) -> list[str]:
    return [scored.candidate.text for scored in found]


def some_selector(budget: int, samples: int, width: int) -> list[Select]:
    return [
        Full(),
        Filter(subset=samples, final=width),
        Uniform(budget),
        UCB(budget, samples, width),
        UCBE(budget, samples, width),
        SuccessiveRejects(budget),
        SuccessiveHalving(budget),
    ]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_whatever_the_sizes_the_budget_holds_and_exactly_so_many_survive(data: st.DataObject) -> None:
    n, rows, keep = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 15)), data.draw(st.integers(1, 14))
    budget = data.draw(st.integers(n, n * rows + 10))
    how = data.draw(st.sampled_from(some_selector(budget, data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5)))))
    failing = data.draw(st.frozensets(st.tuples(st.integers(0, n - 1), st.integers(0, rows - 1)), max_size=9))
    bandit = Bandit(
        arms(*(i / n for i in range(n))), rows, failing=frozenset((f"arm {a:02}", f"row {r}") for a, r in failing)
    )
    found = select(how, bandit, keep)
    assert len(bandit.pairs) == len(set(bandit.pairs)) <= how.evaluations(n, rows, keep) <= n * rows
    if not isinstance(how, (Full, Filter)):
        assert len(bandit.pairs) <= budget
    assert len(found) == len(set(texts(found))) == min(keep, n)
    assert found == ranked(found)
    assert {arm for arm, _ in bandit.pairs} == set(bandit.chances)


@pytest.mark.parametrize("how", some_selector(150, 8, 3), ids=lambda how: type(how).__name__)
def test_the_best_arm_of_an_easy_bandit_is_found(how: Select) -> None:
    chances = arms(0.3, 0.4, 0.2, 0.9, 0.3, 0.4, 0.3, 0.2)
    hits = [texts(select(how, Bandit(chances, 40, seed), 2))[0] == "arm 03" for seed in range(10)]
    assert sum(hits) >= 9


@pytest.mark.parametrize("how", some_selector(150, 8, 3), ids=lambda how: type(how).__name__)
def test_scores_are_cumulative_means_on_a_beginning_of_one_shared_order(how: Select) -> None:
    bandit = Bandit(arms(0.2, 0.5, 0.8, 0.6, 0.3), 40)
    with context_of(bandit) as ctx:
        order = [example.id for example in ctx.rng("select").sample(bandit.examples, 40)]
        found = how(bandit.candidates, bandit.examples, 3, ctx)
    for arm in bandit.chances:
        assert bandit.asked(arm) == order[: len(bandit.asked(arm))]
    for scored in found:
        assert list(scored.scores) == bandit.asked(scored.candidate.text)
    if not isinstance(how, (UCB, UCBE)):
        assert len({tuple(scored.scores) for scored in found}) == 1


@pytest.mark.parametrize("how", some_selector(60, 4, 2), ids=lambda how: type(how).__name__)
def test_the_same_dice_select_the_same_and_pay_once(how: Select) -> None:
    bandit = Bandit(arms(0.2, 0.5, 0.8, 0.6, 0.3), 20)
    with context_of(bandit) as ctx:
        once = how(bandit.candidates, bandit.examples, 3, ctx)
        paid = len(bandit.pairs)
        assert how(bandit.candidates, bandit.examples, 3, ctx) == once
        assert len(bandit.pairs) == paid
    other = Bandit(bandit.chances, 20)
    with context_of(other, step=2) as ctx:
        how(other.candidates, other.examples, 3, ctx)
    assert other.asked("arm 00") != bandit.asked("arm 00")


@pytest.mark.parametrize("how", some_selector(40, 4, 2), ids=lambda how: type(how).__name__)
def test_an_arm_that_never_answers_comes_last_and_is_not_wrong(how: Select) -> None:
    chances = arms(0.0, 0.0, 0.0)
    bandit = Bandit(chances, 12, failing=frozenset(("arm 00", f"row {i}") for i in range(12)))
    found = select(how, bandit, 3)
    assert texts(found)[2] == "arm 00"
    assert math.isnan(found[2].mean) and found[0].mean == 0.0


@pytest.mark.parametrize("how", some_selector(40, 4, 2), ids=lambda how: type(how).__name__)
def test_the_same_text_twice_is_one_candidate(how: Select) -> None:
    bandit = Bandit(arms(0.1, 0.9), 12)
    candidates = [*bandit.candidates, Candidate("arm 01", origin="paraphrase"), *bandit.candidates]
    with context_of(bandit) as ctx:
        found = how(candidates, bandit.examples, 4, ctx)
    assert texts(found) == ["arm 01", "arm 00"]
    assert found[0].candidate.origin == "seed"


@pytest.mark.parametrize("how", some_selector(40, 4, 2), ids=lambda how: type(how).__name__)
def test_nothing_to_choose_from_costs_nothing(how: Select) -> None:
    bandit = Bandit({}, 12)
    assert select(how, bandit, 3) == [] and not bandit.pairs


@pytest.mark.parametrize("kind", BUDGETED)
def test_a_budget_below_one_evaluation_each_is_refused(kind: Any) -> None:
    bandit = Bandit(arms(0.1, 0.2, 0.3), 5)
    with pytest.raises(SpecError) as refused:
        select(kind(budget=2), bandit, 1)
    assert str(refused.value) == (
        "the budget of a selection must be at least one evaluation per candidate, got 2 for 3; "
        "raise the budget or make fewer candidates"
    )
    assert not bandit.pairs
    assert len(select(kind(budget=3), bandit, 1)) == 1


def test_equal_means_go_by_evidence_then_length_then_age() -> None:
    long, old, young = Candidate("longer text"), Candidate("ab"), Candidate("cd")
    half, more = {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0}
    unknown, best, evident = Scored(Candidate("x"), {}), Scored(Candidate("y" * 99), {"a": 1.0}), Scored(long, more)
    given_order = [unknown, Scored(long, half), Scored(old, half), Scored(young, half), evident, best]
    assert ranked(given_order) == [best, evident, Scored(old, half), Scored(young, half), Scored(long, half), unknown]


def test_full_asks_everything_at_once() -> None:
    bandit = Bandit(arms(0.1, 0.9, 0.5), 7)
    found = select(Full(), bandit, 2)
    assert [len(batch) for batch in bandit.batches] == [21]
    assert [scored.n for scored in found] == [7, 7]


def test_uniform_shares_one_sample_of_the_budget_s_size() -> None:
    bandit = Bandit(arms(0.1, 0.9, 0.5), 20)
    found = select(Uniform(budget=32), bandit, 3)
    assert [len(batch) for batch in bandit.batches] == [30]
    assert {tuple(scored.scores) for scored in found} == {tuple(bandit.asked("arm 00"))}
    assert Uniform(32).evaluations(3, 20, 1) == 30


def test_filter_halves_on_new_subsets_and_asks_the_few_everything() -> None:
    bandit = Bandit(arms(*(i / 23 for i in range(23))), 60)
    found = select(Filter(), bandit, 2)
    assert [len(batch) for batch in bandit.batches] == [23 * 10, 12 * 10, 6 * 10, 3 * 30]
    assert len(bandit.pairs) == Filter().evaluations(23, 60, 2) == 500
    assert [scored.n for scored in found] == [60, 60]


def test_filter_stops_where_the_examples_run_out_or_only_the_kept_remain() -> None:
    assert Filter().evaluations(40, 25, 1) == 40 * 10 + 20 * 10 + 10 * 5
    assert Filter().evaluations(40, 9, 1) == 40 * 9
    assert Filter().evaluations(40, 100, 15) == 40 * 10 + 20 * 10 + 15 * 80


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"use": "uniform", "budget": 0}, "uniform: budget must be at least 1, got 0; give some evaluations"),
        ({"use": "ucb", "samples": 0}, "ucb: samples and arms must be at least 1, got 0 and 8; leave them out"),
        ({"use": "ucb", "c": -1}, "ucb: the weight of the bonus must be at least 0, got -1.0; leave it out for 1"),
        ({"use": "ucb-e", "a": float("nan")}, "ucb-e: the weight of the bonus must be at least 0, got nan"),
        ({"use": "filter", "final": 0}, "filter: subset and final must be at least 1, got 10 and 0; leave them out"),
        ({"use": "linear", "warmup": -1}, "linear: warmup must be at least 0 steps, got -1; leave it out for none"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        spec.build(given)
    assert str(refused.value).startswith(message) and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", spec.parts())
def test_every_part_builds_from_its_name(name: str) -> None:
    part = spec.build(name)
    described = spec.describe(part)
    assert described["use"] == name
    assert spec.build(json.loads(json.dumps(described))) == part


def test_fewer_candidates_may_cost_more() -> None:
    # 12 arms get 8 rows each of a budget of 100; 10 arms get 10.
    assert Uniform(100).evaluations(12, 60, 3) == 96
    assert most(Uniform(100), 12, 60, 3) == 100
    assert most(Filter(), 12, 60, 3) == Filter().evaluations(10, 60, 3) == 350


@pytest.mark.parametrize("kind", BUDGETED)
def test_a_budget_that_will_not_do_is_known_before_anything_is_asked(kind: Any) -> None:
    with pytest.raises(SpecError, match="at least one evaluation per candidate, got 30 for 36"):
        most(kind(budget=30), 36, 60, 4)
