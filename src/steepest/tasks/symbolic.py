"""Mathematical expressions, compared by value through math-verify (extra `metrics`)."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

from steepest.errors import TaskError
from steepest.tasks import extract as found
from steepest.tasks import numbers
from steepest.tasks.algebra import algebra
from steepest.tasks.references import references
from steepest.tasks.task import Judgement
from steepest.types import Example

_LONGEST = 300
"""Characters of an expression; longer ones are compared as text."""
_TOWER = re.compile(r"\^\s*\{?\s*[0-9]{5,}|\^[^^]*\^|[0-9]{4,}\s*!|!\s*!")
"""Powers and factorials that would take for ever, and need not be tried."""


@dataclass(frozen=True, slots=True)
class Math:
    """A mathematical expression, in LaTeX or plain: x(x+1) and x^2+x are the same. Needs the extra `metrics`."""

    ask: str = "Therefore, the final answer, written as one expression, is"

    def __post_init__(self) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise TaskError("answers of the kind math need math-verify, got none; pip install 'steepest[metrics]'")

    @property
    def extractor(self) -> str:
        """Text that asks for the expression alone."""
        return self.ask

    def extract(self, output: str) -> str | None:
        """What the output states, boxes or marks as $math$ last, or None."""
        _, asked, text = output.rpartition(self.ask)
        text = text.replace("<answer>", "\nAnswer: ").replace("</answer>", "\n")
        for statement in reversed(found.statements(text)):
            clause = found.clause(statement.text)
            if clause.strip() and not statement.is_correction:
                return _alone(clause)
        if asked:
            return _alone(found.clause(text)) or None
        marked = found.marked(text)
        if marked:
            return _alone(marked[-1])
        return _alone(text) if text.strip() and len(text.split()) <= 3 else numbers.last_number(found.plain(text))

    def __call__(self, example: Example, output: str) -> Judgement:
        """1 where the expressions are equal."""
        answer = self.extract(output)
        right = answer is not None and any(_equal(self.gold(each), answer) for each in references(example))
        return Judgement(float(right), answer)

    def gold(self, target: str) -> str:
        """The expression alone, of a target that may hold a worked solution before "####" or in a box."""
        boxed = [each for each in found.statements(target) if not each.is_correction]
        return _alone(found.clause(boxed[-1].text)) if boxed else _alone(target)


def _alone(text: str) -> str:
    """Without the dollar signs, markup and closing punctuation around it."""
    inner = text.strip().strip("*_` \t").rstrip(".,; ")
    boxed = re.fullmatch(r"\$*\\boxed\{(.*)\}\$*", inner)
    return (boxed[1] if boxed else inner).strip("$ ")


def _equal(gold: str, answer: str) -> bool:
    """By exact value where both are numbers, else by algebra; as text where either is too much for it."""
    one, other = (numbers.whole_number(found.plain(text)) for text in (gold, answer))
    if one and other and not re.search(r"[a-z^\\]", gold + answer):
        return numbers.same_value(other, one)
    if found.folded(gold) == found.folded(answer):
        return True
    if max(len(gold), len(answer)) > _LONGEST or _TOWER.search(gold) or _TOWER.search(answer):
        return False
    return algebra().equal(gold, answer)
