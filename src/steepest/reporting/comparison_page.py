"""A comparison as one HTML page: leaderboard, tasks, curves, ranks, pairs, what choosing on dev cost, prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from steepest.reporting.comparison import CELLS, Found, MethodComparison, Standing, mean
from steepest.reporting.comparison_figures import critical_difference, curves, key
from steepest.reporting.comparison_words import ALPHA, caveats, headline, lead, span
from steepest.reporting.document import document, masthead, put
from steepest.reporting.figures import SHARES, interval_bar
from steepest.reporting.markup import NOTHING, Html, element, prose
from steepest.reporting.statistics import Interval, p_text, percent
from steepest.reporting.words import plural, points
from steepest.types import money

STYLES = ("report.css", "comparison.css")


def write(found: MethodComparison) -> Path:
    """Write compare.html into the comparison's folder, and return its path."""
    return put(found.folder / "compare.html", page(found))


def page(found: MethodComparison) -> str:
    """The page's text."""
    setup = found.setup
    models = "; ".join(f"{model['name']} as {role}" for role, model in setup.models.items())
    budget = ", ".join(f"{value:,g} {name}" for name, value in setup.limits.items())
    counts = {"method": setup.contenders, "task": setup.tasks, "seed": setup.seeds}
    sizes = [plural(len(things), noun) for noun, things in counts.items()]
    return document(
        f"{headline(found)} {found.folder.name}",
        masthead(" × ".join(sizes), f"{budget} a search", models),
        _conclusion(found),
        _leaderboard(found),
        _by_task(found),
        _spending(found),
        _ranking(found),
        _pairs(found),
        _optimism(found),
        _prompts(found),
        _failures(found),
        styles=STYLES,
    )


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], marks: Sequence[str] = (), texts: Sequence[str] = ()
) -> Html:
    """A table: the first column names the row, the others hold numbers or what was drawn, or text, those under `texts`.

    `marks` are rows' classes.
    """
    kinds = ["text" if head in texts else "n" if i else "" for i, head in enumerate(heads)]
    head = element("tr", "", *(_cell("th", kind, text, "col") for kind, text in zip(kinds, heads, strict=True)))
    classes = marks or [""] * len(rows)
    body = [
        element("tr", mark, *(_cell("td" if i else "th", kinds[i], text, "row") for i, text in enumerate(row)))
        for row, mark in zip(rows, classes, strict=True)
    ]
    return element("div", "wide", element("table", "", element("thead", "", head), element("tbody", "", *body)))


def section(title: str, about: str, *content: Html) -> Html:
    """A section, with what is to be known of it."""
    return element("section", "", element("h2", "", title), element("p", "about", prose(about)), *content)


def with_small(text: str, small: str) -> Html:
    """A number with a smaller line under it."""
    return element("span", "", prose(text), element("small", "", prose(small)))


def _cell(name: str, kind: str, text: str, scope: str) -> Html:
    return element(name, {"class": kind, "scope": scope} if name == "th" else kind, text)


def _conclusion(found: MethodComparison) -> Html:
    notes = [element("p", "about", prose(text)) for text in caveats(found)]
    return element(
        "section", "verdict", element("h1", "", headline(found)), element("p", "lead", prose(lead(found))), *notes
    )


def _leaderboard(found: MethodComparison) -> Html:
    if not found.standings:
        return NOTHING
    is_priced = any(line.dollars for line in found.standings)
    heads = ["method", "mean score on held-out rows", "", "mean rank", "better / same / worse than the initial prompt"]
    heads += ["won / tied / lost against the others", "calls", "tokens", *(["dollars"] if is_priced else [])]
    rows = [_standing(found, line, is_priced) for line in found.standings]
    rows.append(["initial prompt", *_score(found.initial, "initial"), *[""] * (len(heads) - 3)])
    about = (
        "Tasks weigh the same. The 95 % interval counts the luck of the rows and, with several seeds, of the search; "
        "few seeds that happen to agree look surer than they are. "
        "Better and worse, won and lost are paired tests of two prompts on the same rows, corrected by Holm's method "
        "over all of their kind; the verdict in a run's own report is not. Calls and tokens are those of the search, "
        "mean over runs, a step that the budget cut off included."
    )
    return section("Leaderboard", about, table(heads, rows))


def _standing(found: MethodComparison, line: Standing, is_priced: bool) -> list[str]:
    against = " / ".join(str(line.verdicts[name]) for name in ("better", "no_difference", "worse"))
    others = f"{line.wins} / {line.ties} / {line.losses}"
    costs = [f"{line.calls:,.0f}", f"{line.tokens:,.0f}", *([money(line.dollars)] if is_priced else [])]
    return [name_of(found, line), *_score(line.accuracy, "best"), number(line.rank), against, others, *costs]


def _score(found: Interval, kind: str) -> list[str]:
    bar = interval_bar(SHARES, found.low, found.mean, found.high, kind)
    return [with_small(percent(found.mean), span(found)), bar]


def name_of(found: MethodComparison, line: Standing) -> str:
    """The contender, and how much of it there is where that is not all: its mean is then over other tasks or seeds."""
    of = len(found.setup.tasks) * len(found.setup.seeds)
    return line.contender if line.cells == of else with_small(line.contender, f"{line.cells} of {plural(of, 'run')}")


def number(value: float) -> str:
    """Two decimals, or nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.2f}"


def _by_task(found: MethodComparison) -> Html:
    tasks = [task for task in found.setup.tasks if any(each.cell.task == task.name for each in found.found)]
    if not tasks:
        return NOTHING
    cells = {task.name: [each for each in found.found if each.cell.task == task.name] for task in tasks}
    heads = [with_small(name, plural(here[0].initial.n, "row")) for name, here in cells.items()]
    rows = []
    for line in found.standings:
        mine = ([each for each in here if each.cell.contender == line.contender] for here in cells.values())
        rows.append([line.contender, *map(_of_seeds, mine)])
    rows.append(["initial prompt", *(percent(here[0].initial.mean) for here in cells.values())])
    return section("By task", "Mean score on held-out rows; below it, each seed.", table(["method", *heads], rows))


def _of_seeds(cells: Sequence[Found]) -> str:
    if not cells:
        return "none"
    means = [each.best.mean for each in cells]
    return with_small(percent(mean(means)), ", ".join(f"{100 * value:.1f}" for value in means) if means[1:] else "")


def _spending(found: MethodComparison) -> Html:
    drawn = [curves(found.curves, unit) for unit in ("calls", "tokens")]
    if not any(drawn):
        return NOTHING
    about = (
        "Best dev score so far against what the search had spent, mean over all cells of a method. Dev rows choose the "
        "prompt, so these scores flatter it."
    )
    return section("What the budget buys", about, key([curve.contender for curve in found.curves]), *drawn)


def _ranking(found: MethodComparison) -> Html:
    ranks = found.ranks
    if ranks is None:
        return NOTHING
    about = (
        f"Mean ranks over {plural(ranks.blocks, 'task')}, by the mean of the seeds; 1 is best. Friedman's test: "
        f"{p_text(ranks.p_value)}. Bars join methods whose ranks differ by less than Nemenyi's critical difference, "
        f"{ranks.critical:.2f}. Tasks are the units here, and it takes many of them to tell methods apart by ranks."
    )
    return section("Ranks", about, critical_difference(ranks))


def _pairs(found: MethodComparison) -> Html:
    if not found.pairs:
        return NOTHING
    order = sorted(found.pairs, key=lambda pair: (pair.adjusted, pair.p_value))
    rows = [
        [f"{p.first} − {p.second}", points(p.difference), p_text(p.p_value), p_text(p.adjusted), f"{p.cells}"]
        for p in order
    ]
    about = (
        "Mean difference in points over the runs that both finished; tasks weigh the same. The tests count the luck "
        "of rows and of searches, on these tasks: p is the largest of three, by Student's t, by flipping the signs of "
        "rows, and by exchanging runs. Adjusted by Holm's method for the number of pairs."
    )
    marks = ["accepted" if pair.adjusted < ALPHA else "" for pair in order]
    return section("Pairs", about, table(["pair", "difference", "p", "adjusted", "runs of each"], rows, marks))


def _optimism(found: MethodComparison) -> Html:
    if not found.found:
        return NOTHING
    rows = [
        [str(each.cell), percent(each.best.mean), f"{each.candidates}", points(each.optimism)]
        + ["" if math.isnan(each.expected_optimism) else points(each.expected_optimism)]
        for each in found.found
    ]
    sums = [
        [
            f"{line.contender}, mean",
            percent(line.accuracy.mean),
            "",
            *map(points, (line.optimism, line.expected_optimism)),
        ]
        for line in found.standings
    ]
    about = (
        "The winner's curse: the prompt that does best on dev rows owes part of its score to them. Its dev score minus "
        "its score on held-out rows, in points; and how much of that was to be expected of choosing among so many "
        "prompts on so many rows, by bootstrap. Where dev rows are easier than held-out rows, the first number holds "
        "that, too."
    )
    heads = ["run", "held-out score", "candidates", "dev minus held-out", "expected"]
    each = element("details", "", element("summary", "", "Every run"), table(heads, rows))
    return section("What choosing on dev rows flatters", about, table(heads, sums), each)


def _prompts(found: MethodComparison) -> Html:
    items = [
        element(
            "details",
            "row",
            element(
                "summary",
                "",
                element("span", "question", str(each.cell)),
                element("span", "answers", f"{percent(each.initial.mean)} → {percent(each.best.mean)}"),
            ),
            element("pre", "prompt", each.prompt),
            element("p", "about", f"{CELLS}/{each.cell.folder}/report.html · {each.stopped}"),
        )
        for each in found.found
    ]
    return section("The prompts that were found", "One for each run.", *items) if items else NOTHING


def _failures(found: MethodComparison) -> Html:
    if not found.failed:
        return NOTHING
    rows = [[str(each.cell), element("span", "", each.error)] for each in found.failed]
    return section("Without a result", "The same command tries them again.", table(["run", "why"], rows))
