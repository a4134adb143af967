"""Typed answers: how the answer is asked for, found in an output and compared. Each kind is a metric.

An extractor is text in the assistant's turn after which the bare answer follows; it names the task's whole label
set, so that no right answer is left out. Extraction prefers what the output states ("The answer is X", \\boxed{X},
"#### X"), then what it marks (**X**, $X$), then what its kind falls back on; of several, the last counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar

from steepest.errors import TaskError
from steepest.tasks import extract as found
from steepest.tasks import labels as lettered
from steepest.tasks import numbers
from steepest.tasks.extract import Statement
from steepest.tasks.references import references
from steepest.tasks.task import Judgement
from steepest.types import Example

_MOST_LABELS = 26
_MOST_PARTS = 32
_PAIRS = (("yes", "no"), ("true", "false"), ("valid", "invalid"), ("correct", "incorrect"), ("right", "wrong"))


@dataclass(frozen=True, slots=True)
class Number:
    """A number: separators, currency, units and the way of writing do not matter; its value does, exactly."""

    ask: str = "Therefore, the final answer, written as a number in digits, is"
    tolerance: float = 0.0
    """How far from the target still counts, as a share of it: 0.01 is one percent."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.tolerance < 1.0:
            raise TaskError(
                f"a tolerance is a share of the target, in [0, 1), got {self.tolerance}; 0.01 is one percent"
            )

    @property
    def extractor(self) -> str:
        """Text that asks for the number alone."""
        return self.ask

    def extract(self, output: str) -> str | None:
        """The number in canonical form ("1234.5", "-3", "1/3"), without a percent sign, or None."""
        answer = _extract_number(output, self.ask)
        return answer and answer.removesuffix("%")

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where the values are the same; a fraction also equals its rounded decimal, 30% both 30 and 0.3."""
        answer = _extract_number(output, self.ask)
        if answer is None:
            return Judgement(0.0, None)
        allowed = Fraction(str(self.tolerance))
        right = any(numbers.same_value(answer, self.gold(each), allowed) for each in references(example))
        return Judgement(float(right), answer.removesuffix("%"))

    def gold(self, target: str) -> str:
        """The number alone, of a target that may hold a worked solution before "####"; TaskError if there is none."""
        gold = _gold_number(target) or numbers.whole_words(target)
        if gold is None:
            raise TaskError(
                f"where answers are numbers every target must be one, got {target!r}; choose another kind of answer, "
                f"for example text"
            )
        return gold


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few labels: words, or option letters such as "(A)" (then "A", "a." and the option's text count)."""

    labels: tuple[str, ...]
    ask: str = ""
    """Overrides the extractor, for example in the language of the data."""

    def __post_init__(self) -> None:
        if len({label.casefold() for label in self.labels}) < 2:
            raise TaskError(f"a choice needs at least two different labels, got {list(self.labels)}; name them all")

    @property
    def extractor(self) -> str:
        """Text that asks for the label alone, naming all of them."""
        return self.ask or f"Therefore, the final answer (one of: {', '.join(self.labels)}) is"

    def extract(self, output: str) -> str | None:
        """The label as the task writes it, or None."""
        return _extract_label(output, self.labels, self.extractor)

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where the label, or the text of the option it stands for, is the target's."""
        return _judge_label(example, output, self.labels, self.extractor)

    def gold(self, target: str) -> str:
        """The label that a target stands for; TaskError if it stands for none."""
        return _gold_label(target, self.labels)


@dataclass(frozen=True, slots=True)
class YesNo:
    """One of two opposite words: Yes/No, True/False, valid/invalid."""

    labels: tuple[str, str] = ("Yes", "No")
    ask: str = ""
    """Overrides the extractor, for example in the language of the data."""

    @property
    def extractor(self) -> str:
        """Text that asks for one of the two words alone."""
        return self.ask or f"Therefore, the final answer ({self.labels[0]} or {self.labels[1]}) is"

    def extract(self, output: str) -> str | None:
        """The word as the task writes it, or None."""
        return _extract_label(output, self.labels, self.extractor)

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where the word is the target."""
        return _judge_label(example, output, self.labels, self.extractor)

    def gold(self, target: str) -> str:
        """The label that a target stands for; TaskError if it stands for none."""
        return _gold_label(target, self.labels)


@dataclass(frozen=True, slots=True)
class Text:
    """Free text, compared without case, markup, closing punctuation, leading article and runs of white space."""

    ask: str = "Therefore, the final answer is"

    @property
    def extractor(self) -> str:
        """Text that asks for the answer alone."""
        return self.ask

    def extract(self, output: str) -> str | None:
        """What the output states or marks last, or all of it where it is one short line; else None."""
        text, asked = _asked(output, self.ask)
        stated = _last(found.statements(text), _stated_text)
        if stated:
            return stated
        if asked:
            return found.bare(found.clause(text)) or None
        if marked := _last(found.marked(text), lambda s: found.bare(s) or None):
            return marked
        line = text.strip()
        return found.bare(line) if line and "\n" not in line and len(line.split()) <= 20 else None

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where the texts are the same; the line that the answer stands in may be the answer as a whole."""
        right = {found.folded(each) for each in references(example)}
        text, _ = _asked(output, self.ask)
        lines = [found.bare(found.first_line(each.text)) for each in found.statements(text)[-1:]]
        answer = self.extract(output)
        for each in (answer, *lines):
            if each and found.folded(each) in right:
                return Judgement(1.0, each)
        return Judgement(0.0, answer)

    def gold(self, target: str) -> str:
        """The target itself."""
        return target


Kind = Number | Choice | YesNo | Text


def asked_in_chinese(kind: Kind) -> Kind:
    """The same kind of answer, asked for in Chinese, unless it has words of its own."""
    if isinstance(kind, Number):
        return replace(kind, ask="因此，用阿拉伯数字表示的最终答案是") if kind.ask == Number().ask else kind
    if isinstance(kind, Text):
        return replace(kind, ask="因此，最终答案是") if kind.ask == Text().ask else kind
    return kind if kind.ask else replace(kind, ask=f"因此，最终答案（{'、'.join(kind.labels)}之一）是")


def infer(targets: Sequence[str]) -> Kind:
    """The kind of answer that targets call for. Give the targets of all splits: the labels come from them."""
    if targets and all(_gold_number(target) for target in targets):
        return Number()
    labels = labels_of(targets)
    for pair in _PAIRS:
        if {label.casefold() for label in labels} == set(pair):
            first, second = sorted(labels, key=lambda label: pair.index(label.casefold()))
            return YesNo((first, second))
    few = len(labels) <= _MOST_LABELS and 3 * len(labels) <= len(targets)
    if len(labels) > 1 and (few or all(map(lettered.letter, labels))):
        return Choice(labels)
    return Text()


def labels_of(targets: Sequence[str]) -> tuple[str, ...]:
    """Every label among the targets, as most rows write it; option letters without gaps."""
    counts: dict[str, Counter[str]] = {}
    for target in map(str.strip, targets):
        counts.setdefault(lettered.letter(target) or target.casefold(), Counter())[target] += 1
    written = [spellings.most_common(1)[0][0] for spellings in counts.values()]
    marks = {mark: label for label in written if (mark := lettered.letter(label))}
    if "A" in marks or any(len(label) > 1 for label in marks.values()):
        shape = next(iter(marks.values()))
        alphabet = (chr(code) for code in range(ord("A"), ord(max(marks)) + 1))
        written += [_like(shape, mark) for mark in alphabet if mark not in marks]
    return tuple(sorted(written, key=lambda label: (lettered.letter(label) or "~", label.casefold())))


def _like(shape: str, mark: str) -> str:
    """An option letter written as another one is."""
    return "".join((mark if c.isupper() else mark.lower()) if c.isalpha() else c for c in shape)


# -- numbers --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _gold_number(target: str) -> str | None:
    """The number that a target is, or that it ends with after "####"; a run asks for that of each row many times."""
    return numbers.whole_number(found.plain(target.rpartition("####")[2]))


def _extract_number(output: str, ask: str) -> str | None:
    """The number in canonical form, with a percent sign where it has one."""
    text, asked = _asked(output, ask)
    stated = _last(found.statements(text), _stated_number)
    if asked:
        return stated or numbers.stated_number(found.clause(text)) or numbers.number(text)
    return (
        stated or _last(found.marked(text), numbers.whole_number) or numbers.last_number(found.after_abstention(text))
    )


def _stated_number(statement: Statement) -> str | None:
    clause = found.clause(statement.text)
    if statement.is_correction:
        return numbers.corrected_number(clause, statement.is_direct)
    return numbers.stated_number(clause)


# -- labels ---------------------------------------------------------------------------------------------------------


def _extract_label(output: str, labels: Sequence[str], extractor: str) -> str | None:
    text, asked = _asked(output, extractor)

    def stated(statement: Statement) -> str | None:
        clause = found.clause(statement.text)
        if statement.is_correction:
            return lettered.corrected(clause, labels, statement.is_direct)
        return lettered.leading(clause, labels) or next(iter(lettered.mentions(clause[:120], labels)), None)

    answer = _last(found.statements(text), stated)
    if asked:
        return answer or stated(Statement(text))
    whole = lettered.leading(text, labels) if len(text.split()) == 1 else None
    marked = _last(found.marked(text), lambda part: lettered.leading(part, labels))
    if not lettered.has_unknown(labels):
        text = found.after_abstention(text)
    return answer or whole or marked or next(reversed(lettered.mentions(text, labels)), None)


def _judge_label(example: Example, output: str, labels: Sequence[str], extractor: str) -> Judgement:
    answer = _extract_label(output, labels, extractor)
    texts = lettered.options(example.input) if any(map(lettered.letter, labels)) else {}
    if answer is None and texts:
        answer = _option_named(output, texts, labels)
    if answer is None:
        return Judgement(0.0, None)
    gold = _gold_label(example.target, labels)
    mark = lettered.letter(answer)
    same = lettered.letter(gold) == mark if mark and lettered.letter(gold) else answer.casefold() == gold.casefold()
    named = mark in texts and found.folded(texts[mark]) == found.folded(gold)
    return Judgement(float(same or named), answer)


def _option_named(output: str, texts: dict[str, str], labels: Sequence[str]) -> str | None:
    """The label of the option whose text the output gives instead of its letter."""
    by_letter = {lettered.letter(label): label for label in labels}
    by_text = {found.folded(text): by_letter[mark] for mark, text in texts.items() if mark in by_letter}
    text = found.plain(output)
    stated = _last(found.statements(text), lambda s: by_text.get(found.folded(found.clause(s.text))))
    mentioned = lettered.mentions(text, [option for option in by_text if option and not lettered.letter(option)])
    return stated or (by_text[mentioned[-1]] if mentioned else None)


def _gold_label(target: str, labels: Sequence[str]) -> str:
    for label in labels:
        if label.casefold() == target.strip().casefold():
            return label
    mark = lettered.letter(target)
    for label in labels:
        if mark and lettered.letter(label) == mark:
            return label
    raise TaskError(f"every target must be one of the labels {', '.join(labels)}, got {target!r}; add it to them")


_Part = TypeVar("_Part")

# -- statements -----------------------------------------------------------------------------------------------------


def _asked(output: str, extractor: str) -> tuple[str, bool]:
    """What follows the last extractor, where the output holds one; else all of it. As plain text."""
    _, asked, text = output.rpartition(extractor)
    return found.plain(text), bool(asked)


def _stated_text(statement: Statement) -> str | None:
    return None if statement.is_direct else found.bare(found.clause(statement.text)) or None


def _last(parts: Sequence[_Part], read: Callable[[_Part], str | None]) -> str | None:
    """What is read from the last part in which there is something to read; a model that repeats itself says no more
    the hundredth time.
    """
    return next((answer for part in reversed(parts[-_MOST_PARTS:]) if (answer := read(part))), None)
