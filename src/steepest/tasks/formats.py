"""The files of published benchmarks as they are: from a file in its original format to questions and targets.

A reader turns a file into records; a shape turns a record into what is asked and what is right. Both are named in a
benchmark's file. `Odd` is raised for a record that the benchmark itself leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from steepest.errors import TaskError, nearest
from steepest.tasks.datasets import Record, as_text, delimited, listed, parsed_json, read_text, records
from steepest.tasks.task import slots_of
from steepest.types import content_id

Reader = Literal["rows", "csv", "semicolons", "examples", "labelled"]
Shape = Literal["columns", "options", "bigbench", "induction", "turns", "paragraphs", "rating"]


@dataclass(frozen=True, slots=True)
class Format:  # size: the keys of a benchmark's file
    """How the records of a benchmark are read."""

    reader: Reader = "rows"
    header: tuple[str, ...] = ()
    """Names of the columns, for files without a header."""
    shape: Shape = "columns"
    input: str = "{input}"
    """The question, with the record's columns in braces."""
    target: str = "target"
    """The column with the right answer; may be absent where a judge rates."""
    options: tuple[str, ...] = ()
    """The column with the list of options, or one column for each."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The label for each value of the target; empty: the value is the label."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """Further slots of the layout, each with a column."""
    low: float = 0.0
    """The shape "rating": up to this the label of "low"."""
    high: float = 1.0
    """From this on the label of "high"; rows between the two are left out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a record asks, and what is right."""

    input: str
    targets: tuple[str, ...]
    """Any of them is right, the first is the usual one; empty where a judge rates alone."""
    shown: Mapping[str, str] = field(default_factory=dict)


class Odd(Exception):
    """A record that the benchmark leaves out; the text says why."""


# -- readers --------------------------------------------------------------------------------------------------------


def read_file(path: Path, form: Format) -> Iterator[Record]:
    """The records of a file. Raises TaskError where it is not of the format."""
    match form.reader:
        case "rows":
            return records(path)
        case "csv":
            return delimited(path, read_text(path), ",", form.header)
        case "semicolons":
            return delimited(path, read_text(path), ";")
        case "examples":
            return _examples(path)
        case "labelled":
            return _labelled(path)


def _examples(path: Path) -> Iterator[Record]:
    """A JSON object whose "examples" are a list, or an object with numbers for keys."""
    content = parsed_json(path, read_text(path))
    examples = content.get("examples") if isinstance(content, dict) else None
    if isinstance(examples, dict):
        examples = list(examples.values())
    if not isinstance(examples, list):
        got = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise TaskError(f"{path}: the file has a list of examples, got {got}; give the original file")
    return listed(path, examples)


def _labelled(path: Path) -> Iterator[Record]:
    """Lines of text, a tab and a label; quotes are text."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            text, tab, label = line.rstrip("\r").rpartition("\t")
            fault = "" if tab else f"{path}, line {number}: a line is text, a tab and a label, got no tab; correct it"
            yield Record(f"{path}, line {number}", {"text": text, "label": label} if tab else {}, fault)


# -- shapes ---------------------------------------------------------------------------------------------------------


def asked(record: Record, form: Format) -> Asked:
    """What a record asks. Raises TaskError, with place and column, where it is not of the format; Odd."""
    if record.fault:
        raise TaskError(record.fault)
    try:
        return _SHAPES[form.shape](record, form)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        # Nested values may be anything in a file that is not the benchmark's, and each shape looks into its own.
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise TaskError(
            f"{record.place}: no row of the benchmark's format ({problem}); give the original file"
        ) from None


def cell(record: Record, column: str) -> Any:
    """A value that must be there."""
    if column not in record.values:
        known = list(record.values)
        raise TaskError(
            f"{record.place}: the benchmark's file has a column {column!r}, got none; {nearest(column, known)}; give "
            f"the original file"
        )
    return record.values[column]


def _filled(record: Record, text: str) -> str:
    """The text with the record's columns for its slots."""
    # In one pass, so that braces in a cell stay as they are.
    slots = slots_of(text)
    parts = re.split(r"\{(" + "|".join(slots) + r")\}", text) if slots else [text]
    text = "".join(as_text(cell(record, part)).strip() if at % 2 else part for at, part in enumerate(parts))
    if not text.strip():
        number = list(record.values).index(next(iter(record.values))) + 1
        raise TaskError(f"{record.place}, column {number}: a question must not be empty; give the original file")
    return text


def _target(record: Record, form: Format) -> tuple[str, ...]:
    """The right answers in the target's column, as the benchmark names them."""
    value = record.values.get(form.target)
    values = value if isinstance(value, list | tuple) else [value]
    texts = tuple(dict.fromkeys(text for v in values if (text := _written(v))))
    if not form.labels:
        return texts
    for text in texts:
        if text not in form.labels:
            number = list(record.values).index(form.target) + 1
            raise TaskError(
                f"{record.place}, column {number}: {form.target!r} is one of {', '.join(form.labels)}, got {text!r}; "
                f"give the original file"
            )
    return tuple(form.labels[text] for text in texts)


def _written(value: Any) -> str:
    """A value as a target: floats with the value of an integer as that."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else as_text(value).strip()


def _columns(record: Record, form: Format) -> Asked:
    if form.target not in record.values and form.target:
        cell(record, form.target)
    shown = {slot: as_text(cell(record, column)).strip() for slot, column in form.shown.items()}
    return Asked(_filled(record, form.input), _target(record, form), shown)


def lettered(options: Sequence[str]) -> str:
    """Options one a line, as BIG-Bench Hard writes them."""
    return "\n".join(["Options:", *(f"({chr(65 + at)}) {' '.join(text.split())}" for at, text in enumerate(options))])


def _options(record: Record, form: Format) -> Asked:
    """A question with options, the answer a letter, an index or a label's letter."""
    values = [cell(record, column) for column in form.options]
    texts = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
    options = [_unlettered(as_text(text).strip(), at) for at, text in enumerate(texts)]
    gold = _written(cell(record, form.target))
    letters = [chr(65 + at) for at in range(len(options))]
    letter = letters[int(gold)] if gold.isdigit() and int(gold) < len(letters) else gold
    if letter not in letters:
        number = list(record.values).index(form.target) + 1
        raise TaskError(
            f"{record.place}, column {number}: {form.target!r} is one of {', '.join(letters)}, got {gold!r}; give the "
            f"original file"
        )
    question = _filled(record, form.input)
    shown = {slot: as_text(cell(record, column)).strip() for slot, column in form.shown.items()}
    return Asked(f"{question}\n{lettered(options)}", (f"({letter})",), shown)


def _unlettered(option: str, at: int) -> str:
    """An option without the letter that AQuA writes before it."""
    return option.removeprefix(f"{chr(65 + at)})").strip() or option


def _bigbench(record: Record, form: Format) -> Asked:
    """A BIG-bench example: scored options, or one or several targets.

    Options that differ from row to row are listed under letters; with `labels`, they are the same in all rows.
    """
    question = as_text(cell(record, "input")).strip()
    scores = record.values.get("target_scores")
    if scores is None:
        target = cell(record, "target")
        texts = target if isinstance(target, list) else [target]
        return Asked(question, tuple(as_text(text).strip() for text in texts))
    best = max(scores, key=lambda option: float(scores[option]))
    if form.labels:
        if best not in form.labels:
            raise TaskError(f"{record.place}: a label is one of {', '.join(form.labels)}, got {best!r}")
        return Asked(question, (form.labels[best],))
    options = sorted(scores)
    return Asked(f"{question}\n{lettered(options)}", (f"({chr(65 + options.index(best))})",))


_REFERENCES = ("other_rhymes", "possible_translations", "possible_outputs", "all_common_concepts")


def _induction(record: Record, form: Format) -> Asked:
    """An Instruction Induction example; some tasks name their columns otherwise and give several references."""
    values = record.values
    if "cause" in values:
        cause, effect = as_text(values["cause"]), as_text(cell(record, "effect"))
        pair = sorted((cause, effect), key=content_id)
        return Asked(f"Sentence 1: {pair[0]} Sentence 2: {pair[1]}", (cause,))
    if "concept" in values:
        concepts = (as_text(values["concept"]), *cell(record, "all_common_concepts"))
        return Asked(", ".join(cell(record, "items")), tuple(dict.fromkeys(concepts)))
    output = as_text(cell(record, "output")).strip()
    question = as_text(cell(record, "input")).strip()
    further = [text for column in _REFERENCES for text in values.get(column, ()) if text != question]
    return Asked(question, tuple(dict.fromkeys((output, *further))))


def _turns(record: Record, form: Format) -> Asked:
    """The first turn of a conversation; reference answers are not of one turn and stay aside."""
    turns = cell(record, form.input.strip("{}"))
    if not isinstance(turns, list) or not turns or not as_text(turns[0]).strip():
        raise TaskError(f"{record.place}: {form.input.strip('{}')!r} is a list of turns; give the original file")
    shown = {slot: as_text(cell(record, column)) for slot, column in form.shown.items()}
    return Asked(as_text(turns[0]).strip(), (), shown)


def _paragraphs(record: Record, form: Format) -> Asked:
    """A HotpotQA question with its paragraphs, as nested pairs or as parallel lists."""
    context = cell(record, "context")
    if isinstance(context, Mapping):
        pairs = list(zip(context["title"], context["sentences"], strict=True))
    else:
        pairs = [(pair[0], pair[1]) for pair in context]
    text = "\n\n".join(f"{title}\n{''.join(sentences).strip()}" for title, sentences in pairs)
    return Asked(_filled(record, form.input), _target(record, form), {"context": text})


def _rating(record: Record, form: Format) -> Asked:
    """Graded labels, cut at both ends as ProTeGi does."""
    value = cell(record, form.target)
    try:
        grade = float(value)
    except (TypeError, ValueError):
        number = list(record.values).index(form.target) + 1
        raise TaskError(
            f"{record.place}, column {number}: {form.target!r} is a number, got {value!r}; give the original file"
        ) from None
    if form.low < grade < form.high:
        raise Odd(f"a rating between {form.low:g} and {form.high:g}")
    return Asked(_filled(record, form.input), (form.labels["high" if grade >= form.high else "low"],))


_SHAPES: Mapping[str, Callable[[Record, Format], Asked]] = {
    "columns": _columns,
    "options": _options,
    "bigbench": _bigbench,
    "induction": _induction,
    "turns": _turns,
    "paragraphs": _paragraphs,
    "rating": _rating,
}
