"""Targets: text of rows, prompts and models: templates, answers, tagged replies, and what is shown to people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

from hostile.target import Target, encoded, text
from steepest.exporting.pieces import fill, format_text, pieces_of, turns_of
from steepest.methods.pe2 import read_new, read_reasoning
from steepest.parts.text import Gate, cleaned, read_prompt, words
from steepest.parts.updates import without_echo
from steepest.reporting.difference import difference
from steepest.reporting.markup import element
from steepest.reporting.text import clean
from steepest.tasks.answers import Choice, Number, Text, YesNo, infer
from steepest.tasks.judge import Judge
from steepest.tasks.labels import options
from steepest.tasks.metaprompt import MetaPrompt, Unusable, read_tagged, spoken, tagged
from steepest.tasks.similarity import F1, Contains, ExactMatch, RougeL, SameSet
from steepest.tasks.symbolic import Math
from steepest.tasks.task import Metric, Task, Template
from steepest.types import Example, Finish, Response

_ROW = Example("1", "2 + 2 {note} {x.__class__}?", "4", {"note": "{input} {prompt}", "x": "{note!r}"})


def _template(data: bytes, folder: Path) -> None:
    layout, _, prompt = text(data).partition("\x00")
    template = Template(layout, prompt[:20])
    said = "".join(message.content for message in template.render(prompt, _ROW))
    for leak in ("<class", "<function", "object at"):
        assert leak in layout + prompt or leak not in said, "only columns come in"
    turns = turns_of(template, prompt)
    filled = fill(turns, template.columns_used(prompt, _ROW))
    assert filled == template.render(prompt, _ROW), "exports ask the same"
    pieces = pieces_of(layout)
    row = {"input": "i", "prompt": "p", "note": "n", "x": "x"}
    if all(isinstance(piece, str) or piece.name in row for piece in pieces):
        whole = "".join(piece if isinstance(piece, str) else row[piece.name] for piece in pieces)
        assert format_text(pieces).format(**row) == whole, "only slots are filled"


def _meta_prompt(data: bytes, folder: Path) -> None:
    en, _, zh = text(data).partition("\x00")
    MetaPrompt(en, zh or en).fill("en", prompt="{rows} {prompt}", rows="{x.__class__}")


def _judged(*kinds: Metric) -> Callable[[bytes, Path], None]:
    """Reads an output and a target, apart by a null character, with one of the kinds: that of the first byte."""

    def read(data: bytes, folder: Path) -> None:
        kind, (output, _, target) = kinds[data[0] % len(kinds) if data else 0], text(data[1:]).partition("\x00")
        row = Example("1", "Options:\n(A) red\n(B) green\n(C) blue", target or "(A)", {})
        judged = kind(row, output)
        assert 0.0 <= judged.score <= 1.0

    return read


class _NoAlgebra:
    """In place of the process that does algebra, which takes a hundred times as long as everything before it."""

    def equal(self, gold: str, answer: str) -> bool:
        json.dumps([gold, answer]).encode()
        return len(gold) == len(answer)


def _symbolic(data: bytes, folder: Path) -> None:
    with patch("steepest.tasks.symbolic.algebra", _NoAlgebra):
        _judged(Math())(data, folder)


def _inferred(data: bytes, folder: Path) -> None:
    targets = text(data).split("\x00")
    infer(targets)
    options(targets[0])


_TASK = Task(
    name="sums",
    train=(Example("1", "What is one and two and three and four and five and six?", "21", {"note": "n"}),),
    dev=(Example("2", "What is two?", "2", {"note": "n"}),),
    template=Template("{prompt}"),
    metric=ExactMatch(),
    extractor="",
    seeds=("Add {input} by {note}.",),
)


def _tags(data: bytes, folder: Path) -> None:
    said = text(data)
    tagged(said, "prompt")
    read_tagged(Response(said, 1, 1, "stop"), "prompt")
    Judge("Is it good?", scale=5).read(Response(said, 1, 1, "stop"))


def _optimizer(data: bytes, folder: Path) -> None:
    """A reply, by each of the methods' parsers; the first byte says how it ended."""
    ends: tuple[Finish, ...] = ("stop", "length", "failed")
    reply = Response(text(data[1:]), 1, 1, ends[data[0] % 3] if data else "stop")
    gate = Gate(_TASK, ["Say it."])
    readers: tuple[Callable[[], object], ...] = (
        lambda: gate.admit(reply.text),
        lambda: read_prompt(reply, gate),
        lambda: read_new(reply, gate, _TASK),
        lambda: read_reasoning(reply),
        lambda: spoken(reply.text),
        lambda: read_tagged(reply, "reason"),
        lambda: without_echo(cleaned(reply.text), "I said <blank> and was told 4."),
        lambda: words(reply.text),
    )
    for reader in readers:
        try:
            reader()
        except Unusable as refused:
            assert str(refused)


def _shown(data: bytes, folder: Path) -> None:
    said = text(data)
    shown = clean(said)
    assert "\x1b" not in shown and "\x9b" not in shown and "\x07" not in shown and "\r" not in shown
    assert clean(shown) == shown
    shown.encode()
    made = element("p", {"title": said}, said)
    assert made.count("<") == 2 and made.count(">") == 2, "text is no markup"
    half = len(shown) // 2
    runs = difference(shown[:half], shown[half:])
    assert "".join(run.text for run in runs if run.kind != "added") == shown[:half]
    assert "".join(run.text for run in runs if run.kind != "removed") == shown[half:]


_OUTPUTS = (
    "\x002 + 2 is 4. The answer is **4**.\x004",
    "\x01<answer>1,234.50 dollars</answer>\x00#### 1234.5",
    "\x00Therefore, the final answer, written as a number in digits, is \\boxed{\\frac{3}{4}}\x003/4",
    "\x02It is (B), no wait, actually: (C) blue.\x00(C)",
    "\x01Not yes but no. 答案是三十五。\x0035",
    "\x00twenty-one thousand and five, minus 1e-3, 50 %, \xbd, \u2160, \u0663\x0021005",
    "\x01The answer is red or green, depending.\x00red",
    "\x03the answer cannot be determined, so (a), (b) and 'blue'; 1.000,50 and 3万5千\x00a, b",
)
_ALGEBRA = (
    "\x00The answer is $\\frac{1}{2}x^2 + 1$.\x00x^2/2 + 1",
    "\x00\\boxed{(x+1)(x-1)}\x00x^2 - 1",
    "\x00$\\sqrt{8}$\x002\\sqrt{2}",
    "\x00#### [1, 2) \\cup \\{3\\}\x00x \\in [1,2]",
)
_TAGGED = (
    "<think>Let me see <prompt>no</prompt></think><prompt>Add the numbers.</prompt>",
    "<explanation>Good.</explanation><rating>4/5</rating>",
    "<PROMPT> one </PROMPT><prompt>two",
)
_REPLIES = (
    "\x00<prompt>Add {input} with care by {note}.</prompt>",
    "\x01<think>hm</think>```text\n<prompt>“Add {input}”</prompt>\n```<reason>it lacks steps</reason>",
    "\x00Okay, let me think. I said 5 and was told 4. **Add** {input} {note}",
    "\x02",
)
_TEMPLATES = (
    "{input}\n{prompt}\x00Think {note}.",
    "{prompt}\x00Answer {input} by {note}, keep {} {0} {{x}} {x.__class__} {x[0]} {x!r} {x:>9}",
    "{{{input}}} {note} {prompt} {{ {% %}\x00{prompt}",
)
_SHOWN = (
    "Say \x1b[31mit\x1b[0m\x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \u202egnp.\x9b31m [bold]so[/bold]",
    "<script>alert(1)</script> & \"quoted\" 'single' \r\n\x85\u2028 e\u0301 \U0001f642 \u4f60\u597d",
)
_OUTPUT_SEEDS = encoded(_OUTPUTS)
_CHOICES = (Choice(("red", "green")), Choice(("(A)", "(B)", "(C)")), YesNo(), Choice(("valid", "unknown", "无效")))

_WITH_ALGEBRA = {
    "symbolic": Target(_symbolic, encoded(_ALGEBRA)),
    "algebra": Target(lambda data, folder: _judged(Math())(data, folder), encoded(_ALGEBRA)),
}

TARGETS: Mapping[str, Target] = {
    "template": Target(_template, encoded(_TEMPLATES)),
    "meta-prompt": Target(_meta_prompt, (b"Improve {prompt}: {rows} {x[0]} {}\x00{rows} {prompt}",), (ValueError,)),
    "number": Target(_judged(Number(), Number(tolerance=0.01)), _OUTPUT_SEEDS),
    "choice": Target(_judged(*_CHOICES), _OUTPUT_SEEDS),
    "free-text": Target(_judged(Text(), ExactMatch(), Contains(), F1(), RougeL(), SameSet()), _OUTPUT_SEEDS),
    **(_WITH_ALGEBRA if find_spec("math_verify") else {}),
    "inferred": Target(_inferred, encoded(("1\x002.5\x00#### 3", "(A)\x00(b)", "yes\x00No\x00YES", "red\x00green"))),
    "tags": Target(_tags, encoded(_TAGGED), (Unusable,)),
    "optimizer": Target(_optimizer, encoded(_REPLIES)),
    "shown": Target(_shown, encoded(_SHOWN)),
}
"""By name."""
