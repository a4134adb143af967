"""Words of the bundled model's instructions and what each of them does to the way it answers.

Weights are logits: ``GENERAL`` words speak for terse reasoning (and half as much for full reasoning), ``SUITED``
words for full reasoning on one task, ``HARMFUL`` and ``MISLEADING`` words for answering at once. ``FILLER`` does
nothing. Words are listed by part of speech, so that the templates can place them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

VERB, NOUN, ADVERB, ADJECTIVE = "verb", "noun", "adverb", "adjective"
SPEECH = (VERB, NOUN, ADVERB, ADJECTIVE)

Weights = Mapping[str, float]
Lists = Mapping[str, str]


def _split(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


def _weights(lists: Lists) -> dict[str, float]:
    """Read ``word tenths word tenths ...`` lists."""
    found: dict[str, float] = {}
    for text in lists.values():
        parts = text.split()
        found.update({word: int(tenths) / 10 for word, tenths in zip(parts[::2], parts[1::2], strict=True)})
    return found


def _speech(lists: Lists) -> dict[str, tuple[str, ...]]:
    """Words of each part of speech, weights left out."""
    return {part: tuple(lists.get(part, "").split()[::2]) for part in SPEECH}


_GENERAL: Lists = {
    VERB: "think 9 reason 9 explain 7 consider 5 analyze 7 reflect 6 deliberate 5 understand 4 solve 3 justify 5 "
    "show 5",
    NOUN: "step 9 steps 10 reasoning 9 logic 7 thought 6 explanation 6 details 5 stages 6 process 4 method 4",
    ADVERB: "carefully 7 slowly 6 logically 8 thoroughly 6 methodically 7 patiently 5 systematically 7 gradually 5",
    ADJECTIVE: "logical 7 careful 5 detailed 6 thorough 5 proper 3 intermediate 6",
}

_HARMFUL: Lists = {
    VERB: "guess 12 skip 9 hurry 9 blurt 10 assume 5 estimate 6 rush 9 shorten 6 omit 7 approximate 5",
    NOUN: "instinct 8 intuition 7 hunch 9 shortcut 8 brevity 7 glance 6",
    ADVERB: "quickly 10 directly 10 immediately 11 briefly 8 instantly 11 only 7 just 6 fast 8 straight 6 "
    "hastily 9 merely 6 bluntly 7",
    ADJECTIVE: "short 6 brief 7 quick 9 concise 5 immediate 9 single 5 rough 6",
}

_SUITED: Mapping[str, Lists] = {
    "arithmetic": {
        VERB: "calculate 16 add 15 subtract 15 compute 11 double 8",
        NOUN: "arithmetic 15 sum 12 total 11 numbers 10 result 5 digits 7 amount 6 operations 8 equation 7 math 10",
        ADVERB: "numerically 7",
        ADJECTIVE: "running 7 numeric 6",
    },
    "counting": {
        VERB: "count 16 tally 12 classify 9 enumerate 10",
        NOUN: "items 15 category 14 objects 11 list 10 kinds 9 quantities 11 total 6 things 6 group 6 inventory 8",
        ADVERB: "individually 7",
        ADJECTIVE: "running 6 matching 8",
    },
    "shuffled": {
        VERB: "track 15 swap 14 follow 9 trade 10 trace 9 exchange 10",
        NOUN: "holder 15 swaps 13 person 7 people 6 hands 6 owner 9 possession 9 moves 6",
        ADVERB: "onward 5",
        ADJECTIVE: "current 8",
    },
    "navigation": {
        VERB: "walk 14 navigate 12 track 9 turn 10 trace 6",
        NOUN: "position 15 facing 15 direction 12 turns 11 path 9 location 10 map 6 route 7 coordinates 11 moves 7",
        ADVERB: "forward 6 spatially 6",
        ADJECTIVE: "current 6",
    },
    "boolean": {
        VERB: "evaluate 15 negate 12 simplify 8",
        NOUN: "operators 15 truth 10 expression 11 gates 9 values 8 formula 7 negation 11 bits 7 circuit 8",
        ADVERB: "symbolically 6",
        ADJECTIVE: "boolean 15 true 9 false 9 binary 7",
    },
    "sorting": {
        VERB: "sort 15 order 13 arrange 12 rank 9 compare 10 list 7",
        NOUN: "alphabet 15 letters 12 sequence 11 ordering 12 words 9 row 7 places 6 queue 6 index 8",
        ADVERB: "alphabetically 15 consecutively 7",
        ADJECTIVE: "alphabetical 14 sorted 9 smallest 8",
    },
    "lies": {
        VERB: "verify 12 trust 8 believe 7 doubt 6",
        NOUN: "statements 15 liar 15 truth 12 claims 11 speaker 10 lies 7 person 6 chain 9 witness 7 testimony 8",
        ADVERB: "honestly 6 truthfully 10",
        ADJECTIVE: "honest 14 reliable 6",
    },
    "dates": {
        VERB: "shift 14 advance 9 rewind 8",
        NOUN: "calendar 15 weekday 15 days 12 day 9 date 10 week 9 schedule 6 cycle 8 offset 8 time 5",
        ADVERB: "forward 8 backward 8 later 6 earlier 6",
        ADJECTIVE: "weekly 7",
    },
}

# Words that suit one task, or look as if they did, and lead the model astray on another.
_MISLEADING: Mapping[str, str] = {
    "arithmetic": "count 10 order 7 truth 7 average 9 items 6 sort 8",
    "counting": "sum 9 add 8 equation 7 average 7 names 6 arithmetic 7",
    "shuffled": "order 8 sort 9 count 7 shuffle 8 position 5 randomly 10",
    "navigation": "distance 9 sum 7 add 6 left 5 swap 8 speed 8",
    "boolean": "lies 8 liar 7 honest 6 sum 8 order 7 probably 9 count 6",
    "sorting": "count 8 shuffle 10 swap 8 length 9 longest 9 truth 5 total 7",
    "lies": "majority 10 vote 9 boolean 5 people 6 probably 9 names 6",
    "dates": "month 9 year 8 count 5 arithmetic 5 holiday 9 forecast 8 order 6",
}

_FILLER: Lists = {
    VERB: "answer give provide use write state tell find determine read handle treat take make help please try work "
    "respond reply return produce present report choose pick decide complete continue begin start end finish do "
    "go see look note remember keep ask say put get let need want know apply review",
    NOUN: "question answer problem task response solution case text example point way part number name value word "
    "sentence line page note goal puzzle situation context information fact idea topic user reader student "
    "teacher expert assistant friend machine story exercise test exam challenge input output form style tone "
    "language reply choice option conclusion end rest today moment world mind head knowledge skill rule rules",
    ADVERB: "finally now then here well please again always also together clearly simply correctly accurately "
    "politely kindly nicely properly actually really truly still soon once perhaps maybe usually calmly quietly "
    "freely gladly thus therefore hence next",
    ADJECTIVE: "correct actual final right good best clear given following new whole main own simple "
    "useful nice accurate exact precise valid important interesting difficult easy possible different same last "
    "other great real common friendly formal plain complete full little old young",
}

JOINERS: tuple[str, ...] = _split(
    "the a an each every and then with to your of in for by it all any this that is are be on at from "
    "before after while using as so or not if when you me us we can will should must do without one no "
    "what how"
)

# Phrases worth more (or less) than the sum of their words: added to (direct, general, full).
PHRASES: Mapping[str, tuple[float, float, float]] = {
    "step by step": (0.0, 1.0, 0.5),
    "think carefully": (0.0, 0.4, 0.2),
    "show your reasoning": (0.0, 0.6, 0.3),
    "one by one": (0.0, 0.0, 0.9),
    "keep track": (0.0, 0.0, 0.7),
    "running total": (0.0, 0.0, 0.4),
    "just guess": (0.7, 0.0, 0.0),
    "answer only": (0.9, 0.0, 0.0),
    "do not explain": (1.4, 0.0, 0.0),
    "without thinking": (1.2, 0.0, 0.0),
    "without reasoning": (1.6, 0.0, 0.0),
    "in one word": (0.8, 0.0, 0.0),
}

# Words seen capitalised at the start of an instruction, besides every verb.
OPENERS: tuple[str, ...] = _split(
    "please finally now then the to you we it as carefully quickly slowly just only always directly each "
    "every when before after in with without step logically let here well keep your this what how one"
)

GENERAL: Weights = _weights(_GENERAL)
HARMFUL: Weights = _weights(_HARMFUL)
SUITED: Mapping[str, Weights] = {task: _weights(lists) for task, lists in _SUITED.items()}
MISLEADING: Mapping[str, Weights] = {task: _weights({VERB: text}) for task, text in _MISLEADING.items()}
FILLER: tuple[str, ...] = tuple(word for text in _FILLER.values() for word in text.split())

GENERAL_SPEECH = _speech(_GENERAL)
HARMFUL_SPEECH = _speech(_HARMFUL)
SUITED_SPEECH: Mapping[str, Mapping[str, tuple[str, ...]]] = {task: _speech(lists) for task, lists in _SUITED.items()}
FILLER_SPEECH: Mapping[str, tuple[str, ...]] = {part: tuple(text.split()) for part, text in _FILLER.items()}


@cache
def speech_of(word: str) -> frozenset[str]:
    """The parts of speech of a word; none of one that is unknown."""
    return frozenset(part for known, part in _parts() if known == word)


def words() -> tuple[str, ...]:
    """Every word an instruction may hold, lower case, in a fixed order."""
    found: dict[str, None] = dict.fromkeys((*GENERAL, *HARMFUL))
    for lists in (SUITED, MISLEADING):
        for weights in lists.values():
            found.update(dict.fromkeys(weights))
    found.update(dict.fromkeys((*FILLER, *JOINERS, "thinking")))
    return tuple(found)


def capitals() -> tuple[str, ...]:
    """Words that may open a sentence, capitalised."""
    verbs = [word for word, part in _parts() if part == VERB]
    return tuple(dict.fromkeys(word.capitalize() for word in (*verbs, *OPENERS)))


def _parts() -> list[tuple[str, str]]:
    """Every word with its part of speech."""
    lists = (GENERAL_SPEECH, HARMFUL_SPEECH, *SUITED_SPEECH.values(), FILLER_SPEECH)
    return [(word, part) for speech in lists for part, group in speech.items() for word in group]
