"""Messages to the optimizer and the judge, in every language, and replies read from plain tags."""

from __future__ import annotations

import re
from dataclasses import dataclass

from steepest.types import Response

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_THOUGHT = re.compile(r"<(think|thinking|thought)>", re.IGNORECASE)


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

    @property
    def slots(self) -> frozenset[str]:
        """Names of its slots."""
        return frozenset(_SLOT.findall(self.en))

    def fill(self, language: str, /, **slots: str) -> str:
        """The message; slots are filled in one pass, so braces in what is filled in stay as they are."""
        text = self.zh if language == "zh" else self.en
        needed = set(_SLOT.findall(text))
        if needed != set(slots):
            raise ValueError(f"the meta-prompt's slots are {sorted(needed)}, got {sorted(slots)}; fill exactly these")
        return _SLOT.sub(lambda found: slots[found.group(1)], text)


def spoken(text: str) -> str:
    """A reply without the thinking that some models write first; Unusable where the thinking never ends."""
    said, end = "", 0
    while start := _THOUGHT.search(text, end):
        stop = re.compile(f"</{start[1]}>", re.IGNORECASE).search(text, start.end())
        if stop is None:
            raise Unusable("thinking only")
        said, end = said + text[end : start.start()], stop.end()
    return said + text[end:]


def tagged(text: str, tag: str) -> list[str]:
    """Every closed span <tag>...</tag> of a reply, trimmed, blank ones left out."""
    said, spans, end = spoken(text), [], 0
    opening, closing = (re.compile(f"<{slash}{tag}>", re.IGNORECASE) for slash in ("", "/"))
    # One pattern for both ends would read to the end of the text from every opening of a reply that closes none.
    while (start := opening.search(said, end)) and (stop := closing.search(said, start.end())):
        spans.append(said[start.end() : stop.start()].strip())
        end = stop.end()
    return [span for span in spans if span]


def read_tagged(response: Response, tag: str) -> list[str]:
    """The spans of a reply's tag, at least one; Unusable where there is none."""
    if response.finish == "failed":
        raise Unusable("no reply")
    found = tagged(response.text, tag)
    if not found:
        raise Unusable("cut off" if response.finish == "length" else "no tags")
    return found
