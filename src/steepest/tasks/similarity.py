"""Metrics that compare texts: whole, by the words they hold, by overlap. The best of several references counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steepest.tasks import extract as found
from steepest.tasks.labels import holds
from steepest.tasks.references import references
from steepest.tasks.task import Judgement
from steepest.types import Example

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
_ARTICLES = frozenset({"a", "an", "the"})
_BETWEEN = re.compile(r"\s*(?:,\s*(?:and|or)\b|[,;\n]|\band\b|[和与及]|^\s*(?:[-*•]|[0-9]+[.)])\s)\s*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """The whole output is the target, white space at the ends aside."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where they are the same."""
        return _judge(example, output.strip(), lambda answer, target: float(answer == target.strip()))


@dataclass(frozen=True, slots=True)
class Contains:
    """The output holds the target as words of its own, in any case: "yes" is not in "yesterday"."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where it does."""
        return _judge(example, output.strip(), lambda answer, target: float(holds(answer, target)))


@dataclass(frozen=True, slots=True)
class F1:
    """How many words answer and target share: SQuAD's token F1 (arXiv 1606.05250), articles and punctuation apart.

    The answer is what the output states last, or else all of it. A Chinese character is a word.
    """

    def __call__(self, example: Example, output: str) -> Judgement:
        """Harmonic mean of precision and recall."""
        return _judge(example, _answer(output), _f1)


@dataclass(frozen=True, slots=True)
class RougeL:
    """The longest common subsequence of words of the whole output and the target: the F-measure of ROUGE-L.

    Lin 2004, aclanthology.org/W04-1013, with precision and recall weighted alike and no stemming. A Chinese character
    is a word.
    """

    def __call__(self, example: Example, output: str) -> Judgement:
        """Harmonic mean of the shares of output and target that the subsequence makes up."""
        return _judge(example, output.strip(), _rouge_l)


@dataclass(frozen=True, slots=True)
class SameSet:
    """The same items as the target, in any order: separated by commas, semicolons, "and" or lines."""

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where the sets are equal."""
        return _judge(example, _answer(output), lambda answer, target: float(items(answer) == items(target)))


def _judge(example: Example, answer: str, score: Callable[[str, str], float]) -> Judgement:
    best = max(score(answer, target) for target in references(example)) if answer else 0.0
    return Judgement(best, answer or None)


def _answer(output: str) -> str:
    """The line that the output states last, else all of it."""
    for statement in reversed(found.statements(found.plain(output))):
        line = found.first_line(statement.text)
        if not statement.is_correction and line:
            return found.bare(line)
    return output.strip()


def tokens(text: str) -> list[str]:
    """Words in lower case, without punctuation; each Chinese or Japanese character by itself."""
    return _TOKEN.findall(text.casefold())


def items(text: str) -> frozenset[str]:
    """What a list names, each folded for comparison."""
    return frozenset(item for part in _BETWEEN.split(text) if (item := found.folded(part.strip("[](){} "))))


def _f1(answer: str, target: str) -> float:
    given = [word for word in tokens(answer) if word not in _ARTICLES]
    right = [word for word in tokens(target) if word not in _ARTICLES]
    return _harmonic((Counter(given) & Counter(right)).total(), given, right)


def _rouge_l(answer: str, target: str) -> float:
    given, right = tokens(answer), tokens(target)
    return _harmonic(common_subsequence(given, right), given, right)


def _harmonic(shared: int, given: Sequence[str], right: Sequence[str]) -> float:
    """2pr / (p + r) for precision shared / given and recall shared / right."""
    return 2 * shared / (len(given) + len(right)) if shared else 0.0


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for at, its in enumerate(other, 1):
            diagonal, row[at] = row[at], diagonal + 1 if word == its else max(row[at], row[at - 1])
    return row[-1]
