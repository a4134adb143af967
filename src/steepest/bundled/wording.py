"""Instructions of the bundled model: the law by which they set its style, and a free variety of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random

from steepest.bundled import lexicon

DIRECT, GENERAL, FULL = "direct", "general", "full"
STYLES = (DIRECT, GENERAL, FULL)

# Logits of the styles without any word that matters: about 0.72, 0.18 and 0.10.
_BASE = (0.0, -1.386, -1.974)
_LIMITS = (4.0, 3.0, 5.5)
# A word says most of what it has to say at once.
_REPEATS = (1.0, 0.25)

# Shares of filler, general, suited, harmful and strange words, and how often such an instruction comes.
_PROFILES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.08, (1.0, 0.0, 0.0, 0.0, 0.0)),
    (0.20, (0.46, 0.44, 0.05, 0.0, 0.05)),
    (0.44, (0.32, 0.12, 0.50, 0.0, 0.06)),
    (0.06, (0.50, 0.05, 0.05, 0.35, 0.05)),
    (0.08, (0.45, 0.10, 0.05, 0.05, 0.35)),
    (0.14, (0.38, 0.20, 0.26, 0.06, 0.10)),
)

_TEMPLATES = (
    "verb the noun.",
    "verb the adjective noun adverb.",
    "verb the noun and verb the adjective noun.",
    "please verb the noun and verb each noun adverb.",
    "adverb verb the noun, then verb the noun.",
    "verb noun by noun and verb the adjective noun.",
    "to verb the noun, verb every noun and verb the noun adverb.",
    "use adjective noun and verb noun by noun.",
    "verb adverb, verb the noun and give the adjective noun.",
    "you must verb the noun adverb before you verb.",
    "verb each noun, verb the noun, and finally verb the adjective noun.",
    "keep the noun and the noun in mind while you verb.",
    "verb the noun with noun and adjective noun.",
    "verb, verb and verb.",
    "the noun is adjective, so verb it adverb.",
    "adverb verb and verb the noun of each noun.",
    "first verb then verb the noun.",
    "it is a noun of noun: verb the noun.",
    "verb all the noun in the noun, then answer.",
    "without noun, verb the noun adverb.",
    "give the adjective noun and verb your noun.",
    "work with the noun; verb it noun by noun.",
    "answer the question and verb the noun.",
    "now verb the noun to get the noun!",
    "how can you verb the noun? verb adverb.",
)

_SENTENCES = (
    "Answer the question.",
    "Use proper logical reasoning and think step by step. Finally give the actual correct answer.",
    "Let's think step by step.",
    "Think step by step.",
    "Please answer the following question.",
    "Give the correct answer.",
    "Solve the problem.",
    "Think carefully and show your reasoning.",
    "Just guess.",
    "Answer directly.",
    "Answer only with the final answer.",
    "Give a short answer and do not explain.",
    "Explain your reasoning step by step, then give the final answer.",
    "Work through the problem one by one.",
    "",
)

_SYLLABLES = (
    "ba",
    "do",
    "fi",
    "ku",
    "lo",
    "mer",
    "nas",
    "pol",
    "qui",
    "ren",
    "sto",
    "tra",
    "vel",
    "wim",
    "xan",
    "yor",
    "zed",
    "cha",
)


def style_odds(task: str, instruction: str) -> dict[str, float]:
    """Probability of each style under an instruction: a softmax over the sums of its words."""
    logits = [
        base + min(extra, limit) for base, extra, limit in zip(_BASE, _sums(task, instruction), _LIMITS, strict=True)
    ]
    weights = [2.718281828459045**logit for logit in logits]
    return {style: weight / sum(weights) for style, weight in zip(STYLES, weights, strict=True)}


def _sums(task: str, instruction: str) -> list[float]:
    """What the words and phrases of an instruction add to the logits."""
    found = re.findall("[a-z]+", instruction.lower())
    spaced = f" {' '.join(found)} "
    sums = [0.0, 0.0, 0.0]
    for phrase, effect in lexicon.PHRASES.items():
        if f" {phrase} " in spaced:
            sums = [total + part for total, part in zip(sums, effect, strict=True)]
    seen: dict[str, int] = {}
    for word in found:
        count = seen.get(word, 0)
        seen[word] = count + 1
        share = _REPEATS[count] if count < len(_REPEATS) else 0.0
        sums = [total + share * part for total, part in zip(sums, _effect(task, word), strict=True)]
    return sums


def _effect(task: str, word: str) -> tuple[float, float, float]:
    """What one word adds to the logits of direct, general and full."""
    general = lexicon.GENERAL.get(word, 0.0)
    against = lexicon.HARMFUL.get(word, 0.0) + lexicon.MISLEADING[task].get(word, 0.0)
    return against, general, 0.5 * general + lexicon.SUITED[task].get(word, 0.0)


def instruction(task: str, rng: Random) -> str:
    """A free instruction for a task: a known sentence, filled templates, or loose words."""
    kind = rng.random()
    if kind < 0.06:
        return rng.choice(_SENTENCES)
    shares = rng.choices([shares for _, shares in _PROFILES], [often for often, _ in _PROFILES])[0]
    sentences = [_loose(task, shares, rng)] if kind < 0.5 else [_filled(task, shares, rng)]
    if kind > 0.85:
        sentences.append(_filled(task, shares, rng))
    if rng.random() < 0.12 + 0.3 * shares[1]:
        sentences.insert(rng.randrange(len(sentences) + 1), _phrase(shares, rng))
    text = " ".join(sentences)
    if rng.random() < 0.5:
        text = _varied(task, text, shares, rng)
    if rng.random() < 0.04:
        made = "".join(rng.choices(_SYLLABLES, k=rng.randint(1, 3)))
        text = f"{text} {made}" if rng.random() < 0.5 else text.replace(" ", f" {made} ", 1)
    return text


def filled(
    template: str, task: str, shares: tuple[float, ...], pool: Sequence[str], loyalty: float, rng: Random
) -> str:
    """A template with words in its slots, by their part of speech: with probability `loyalty` one of the first
    few of `pool`, each but once, else one by `shares`. A slot written Verb makes a capital.
    """
    left = list(dict.fromkeys(pool))
    pieces = re.split("(Verb|verb|noun|adverb|adjective)", template)
    for at, slot in enumerate(pieces):
        if (piece := slot.lower()) in lexicon.SPEECH:
            fitting = [word for word in left if piece in lexicon.speech_of(word)]
            if fitting and rng.random() < loyalty:
                pieces[at] = rng.choice(fitting[:6])
                left.remove(pieces[at])
            else:
                pieces[at] = _word(task, piece, shares, rng)
            pieces[at] = pieces[at].capitalize() if slot == "Verb" else pieces[at]
    return "".join(pieces)


def _varied(task: str, text: str, shares: tuple[float, ...], rng: Random) -> str:
    """Some words changed for others, so that no word is a foregone conclusion, in known sentences neither."""

    def changed(found: re.Match[str]) -> str:
        if rng.random() > 0.2:
            return found.group()
        word = _word(task, rng.choices(lexicon.SPEECH, (4, 4, 2, 2))[0], shares, rng)
        capital = word.capitalize()
        return capital if found.group()[0].isupper() and capital in lexicon.capitals() else word

    return re.sub("[A-Za-z]+", changed, text)


def _phrase(shares: tuple[float, ...], rng: Random) -> str:
    """A known phrase, one against reasoning only where harmful words are common."""
    harmful = shares[3] > 0.05 and rng.random() < 0.6
    phrases = [phrase for phrase, effect in lexicon.PHRASES.items() if (effect[0] > 0) == harmful]
    return rng.choice(phrases) + rng.choice(("", ".", "."))


def _group(task: str, shares: tuple[float, ...], rng: Random) -> Mapping[str, tuple[str, ...]]:
    """Words, by part of speech, of a class drawn by its share."""
    index = rng.choices(range(5), shares)[0]
    if index < 4:
        return (lexicon.FILLER_SPEECH, lexicon.GENERAL_SPEECH, lexicon.SUITED_SPEECH[task], lexicon.HARMFUL_SPEECH)[
            index
        ]
    if rng.random() < 0.5:
        words = tuple(lexicon.MISLEADING[task])
        return dict.fromkeys(lexicon.SPEECH, words)
    return lexicon.SUITED_SPEECH[rng.choice(tuple(lexicon.SUITED_SPEECH))]


def _word(task: str, part: str, shares: tuple[float, ...], rng: Random) -> str:
    """A word of one part of speech."""
    return rng.choice(_group(task, shares, rng).get(part) or lexicon.FILLER_SPEECH[part])


def _filled(task: str, shares: tuple[float, ...], rng: Random) -> str:
    """A template with words in its slots."""
    pieces = re.split("(verb|noun|adverb|adjective)", rng.choice(_TEMPLATES))
    return _cased(
        "".join(_word(task, piece, shares, rng) if piece in lexicon.SPEECH else piece for piece in pieces), rng
    )


def _loose(task: str, shares: tuple[float, ...], rng: Random) -> str:
    """Words in no order, some joined by small words, with little punctuation."""
    chosen: list[str] = []
    for _ in range(rng.randint(3, 14)):
        if rng.random() < 0.2:
            chosen.append(rng.choice(lexicon.JOINERS))
        else:
            # Parts of speech by their size would leave the short lists unseen.
            part = rng.choices(lexicon.SPEECH, (4, 4, 2, 2))[0]
            chosen.append(_word(task, part, shares, rng))
        if rng.random() < 0.06:
            chosen[-1] += rng.choice((",", ",", ".", ":", ";"))
    return _cased(" ".join(chosen).rstrip(",.:;") + rng.choice(("", "", ".", ".", "!")), rng)


def _cased(text: str, rng: Random) -> str:
    """The text with its first letter raised, where that word is known so and mostly."""
    first = text.split(" ", 1)[0].rstrip(".,:;!?").capitalize()
    return text[:1].upper() + text[1:] if rng.random() < 0.75 and first in lexicon.capitals() else text
