"""Text to token ids: turns, the prompt's place among them, and which token belongs to which part."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from jinja2 import TemplateError

from steepest.errors import ModelError
from steepest.types import Message, Prompt, Row

_SENTINEL = "\ue000{}\ue001"
_SLOT = "\ue002"
_SENTINELS = re.compile("\ue000([0-9]+)\ue001")
# Some templates print today's date unless told one; an answer must not depend on the day.
_DATE = "26 Jul 2024"


@dataclass(frozen=True, slots=True)
class Placed:
    """A row as ids. Their concatenation is what the model reads."""

    left: list[int]
    """The user's turn up to the prompt, header included; never empty."""
    prompt: list[int]
    right: list[int]
    """From the prompt to the target: rest of the turn, start of the assistant's, reply."""
    target: list[int]

    def __len__(self) -> int:
        return len(self.left) + len(self.prompt) + len(self.right) + len(self.target)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a template writes around the turns of a conversation, up to the assistant's first word."""

    pieces: list[str]
    """One before each turn's content, as written, and the last behind all."""
    order: list[int]
    """Which turn is written first, second ...: some templates put the system's text behind the user's."""

    def filled(self, contents: Sequence[str]) -> str:
        """The conversation with these contents."""
        written = [contents[turn] for turn in self.order]
        return "".join(chain.from_iterable(zip(self.pieces, [*written, ""], strict=True)))


class Layout:
    """A tokenizer's way of writing conversations.

    A chat template is rendered around sentinels, and the contents are put in their place untouched. Without a
    template, turns are plain text behind the start token, each ended by a newline. A token belongs to the later of
    the parts that it overlaps: where the space before a word was written with the part before, " word" still
    belongs to the part that the word begins.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._frames: dict[tuple[str, ...], Frame] = {}
        # Decoders may strip a leading space; behind a letter they do not.
        self._anchor: list[int] = self._backend.encode("a", add_special_tokens=False).ids
        self._anchored = len(self._backend.decode(self._anchor))

    def text(self, prompt: Prompt) -> str:
        """All that the model reads before it goes on; a last turn by the assistant is left open."""
        messages = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        opening = ""
        if messages and messages[-1].role == "assistant":
            opening = messages[-1].content
            messages = messages[:-1]
        try:
            frame = self._frame(tuple(m.role for m in messages))
        except ModelError:
            if len(messages) < 2 or messages[0].role != "system":
                raise
            # Some templates know no system role: its text then opens the user's turn.
            folded = Message(messages[1].role, f"{messages[0].content}\n\n{messages[1].content}")
            messages = (folded, *messages[2:])
            frame = self._frame(tuple(m.role for m in messages))
        return frame.filled([m.content for m in messages]) + opening

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole texts."""
        return [e.ids for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def split(self, texts: Sequence[tuple[str, ...]]) -> list[list[list[int]]]:
        """Ids of each part of each text, encoded jointly."""
        split = []
        whole = self._backend.encode_batch(["".join(parts) for parts in texts], add_special_tokens=False)
        for parts, encoding in zip(texts, whole, strict=True):
            ids, ends = encoding.ids, [end for _, end in encoding.offsets]
            bounds, cut = [0], 0
            for part in parts[:-1]:
                cut += len(part)
                bounds.append(bisect_right(ends, cut))
            bounds.append(len(ids))
            split.append([ids[a:b] for a, b in zip(bounds, bounds[1:], strict=False)])
        return split

    def encode(self, text: str, before: str) -> list[int]:
        """Ids of a prompt where it follows `before` in a user's turn."""
        return self.split([(self._frame(("user",)).pieces[0] + before, text)])[0][1]

    def decode(self, ids: Sequence[int]) -> str:
        """The prompt's text. A first token's leading space is taken to be the one written before the prompt."""
        return self._decode([list(ids)], keep_special=True)[0].removeprefix(" ")

    def answers(self, ids: Sequence[list[int]]) -> list[str]:
        """The texts of answers, as they go on from what was read; special tokens left out."""
        return self._decode(ids, keep_special=False)

    def place(self, pairs: Sequence[tuple[Row, list[int]]]) -> list[Placed]:
        """Rows as ids around the given prompt ids, which are taken as they are.

        Where the text of the ids would be encoded otherwise between its neighbours (a full stop that merges with
        the newline after it), what follows the prompt is encoded on its own, and what stands before as in `encode`.
        """
        texts = [self._parts(row, self.decode(ids)) for row, ids in pairs]
        placed = []
        for (_, ids), parts, (left, found, right, target) in zip(pairs, texts, self.split(texts), strict=True):
            if found != ids:
                left, right, target = *self.split([parts[:2]])[0][:1], *self.split([parts[2:]])[0]
            if not left:
                raise ModelError(
                    "something must stand before the prompt, got nothing; give the template text before {prompt}"
                )
            placed.append(Placed(left, ids, right, target))
        return placed

    def _parts(self, row: Row, prompt: str) -> tuple[str, str, str, str]:
        user = Message("user", f"{row.before}{_SLOT}{row.after}")
        asked = (Message("system", row.system), user) if row.system else (user,)
        left, _, right = self.text(asked).partition(_SLOT)
        return left, prompt, right + row.reply, row.target

    @cached_property
    def vocabulary(self) -> list[str]:
        """Text of each token on its own; "" for special tokens and pieces of a character."""
        size = len(self._tokenizer)
        added = self._tokenizer.added_tokens_decoder
        hidden = {i for i, token in added.items() if token.special} | set(self._tokenizer.all_special_ids)
        texts = self._decode([[i] for i in range(size)], keep_special=True)
        return ["" if i in hidden or "\ufffd" in text else text for i, text in enumerate(texts)]

    def logits(self, width: int) -> list[str]:
        """`vocabulary` for so many logits: padding behind it has no text."""
        return [*self.vocabulary[:width], *[""] * (width - len(self.vocabulary))]

    def _decode(self, sequences: Sequence[list[int]], keep_special: bool) -> list[str]:
        anchored = [[*self._anchor, *ids] for ids in sequences]
        texts = self._backend.decode_batch(anchored, skip_special_tokens=not keep_special)
        return [text[self._anchored :] for text in texts]

    def _frame(self, roles: tuple[str, ...]) -> Frame:
        if roles not in self._frames:
            template = self._tokenizer.chat_template
            self._frames[roles] = self._templated(roles) if template else self._plain(roles)
        return self._frames[roles]

    def _plain(self, roles: tuple[str, ...]) -> Frame:
        start = self._tokenizer.bos_token or self._tokenizer.eos_token or ""
        return Frame([start, *["\n"] * len(roles)], list(range(len(roles))))

    def _templated(self, roles: tuple[str, ...]) -> Frame:
        turns = [{"role": role, "content": _SENTINEL.format(i)} for i, role in enumerate(roles)]
        try:
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, date_string=_DATE
            )
        except TemplateError as error:
            raise ModelError(
                f"a conversation must suit the model's chat template, got roles {', '.join(roles) or 'none'} "
                f"({error}); change the messages"
            ) from error
        split = _SENTINELS.split(text)
        order = [int(turn) for turn in split[1::2]]
        if sorted(order) != list(range(len(roles))):
            raise ModelError(
                f"a chat template must write every turn once, got turns {order} written for roles "
                f"{', '.join(roles)}; change the messages or the template"
            )
        return Frame(split[::2], order)
