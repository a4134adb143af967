"""Prompts on models: what transfer.json says, and the same as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from steepest import codec
from steepest.reporting.comparison_page import STYLES, section, table
from steepest.reporting.document import document, masthead, put
from steepest.reporting.markup import Html, element, prose
from steepest.reporting.statistics import p_text, percent
from steepest.reporting.words import plural, points
from steepest.results import Difference, Estimate, displayed

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Carried:
    """One line of the matrix: a prompt."""

    label: str
    """ "initial", or the name of the run that found it."""
    task: str
    text: str
    model: str
    """With which it was found; empty for an initial prompt."""

    @property
    def is_initial(self) -> bool:
        """Whether a run started from it."""
        return not self.model


@dataclass(frozen=True, slots=True)
class Entry:
    """A prompt with a model."""

    prompt: int
    """Index of the line."""
    model: str
    score: Estimate
    difference: Difference | None = None
    """From the initial prompt of its run with the same model on the same rows; None for an initial prompt."""
    p_value: float | None = None
    adjusted: float | None = None
    """By Holm's method, over all differences of the matrix."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Prompts found with some models, measured with others."""

    split: str
    prompts: tuple[Carried, ...]
    models: tuple[str, ...]
    entries: tuple[Entry, ...]
    asked: int
    """Requests made by this call; others were in the journal."""
    format: int = FORMAT
    folder: Path = field(default=Path(), compare=False)
    """Where it is; not part of the file."""

    def __str__(self) -> str:
        """How many prompts help elsewhere, and the folder, a line each."""
        return f"{headline(self)}\nfolder: {self.folder}"

    _repr_pretty_ = displayed

    def to_json(self) -> codec.JSON:
        """The content of transfer.json."""
        return codec.encode({name: getattr(self, name) for name in self.__slots__ if name != "folder"})

    def entry(self, prompt: int, model: str) -> Entry:
        """The entry in a line and a column."""
        return next(each for each in self.entries if (each.prompt, each.model) == (prompt, model))


def headline(found: Transfer) -> str:
    """How many prompts help with a model that they were not found with."""
    moved = [entry for entry in found.entries if entry.difference and found.prompts[entry.prompt].model != entry.model]
    helped = sum(is_shown(entry) and _gain(entry) > 0 for entry in moved)
    hurt = sum(is_shown(entry) and _gain(entry) < 0 for entry in moved)
    if not moved:
        return "No prompt was tried with another model."
    return f"Carried to another model: {helped} of {len(moved)} better than the initial prompt, {hurt} worse."


def is_shown(entry: Entry) -> bool:
    """Whether an entry's difference is significant after correction."""
    return entry.adjusted is not None and entry.adjusted < 0.05


def write(found: Transfer) -> Path:
    """Write transfer.html into its folder, and return its path."""
    return put(found.folder / "transfer.html", page(found))


def page(found: Transfer) -> str:
    """The page's text."""
    about = (
        f"Mean score on {found.split} rows with its 95 % interval; below it the difference from the run's initial "
        "prompt, in points, paired on the same rows, and its p-value after Holm's correction over the whole table. "
        "Bold: p < 0.05. Framed: the model with which the prompt was found."
    )
    sizes = f"{plural(len(found.prompts), 'prompt')} × {plural(len(found.models), 'model')}"
    prompts = [
        element(
            "details",
            "row",
            element("summary", "", element("span", "question", f"{each.label} ({each.task})")),
            element("pre", "prompt", each.text),
        )
        for each in found.prompts
    ]
    return document(
        f"Transfer {found.folder.name}",
        masthead(sizes, f"{found.split} rows"),
        element("section", "verdict", element("h1", "", headline(found))),
        section("Prompts on models", about, _matrix(found)),
        section("The prompts", "As they were found.", *prompts),
        styles=STYLES,
    )


def _matrix(found: Transfer) -> Html:
    rows = [[_name(prompt), *_line(found, i)] for i, prompt in enumerate(found.prompts)]
    return table(["prompt", *found.models], rows)


def _name(prompt: Carried) -> Html:
    origin = prompt.task if prompt.is_initial else f"{prompt.task}, found with {prompt.model}"
    return element("span", "", prompt.label, element("small", "", origin))


def _line(found: Transfer, index: int) -> Iterator[Html]:
    for model in found.models:
        entry = found.entry(index, model)
        parts = texts(entry)
        kind = "framed" if found.prompts[index].model == model else ""
        score = element("b" if is_shown(entry) else "span", "", parts[0])
        yield element("span", kind, score, *(element("small", "", prose(text)) for text in parts[1:]))


def texts(entry: Entry) -> Sequence[str]:
    """An entry in words: score, interval, difference."""
    found = [percent(entry.score.mean), f"{100 * entry.score.low:.1f} to {100 * entry.score.high:.1f}"]
    if entry.difference is not None and entry.adjusted is not None:
        found.append(f"{points(entry.difference.mean)}, {p_text(entry.adjusted)}")
    return found


def _gain(entry: Entry) -> float:
    return entry.difference.mean if entry.difference else 0.0
