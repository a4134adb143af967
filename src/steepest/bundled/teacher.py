"""The optimizer and the judge whose answers the bundled model learns from.

While lessons are collected (:mod:`steepest.bundled.lessons`), real runs of the text methods ask this teacher. It is
fallible on purpose: from examples alone it knows a task's words only now and then; what it writes gets better by
what it is shown, as scores, errors, reasons and summaries. It never sees what a prompt will score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from steepest.bundled import lexicon, wording
from steepest.types import Message, Request, Response, content_id

# Shares of filler, general, suited, harmful and strange words: what is written from examples alone, from prompts
# and scores, and where errors are looked into.
_UNINFORMED = (0.50, 0.16, 0.14, 0.04, 0.16)
_INSIGHT = (0.12, 0.26, 0.54, 0.0, 0.08)

_PROMPTS = (
    "Verb the noun.",
    "Verb the noun and verb the adjective noun.",
    "Verb the noun, then verb the noun adverb.",
    "First verb the noun, then verb each noun.",
    "Verb each noun and verb the noun adverb.",
    "Use adjective noun and verb the noun.",
    "Verb the noun adverb before you verb.",
    "Please verb the noun and verb adverb.",
    "Verb adverb: verb the noun and the noun.",
    "To verb the noun, verb every noun adverb.",
    "Keep the noun and the noun in mind and verb the adjective noun.",
)
_REASONS = (
    "The prompt does not ask to verb the noun.",
    "It never says to verb adverb.",
    "The model did not verb the noun of the noun.",
    "Nothing tells the model to verb each noun adverb.",
    "The prompt lacks adjective noun and does not verb the noun.",
    "The model answers at once; it should verb the noun and verb adverb.",
)
_ADVICE = (
    "Ask the model to verb the noun.",
    "Tell it to verb each noun adverb.",
    "The prompt should ask for adjective noun.",
    "Say that it must verb the noun and verb the noun.",
    "Let it verb adverb and verb the noun noun by noun.",
)
_SUMMARIES = (
    "The prompt should ask to verb the noun, verb adverb and use adjective noun.",
    "Ask the model to verb the noun and verb each noun adverb.",
    "It must verb the noun, verb the noun and verb the adjective noun.",
)
_TAG = re.compile(r"<(prompt|reason|feedback|summary|rating)>")
_PROMPT = re.compile(r"(?:^|\n)(?:[A-Z][a-z]+ )?[Pp]rompt:[ \n]?(.+)")
_SCORED = re.compile(r"[Pp]rompt:[ \n]?(.+)\nScore: (\d+)")
_HINTS = re.compile(r"(?:^|\n)(?:Feedback|Summary[^:\n]*|Problems|What is wrong with the prompt):[ \n]((?:.+\n?)+)")
_COUNT = re.compile(r"reasons to give: (\d+)")
_EXAMPLE = re.compile(r"(?:^|\n)(Example \d+)\n")
_ANSWER = re.compile(r"answer is ([^.\n]+)")


@dataclass(frozen=True, slots=True)
class Teacher:
    """Answers the meta-prompts of runs on one bundled task; the same request is answered alike."""

    task: str
    id: str = "teacher"

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """In order; replies depend on what is asked and its seed alone."""
        for at, request in enumerate(requests):
            turns = request.prompt
            talk = (Message("user", turns),) if isinstance(turns, str) else turns
            reply = self._reply(talk, Random(content_id(self.task, str(talk), str(request.seed))))
            yield at, Response(reply, 1, len(reply.split()))

    def _reply(self, talk: Sequence[Message], rng: Random) -> str:
        asked, last = "\n".join(turn.content for turn in talk), talk[-1].content
        tags = _TAG.findall(last)
        wanted = tags[-1] if tags else ""
        if wanted == "rating":
            return _rating(last)
        if wanted in ("reason", "feedback"):
            return self._remarks(wanted, _COUNT.search(last), rng)
        # What was thought of before is a hint like any other.
        hints = "\n".join((*_HINTS.findall(asked), *(turn.content for turn in talk[3:] if turn.role == "assistant")))
        if wanted == "summary":
            return f"<summary>{self._summary(hints, rng)}</summary>"
        if wanted == "prompt":
            return f"<prompt>{self._prompt(asked, _content(hints), rng)}</prompt>"
        return self._thoughts(last, rng)

    def _prompt(self, asked: str, hints: Sequence[str], rng: Random) -> str:
        """A new prompt: words of what is hinted, or of the best that is shown, among words of its own."""
        shown = _PROMPT.findall(asked)
        scored = sorted(((int(score), text) for text, score in _SCORED.findall(asked)), reverse=True)
        if hints:
            pool = [*hints, *_content(shown[-1:])] if rng.random() < 0.5 else hints
            return self._composed(pool, 0.75, rng)
        if scored:
            return self._composed(_promising(scored, rng), 0.6, rng)
        if shown and not re.search(r"(?:^|\n)Input:", asked):
            return self._composed(_content(shown[-1:]), 0.8, rng)
        return self._composed(_content(shown[-1:]), 0.25, rng)

    def _composed(self, pool: Sequence[str], loyalty: float, rng: Random) -> str:
        mixed = rng.sample(list(pool), len(pool))
        text = wording.filled(rng.choice(_PROMPTS), self.task, _UNINFORMED, mixed, loyalty, rng)
        if rng.random() < 0.25:
            text = f"{text} {rng.choice([phrase for phrase, odds in lexicon.PHRASES.items() if not odds[0]])}."
        return text

    def _remarks(self, tag: str, wanted: re.Match[str] | None, rng: Random) -> str:
        """Reasons, or advice, each of another wording."""
        templates = rng.sample(_REASONS if tag == "reason" else _ADVICE, min(int(wanted[1]) if wanted else 1, 5))
        return "\n".join(f"<{tag}>{self._filled(template, (), rng)}</{tag}>" for template in templates)

    def _summary(self, hints: str, rng: Random) -> str:
        """What is hinted most often, in one sentence."""
        often = [word for word, _ in Counter(_content(hints, repeated=True)).most_common(6)]
        return self._filled(rng.choice(_SUMMARIES), often, rng)

    def _thoughts(self, asked: str, rng: Random) -> str:
        """Examples looked into, one by one, by PE2's five questions."""
        found = _EXAMPLE.findall(asked) or ["Example"]
        advice = [self._filled(rng.choice(_ADVICE), (), rng) for _ in found]
        lines = zip(found, advice, strict=True)
        return "\n".join(f"{name}: 1. No. 2. Yes. 3. No. 4. Yes. 5. {text}" for name, text in lines)

    def _filled(self, template: str, pool: Sequence[str], rng: Random) -> str:
        return wording.filled(template, self.task, _INSIGHT, pool, 0.85, rng)


def _rating(asked: str) -> str:
    """The answer against the expected one; without one, whether there is a working that ends in an answer."""
    expected = re.search(r"Expected answer:[ \n](.+)", asked)
    response = asked.rpartition("Model answer:")[2]
    given = _ANSWER.findall(response)
    said = given[-1].strip() if given else "nothing"
    if expected is None:
        right = "Steps:" in response and bool(given)
        why = f"It {'shows its steps' if right else 'shows too little'} and says {said}."
    else:
        right = said == expected.group(1).strip()
        why = f"It says {said}, expected {expected.group(1).strip()}: {'right' if right else 'wrong'}."
    return f"<explanation>{why}</explanation><rating>{int(right)}</rating>"


def _promising(scored: Sequence[tuple[int, str]], rng: Random) -> list[str]:
    """Words of the three best prompts that the worst ones lack."""
    best = _content([text for _, text in scored[:3]])
    worst = set(_content([text for score, text in scored[3:] if score < scored[0][0]][-3:]))
    return [word for word in best if word not in worst or rng.random() < 0.3]


def _content(texts: Sequence[str] | str, repeated: bool = False) -> list[str]:
    """The words that an instruction can be made of, in order."""
    joined = texts if isinstance(texts, str) else " ".join(texts)
    known = [word for word in re.findall("[a-z]+", joined.lower()) if lexicon.speech_of(word)]
    telling = [word for word in known if word not in lexicon.FILLER]
    return telling if repeated else list(dict.fromkeys(telling))
