"""Messages to the optimizer and the judge, in every language, and replies read from plain tags."""

from __future__ import annotations

import re
from dataclasses import dataclass

from steepest.types import Response

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_THOUGHT = re.compile(r"<(think|thinking|thought)>.*?</\1>", re.DOTALL | re.IGNORECASE)


class Unusable(Exception):
    """A reply that cannot be used; the text says why, in two or three words for the report."""


@dataclass(frozen=True, slots=True)
class MetaPrompt:
    """A message to the optimizer or the judge, in every language that is shipped, with `{slots}`."""

    en: str
    zh: str

    def __post_init__(self) -> None:
        if set(_SLOT.findall(self.en)) != set(_SLOT.findall(self.zh)):
            raise ValueError(f"a meta-prompt has the same slots in every language, got {self.en!r} and {self.zh!r}")

    def fill(self, language: str, /, **slots: str) -> str:
        """The message; slots are filled in one pass, so braces in what is filled in stay as they are."""
        text = self.zh if language == "zh" else self.en
        needed = set(_SLOT.findall(text))
        if needed != set(slots):
            raise ValueError(f"the meta-prompt's slots are {sorted(needed)}, got {sorted(slots)}; fill exactly these")
        return _SLOT.sub(lambda found: slots[found.group(1)], text)


def spoken(text: str) -> str:
    """A reply without the thinking that some models write first; Unusable where the thinking never ends."""
    said = _THOUGHT.sub("", text)
    if re.search(r"<(think|thinking|thought)>", said, re.IGNORECASE):
        raise Unusable("thinking only")
    return said


def tagged(text: str, tag: str) -> list[str]:
    """Every closed span <tag>...</tag> of a reply, trimmed, blank ones left out."""
    spans = re.findall(rf"<{tag}>(.*?)</{tag}>", spoken(text), re.DOTALL | re.IGNORECASE)
    return [span.strip() for span in spans if span.strip()]


def read_tagged(response: Response, tag: str) -> list[str]:
    """The spans of a reply's tag, at least one; Unusable where there is none."""
    if response.finish == "failed":
        raise Unusable("no reply")
    found = tagged(response.text, tag)
    if not found:
        raise Unusable("cut off" if response.finish == "length" else "no tags")
    return found
