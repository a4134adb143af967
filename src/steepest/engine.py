"""The run: repeats a method's step, remembers every one, and says at the end whether the prompt is better.

run = Run.create(folder, plan)        # or Run.open(folder)
for record in run.until(no_gain(10)):  # limits of the plan apply as well
    ...
result = run.finish()
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from steepest import codec, spec
from steepest.calls import CallLog
from steepest.context import Context, World, checked_share
from steepest.errors import BudgetSpent, ModelError, SpecError, StateError
from steepest.events import Audience, JournalRepaired, Observer, RunStarted, StepCommitted, StepStarted
from steepest.ledger import UNLIMITED, Ledger, Limits
from steepest.models.opening import Opened, opened
from steepest.objects import refuse_carried
from steepest.plan import Method, Plan, check, check_prices
from steepest.records import StepRecord, elapsed, total_accounts, total_usage
from steepest.results import Result
from steepest.roles import options_by_role
from steepest.runfolder import ModelInfo, RunFolder, RunInfo, restore
from steepest.stops import Stop, idle, of_limits
from steepest.tasks.source import restore_task
from steepest.tasks.task import Task
from steepest.types import Candidate, Example, Scored, Usage

__all__ = ["Limits", "Method", "Run", "Plan", "StepRecord"]


class Run:
    """A run and its folder. A step is committed whole or not at all; any error leaves the last commit standing."""

    def __init__(
        self,
        folder: RunFolder,
        info: RunInfo,
        method: Method,
        world: World,
        test: Sequence[Example],
        records: Sequence[StepRecord] = (),
    ) -> None:
        """Use `create` or `open`."""
        self.info = info
        self.method = method
        self.limits = info.limits
        self.stopped = ""
        """Why `until` ended; empty while it has not."""
        self._folder = folder
        self._world = world
        self._test = test
        self._records = list(records)

    @classmethod
    def create(cls, path: Path, plan: Plan, observers: Iterable[Observer] = ()) -> Run:
        """A new run in a folder that is empty or not there. Everything is checked before anything is written."""
        folder = RunFolder(path)
        folder.check_free()
        info = check(plan)
        with _claimed(folder):
            # Another process may have begun there in the meantime, and even have ended.
            folder.check_free()
            folder.create(info, {"train": plan.task.train, "dev": plan.task.dev, "test": plan.test})
            log, audience = CallLog(folder.journal), Audience(observers)
            world = World(plan.task, plan.roles, log, plan.seed, audience, plan.prices, plan.fail_on)
            return cls(folder, info, plan.method, world, plan.test)._announced()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        limits: Limits = UNLIMITED,
        models: Mapping[str, Any] | None = None,
        fail_on: float | None = None,
        options: Mapping[str, Any] | None = None,
        observers: Iterable[Observer] = (),
    ) -> Run:
        """The run in a folder, to go on with. `limits` and `fail_on` replace what was recorded, where given.

        Models are opened by their recorded names and options, save those of the roles in `models`; `options`, named as
        in `open_models`, replace single ones. StateError where the method
        has another version than the run, or a model another id, or where another process writes into the folder.
        """
        folder = RunFolder(path)
        info = folder.info()
        refuse_carried([info.method, [[each.name, each.options] for each in info.models.values()]], path)
        info = folder.own_info({*info.models} - {*(models or {})})
        method = _method_of(info, path)
        with _claimed(folder):
            audience = Audience(observers)
            source, records = restore_task(path, to_score=True), folder.steps(method.State)
            roles = _models_of(info, models or {}, options or {}, path)
            limits = Limits(**{**_given(info.limits), **_given(limits)})
            check_prices({role: Opened(info.models[role].name, roles[role]) for role in roles}, info.prices, limits)
            fail_on = info.fail_on if fail_on is None else checked_share(fail_on)
            log = CallLog(folder.journal)
            if log.removed:
                audience(JournalRepaired(str(log.path), log.removed))
            world = World(source.task, roles, log, info.seed, audience, info.prices, fail_on)
            run = cls(folder, info, method, world, source.test, records)
            run.limits = limits
            return run._announced()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal, and let others write into the folder."""
        self._world.log.close()
        self._folder.lock.release()

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def task(self) -> Task:
        """The task, without its test rows."""
        return self._world.task

    @property
    def records(self) -> tuple[StepRecord, ...]:
        """All committed steps."""
        return tuple(self._records)

    def advance(self) -> StepRecord:
        """Do and commit one step; the first is the method's `init`. Whatever it raises, nothing has changed."""
        step, started = len(self._records), time.perf_counter()
        self._world.tell(StepStarted(step))
        self._world.log.forget_unanswered()
        before = total_accounts(self._records)
        spent, prices = total_usage(self._records), self._world.prices
        costs = self.method.costs(self.task)
        most = sum((costs.step if step else costs.init).values())
        ledger = Ledger(self._world.log, step, self.limits, spent, prices=prices, before=before, most=most)
        ctx = Context(self._world, ledger)
        with ctx:
            state = self.method.step(self._records[-1].state, ctx) if self._records else self.method.init(ctx)
            best = self.method.best(state)
        measured = self._measure(best.candidate, step, ledger.settled)
        seconds = round(time.perf_counter() - started, 6)
        counts = dict(sorted((Counter(ctx.counts) + Counter(measured.counts)).items()))
        record = StepRecord(
            step, state, best, measured.scored, ctx.trials, ctx.usage, measured.usage, seconds, counts, ledger.accounts
        )
        # What goes on is what the file says, so that a resumed run goes on from the very same values.
        record = restore(codec.encode(record), self.method.State, f"step {step}")
        self._folder.commit(record)
        self._records.append(record)
        self._tell_committed(record)
        return record

    def until(self, *stops: Stop) -> Iterator[StepRecord]:
        """Step after step, until a stop or a limit ends it; `stopped` then says why."""
        ends = (*stops, *of_limits(self.limits))
        if not ends:
            raise SpecError("a run needs a stop or a limit, got neither; give for example a number of steps")
        if self.limits.steps is None:  # Limits on what is paid never end a search that asks nothing any more.
            ends = (*ends, idle())
        self.stopped = ""
        while not self.stopped:
            reasons = (stop(self._records) for stop in ends) if self._records else ()
            self.stopped = next((reason for reason in reasons if reason), "")
            if self.stopped:
                return
            try:
                record = self.advance()
            except BudgetSpent as spent:
                if not self._records:
                    raise
                self.stopped = str(spent)
                return
            yield record

    def finish(self, stopped: str = "") -> Result:
        """Open the test rows, compare the best prompt with the initial one, write result.json. `stopped` says why
        the run ended, where `until` has not found a reason.
        """
        from steepest.finishing import conclude

        if not self._records:
            raise StateError(f"a run has a result after its first step, and {self.path} has none; resume it")
        return conclude(self._folder, self.info, self._world, self._test, self._records, self.stopped or stopped)

    def _measure(self, best: Candidate, step: int, settled: frozenset[str]) -> _Measured:
        """The referee: `best` on all dev rows, and at step 0 the initial prompt too, outside the method's budget."""
        ledger = Ledger(self._world.log, step, UNLIMITED, Usage(), settled, self._world.prices)
        ctx = Context(self._world, ledger, "referee")
        initial = Candidate(self.info.prompt)
        candidates = [best] if step or best.id == initial.id else [best, initial]
        with ctx:
            scored = ctx.score(candidates, self.task.dev)[0]
        if not scored.scores:
            why = max(ctx.counts, key=ctx.counts.__getitem__, default="no score from the metric")
            raise ModelError(f"dev rows must be scored to go on, got a score for none of them ({why}); put that right")
        return _Measured(scored, ledger.usage, ctx.counts)

    def _announced(self) -> Run:
        info = self.info
        self._world.tell(
            RunStarted(
                run=self.path.name,
                method=str(info.method["use"]),
                task=info.task.name,
                models={role: model.name for role, model in info.models.items()},
                prompt=info.prompt,
                seed=info.seed,
                limits=self.limits,
                committed=len(self._records),
            )
        )
        return self

    def _tell_committed(self, record: StepRecord) -> None:
        total = total_usage(self._records)
        self._world.tell(
            StepCommitted(
                step=record.step,
                best=record.best,
                referee=record.referee,
                usage=record.usage,
                total=total,
                seconds=record.seconds,
                elapsed=elapsed(self._records),
            )
        )


@dataclass(frozen=True, slots=True)
class _Measured:
    scored: Scored
    usage: Usage
    counts: Mapping[str, int]


@contextmanager
def _claimed(folder: RunFolder) -> Iterator[None]:
    """Locked from here on: until the run is closed, or something goes wrong in here."""
    folder.lock.acquire()
    try:
        yield
    except BaseException:
        folder.lock.release()
        raise


def _method_of(info: RunInfo, path: Path) -> Method:
    method: Method = spec.build(info.method)
    if method.version != info.method_version:
        raise StateError(
            f"{path} was made by version {info.method_version} of {info.method['use']!r}, and version "
            f"{method.version} is installed; use the version of steepest that made it ({info.steepest}), "
            "or start a new run from its best prompt"
        )
    return method


def _models_of(info: RunInfo, given: Mapping[str, Any], options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Role -> model; roles with the same name and options share one."""
    shared: dict[str, Any] = {}
    by_role = options_by_role(options, info.models)
    models = {}
    for role, each in info.models.items():
        # A role that the task's model plays goes with it.
        is_tasks = each == info.models["task"] and not by_role[role]
        recorded = replace(each, options={**each.options, **by_role["task" if is_tasks else role]})
        models[role] = _model_of(role, recorded, given, shared, path)
    return models


def _model_of(role: str, info: ModelInfo, given: Mapping[str, Any], shared: dict[str, Any], path: Path) -> Any:
    name = codec.canonical([info.name, codec.encode(info.options)])
    if role not in given and name not in shared:
        shared[name] = opened(info.name, info.options).model
    model = given[role] if role in given else shared[name]
    if model.id != info.id:
        raise StateError(
            f"the answers in {path} are those of {info.id!r}, and the role {role!r} now has {model.id!r}; "
            "restore the model, or start a new run"
        )
    return model


def _given(limits: Limits) -> dict[str, Any]:
    return {name: value for name, value in codec.encode(limits).items() if value is not None}
