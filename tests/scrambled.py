"""A model that answers in any order, several batches at a time, and what it says."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from steepest.errors import ModelError
from steepest.models.scripted import Scripted, text_of
from steepest.testing.toy import HELPFUL, IDLE, toy_answer
from steepest.types import Request, Response

WORDS = HELPFUL + IDLE


def answer(request: Request) -> str:
    """Rows as in the toy world; for the optimizer every tag at once, now and then none that is closed."""
    asked, seed = text_of(request.prompt), request.seed or 0
    if asked.startswith("Level") and "<" not in asked:
        return toy_answer(request)
    if seed % 7 == 0 and request.temperature:
        return "<prompt>Add"
    if "<rating>" in asked:
        return rating(asked, request.temperature)
    said = " ".join([WORDS[len(asked) % 10]] * 12)
    words = " ".join(WORDS[seed // 10**i % 10] for i in range(3))
    advice = f"<feedback>Add {said}</feedback><summary>Add {said}</summary>"
    return f"<reason>No units.</reason>{advice}<prompt>Add {words}</prompt>"


def rating(asked: str, temperature: float) -> str:
    """Right or wrong; of some answers only at the second attempt."""
    a, b, said = map(int, re.search(r"what is (\d+) \+ (\d+)\?(?:\n.*)*?\nModel answer: (\d+)", asked).groups())
    if a % 5 == 0 and not temperature:
        return "Hard to say."
    return f"<explanation>So it is.</explanation><rating>{int(a + b == said)}</rating>"


@dataclass
class Scrambled:
    """Answers in any order, a thread for each batch; counts what is asked, and what was under way together."""

    seed: int = 0
    fail_at: int | None = None
    id: str = "scripted"
    given: list[Request] = field(default_factory=list)
    cancelled: int = 0
    batches: int = 0
    peak: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        raise AssertionError("a model that overlaps is asked by begin")

    def begin(
        self,
        requests: Sequence[Request],
        answered: Callable[[int, Response], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        over = threading.Event()
        with self.lock:
            self.batches += 1
            self.peak = max(self.peak, self.batches)
            order = random.Random(f"{self.seed} {len(self.given)}").sample(range(len(requests)), len(requests))
            self.given += requests

        def run() -> None:
            for index in order:
                if over.wait(0.0002):
                    break
                if self.fail_at is not None and len(self.given) > self.fail_at:
                    failed(ModelError("the model is down"))
                    break
                answered(index, dict(Scripted(answer).generate([requests[index]]))[0])
            with self.lock:
                self.batches -= 1

        def cancel() -> None:
            self.cancelled += 1
            over.set()

        threading.Thread(target=run).start()
        return cancel
