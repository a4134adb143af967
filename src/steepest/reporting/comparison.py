"""Methods on tasks with seeds, as compare.json says it: what was asked for, and what the runs of all cells found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from steepest import codec
from steepest.reporting import ranking
from steepest.reporting.read import Tables, dev_scores, read_run
from steepest.reporting.statistics import Interval, PairedTest, Verdict, paired_test, verdict
from steepest.reporting.text import clean
from steepest.results import Estimate, displayed

FORMAT = 1
CELLS = "cells"
"""Where the run folders are, in the folder of a comparison."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A method with its settings."""

    label: str
    method: Mapping[str, Any]
    """The full spec, defaults included."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A task on which contenders meet."""

    name: str
    origin: str
    prompts: tuple[str, ...]
    """Initial prompts; the first is the one to beat."""
    rows: Mapping[str, int]
    """Split -> rows."""
    digest: str
    """Of the rows and of everything else that decides a score, the prompts apart."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One contender on one task with one seed: one run."""

    contender: str
    task: str
    seed: int
    folder: str
    """Name of its run folder."""

    def __str__(self) -> str:
        return f"{self.contender} on {self.task}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Setup:
    """What was asked for. Written before the first cell; a comparison goes on under the same setup only."""

    contenders: tuple[Contender, ...]
    tasks: tuple[Ground, ...]
    seeds: tuple[int, ...]
    limits: Mapping[str, int | float]
    """Of every cell."""
    models: Mapping[str, Mapping[str, Any]]
    """Role -> name, options, id."""
    prices: Mapping[str, Mapping[str, float]]
    """Role -> dollars per million tokens, read and written."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What the run of one cell found."""

    cell: Cell
    initial: Estimate
    """On the test rows, as `best`."""
    best: Estimate
    verdict: Verdict
    """Of the best prompt against the initial one."""
    prompt: str
    optimism: float
    """Dev score of the chosen prompt minus its test score."""
    expected_optimism: float
    """What was to be expected of choosing the best of `candidates` on the dev rows alone."""
    candidates: int
    """Prompts among which dev rows chose: incumbents and the initial prompt."""
    calls: int
    tokens: int
    dollars: float
    seconds: float
    steps: int
    stopped: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A cell without a result, and why."""

    cell: Cell
    error: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of the leaderboard. Costs are means of the cells, of the search alone."""

    contender: str
    accuracy: Interval
    """Mean score on test rows, over tasks, rows and seeds."""
    rank: float
    """Mean rank over the tasks; NaN where there are no ranks."""
    verdicts: Mapping[Verdict, int]
    """Cells by their verdict against the initial prompt, adjusted by Holm's method over all cells."""
    wins: int
    """Paired tests with another contender's prompt on the same rows, adjusted by Holm's method over all of them."""
    ties: int
    losses: int
    optimism: float
    expected_optimism: float
    calls: float
    tokens: float
    dollars: float
    seconds: float
    cells: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contenders over the cells that both finished."""

    first: str
    second: str
    difference: float
    """Mean over tasks of first minus second."""
    p_value: float
    """Two-sided: see `ranking.gap`."""
    adjusted: float
    """By Holm's method, over all pairs."""
    cells: int
    """Of each."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Friedman's test over tasks, whose seeds are averaged since they share rows; Nemenyi's critical difference."""

    contenders: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    statistic: float
    p_value: float
    critical: float
    cliques: tuple[tuple[str, ...], ...]
    """Groups within which no difference is significant."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a contender had reached."""

    at: float
    score: float
    """Mean over cells of the best dev score so far."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Best dev score against what the search had spent, mean over cells; each point holds until the next."""

    contender: str
    calls: tuple[CurvePoint, ...]
    tokens: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """What a comparison found."""

    setup: Setup
    standings: tuple[Standing, ...]
    """Best mean score first."""
    initial: Interval
    """Of the initial prompts, over the tasks."""
    pairs: tuple[Pair, ...]
    ranks: Ranks | None
    """None with less than three contenders, for which the pair says it all, or where no task has all of them."""
    curves: tuple[Curve, ...]
    found: tuple[Found, ...]
    failed: tuple[Failed, ...]
    format: int = FORMAT
    folder: Path = field(default=Path(), compare=False)
    """Where it is; not part of the file."""

    def __str__(self) -> str:
        """Who leads, what that rests on and the folder, a line each."""
        from steepest.reporting.comparison_words import headline, lead

        return clean("\n".join(filter(None, (headline(self), lead(self), f"folder: {self.folder}"))))

    _repr_pretty_ = displayed

    def to_json(self) -> codec.JSON:
        """The content of compare.json."""
        return codec.encode({name: getattr(self, name) for name in self.__slots__ if name != "folder"})


def gather(folder: Path, setup: Setup, errors: Mapping[str, str]) -> MethodComparison:
    """Read the runs of all cells; `errors` says, by folder name, why one has no result."""
    runs = {cell: read_run(folder / CELLS / cell.folder) for cell in setup.cells if _is_finished(folder, cell)}
    found = {cell: _found(cell, tables) for cell, tables in runs.items()}
    scores = {cell: _scores(tables, "best") for cell, tables in runs.items()}
    missing = [cell for cell in setup.cells if cell not in runs]
    labels = [each.label for each in setup.contenders if any(cell.contender == each.label for cell in runs)]
    ranks = _ranks(labels, found)
    verdicts, duels = _verdicts(runs), _duels(scores)
    standings = [_standing(label, found, scores, ranks, verdicts, duels[label]) for label in labels]
    return MethodComparison(
        setup=setup,
        standings=tuple(sorted(standings, key=lambda line: (-line.accuracy.mean, line.tokens))),
        initial=_initial(runs),
        pairs=tuple(_pairs(labels, scores)),
        ranks=ranks,
        curves=tuple(_curve(label, runs) for label in labels),
        found=tuple(found.values()),
        failed=tuple(Failed(cell, errors.get(cell.folder, "not finished yet")) for cell in missing),
        folder=folder,
    )


def _is_finished(folder: Path, cell: Cell) -> bool:
    return (folder / CELLS / cell.folder / "result.json").is_file()


def _found(cell: Cell, tables: Tables) -> Found:
    result = tables.result
    assert result is not None, "only finished runs are read"
    candidates, paid = dev_scores(tables.folder), (result.usage, result.unfinished)
    return Found(
        cell=cell,
        initial=result.test.initial,
        best=result.test.best,
        verdict=result.verdict,
        prompt=result.prompt.best,
        optimism=result.dev.best.mean - result.test.best.mean,
        expected_optimism=ranking.expected_optimism(list(candidates.values())),
        candidates=len(candidates),
        calls=sum(each.calls for each in paid),
        tokens=sum(each.tokens for each in paid),
        dollars=sum(each.dollars for each in paid),
        seconds=result.usage.seconds,
        steps=result.steps,
        stopped=result.stopped,
    )


def _scores(tables: Tables, side: str) -> dict[str, float]:
    """Row -> score on the test rows."""
    answers = {row.id: row.best if side == "best" else row.initial for row in tables.rows}
    return {id: answer.score for id, answer in answers.items() if answer.score is not None}


def _standing(
    label: str,
    found: Mapping[Cell, Found],
    scores: Mapping[Cell, Mapping[str, float]],
    ranks: Ranks | None,
    verdicts: Mapping[Cell, Verdict],
    won: Counter[Verdict],
) -> Standing:
    mine = [each for cell, each in found.items() if cell.contender == label]
    tasks = dict.fromkeys(each.cell.task for each in mine)
    against = Counter(verdicts[each.cell] for each in mine)
    return Standing(
        contender=label,
        accuracy=ranking.pooled_interval([[scores[m.cell] for m in mine if m.cell.task == task] for task in tasks]),
        rank=ranks.ranks[ranks.contenders.index(label)] if ranks else math.nan,
        verdicts={name: against[name] for name in ("better", "no_difference", "worse")},
        wins=won["better"],
        ties=won["no_difference"],
        losses=won["worse"],
        optimism=mean([each.optimism for each in mine]),
        expected_optimism=mean([each.expected_optimism for each in mine]),
        calls=mean([each.calls for each in mine]),
        tokens=mean([each.tokens for each in mine]),
        dollars=mean([each.dollars for each in mine]),
        seconds=mean([each.seconds for each in mine]),
        cells=len(mine),
    )


def _verdicts(runs: Mapping[Cell, Tables]) -> dict[Cell, Verdict]:
    """What may be said of each cell's prompt against the initial one, since so many are looked at."""
    tests = [paired_test(_scores(tables, "initial"), _scores(tables, "best")) for tables in runs.values()]
    return dict(zip(runs, _decided(tests), strict=True))


def _duels(scores: Mapping[Cell, Mapping[str, float]]) -> dict[str, Counter[Verdict]]:
    """By contender: its prompts against the others' on the same task with the same seed."""
    seen: dict[str, Counter[Verdict]] = {cell.contender: Counter() for cell in scores}
    pairs = [(a, b) for a, b in combinations(scores, 2) if (a.task, a.seed) == (b.task, b.seed)]
    opposite: dict[Verdict, Verdict] = {"better": "worse", "no_difference": "no_difference", "worse": "better"}
    for (a, b), said in zip(pairs, _decided([paired_test(scores[b], scores[a]) for a, b in pairs]), strict=True):
        seen[a.contender][said] += 1
        seen[b.contender][opposite[said]] += 1
    return seen


def _decided(tests: Sequence[PairedTest]) -> list[Verdict]:
    """Verdicts that hold together at the 5 % level."""
    adjusted = ranking.holm([test.p_value for test in tests])
    return [verdict(replace(test, p_value=p)) for test, p in zip(tests, adjusted, strict=True)]


def _initial(runs: Mapping[Cell, Tables]) -> Interval:
    """Of the initial prompts: the same rows whoever searched, so any run of a task will do."""
    first = {cell.task: tables for cell, tables in runs.items()}
    return ranking.pooled_interval([[_scores(tables, "initial")] for tables in first.values()])


def _blocks(labels: Sequence[str], found: Mapping[Cell, Found]) -> list[list[float]]:
    """For each task, the mean scores of `labels` over the seeds that all of them have."""
    runs: dict[str, dict[int, dict[str, float]]] = {}
    for cell, each in found.items():
        if not math.isnan(each.best.mean):
            runs.setdefault(cell.task, {}).setdefault(cell.seed, {})[cell.contender] = each.best.mean
    complete = [[run for run in seeds.values() if all(name in run for name in labels)] for seeds in runs.values()]
    return [[mean([run[label] for run in task]) for label in labels] for task in complete if task]


def _ranks(labels: Sequence[str], found: Mapping[Cell, Found]) -> Ranks | None:
    blocks = _blocks(labels, found)
    if len(labels) < 3 or not blocks:
        return None
    test = ranking.friedman(blocks)
    critical = ranking.critical_difference(len(labels), len(blocks))
    groups = ranking.cliques(test.ranks, critical)
    return Ranks(
        contenders=tuple(labels),
        ranks=test.ranks,
        blocks=test.blocks,
        statistic=test.statistic,
        p_value=test.p_value,
        critical=critical,
        cliques=tuple(tuple(labels[i] for i in group) for group in groups),
    )


def _pairs(labels: Sequence[str], scores: Mapping[Cell, Mapping[str, float]]) -> Iterator[Pair]:
    names = list(combinations(labels, 2))
    by_label = {name: {(c.task, c.seed): rows for c, rows in scores.items() if c.contender == name} for name in labels}
    gaps, cells = [], []
    for one, other in ((by_label[first], by_label[second]) for first, second in names):
        tasks = dict.fromkeys(task for task, _ in one)
        common = [[key for key in one if key[0] == task and key in other] for task in tasks]
        gaps.append(ranking.gap(*([[side[key] for key in keys] for keys in common] for side in (one, other))))
        cells.append(sum(map(len, common)))
    adjusted = ranking.holm([gap.p_value for gap in gaps])
    for (first, second), gap, p, n in zip(names, gaps, adjusted, cells, strict=True):
        if n:
            yield Pair(first, second, gap.difference, gap.p_value, p, n)


def _curve(label: str, runs: Mapping[Cell, Tables]) -> Curve:
    mine = [tables for cell, tables in runs.items() if cell.contender == label]
    return Curve(label, _mean_curve(mine, "calls"), _mean_curve(mine, "tokens"))


def _mean_curve(runs: Sequence[Tables], unit: str) -> tuple[CurvePoint, ...]:
    lines = [_best_so_far(tables, unit) for tables in runs]
    places = sorted({point.at for line in lines for point in line})
    return tuple(CurvePoint(at, mean([_reached(line, at) for line in lines])) for at in places)


def _best_so_far(tables: Tables, unit: str) -> list[CurvePoint]:
    assert tables.result is not None, "only finished runs are read"
    line = [CurvePoint(0.0, tables.result.dev.initial.mean)]
    for point in tables.points:
        at = float(point.calls if unit == "calls" else point.tokens)
        line.append(CurvePoint(at, max(line[-1].score, point.dev.mean)))
    return line


def _reached(line: Sequence[CurvePoint], at: float) -> float:
    return max(point.score for point in line if point.at <= at)


def mean(values: Sequence[float]) -> float:
    """The mean, NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan
