"""An observer that shows a run as it goes: a live panel in a terminal, one plain line a step anywhere else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from steepest.events import CallsAnswered, Event, RunStarted, StepCommitted, StepStarted
from steepest.ledger import Limits
from steepest.records import StepRecord, elapsed, total_usage, winner
from steepest.reporting.statistics import interval, percent
from steepest.reporting.text import clean, one_line
from steepest.reporting.words import duration
from steepest.types import Scored, Usage, money

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_PHASES = {"step": "searching", "referee": "measuring on dev", "finish": "measuring on test"}


class Progress:
    """Step, best prompt so far with its dev score, cost and time left. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        """Writes to `console`; only there, so standard output stays free."""
        self._console = console
        self._live: Live | None = None
        self._title = ""
        self._limits = Limits()
        self._best: Scored | None = None
        self._step = 0
        self._total = Usage()
        self._elapsed = 0.0
        self._began = time.monotonic()
        self._now: CallsAnswered | None = None
        self._status = ""
        """What models last said of themselves."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        if self._status:
            self._say(f"models: {self._status}")

    def remember(self, records: Sequence[StepRecord]) -> None:
        """Begin from the steps that a resumed run has already committed."""
        if records:
            self._best = winner([record.referee for record in records])
            self._step = records[-1].step
            self._total, self._elapsed = total_usage(records), elapsed(records)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case RunStarted():
                models = ", ".join(dict.fromkeys(event.models.values()))
                title = f"{event.method} on {event.task}, model {models}, seed {event.seed}, run {event.run}"
                self._title = clean(title)
                self._limits = event.limits
                self._start()
            case StepStarted():
                self._began, self._now = time.monotonic(), None
            case CallsAnswered():
                self._now = event
                self._status = clean(event.status) or self._status
            case StepCommitted():
                self._commit(event)
            case _:
                pass

    def line(self) -> str:
        """Where the run stands, in one line."""
        parts = [self._steps(), self._dev(), self._cost(self._total), self._left(self._elapsed)]
        best = f"best: {one_line(self._best.candidate.text, 100)}" if self._best else ""
        return " · ".join(part for part in (*parts, best) if part)

    def __rich__(self) -> RenderableType:
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        running = self._total + self._now.usage if self._now and self._now.phase == "step" else self._total
        spent = self._elapsed + time.monotonic() - self._began
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(self._steps(), ProgressBar(total=1.0, completed=self._share(self._elapsed), width=40))
        if self._best:
            grid.add_row("best prompt", Text(clean(self._best.candidate.text), style="bold"))
            grid.add_row("dev score", Text(_estimate(self._best)))
        grid.add_row("cost", Text(" · ".join(filter(None, (self._cost(running), self._left(spent))))))
        if self._now:
            now = f"{_PHASES[self._now.phase]}, {self._now.answered:,} of {self._now.batch:,} answers"
            grid.add_row("now", Text(now))
        if self._status:
            grid.add_row("models", Text(self._status))
        return Panel(grid, title=Text(self._title), title_align="left", border_style="dim")

    def _start(self) -> None:
        from rich.live import Live

        if not self._console.is_terminal:
            self._say(self._title)
        elif self._live is None:
            self._live = Live(self, console=self._console, refresh_per_second=4)
            self._live.start()

    def _commit(self, event: StepCommitted) -> None:
        self._best = winner([self._best, event.referee]) if self._best else event.referee
        self._step, self._total, self._elapsed = event.step, event.total, event.elapsed
        self._began, self._now = time.monotonic(), None
        if not self._console.is_terminal:
            self._say(self.line())

    def _say(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(line), soft_wrap=True)  # of other text, rich makes markup and emoji

    def _steps(self) -> str:
        of = f" of {self._limits.steps:,}" if self._limits.steps is not None else ""
        return f"step {self._step:,}{of}"

    def _dev(self) -> str:
        return f"dev {_estimate(self._best)}" if self._best else ""

    def _cost(self, usage: Usage) -> str:
        dollars = f" · {money(usage.dollars)}" if usage.dollars else ""
        return f"{usage.calls:,} calls · {usage.tokens:,} tokens{dollars}"

    def _share(self, spent: float) -> float:
        """How much of the tightest limit is used up."""
        limits = self._limits
        uses = (
            (self._step, limits.steps),
            (self._total.calls, limits.calls),
            (self._total.tokens, limits.tokens),
            (self._total.dollars, limits.dollars),
            (spent, limits.seconds),
        )
        return min(1.0, max((used / limit for used, limit in uses if limit), default=0.0))

    def _left(self, spent: float) -> str:
        share = self._share(self._elapsed)
        if not 0 < share < 1:
            return ""
        left = self._elapsed / share - spent
        return f"about {duration(left)} left" if left >= 1 else ""


def _estimate(scored: Scored) -> str:
    found = interval(list(scored.scores.values()))
    return f"{percent(found.mean)} ({100 * found.low:.1f} to {100 * found.high:.1f})"
